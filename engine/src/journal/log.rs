//! Where the records of a room are kept: the contract, so that something else than files can take their place.

use std::fmt::Debug;
use std::io;

use super::batch::Batch;
use super::frame::Position;

/// The records of one room, in order, kept somewhere.
///
/// Contract: one caller at a time. `append` in any number, then `write`, then `sync_task`, whose task may run on another thread
/// while `append` and `write` go on; `synced` tells that it is done. What was appended before a `write` survives the end of this
/// process; what was written before a task was made survives that of the machine once the task has run. After an error nothing is
/// called but drop: what was appended since the last task that ran may or may not be there, in order and without gaps.
pub trait Log: Send + Debug {
    /// Takes the records out of a batch.
    fn append(&mut self, batch: &mut Batch);
    /// Writes what was appended.
    ///
    /// # Errors
    /// [`LogError`]; nothing that was not synced may be acknowledged any more.
    fn write(&mut self) -> Result<(), LogError>;
    /// It is time for `divide`: there is much to let go of at once.
    fn is_full(&self) -> bool;
    /// After the last record.
    fn position(&self) -> Position;
    /// What brings everything that was written so far to where it survives the machine; `None` if it is there.
    fn sync_task(&mut self) -> Option<SyncTask>;
    /// A task up to here has run.
    fn synced(&mut self, seq: u64);
    /// Writes what was appended, and makes a place after it from which on a later `forget` can let go of what is before.
    ///
    /// # Errors
    /// As for `write`.
    fn divide(&mut self) -> Result<(), LogError>;
    /// Nobody is going to ask for the records up to here any more.
    ///
    /// # Errors
    /// [`LogError`]; they may be asked for all the same.
    fn forget(&mut self, upto: Position) -> Result<(), LogError>;
    /// The room is gone, and so is its log: another one may be made in its place at once. What is left to do for that takes as
    /// long as there is much of it, and may run on any thread, beside that other one.
    ///
    /// # Errors
    /// [`LogError`]; it may still be there.
    fn remove(self: Box<Self>) -> Result<Task, LogError>;
}

/// Something to do, on another thread.
pub type Task = Box<dyn FnOnce() -> Result<(), LogError> + Send>;

/// Brings records to where they survive the machine.
pub struct SyncTask {
    /// The last record that it is about.
    pub seq: u64,
    pub run: Task,
}

/// A call that failed: what it was for, and on what.
#[derive(Debug, thiserror::Error)]
#[error("{what} {path} failed: {source}")]
pub struct LogError {
    pub what: &'static str,
    pub path: String,
    pub source: io::Error,
}

impl LogError {
    /// The same once more, for another thread to tell.
    pub(super) fn again(&self) -> LogError {
        let source = io::Error::new(self.source.kind(), self.source.to_string());
        LogError { what: self.what, path: self.path.clone(), source }
    }
}

impl std::fmt::Debug for SyncTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncTask").field("seq", &self.seq).finish_non_exhaustive()
    }
}
