//! The way back of one room at the start: the newest snapshot that is whole, then the records after it, on the versions that ran
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logic_api::PlayerId;
use room::{LogicVersion, Pool, Record, RecordKind, Room, Skipped, SnapshotError};

use super::black_box::{self, BlackBox};
use super::files::Files;
use super::frame::Position;
use super::keeper::ROOM_FILE;
use super::last_word::LastWord;
use super::log::LogError;
use super::replay::{FindVersion, Replay, ReplayError};
use super::segments::{Damage, Found, TEMPORARY_SUFFIX, bytes_of, remove_room, remove_temporary, shown};
use super::snapshots;
use crate::beat::Beat;
use crate::points::{self, Point};
use crate::progress::{Counted, Much, Part, Progress};

/// Records that went another way than before, of which each gets a line.
const WORRIES_MAX: u32 = 8;

/// A room as it was when the process before this one ended.
#[derive(Debug)]
pub struct Recovered {
    pub room: Room,
    pub black_box: BlackBox,
    pub found: Found,
    pub folder: PathBuf,
    /// As in the heads of segments.
    pub id: u64,
    /// What this recovery did without, and no note in the journal tells of as yet.
    pub skipped: Vec<Skipped>,
    /// Who has left, and why, though the room has not heard of it: it took no inputs then, or the logic failed on it.
    pub leaving: BTreeMap<PlayerId, Arc<str>>,
    /// What was decided of the version that the room has on trial, if it has one: to stay, or to go.
    pub is_confirmed: bool,
    /// Told of what the start goes on to do with the room.
    progress: Arc<Progress>,
}

/// Why a room is not started.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{folder} has no snapshot that can be read, and its journal starts with record {first}; {reason}")]
    NoStart { folder: String, first: u64, reason: String },
    #[error(
        "{folder}: the journal ends with record {last}, and {file} was made after record {snapshot}: records are lost; nothing \
         was changed: put the missing files back, or move the folder aside to do without the room"
    )]
    Short { folder: String, last: u64, file: String, snapshot: u64 },
    #[error(
        "{folder}: {missing} is missing, which was there before {file} was made: records are lost; nothing was changed: put the \
         missing files back, or move the folder aside to do without the room"
    )]
    NoSegment { folder: String, missing: String, file: String },
    #[error(
        "{folder} has {found} and no journal: put its journal back, or move the folder aside to do without the room"
    )]
    NoJournal { folder: String, found: String },
    #[error(
        "{folder} has no journal, but {name}: this is no room's folder; nothing was changed: move it out of the folder of the rooms"
    )]
    NoRoom { folder: String, name: String },
    #[error("{folder}: {error}")]
    Replay { folder: String, error: Box<ReplayError> },
    #[error("{folder}: {error}")]
    Snapshot { folder: String, error: Box<SnapshotError> },
}

/// Brings a room back; `None` if there is none: it was never whole, or it is gone. `last_word` is that of the process before.
///
/// # Errors
/// [`RecoveryError`]; what is on the disk is unchanged but for half-made files.
pub fn recover(
    files: &Arc<dyn Files>,
    folder: &Path,
    last_word: Option<LastWord>,
    (pool, beat, progress): (&Pool, &Arc<Beat>, &Arc<Progress>),
    find: &mut FindVersion<'_>,
) -> Result<Option<Recovered>, RecoveryError> {
    let Some(found) = Found::read_told(&**files, folder, progress)? else {
        check_unborn(&**files, folder)?;
        remove_room(&**files, folder)?;
        return Ok(None);
    };
    if let Some(torn) = &found.torn {
        let (file, at, bytes) = (torn.file.display(), torn.at, torn.bytes);
        tracing::warn!("{file}: the last {bytes} bytes, from {at} on, did not reach the disk whole; cut off");
    }
    let name = found.head().name.clone();
    let snapshots = snapshots_of(&**files, folder)?;
    let Start { room, after, leaving, damaged } = start(files, folder, &found, snapshots, (pool, progress), find)?;
    // Not before it is known that the room is not refused for what its files say: then nothing is changed.
    remove_temporary(&**files, folder)?;
    let (mut black_box, quarantined) = BlackBox::open_after(&**files, folder, last_word)?;
    if let Some(quarantined) = quarantined {
        tracing::error!(file = %quarantined.file.display(), "quarantined: {}", quarantined.line);
    }
    let mut replay = Replay::new(&name, pool, room, found.skipped.clone()).shown_on(beat, progress);
    replay.leaving = leaving;
    beat.makes(&name);
    let part = progress.part(&name, "recovering", Much::Records(found.last.seq - after.seq));
    let replayed = replay_all(files, &found, (after, part), &mut replay, find, &mut black_box);
    let is_gone = replayed.map_err(|fault| fault.within(folder))?;
    beat.made();
    points::reached(Point::RecoveryReplayed);
    // Not before the room is there: one that is refused is left as it is.
    for (path, why) in damaged {
        snapshots::set_aside(&**files, folder, &path, &why)?;
    }
    let (skipped, leaving) = (std::mem::take(&mut replay.skipped), std::mem::take(&mut replay.leaving));
    match replay.into_room() {
        Some(room) if !is_gone => {
            let (folder, id, progress) = (folder.to_owned(), found.head().room, Arc::clone(progress));
            let is_confirmed = false;
            Ok(Some(Recovered { room, black_box, found, folder, id, skipped, leaving, is_confirmed, progress }))
        }
        // Disposed of, or not created when the process ended.
        _ => {
            remove_room(&**files, folder)?;
            Ok(None)
        }
    }
}

/// A room whose journal never got its first segment was never acknowledged: the next start removes its folder. But that must have
/// been made by an engine, and be no more than the start of a room: what a room has once it has a journal says that the journal is lost.
///
/// # Errors
/// [`RecoveryError`]: it is something else, and stays as it is.
pub fn check_unborn(files: &dyn Files, folder: &Path) -> Result<(), RecoveryError> {
    let without = |found: String| Err(RecoveryError::NoJournal { folder: shown(folder), found });
    let snapshots = snapshots_of(files, folder)?.len();
    if snapshots > 0 {
        return without(format!("{snapshots} snapshots"));
    }
    let listed = files.list(folder);
    let names = listed.map_err(|source| Damage::Io { what: "listing", file: shown(folder), source })?;
    // The first segment is there, and synced, before these are.
    if let Some(name) = names.iter().find(|name| [black_box::FILE, black_box::QUARANTINE].contains(&name.as_str())) {
        return without(name.clone());
    }
    match names.into_iter().find(|name| name != ROOM_FILE && !name.ends_with(TEMPORARY_SUFFIX)) {
        Some(name) => Err(RecoveryError::NoRoom { folder: shown(folder), name }),
        None => Ok(()),
    }
}

impl Recovered {
    /// The version that the room is going to run.
    pub fn logic(&self) -> &Arc<LogicVersion> {
        let before = self.room.logic_before_trial().filter(|_| !self.is_confirmed);
        before.unwrap_or(self.room.logic())
    }

    /// As [`versions_of`], and what the room is going to run.
    ///
    /// # Errors
    /// [`RecoveryError`], where a file has changed since.
    pub fn versions(&self, files: &dyn Files) -> Result<BTreeSet<[u8; 32]>, RecoveryError> {
        let mut versions = versions_of(files, &self.folder, &self.found, &self.progress)?;
        versions.insert(self.room.logic().sha256());
        Ok(versions)
    }
}

/// The plugins, by hash, that the snapshots and the journal of a room refer to: what a later recovery or replay may need.
///
/// # Errors
/// [`RecoveryError`], where a file cannot be read.
pub fn versions_of(
    files: &dyn Files,
    folder: &Path,
    found: &Found,
    progress: &Arc<Progress>,
) -> Result<BTreeSet<[u8; 32]>, RecoveryError> {
    let mut versions = BTreeSet::new();
    let records = Much::Records(found.last.seq - found.first().seq);
    let mut part = progress.part(&found.head().name, "looking for versions that are needed", records);
    for snapshot in snapshots_of(files, folder)? {
        match snapshots::open(files, &snapshot.path) {
            Ok((head, _)) => _ = versions.insert(head.sha256),
            // It needs nothing.
            Err(error) if snapshots::is_damage(&error) => {}
            Err(source) => return Err(Damage::Io { what: "reading", file: shown(&snapshot.path), source }.into()),
        }
    }
    for record in found.records(files, found.first()) {
        let record = record?;
        part.step(1);
        if matches!(record.kind, RecordKind::CREATE | RecordKind::SWAP) {
            match Record::decode(record.kind, &record.payload) {
                Ok(Record::Create { version, .. }) => versions.extend([version.sha256]),
                Ok(Record::Swap { to, .. }) => versions.extend([to.sha256]),
                _ => {}
            }
        }
    }
    Ok(versions)
}

fn snapshots_of(files: &dyn Files, folder: &Path) -> Result<Vec<snapshots::SnapshotFile>, RecoveryError> {
    let failed = |source| Damage::Io { what: "listing", file: shown(folder), source };
    Ok(snapshots::list(files, folder).map_err(failed)?)
}

/// The room at the oldest place from which on all records are kept; no room for its creation.
///
/// # Errors
/// [`RecoveryError`].
pub fn oldest_start(
    files: &Arc<dyn Files>,
    folder: &Path,
    found: &Found,
    pool: &Pool,
    find: &mut FindVersion<'_>,
) -> Result<(Option<Room>, Position), RecoveryError> {
    if found.first().seq == 0 {
        return Ok((None, found.first()));
    }
    let mut snapshots = snapshots_of(&**files, folder)?;
    snapshots.reverse();
    let Start { room, after, .. } = start(files, folder, found, snapshots, (pool, &Progress::silent()), find)?;
    Ok((room, after))
}

/// Where a replay begins.
struct Start {
    room: Option<Room>,
    after: Position,
    /// As in [`Recovered`], at that place.
    leaving: BTreeMap<PlayerId, Arc<str>>,
    /// The snapshots that are of no use, and why.
    damaged: Vec<(PathBuf, String)>,
}

/// The room of the first snapshot that is whole and fits the journal, and where that is; no room for the journal's own start.
fn start(
    files: &Arc<dyn Files>,
    folder: &Path,
    found: &Found,
    snapshots: Vec<snapshots::SnapshotFile>,
    (pool, progress): (&Pool, &Arc<Progress>),
    find: &mut FindVersion<'_>,
) -> Result<Start, RecoveryError> {
    let mut damaged = Vec::new();
    let mut reason = "put a sound snapshot there, or move the folder aside to do without the room".to_owned();
    for snapshot in snapshots {
        let file = snapshot.path.display().to_string();
        // What could not be read just now is none that is to be moved aside.
        let mut pass_over = |why: String, is_damaged: bool| {
            tracing::error!("{file} is passed over: {why}");
            reason = format!("{file}: {why}; {reason}");
            damaged.extend(is_damaged.then(|| (snapshot.path.clone(), why)));
        };
        let opened = snapshots::open(&**files, &snapshot.path);
        let (head, reader) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                pass_over(error.to_string(), snapshots::is_damage(&error));
                continue;
            }
        };
        let (is_of_room, place, last) = (head.room == found.head().room, head.position.seq, found.last.seq);
        if is_of_room && place > last {
            // They were synced before it was made: no crash has taken them, and an older state is not what was acknowledged.
            return Err(RecoveryError::Short { folder: shown(folder), last, file, snapshot: place });
        }
        if !is_of_room || found.position_of(&**files, place)? != Some(head.position) {
            pass_over("it does not belong to this journal".to_owned(), true);
            continue;
        }
        if let Some(missing) = found.missing_at(head.position) {
            // It was placed and synced before the snapshot was begun, so this was no crash either.
            return Err(RecoveryError::NoSegment { folder: shown(folder), missing: shown(&missing), file });
        }
        let bytes = bytes_of(&**files, [&snapshot.path]);
        let mut reader = Counted { reader, part: progress.part(&found.head().name, "reading a snapshot", bytes) };
        match Room::from_snapshot(&mut reader, pool, &mut *find) {
            Ok(room) => {
                return Ok(Start { room: Some(room), after: head.position, leaving: head.leaving, damaged });
            }
            // Another snapshot would have the same version, or an older one.
            Err(error @ SnapshotError::Schema { .. }) => {
                return Err(RecoveryError::Snapshot { folder: shown(folder), error: Box::new(error) });
            }
            Err(error) => pass_over(error.to_string(), !matches!(error, SnapshotError::Read(_))),
        }
    }
    if found.first().seq > 0 {
        let first = found.first().seq + 1;
        return Err(RecoveryError::NoStart { folder: shown(folder), first, reason });
    }
    Ok(Start { room: None, after: found.first(), leaving: BTreeMap::new(), damaged })
}

/// Why a replay stopped.
enum Stopped {
    Damage(Damage),
    Replay(Box<ReplayError>),
}

impl Stopped {
    fn within(self, folder: &Path) -> RecoveryError {
        match self {
            Self::Damage(damage) => damage.into(),
            Self::Replay(error) => RecoveryError::Replay { folder: shown(folder), error },
        }
    }
}

/// True if a record was the room's end.
fn replay_all(
    files: &Arc<dyn Files>,
    found: &Found,
    (after, mut part): (Position, Part),
    replay: &mut Replay,
    find: &mut FindVersion<'_>,
    black_box: &mut BlackBox,
) -> Result<bool, Stopped> {
    let name = &found.head().name;
    let (mut is_gone, mut worries) = (false, 0_u32);
    for record in found.records(&**files, after) {
        let record = record.map_err(Stopped::Damage)?;
        is_gone |= record.kind == RecordKind::DISPOSE;
        let applied = {
            // What the logic had to say, it has said.
            let _silence = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
            replay.apply(&record, find, Some(&mut *black_box))
        };
        match applied {
            Err(error) if error.is_fatal() => return Err(Stopped::Replay(Box::new(error))),
            Err(error @ ReplayError::Skipped { .. }) => tracing::error!(room = name, "{error}"),
            Err(error) if worries < WORRIES_MAX => {
                worries += 1;
                tracing::error!(room = name, "{error}; see docs/determinism.md");
            }
            _ => {}
        }
        // After each: one may take long.
        part.step(1);
    }
    Ok(is_gone)
}
