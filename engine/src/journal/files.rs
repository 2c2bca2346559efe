//! The calls on files that the journal makes, behind a seam: tests let each of them fail, and crash between any two.

use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

pub use super::raw::MappedFile;

/// A file system. Every method may be called from any thread.
///
/// Contract: what was written survives the end of the process; what was written before `sync` returned survives that of the
/// machine. A name is there for good once `sync_folder` has returned after `create` or `rename`. After an error of `sync` nothing
/// may be concluded about what was written: it is not to be tried again.
pub trait Files: Send + Sync + Debug {
    /// Makes a folder and those above it, unless they are there.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, sorted; none for a folder that is not there.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// A new, empty file; one that was there is gone.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>>;
    /// A file that is there, to be appended to.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>>;
    /// In bytes.
    fn length(&self, path: &Path) -> io::Result<u64>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    fn reader(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;
    /// A file of this length in memory, made if it is not there: what is stored in it is not lost with the process.
    fn map(&self, path: &Path, len: usize) -> io::Result<MappedFile>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// With all that is in it.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// A file that is written to at its end.
pub trait OpenFile: Send + Sync + Debug {
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // What is not UTF-8 is none of ours.
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        let mut names: Vec<String> = names.filter_map(Result::transpose).collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.set_len(0)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        Ok(Arc::new(DiskFile(OpenOptions::new().append(true).open(path)?)))
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(path.metadata()?.len())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn reader(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::BufReader::with_capacity(READ_BYTES, File::open(path)?)))
    }

    fn map(&self, path: &Path, len: usize) -> io::Result<MappedFile> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        MappedFile::new(&options.open(path)?, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// Read ahead of a snapshot.
const READ_BYTES: usize = 1 << 18;

#[derive(Debug)]
struct DiskFile(File);

impl OpenFile for DiskFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}
