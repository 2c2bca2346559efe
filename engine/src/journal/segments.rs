//! The journal of a room as files: segments, each a head and frames. `docs/journal.md`.
//!
//! `<folder>/<seq of its first record>.journal`. A new segment is written beside its name, synced and renamed, after the one before
//! it was synced: so only the last one can have an end that did not reach the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use room::{Note, RECORD_FORMAT, Record, RecordKind, Skipped};

use super::batch::{Batch, KEPT_BYTES_MAX};
use super::files::{Files, OpenFile};
use super::frame::{
    Frame, FrameFault, HeadFault, Position, SEGMENT_HEAD_BYTES, SegmentHead, StoredRecord, is_torn, read_frame,
};
use super::log::{Log, LogError, SyncTask, Task};
use crate::points::{self, Placing, Point};
use crate::progress::{Much, Progress};

/// A segment that has become this long is followed by another one.
pub const SEGMENT_BYTES: u64 = 64 << 20;
pub(super) const SEGMENT_SUFFIX: &str = ".journal";
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";
/// A room on its way out is `.<name>.<room>.gone`: no room has a name that starts with a dot.
const GONE_PREFIX: &str = ".";
const GONE_SUFFIX: &str = ".gone";

/// Names this engine in what it writes.
pub const ENGINE: &str = concat!("hotseat ", env!("CARGO_PKG_VERSION"));

/// Why a room is not started: what is kept of it is not what was written.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error(
        "{file} is damaged at byte {at}: {fault}; nothing was changed: put a sound copy of the file there, or move {folder} \
         aside to do without the room"
    )]
    Frame { file: String, at: usize, fault: FrameFault, folder: String },
    #[error(
        "{file} is damaged: {what}; put a sound copy of the file there, or move {folder} aside to do without the room"
    )]
    Head { file: String, what: String, folder: String },
    #[error("{file} has {fault}: start the engine that wrote it, or move {folder} aside to do without the room")]
    Format { file: String, fault: HeadFault, folder: String },
    #[error("{what} {file} failed: {source}")]
    Io { what: &'static str, file: String, source: std::io::Error },
}

/// How often files are listed again that have gone meanwhile. A running engine forgets one in some seconds, and the oldest first.
const LOOKS_MAX: usize = 32;

impl Damage {
    /// A file was listed and is not there: beside a running engine it is one that is not needed any more.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Looks at files again, from their list on, where one of them has gone meanwhile.
///
/// # Errors
/// Those of the last look.
pub fn look<T, E>(mut look: impl FnMut() -> Result<T, E>, is_gone: impl Fn(&E) -> bool) -> Result<T, E> {
    let mut looks = 1;
    loop {
        match look() {
            Err(error) if is_gone(&error) && looks < LOOKS_MAX => looks += 1,
            looked => return looked,
        }
    }
}

/// The journal of a room as it was found, every frame of it checked.
#[derive(Debug)]
pub struct Found {
    folder: PathBuf,
    segments: Vec<Segment>,
    /// After the last record that is whole.
    pub last: Position,
    /// What the end of the last segment has beyond that.
    pub torn: Option<Torn>,
    /// What recoveries did without, and the record that says so: what is before that came to be with it.
    pub skipped: BTreeMap<Skipped, u64>,
}

/// The end of a journal, as a write left it that did not reach the disk whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    pub file: PathBuf,
    pub at: u64,
    pub bytes: u64,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    head: SegmentHead,
    bytes: u64,
}

impl Found {
    /// Reads a room's journal; `None` where there is none. Changes nothing, and an engine may be writing to it.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn read(files: &dyn Files, folder: &Path) -> Result<Option<Found>, Damage> {
        Self::read_told(files, folder, &Progress::silent())
    }

    /// As [`Found::read`], and tells how far it is.
    ///
    /// # Errors
    /// As there.
    pub fn read_told(files: &dyn Files, folder: &Path, progress: &Arc<Progress>) -> Result<Option<Found>, Damage> {
        look(|| Self::read_listed(files, folder, progress), Damage::is_gone)
    }

    fn read_listed(files: &dyn Files, folder: &Path, progress: &Arc<Progress>) -> Result<Option<Found>, Damage> {
        let paths = segment_paths(files, folder)?;
        let count = paths.len();
        let mut part = progress.part(&room_of(folder), "reading the journal", bytes_of(files, &paths));
        let mut found: Option<Found> = None;
        for (number, path) in paths.into_iter().enumerate() {
            let bytes = read(files, &path)?;
            let damaged = |what| Damage::Head { file: shown(&path), what, folder: shown(folder) };
            let head = SegmentHead::decode(&bytes).map_err(|fault| match fault {
                HeadFault::Damaged(what) => damaged(what),
                HeadFault::Format { .. } => Damage::Format { file: shown(&path), fault, folder: shown(folder) },
            })?;
            match &mut found {
                Some(found) if found.last != head.after => {
                    let (expected, starts) = (found.last.seq + 1, head.after.seq + 1);
                    let what = match expected == starts {
                        true => "it does not follow the segment before it".to_owned(),
                        false => format!("it starts with record {starts}, record {expected} was expected"),
                    };
                    return Err(damaged(what));
                }
                Some(found) if found.segments[0].head.room != head.room => {
                    return Err(damaged("it is of another room".to_owned()));
                }
                Some(_) => {}
                None => {
                    let (folder, last) = (folder.to_owned(), head.after);
                    let skipped = BTreeMap::new();
                    found = Some(Found { folder, segments: Vec::new(), last, torn: None, skipped });
                }
            }
            let found = found.as_mut().expect("set above");
            part.step(SEGMENT_HEAD_BYTES as u64);
            let is_last = number + 1 == count;
            let mut frames = Frames { bytes, at: SEGMENT_HEAD_BYTES, head: head.clone(), position: found.last };
            loop {
                let begins = frames.at;
                let Some(frame) = frames.next() else { break };
                if let Ok(frame) = &frame {
                    found.skipped.extend(frame.records.iter().filter_map(skipped_by));
                    part.step((frames.at - begins) as u64);
                }
                if let Err(fault) = frame {
                    if is_last && is_torn(&frames.bytes, frames.at, &head, frames.position) {
                        let (at, bytes) = (frames.at as u64, (frames.bytes.len() - frames.at) as u64);
                        found.torn = Some(Torn { file: path.clone(), at, bytes });
                        break;
                    }
                    let (file, folder) = (shown(&path), shown(folder));
                    return Err(Damage::Frame { file, at: frames.at, fault, folder });
                }
            }
            found.last = frames.position;
            found.segments.push(Segment { path, head, bytes: frames.at as u64 });
        }
        Ok(found)
    }

    /// The head of the newest segment.
    pub fn head(&self) -> &SegmentHead {
        &self.segments[self.segments.len() - 1].head
    }

    /// Where the segment should be that was there before a snapshot was made at this place; `None` if it is, or is not needed there.
    pub fn missing_at(&self, place: Position) -> Option<PathBuf> {
        let is_missing = place == self.last && !self.segments.iter().any(|segment| segment.head.after == place);
        is_missing.then(|| segment_path(&self.folder, place))
    }

    /// Before the first record that is still there.
    pub fn first(&self) -> Position {
        self.segments[0].head.after
    }

    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The records after a position, in order.
    pub fn records<'a>(
        &'a self,
        files: &'a dyn Files,
        after: Position,
    ) -> impl Iterator<Item = Result<StoredRecord, Damage>> + 'a {
        let records = self.frames(files, after.seq).flat_map(|frame| {
            let (records, error) = match frame {
                Ok(frame) => (frame.records, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            records.into_iter().map(Ok).chain(error)
        });
        // A place that people ask for may be within a frame.
        records.skip_while(move |record| record.as_ref().is_ok_and(|record| record.seq <= after.seq))
    }

    /// The frames that have records after this one, and some before them.
    fn frames<'a>(&'a self, files: &'a dyn Files, after: u64) -> impl Iterator<Item = Result<Frame, Damage>> + 'a {
        let nexts = self.segments.iter().skip(1).map(|next| next.head.after.seq).chain([self.last.seq]);
        let needed = self.segments.iter().zip(nexts).filter(move |(_, last)| *last > after);
        let folder = &self.folder;
        let of_segment = move |segment: &'a Segment| {
            let opened = read(files, &segment.path).map(|mut bytes| {
                // What is torn was found out already.
                bytes.truncate(usize::try_from(segment.bytes).unwrap_or(usize::MAX));
                let (head, position) = (segment.head.clone(), segment.head.after);
                Frames { bytes, at: SEGMENT_HEAD_BYTES, head, position }
            });
            let (mut frames, error) = match opened {
                Ok(frames) => (Some(frames), None),
                Err(error) => (None, Some(Err(error))),
            };
            let next = move || {
                let frames = frames.as_mut()?;
                let at = frames.at;
                let damaged = |fault| Damage::Frame { file: shown(&segment.path), at, fault, folder: shown(folder) };
                frames.next().map(|frame| frame.map_err(damaged))
            };
            error.into_iter().chain(std::iter::from_fn(next))
        };
        needed.flat_map(move |(segment, _)| of_segment(segment))
    }

    /// The position after a record: where a snapshot says it was taken. `None` if no frame ends with that record.
    ///
    /// # Errors
    /// [`Damage`], where a file has changed since.
    pub fn position_of(&self, files: &dyn Files, seq: u64) -> Result<Option<Position>, Damage> {
        let mut positions = self.segments.iter().map(|segment| segment.head.after).chain([self.last]);
        if let Some(position) = positions.find(|position| position.seq == seq) {
            return Ok(Some(position));
        }
        if seq < self.first().seq || seq > self.last.seq {
            return Ok(None);
        }
        for frame in self.frames(files, seq - 1) {
            let position = frame?.position;
            if position.seq >= seq {
                return Ok((position.seq == seq).then_some(position));
            }
        }
        Ok(None)
    }
}

/// What a record says that a recovery did without, and its number; `None` for most.
fn skipped_by(record: &StoredRecord) -> Option<(Skipped, u64)> {
    if record.kind != RecordKind::SKIPPED {
        return None;
    }
    match Record::decode(record.kind, &record.payload) {
        Ok(Record::Note(Note::Skipped(skipped))) => Some((skipped, record.seq)),
        // Found when it is applied.
        _ => None,
    }
}

/// The frames of a segment, one after the other; after a fault `at` and `position` are those of the one that is at fault.
struct Frames {
    bytes: Vec<u8>,
    at: usize,
    head: SegmentHead,
    position: Position,
}

impl Frames {
    fn next(&mut self) -> Option<Result<Frame, FrameFault>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let frame = read_frame(&self.bytes, self.at, &self.head, self.position);
        if let Ok(frame) = &frame {
            (self.at, self.position) = (frame.end, frame.position);
        }
        Some(frame)
    }
}

/// The journal of a room, to be added to.
#[derive(Debug)]
pub struct Segments {
    files: Arc<dyn Files>,
    folder: PathBuf,
    head: SegmentHead,
    file: Arc<dyn OpenFile>,
    path: PathBuf,
    bytes: u64,
    bytes_max: u64,
    position: Position,
    synced: u64,
    /// Those before the last one: after which record each starts, and where it is.
    older: Vec<(u64, PathBuf)>,
    /// Frames that are not written as yet.
    unwritten: Vec<u8>,
}

impl Segments {
    /// The journal of a new room.
    ///
    /// # Errors
    /// [`LogError`], also where there is one already: two rooms must not write to the same folder.
    pub fn create(
        files: Arc<dyn Files>,
        folder: &Path,
        name: &str,
        random: [u64; 2],
        bytes_max: u64,
    ) -> Result<Segments, LogError> {
        let [room, salt] = random;
        files.make_folder(folder).map_err(failed("making", folder))?;
        let names = files.list(folder).map_err(failed("listing", folder))?;
        if names.iter().any(|name| name.ends_with(SEGMENT_SUFFIX)) {
            let source = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "it has a journal already");
            return Err(failed("making a room in", folder)(source));
        }
        if let Some(parent) = folder.parent() {
            files.sync_folder(parent).map_err(failed("syncing", parent))?;
        }
        let (name, after, engine) = (name.to_owned(), Position::default(), ENGINE.into());
        let head = SegmentHead { record_format: RECORD_FORMAT, room, name, after, salt, engine };
        let (file, path) = new_segment(&*files, folder, &head)?;
        let (bytes, folder) = (SEGMENT_HEAD_BYTES as u64, folder.to_owned());
        let (position, older, unwritten) = (head.after, Vec::new(), Vec::new());
        Ok(Segments { files, folder, head, file, path, bytes, bytes_max, position, synced: 0, older, unwritten })
    }

    /// Goes on after the last whole record of a journal that was found; a torn end is cut off.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn resume(files: Arc<dyn Files>, found: &Found, bytes_max: u64) -> Result<Segments, LogError> {
        let (last, older) = found.segments.split_last().expect("a journal that was found has a segment");
        let (path, folder) = (last.path.clone(), found.folder.clone());
        let file = files.open(&path).map_err(failed("opening", &path))?;
        if found.torn.is_some() {
            file.truncate(last.bytes).map_err(failed("truncating", &path))?;
        }
        // What was read, and the name that it was read from, may never have reached the disk; from here on it is built upon.
        file.sync().map_err(failed("syncing", &path))?;
        files.sync_folder(&folder).map_err(failed("syncing", &folder))?;
        let older = older.iter().map(|segment| (segment.head.after.seq, segment.path.clone())).collect();
        let (head, bytes, position) = (last.head.clone(), last.bytes, found.last);
        let (synced, unwritten) = (position.seq, Vec::new());
        let mut this =
            Segments { files, folder, head, file, path, bytes, bytes_max, position, synced, older, unwritten };
        if this.head.record_format != RECORD_FORMAT {
            // What it says of its records would not be true of those that come.
            this.begin_segment()?;
        }
        Ok(this)
    }

    /// All that was written before is synced.
    fn begin_segment(&mut self) -> Result<(), LogError> {
        let salt = self.head.salt.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(self.position.hash);
        let (after, engine) = (self.position, ENGINE.into());
        let head = SegmentHead { record_format: RECORD_FORMAT, after, salt, engine, ..self.head.clone() };
        let (file, path) = new_segment(&*self.files, &self.folder, &head)?;
        let before = std::mem::replace(&mut self.path, path);
        // One without records has been replaced.
        if self.head.after.seq < after.seq {
            self.older.push((self.head.after.seq, before));
        }
        (self.head, self.file, self.bytes) = (head, file, SEGMENT_HEAD_BYTES as u64);
        Ok(())
    }
}

impl Log for Segments {
    fn append(&mut self, batch: &mut Batch) {
        batch.seal_into(&mut self.unwritten, &self.head, &mut self.position, self.synced);
    }

    fn write(&mut self) -> Result<(), LogError> {
        if !self.unwritten.is_empty() {
            self.file.append(&self.unwritten).map_err(failed("writing to", &self.path))?;
            self.bytes += self.unwritten.len() as u64;
            self.unwritten.clear();
            self.unwritten.shrink_to(KEPT_BYTES_MAX);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    fn position(&self) -> Position {
        self.position
    }

    fn sync_task(&mut self) -> Option<SyncTask> {
        assert!(self.unwritten.is_empty(), "what is to be synced is written first");
        let seq = self.position.seq;
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        let run = move || file.sync().map_err(failed("syncing", &path));
        (seq > self.synced).then(|| SyncTask { seq, run: Box::new(run) })
    }

    fn synced(&mut self, seq: u64) {
        self.synced = self.synced.max(seq);
    }

    fn divide(&mut self) -> Result<(), LogError> {
        self.write()?;
        if self.head.after == self.position {
            return Ok(());
        }
        let synced = self.file.sync().and_then(|()| points::called(Point::RotationSynced));
        synced.map_err(failed("syncing", &self.path))?;
        self.synced = self.position.seq;
        self.begin_segment()
    }

    fn forget(&mut self, upto: Position) -> Result<(), LogError> {
        // A segment goes if the next one starts no later than after `upto`.
        while !self.older.is_empty() {
            let next = self.older.get(1).map_or(self.head.after.seq, |(after, _)| *after);
            if next > upto.seq {
                break;
            }
            let (_, path) = self.older.remove(0);
            let removed = self.files.remove(&path).and_then(|()| points::called(Point::SegmentRemoved));
            removed.map_err(failed("removing", &path))?;
        }
        let synced = self.files.sync_folder(&self.folder).and_then(|()| points::called(Point::SegmentsForgotten));
        synced.map_err(failed("syncing", &self.folder))
    }

    fn remove(self: Box<Self>) -> Result<Task, LogError> {
        // By a name that no other room of this name has when it goes: one may come and go before this is removed.
        let gone = set_gone(&*self.files, &self.folder, &format!(".{:016x}", self.head.room))?;
        Ok(Box::new(move || self.files.remove_folder(&gone).map_err(failed("removing", &gone))))
    }
}

/// Removes all that is kept of a room, so that a crash leaves either all of it or none.
///
/// # Errors
/// [`LogError`].
pub fn remove_room(files: &dyn Files, folder: &Path) -> Result<(), LogError> {
    let gone = set_gone(files, folder, "")?;
    files.remove_folder(&gone).map_err(failed("removing", &gone))
}

/// From here on the room is gone, whatever happens.
fn set_gone(files: &dyn Files, folder: &Path, mark: &str) -> Result<PathBuf, LogError> {
    let parent = folder.parent().unwrap_or(folder);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let gone = parent.join(format!("{GONE_PREFIX}{name}{mark}{GONE_SUFFIX}"));
    files.rename(folder, &gone).map_err(failed("renaming", folder))?;
    files.sync_folder(parent).map_err(failed("syncing", parent))?;
    Ok(gone)
}

/// Removes the rooms that were on their way out when the process ended.
///
/// # Errors
/// [`LogError`].
pub fn remove_gone(files: &dyn Files, rooms: &Path) -> Result<(), LogError> {
    for name in files.list(rooms).map_err(failed("listing", rooms))? {
        if name.starts_with(GONE_PREFIX) && name.ends_with(GONE_SUFFIX) {
            let path = rooms.join(name);
            files.remove_folder(&path).map_err(failed("removing", &path))?;
        }
    }
    Ok(())
}

/// Removes what a crash left half made in a folder.
///
/// # Errors
/// [`LogError`].
pub fn remove_temporary(files: &dyn Files, folder: &Path) -> Result<(), LogError> {
    for name in files.list(folder).map_err(failed("listing", folder))? {
        if name.ends_with(TEMPORARY_SUFFIX) {
            let path = folder.join(name);
            let removed = files.remove(&path).or_else(|error| match error.kind() {
                std::io::ErrorKind::IsADirectory => files.remove_folder(&path),
                _ => Err(error),
            });
            removed.map_err(failed("removing", &path))?;
        }
    }
    Ok(())
}

/// A segment whose head is on the disk, under its name.
fn new_segment(files: &dyn Files, folder: &Path, head: &SegmentHead) -> Result<(Arc<dyn OpenFile>, PathBuf), LogError> {
    let path = segment_path(folder, head.after);
    let file = place(files, &path, |file| file.append(&head.encode()), |_| Ok(()), Some(&Placing::SEGMENT))?;
    Ok((file, path))
}

/// By the number of its first record.
fn segment_path(folder: &Path, after: Position) -> PathBuf {
    folder.join(format!("{:020}{SEGMENT_SUFFIX}", after.seq + 1))
}

/// Writes a file beside its name, syncs it, has it checked where it is, and gives it the name.
///
/// # Errors
/// [`LogError`]: from the renaming on it may be there all the same. What was half made is removed, if that can be done.
pub fn place(
    files: &dyn Files,
    path: &Path,
    write: impl FnOnce(&Arc<dyn OpenFile>) -> std::io::Result<()>,
    check: impl FnOnce(&Path) -> std::io::Result<()>,
    points: Option<&Placing>,
) -> Result<Arc<dyn OpenFile>, LogError> {
    let at = |point: fn(&Placing) -> Point| points.map_or(Ok(()), |points| points::called(point(points)));
    let folder = path.parent().unwrap_or(path);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY_SUFFIX);
    let temporary = PathBuf::from(temporary);
    let place = || {
        let created = files.create(&temporary).and_then(|file| at(|it| it.created).map(|()| file));
        let file = created.map_err(failed("creating", &temporary))?;
        write(&file).and_then(|()| at(|it| it.written)).map_err(failed("writing to", &temporary))?;
        file.sync().and_then(|()| at(|it| it.synced)).map_err(failed("syncing", &temporary))?;
        check(&temporary).map_err(failed("reading back", &temporary))?;
        let renamed = files.rename(&temporary, path).and_then(|()| at(|it| it.renamed));
        renamed.map(|()| file).map_err(failed("renaming", &temporary))
    };
    let file = place().inspect_err(|_| {
        // What fills the disk is not to stay until the next start. The first error is the one that matters.
        let _best_effort = files.remove(&temporary);
    })?;
    files.sync_folder(folder).and_then(|()| at(|it| it.placed)).map_err(failed("syncing", folder))?;
    Ok(file)
}

/// Whether there is a journal, sound or not.
///
/// # Errors
/// [`Damage::Io`].
pub fn has_journal(files: &dyn Files, folder: &Path) -> Result<bool, Damage> {
    Ok(!segment_paths(files, folder)?.is_empty())
}

fn segment_paths(files: &dyn Files, folder: &Path) -> Result<Vec<PathBuf>, Damage> {
    let listed = files.list(folder);
    let names = listed.map_err(|source| Damage::Io { what: "listing", file: shown(folder), source })?;
    Ok(names.iter().filter(|name| name.ends_with(SEGMENT_SUFFIX)).map(|name| folder.join(name)).collect())
}

/// A room has the name of its folder.
pub(super) fn room_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// As far as that can be known before they are read.
pub(super) fn bytes_of<'a>(files: &dyn Files, paths: impl IntoIterator<Item = &'a PathBuf>) -> Much {
    Much::Bytes(paths.into_iter().filter_map(|path| files.length(path).ok()).sum())
}

fn read(files: &dyn Files, path: &Path) -> Result<Vec<u8>, Damage> {
    files.read(path).map_err(|source| Damage::Io { what: "reading", file: shown(path), source })
}

pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

pub(crate) fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> LogError + 'a {
    move |source| LogError { what, path: shown(path), source }
}
