//! `engine replay`: a room's journal once more, to look at, to verify, or to try a fix on. Changes nothing that is kept.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use logic_api::{Tick, Version};
use room::{
    Input, LogicFault, LogicVersion, Note, Outbox, Pool, Record, RecordKind, Room, Skipped, Stamp, StepError, TrialId,
    VersionMark,
};

use crate::cli::check::{CheckError, map};
use crate::cli::dump::{DumpError, dump};
use crate::cli::folder::{FolderError, RoomsFolder};
use crate::cli::watched;
use crate::journal::black_box::BlackBox;
use crate::journal::compare::{first_difference, first_nan};
use crate::journal::files::{Disk, Files};
use crate::journal::frame::{Position, StoredRecord};
use crate::journal::log::LogError;
use crate::journal::recovery::{RecoveryError, oldest_start};
use crate::journal::replay::{NEVER, Replay, ReplayError};
use crate::journal::segments::{Damage, Found, look};
use crate::journal::snapshots;
use crate::loader::load::Loader;
use crate::progress::{Pace, percent};

/// How often the bar moves.
const BAR_PERIOD: Duration = Duration::from_millis(100);
const BAR_CHARS: usize = 30;

#[derive(Debug, Clone, Args)]
pub struct ReplayFlags {
    /// The room.
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub room: String,
    /// Stop after this tick, when the room first comes to it [default: the last record].
    #[arg(long, value_name = "TICK")]
    pub until: Option<u64>,
    /// Replay on this plugin beside the versions that ran, and show where the two first differ.
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    pub with: Option<PathBuf>,
    /// A field (Avatar.hp) or a table (orbs) that may be lost by that; may be given more than once.
    #[arg(long, value_name = "NAME", requires = "with")]
    pub drop: Vec<String>,
    /// Write the room as JSON at the end of the replay; to standard output without a FILE.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub dump: Option<PathBuf>,
    /// Compare with every state hash and snapshot that is kept, and with a second replay at every tick.
    #[arg(long)]
    pub verify: bool,
    /// Leave a record out, by its number as `engine journal tail` shows it; for an input that a rewind applies once more,
    /// that of the rewind, a dot, and the input's number since the swap. May be given more than once.
    #[arg(long, value_name = "RECORD[.INPUT]", value_parser = watched::parse)]
    pub without: Vec<Skipped>,
    /// As `without`: what has ended a replay before this one.
    #[arg(long, value_name = "RECORD[.INPUT]", value_parser = watched::parse, hide = true)]
    pub ended: Vec<Skipped>,
    /// Where this process notes what it is about to do, for the one that watches it.
    #[arg(long, value_name = "DIR", hide = true)]
    pub watched: Option<PathBuf>,
    /// Data folder [default: that of the config file].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Config file that names the data folder [default: engine.toml if it is there].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why a replay did not come to its end, or did not come to the same.
#[derive(Debug, thiserror::Error)]
pub enum ReplayCommandError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error(transparent)]
    Replay(#[from] Box<ReplayError>),
    #[error(transparent)]
    Candidate(#[from] CheckError),
    #[error(transparent)]
    Dump(#[from] DumpError),
    #[error("not verified: {0}")]
    NotVerified(String),
    #[error("there is nothing to replay")]
    Nothing,
    #[error("a process to replay in cannot be had: {0}")]
    Child(std::io::Error),
    #[error("the replay was ended {how}, {at}")]
    Ended { how: String, at: String },
    #[error("{room} is kept from tick {oldest} on, and --until {until} is before that")]
    TooEarly { room: String, oldest: Tick, until: Tick },
    #[error(
        "--without {without} leaves nothing out: there is no such input among records {from} to {to}; an input that a rewind applies \
         once more is named as RECORD.INPUT, and the rewind itself, or a confirm, cannot be left out"
    )]
    NothingLeftOut { without: String, from: u64, to: u64 },
    #[error("version {version} does not take the room over at tick {tick}: {error}")]
    NotTaken { version: Version, tick: Tick, error: StepError },
    #[error("nothing called {0:?} is lost; leave --drop {0} out")]
    NothingDropped(String),
    #[error("given up: {ends}, as others before it")]
    TooMany { ends: String },
    /// By the process that did the work.
    #[error("the replay failed")]
    Told,
}

impl ReplayCommandError {
    /// The engine that is running has removed what it does not need any more, or has made what was not there before.
    fn is_any_gone(&self) -> bool {
        match self {
            Self::Damage(damage) | Self::Recovery(RecoveryError::Damage(damage)) => damage.is_gone(),
            Self::Recovery(
                RecoveryError::Short { .. } | RecoveryError::NoSegment { .. } | RecoveryError::NoStart { .. },
            ) => true,
            _ => false,
        }
    }
}

/// What is replayed, from where to where.
struct Journey<'a> {
    files: &'a Arc<dyn Files>,
    folder: &'a Path,
    found: Found,
    loader: &'a Loader,
    until: Option<Tick>,
    name: &'a str,
    /// What whoever replays wants to be left out.
    asked: &'a [Skipped],
    without: BTreeMap<Skipped, u64>,
    black_box: &'a RefCell<BlackBox>,
}

/// Does what the flags say; the text sums it up.
///
/// # Errors
/// [`ReplayCommandError`].
pub fn replay(flags: ReplayFlags) -> Result<String, ReplayCommandError> {
    let Some(folder) = flags.watched.clone() else { return watched::replay(&flags) };
    watched::begin();
    let came = replay_here(flags, &folder);
    watched::end(&folder).map_err(ReplayCommandError::Child)?;
    came
}

/// Makes all that it makes in `watched`.
fn replay_here(flags: ReplayFlags, watched: &Path) -> Result<String, ReplayCommandError> {
    let ReplayFlags {
        room,
        until,
        with,
        drop: drops,
        dump: to,
        verify,
        without: asked,
        ended,
        watched: _,
        data,
        config,
    } = flags;
    let rooms = RoomsFolder::open(data, config.clone(), Some(&room))?;
    let folder = rooms.of(&room);
    let loader = Loader::looking(&rooms.config, &rooms.config.data, watched);
    let files: Arc<dyn Files> = Arc::new(Disk);
    let black_box = RefCell::new(BlackBox::open(&*files, watched)?);
    let with = with.map(|plugin| map(&plugin, config)).transpose()?;
    let (until, drops): (_, Arc<[String]>) = (until.map(Tick), drops.into());
    let travel = || {
        let found = Found::read(&Disk, &folder)?.ok_or(ReplayCommandError::Nothing)?;
        let never = asked.iter().chain(&ended).map(|skipped| (*skipped, NEVER));
        let without = never.chain(found.skipped.clone()).collect();
        let (files, folder, loader, black_box) = (&files, &*folder, &loader, &black_box);
        let journey = Journey { files, folder, found, loader, until, name: &room, asked: &asked, without, black_box };
        match &with {
            Some(candidate) => journey.compared(candidate, Arc::clone(&drops)),
            None if verify => journey.verified(),
            None => journey.plain(),
        }
    };
    // With the versions that the first attempt has loaded the next one is soon past what goes first.
    let (room, mut text) = look(travel, ReplayCommandError::is_any_gone)?;
    if let Some(until) = until.filter(|until| room.tick() < *until) {
        text.push_str(&format!("the journal ends at tick {}, before {until}\n", room.tick()));
    }
    match to {
        Some(path) => Ok(dump(&room, &path, text)?),
        None => Ok(text),
    }
}

impl Journey<'_> {
    fn find(&self) -> impl FnMut(&VersionMark) -> Result<Arc<LogicVersion>, String> + '_ {
        |mark| self.loader.load_kept(mark).map(|mapped| Arc::clone(&mapped.logic))
    }

    /// The room at the oldest place that is kept, and where that is.
    fn start(&self) -> Result<(Replay, Position), ReplayCommandError> {
        let pool = Pool::new();
        let (room, after) = oldest_start(self.files, self.folder, &self.found, &pool, &mut self.find())?;
        let oldest = room.as_ref().map_or(Tick(0), Room::tick);
        if let Some(until) = self.until.filter(|until| *until < oldest) {
            return Err(ReplayCommandError::TooEarly { room: self.name.to_owned(), oldest, until });
        }
        Ok((Replay::new(self.name, &pool, room, self.without.clone()), after))
    }

    /// The same room twice. Not by two looks at the snapshots: a running engine may have removed the oldest between them.
    fn starts(&self) -> Result<(Replay, Replay, Position), ReplayCommandError> {
        let (mut one, after) = self.start()?;
        let two = Replay::new(self.name, &Pool::new(), one.room().map(Room::twin), self.without.clone());
        Ok((one, two, after))
    }

    fn apply(&self, replay: &mut Replay, record: &StoredRecord) -> Result<(), ReplayError> {
        replay.apply(record, &mut self.find(), Some(&mut self.black_box.borrow_mut()))
    }

    /// Calls `each` with every record up to the last tick that is asked for.
    fn records(
        &self,
        after: Position,
        mut each: impl FnMut(&StoredRecord) -> Result<(), ReplayCommandError>,
    ) -> Result<u64, ReplayCommandError> {
        let mut bar = Bar::new(self.found.last.seq - after.seq);
        let (mut unseen, mut last) = (self.asked.to_vec(), after.seq);
        let nothing = |skipped: &Skipped, to| {
            Err(ReplayCommandError::NothingLeftOut { without: watched::written(*skipped), from: after.seq + 1, to })
        };
        if let Some(skipped) = unseen.iter().find(|it| it.record <= after.seq || it.record > self.found.last.seq) {
            return nothing(skipped, self.found.last.seq);
        }
        for record in self.found.records(&**self.files, after) {
            let record = record?;
            let is_past = |until: Tick| record.tick >= until.0 && record.kind == RecordKind::TICK;
            if self.until.is_some_and(is_past) {
                break;
            }
            bar.step(&record);
            each(&record)?;
            last = record.seq;
            unseen.retain(|skipped| !is_of(*skipped, &record));
        }
        match unseen.first() {
            None => Ok(bar.done),
            Some(skipped) => nothing(skipped, last),
        }
    }

    fn plain(&self) -> Result<(Room, String), ReplayCommandError> {
        let (mut replay, after) = self.start()?;
        let started = Instant::now();
        let (mut first_us, mut failed) = (None, Vec::new());
        let records = self.records(after, |record| {
            let applied = self.apply(&mut replay, record);
            if first_us.is_none() {
                first_us = replay.room().map(|room| room.now_us());
            }
            note(&mut failed, applied)
        })?;
        let mut room = replay.into_room().ok_or(ReplayCommandError::Nothing)?;
        let (hash, took) = (room.state_hash(), started.elapsed());
        let real = Duration::from_micros(room.now_us().saturating_sub(first_us.unwrap_or(room.now_us())));
        let mut text =
            format!("{records} records of {} in {took:.1?}: tick {}, state hash {hash:016x}\n", self.name, room.tick());
        if real > Duration::from_secs(1) {
            let times = real.as_secs_f64() / took.as_secs_f64().max(1e-9);
            text.push_str(&format!("{:.0} s of play, {times:.0} times as fast\n", real.as_secs_f64()));
        }
        failed.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        Ok((room, text))
    }

    /// Twice at once, so that what is never the same shows at the first tick, and with all that was noted at the time.
    fn verified(&self) -> Result<(Room, String), ReplayCommandError> {
        let (mut one, mut two, after) = self.starts()?;
        let mut snapshots = self.snapshots_after(after);
        let (mut hashes, mut compared, mut skipped) = (0_u64, 0_u64, BTreeSet::new());
        let records = self.records(after, |record| {
            let mut failed = None;
            for replay in [&mut one, &mut two] {
                match self.apply(replay, record) {
                    Ok(()) => {}
                    Err(error) if !error.is_fatal() && !replay.is_as_recorded(record.seq) => {
                        skipped.insert(error.to_string());
                    }
                    Err(error) if error.is_fatal() => return Err(Box::new(error).into()),
                    Err(error) => failed = Some(error),
                }
            }
            if record.kind == RecordKind::HASH {
                hashes += u64::from(one.is_as_recorded(record.seq));
                if let Some((room, nan)) = one.room().and_then(|room| first_nan(room.world()).map(|nan| (room, nan))) {
                    return Err(not_determined(room, &nan));
                }
            }
            if matches!(record.kind, RecordKind::TICK | RecordKind::HASH) || failed.is_some() {
                compare_replays(&mut one, &mut two)?;
            }
            if let Some(error) = failed {
                return Err(ReplayCommandError::NotVerified(error.to_string()));
            }
            if snapshots.last().is_some_and(|snapshot| snapshot.seq == record.seq)
                && let (Some(snapshot), true, Some(room)) =
                    (snapshots.pop(), one.is_as_recorded(record.seq), one.room())
            {
                compared += u64::from(self.compare_with(&snapshot, room)?);
            }
            Ok(())
        })?;
        // What came after the last tick; all of it, in a room that has none.
        compare_replays(&mut one, &mut two)?;
        let room = one.into_room().ok_or(ReplayCommandError::Nothing)?;
        if let Some(nan) = first_nan(room.world()) {
            return Err(not_determined(&room, &nan));
        }
        let mut text = format!(
            "verified: {records} records of {} to tick {}, {hashes} state hashes and {compared} snapshots, and a second \
             replay at every tick, are equal\n",
            self.name,
            room.tick()
        );
        skipped.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        Ok((room, text))
    }

    /// Newest first.
    fn snapshots_after(&self, after: Position) -> Vec<snapshots::SnapshotFile> {
        let found = snapshots::list(&**self.files, self.folder).unwrap_or_default();
        found.into_iter().filter(|snapshot| snapshot.seq > after.seq).collect()
    }

    /// False where it has gone meanwhile.
    fn compare_with(&self, snapshot: &snapshots::SnapshotFile, room: &mut Room) -> Result<bool, ReplayCommandError> {
        let path = snapshot.path.display();
        let differs = |reason: String| Err(ReplayCommandError::NotVerified(reason));
        let opened = snapshots::open(&**self.files, &snapshot.path);
        let (_, mut reader) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return differs(format!("{path}: {error}")),
        };
        match Room::from_snapshot(&mut reader, &Pool::new(), self.find()) {
            Err(error) => differs(format!("{path}: {error}")),
            Ok(mut kept) => {
                if kept.state_hash() == room.state_hash() {
                    return Ok(true);
                }
                let text = first_difference(kept.world(), room.world());
                let text = text.unwrap_or_else(|| "the state hashes differ".to_owned());
                differs(format!("at tick {} the replay differs from {path}: {text}", room.tick()))
            }
        }
    }

    /// Beside the versions that ran, the candidate from the start: would it have helped?
    fn compared(
        &self,
        candidate: &Arc<LogicVersion>,
        drops: Arc<[String]>,
    ) -> Result<(Room, String), ReplayCommandError> {
        let (mut was, mut other, after) = self.starts()?;
        let mut lines = Vec::new();
        let mut difference = None;
        // Without the version that was, there is nothing to compare with; the candidate goes on from the snapshot all the same.
        let gone = was.room().and_then(|room| room.logic().gone_because().map(str::to_owned));
        lines.extend(gone.iter().map(|reason| format!("what was cannot be replayed: {reason}")));
        let change = |room: &mut Room| -> Result<(), ReplayCommandError> {
            let stamp = Stamp { now_us: room.now_us(), seed: 0 };
            let mut unheard = Outbox::new();
            let plan = room.plan_swap(candidate, &drops);
            if let Some(unused) = plan.unused_drops().first() {
                return Err(ReplayCommandError::NothingDropped(unused.to_string()));
            }
            let (to, drops) = (Arc::clone(candidate), Arc::clone(&drops));
            let swap = Input::Swap { to, drops, trial: TrialId::default() };
            let changed =
                room.step(stamp, swap, &mut unheard).and_then(|_| room.step(stamp, Input::Confirm, &mut unheard));
            let (version, tick) = (candidate.version(), room.tick());
            changed.map(drop).map_err(|error| ReplayCommandError::NotTaken { version, tick, error })
        };
        if let Some(room) = other.room() {
            change(room)?;
        }
        let records = self.records(after, |record| {
            if gone.is_none() {
                note(&mut Vec::new(), self.apply(&mut was, record))?;
            }
            let was_there = other.room().is_some();
            match Record::decode(record.kind, &record.payload) {
                // The candidate stays, whatever came, and its hashes are its own.
                Ok(Record::Swap { .. } | Record::Note(Note::Hash(_))) => {}
                Ok(Record::Input { input: Input::Confirm | Input::Rewind { .. }, .. }) => {}
                Ok(Record::Note(Note::Freeze { fault, tick: Some(stamp) })) => {
                    lines.extend(other.room().map(|room| where_it_froze(room, &fault, stamp)));
                }
                Ok(Record::Note(Note::Freeze { fault, tick: None })) => {
                    lines.push(format!(
                        "tick {}: the room froze, not by a tick that could be tried: {fault}",
                        record.tick
                    ));
                }
                _ => note(&mut lines, self.apply(&mut other, record))?,
            }
            if let (false, Some(room)) = (was_there, other.room()) {
                change(room)?;
            }
            if difference.is_none()
                && gone.is_none()
                && record.kind == RecordKind::TICK
                && let (Some(a), Some(b)) = (was.room(), other.room())
                && a.state_hash() != b.state_hash()
            {
                difference = first_difference(a.world(), b.world()).map(|text| (a.tick(), text));
            }
            Ok(())
        })?;
        if let (None, None, Some(a), Some(b)) = (&gone, &difference, was.room(), other.room()) {
            difference = first_difference(a.world(), b.world()).map(|text| (a.tick(), text));
        }
        let room = other.into_room().ok_or(ReplayCommandError::Nothing)?;
        let (version, tick) = (candidate.version(), room.tick());
        let mut text = format!("{records} records of {} on version {version}, to tick {tick}\n", self.name);
        text.push_str(&match difference {
            Some((tick, difference)) => {
                format!("first difference at tick {tick} (first: what was, second: {version}): {difference}\n")
            }
            None if gone.is_some() => String::new(),
            None => "no difference\n".to_owned(),
        });
        lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        Ok((room, text))
    }
}

/// Whether the record is one of which that can be left out.
fn is_of(skipped: Skipped, record: &StoredRecord) -> bool {
    let is_kind = match record.kind {
        RecordKind::REWIND => skipped.again > 0,
        RecordKind::CONFIRM => false,
        kind => skipped.again == 0 && kind.0 < RecordKind::FREEZE.0,
    };
    skipped.record == record.seq && is_kind
}

fn compare_replays(one: &mut Replay, two: &mut Replay) -> Result<(), ReplayCommandError> {
    let (Some(one), Some(two)) = (one.room(), two.room()) else { return Ok(()) };
    if one.state_hash() == two.state_hash() {
        return Ok(());
    }
    let (tick, text) = (one.tick(), first_difference(one.world(), two.world()));
    let text = text.unwrap_or_else(|| "the state hashes differ".to_owned());
    Err(ReplayCommandError::NotVerified(format!("two replays differ at tick {tick}: {text}")))
}

/// Whether the candidate fails in the tick in which the room froze, too.
fn where_it_froze(room: &mut Room, fault: &LogicFault, stamp: Stamp) -> String {
    let tick = fault.tick;
    match room.twin().step(stamp, Input::Tick, &mut Outbox::new()) {
        Ok(_) => format!("tick {tick}: does not fail where the room froze ({fault})"),
        Err(error) => format!("tick {tick}: fails, too: {error}"),
    }
}

fn not_determined(room: &Room, nan: &str) -> ReplayCommandError {
    ReplayCommandError::NotVerified(format!("at tick {}, {nan}: its bits are not determined", room.tick()))
}

/// Keeps what went another way, and ends with what cannot be applied at all.
fn note(lines: &mut Vec<String>, applied: Result<(), ReplayError>) -> Result<(), ReplayCommandError> {
    match applied {
        Ok(_) => Ok(()),
        Err(error) if error.is_fatal() => Err(Box::new(error).into()),
        Err(error) => {
            lines.push(error.to_string());
            Ok(())
        }
    }
}

/// How far a replay is, on a terminal.
struct Bar {
    count: u64,
    done: u64,
    pace: Pace,
    is_shown: bool,
}

impl Bar {
    fn new(count: u64) -> Self {
        Self { count, done: 0, pace: Pace::new(BAR_PERIOD, Instant::now()), is_shown: false }
    }

    fn step(&mut self, record: &StoredRecord) {
        self.done += 1;
        // With each record: one may take long.
        if !self.pace.is_due(Instant::now()) || !std::io::stderr().is_terminal() {
            return;
        }
        self.is_shown = true;
        // Whoever closed standard error does not watch.
        let _ = write!(std::io::stderr(), "\r{} tick {} ", bar(percent(self.done, self.count)), record.tick);
    }
}

fn bar(percent: u64) -> String {
    let full = usize::try_from(percent).unwrap_or(100) * BAR_CHARS / 100;
    format!("[{}{}] {percent:>3} %", "#".repeat(full), ".".repeat(BAR_CHARS - full))
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
