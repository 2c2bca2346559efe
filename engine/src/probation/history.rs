//! The last loads and what became of them, for the status.

use std::collections::VecDeque;

use parking_lot::Mutex;
use room::TrialId;

use crate::status::{Outcome, SWAPS_KEPT_MAX, SwapRecord, VerdictRecord};

/// The newest [`SWAPS_KEPT_MAX`] loads; older ones are in the log only.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    record: SwapRecord,
    trial: Option<TrialId>,
}

impl History {
    /// A load, and the trial that it began.
    pub(crate) fn push(&self, record: SwapRecord, trial: Option<TrialId>) {
        let mut entries = self.0.lock();
        entries.truncate(SWAPS_KEPT_MAX - 1);
        entries.push_front(Entry { record, trial });
    }

    /// The trial has ended.
    pub(crate) fn settle(&self, trial: TrialId, outcome: Outcome, verdict: VerdictRecord) {
        let mut entries = self.0.lock();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.trial == Some(trial)) {
            entry.record.outcome = outcome;
            entry.record.verdict = Some(verdict);
        }
    }

    /// Newest first.
    #[must_use]
    pub fn list(&self) -> Vec<SwapRecord> {
        self.0.lock().iter().map(|entry| entry.record.clone()).collect()
    }
}
