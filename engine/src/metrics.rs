//! What `/metrics` tells. Every handle is an atomic: to count is never to wait.
//!
//! | who writes | what |
//! |---|---|
//! | the thread of a room, to its own [`RoomMetrics`] | ticks, overruns, how late ticks were, step time, swap pause, faults, rows, pages, forks |
//! | whoever carries a load out | load outcomes, versions mapped |
//! | the threads that answer HTTP | requests by status class |
//! | the connections of players | connections, frames, round trips, and why they were ended |
//! | whoever reads `/metrics` | memory, pages' memory and uptime, taken at that moment |

use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::http::Refusal;
use crate::sessions::Bad;
use crate::status::resident_bytes;

/// From a callback that does next to nothing to one that takes a whole second.
const STEP_SECONDS: [f64; 14] =
    [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 1e-2, 1e-1, 1.0];
/// Finest around the periods of common rates, 10 ms to 100 ms: a tick later than that was skipped over.
const LATE_SECONDS: [f64; 14] =
    [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 1.67e-2, 2.5e-2, 3.33e-2, 5e-2, 1e-1, 2.5e-1, 1.0];
/// Finest around 50 µs, which is what a swap without a schema change may take.
const PAUSE_SECONDS: [f64; 12] = [1e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 2.5e-2, 1e-1, 1.0];

/// From a loopback to a satellite, and what is worse.
const RTT_SECONDS: [f64; 13] = [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1, 1.0, 5.0];
/// Finest around 500 ms, which is what ten seconds of a thousand players may take.
const REWIND_SECONDS: [f64; 11] = [1e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 1e-1, 2.5e-1, 5e-1, 1.0, 2.5, 10.0];

const ROOM: &[&str] = &["room"];

/// The registry and the handles of what belongs to no room.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    started: Instant,
    rooms: RoomVectors,
    loads: IntCounterVec,
    requests: RequestMetrics,
    sessions: Arc<SessionMetrics>,
    /// Loads that have begun or wait for their turn.
    pub loads_under_way: IntGauge,
    /// Rooms whose callback does not return.
    pub rooms_stuck: IntGauge,
    /// 1 while a version is on trial.
    pub on_trial: IntGauge,
    verdicts: IntCounterVec,
    /// Written by each rewrite's thread.
    pub rewrites: IntGauge,
    /// Rooms that there are. Written by the rooms' threads, as the two below.
    pub rooms_open: IntGauge,
    pub rooms_opened: IntCounter,
    pub rooms_closed: IntCounter,
    /// Set after each load; versions are never unmapped.
    pub versions_mapped: IntGauge,
    /// Set by whoever reads: memory that rooms have taken from the system for their pages.
    pub pool_bytes: IntGauge,
    pub log_lines_lost: IntGauge,
    resident_bytes: IntGauge,
    uptime_seconds: Gauge,
}

/// The handles of one room, looked up once when the room is made: a look-up by label takes a lock.
#[derive(Debug, Clone)]
pub struct RoomMetrics {
    pub ticks: IntCounter,
    /// Ticks that began late because the one before took too long.
    pub overruns: IntCounter,
    pub faults: IntCounter,
    /// Forks taken since the start.
    pub forks: IntCounter,
    pub step_seconds: Histogram,
    pub tick_seconds: Histogram,
    /// Where ticks were skipped, of the first that was.
    pub tick_late_seconds: Histogram,
    pub swap_pause_seconds: Histogram,
    pub rewind_seconds: Histogram,
    pub rows: IntGauge,
    pub pages: IntGauge,
}

/// What connections of players count, from whatever thread.
#[derive(Debug)]
pub struct SessionMetrics {
    connections: [IntGauge; 2],
    pub frames_received: IntCounter,
    pub frames_sent: IntCounter,
    /// Calls of the kernel, each with all the frames that there were.
    pub socket_writes: IntCounter,
    /// Messages that had been consumed before, as after a resume.
    pub duplicates: IntCounter,
    pub rtt_seconds: Histogram,
    closes: IntCounterVec,
    refused: IntCounterVec,
}

/// Counts answers by the first digit of their status.
#[derive(Debug, Clone)]
pub struct RequestMetrics {
    /// `2xx` to `5xx`; interim answers are never counted, for the engine sends none.
    classes: [IntCounter; 4],
}

#[derive(Debug)]
struct RoomVectors {
    ticks: IntCounterVec,
    overruns: IntCounterVec,
    faults: IntCounterVec,
    forks: IntCounterVec,
    step_seconds: HistogramVec,
    tick_seconds: HistogramVec,
    tick_late_seconds: HistogramVec,
    swap_pause_seconds: HistogramVec,
    rewind_seconds: HistogramVec,
    rows: IntGaugeVec,
    pages: IntGaugeVec,
}

impl Metrics {
    /// Uptime counts from here.
    #[must_use]
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let register = Register(&registry);
        let rooms = RoomVectors {
            ticks: register.counters("hotseat_ticks_total", "Ticks run.", ROOM),
            overruns: register.counters("hotseat_tick_overruns_total", "Ticks that began late.", ROOM),
            faults: register.counters("hotseat_faults_total", "Panics of the logic, each undone.", ROOM),
            forks: register.counters("hotseat_forks_total", "Forks taken of the world.", ROOM),
            step_seconds: register.histograms(
                "hotseat_step_seconds",
                "Time of one request, be it a query or an input.",
                &STEP_SECONDS,
            ),
            tick_seconds: register.histograms("hotseat_tick_seconds", "Time of one tick.", &STEP_SECONDS),
            tick_late_seconds: register.histograms(
                "hotseat_tick_late_seconds",
                "How long after it was due a tick began; those that were due meanwhile are skipped.",
                &LATE_SECONDS,
            ),
            swap_pause_seconds: register.histograms(
                "hotseat_swap_pause_seconds",
                "Time in which a room took no input because its logic was swapped.",
                &PAUSE_SECONDS,
            ),
            rewind_seconds: register.histograms(
                "hotseat_rewind_seconds",
                "Time in which a room took no input because its swap was rewound.",
                &REWIND_SECONDS,
            ),
            rows: register.gauges("hotseat_rows", "Live rows.", ROOM),
            pages: register.gauges("hotseat_pages", "Pages in use.", ROOM),
        };
        let answers = register.counters("hotseat_requests_total", "HTTP answers by status class.", &["class"]);
        Metrics {
            started: Instant::now(),
            rooms,
            sessions: Arc::new(SessionMetrics::new(&register)),
            loads: register.counters(
                "hotseat_loads_total",
                "Loads by outcome: done, or the refusal's code.",
                &["outcome"],
            ),
            rooms_stuck: register.gauge("hotseat_rooms_stuck", "Rooms in which a callback does not return."),
            on_trial: register.gauge("hotseat_on_trial", "1 while a version is on trial."),
            verdicts: register.counters(
                "hotseat_verdicts_total",
                "Trials by how they ended: whether the version stayed, and why.",
                &["verdict", "why"],
            ),
            rewrites: register
                .gauge("hotseat_rewrites", "Tables being rewritten: one that stays was left behind and holds a core."),
            rooms_open: register.gauge("hotseat_rooms", "Rooms that there are."),
            rooms_opened: register.counter("hotseat_rooms_opened_total", "Rooms opened, those of the config included."),
            rooms_closed: register.counter("hotseat_rooms_closed_total", "Rooms closed."),
            loads_under_way: register.gauge("hotseat_loads_under_way", "Loads that have begun or wait for their turn."),
            requests: RequestMetrics {
                classes: ["2xx", "3xx", "4xx", "5xx"].map(|class| answers.with_label_values(&[class])),
            },
            versions_mapped: register.gauge("hotseat_versions_mapped", "Versions of the logic in memory."),
            log_lines_lost: register.gauge("hotseat_log_lines_lost", "Log lines since the start that nobody took."),
            pool_bytes: register.gauge("hotseat_pool_bytes", "Memory taken for pages, in use or free."),
            resident_bytes: register.gauge("process_resident_memory_bytes", "Resident memory."),
            uptime_seconds: register
                .add(Gauge::new("hotseat_uptime_seconds", "Time since the start.").expect(WELL_FORMED)),
            registry,
        }
    }

    /// The handles of a room; asking again gives the same counters.
    #[must_use]
    pub fn room(&self, name: &str) -> RoomMetrics {
        let label = &[name];
        RoomMetrics {
            ticks: self.rooms.ticks.with_label_values(label),
            overruns: self.rooms.overruns.with_label_values(label),
            faults: self.rooms.faults.with_label_values(label),
            forks: self.rooms.forks.with_label_values(label),
            step_seconds: self.rooms.step_seconds.with_label_values(label),
            tick_seconds: self.rooms.tick_seconds.with_label_values(label),
            tick_late_seconds: self.rooms.tick_late_seconds.with_label_values(label),
            swap_pause_seconds: self.rooms.swap_pause_seconds.with_label_values(label),
            rewind_seconds: self.rooms.rewind_seconds.with_label_values(label),
            rows: self.rooms.rows.with_label_values(label),
            pages: self.rooms.pages.with_label_values(label),
        }
    }

    /// Takes a room's numbers out of what is shown. A room of the same name starts again from zero.
    pub fn forget_room(&self, name: &str) {
        let label = &[name];
        let RoomVectors {
            ticks,
            overruns,
            faults,
            forks,
            step_seconds,
            tick_seconds,
            tick_late_seconds,
            swap_pause_seconds,
            rewind_seconds,
            rows,
            pages,
        } = &self.rooms;
        // A room that was never shown has nothing to take out.
        for counters in [ticks, overruns, faults, forks] {
            let _ = counters.remove_label_values(label);
        }
        for histograms in [step_seconds, tick_seconds, tick_late_seconds, swap_pause_seconds, rewind_seconds] {
            let _ = histograms.remove_label_values(label);
        }
        for gauges in [rows, pages] {
            let _ = gauges.remove_label_values(label);
        }
    }

    #[must_use]
    pub fn sessions(&self) -> Arc<SessionMetrics> {
        Arc::clone(&self.sessions)
    }

    #[must_use]
    pub fn requests(&self) -> RequestMetrics {
        self.requests.clone()
    }

    /// Codes are a closed set of words in the source, so the labels are bounded.
    pub fn count_load<T>(&self, outcome: &Result<T, Refusal>) {
        let outcome = outcome.as_ref().map_or_else(Refusal::code, |_| "done");
        self.loads.with_label_values(&[outcome]).inc();
    }

    /// Both are words of the source, so the labels are bounded.
    pub fn count_verdict(&self, verdict: &str, why: &str) {
        self.verdicts.with_label_values(&[verdict, why]).inc();
    }

    /// The Prometheus text format, as of now.
    #[must_use]
    pub fn render(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            self.resident_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        self.uptime_seconds.set(self.started.elapsed().as_secs_f64());
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing to memory does not fail");
        String::from_utf8(text).expect("the text format is UTF-8")
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl SessionMetrics {
    fn new(register: &Register<'_>) -> SessionMetrics {
        let connections = register.gauges("hotseat_connections", "Connections of players.", &["transport"]);
        SessionMetrics {
            connections: ["tcp", "websocket"].map(|transport| connections.with_label_values(&[transport])),
            frames_received: register.counter("hotseat_frames_received_total", "Frames from players."),
            frames_sent: register.counter("hotseat_frames_sent_total", "Frames to players."),
            socket_writes: register
                .counter("hotseat_socket_writes_total", "Writes to sockets of players, of one frame or of many."),
            duplicates: register
                .counter("hotseat_duplicates_total", "Messages passed over, because they were consumed before."),
            rtt_seconds: register.add(
                Histogram::with_opts(
                    HistogramOpts::new("hotseat_rtt_seconds", "Round trips of pings.").buckets(RTT_SECONDS.to_vec()),
                )
                .expect(WELL_FORMED),
            ),
            closes: register.counters(
                "hotseat_closes_total",
                "Connections of players that the engine ended, by close code and cause.",
                &["code", "cause"],
            ),
            refused: register.counters(
                "hotseat_handshakes_refused_total",
                "Connections that ended before they were a player's, by cause: refused handshakes of WebSockets, requests that never ended, and answers that were not read.",
                &["cause"],
            ),
        }
    }

    pub(crate) fn connections(&self, is_websocket: bool) -> &IntGauge {
        &self.connections[usize::from(is_websocket)]
    }

    /// Causes are words of the source, so the labels are bounded.
    pub(crate) fn count_close(&self, bad: &Bad) {
        self.closes.with_label_values(&[bad.code.to_string().as_str(), bad.cause]).inc();
    }

    pub(crate) fn count_refused(&self, cause: &'static str) {
        self.refused.with_label_values(&[cause]).inc();
    }
}

impl RequestMetrics {
    pub(crate) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        assert!((2..=5).contains(&class), "the HTTP layer lets no other status out: {status}");
        self.classes[class - 2].inc();
    }
}

/// Names, labels and buckets are constants of this file, and the test below registers them all.
const WELL_FORMED: &str = "metric names are well-formed and registered once";

struct Register<'registry>(&'registry Registry);

impl Register<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.0.register(Box::new(collector.clone())).expect(WELL_FORMED);
        collector
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels).expect(WELL_FORMED))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels).expect(WELL_FORMED))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help).expect(WELL_FORMED))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help).expect(WELL_FORMED))
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, ROOM).expect(WELL_FORMED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Kind;

    fn check_lines(text: &str, expected: &[&str]) {
        for line in expected {
            assert!(text.lines().any(|found| found == *line), "no line {line:?} in\n{text}");
        }
    }

    #[test]
    fn a_room_that_is_forgotten_is_shown_no_more_and_starts_again() {
        let metrics = Metrics::new();
        metrics.room("main").ticks.inc();
        let duel = metrics.room("duel");
        duel.ticks.inc();
        metrics.forget_room("duel");
        // Its thread may still hold the handles.
        duel.ticks.inc();
        let text = metrics.render();
        assert!(!text.contains("duel"), "{text}");
        check_lines(&text, &["hotseat_ticks_total{room=\"main\"} 1"]);
        let _again = metrics.room("duel");
        check_lines(&metrics.render(), &["hotseat_ticks_total{room=\"duel\"} 0"]);
    }

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new();
        let room = metrics.room("main");
        room.ticks.inc_by(3);
        metrics.room("main").ticks.inc();
        room.rows.set(7);
        room.step_seconds.observe(3e-6);
        room.swap_pause_seconds.observe(2e-5);
        metrics.versions_mapped.set(2);
        metrics.rooms_open.set(1);
        metrics.rooms_opened.inc_by(2);
        metrics.rooms_closed.inc();
        metrics.requests().count(StatusCode::NOT_FOUND);
        metrics.count_load(&Ok(()));
        metrics.count_verdict("confirmed", "time");
        metrics.count_load::<()>(&Err(Refusal::new(Kind::Conflict, "load-busy", "another load is under way")));
        check_lines(
            &metrics.render(),
            &[
                "hotseat_ticks_total{room=\"main\"} 4",
                "hotseat_tick_overruns_total{room=\"main\"} 0",
                "hotseat_rows{room=\"main\"} 7",
                "hotseat_step_seconds_bucket{room=\"main\",le=\"0.0000025\"} 0",
                "hotseat_step_seconds_bucket{room=\"main\",le=\"0.000005\"} 1",
                "hotseat_swap_pause_seconds_count{room=\"main\"} 1",
                "hotseat_versions_mapped 2",
                "hotseat_rooms 1",
                "hotseat_rooms_opened_total 2",
                "hotseat_rooms_closed_total 1",
                "hotseat_requests_total{class=\"2xx\"} 0",
                "hotseat_requests_total{class=\"4xx\"} 1",
                "hotseat_loads_total{outcome=\"done\"} 1",
                "hotseat_verdicts_total{verdict=\"confirmed\",why=\"time\"} 1",
                "hotseat_loads_total{outcome=\"load-busy\"} 1",
                "# TYPE process_resident_memory_bytes gauge",
                "# TYPE hotseat_uptime_seconds gauge",
            ],
        );
    }
}
