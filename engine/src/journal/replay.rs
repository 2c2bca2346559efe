//! Applying records to a room: what recovery does, and `engine replay`.

use std::sync::Arc;

use logic_api::Tick;
use room::{Input, LogicVersion, Malformed, Note, Outbox, Pool, Record, Reply, Room, StepError, VersionMark};

use super::black_box::BlackBox;
use super::frame::StoredRecord;

/// Finds the version that a record names, or says why it cannot be had.
pub type FindVersion<'a> = dyn FnMut(&VersionMark) -> Result<Arc<LogicVersion>, String> + 'a;

/// Why a record was not applied, or shows that the replay went another way.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("record {seq} cannot be read: {fault}")]
    Unreadable { seq: u64, fault: Malformed },
    #[error("record {seq} needs {wanted}: {reason}")]
    Version { seq: u64, wanted: VersionMark, reason: String },
    #[error("record {seq} is a {found}, but a room's first record is its creation")]
    NoRoom { seq: u64, found: String },
    #[error("record {seq} ({record}) was applied once, and fails now: {error}")]
    Step { seq: u64, record: String, error: StepError },
    #[error("after record {seq}, at tick {tick}, the state hash is {found:016x}; {expected:016x} was recorded")]
    Hash { seq: u64, tick: Tick, expected: u64, found: u64 },
}

impl ReplayError {
    /// Whether the record is none that this engine can apply; else the room went on, in another way than before.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::Version { .. } | Self::NoRoom { .. })
    }
}

/// A room that is brought forward, record by record. Nobody hears its outputs.
#[derive(Debug)]
pub struct Replay {
    name: String,
    pool: Pool,
    room: Option<Room>,
    outbox: Outbox,
    /// Records so far.
    pub records: u64,
}

impl Replay {
    /// From the room's creation, or from a snapshot of it.
    pub fn new(name: &str, pool: &Pool, room: Option<Room>) -> Self {
        Self { name: name.to_owned(), pool: pool.clone(), room, outbox: Outbox::new(), records: 0 }
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
    ) -> Result<Option<Reply>, ReplayError> {
        let seq = stored.seq;
        let record = Record::decode(stored.kind, &stored.payload);
        let record = record.map_err(|fault| ReplayError::Unreadable { seq, fault })?;
        self.records += 1;
        self.apply_record(seq, stored, record, find, black_box)
    }

    fn apply_record(
        &mut self,
        seq: u64,
        stored: &StoredRecord,
        record: Record,
        find: &mut FindVersion<'_>,
        black_box: Option<&mut BlackBox>,
    ) -> Result<Option<Reply>, ReplayError> {
        let found = |find: &mut FindVersion<'_>, mark: &VersionMark| {
            find(mark).map_err(|reason| ReplayError::Version { seq, wanted: mark.clone(), reason })
        };
        let shown = record.to_string();
        let failed = |error| ReplayError::Step { seq, record: shown.clone(), error };
        let (stamp, input) = match record {
            Record::Create { stamp, version, config } => {
                let logic = found(find, &version)?;
                let created = Room::create(&self.name, logic, &self.pool, stamp, &config, &mut self.outbox);
                self.outbox.drain().for_each(drop);
                self.room = Some(created.map_err(failed)?);
                return Ok(None);
            }
            Record::Swap { stamp, to, drops, trial } => {
                (stamp, Input::Swap { to: found(find, &to)?, drops: drops.into(), trial })
            }
            Record::Input { stamp, input } => (stamp, input),
            Record::Note(note) => return self.note(seq, note).map(|()| None),
        };
        let room = self.room.as_mut().ok_or_else(|| ReplayError::NoRoom { seq, found: shown.clone() })?;
        let stepped = match black_box {
            None => room.step(stamp, input, &mut self.outbox),
            Some(black_box) => {
                let begun = black_box.begin(stored.kind, stored.tick, &stored.payload, room.logic());
                begun.map_err(|fault| failed(StepError::Fault(*fault)))?;
                let stepped = room.step(stamp, input, &mut self.outbox);
                black_box.end();
                stepped
            }
        };
        self.outbox.drain().for_each(drop);
        drop(room.take_spent());
        stepped.map(Some).map_err(failed)
    }

    fn note(&mut self, seq: u64, note: Note) -> Result<(), ReplayError> {
        let Some(room) = self.room.as_mut() else {
            return Err(ReplayError::NoRoom { seq, found: Record::Note(note).to_string() });
        };
        match note {
            Note::Freeze(fault) => room.freeze(fault),
            Note::Hash(expected) => {
                let found = room.state_hash();
                if found != expected {
                    return Err(ReplayError::Hash { seq, tick: room.tick(), expected, found });
                }
            }
        }
        Ok(())
    }
}
