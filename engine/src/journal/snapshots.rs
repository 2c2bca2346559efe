//! The snapshots of a room as files: `<folder>/<seq of the last record in it>.snapshot`, a head and what `room` writes.

mod head;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logic_api::PlayerId;
use room::{Image, SnapshotError, check_snapshot};

pub use self::head::{SnapshotHead, kept_of_reason};
use super::files::{Files, OpenFile};
use super::frame::Position;
use super::log::LogError;
use super::segments::{failed, place};
use crate::points::{self, Placing, Point};

pub(super) const SNAPSHOT_SUFFIX: &str = ".snapshot";
/// What the name of one ends with that cannot be used: it is kept for people.
pub const DAMAGED_SUFFIX: &str = ".damaged";
/// How many sound ones are kept: if the newest cannot be read one day, there is another one.
pub const SNAPSHOTS_KEPT: usize = 2;

/// What is written at a time.
const WRITE_BYTES: usize = 1 << 20;

/// A snapshot on the disk.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    pub path: PathBuf,
    pub seq: u64,
}

/// Those of a room, newest first.
///
/// # Errors
/// The folder cannot be listed.
pub fn list(files: &dyn Files, folder: &Path) -> io::Result<Vec<SnapshotFile>> {
    let snapshot = |name: &String| {
        let seq = name.strip_suffix(SNAPSHOT_SUFFIX)?.parse().ok()?;
        Some(SnapshotFile { path: folder.join(name), seq })
    };
    let mut found: Vec<_> = files.list(folder)?.iter().filter_map(snapshot).collect();
    found.sort_by_key(|file| std::cmp::Reverse(file.seq));
    Ok(found)
}

/// Opens a snapshot: its head, and a reader that stands at what `Room::from_snapshot` reads.
///
/// # Errors
/// It cannot be read, or its head is damaged.
pub fn open(files: &dyn Files, path: &Path) -> io::Result<(SnapshotHead, Box<dyn Read + Send>)> {
    let mut reader = files.reader(path)?;
    Ok((SnapshotHead::read(&mut reader)?, reader))
}

/// Reads a snapshot to its end, and compares its checksums.
///
/// # Errors
/// It cannot be read, or it is damaged.
pub fn check(files: &dyn Files, path: &Path) -> io::Result<SnapshotHead> {
    let (head, mut reader) = open(files, path)?;
    check_snapshot(&mut reader).map_err(|error| match error {
        SnapshotError::Read(error) => error,
        damaged => io::Error::new(io::ErrorKind::InvalidData, damaged.to_string()),
    })?;
    Ok(head)
}

/// Whether an error of [`open`] or [`check`] says that the snapshot is no good, rather than that it could not be read just now.
pub fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Takes a snapshot that cannot be used out of those that count. It can be given its name back.
///
/// # Errors
/// [`LogError`].
pub fn set_aside(files: &dyn Files, folder: &Path, path: &Path, why: &str) -> Result<(), LogError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(DAMAGED_SUFFIX);
    files.rename(path, Path::new(&aside)).map_err(failed("renaming", path))?;
    files.sync_folder(folder).map_err(failed("syncing", folder))?;
    tracing::error!("{} is moved aside, to {DAMAGED_SUFFIX}: {why}", path.display());
    Ok(())
}

/// Writes a snapshot, reads it back and compares its checksums; then the oldest go. Says up to where records are not needed any
/// more: they are in every snapshot that is kept, each of which is sound. `sound` are those of which that is known.
///
/// # Errors
/// [`LogError`], also once `is_over` says that nobody needs it. The snapshots that were there are still there.
pub fn write(
    files: &dyn Files,
    folder: &Path,
    (room, position, leaving): (u64, Position, BTreeMap<PlayerId, Arc<str>>),
    image: &mut Image,
    is_over: &dyn Fn() -> bool,
    sound: &mut BTreeSet<u64>,
) -> Result<Option<Position>, LogError> {
    let head = SnapshotHead { room, position, sha256: image.logic().mark().sha256, leaving };
    let path = folder.join(format!("{:020}{SNAPSHOT_SUFFIX}", position.seq));
    let write = |file: &Arc<dyn OpenFile>| {
        let mut out = io::BufWriter::with_capacity(WRITE_BYTES, Appending { file, is_over });
        out.write_all(&head.encode())?;
        image.write(&mut out)?;
        out.flush()
    };
    let read_back = |written: &Path| match check(files, written)? {
        found if found == head => points::called(Point::SnapshotChecked),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "its head is another")),
    };
    place(files, &path, write, read_back, Some(&Placing::SNAPSHOT))?;
    sound.insert(position.seq);
    prune(files, folder, room, sound)
}

/// Removes all but the newest sound snapshots.
fn prune(files: &dyn Files, folder: &Path, room: u64, sound: &mut BTreeSet<u64>) -> Result<Option<Position>, LogError> {
    let mut kept = Vec::new();
    for SnapshotFile { path, seq } in list(files, folder).map_err(failed("listing", folder))? {
        if kept.len() == SNAPSHOTS_KEPT {
            let removed = files.remove(&path).and_then(|()| points::called(Point::SnapshotPruned));
            removed.map_err(failed("removing", &path))?;
            sound.remove(&seq);
            continue;
        }
        let checked = if sound.contains(&seq) { open(files, &path).map(|(head, _)| head) } else { check(files, &path) };
        match checked {
            Ok(head) if head.room == room && head.position.seq == seq => {
                sound.insert(seq);
                kept.push(head.position);
            }
            Ok(_) => set_aside(files, folder, &path, "it is of another room, or of another place")?,
            Err(error) if is_damage(&error) => set_aside(files, folder, &path, &error.to_string())?,
            // It does not count, and may well be read another time.
            Err(error) => tracing::error!("{} does not count, for it cannot be read: {error}", path.display()),
        }
    }
    Ok(kept.get(SNAPSHOTS_KEPT - 1).copied())
}

struct Appending<'a> {
    file: &'a Arc<dyn OpenFile>,
    is_over: &'a dyn Fn() -> bool,
}

impl Write for Appending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.is_over)() {
            return Err(io::Error::other("the room is gone"));
        }
        self.file.append(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
