//! How many frames a connection may send.

use std::time::Instant;

use crate::sessions::bad::Bad;
use wire::CloseCode;

/// A bucket that fills with time: a second's worth may come at once.
#[derive(Debug)]
pub(super) struct Rate {
    /// 0: no limit.
    per_second: u32,
    left: f64,
    filled_at: Instant,
}

impl Rate {
    pub(super) fn new(per_second: u32, now: Instant) -> Rate {
        Rate { per_second, left: per_second.into(), filled_at: now }
    }

    /// Fills the bucket up to now.
    pub(super) fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.left = (self.left + passed * f64::from(self.per_second)).min(self.per_second.into());
        self.filled_at = now;
    }

    /// # Errors
    /// The bucket is empty.
    pub(super) fn take(&mut self) -> Result<(), Bad> {
        if self.per_second == 0 {
            return Ok(());
        }
        if self.left < 1.0 {
            let reason = format!("more than {} frames a second (frames_per_second_max)", self.per_second);
            return Err(Bad::new(CloseCode::TooFast, "too-fast", reason));
        }
        self.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_seconds_worth_may_come_at_once() {
        let now = Instant::now();
        let mut rate = Rate::new(10, now);
        assert_eq!((0..20).filter(|_| rate.take().is_ok()).count(), 10);
        rate.fill(now + Duration::from_millis(300));
        assert_eq!((0..20).filter(|_| rate.take().is_ok()).count(), 3);
        rate.fill(now + Duration::from_secs(60));
        assert_eq!((0..20).filter(|_| rate.take().is_ok()).count(), 10);
    }

    #[test]
    fn nothing_is_no_limit() {
        let mut rate = Rate::new(0, Instant::now());
        assert!((0..1000).all(|_| rate.take().is_ok()));
    }
}
