//! Where the records of a room are kept: the contract, so that something else than files can take their place.

use std::fmt::Debug;
use std::io;

use room::RecordKind;

use super::frame::Position;

/// The records of one room, in order, kept somewhere.
///
/// Contract: one caller at a time, the journal's thread. `append` in any number, then `sync_task`, whose task may run on another
/// thread while `append` goes on; `synced` tells that it is done. What `append` took survives the end of this process; what was
/// appended before a task was made survives that of the machine once the task has run. After an error nothing is called but
/// drop: what was appended since the last task that ran may or may not be there, in order and without gaps.
pub trait Log: Send + Debug {
    /// Adds the records of a batch.
    ///
    /// # Errors
    /// [`LogError`]; nothing that was not synced may be acknowledged any more.
    fn append(&mut self, batch: &Batch) -> Result<(), LogError>;
    /// After the last record.
    fn position(&self) -> Position;
    /// What brings everything that was appended so far to where it survives the machine; `None` if it is there.
    fn sync_task(&mut self) -> Option<SyncTask>;
    /// A task up to here has run.
    fn synced(&mut self, seq: u64);
    /// Makes a place between records from which on a later `forget` can let go of what is before.
    ///
    /// # Errors
    /// As for `append`.
    fn divide(&mut self) -> Result<(), LogError>;
    /// Nobody is going to ask for the records up to here any more.
    ///
    /// # Errors
    /// [`LogError`]; they may be asked for all the same.
    fn forget(&mut self, upto: Position) -> Result<(), LogError>;
    /// The room is gone, and so is its log.
    ///
    /// # Errors
    /// [`LogError`]; it may still be there.
    fn remove(self: Box<Self>) -> Result<(), LogError>;
}

/// Brings records to where they survive the machine.
pub struct SyncTask {
    /// The last record that it is about.
    pub seq: u64,
    pub run: Box<dyn FnOnce() -> Result<(), LogError> + Send>,
}

/// A call that failed: what it was for, and on what.
#[derive(Debug, thiserror::Error)]
#[error("{what} {path} failed: {source}")]
pub struct LogError {
    pub what: &'static str,
    pub path: String,
    pub source: io::Error,
}

/// Records of one room on their way to its log, in order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    payloads: Vec<u8>,
    records: Vec<Entry>,
    /// One of them is about the room itself rather than its players: it is synced at once.
    pub is_weighty: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: RecordKind,
    tick: u64,
    /// Where its payload ends.
    end: usize,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds a record, whose payload `put` appends.
    pub fn push(&mut self, tick: u64, put: impl FnOnce(&mut Vec<u8>) -> RecordKind) {
        let kind = put(&mut self.payloads);
        self.records.push(Entry { kind, tick, end: self.payloads.len() });
        let weighty = [RecordKind::CREATE, RecordKind::SWAP, RecordKind::CONFIRM, RecordKind::REWIND];
        self.is_weighty |= weighty.contains(&kind) || kind == RecordKind::DISPOSE;
    }

    /// Takes the last record back.
    pub fn pop(&mut self) {
        self.records.pop();
        self.payloads.truncate(self.records.last().map_or(0, |last| last.end));
    }

    /// The payload of the last record; empty if there is none.
    pub fn last(&self) -> &[u8] {
        let start = self.records.len().checked_sub(2).map_or(0, |before| self.records[before].end);
        &self.payloads[start..]
    }

    /// Kind, tick and payload of each.
    pub fn records(&self) -> impl Iterator<Item = (RecordKind, u64, &[u8])> {
        let starts = std::iter::once(0).chain(self.records.iter().map(|record| record.end));
        let each = self.records.iter().zip(starts);
        each.map(|(record, start)| (record.kind, record.tick, &self.payloads[start..record.end]))
    }

    /// Of all payloads.
    pub fn bytes(&self) -> u64 {
        self.payloads.len() as u64
    }
}

impl std::fmt::Debug for SyncTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncTask").field("seq", &self.seq).finish_non_exhaustive()
    }
}
