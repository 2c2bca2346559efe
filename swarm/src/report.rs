//! What a run has shown: as text for people, and as JSON (these structs) for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use crate::bars::Met;
use crate::options::{Expect, Options, Pace};
use crate::swaps::SwapLog;
use crate::tally::{Tally, Times};

/// The figures of a run. `docs/swarm.md` says what each means.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub url: String,
    pub players: u32,
    /// From the last join to the last message.
    pub seconds: f64,
    /// Messages a second of each player; `None`: as many as were answered, or none.
    pub rate: Option<f64>,
    pub in_flight: Option<u32>,
    /// What confirmed a message: `consumed` or `echo`.
    pub expect: &'static str,
    pub connections: Connections,
    pub messages: Messages,
    pub frames: Frames,
    pub rtt: RoundTrips,
    /// How much later than due messages were sent: the load generator's own fault. `None` without a rate.
    pub lateness: Option<Spread>,
    pub longest_silence_ms: f64,
    pub swaps: Option<SwapReport>,
    /// The bars that were asked for.
    pub bars: Vec<Met>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Connections {
    pub joined: u64,
    /// Who was not let in, by close code or reason.
    pub refused: BTreeMap<String, u64>,
    /// Connections of players that ended before the run did, by close code or reason.
    pub disconnects: BTreeMap<String, u64>,
    pub resumed: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Messages {
    pub sent: u64,
    pub confirmed: u64,
    pub confirmed_per_second: f64,
    pub lost: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
    /// Echoes with other bytes than were sent.
    pub damaged: u64,
    /// Inputs that the engine says it has not applied.
    pub failed: u64,
    /// Inputs that the engine had said it consumed, and after a resume knew nothing of; they were sent again.
    pub forgotten: u64,
    /// Consumed, but the connection broke before the echo came.
    pub answers_cut: u64,
    pub sent_again: u64,
    /// Due while their player had no connection, and never sent.
    pub skipped: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Frames {
    pub received: u64,
    pub per_second: f64,
    pub bytes: u64,
}

/// From a message's last moment here to the frame that confirms it.
#[derive(Debug, Clone, Serialize)]
pub struct RoundTrips {
    pub all: Option<Spread>,
    pub inside_swaps: Option<Spread>,
    pub outside_swaps: Option<Spread>,
    /// From Ping to Pong.
    pub ping: Option<Spread>,
}

/// Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    pub count: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct SwapReport {
    pub done: usize,
    /// By reason.
    pub refused: BTreeMap<String, u64>,
    /// From request to answer.
    pub median_ms: Option<f64>,
    pub slowest_ms: Option<f64>,
    /// Of each window, after the answer.
    pub margin_ms: f64,
}

impl Spread {
    fn of(times: &Times) -> Option<Spread> {
        let histogram = times.histogram();
        let ms = |us: u64| us as f64 / 1e3;
        (!histogram.is_empty()).then(|| Spread {
            count: histogram.len(),
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            p999_ms: ms(histogram.value_at_quantile(0.999)),
            max_ms: ms(histogram.max()),
        })
    }
}

impl Report {
    pub(crate) fn new(options: &Options, tally: Tally, swaps: SwapLog, lasted: Duration) -> Report {
        let seconds = lasted.as_secs_f64();
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let mut all = tally.inside.clone();
        all.merge(&tally.outside);
        let swapping = options.swaps.as_ref();
        Report {
            url: options.target.to_string(),
            players: options.players,
            seconds,
            rate: if let Pace::PerSecond(rate) = options.pace { Some(rate) } else { None },
            in_flight: if let Pace::InFlight(count) = options.pace { Some(count) } else { None },
            expect: match options.expect {
                Expect::Consumed => "consumed",
                Expect::Echo => "echo",
            },
            connections: Connections {
                joined: tally.joined,
                refused: tally.refused,
                disconnects: tally.disconnects,
                resumed: tally.resumed,
            },
            messages: Messages {
                sent: tally.sent,
                confirmed: tally.confirmed,
                confirmed_per_second: per_second(tally.confirmed),
                lost: tally.unconfirmed,
                duplicated: tally.duplicated,
                out_of_order: tally.out_of_order,
                damaged: tally.damaged,
                failed: tally.failed,
                forgotten: tally.forgotten,
                answers_cut: tally.answers_cut,
                sent_again: tally.sent_again,
                skipped: tally.skipped,
            },
            frames: Frames { received: tally.frames, per_second: per_second(tally.frames), bytes: tally.frame_bytes },
            rtt: RoundTrips {
                all: Spread::of(&all),
                inside_swaps: swapping.and_then(|_| Spread::of(&tally.inside)),
                outside_swaps: swapping.and_then(|_| Spread::of(&tally.outside)),
                ping: Spread::of(&tally.pings),
            },
            lateness: Spread::of(&tally.lateness),
            longest_silence_ms: tally.silence_max_ns as f64 / 1e6,
            swaps: swapping.map(|swapping| SwapReport::new(swaps, swapping.margin)),
            bars: Vec::new(),
        }
    }

    /// How many connections were lost.
    #[must_use]
    pub fn disconnects(&self) -> u64 {
        self.connections.disconnects.values().sum()
    }

    /// How many players were not let in.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.connections.refused.values().sum()
    }

    /// The p99 of round trips that met a swap, as a multiple of the others' p99.
    #[must_use]
    pub fn swap_p99_ratio(&self) -> Option<f64> {
        Some(self.rtt.inside_swaps?.p99_ms / self.rtt.outside_swaps?.p99_ms)
    }
}

impl SwapReport {
    fn new(log: SwapLog, margin: Duration) -> Self {
        let mut done_ms = log.done_ms;
        done_ms.sort_by(f64::total_cmp);
        Self {
            done: done_ms.len(),
            refused: log.refused,
            median_ms: done_ms.get(done_ms.len() / 2).copied(),
            slowest_ms: done_ms.last().copied(),
            margin_ms: margin.as_secs_f64() * 1e3,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Messages { sent, confirmed, lost, duplicated, out_of_order, .. } = self.messages;
        let (joined, resumed) = (self.connections.joined, self.connections.resumed);
        let mut lines = Lines(formatter);
        let pace = match (self.rate, self.in_flight) {
            (Some(rate), _) => format!("{rate} messages/s each"),
            (_, Some(count)) => format!("{count} in flight each"),
            _ => "no messages".to_owned(),
        };
        lines.line(&self.url, &format!("{} players, {pace}, {:.1} s", self.players, self.seconds))?;
        let refused = counts("refused", &self.connections.refused);
        let disconnects = counts("disconnects", &self.connections.disconnects);
        lines.line("connections", &format!("{joined} joined, {refused}, {disconnects}, {resumed} resumed"))?;
        let per_second = self.messages.confirmed_per_second;
        let confirmed = format!("{sent} sent, {confirmed} confirmed by {} ({per_second:.0}/s)", self.expect);
        lines.line("messages", &confirmed)?;
        lines.line("", &format!("{lost} lost, {duplicated} duplicated, {out_of_order} out of order"))?;
        let rare = [
            (self.messages.damaged, "damaged"),
            (self.messages.failed, "failed in the logic"),
            (self.messages.forgotten, "forgotten by the engine"),
            (self.messages.answers_cut, "answers cut off"),
            (self.messages.sent_again, "sent again"),
            (self.messages.skipped, "skipped without a connection"),
        ];
        let rare: Vec<String> =
            rare.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if !rare.is_empty() {
            lines.line("", &rare.join(", "))?;
        }
        let Frames { received, per_second, bytes } = self.frames;
        lines.line("frames", &format!("{received} received, {per_second:.0}/s, {:.1} MB", bytes as f64 / 1e6))?;
        lines.spread("rtt", self.rtt.all)?;
        if self.swaps.is_some() {
            lines.spread("  in swaps", self.rtt.inside_swaps)?;
            lines.spread("  otherwise", self.rtt.outside_swaps)?;
        }
        lines.spread("ping", self.rtt.ping)?;
        lines.spread("sent late", self.lateness)?;
        lines.line("silence", &format!("{:.1} ms at most between two frames of a player", self.longest_silence_ms))?;
        if let Some(swaps) = &self.swaps {
            lines.swaps(swaps, self.swap_p99_ratio())?;
        }
        for met in &self.bars {
            lines.line(if met.met { "bar met" } else { "BAR MISSED" }, &met.to_string())?;
        }
        Ok(())
    }
}

/// `3 refused (4403 Refused: 2, cut: 1)`.
fn counts(what: &str, by_reason: &BTreeMap<String, u64>) -> String {
    let mut text = format!("{} {what}", by_reason.values().sum::<u64>());
    if !by_reason.is_empty() {
        let each: Vec<String> = by_reason.iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
        let _into_a_string = write!(text, " ({})", each.join(", "));
    }
    text
}

struct Lines<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Lines<'_, '_> {
    fn line(&mut self, what: &str, text: &str) -> fmt::Result {
        writeln!(self.0, "{what:<12} {text}")
    }

    fn spread(&mut self, what: &str, spread: Option<Spread>) -> fmt::Result {
        let Some(Spread { count, p50_ms, p99_ms, p999_ms, max_ms }) = spread else { return Ok(()) };
        let text = format!("p50 {p50_ms:.2}  p99 {p99_ms:.2}  p99.9 {p999_ms:.2}  max {max_ms:.2} ms  ({count})");
        self.line(what, &text)
    }

    fn swaps(&mut self, swaps: &SwapReport, ratio: Option<f64>) -> fmt::Result {
        let mut text = format!("{} done", swaps.done);
        if let (Some(median), Some(slowest)) = (swaps.median_ms, swaps.slowest_ms) {
            let _into_a_string = write!(text, " in {median:.1} ms, at most {slowest:.1} ms");
        }
        let _into_a_string = write!(text, ", {}", counts("refused", &swaps.refused));
        if let Some(ratio) = ratio {
            let _into_a_string = write!(text, "; rtt p99 in swaps is {ratio:.2} times that otherwise");
        }
        self.line("swaps", &text)
    }
}
