//! What a room's thread has to do with its journal: every input is noted before it is applied, becomes a record if it was, and
//! its outputs wait for that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use logic_api::PlayerId;
use parking_lot::Mutex;
use room::{
    Input, LogicFault, LogicVersion, Note, Pool, RecordKind, Reply, Request, Response, Room, Skipped, Stamp, StepError,
    Watch, encode_input,
};

use super::batch::Batch;
use super::black_box::{BlackBox, Occasion, QUERY};
use super::keeper::{Keeper, SharedBox, SnapshotTask};
use super::snapshots::kept_of_reason;
use super::writer::Writer;

/// A state hash is noted this often, for replays to compare with. It reads every page that was written to since.
const HASH_PERIOD: Duration = Duration::from_secs(10);
/// The most pages that are got ready for a snapshot.
const RESERVE_PAGES_MAX: u64 = 2048;

/// Keeps one room.
#[derive(Debug)]
pub struct Recorder {
    keeper: Keeper,
    writer: Writer,
    folder: PathBuf,
    room: u64,
    pool: Pool,
    noting: Noting,
    /// The room's own, once the journal's thread has opened it.
    opened: Receiver<BlackBox>,
    /// Kept for its memory.
    asked: Vec<u8>,
    batch: Batch,
    was_frozen: bool,
    hash_at_us: u64,
    snapshot_at: Instant,
    bytes_since: u64,
    is_ready: Option<Arc<AtomicBool>>,
    is_busy: Arc<AtomicBool>,
    /// Who has left, and why, though the room has not heard of it. All of them are in its world, which does not know; so the heads of
    /// snapshots have this, and the journal the changes of it.
    leaving: BTreeMap<PlayerId, Arc<str>>,
    /// The room has had its last input: neither a note nor a snapshot comes after that.
    is_disposed: bool,
    stay: Arc<Stay>,
}

impl Recorder {
    pub(super) fn new(
        keeper: Keeper,
        (writer, folder, room): (Writer, PathBuf, u64),
        pool: Pool,
        (noting, opened): (Noting, Receiver<BlackBox>),
    ) -> Self {
        let snapshot_at = Instant::now() + keeper.options().snapshot_period;
        Self {
            keeper,
            writer,
            folder,
            room,
            pool,
            noting,
            opened,
            asked: Vec::new(),
            batch: Batch::default(),
            was_frozen: false,
            hash_at_us: 0,
            snapshot_at,
            bytes_since: 0,
            is_ready: None,
            is_busy: Arc::default(),
            leaving: BTreeMap::new(),
            is_disposed: false,
            stay: Arc::default(),
        }
    }

    /// The room has been created by this input.
    pub fn created(&mut self, room: &Room, stamp: Stamp, input: &Input) {
        self.batch.push(0, |out| encode_input(stamp, input, room.logic(), out));
        self.hash_at_us = stamp.now_us;
    }

    /// The room has been brought back without these.
    pub(super) fn skipped(&mut self, tick: u64, skipped: &[Skipped]) {
        skipped.iter().for_each(|skipped| self.batch.push(tick, |out| Note::Skipped(*skipped).encode(out)));
    }

    /// The room has been brought back, by what is recorded already.
    pub(super) fn resumed(&mut self, room: &Room, leaving: BTreeMap<PlayerId, Arc<str>>) {
        self.was_frozen = room.frozen().is_some();
        self.leaving = leaving;
        self.forget_gone(room);
    }

    /// The player is gone for good, and is told so, but the room is still to hear of it: it takes no inputs now, or the logic has
    /// failed on it. Noted once, however often that fails; the leave that the room takes is the end of it.
    pub fn leaves(&mut self, room: &Room, player: PlayerId, reason: &Arc<str>) {
        if self.is_disposed || self.leaving.contains_key(&player) || room.world().player(player).is_none() {
            return;
        }
        let reason = kept_of_reason(reason);
        self.leaving.insert(player, Arc::clone(&reason));
        self.batch.push(room.tick().0, |out| Note::Leaving { player, reason }.encode(out));
    }

    /// Whoever is not in the world has no leave to come.
    fn forget_gone(&mut self, room: &Room) {
        self.leaving.retain(|player, _| room.world().player(*player).is_some());
    }

    /// Applies an input by `step`, and has it recorded if it was applied.
    ///
    /// # Errors
    /// Those of `step`, and a fault for what is in quarantine.
    pub fn step(
        &mut self,
        room: &mut Room,
        stamp: Stamp,
        mut input: Input,
        step: impl FnOnce(&mut Room, Input, &mut dyn Watch) -> Result<Reply, StepError>,
    ) -> Result<Reply, StepError> {
        self.take_own_box();
        if let (Input::Rewind { without }, Noting::Own(black_box)) = (&mut input, &self.noting) {
            *without = black_box.without(room).into();
        }
        let tick = room.tick().0;
        if matches!(input, Input::Swap { .. }) && room.logic().gone_because().is_some() {
            // A replay may find the code again, and must freeze all the same: a rewind goes back to that.
            self.was_frozen = false;
            self.note_frozen(room, None);
        }
        let mut kind = RecordKind(0);
        self.batch.push(tick, |out| {
            kind = encode_input(stamp, &input, room.logic(), out);
            kind
        });
        // A verdict is not refused, whatever comes of it.
        let is_verdict = matches!(input, Input::Confirm | Input::Rewind { .. });
        let begun = match is_verdict {
            true => Ok(()),
            false => self.noting.begin((kind, tick, self.batch.last()), room.logic()),
        };
        let failed_tick = (kind == RecordKind::TICK).then_some(stamp);
        if let Err(fault) = begun {
            self.batch.pop();
            if failed_tick.is_some() {
                // What keeps time must not go on without it.
                room.freeze(LogicFault::clone(&fault));
                self.note_frozen(room, failed_tick);
            }
            return Err(StepError::Fault(*fault));
        }
        self.is_disposed |= matches!(input, Input::Dispose);
        let is_swap = matches!(input, Input::Swap { .. } | Input::Rewind { .. });
        let leaver = matches!(input, Input::Leave { .. }).then(|| input.player());
        let stepped = match &mut self.noting {
            Noting::Own(black_box) if is_verdict => step(room, input, &mut black_box.rewinding(0)),
            noting => {
                let stepped = step(room, input, &mut ());
                noting.end();
                stepped
            }
        };
        if stepped.is_err() {
            self.batch.pop();
        } else if is_swap {
            self.was_frozen = room.frozen().is_some();
            // A rewind may be to before they joined.
            self.forget_gone(room);
        } else if let Some(player) = leaver {
            self.leaving.remove(&player);
        }
        self.note_frozen(room, failed_tick);
        if stamp.now_us >= self.hash_at_us && stepped.is_ok() && !self.is_disposed {
            self.hash_at_us = stamp.now_us.saturating_add(micros(HASH_PERIOD));
            let hash = room.state_hash();
            self.batch.push(room.tick().0, |out| Note::Hash(hash).encode(out));
        }
        stepped
    }

    /// Asks the logic's `query`, which is no input, but may end the process as one may.
    ///
    /// # Errors
    /// It panicked, or what it is asked is in quarantine.
    pub fn query(&mut self, room: &mut Room, request: &Arc<Request>) -> Result<Option<Response>, LogicFault> {
        self.take_own_box();
        self.asked.clear();
        encode_input(Stamp::default(), &Input::Request(Arc::clone(request)), room.logic(), &mut self.asked);
        self.noting.begin((QUERY, room.tick().0, &self.asked), room.logic()).map_err(|fault| *fault)?;
        let answered = room.query(request);
        self.noting.end();
        answered
    }

    fn take_own_box(&mut self) {
        if !matches!(self.noting, Noting::Own(_))
            && let Ok(opened) = self.opened.try_recv()
        {
            self.noting = Noting::Own(opened);
        }
    }

    /// That a fault froze the room is no input, but what came after depends on it.
    fn note_frozen(&mut self, room: &Room, tick: Option<Stamp>) {
        let is_frozen = room.frozen().is_some();
        if let Some(fault) = room.frozen().filter(|_| !self.was_frozen) {
            self.batch.push(room.tick().0, |out| Note::Freeze { fault: fault.clone(), tick }.encode(out));
        }
        self.was_frozen = is_frozen;
    }

    /// Has `release` let go when all that was applied so far is safe.
    pub fn release(&mut self, release: impl FnOnce() + Send + 'static) {
        self.bytes_since += self.batch.bytes();
        self.writer.commit(&mut self.batch, release);
    }

    /// Whether something waits to be committed that has no outputs.
    pub fn has_records(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Makes a snapshot if it is time. To be called between inputs, after [`Recorder::release`].
    pub fn snapshot_if_due(&mut self, room: &mut Room, now: Instant) {
        let is_due = self.bytes_since > 0
            && (now >= self.snapshot_at || self.bytes_since >= self.keeper.options().snapshot_bytes);
        if !is_due
            || self.is_disposed
            || self.is_busy.load(Ordering::Acquire)
            || room.trial().is_some()
            || !self.batch.is_empty()
        {
            return;
        }
        match &self.is_ready {
            None => {
                let is_ready = Arc::new(AtomicBool::new(false));
                self.is_ready = Some(Arc::clone(&is_ready));
                let pages = usize::try_from(room.world().size().pages.min(RESERVE_PAGES_MAX)).unwrap_or(0);
                self.keeper.snapshot(SnapshotTask::Reserve { pool: self.pool.clone(), pages, is_ready });
            }
            Some(is_ready) if is_ready.load(Ordering::Acquire) => self.snapshot(room, now),
            Some(_) => {}
        }
    }

    /// The engine ends, and the room is to go on when it starts again: from here, if nothing stands against a snapshot.
    pub fn end(&mut self, room: &mut Room) {
        self.release(|| {});
        if self.bytes_since > 0 && !self.is_busy.load(Ordering::Acquire) {
            self.snapshot(room, Instant::now());
        }
    }

    fn snapshot(&mut self, room: &mut Room, now: Instant) {
        let Some(image) = room.image() else { return };
        self.is_ready = None;
        self.bytes_since = 0;
        self.snapshot_at = now + self.keeper.options().snapshot_period;
        self.is_busy.store(true, Ordering::Release);
        let (keeper, id, folder, room) = (self.keeper.clone(), self.writer.id(), self.folder.clone(), self.room);
        let (image, is_busy, stay) = (Box::new(image), Arc::clone(&self.is_busy), Arc::clone(&self.stay));
        let leaving = self.leaving.clone();
        let then = move |position| {
            keeper.snapshot(SnapshotTask::Write { id, folder, room, position, leaving, image, is_busy, stay });
        };
        self.writer.divide(then);
    }

    /// The room is gone. What was committed before is let go first.
    pub fn remove(self) {
        // Before its folder goes: nothing is written of it to that of the next room of its name.
        self.stay.is_over.store(true, Ordering::Release);
        let keeper = self.keeper;
        // By the thread of the snapshots: the journal's, which all rooms wait for, has no time for it.
        self.writer.remove(move |rest| keeper.snapshot(SnapshotTask::Clear(rest)));
    }
}

/// Where what is new is noted while it is under way.
#[derive(Debug)]
pub(super) enum Noting {
    /// In the room's own box.
    Own(BlackBox),
    /// In that of its thread, until the room's own is open.
    Unborn(SharedBox),
    Nowhere,
}

impl Noting {
    #[inline]
    fn begin(
        &mut self,
        (kind, tick, payload): (RecordKind, u64, &[u8]),
        running: &LogicVersion,
    ) -> Result<(), Box<LogicFault>> {
        match self {
            Self::Own(black_box) => black_box.begin(Occasion::New, kind, tick, payload, running),
            Self::Unborn(shared) => shared.lock().begin(Occasion::New, kind, tick, payload, running),
            Self::Nowhere => Ok(()),
        }
    }

    #[inline]
    fn end(&mut self) {
        match self {
            Self::Own(black_box) => black_box.end(),
            Self::Unborn(shared) => shared.lock().end(),
            Self::Nowhere => {}
        }
    }
}

/// How long a room's folder is there for its snapshots. It may go under one that is being written, which fails then; but none is
/// written to the folder of the next room of that name.
#[derive(Debug, Default)]
pub(super) struct Stay {
    /// The room is gone: what is being written of it is given up.
    pub(super) is_over: AtomicBool,
    /// Those that are known to be sound: read back, and there still.
    pub(super) sound: Mutex<BTreeSet<u64>>,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
