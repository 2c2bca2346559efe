//! What a run must reach, for those who run it from a script.

use std::fmt;

use serde::Serialize;

use crate::report::Report;

/// The bars of a run.
#[derive(Debug, Clone, Default)]
pub struct Bars(pub Vec<Bar>);

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// None lost, duplicated, out of order, damaged, forgotten or failed; nobody refused, no disconnect; no swap refused.
    NoLoss,
    /// Milliseconds that 99 of 100 round trips may take.
    RttP99(f64),
    /// The p99 of the round trips that met a swap, as a multiple of the others'.
    SwapRatio(f64),
    /// Frames a second that all players together must receive.
    Frames(f64),
    /// Milliseconds that a player may hear nothing.
    Silence(f64),
}

/// A bar and what the run has reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Met {
    pub what: &'static str,
    /// `None`: the run has no such figure, which misses the bar.
    pub figure: Option<f64>,
    pub at_most: Option<f64>,
    pub at_least: Option<f64>,
    pub met: bool,
}

impl Bars {
    /// Puts what was reached into the report. False if a bar was missed.
    #[must_use]
    pub fn judge(&self, report: &mut Report) -> bool {
        report.bars = self.0.iter().map(|bar| bar.judge(report)).collect();
        report.bars.iter().all(|met| met.met)
    }
}

impl Bar {
    fn judge(self, report: &Report) -> Met {
        let at_most = |what, figure: Option<f64>, bound: f64| Met {
            what,
            figure,
            at_most: Some(bound),
            at_least: None,
            met: figure.is_some_and(|figure| figure <= bound),
        };
        match self {
            Bar::NoLoss => {
                let messages = &report.messages;
                let wrong = messages.lost
                    + messages.duplicated
                    + messages.out_of_order
                    + messages.damaged
                    + messages.failed
                    + messages.forgotten
                    + report.refused()
                    + report.disconnects()
                    + report.swaps.as_ref().map_or(0, |swaps| swaps.refused.values().sum());
                at_most("losses of any kind", Some(wrong as f64), 0.0)
            }
            Bar::RttP99(ms) => at_most("rtt p99, ms", report.rtt.all.map(|spread| spread.p99_ms), ms),
            Bar::SwapRatio(ratio) => at_most("rtt p99 in swaps / otherwise", report.swap_p99_ratio(), ratio),
            Bar::Silence(ms) => at_most("longest silence, ms", Some(report.longest_silence_ms), ms),
            Bar::Frames(per_second) => Met {
                what: "frames a second",
                figure: Some(report.frames.per_second),
                at_most: None,
                at_least: Some(per_second),
                met: report.frames.per_second >= per_second,
            },
        }
    }
}

impl fmt::Display for Met {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.figure {
            Some(figure) => write!(formatter, "{}: {figure:.2}", self.what)?,
            None => write!(formatter, "{}: no figure", self.what)?,
        }
        match (self.at_most, self.at_least) {
            (Some(bound), _) => write!(formatter, ", at most {bound} asked for"),
            (_, Some(bound)) => write!(formatter, ", at least {bound} asked for"),
            _ => Ok(()),
        }
    }
}
