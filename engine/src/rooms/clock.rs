//! Time and randomness as inputs carry them.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use room::Stamp;

/// Makes the stamps of one room's inputs.
#[derive(Debug)]
pub(super) struct Clock {
    last_us: u64,
    /// A time of the room, and when that was: from there on its time runs by itself while the machine's clock is behind it.
    base: (u64, Instant),
    /// Keyed from the operating system's random numbers: a keyed hash of a counter cannot be foreseen by players who see
    /// what the logic makes of earlier ones.
    keys: RandomState,
    count: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self::after(0)
    }

    /// For a room whose last input was at this time.
    pub(super) fn after(now_us: u64) -> Self {
        Self { last_us: now_us, base: (now_us, Instant::now()), keys: RandomState::new(), count: 0 }
    }

    pub(super) fn stamp(&mut self) -> Stamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.stamp_at(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX), Instant::now())
    }

    fn stamp_at(&mut self, wall_us: u64, now: Instant) -> Stamp {
        if wall_us >= self.last_us {
            self.base = (wall_us, now);
        }
        // An operator who sets the machine's clock back must not send a room into its past, nor have its time stand still: timers
        // would wait until the clock has caught up, which after a start with a wrong year is never.
        let (base_us, since) = self.base;
        let elapsed = now.saturating_duration_since(since).as_micros();
        let own_us = base_us.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX));
        self.last_us = self.last_us.max(own_us);
        self.count += 1;
        Stamp { now_us: self.last_us, seed: self.keys.hash_one(self.count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_never_goes_back_and_seeds_differ() {
        let (mut clock, now) = (Clock::new(), Instant::now());
        let stamps = [5, 9, 3, 9, 10].map(|wall_us| clock.stamp_at(wall_us, now));
        assert_eq!(stamps.map(|stamp| stamp.now_us), [5, 9, 9, 9, 10]);
        let seeds: std::collections::BTreeSet<_> = stamps.iter().map(|stamp| stamp.seed).collect();
        assert_eq!(seeds.len(), stamps.len());
        assert_ne!(Clock::new().stamp_at(1, now).seed, Clock::new().stamp_at(1, now).seed);
    }

    #[test]
    fn time_goes_on_while_the_machines_clock_is_behind() {
        const HOUR_US: u64 = 3_600_000_000;
        let (mut clock, start) = (Clock::after(2 * HOUR_US), Instant::now());
        let mut now_us = |wall_us, after_us| clock.stamp_at(wall_us, start + Duration::from_micros(after_us)).now_us;
        assert_eq!(now_us(3 * HOUR_US, 0), 3 * HOUR_US);
        // Set back by an hour; then it catches up.
        assert_eq!([1, 2, 500].map(|us| now_us(2 * HOUR_US + us, us) - 3 * HOUR_US), [1, 2, 500]);
        assert_eq!(now_us(3 * HOUR_US + 400, 600) - 3 * HOUR_US, 600);
        assert_eq!(now_us(3 * HOUR_US + 700, 650) - 3 * HOUR_US, 700);
        assert_eq!(now_us(3 * HOUR_US + 701, 651) - 3 * HOUR_US, 701);
        // Of before the process: a first start had another year.
        let mut clock = Clock::after(9 * HOUR_US);
        let (first, later) = (clock.stamp_at(1, start), clock.stamp_at(2, start + Duration::from_secs(5)));
        assert!(later.now_us - first.now_us > 4_000_000 && first.now_us >= 9 * HOUR_US);
    }
}
