//! Time and randomness as inputs carry them.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use room::Stamp;

/// Makes the stamps of one room's inputs.
#[derive(Debug)]
pub(super) struct Clock {
    last_us: u64,
    /// Keyed from the operating system's random numbers: a keyed hash of a counter cannot be foreseen by players who see
    /// what the logic makes of earlier ones.
    keys: RandomState,
    count: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { last_us: 0, keys: RandomState::new(), count: 0 }
    }

    /// For a room whose last input was at this time.
    pub(super) fn after(now_us: u64) -> Self {
        Self { last_us: now_us, ..Self::new() }
    }

    pub(super) fn stamp(&mut self) -> Stamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.stamp_at(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }

    fn stamp_at(&mut self, now_us: u64) -> Stamp {
        // An operator who sets the machine's clock back must not send a room into its past.
        self.last_us = self.last_us.max(now_us);
        self.count += 1;
        Stamp { now_us: self.last_us, seed: self.keys.hash_one(self.count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back_and_seeds_differ() {
        let mut clock = Clock::new();
        let stamps = [5, 9, 3, 9, 10].map(|now_us| clock.stamp_at(now_us));
        assert_eq!(stamps.map(|stamp| stamp.now_us), [5, 9, 9, 9, 10]);
        let seeds: std::collections::BTreeSet<_> = stamps.iter().map(|stamp| stamp.seed).collect();
        assert_eq!(seeds.len(), stamps.len());
        assert_ne!(Clock::new().stamp_at(1).seed, Clock::new().stamp_at(1).seed);
    }
}
