//! A swap on trial: what is kept for the way back, and the way back.

use crate::LogicVersion;
use crate::input::{Input, LogicFault, Lost, Stamp, StepError, TrialId};
use crate::limits::TRIAL_INPUTS_MAX;
use crate::outbox::{Outbox, Output};
use crate::raw::PROCESS;
use crate::room::{Back, Room, silence};
use logic_api::{PlayerId, Tick};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a room keeps from a swap until it is confirmed or rewound.
#[derive(Debug)]
pub(crate) struct Trial {
    id: TrialId,
    /// The fault that had the room frozen before the swap.
    frozen: Option<LogicFault>,
    /// The fork from before the swap, with all inputs up to the fork that faults go back to. `None` while that is the same fork.
    before: Option<Back>,
    /// Numbers that are nobody's: of inputs that a recovery passed over. Those that came after them keep theirs.
    passed_over: BTreeSet<u32>,
}

impl Trial {
    pub(crate) fn new(id: TrialId, frozen: Option<LogicFault>) -> Self {
        Self { id, frozen, before: None, passed_over: BTreeSet::new() }
    }

    /// The fork that a rewind goes back to, if it is not that of the room.
    pub(crate) fn before(&self) -> Option<&Back> {
        self.before.as_ref()
    }

    pub(crate) fn id(&self) -> TrialId {
        self.id
    }

    /// Takes what faults do not go back to any more. A rewind does.
    pub(crate) fn keep(&mut self, mut back: Back) {
        match &mut self.before {
            None => self.before = Some(back),
            Some(before) => before.inputs.append(&mut back.inputs),
        }
    }
}

/// Told of the inputs that a rewind applies once more, so that the one by which the process ends is known.
///
/// Contract: `begins` and then `ended`, for one input after the other.
pub trait Watch {
    fn begins(&mut self, again: Again<'_>);
    fn ended(&mut self);
}

/// Nobody.
impl Watch for () {
    fn begins(&mut self, _again: Again<'_>) {}
    fn ended(&mut self) {}
}

/// An input since the swap on trial, which a rewind applies once more.
#[derive(Debug, Clone, Copy)]
pub struct Again<'a> {
    pub trial: TrialId,
    /// Since the swap, from 1: the same whenever the room comes to it.
    pub number: u32,
    pub stamp: Stamp,
    pub input: &'a Input,
    /// Before it.
    pub tick: Tick,
    /// The version from before the swap.
    pub running: &'a LogicVersion,
}

impl Room {
    /// The inputs since the swap on trial, with their numbers as a rewind counts them; none while no version is on trial.
    pub fn inputs_on_trial(&self) -> impl Iterator<Item = (u32, Stamp, &Input)> {
        let (before, since) = match &self.trial {
            None => (&[][..], &[][..]),
            Some(trial) => (trial.before.as_ref().map_or(&[][..], |before| &before.inputs), &self.back.inputs[..]),
        };
        let inputs = before.iter().chain(since).filter(|(_, input)| is_applied_again(input));
        let passed_over = self.trial.as_ref().map(|trial| &trial.passed_over);
        let numbers = (1..).filter(move |number| passed_over.is_none_or(|passed_over| !passed_over.contains(number)));
        numbers.zip(inputs).map(|(number, (stamp, input))| (number, *stamp, input))
    }

    /// Has the input that was recorded next count as one since the swap on trial, though it is not applied now: else a rewind
    /// that was recorded after it would mean others by its numbers. Does nothing while no version is on trial.
    pub fn pass_over_on_trial(&mut self) {
        let number = self.last_on_trial().map(|last| last + 1);
        if let (Some(number), Some(trial)) = (number, &mut self.trial) {
            trial.passed_over.insert(number);
        }
    }

    /// The number of the last input since the swap on trial, also of one that is passed over; `None` while no version is on trial.
    pub fn last_on_trial(&self) -> Option<u32> {
        let (inputs, trial) = (self.trial_inputs()?, self.trial.as_ref()?);
        Some(u32::try_from(inputs + trial.passed_over.len()).expect("a trial has fewer inputs"))
    }

    /// Inputs since the swap on trial, which a rewind would replay; `None` while no version is on trial.
    ///
    /// At [`TRIAL_INPUTS_MAX`] nothing but a confirm or a rewind is applied.
    pub fn trial_inputs(&self) -> Option<usize> {
        let before = self.trial.as_ref()?.before.as_ref();
        // The first of them is the swap.
        Some(before.map_or(0, |before| before.inputs.len()) + self.back.inputs.len() - 1)
    }

    /// # Errors
    /// No more inputs can be kept.
    pub(crate) fn check_trial(&self) -> Result<(), StepError> {
        match self.trial_inputs() {
            Some(inputs) if inputs >= TRIAL_INPUTS_MAX => {
                Err(StepError::TrialFull { version: self.logic.version(), inputs })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn confirm(&mut self) -> Result<(), StepError> {
        let trial = self.trial.take().ok_or(StepError::NoTrial)?;
        self.spent.backs.extend(trial.before);
        Ok(())
    }

    /// Of the outputs, only the kicks of the version from before are kept: players cannot be sent their past once more. A room
    /// that was frozen is frozen again.
    pub(crate) fn rewind(
        &mut self,
        without: &[u32],
        outbox: &mut Outbox,
        watch: &mut dyn Watch,
    ) -> Result<Vec<Lost>, StepError> {
        let trial = self.trial.take().ok_or(StepError::NoTrial)?;
        let mut inputs = std::mem::take(&mut self.back.inputs);
        if let Some(mut before) = trial.before {
            let since = std::mem::replace(&mut inputs, std::mem::take(&mut before.inputs));
            inputs.extend(since);
            self.spent.backs.push(std::mem::replace(&mut self.back, before));
        }
        self.frozen = trial.frozen;
        self.restore();
        let (mut lost, mut kicks) = (Vec::new(), Vec::new());
        let _silence = silence();
        let inputs = inputs.into_iter().filter(|(_, input)| is_applied_again(input));
        let numbers = (1..).filter(|number| !trial.passed_over.contains(number));
        for (number, (stamp, input)) in numbers.zip(inputs) {
            if without.binary_search(&number).is_ok() {
                lost.push(self.pass_over(stamp, input, outbox));
                continue;
            }
            let (tick, running) = (self.tick, &*self.logic);
            watch.begins(Again { trial: trial.id, number, stamp, input: &input, tick, running });
            lost.extend(self.once_more(stamp, input, outbox));
            watch.ended();
            kicks.extend(outbox.drain().filter(|output| matches!(output, Output::Kick { .. })));
        }
        kicks.into_iter().for_each(|kick| outbox.push(kick));
        Ok(lost)
    }

    fn once_more(&mut self, stamp: Stamp, input: Input, outbox: &mut Outbox) -> Option<Lost> {
        let lost = input.lost();
        if let Some(heard) = heard(&input) {
            if self.attempt_unless_frozen(stamp, heard, outbox).is_ok() {
                return None;
            }
            outbox.clear();
        }
        let error = self.attempt_unless_frozen(stamp, input, outbox).err()?;
        Some(self.lost(stamp, lost(error), outbox))
    }

    /// As if the logic had panicked in it: what keeps time does not go on without it.
    fn pass_over(&mut self, stamp: Stamp, input: Input, outbox: &mut Outbox) -> Lost {
        let error = match &self.frozen {
            Some(fault) => StepError::Frozen(fault.clone()),
            None => {
                let message = "it ended the process, and is passed over".to_owned();
                let (version, tick, location) = (self.logic.version(), self.tick, String::new());
                let fault = LogicFault { version, callback: PROCESS, message, location, tick };
                if matches!(input, Input::Tick) {
                    self.frozen = Some(fault.clone());
                }
                StepError::Fault(fault)
            }
        };
        let lost = self.lost(stamp, input.lost()(error), outbox);
        if heard(&input).is_some() {
            // It is true, though the logic cannot hear of it.
            let _unless_frozen = self.attempt_unless_frozen(stamp, input, outbox);
        }
        lost
    }

    fn lost(&mut self, stamp: Stamp, lost: Lost, outbox: &mut Outbox) -> Lost {
        let Lost { player, number, .. } = lost;
        if number > 0 {
            let skip = Input::Skip { player, number };
            self.fork_if_due(&skip);
            // Its sender knows that it was consumed, and goes on behind it: so it stays, in a room that is frozen, too, which keeps nothing
            // else since. A player whose join is lost is not in the room.
            let _unless_out = self.attempt(stamp, skip, outbox);
        }
        outbox.clear();
        lost
    }

    fn attempt_unless_frozen(&mut self, stamp: Stamp, input: Input, outbox: &mut Outbox) -> Result<(), StepError> {
        if let Some(fault) = &self.frozen {
            return Err(StepError::Frozen(fault.clone()));
        }
        self.fork_if_due(&input);
        self.attempt(stamp, input, outbox).map(drop)
    }
}

/// The version on trial failed on this drop or reconnect; the one from before may not, and is to hear of it.
fn heard(input: &Input) -> Option<Input> {
    match *input {
        Input::Presence { player, is_connected: false } => Some(Input::Drop { player }),
        Input::Presence { player, is_connected: true } => Some(Input::Reconnect { player }),
        _ => None,
    }
}

/// A rewind goes back to before the swap: all but that.
fn is_applied_again(input: &Input) -> bool {
    !matches!(input, Input::Swap { .. })
}

impl Input {
    /// The player whose input it is; 0 if it is nobody's.
    pub fn player(&self) -> PlayerId {
        match self {
            Self::Join { player, .. }
            | Self::Drop { player }
            | Self::Reconnect { player }
            | Self::Leave { player, .. }
            | Self::Message { player, .. }
            | Self::Skip { player, .. }
            | Self::Presence { player, .. } => *player,
            _ => PlayerId(0),
        }
    }

    /// The number that it consumes; 0 if it consumes none.
    pub fn number(&self) -> u32 {
        match self {
            Self::Message { number, .. } | Self::Skip { number, .. } => *number,
            _ => 0,
        }
    }

    /// It as one that is lost, by an error.
    fn lost(&self) -> impl FnOnce(StepError) -> Lost + use<> {
        let (callback, player, number) = (self.callback(), self.player(), self.number());
        let leave = match self {
            Self::Leave { reason, .. } => Some(Arc::clone(reason)),
            _ => None,
        };
        move |error| Lost { player, number, callback, leave, error }
    }

    /// The callback that it goes to; what a room does without one is called as the input is.
    pub fn callback(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Join { .. } => "join",
            Self::Drop { .. } => "drop",
            Self::Reconnect { .. } => "reconnect",
            Self::Leave { .. } => "leave",
            Self::Message { .. } => "message",
            Self::Skip { .. } => "skip",
            Self::Presence { .. } => "presence",
            Self::Tick => "tick",
            Self::Request(_) => "request",
            Self::Signal { .. } => "signal",
            Self::Swap { .. } => "upgraded",
            Self::Confirm => "confirm",
            Self::Rewind { .. } => "rewind",
            Self::Terminate { .. } => "terminate",
            Self::Dispose => "dispose",
        }
    }
}
