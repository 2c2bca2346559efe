//! Applying records to a room: what recovery does, and `engine replay`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use logic_api::{PlayerId, Tick};
use room::{
    Input, LogicVersion, Malformed, Note, Outbox, Pool, Record, Reply, Room, Skipped, Stamp, StepError, VersionMark,
};

use super::black_box::{BlackBox, Occasion};
use super::frame::StoredRecord;
use super::snapshots::kept_of_reason;
use crate::beat::Beat;
use crate::progress::{Much, Part, Progress};

/// Finds the version that a record names, or says why it cannot be had.
pub type FindVersion<'a> = dyn FnMut(&VersionMark) -> Result<Arc<LogicVersion>, String> + 'a;

/// In place of the record from which on a room was without another one: it never was.
pub const NEVER: u64 = u64::MAX;

/// Why a record was not applied, or shows that the replay went another way.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("record {seq} cannot be read: {fault}")]
    Unreadable { seq: u64, fault: Malformed },
    #[error("record {seq} needs {wanted}: {reason}")]
    Version { seq: u64, wanted: VersionMark, reason: String },
    #[error("record {seq} is a {found}, but a room's first record is its creation")]
    NoRoom { seq: u64, found: String },
    #[error("record {seq} ({record}) {why}, and without it there is no room")]
    NotCreated { seq: u64, record: String, why: PassedOver },
    #[error("record {seq} ({record}) {why}, and is passed over")]
    Skipped { seq: u64, record: String, why: PassedOver },
    #[error("there is no input {seq}.{again} to leave out: the rewind of record {seq} applies {} once more", inputs_to(*.last))]
    NoInput { seq: u64, again: u32, last: u32 },
    #[error("record {seq} ({record}) was applied once, and fails now: {error}")]
    Step { seq: u64, record: String, error: StepError },
    #[error("after record {seq}, at tick {tick}, the state hash is {found:016x}; {expected:016x} was recorded")]
    Hash { seq: u64, tick: Tick, expected: u64, found: u64 },
}

impl ReplayError {
    /// Whether the record is none that this engine can apply, or not as it is asked to; else the room went on, in another way than
    /// before.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Skipped { .. } | Self::Step { .. } | Self::Hash { .. })
    }
}

fn inputs_to(last: u32) -> String {
    match last {
        0 => "none".to_owned(),
        1 => "input 1".to_owned(),
        _ => format!("inputs 1 to {last}"),
    }
}

/// Why a record is not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOver {
    EndsProcess,
    /// Whoever replays leaves it out.
    LeftOut,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndsProcess => "ended the process",
            Self::LeftOut => "is left out",
        })
    }
}

/// How far a rewind of this room is going to be.
pub fn rewinding(progress: &Arc<Progress>, room: &Room) -> Part {
    let inputs = Much::Inputs(room.trial_inputs().unwrap_or(0) as u64);
    progress.part(room.name(), "taking a version back", inputs)
}

/// A room that is brought forward, record by record. Nobody hears its outputs.
#[derive(Debug)]
pub struct Replay {
    name: String,
    pool: Pool,
    room: Option<Room>,
    outbox: Outbox,
    beat: Arc<Beat>,
    progress: Arc<Progress>,
    /// What is not to be applied, and the record from which on that was so.
    without: BTreeMap<Skipped, u64>,
    /// Before this record the room is another than it was at the time.
    other_until: u64,
    /// What was not applied beside that, because it ends the process.
    pub skipped: Vec<Skipped>,
    /// Who has left, and why, though the room has not heard of it: it is still to be told.
    pub leaving: BTreeMap<PlayerId, Arc<str>>,
    /// Records so far.
    pub records: u64,
}

impl Replay {
    /// From the room's creation, or from a snapshot of it. What is in `without` is not applied; the number is that of the record
    /// from which on the room was without it, [`NEVER`] where it never was.
    pub fn new(name: &str, pool: &Pool, room: Option<Room>, without: BTreeMap<Skipped, u64>) -> Self {
        let (name, pool, outbox, skipped) = (name.to_owned(), pool.clone(), Outbox::new(), Vec::new());
        let (beat, leaving) = Default::default();
        let progress = Progress::silent();
        Self { name, pool, room, outbox, beat, progress, without, other_until: 0, skipped, leaving, records: 0 }
    }

    /// Has each callback shown there, and told how far a rewind is.
    #[must_use]
    pub fn shown_on(self, beat: &Arc<Beat>, progress: &Arc<Progress>) -> Self {
        Self { beat: Arc::clone(beat), progress: Arc::clone(progress), ..self }
    }

    /// Whether the room at this record is to be the one that it was at the time.
    pub fn is_as_recorded(&self, seq: u64) -> bool {
        seq >= self.other_until
    }

    pub fn room(&mut self) -> Option<&mut Room> {
        self.room.as_mut()
    }

    pub fn into_room(self) -> Option<Room> {
        self.room
    }

    /// Applies a record. `black_box` has it noted while it is applied.
    ///
    /// # Errors
    /// [`ReplayError`]; unless it is fatal, the next record can be applied.
    pub fn apply(
        &mut self,
        stored: &StoredRecord,
        find: &mut FindVersion<'_>,
        black_box: Option<&mut BlackBox>,
    ) -> Result<(), ReplayError> {
        let since_swap = |this: &Self| this.room.as_ref().and_then(Room::trial_inputs);
        let before = since_swap(self);
        let applied = self.apply_record(stored, find, black_box);
        if let Err(ReplayError::Skipped { .. } | ReplayError::Step { .. }) = applied
            && before == since_swap(self)
            && let Some(room) = &mut self.room
        {
            room.pass_over_on_trial();
        }
        applied
    }

    fn apply_record(
        &mut self,
        stored: &StoredRecord,
        find: &mut FindVersion<'_>,
        mut black_box: Option<&mut BlackBox>,
    ) -> Result<(), ReplayError> {
        let seq = stored.seq;
        let record = Record::decode(stored.kind, &stored.payload);
        let record = record.map_err(|fault| ReplayError::Unreadable { seq, fault })?;
        self.records += 1;
        let found = |find: &mut FindVersion<'_>, mark: &VersionMark| {
            find(mark).map_err(|reason| ReplayError::Version { seq, wanted: mark.clone(), reason })
        };
        let shown = record.to_string();
        let failed = |error| ReplayError::Step { seq, record: shown.clone(), error };
        let (stamp, input) = match record {
            Record::Create { stamp, version, config } => {
                let logic = found(find, &version)?;
                if let Err(why) = self.begin(stored, &logic, black_box.as_deref_mut()) {
                    return Err(ReplayError::NotCreated { seq, record: shown, why });
                }
                let busy = self.beat.step(0, &Input::Create { config: Arc::clone(&config) });
                let created = Room::create(&self.name, logic, &self.pool, stamp, &config, &mut self.outbox);
                drop(busy);
                black_box.into_iter().for_each(BlackBox::end);
                self.outbox.drain().for_each(drop);
                self.room = Some(created.map_err(failed)?);
                return Ok(());
            }
            Record::Swap { stamp, to, drops, trial } => {
                (stamp, Input::Swap { to: found(find, &to)?, drops: drops.into(), trial })
            }
            Record::Input { stamp, input } => (stamp, input),
            Record::Note(note) => return self.note(seq, note),
        };
        let Some(running) = self.room.as_ref().map(|room| Arc::clone(room.logic())) else {
            return Err(ReplayError::NoRoom { seq, found: shown });
        };
        if let Some(reason) = running.gone_because()
            && !matches!(input, Input::Swap { .. } | Input::Confirm | Input::Rewind { .. })
        {
            return Err(ReplayError::Version { seq, wanted: running.mark(), reason: reason.to_owned() });
        }
        let stepped = match input {
            Input::Rewind { without } => {
                self.check_asked(seq)?;
                self.rewind((seq, stamp), &without, black_box)
            }
            Input::Confirm => self.step(stamp, input),
            input => match self.begin(stored, &running, black_box.as_deref_mut()) {
                Ok(()) => {
                    let stepped = self.step(stamp, input.clone());
                    black_box.into_iter().for_each(BlackBox::end);
                    if stepped.is_err() {
                        self.goes_without(stamp, input);
                    }
                    stepped
                }
                Err(why) => {
                    self.goes_without(stamp, input);
                    return Err(ReplayError::Skipped { seq, record: shown, why });
                }
            },
        };
        stepped.map_err(failed)
    }

    /// An error if the input of this record is to be passed over.
    fn begin(
        &mut self,
        stored: &StoredRecord,
        running: &LogicVersion,
        black_box: Option<&mut BlackBox>,
    ) -> Result<(), PassedOver> {
        let skipped = Skipped { record: stored.seq, again: 0 };
        if let Some(since) = self.without.get(&skipped) {
            self.other_until = self.other_until.max(*since);
            return Err(if *since == NEVER { PassedOver::LeftOut } else { PassedOver::EndsProcess });
        }
        let Some(black_box) = black_box else { return Ok(()) };
        let occasion = Occasion::Record(stored.seq);
        black_box.begin(occasion, stored.kind, stored.tick, &stored.payload, running).map_err(|_| {
            self.skipped.push(skipped);
            self.other_until = NEVER;
            PassedOver::EndsProcess
        })
    }

    /// What whoever replays wants a rewind to leave out has to be among the inputs since its swap. Of a swap that is passed over itself
    /// there are none, and nothing is rewound.
    fn check_asked(&self, seq: u64) -> Result<(), ReplayError> {
        let Some(last) = self.room.as_ref().and_then(Room::last_on_trial) else { return Ok(()) };
        let of_record = |again| Skipped { record: seq, again };
        let after_last = of_record(last.saturating_add(1))..=of_record(u32::MAX);
        match self.without.range(after_last).find(|(_, since)| **since == NEVER) {
            None => Ok(()),
            Some((skipped, _)) => Err(ReplayError::NoInput { seq, again: skipped.again, last }),
        }
    }

    fn rewind(
        &mut self,
        (seq, stamp): (u64, Stamp),
        without: &[u32],
        black_box: Option<&mut BlackBox>,
    ) -> Result<(), StepError> {
        let of_record = |again| Skipped { record: seq, again };
        let mut without: BTreeSet<u32> = without.iter().copied().collect();
        for (skipped, since) in self.without.range(of_record(1)..=of_record(u32::MAX)) {
            without.insert(skipped.again);
            self.other_until = self.other_until.max(*since);
        }
        let (Some(room), outbox) = (self.room.as_mut(), &mut self.outbox) else { return Err(StepError::NoTrial) };
        let beat = &self.beat;
        let busy = beat.step(0, &Input::rewind());
        let part = Some(rewinding(&self.progress, room));
        let stepped = match black_box {
            None => {
                let input = Input::Rewind { without: without.into_iter().collect() };
                room.step_watched(stamp, input, outbox, &mut beat.rewinding(&mut (), part))
            }
            Some(black_box) => {
                let new = black_box.without(room).into_iter().filter(|again| without.insert(*again));
                let new: Vec<Skipped> = new.map(of_record).collect();
                if !new.is_empty() {
                    self.other_until = NEVER;
                }
                self.skipped.extend(new);
                let input = Input::Rewind { without: without.into_iter().collect() };
                room.step_watched(stamp, input, outbox, &mut beat.rewinding(&mut black_box.rewinding(seq), part))
            }
        };
        drop(busy);
        self.outbox.drain().for_each(drop);
        drop(room.take_spent());
        let Reply::Rewound(lost) = stepped? else { unreachable!("a rewind was answered with something else") };
        for lost in &lost {
            lost.leave.iter().for_each(|reason| self.has_left(lost.player, reason));
        }
        Ok(())
    }

    fn step(&mut self, stamp: Stamp, input: Input) -> Result<(), StepError> {
        let Some(room) = self.room.as_mut() else { return Ok(()) };
        let busy = self.beat.step(0, &input);
        let leaves = matches!(input, Input::Leave { .. }).then(|| input.player());
        let stepped = room.step(stamp, input, &mut self.outbox);
        if let (Some(player), Ok(_)) = (leaves, &stepped) {
            self.leaving.remove(&player);
        }
        drop(busy);
        self.outbox.drain().for_each(drop);
        drop(room.take_spent());
        stepped.map(drop)
    }

    /// What players know of an input stays true, though it is not applied now.
    fn goes_without(&mut self, stamp: Stamp, input: Input) {
        match input {
            Input::Message { player, number, .. } => {
                // Its sender knows that it was consumed.
                let _unless_gone = self.step(stamp, Input::Skip { player, number });
            }
            Input::Leave { player, reason } => self.has_left(player, &reason),
            _ => {}
        }
    }

    /// They were told that they are out, and are not.
    fn has_left(&mut self, player: PlayerId, reason: &Arc<str>) {
        if self.room.as_ref().is_some_and(|room| room.world().player(player).is_some()) {
            self.leaving.insert(player, kept_of_reason(reason));
        }
    }

    fn note(&mut self, seq: u64, note: Note) -> Result<(), ReplayError> {
        let is_as_recorded = self.is_as_recorded(seq);
        let Some(room) = self.room.as_mut() else {
            return Err(ReplayError::NoRoom { seq, found: Record::Note(note).to_string() });
        };
        match note {
            Note::Freeze { fault, .. } => room.freeze(fault),
            // Known from the start.
            Note::Skipped(_) => {}
            Note::Leaving { player, reason } => self.has_left(player, &reason),
            Note::Hash(expected) => {
                let found = room.state_hash();
                if found != expected && is_as_recorded {
                    return Err(ReplayError::Hash { seq, tick: room.tick(), expected, found });
                }
            }
        }
        Ok(())
    }
}
