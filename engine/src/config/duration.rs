//! Times as `engine.toml` and the flags say them: `"10s"`, `"250ms"`, `"2min"`.

use std::fmt;
use std::time::Duration;

const UNITS: [(&str, u64); 3] = [("min", 60_000), ("ms", 1), ("s", 1_000)];

/// The bounds of a time, and what it is where nothing is said.
#[derive(Debug, Clone, Copy)]
pub struct TimeLimit {
    pub min: Duration,
    pub default: Duration,
    pub max: Duration,
}

impl TimeLimit {
    /// In milliseconds.
    pub(super) const fn new(min_ms: u64, default_ms: u64, max_ms: u64) -> TimeLimit {
        assert!(min_ms <= default_ms && default_ms <= max_ms);
        let ms = Duration::from_millis;
        TimeLimit { min: ms(min_ms), default: ms(default_ms), max: ms(max_ms) }
    }

    /// `None` for what is no time, or not within the bounds.
    #[must_use]
    pub fn parse(self, text: &str) -> Option<Duration> {
        let (number, unit_ms) = UNITS.iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, ms)))?;
        // `parse` would take a sign.
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let time = Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(*unit_ms)?);
        (self.min..=self.max).contains(&time).then_some(time)
    }
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a time from {} to {}, such as {}", Shown(self.min), Shown(self.max), Shown(self.default))
    }
}

/// A time in the largest unit that leaves no rest.
struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            ms if ms % 1000 != 0 => write!(f, "{ms}ms"),
            ms if ms % 60_000 != 0 || ms == 0 => write!(f, "{}s", ms / 1000),
            ms => write!(f, "{}min", ms / 60_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: TimeLimit = TimeLimit::new(0, 10_000, 600_000);

    #[test]
    fn times_have_a_unit() {
        let check =
            |text: &str, ms: Option<u64>| assert_eq!(LIMIT.parse(text), ms.map(Duration::from_millis), "{text}");
        check("0s", Some(0));
        check("250ms", Some(250));
        check("10s", Some(10_000));
        check("10min", Some(600_000));
        for wrong in
            ["", "s", "ms", "10", "10 s", "+1s", "-1s", "1.5s", "1h", "11min", "600001ms", "18446744073709551615s"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn bounds_are_shown() {
        assert_eq!(LIMIT.to_string(), "a time from 0s to 10min, such as 10s");
        assert_eq!(TimeLimit::new(100, 1_500, 90_000).to_string(), "a time from 100ms to 90s, such as 1500ms");
    }
}
