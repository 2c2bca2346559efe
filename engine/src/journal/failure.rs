//! The first call that failed, whichever thread made it: from then on nothing may be let go of.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::log::LogError;
use crate::panics::panic_text;

/// Told on one thread, and found on all others before they let go of anything.
#[derive(Debug, Default)]
pub(super) struct Failure {
    is_told: AtomicBool,
    /// The first, until the journal's thread takes it.
    error: Mutex<Option<LogError>>,
}

impl Failure {
    pub(super) fn tell(&self, error: LogError) {
        self.error.lock().get_or_insert(error);
        self.is_told.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::SeqCst)
    }

    /// For the journal's thread, whose own call has failed: it tells by itself.
    pub(super) fn close(&self) {
        self.is_told.store(true, Ordering::SeqCst);
    }

    /// For the journal's thread, which ends with it.
    ///
    /// # Errors
    /// What was told.
    pub(super) fn check(&self) -> Result<(), LogError> {
        if self.is_told() { self.error.lock().take().map_or(Ok(()), Err) } else { Ok(()) }
    }
}

/// Makes a failure of a panic: a thread that goes without a word would leave rooms waiting for ever.
///
/// # Errors
/// As `run`.
pub(super) fn or_panicked<R>(thread: &str, run: impl FnOnce() -> Result<R, LogError>) -> Result<R, LogError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let source = io::Error::other(format!("it panicked: {}", panic_text(&*panic)));
        Err(LogError { what: "running", path: format!("the thread {thread}"), source })
    })
}
