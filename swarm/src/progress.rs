//! A run, seen while it runs.

use std::fmt;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::run::{Phase, Run};
use crate::tally::Times;

/// Where a run is. It prints as one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    phase: Phase,
    /// Since the run's first moment.
    pub elapsed: Duration,
    pub players: u32,
    pub joined: u64,
    pub refused: u64,
    pub disconnects: u64,
    pub sent: u64,
    pub confirmed: u64,
    /// Since the progress before.
    pub messages_per_second: f64,
    pub frames_per_second: f64,
    /// Milliseconds: median and p99 since the progress before; `None` if nothing was confirmed.
    pub rtt_ms: Option<(f64, f64)>,
    pub swaps: usize,
    pub swaps_refused: u64,
}

/// Makes progress out of sums.
#[derive(Debug)]
pub(crate) struct Meter {
    players: u32,
    began: Instant,
    told: Instant,
    sent: u64,
    frames: u64,
}

impl Meter {
    pub(crate) fn new(options: &Options) -> Self {
        let now = Instant::now();
        Self { players: options.players, began: now, told: now, sent: 0, frames: 0 }
    }

    pub(crate) fn is_due(&self, every: Duration) -> bool {
        self.told.elapsed() >= every
    }

    pub(crate) fn read(&mut self, run: &Run, phase: Phase) -> Progress {
        let seconds = self.told.elapsed().as_secs_f64();
        self.told = Instant::now();
        let (sent, frames) = (run.sum(|slot| &slot.sent), run.sum(|slot| &slot.frames));
        let mut recent = Times::new();
        for slot in &run.slots {
            let mut of_slot = slot.recent.lock();
            recent.merge(&of_slot);
            of_slot.clear();
        }
        let ms = |share| recent.histogram().value_at_quantile(share) as f64 / 1e3;
        let swaps = run.swaps.lock();
        let progress = Progress {
            phase,
            elapsed: self.began.elapsed(),
            players: self.players,
            joined: run.sum(|slot| &slot.joined),
            refused: run.sum(|slot| &slot.refused),
            disconnects: run.sum(|slot| &slot.disconnects),
            sent,
            confirmed: run.sum(|slot| &slot.confirmed),
            messages_per_second: (sent - self.sent) as f64 / seconds,
            frames_per_second: (frames - self.frames) as f64 / seconds,
            rtt_ms: (!recent.histogram().is_empty()).then(|| (ms(0.5), ms(0.99))),
            swaps: swaps.done_ms.len(),
            swaps_refused: swaps.refused.values().sum(),
        };
        (self.sent, self.frames) = (sent, frames);
        progress
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { players, joined, sent, .. } = self;
        write!(formatter, "{:>4.0} s  ", self.elapsed.as_secs_f64())?;
        match self.phase {
            Phase::Joining => write!(formatter, "joining {joined}/{players}")?,
            Phase::Running => write!(
                formatter,
                "{joined} players  {:.0} msg/s  {:.0} frames/s",
                self.messages_per_second, self.frames_per_second
            )?,
            Phase::Draining | Phase::Leaving => {
                write!(formatter, "waiting for {} answers", sent.saturating_sub(self.confirmed))?;
            }
        }
        if let Some((median, p99)) = self.rtt_ms {
            write!(formatter, "  rtt {median:.1}/{p99:.1} ms")?;
        }
        for (count, what) in [
            (self.swaps as u64, "swaps"),
            (self.swaps_refused, "swaps refused"),
            (self.refused, "refused"),
            (self.disconnects, "disconnects"),
        ] {
            if count > 0 {
                write!(formatter, "  {count} {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_is_one_line() {
        let joining = Progress {
            phase: Phase::Joining,
            elapsed: Duration::from_millis(1_400),
            players: 1_000,
            joined: 250,
            refused: 0,
            disconnects: 0,
            sent: 0,
            confirmed: 0,
            messages_per_second: 0.0,
            frames_per_second: 0.0,
            rtt_ms: None,
            swaps: 0,
            swaps_refused: 0,
        };
        assert_eq!(joining.to_string(), "   1 s  joining 250/1000");
        let running = Progress {
            phase: Phase::Running,
            elapsed: Duration::from_secs(60),
            joined: 1_000,
            sent: 600_000,
            confirmed: 599_990,
            messages_per_second: 9_999.6,
            frames_per_second: 20_000.4,
            rtt_ms: Some((0.51, 2.06)),
            swaps: 59,
            ..joining.clone()
        };
        assert_eq!(running.to_string(), "  60 s  1000 players  10000 msg/s  20000 frames/s  rtt 0.5/2.1 ms  59 swaps");
        let amiss =
            Progress { rtt_ms: None, swaps: 0, swaps_refused: 1, refused: 2, disconnects: 3, ..running.clone() };
        let line = "  60 s  1000 players  10000 msg/s  20000 frames/s  1 swaps refused  2 refused  3 disconnects";
        assert_eq!(amiss.to_string(), line);
        for phase in [Phase::Draining, Phase::Leaving] {
            let waiting = Progress { phase, rtt_ms: None, swaps: 0, ..running.clone() };
            assert_eq!(waiting.to_string(), "  60 s  waiting for 10 answers");
        }
    }
}
