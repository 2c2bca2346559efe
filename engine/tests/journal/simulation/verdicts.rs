//! What the file of the verdicts must say: the old or the new of the change that was under way when a process ended.

use std::collections::BTreeSet;

use engine::probation::Verdict;
use room::TrialId;

use super::process::Process;

/// What is decided of trials, by one change of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Begins(TrialId),
    Stays(TrialId),
    /// Without the version having stayed.
    Over,
}

/// What the file may say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    confirmed: BTreeSet<TrialId>,
    under_way: Option<TrialId>,
}

/// A change, and the calls on files that it took.
#[derive(Debug)]
struct Change {
    from: u64,
    /// `u64::MAX` where it failed.
    to: u64,
    after: Known,
}

#[derive(Debug)]
pub(super) struct Verdicts {
    /// What the next process may find.
    possible: Vec<Known>,
    /// By this one.
    changes: Vec<Change>,
}

impl Default for Verdicts {
    fn default() -> Self {
        Self { possible: vec![Known::default()], changes: Vec::new() }
    }
}

impl Verdicts {
    /// False if the disk has failed: it is not known then what the next process finds.
    pub(super) fn decide(&mut self, process: &Process, decision: Decision) -> bool {
        let mut after = self.changes.last().map_or(&self.possible[0], |change| &change.after).clone();
        after.under_way = None;
        match decision {
            Decision::Begins(trial) => after.under_way = Some(trial),
            Decision::Stays(trial) => _ = after.confirmed.insert(trial),
            Decision::Over => {}
        }
        let from = process.disk.calls();
        let is_kept = process.decide(decision);
        let to = if is_kept { process.disk.calls() } else { u64::MAX };
        self.changes.push(Change { from, to, after });
        is_kept
    }

    /// The process ended after so many calls. True if that was in the middle of a change.
    pub(super) fn ended(&mut self, calls: u64) -> bool {
        let changes = self.changes.drain(..).filter(|change| change.from < calls);
        let mut is_in_doubt = false;
        for Change { to, after, .. } in changes {
            if to <= calls {
                self.possible.clear();
            } else if !self.possible.contains(&after) {
                is_in_doubt = true;
            }
            self.possible.push(after);
        }
        is_in_doubt
    }

    /// What a process has found is what it may find; and once it has started, nothing else may be found any more.
    pub(super) fn check(&mut self, process: &Process, trials: u64) {
        let confirmed = (1..=trials).map(TrialId).filter(|trial| process.verdicts.of(*trial) == Verdict::Confirm);
        let found = Known { confirmed: confirmed.collect(), under_way: process.interrupted };
        assert!(self.possible.contains(&found), "{found:?} is none of {:?}", self.possible);
        self.changes.push(Change { from: 0, to: process.disk.calls(), after: found });
    }
}
