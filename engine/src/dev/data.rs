//! The data folder of `engine dev`: a world of its own, new at each start.

use std::io;

use crate::lock::{DataFolder, shown};

/// Where nothing else is said. A folder given by `--data` keeps its world.
pub const DATA: &str = "data-dev";
/// Says that the folder was made here and may be emptied.
const MARK: &str = "made-by-engine-dev";

/// Why the folder cannot be emptied.
#[derive(Debug, thiserror::Error)]
#[error("the data folder {folder} cannot be emptied: {source}; remove it, or give another --data")]
pub struct DataError {
    folder: String,
    source: io::Error,
}

/// Empties the folder, if it was made by this function's earlier calls or holds nothing yet.
///
/// # Errors
/// [`DataError`] if a file cannot be removed.
pub fn empty(data: &DataFolder) -> Result<(), DataError> {
    let failed = |source| DataError { folder: shown(data.path()), source };
    let mark = data.path().join(MARK);
    let entries: Vec<_> = std::fs::read_dir(data.path()).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    let others = entries.iter().filter(|entry| !data.is_lock(&entry.path()) && entry.path() != mark);
    if mark.exists() {
        for entry in others {
            let path = entry.path();
            let removed = match entry.file_type() {
                Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(path),
                _ => std::fs::remove_file(path),
            };
            removed.map_err(failed)?;
        }
    } else if others.count() > 0 {
        // Somebody's own: what is in it stays.
        return Ok(());
    }
    std::fs::write(mark, "engine dev empties this folder at each start\n").map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_of_its_own_is_emptied() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let data = DataFolder::open(&path).unwrap();
        empty(&data).unwrap();
        std::fs::write(path.join("token"), "t").unwrap();
        std::fs::create_dir(path.join("journal")).unwrap();
        empty(&data).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["engine.lock", MARK]);

        let path = parent.path().join("foreign");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("precious"), "p").unwrap();
        empty(&DataFolder::open(&path).unwrap()).unwrap();
        assert!(path.join("precious").exists() && !path.join(MARK).exists());
    }
}
