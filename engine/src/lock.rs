//! The data folder: made if missing, and held by one engine at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Holds the pid of the engine that has the folder. The file stays when the engine ends: the lock is what counts, and
/// unlinking it would let two engines lock two files of one name.
const LOCK_FILE: &str = "engine.lock";

/// A process that was killed a moment ago has the lock until the system has cleared it away.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A data folder that is ours until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Kept open: closing it gives the lock back.
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    #[error("data folder {path} cannot be made: {source}; give another --data")]
    Make { path: String, source: io::Error },
    #[error("data folder {path} is not a folder; give another --data")]
    NotAFolder { path: String },
    #[error("data folder {path} cannot be written to: {source}; make it writable, or give another --data")]
    Write { path: String, source: io::Error },
    #[error("data folder {path} is in use by process {pid}; stop it, or give another --data")]
    InUse { path: String, pid: u32 },
    #[error("data folder {path} is in use by another process; stop it, or give another --data")]
    InUseByUnknown { path: String },
}

impl DataFolder {
    /// Makes the folder (0700) if it is missing and locks it, for which it waits a second. A lock file left by a process that is gone is taken over.
    ///
    /// # Errors
    /// [`DataFolderError`] if it cannot be made or written to, or if another process has it.
    pub fn open(path: &Path) -> Result<DataFolder, DataFolderError> {
        let shown = shown(path);
        make(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => DataFolderError::NotAFolder { path: shown.clone() },
            _ => DataFolderError::Make { path: shown.clone(), source: error },
        })?;
        let write_error = |source: io::Error| DataFolderError::Write { path: shown.clone(), source };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(write_error)?;
        match try_for(LOCK_PATIENCE, || flock(&lock, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(match holder(&mut lock) {
                    Some(pid) => DataFolderError::InUse { path: shown, pid },
                    None => DataFolderError::InUseByUnknown { path: shown },
                });
            }
            Err(errno) => return Err(write_error(errno.into())),
        }
        lock.set_len(0).map_err(write_error)?;
        writeln!(lock, "{}", std::process::id()).map_err(write_error)?;
        Ok(DataFolder { path: path.to_owned(), _lock: lock })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is the file whose lock holds the folder.
    #[must_use]
    pub fn is_lock(&self, path: &Path) -> bool {
        path == self.path.join(LOCK_FILE)
    }
}

/// Until the lock is not held by somebody else, or the time is over.
fn try_for(time: Duration, mut lock: impl FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    let until = Instant::now() + time;
    loop {
        match lock() {
            Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(LOCK_PAUSE),
            tried => return tried,
        }
    }
}

/// A folder's path as messages show it.
pub(crate) fn shown(path: &Path) -> String {
    let path = path.display().to_string();
    if path.ends_with('/') { path } else { path + "/" }
}

/// Writes a file so that readers see the old bytes or the new ones, never half of them, also after a power cut, which does not
/// take it any more once this returns. Private to the owner.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    // One left by a crash may have been opened by others: a new file is the only one sure to be ours alone.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_names(path)
}

/// Has the name of a file or folder survive a power cut, and those beside it.
pub(crate) fn sync_names(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn make(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    // Recursive creation accepts a folder that exists, and takes a symlink to one as well.
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    missing.into_iter().filter(|path| !path.as_os_str().is_empty()).try_for_each(sync_names)
}

fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn makes_a_private_folder_and_tells_the_pid() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/data");
        let folder = DataFolder::open(&path).unwrap();
        assert_eq!(std::fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let pid = std::fs::read_to_string(path.join(LOCK_FILE)).unwrap();
        assert_eq!(pid, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_second_start_is_refused_with_the_pid_of_the_first() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let first = DataFolder::open(&path).unwrap();
        // flock belongs to the open file, not to the process, so a second open in this one is refused as well.
        let error = DataFolder::open(&path).unwrap_err().to_string();
        let pid = std::process::id();
        let shown = shown(&path);
        assert_eq!(error, format!("data folder {shown} is in use by process {pid}; stop it, or give another --data"));
        drop(first);
        DataFolder::open(&path).unwrap();
    }

    #[test]
    fn a_file_left_by_a_dead_process_is_taken_over() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join(LOCK_FILE), "4194999 and more\n").unwrap();
        let _folder = DataFolder::open(parent.path()).unwrap();
        let pid = std::fs::read_to_string(parent.path().join(LOCK_FILE)).unwrap();
        assert_eq!(pid, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_file_in_its_place_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        std::fs::write(&path, "").unwrap();
        for path in [path.clone(), path.join("below")] {
            let error = DataFolder::open(&path).unwrap_err().to_string();
            assert_eq!(error, format!("data folder {} is not a folder; give another --data", shown(&path)));
        }
    }

    #[test]
    fn a_folder_that_cannot_hold_the_lock_is_told() {
        let parent = tempfile::tempdir().unwrap();
        // Permissions do not stop root, but nobody can open a folder for writing.
        std::fs::create_dir(parent.path().join(LOCK_FILE)).unwrap();
        let error = DataFolder::open(parent.path()).unwrap_err().to_string();
        assert!(error.contains("cannot be written to: ") && error.ends_with("or give another --data"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn an_atomic_write_replaces_and_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        std::fs::write(parent.path().join("file.tmp"), "left by a crash, and longer").unwrap();
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!parent.path().join("file.tmp").exists());
    }
}
