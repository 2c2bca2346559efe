//! Keeps a private copy of every plugin that was read, under the hash of its bytes.
//!
//! Only such a copy is ever mapped. The dynamic linker knows a library by its path and by its inode: a path that has been
//! mapped once gives the old code back, whatever the file holds by then. Here a path and its bytes belong together for
//! good, and the folder is the engine's own, so that nobody writes to a file that is mapped (which would kill by SIGBUS).
//!
//! A staged file is written whole, synced and renamed into place: a journal that names it needs it after a power cut. Its content
//! is checked all the same whenever it is used.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::digest::Sha256;
use crate::lock::sync_names;

/// Owner only: another user who could write here could change code under a running engine.
const FOLDER_MODE: u32 = 0o700;
/// Not writable even by the owner, so that an accidental write fails instead of changing mapped code.
const FILE_MODE: u32 = 0o400;

/// Bytes of a staged file that are looked at at a time.
const PIECE_BYTES: usize = 16 << 10;

/// The folder of staged plugins, `<data>/versions`.
#[derive(Clone, Debug)]
pub struct Stage {
    folder: PathBuf,
}

impl Stage {
    pub fn new(data: &Path) -> Self {
        Self { folder: data.join("versions") }
    }

    /// Where the bytes with this hash are kept, whether they are there or not.
    pub fn path(&self, sha256: &Sha256) -> PathBuf {
        self.folder.join(format!("{sha256}.so"))
    }

    /// Makes sure that exactly `bytes` are at [`Stage::path`], and returns it.
    ///
    /// # Panics
    /// In debug builds, when `sha256` is not the hash of `bytes`.
    pub fn stage(&self, bytes: &[u8], sha256: &Sha256) -> io::Result<PathBuf> {
        debug_assert_eq!(Sha256::of(bytes), *sha256);
        let path = self.path(sha256);
        if is_staged(&path, bytes)? {
            // Whoever wrote it may have been killed before its name was synced.
            self.sync_names(&path)?;
            return Ok(path);
        }
        self.create_folder()?;
        let temporary = self.temporary(sha256);
        let placed = write_new(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| self.sync_names(&path));
        if placed.is_err() {
            // Best effort: the first error is the one that matters, and a leftover is never mistaken for a version.
            let _ = fs::remove_file(&temporary);
        }
        placed.map(|()| path)
    }

    /// Whether [`Stage::path`] is as [`Stage::stage`] would leave it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn has(&self, bytes: &[u8], sha256: &Sha256) -> io::Result<bool> {
        is_staged(&self.path(sha256), bytes)
    }

    /// The bytes that are kept under a hash.
    ///
    /// # Errors
    /// There are none, or they are others.
    pub fn kept(&self, sha256: &Sha256) -> io::Result<Vec<u8>> {
        let bytes = fs::read(self.path(sha256))?;
        let found = Sha256::of(&bytes);
        if found != *sha256 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("its sha256 is {found}")));
        }
        Ok(bytes)
    }

    /// Removes all that is kept under other hashes than these, and what was left half made.
    ///
    /// # Errors
    /// The folder cannot be read, or a file not be removed.
    pub fn keep_only(&self, kept: &BTreeSet<Sha256>) -> io::Result<usize> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut removed = 0;
        for entry in entries {
            let path = entry?.path();
            let hash = path.file_stem().and_then(|stem| Sha256::from_hex(stem.as_encoded_bytes()));
            if hash.is_none_or(|hash| !kept.contains(&hash)) {
                fs::remove_file(&path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn create_folder(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.folder)?;
        // It may have been there before, made by a hand with another umask.
        if fs::metadata(&self.folder)?.permissions().mode() & 0o777 != FOLDER_MODE {
            fs::set_permissions(&self.folder, Permissions::from_mode(FOLDER_MODE))?;
        }
        Ok(())
    }

    /// The folder's own name, too: with that a power cut would take all versions, which the journals need.
    fn sync_names(&self, path: &Path) -> io::Result<()> {
        sync_names(path)?;
        sync_names(&self.folder)
    }

    fn temporary(&self, sha256: &Sha256) -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!(".{sha256}.{}.{unique}.tmp", std::process::id()))
    }
}

/// Whether a file with these very bytes, and nothing else that anybody could write to, is at `path`.
fn is_staged(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let sound = metadata.is_file() && metadata.permissions().mode() & 0o777 == FILE_MODE;
    if !sound || metadata.len() != bytes.len() as u64 {
        return Ok(false);
    }
    holds(&mut File::open(path)?, bytes)
}

/// Compares piece by piece: memory for the whole would stay with the thread that runs this.
fn holds(file: &mut File, mut bytes: &[u8]) -> io::Result<bool> {
    let mut piece = [0; PIECE_BYTES];
    loop {
        let count = match file.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if count == 0 {
            return Ok(bytes.is_empty());
        }
        match bytes.split_at_checked(count) {
            Some((expected, rest)) if piece[..count] == *expected => bytes = rest,
            _ => return Ok(false),
        }
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A leftover of an earlier process with the same id; this one never uses a temporary name twice.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    // The umask may have taken bits away.
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(data: &Path, bytes: &[u8]) -> PathBuf {
        Stage::new(data).stage(bytes, &Sha256::of(bytes)).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn bytes_are_kept_under_their_hash_and_privately() {
        let data = tempfile::tempdir().unwrap();
        let path = stage(data.path(), b"code");
        assert_eq!(path, data.path().join(format!("versions/{}.so", Sha256::of(b"code"))));
        assert_eq!(fs::read(&path).unwrap(), b"code");
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o400, 0o700));
        let other = stage(data.path(), b"other");
        assert_ne!(other, path);
        assert_eq!(names(&data.path().join("versions")).len(), 2, "no temporary file stays");
    }

    #[test]
    fn staging_the_same_bytes_again_touches_nothing() {
        use std::os::unix::fs::MetadataExt as _;
        let data = tempfile::tempdir().unwrap();
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        let path = stage(data.path(), b"code");
        let first = inode(&path);
        assert_eq!(inode(&stage(data.path(), b"code")), first);
    }

    #[test]
    fn whatever_else_is_at_the_path_is_replaced() {
        let damages: [fn(&Path); 4] = [
            |path| fs::write(path, "code, but longer").unwrap(),
            |path| fs::write(path, "CODE").unwrap(),
            |path| std::os::unix::fs::symlink("/etc/hostname", path).unwrap(),
            |path| {
                fs::write(path, "code").unwrap();
                fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
            },
        ];
        for damage in damages {
            let data = tempfile::tempdir().unwrap();
            let path = stage(data.path(), b"code");
            fs::remove_file(&path).unwrap();
            damage(&path);
            assert_eq!(stage(data.path(), b"code"), path);
            assert_eq!(fs::read(&path).unwrap(), b"code");
            assert_eq!(mode(&path), 0o400);
            assert_eq!(names(&data.path().join("versions")).len(), 1);
        }
    }

    #[test]
    fn what_is_kept_is_read_back_whole_or_not_at_all() {
        let data = tempfile::tempdir().unwrap();
        let (one, two) = (stage(data.path(), b"one"), stage(data.path(), b"two"));
        let (stage, kept) = (Stage::new(data.path()), Sha256::of(b"one"));
        assert_eq!(stage.kept(&kept).unwrap(), b"one");
        assert_eq!(stage.keep_only(&BTreeSet::from([kept])).unwrap(), 1);
        assert!(one.exists() && !two.exists());
        fs::set_permissions(&one, Permissions::from_mode(0o600)).unwrap();
        fs::write(&one, "other").unwrap();
        assert!(stage.kept(&kept).unwrap_err().to_string().starts_with("its sha256 is "));
    }

    #[test]
    fn an_open_folder_is_closed_to_others() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("versions");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        stage(data.path(), b"code");
        assert_eq!(mode(&folder), 0o700);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("versions"), "a file").unwrap();
        assert!(Stage::new(data.path()).stage(b"code", &Sha256::of(b"code")).is_err());
    }
}
