//! What the players of one thread have counted.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::ledger::Findings;

/// Times in microseconds: from one to an hour, three digits exact.
#[derive(Debug, Clone)]
pub(crate) struct Times(Histogram<u64>);

const TIME_MAX: Duration = Duration::from_secs(3600);
const DIGITS: u8 = 3;

impl Times {
    pub(crate) fn new() -> Self {
        let us_max = u64::try_from(TIME_MAX.as_micros()).expect("an hour");
        Self(Histogram::new_with_bounds(1, us_max, DIGITS).expect("bounds that a histogram takes"))
    }

    pub(crate) fn add(&mut self, time_ns: u64) {
        self.0.saturating_record(time_ns.div_ceil(1000));
    }

    pub(crate) fn merge(&mut self, other: &Times) {
        self.0.add(&other.0).expect("of the same bounds");
    }

    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

/// Counted by the players of a thread, and then summed up over all threads.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub(crate) joined: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) disconnects: BTreeMap<String, u64>,
    pub(crate) resumed: u64,

    pub(crate) sent: u64,
    pub(crate) sent_again: u64,
    /// Due while their player had no connection.
    pub(crate) skipped: u64,
    pub(crate) confirmed: u64,
    /// Open when all was over.
    pub(crate) unconfirmed: u64,
    pub(crate) failed: u64,
    pub(crate) damaged: u64,
    pub(crate) duplicated: u64,
    pub(crate) out_of_order: u64,
    pub(crate) forgotten: u64,
    pub(crate) answers_cut: u64,

    /// While the run lasted, without the time of joining and the wait at the end.
    pub(crate) frames: u64,
    pub(crate) frame_bytes: u64,
    pub(crate) silence_max_ns: u64,

    pub(crate) inside: Times,
    pub(crate) outside: Times,
    pub(crate) pings: Times,
    pub(crate) lateness: Times,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            joined: 0,
            refused: BTreeMap::new(),
            disconnects: BTreeMap::new(),
            resumed: 0,
            sent: 0,
            sent_again: 0,
            skipped: 0,
            confirmed: 0,
            unconfirmed: 0,
            failed: 0,
            damaged: 0,
            duplicated: 0,
            out_of_order: 0,
            forgotten: 0,
            answers_cut: 0,
            frames: 0,
            frame_bytes: 0,
            silence_max_ns: 0,
            inside: Times::new(),
            outside: Times::new(),
            pings: Times::new(),
            lateness: Times::new(),
        }
    }

    pub(crate) fn note(&mut self, findings: Findings) {
        self.duplicated += u64::from(findings.duplicated);
        self.out_of_order += u64::from(findings.out_of_order);
        self.forgotten += u64::from(findings.forgotten);
        self.answers_cut += u64::from(findings.answers_cut);
    }

    pub(crate) fn merge(&mut self, other: Tally) {
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
        for (reason, count) in other.disconnects {
            *self.disconnects.entry(reason).or_default() += count;
        }
        for (sum, count) in [
            (&mut self.joined, other.joined),
            (&mut self.resumed, other.resumed),
            (&mut self.sent, other.sent),
            (&mut self.sent_again, other.sent_again),
            (&mut self.skipped, other.skipped),
            (&mut self.confirmed, other.confirmed),
            (&mut self.unconfirmed, other.unconfirmed),
            (&mut self.failed, other.failed),
            (&mut self.damaged, other.damaged),
            (&mut self.duplicated, other.duplicated),
            (&mut self.out_of_order, other.out_of_order),
            (&mut self.forgotten, other.forgotten),
            (&mut self.answers_cut, other.answers_cut),
            (&mut self.frames, other.frames),
            (&mut self.frame_bytes, other.frame_bytes),
        ] {
            *sum += count;
        }
        self.silence_max_ns = self.silence_max_ns.max(other.silence_max_ns);
        self.inside.merge(&other.inside);
        self.outside.merge(&other.outside);
        self.pings.merge(&other.pings);
        self.lateness.merge(&other.lateness);
    }
}
