//! A swap on trial: what is kept for the way back, and the way back.

use crate::input::{Input, LogicFault, Lost, Stamp, StepError, TrialId};
use crate::limits::TRIAL_INPUTS_MAX;
use crate::outbox::{Outbox, Output};
use crate::room::{Back, Room, silence};
use logic_api::PlayerId;

/// What a room keeps from a swap until it is confirmed or rewound.
#[derive(Debug)]
pub(crate) struct Trial {
    id: TrialId,
    /// The fault that had the room frozen before the swap.
    frozen: Option<LogicFault>,
    /// The fork from before the swap, with all inputs up to the fork that faults go back to. `None` while that is the same fork.
    before: Option<Back>,
}

impl Trial {
    pub(crate) fn new(id: TrialId, frozen: Option<LogicFault>) -> Self {
        Self { id, frozen, before: None }
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

impl Room {
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
    pub(crate) fn rewind(&mut self, outbox: &mut Outbox) -> Result<Vec<Lost>, StepError> {
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
        for (stamp, input) in inputs.into_iter().filter(|(_, input)| !matches!(input, Input::Swap { .. })) {
            lost.extend(self.once_more(stamp, input, outbox));
            kicks.extend(outbox.drain().filter(|output| matches!(output, Output::Kick { .. })));
        }
        kicks.into_iter().for_each(|kick| outbox.push(kick));
        Ok(lost)
    }

    fn once_more(&mut self, stamp: Stamp, input: Input, outbox: &mut Outbox) -> Option<Lost> {
        let (callback, player, number) = (input.callback(), input.player(), input.number());
        let mut attempt = |input: Input| match &self.frozen {
            Some(fault) => Err(StepError::Frozen(fault.clone())),
            None => {
                self.fork_if_due(&input);
                self.attempt(stamp, input, outbox)
            }
        };
        let error = attempt(input).err()?;
        if number > 0 {
            // Its sender knows that it was consumed. A room that is frozen cannot keep that, nor anything else since.
            let _unless_frozen = attempt(Input::Skip { player, number });
        }
        outbox.clear();
        Some(Lost { player, number, callback, error })
    }
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
            Self::Rewind => "rewind",
            Self::Terminate { .. } => "terminate",
            Self::Dispose => "dispose",
        }
    }
}
