//! The timers of a room: state of the world, so they fork with it.

use crate::bytes::{Malformed, Reader, length};
use crate::limits::TIMERS_MAX;
use std::{collections::BTreeMap, sync::Arc};
use xxhash_rust::xxh3::Xxh3;

/// Pending timers in the order in which they fire.
#[derive(Clone, Default)]
pub(crate) struct Timers {
    /// By due time, then by number: two timers due at once fire in the order they were set. Shared with forks until changed.
    pending: Arc<BTreeMap<(u64, u64), u64>>,
    /// The due time of each, to find it by number.
    due: Arc<BTreeMap<u64, u64>>,
    last: u64,
}

/// A timer that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) timer: u64,
    pub(crate) tag: u64,
}

impl Timers {
    /// A new timer's number; none where the limit is reached.
    pub(crate) fn set(&mut self, due_us: u64, tag: u64) -> Option<u64> {
        if self.pending.len() == TIMERS_MAX {
            return None;
        }
        self.last += 1;
        Arc::make_mut(&mut self.pending).insert((due_us, self.last), tag);
        Arc::make_mut(&mut self.due).insert(self.last, due_us);
        Some(self.last)
    }

    pub(crate) fn cancel(&mut self, timer: u64) -> bool {
        let Some(due_us) = self.due.get(&timer).copied() else {
            return false;
        };
        Arc::make_mut(&mut self.due).remove(&timer);
        Arc::make_mut(&mut self.pending).remove(&(due_us, timer)).is_some()
    }

    /// The number of the timer that was set last.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Takes the next timer that is due, among those up to number `last`.
    pub(crate) fn take_due(&mut self, now_us: u64, last: u64) -> Option<Due> {
        let mut due = self.pending.range(..=(now_us, u64::MAX));
        let (&(due_us, timer), _) = due.find(|((_, timer), _)| *timer <= last)?;
        let tag = Arc::make_mut(&mut self.pending).remove(&(due_us, timer))?;
        Arc::make_mut(&mut self.due).remove(&timer);
        Some(Due { timer, tag })
    }

    /// The number set last, then due time, number and tag of each in the order in which they fire.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.last.to_le_bytes());
        out.extend_from_slice(&length(self.pending.len()));
        for ((due_us, timer), tag) in self.pending.iter() {
            [due_us, timer, tag].iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        }
    }

    /// What `put` wrote.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (last, count) = (from.u64("last timer")?, from.u32("number of timers")? as usize);
        let (mut pending, mut due) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..count {
            let (due_us, timer) = (from.u64("due time")?, from.u64("timer")?);
            let is_next = pending.last_key_value().is_none_or(|(before, _)| *before < (due_us, timer));
            if !is_next || timer > last || count > TIMERS_MAX || due.insert(timer, due_us).is_some() {
                let expected = "timers in the order in which they fire, each once, none after the last";
                return Err(Malformed::Value { what: "timer", found: timer, expected });
            }
            pending.insert((due_us, timer), from.u64("tag")?);
        }
        Ok(Self { pending: Arc::new(pending), due: Arc::new(due), last })
    }

    pub(crate) fn hash_into(&self, hash: &mut Xxh3) {
        hash.update(&self.last.to_le_bytes());
        for ((due_us, timer), tag) in self.pending.iter() {
            for number in [due_us, timer, tag] {
                hash.update(&number.to_le_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_by_due_time_then_in_the_order_they_were_set() {
        let mut timers = Timers::default();
        let late = timers.set(30, 1).unwrap();
        let first = timers.set(10, 2).unwrap();
        let second = timers.set(10, 3).unwrap();
        let cancelled = timers.set(5, 4).unwrap();
        assert!(timers.cancel(cancelled) && !timers.cancel(cancelled));
        let mut fork = timers.clone();
        let mut fired =
            |now_us| std::iter::from_fn(|| timers.take_due(now_us, u64::MAX)).map(|due| due.timer).collect::<Vec<_>>();
        assert_eq!(fired(20), [first, second]);
        assert_eq!(fired(29), []);
        assert_eq!(fired(30), [late]);
        assert_eq!(fork.take_due(10, first), Some(Due { timer: first, tag: 2 }));
    }
}
