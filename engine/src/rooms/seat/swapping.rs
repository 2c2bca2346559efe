//! The logic of a room exchanged, watched, kept or taken back.

use std::sync::Arc;
use std::time::Instant;

use room::{Input, Lost, Reply, Spent, StepError};

use crate::loader::elf::BuildId;
use crate::points::{self, Point};
use crate::rooms::command::{Rewound, Swapped};
use crate::rooms::seat::Seat;
use crate::rooms::trial::{FailureKind, Overruns, Swap, TRIAL_INPUTS_ENOUGH};

/// Lost inputs that are logged one by one after a rewind.
const LOST_LOGGED_MAX: usize = 8;

/// What a room keeps of the swap on trial.
#[derive(Debug)]
pub(super) struct SeatTrial {
    swap: Arc<Swap>,
    /// Of the version from before.
    overruns_before: Overruns,
    /// Whether players have been told of the version.
    is_told: bool,
}

impl Seat {
    /// Exchanges the logic, and has the new code say its build id from inside the room. It is on trial then, but nothing leaves
    /// the room until [`Seat::all_swapped`].
    pub(super) fn swap(&mut self, swap: &Arc<Swap>) -> Result<Swapped, StepError> {
        let was_frozen = self.room.frozen().is_some();
        let to = &swap.to;
        // Nothing leaves until all rooms are swapped; then the version comes before what it says.
        self.tell_version(&to.logic);
        self.release();
        self.outlet.hold();
        let drops = Arc::clone(swap.tables.drops());
        let input = Input::Swap { to: Arc::clone(&to.logic), drops, trial: swap.trial };
        if let Some(rewrite) = swap.tables.take(self.room.name()) {
            self.room.prepare_swap(rewrite);
        }
        let started = Instant::now();
        let stepped = self.step(input);
        let found = BuildId::from(self.room.logic().build_id());
        let pause = started.elapsed();
        self.board.metrics().swap_pause_seconds.observe(pause.as_secs_f64());
        let swapped = stepped.and_then(|_| {
            if found == to.build_id {
                return Ok(Swapped { pause });
            }
            let _lost = self.rewind_room();
            Err(StepError::WrongCode { expected: to.build_id.to_string(), found: found.to_string() })
        });
        match &swapped {
            Ok(_) => {
                self.thaws_when_all_swapped = was_frozen;
                let overruns_before = std::mem::take(&mut self.overruns);
                self.trial = Some(SeatTrial { swap: Arc::clone(swap), overruns_before, is_told: false });
            }
            Err(error) => {
                self.forget_version();
                self.failed(error);
            }
        }
        self.logic_changed();
        swapped
    }

    /// Every room has taken the version: what it does may be seen from here on.
    pub(super) fn all_swapped(&mut self) {
        let Some(trial) = &mut self.trial else { return };
        if std::mem::replace(&mut trial.is_told, true) {
            return;
        }
        self.outlet.let_go();
        self.players.news.let_go(Instant::now());
        if std::mem::take(&mut self.thaws_when_all_swapped) {
            self.tell_notice();
        }
        self.grant_waiting();
    }

    /// Confirms the swap on trial, if there is one.
    pub(super) fn keep_swap(&mut self) -> Spent {
        self.all_swapped();
        self.trial = None;
        let _no_trial = self.step(Input::Confirm);
        // Those whose turn has come again, where there was no place for inputs any more.
        self.grant_waiting();
        self.room.take_spent()
    }

    /// Rewinds the swap on trial; `None` if there is none.
    pub(super) fn rewind_swap(&mut self) -> (Option<Rewound>, Spent) {
        let Some(trial) = self.trial.take() else { return (None, Spent::default()) };
        let started = Instant::now();
        let was_frozen = self.room.frozen().is_some();
        let inputs = self.room.trial_inputs().unwrap_or(0);
        let lost = self.rewind_room();
        self.overruns = trial.overruns_before;
        self.logic_changed();
        if trial.is_told || inputs > 0 {
            self.tell_resync("a version was taken back");
        }
        self.tell_undone(&lost);
        if was_frozen != self.room.frozen().is_some() {
            self.tell_notice();
        }
        let pause = started.elapsed();
        self.board.metrics().rewind_seconds.observe(pause.as_secs_f64());
        self.grant_waiting();
        (Some(Rewound { pause, inputs, lost: lost.len() }), self.room.take_spent())
    }

    /// A room that was brought back may have lost sight of what was decided of its version on trial.
    pub(super) fn end_lost_trial(&mut self, is_confirmed: bool) {
        if self.room.trial().is_none() {
            return;
        }
        if is_confirmed {
            let _no_trial = self.step(Input::Confirm);
        } else {
            let lost = self.rewind_room();
            let version = self.room.logic().version().0;
            let (room, lost) = (self.room.name(), lost.len());
            tracing::warn!(room, version, lost, "a version that was not confirmed is taken back");
        }
        points::reached(Point::RecoveryEnded);
        drop(self.room.take_spent());
        self.logic_changed();
    }

    /// What is lost by it.
    fn rewind_room(&mut self) -> Vec<Lost> {
        let Ok(Reply::Rewound(lost)) = self.step(Input::rewind()) else { return Vec::new() };
        self.forget_version();
        self.thaws_when_all_swapped = false;
        for Lost { player, number, callback, error, .. } in lost.iter().take(LOST_LOGGED_MAX) {
            tracing::warn!(
                room = self.room.name(),
                player = player.0,
                number,
                callback,
                "an input is lost, which the version from before does not take: {error}"
            );
        }
        if lost.len() > LOST_LOGGED_MAX {
            let more = lost.len() - LOST_LOGGED_MAX;
            tracing::warn!(room = self.room.name(), more, "more inputs are lost");
        }
        // They were told that they are out.
        let left = lost.iter().filter_map(|lost| Some((lost.player, Arc::clone(lost.leave.as_ref()?))));
        self.go_on_leaving(left.collect());
        lost
    }

    /// Players hear nothing more of a version that is taken back, nor that it ever ran if that is not known yet.
    fn forget_version(&mut self) {
        self.players.news.forget();
        self.outlet.forget_version();
        self.outlet.let_go();
    }

    /// Counts a tick, and tells of a version on trial that is too slow.
    pub(super) fn count_overruns(&mut self, is_overrun: bool) {
        self.overruns.count(is_overrun);
        if let Some(trial) = &self.trial
            && self.overruns.have_failed(trial.overruns_before)
        {
            self.tell_failure(FailureKind::Overruns(self.overruns.in_a_row));
        }
    }

    /// Tells what speaks against the version on trial, if one is.
    pub(super) fn tell_failure(&self, kind: FailureKind) {
        if let Some(trial) = &self.trial {
            trial.swap.failed(self.room.name(), kind);
        }
    }

    /// Asks for the verdict while the room can still keep inputs to go back over.
    pub(super) fn tell_if_full(&self) {
        if let (Some(trial), Some(inputs)) = (&self.trial, self.room.trial_inputs())
            && inputs >= TRIAL_INPUTS_ENOUGH
        {
            trial.swap.is_full(self.room.name(), inputs);
        }
    }

    fn logic_changed(&mut self) {
        self.has_query = self.room.has_query();
        // A room that was frozen has missed ticks.
        if let Some(pace) = &mut self.pace {
            pace.skip_to(Instant::now());
        }
        // What is taken back may have let a player in or out.
        self.match_world();
        self.show();
    }
}
