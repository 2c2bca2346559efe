//! When a room ticks: on an absolute schedule, so that a late tick does not make all later ones late.

use std::time::{Duration, Instant};

/// The schedule of one room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    period: Duration,
    due: Instant,
}

impl Pace {
    /// `None` for no ticks at all. The first tick is due one period after `now`.
    pub(super) fn new(tick_hz: u32, now: Instant) -> Option<Self> {
        let period = Duration::from_secs(1).checked_div(tick_hz)?;
        Some(Self { period, due: now + period })
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether a tick that took so long was too slow by itself, whatever it waited for before.
    pub(super) fn is_overrun(&self, took: Duration) -> bool {
        took > self.period
    }

    /// Notes that a tick ran, and returns whether it was an overrun: it began a whole period late, or took longer than one.
    ///
    /// Ticks that should have run meanwhile are skipped: catching up would make a slow room slower.
    pub(super) fn ran(&mut self, started: Instant, ended: Instant) -> bool {
        let is_overrun = started >= self.due + self.period || self.is_overrun(ended - started);
        self.due += self.period;
        self.skip_to(ended);
        is_overrun
    }

    /// Lets pass what would have run by `now`.
    pub(super) fn skip_to(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.due);
        let missed = late.as_nanos() / self.period.as_nanos();
        // A machine that slept for 136 years of nanosecond ticks: the schedule starts anew.
        match u32::try_from(missed) {
            Ok(0) => {}
            Ok(missed) => self.due += self.period * missed,
            Err(_) => self.due = now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks of 10 ms: when each starts and how long it takes, and then whether it is an overrun and when the next is due.
    fn check(ticks: &[(u64, u64, bool, u64)]) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(100, start).unwrap();
        assert_eq!(pace.due(), at(10));
        for &(started, took, is_overrun, due) in ticks {
            let ran = pace.ran(at(started), at(started + took));
            assert_eq!((ran, pace.due()), (is_overrun, at(due)), "started at {started}");
        }
    }

    #[test]
    fn late_ticks_do_not_drift() {
        check(&[(10, 1, false, 20), (23, 1, false, 30), (30, 1, false, 40), (49, 0, false, 50)]);
    }

    #[test]
    fn a_long_tick_is_an_overrun_and_what_it_missed_is_skipped() {
        check(&[(10, 11, true, 20), (21, 35, true, 50), (56, 1, false, 60)]);
        check(&[(10, 10, false, 20)]);
    }

    #[test]
    fn a_period_late_is_an_overrun() {
        check(&[(20, 1, true, 20), (29, 0, false, 30), (95, 1, true, 90)]);
    }

    #[test]
    fn no_rate_is_no_schedule() {
        assert!(Pace::new(0, Instant::now()).is_none());
    }
}
