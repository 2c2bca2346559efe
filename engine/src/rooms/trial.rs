//! The version on trial, as the rooms see it: what they are swapped to, and where they tell what speaks against it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use room::limits::TRIAL_INPUTS_MAX;
use room::plan::Rewrite;
use room::{LogicFault, StepError, TrialId};
use tokio::sync::Notify;

use crate::loader::versions::Mapped;

/// Ticks in a row that take longer than their period, at which a version on trial has failed: half a second at 20 Hz, and more
/// than a machine that is busy with something else for a moment makes.
pub(super) const OVERRUNS_IN_A_ROW_MAX: u32 = 10;
/// Inputs since the swap at which a room asks for the verdict: while there is place for as many as come until it is there.
pub(super) const TRIAL_INPUTS_ENOUGH: usize = TRIAL_INPUTS_MAX / 8 * 7;

/// A swap of all rooms to a version that is on trial then.
#[derive(Debug)]
pub struct Swap {
    pub to: Arc<Mapped>,
    pub trial: TrialId,
    pub tables: TableRewrites,
    /// The first one that a room told.
    failure: OnceLock<Failure>,
    /// The first room that can hardly keep more inputs to go back over.
    full: OnceLock<Full>,
    told: Notify,
}

/// What a swap does to the tables of rooms: what may be lost, and what has been done already.
#[derive(Debug, Default)]
pub struct TableRewrites {
    drops: Arc<[String]>,
    /// By room. Each is taken by its room when it is swapped.
    rewrites: Mutex<BTreeMap<String, Rewrite>>,
}

impl TableRewrites {
    #[must_use]
    pub fn new(drops: Arc<[String]>, rewrites: BTreeMap<String, Rewrite>) -> TableRewrites {
        TableRewrites { drops, rewrites: Mutex::new(rewrites) }
    }

    /// What the caller of the load said may be lost.
    #[must_use]
    pub fn drops(&self) -> &Arc<[String]> {
        &self.drops
    }

    pub(super) fn take(&self, room: &str) -> Option<Rewrite> {
        self.rewrites.lock().remove(room)
    }
}

/// What ends a trial before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Failure(Failure),
    Full(Full),
}

/// Why a version on trial does not stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub room: String,
    pub kind: FailureKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    Fault(LogicFault),
    /// A room that was opened during the trial could not be swapped.
    NotSwapped(StepError),
    /// So many ticks in a row took longer than their period, as they had not under the version from before.
    Overruns(u32),
}

/// A room that has taken nearly as many inputs on trial as can be rewound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    pub room: String,
    pub inputs: usize,
}

impl Swap {
    #[must_use]
    pub fn new(to: Arc<Mapped>, trial: TrialId, tables: TableRewrites) -> Arc<Swap> {
        Arc::new(Swap { to, trial, tables, failure: OnceLock::new(), full: OnceLock::new(), told: Notify::new() })
    }

    /// What a room has told first. A failure counts before anything else, whenever it came.
    #[must_use]
    pub fn told(&self) -> Option<Told> {
        let failure = self.failure.get().cloned().map(Told::Failure);
        failure.or_else(|| self.full.get().cloned().map(Told::Full))
    }

    /// Returns once a room has told something. For one waiter.
    pub async fn until_told(&self) -> Told {
        loop {
            if let Some(told) = self.told() {
                return told;
            }
            self.told.notified().await;
        }
    }

    pub(super) fn failed(&self, room: &str, kind: FailureKind) {
        let failure = Failure { room: room.to_owned(), kind };
        if self.failure.set(failure).is_ok() {
            self.told.notify_one();
        }
    }

    pub(super) fn is_full(&self, room: &str, inputs: usize) {
        if self.full.set(Full { room: room.to_owned(), inputs }).is_ok() {
            self.told.notify_one();
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in the room {}: ", self.room)?;
        match &self.kind {
            FailureKind::Fault(fault) => fault.fmt(f),
            FailureKind::NotSwapped(error) => write!(f, "it was opened, and could not be swapped: {error}"),
            FailureKind::Overruns(ticks) => {
                write!(f, "{ticks} ticks in a row took longer than their period, as none had before")
            }
        }
    }
}

/// Ticks of one version in one room that took longer than their period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Overruns {
    /// Up to the last tick.
    pub(super) in_a_row: u32,
    pub(super) in_a_row_max: u32,
}

impl Overruns {
    pub(super) fn count(&mut self, is_overrun: bool) {
        self.in_a_row = if is_overrun { self.in_a_row.saturating_add(1) } else { 0 };
        self.in_a_row_max = self.in_a_row_max.max(self.in_a_row);
    }

    /// Whether a version has failed by them. One that came after another as slow has not: taking it back would help nobody.
    pub(super) fn have_failed(&self, before: Overruns) -> bool {
        self.in_a_row >= OVERRUNS_IN_A_ROW_MAX && before.in_a_row_max < OVERRUNS_IN_A_ROW_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overruns_fail_a_version_only_in_a_row_and_only_after_one_without() {
        let mut overruns = Overruns::default();
        let before = Overruns { in_a_row: 0, in_a_row_max: OVERRUNS_IN_A_ROW_MAX - 1 };
        for _ in 0..3 {
            (1..OVERRUNS_IN_A_ROW_MAX).for_each(|_| overruns.count(true));
            assert!(!overruns.have_failed(before));
            overruns.count(false);
        }
        (0..OVERRUNS_IN_A_ROW_MAX).for_each(|_| overruns.count(true));
        assert!(overruns.have_failed(before));
        let as_slow = Overruns { in_a_row: 0, in_a_row_max: OVERRUNS_IN_A_ROW_MAX };
        assert!(!overruns.have_failed(as_slow));
    }
}
