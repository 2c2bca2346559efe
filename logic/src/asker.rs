//! Who asked for everything anew: an answer is kilobytes, so there is not one for each time that somebody asks.

use crate::avatar::micros;
use crate::rules::{ANSWER_EVERY, ANSWERS_AT_ONCE};
use logic_api::prelude::*;
use std::time::Duration;

/// A player who has asked since they came.
#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct Asker {
    #[row(key)]
    pub player: PlayerId,
    /// Until then all answers are given that they have a right to: microseconds since the Unix epoch. It may lie ahead by
    /// as much as can be asked for at once.
    pub answered_until_us: u64,
}

/// Whether a player who asks now is answered.
pub(crate) fn is_answered(askers: &mut Table<Asker>, player: PlayerId, now: Duration) -> bool {
    let (now, every) = (micros(now), micros(ANSWER_EVERY));
    let known = askers.find(player).map(|asker| asker.answered_until_us);
    let answered_until_us = known.unwrap_or_default().max(now) + every;
    if answered_until_us > now + every * ANSWERS_AT_ONCE {
        return false;
    }
    if let Some(mut asker) = askers.find_mut(player) {
        asker.answered_until_us = answered_until_us;
    }
    if known.is_none() {
        askers.insert(Asker { player, answered_until_us });
    }
    true
}
