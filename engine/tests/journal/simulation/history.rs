//! All that a room has been.

use std::sync::Arc;

use logic_api::PlayerId;
use room::{Input, Stamp};

use super::black_box::{Key, Quarantine};
use super::deadly::first_number;
use super::model::{Not, State};

/// What brought a room from one state to the next, as its journal has it.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    Input(Stamp, Input),
    /// A fault in a tick, which is no input then.
    Freeze,
    /// A player who left while the room took no inputs, or whose leave the logic failed on, or a recovery has passed over.
    Leaving(PlayerId, Arc<str>),
    /// A recovery has passed over what it was: a message, whose sender knows that it was consumed,
    Consumed(Stamp, PlayerId, u32),
    /// or anything else.
    Nothing,
}

/// A room as it was after each of its records that was an input, and after it froze; first, from before it was created.
#[derive(Debug)]
pub(super) struct History {
    first: State,
    since: Vec<(Cause, State)>,
}

impl History {
    pub(super) fn new() -> Self {
        Self { first: State::default(), since: Vec::new() }
    }

    pub(super) fn last(&self) -> &State {
        self.state(self.last_place())
    }

    fn state(&self, place: usize) -> &State {
        place.checked_sub(1).map_or(&self.first, |place| &self.since[place].1)
    }

    pub(super) fn last_place(&self) -> usize {
        self.since.len()
    }

    pub(super) fn push(&mut self, cause: Cause, state: State) {
        self.since.push((cause, state));
    }

    /// The last place where the room was like this.
    pub(super) fn place(&self, like: impl Fn(&State) -> bool) -> Option<usize> {
        (0..=self.last_place()).rev().find(|place| like(self.state(*place)))
    }

    /// What came after this place is lost.
    pub(super) fn truncate(&mut self, place: usize) {
        self.since.truncate(place);
    }

    /// The inputs of the room's last so many places that a recovery may pass over without more harm than to themselves.
    pub(super) fn last_inputs(&self, count: usize) -> Vec<u64> {
        let of_room = self.since.iter().rev().take_while(|(_, state)| !state.is_gone());
        let numbers = of_room.take(count).filter_map(|(cause, _)| match cause {
            Cause::Input(
                stamp,
                Input::Message { .. } | Input::Tick | Input::Join { .. } | Input::Leave { .. } | Input::Request(_),
            ) => Some(first_number(stamp.seed)),
            _ => None,
        });
        numbers.collect()
    }

    /// A recovery passes over the input with this first number, and what came after it comes to be without it.
    pub(super) fn pass_over(&mut self, number: u64, quarantine: &Quarantine) {
        let is_it = |cause: &Cause| matches!(cause, Cause::Input(stamp, _) if first_number(stamp.seed) == number);
        let Some(first) = self.since.iter().position(|(cause, _)| is_it(cause)) else { return };
        // It is not come to again.
        self.since[first].0 = match &self.since[first].0 {
            Cause::Input(stamp, Input::Message { player, number, .. }) => Cause::Consumed(*stamp, *player, *number),
            Cause::Input(_, Input::Leave { player, reason }) => Cause::Leaving(*player, reason.clone()),
            _ => Cause::Nothing,
        };
        for place in first..self.since.len() {
            let before = self.state(place);
            let next = match &self.since[place].0 {
                Cause::Input(stamp, input) => before.apply(*stamp, input, quarantine),
                Cause::Freeze => Ok(before.frozen()),
                Cause::Leaving(player, reason) => Ok(before.left(*player, reason)),
                Cause::Consumed(stamp, player, number) => {
                    before.apply(*stamp, &Input::Skip { player: *player, number: *number }, quarantine)
                }
                Cause::Nothing => Err(Not::Applied),
            };
            let next = match next {
                Ok(next) => next,
                Err(Not::Ends | Not::EndsAgain(..)) => unreachable!("it went well before"),
                Err(Not::Fault("tick")) => before.frozen(),
                // Its sender knows that it was consumed.
                Err(_) => match &self.since[place].0 {
                    Cause::Input(stamp, Input::Message { player, number, .. }) => {
                        let skip = Input::Skip { player: *player, number: *number };
                        before.apply(*stamp, &skip, quarantine).unwrap_or_else(|_| before.clone())
                    }
                    _ => before.clone(),
                },
            };
            self.since[place].1 = next;
        }
    }
}

/// What a new input is the same as, when it comes again.
pub(super) fn key_of(input: &Input, tick: u64) -> Key {
    match input {
        Input::Message { bytes, .. } => Key::Message(bytes.to_vec()),
        Input::Tick => Key::Tick(tick),
        Input::Swap { trial, .. } => Key::Swap(*trial),
        _ => Key::Other,
    }
}
