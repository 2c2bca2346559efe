//! A process as the simulation has it: the rooms and what keeps them, on a disk; all that is lost with it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::journal::Durability;
use engine::journal::keeper::{KeepOptions, Keeper};
use engine::journal::log::LogError;
use engine::journal::recorder::Recorder;
use engine::journal::recovery::Recovered;
use engine::journal::snapshots::SnapshotHead;
use engine::loader::digest::Sha256;
use engine::probation::{Tried, Verdicts};
use logic_api::PlayerId;
use parking_lot::Mutex;
use room::{Input, Outbox, Pool, Reply, Room, Stamp, StepError, TrialId, Watch};

use super::deadly::{Ended, within};
use super::game::{Versions, created_on};
use super::verdicts::Decision;
use crate::disk::MemoryDisk;

/// The data folder.
pub(super) const DATA: &str = "/data";
/// The rooms that there are.
pub(super) const ROOMS: [&str; 2] = ["duel", "main"];

/// Their places among them.
pub(super) fn all() -> Range<usize> {
    0..ROOMS.len()
}

/// Short, so that there are many.
const SEGMENT_BYTES: u64 = 3000;
/// The simulation makes it be over when it wants a snapshot.
const SNAPSHOT_PERIOD: Duration = Duration::from_secs(3600);

/// What was let go, or is known to be safe: a room, its place in the room's history, and how many calls had been made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) room: usize,
    pub(super) place: usize,
    pub(super) calls: u64,
}

/// What of the disk takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slow {
    /// What is written, or synced, of the rooms' journals.
    Records,
    Snapshots,
}

pub(super) struct Process {
    pub(super) disk: MemoryDisk,
    pub(super) verdicts: Verdicts,
    /// The trial that had no verdict when the process before this one ended.
    pub(super) interrupted: Option<TrialId>,
    keeper: Keeper,
    pub(super) pool: Pool,
    rooms: [Option<(Room, Recorder)>; ROOMS.len()],
    /// The first random numbers of inputs of its journals by which it ends.
    pub(super) deadly: BTreeSet<u64>,
    /// It has, within an input, and what is here is only on its way out.
    pub(super) ended: Cell<Option<Ended>>,
    durability: Durability,
    /// What is in flight: see [`Process::stall`].
    stalled: Option<Slow>,
    /// The thread that takes its time waits in a call, or is to.
    has_work: bool,
    /// Outputs have left that were caused by what is up to there.
    pub(super) acknowledged: Arc<Mutex<Vec<Told>>>,
    /// What a call that failed was, from when on nothing may be acknowledged.
    failure: Arc<Mutex<Option<String>>>,
    outbox: Outbox,
}

impl Process {
    pub(super) fn start(disk: MemoryDisk, durability: Durability) -> Result<Process, String> {
        let options = KeepOptions { durability, snapshot_period: SNAPSHOT_PERIOD, snapshot_bytes: u64::MAX };
        let failure = Arc::new(Mutex::new(None));
        let on_failure = {
            let failure = Arc::clone(&failure);
            move |error: &LogError| {
                failure.lock().get_or_insert(error.to_string());
            }
        };
        let files = Arc::new(disk.clone());
        // First, as in the engine: a room is brought to what they say.
        let verdicts = Verdicts::open(files.clone(), Path::new(DATA));
        let (verdicts, interrupted) = verdicts.map_err(|error| error.to_string())?;
        let interrupted = interrupted.map(|tried| tried.trial);
        let keeper = Keeper::start_on((files, SEGMENT_BYTES), Path::new(DATA), options, on_failure);
        let keeper = keeper.map_err(|error| error.to_string())?;
        let acknowledged = Arc::default();
        Ok(Process {
            disk,
            verdicts,
            interrupted,
            keeper,
            pool: Pool::new(),
            rooms: [None, None],
            deadly: BTreeSet::new(),
            ended: Cell::default(),
            durability,
            stalled: None,
            has_work: false,
            acknowledged,
            failure,
            outbox: Outbox::new(),
        })
    }

    /// What is left of a room.
    pub(super) fn recover(&self, at: usize, versions: &Versions) -> Result<Option<Recovered>, String> {
        let recover = || self.keeper.recover(ROOMS[at], (&self.pool, &Arc::default()), &mut |mark| versions.find(mark));
        let (recovered, ended) = within(&self.disk, &self.deadly, recover);
        self.ended.set(ended);
        recovered.map_err(|error| error.to_string())
    }

    /// Goes on with a room that was brought back to this place in its history, and tells of it.
    pub(super) fn go_on(&mut self, at: usize, recovered: Recovered, place: usize) {
        self.rooms[at] = Some(self.keeper.record_on(recovered, &self.pool));
        self.release(at, place);
    }

    pub(super) fn create(&mut self, at: usize, versions: &Versions, stamp: Stamp, input: &Input) {
        let Input::Create { config } = input else { unreachable!("{input:?}") };
        let logic = versions.numbered(created_on(config));
        let room = Room::create(ROOMS[at], logic, &self.pool, stamp, config, &mut self.outbox).unwrap();
        let mut recorder = self.keeper.record_new(ROOMS[at], &self.pool, b"{}".to_vec(), None);
        recorder.created(&room, stamp, input);
        self.rooms[at] = Some((room, recorder));
        // Its files are made elsewhere.
        self.keeper.journal().written();
    }

    /// The rooms that it has.
    pub(super) fn rooms(&self) -> Vec<usize> {
        all().filter(|at| self.rooms[*at].is_some()).collect()
    }

    pub(super) fn room(&mut self, at: usize) -> &mut Room {
        &mut self.rooms[at].as_mut().unwrap().0
    }

    pub(super) fn step(&mut self, at: usize, stamp: Stamp, input: Input) -> Result<Reply, StepError> {
        let (room, recorder) = self.rooms[at].as_mut().unwrap();
        self.outbox.drain().for_each(drop);
        let outbox = &mut self.outbox;
        let step = || {
            recorder.step(room, stamp, input, |room: &mut Room, input, watch: &mut dyn Watch| {
                room.step_watched(stamp, input, outbox, watch)
            })
        };
        let (stepped, ended) = within(&self.disk, &BTreeSet::new(), step);
        self.ended.set(ended);
        drop(room.take_spent());
        stepped
    }

    /// A player has left, and the room has not heard of it.
    pub(super) fn leaves(&mut self, at: usize, player: PlayerId, reason: &Arc<str>) {
        let (room, recorder) = self.rooms[at].as_mut().unwrap();
        recorder.leaves(room, player, reason);
    }

    /// Has the disk take its time, so that what is ordered is in flight until [`Process::go_on_all`]. Nothing of it is left to
    /// chance: the journal's thread waits in the first call that it makes, or the one that syncs does, and all that is ordered
    /// meanwhile is taken together when it goes on.
    pub(super) fn stall(&mut self, what: Slow) {
        // A segment that ends waits for the sync under way, and nobody could say when it has come to that.
        let may_divide =
            self.durability != Durability::Tick && self.rooms().iter().any(|at| self.segment_bytes(*at) > 1500);
        if self.disk.failed().is_some() || what == Slow::Records && may_divide {
            return;
        }
        self.settle();
        (self.stalled, self.has_work) = (Some(what), false);
        match what {
            Slow::Snapshots => self.disk.hold("snapshots"),
            Slow::Records => self.disk.hold(self.slow_thread()),
        }
        if what == Slow::Records && self.durability != Durability::Tick {
            self.keeper.journal().flush(Box::new(|| {}));
            self.written_and_on();
        }
    }

    /// Of a room's last segment.
    fn segment_bytes(&self, at: usize) -> usize {
        self.last_file(at, "journal").map_or(0, |last| self.disk.bytes(&last).len())
    }

    /// The last of a room's files of a kind. To look at it is no call.
    fn last_file(&self, at: usize, kind: &str) -> Option<PathBuf> {
        let folder = Path::new(DATA).join("rooms").join(ROOMS[at]);
        let is_of_it = |path: &PathBuf| path.starts_with(&folder) && path.extension().is_some_and(|it| it == kind);
        self.disk.paths().into_iter().rfind(is_of_it)
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Twice: what the journal's thread does after it has let go of something is done then, too.
    fn written_and_on(&self) {
        let _unless_failed = self.keeper.journal().written() && self.keeper.journal().written();
    }

    /// The thread that the calls are made on that take long.
    fn slow_thread(&self) -> &'static str {
        if self.durability == Durability::Tick { "journal" } else { "journal-sync" }
    }

    /// The disk goes on; one thread after the other, so that every run makes the same calls on files.
    pub(super) fn go_on_all(&mut self) {
        if self.stalled.take().is_none() {
            return;
        }
        self.disk.let_go(self.slow_thread());
        let _unless_failed = self.keeper.journal().flushed();
        // What a snapshot lets the journal forget comes after all snapshots.
        self.disk.hold("journal");
        self.disk.let_go("snapshots");
        self.keeper.snapshots_made();
        self.disk.let_go("journal");
        self.settle();
    }

    /// Lets go of what was caused up to this place in the room's history, when it is safe, and waits for that.
    pub(super) fn release(&mut self, at: usize, place: usize) {
        let (_, recorder) = self.rooms[at].as_mut().unwrap();
        let (acknowledged, disk) = (Arc::clone(&self.acknowledged), self.disk.clone());
        let told = move || acknowledged.lock().push(Told { room: at, place, calls: disk.calls() });
        let has_records = recorder.has_records();
        recorder.release(told);
        match (self.stalled, self.durability) {
            (Some(Slow::Records), Durability::Tick) if has_records => {
                self.disk.until_waits("journal");
                self.has_work = true;
            }
            (Some(Slow::Records), Durability::Tick) => {}
            _ => self.written_and_on(),
        }
    }

    /// Snapshots of all rooms, unless something stands against them, that are in flight like all else.
    pub(super) fn begin_snapshots(&mut self) {
        if self.stalled != Some(Slow::Snapshots) || std::mem::replace(&mut self.has_work, true) {
            return;
        }
        let later = Instant::now() + 2 * SNAPSHOT_PERIOD;
        for is_ready in [false, true] {
            for (room, recorder) in self.rooms.iter_mut().flatten() {
                recorder.snapshot_if_due(room, later);
            }
            if !is_ready {
                self.keeper.snapshots_made();
            }
        }
        self.written_and_on();
    }

    /// Makes a snapshot of a room, unless something stands against it. Who is to leave by what it says.
    pub(super) fn snapshot(&mut self, at: usize) -> Option<BTreeMap<PlayerId, Arc<str>>> {
        let before = self.last_file(at, "snapshot");
        let later = Instant::now() + 2 * SNAPSHOT_PERIOD;
        // Once to get pages ready, once to make it.
        for _ in 0..2 {
            let (room, recorder) = self.rooms[at].as_mut().unwrap();
            recorder.snapshot_if_due(room, later);
            self.settle();
        }
        let made = self.last_file(at, "snapshot").filter(|last| before.is_none_or(|before| before != *last))?;
        Some(SnapshotHead::read(&self.disk.bytes(&made)[..]).unwrap().leaving)
    }

    /// As `snapshot`, without waiting for it.
    pub(super) fn begin_snapshot(&mut self, at: usize) {
        let later = Instant::now() + 2 * SNAPSHOT_PERIOD;
        for is_ready in [false, true] {
            let (room, recorder) = self.rooms[at].as_mut().unwrap();
            recorder.snapshot_if_due(room, later);
            if is_ready {
                self.keeper.journal().written();
            } else {
                self.settle();
            }
        }
    }

    /// Removes a room, and what is kept of it.
    pub(super) fn remove(&mut self, at: usize) {
        let (_, recorder) = self.rooms[at].take().unwrap();
        recorder.remove();
    }

    /// Waits for what was ordered, so that every run makes the same calls on files.
    pub(super) fn settle(&self) {
        self.keeper.journal().written();
        self.keeper.snapshots_made();
        self.keeper.journal().written();
    }

    /// Waits for all that was applied to survive the machine. False if that was not to be.
    pub(super) fn flush(&self) -> bool {
        self.keeper.journal().flushed()
    }

    /// Ends in order.
    pub(super) fn end(mut self) -> MemoryDisk {
        for at in all() {
            if let Some((mut room, mut recorder)) = self.rooms[at].take() {
                recorder.end(&mut room);
                self.settle();
            }
        }
        self.keeper.end();
        self.disk.clone()
    }

    /// Keeps a decision before anybody is told of it. False if that cannot be: nothing is let go of then.
    pub(super) fn decide(&self, decision: Decision) -> bool {
        let kept = match decision {
            Decision::Begins(trial) => self.verdicts.begin(tried(trial)),
            Decision::Stays(trial) => self.verdicts.confirm(tried(trial)),
            Decision::Over => self.verdicts.end(),
        };
        kept.inspect_err(|error| self.keeper.fail(error)).is_ok()
    }

    /// Has a call fail that is on no room's own file.
    pub(super) fn fail(&self, path: &str) {
        let source = std::io::Error::from_raw_os_error(5);
        self.keeper.fail(&LogError { what: "syncing", path: path.to_owned(), source });
    }

    /// What a call that failed was, once one has.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }
}

/// Its threads end, which they cannot while their calls are held.
impl Drop for Process {
    fn drop(&mut self) {
        ["journal", "journal-sync", "snapshots"].into_iter().for_each(|thread| self.disk.let_go(thread));
    }
}

fn tried(trial: TrialId) -> Tried {
    let (name, at) = ("game".to_owned(), "2026-01-02T03:04:05Z".parse().unwrap());
    Tried { trial, sha256: Sha256::of(&trial.0.to_le_bytes()), version: 1002, name, at }
}
