//! Which rooms a version is tried on before it is loaded, and what comes of it.
//!
//! The rest of the way of a copy is [`crate::loader::probe`]'s: nothing of the version is in this process until it is over.

use std::time::{Duration, Instant};

use super::tables::{self, Twin};
use crate::http::{Kind, Refusal};
use crate::loader::probe::{ProbeFault, RehearsalFault, RoomToTry};

/// After so long no further room is tried: those before it were many, or large. What all rooms have in common has been seen by then.
const REHEARSAL_TIME_ENOUGH: Duration = Duration::from_secs(3);

/// How long and how large things may be that are done to copies of rooms before a swap.
#[derive(Debug, Clone, Copy)]
pub struct PrepareLimits {
    /// For the tables of all rooms to be rewritten in the background.
    pub rewrite_time_max: Duration,
    /// For the rewritten tables of a room.
    pub rewrite_bytes_max: usize,
    /// For all rooms on which a version is tried.
    pub rehearsal_bytes_max: usize,
}

/// The rooms that a version is tried on, as long as there is time.
#[derive(Debug)]
pub(super) struct RoomsToTry {
    twins: std::vec::IntoIter<Twin>,
    drops: Vec<String>,
    rewrite_bytes_max: usize,
    started: Instant,
}

impl RoomsToTry {
    /// In the order of the rooms, those that are within the limit together: one that is too large does not keep the next from it.
    pub(super) fn choose(twins: Vec<Twin>, drops: Vec<String>, limits: PrepareLimits) -> Self {
        let sizes = twins.iter().map(|(room, _)| room.world().size());
        let bytes = sizes.map(|size| usize::try_from(size.row_bytes + size.heap_bytes).unwrap_or(usize::MAX));
        let is_within = within(bytes, limits.rehearsal_bytes_max);
        let all = twins.len();
        let twins = twins.into_iter().zip(is_within).filter_map(|(twin, is_within)| is_within.then_some(twin));
        let twins: Vec<Twin> = twins.collect();
        if twins.len() < all {
            let left_out = all - twins.len();
            tracing::warn!(left_out, "rooms are too large to try the version on (rehearsal_bytes_max)");
        }
        let rewrite_bytes_max = limits.rewrite_bytes_max;
        Self { twins: twins.into_iter(), drops, rewrite_bytes_max, started: Instant::now() }
    }
}

impl Iterator for RoomsToTry {
    type Item = RoomToTry;

    fn next(&mut self) -> Option<RoomToTry> {
        if self.started.elapsed() > REHEARSAL_TIME_ENOUGH {
            let left_out = self.twins.len();
            if left_out > 0 {
                tracing::warn!(left_out, "rooms are too many to try the version on all of them");
            }
            self.twins = Vec::new().into_iter();
        }
        let (mut room, stamp) = self.twins.next()?;
        let image = room.image().expect("a copy is not on trial");
        let (changes, drops) = (room.logic().changes().clone(), self.drops.clone());
        let rewrite_bytes_max = self.rewrite_bytes_max;
        Some(RoomToTry { image, changes, drops, stamp, rewrite_bytes_max, becomes: None })
    }
}

/// Which of these fit into what is left when it is their turn.
fn within(bytes: impl Iterator<Item = usize>, bytes_max: usize) -> Vec<bool> {
    let mut left = Some(bytes_max).filter(|max| *max > 0);
    bytes
        .map(|bytes| {
            let after = left.and_then(|left| left.checked_sub(bytes));
            left = after.or(left);
            after.is_some()
        })
        .collect()
}

/// What the rehearsal in the child found, told as a swap tells it.
pub(super) fn refusal(fault: &ProbeFault) -> Option<Refusal> {
    let ProbeFault::Rehearsal { room, fault: found, .. } = fault else { return None };
    match &**found {
        RehearsalFault::Unreadable(_) | RehearsalFault::Unwritten(_) => None,
        RehearsalFault::Rewrite(error) => Some(tables::refused(room, error)),
        RehearsalFault::Upgrade(_) => Some(Refusal::new(Kind::Unprocessable, "upgraded-failed", fault.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_room_does_not_keep_small_ones_out() {
        let check = |bytes: &[usize], bytes_max: usize, expected: &[bool]| {
            assert_eq!(within(bytes.iter().copied(), bytes_max), expected, "{bytes:?} of {bytes_max}");
        };
        check(&[40, 70, 60, 1], 100, &[true, false, true, false]);
        check(&[0, 0], 1, &[true, true]);
        check(&[0, 1], 0, &[false, false]);
    }
}
