//! Players on sockets: what a crowd of them costs, and what a swap costs them. The load generator is `swarm`, on the same cores.

use crate::measure::{Bar, Report, median};
use crate::server::{Engine, Server};
use bench_logic::SPEAK;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use swarm::script::{Script, Template};
use swarm::{Expect, Options, Pace, Protocol, Stop, Swaps, Target};

const BENCH_LOGIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/logic");
/// One payload of sixteen bytes: a short command.
const PAYLOAD: &str = "hex 730102030405060708090a0b0c0d0e0f";

/// Between two looks at rooms, with connections beside them or without.
const LOOK: Duration = Duration::from_secs(8);

/// Seconds of the long run, which a word of the environment can shorten where only a first look is wanted.
const SECONDS_VARIABLE: &str = "HOTSEAT_BENCH_SWAP_SECONDS";
const SECONDS: u64 = 60;

/// A word for what can be measured by itself, and what measures it.
type Part = (&'static str, fn(&mut Report));

pub(crate) const PARTS: [Part; 4] = [("echo", echo), ("fan-out", fan_out), ("idle", idle), ("swaps", swaps)];

pub(crate) fn options(host: SocketAddr) -> Options {
    let target: Target = format!("ws://{host}/ws").parse().expect("a good URL");
    Options {
        script: Script::parse(PAYLOAD).expect("a good script"),
        expect: Expect::Echo,
        joins_per_second: 2000.0,
        ..Options::new(target)
    }
}

pub(crate) fn run(options: &Options) -> swarm::Report {
    let result = swarm::run(options, &Stop::default(), |_| {});
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A run in which nothing may be lost.
fn clean(options: &Options) -> swarm::Report {
    let report = run(options);
    let messages = &report.messages;
    let wrong = messages.lost + messages.duplicated + messages.out_of_order + messages.damaged + messages.failed;
    assert!(wrong == 0 && report.refused() == 0 && report.disconnects() == 0, "{report}");
    report
}

/// An engine on the benches' logic, which sends messages back.
fn bench_engine(tick_hz: u32) -> Engine {
    bench_engine_with(tick_hz, "")
}

fn bench_engine_with(tick_hz: u32, more: &str) -> Engine {
    let config = format!("tick_hz = {tick_hz}\nframes_per_second_max = 0\nplayers_max = 16384\n{more}");
    Engine::start_with(&[&["--crate", BENCH_LOGIC, "1"]], &config)
}

/// Messages a second that come back.
fn echoes(address: SocketAddr, protocol: Protocol, players: u32, in_flight: u32) -> f64 {
    let report = clean(&Options {
        protocol,
        players,
        pace: Pace::InFlight(in_flight),
        duration: Duration::from_secs(2),
        ping_every: None,
        ..options(address)
    });
    report.messages.confirmed_per_second
}

/// What it costs that every message is in the journal before its echo leaves.
pub(crate) fn measure_durability(report: &mut Report) {
    const PLAYERS: u32 = 50;
    let settings = ["off", "100ms", "tick"];
    let engines = settings.map(|durability| bench_engine_with(20, &format!("durability = \"{durability}\"\n")));
    for in_flight in [16, 1] {
        let mut figures = [const { Vec::new() }; 3];
        for round in 0..6 {
            for (engine, figures) in engines.iter().zip(&mut figures) {
                let figure = echoes(engine.server.address, Protocol::Hotseat, PLAYERS, in_flight);
                if round > 0 {
                    figures.push(figure);
                }
            }
        }
        let [off, within, tick] = figures.map(|figures| median(&figures));
        for (durability, figure, bar) in [("100ms", within, Bar::AtLeast(0.8)), ("tick", tick, Bar::None)] {
            let what = format!(
                "WebSocket echo with `durability = \"{durability}\"`, {PLAYERS} connections with {in_flight} in flight, \
                 against \"off\""
            );
            report.add(&what, figure / off, "", bar, format!("{figure:.0} / {off:.0} messages a second"));
        }
    }
}

fn echo(report: &mut Report) {
    let (engine, bare) = (bench_engine(20), Server::bare_echo());
    for (connections, in_flight, bar) in [(50, 1, 0.7), (50, 16, 1.0), (1000, 1, 0.8)] {
        let per_second = |address, protocol| echoes(address, protocol, connections, in_flight);
        let (mut ratios, mut ours_all, mut theirs_all) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..6 {
            let ours = per_second(engine.server.address, Protocol::Hotseat);
            let theirs = per_second(bare.address, Protocol::BareEcho);
            if round > 0 {
                ratios.push(ours / theirs);
                ours_all.push(ours);
                theirs_all.push(theirs);
            }
        }
        let what = format!(
            "WebSocket echo through the logic, {connections} connections with {in_flight} in flight, against bare \
             tokio-tungstenite"
        );
        let detail = format!("{:.0} / {:.0} messages a second", median(&ours_all), median(&theirs_all));
        report.add(&what, median(&ratios), "", Bar::AtLeast(bar), detail);
    }
}

fn fan_out(report: &mut Report) {
    const PLAYERS: u32 = 200;
    const TICK_HZ: u32 = 1000;
    let engine = bench_engine(TICK_HZ);
    let run = clean(&Options {
        players: PLAYERS,
        pace: Pace::Idle,
        duration: Duration::from_secs(10),
        hello: Template::text(SPEAK).expect("no placeholder"),
        ..options(engine.server.address)
    });
    let detail =
        format!("{TICK_HZ} Hz asked for, {:.0} ticks a second reached", run.frames.per_second / f64::from(PLAYERS));
    let what = format!("frames a second of a broadcast at each tick to {PLAYERS} players, delivered");
    report.add(&what, run.frames.per_second, "", Bar::AtLeast(100_000.0), detail);
}

fn idle(report: &mut Report) {
    const CONNECTIONS: u32 = 10_000;
    /// Without connections and with them in turn, for the machine is not the same from one ten seconds to the next.
    const ROUNDS: usize = 5;
    // All connections are in the first. The others tick beside it: of one room there would be too few ticks for a p99.
    let rooms: Vec<_> = ["main".to_owned()].into_iter().chain((1..20).map(|room| format!("beside-{room}"))).collect();
    let engine = bench_engine_with(20, &format!("rooms = {rooms:?}\n"));
    let look = || [TICK_TIMES, TICK_LATENESS].map(|histogram| buckets(&engine, histogram));
    let resident_before = engine.resident_kb();
    let (mut resident, mut alone, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = look();
        std::thread::sleep(LOOK);
        alone.push([before, look()]);
        let idle = Options {
            players: CONNECTIONS,
            pace: Pace::Idle,
            duration: LOOK + Duration::from_secs(6),
            ping_every: None,
            ..options(engine.server.address)
        };
        let (mut since, mut looks) = (None, Vec::new());
        let idle_report = swarm::run(&idle, &Stop::default(), |progress| {
            if progress.joined < u64::from(CONNECTIONS) {
                return;
            }
            let since = since.get_or_insert_with(Instant::now).elapsed();
            // All have been there for a while by then: nothing of their arrival is left.
            if (looks.is_empty() && since > Duration::from_secs(2))
                || (looks.len() == 1 && since > LOOK + Duration::from_secs(2))
            {
                looks.push(look());
                resident.push(engine.resident_kb());
            }
        });
        let idle_report = idle_report.unwrap_or_else(|error| panic!("{error}"));
        assert!(idle_report.refused() == 0 && idle_report.disconnects() == 0, "{idle_report}");
        beside.push(<[_; 2]>::try_from(looks).expect("they were there for long enough"));
    }
    // Of the first round: what comes later finds memory of those before.
    let resident = resident[1];
    let each = resident.saturating_sub(resident_before) as f64 / f64::from(CONNECTIONS);
    let detail = format!("({resident} KB - {resident_before} KB) / {CONNECTIONS}");
    report.add(
        &format!("RSS of each of {CONNECTIONS} idle WebSocket connections"),
        each,
        " KB",
        Bar::AtMost(12.0),
        detail,
    );
    for (place, what) in ["took", "began late"].into_iter().enumerate() {
        let p99_us = |looks: &[[[Buckets; 2]; 2]]| {
            let figures: Vec<_> = looks.iter().map(|[before, after]| p99_us(&before[place], &after[place])).collect();
            median(&figures)
        };
        let (beside, alone) = (p99_us(&beside), p99_us(&alone));
        // The same twice is not the same figure, but lies in the same bucket.
        let bound = look()[place].iter().map(|(bound, _)| bound * 1e6).find(|bound| *bound >= alone);
        let (rooms, from) = (rooms.len(), "by the histogram of `/metrics`, interpolated");
        let detail = format!(
            "{beside:.0} us with them, {alone:.0} us without, of {rooms} rooms, medians of {ROUNDS} times {} s in turn, {from}",
            LOOK.as_secs()
        );
        let what = format!("p99 of what a 20 Hz room's ticks {what} beside them, against the bucket of those without");
        report.add(&what, beside, " us", Bar::AtMost(bound.expect("the last has no end")), detail);
    }
}

/// Bounds in seconds, and of how many ticks of all rooms the time was no longer.
type Buckets = Vec<(f64, f64)>;

const TICK_TIMES: &str = "hotseat_tick_seconds_bucket";
const TICK_LATENESS: &str = "hotseat_tick_late_seconds_bucket";

fn buckets(engine: &Engine, histogram: &str) -> Buckets {
    let metrics = engine.get("/metrics");
    let bucket = |line: &str| {
        let (labels, count) = line.strip_prefix(histogram)?.rsplit_once(' ')?;
        let bound = labels.split("le=\"").nth(1)?.split('"').next()?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        Some((bound, count.parse().ok()?))
    };
    let mut buckets = Buckets::new();
    for (bound, count) in metrics.lines().filter_map(bucket) {
        match buckets.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, all)) => *all += count,
            None => buckets.push((bound, count)),
        }
    }
    assert!(!buckets.is_empty(), "no {histogram} in {metrics}");
    buckets
}

/// The p99 of the ticks between two looks, as if those of a bucket lay evenly between its bounds.
fn p99_us(before: &[(f64, f64)], after: &[(f64, f64)]) -> f64 {
    let since: Vec<_> = before.iter().zip(after).map(|((_, old), (bound, new))| (*bound, new - old)).collect();
    let all = since.last().map_or(0.0, |(_, count)| *count);
    assert!(all > 0.0, "the rooms have ticked meanwhile");
    let (rank, mut below) = (all * 0.99, (0.0, 0.0));
    for (bound, count) in since {
        if count >= rank {
            let (low, under) = below;
            return (low + (bound - low) * (rank - under) / (count - under)) * 1e6;
        }
        below = (bound, count);
    }
    unreachable!("the last bucket has all of them")
}

fn swaps(report: &mut Report) {
    /// A machine that stands still for a moment in one of the windows makes a p99 of them: the median of these runs is what a swap does.
    const RUNS: usize = 3;
    let seconds = std::env::var(SECONDS_VARIABLE).ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS);
    let config = "tick_hz = 20\n";
    let engine = Engine::start_with(&[&["--crate", BENCH_LOGIC, "1"], &["--crate", BENCH_LOGIC, "2"]], config);
    let options = Options {
        players: 1000,
        pace: Pace::PerSecond(10.0),
        duration: Duration::from_secs(seconds),
        swaps: Some(Swaps {
            every: Duration::from_secs(1),
            between: ["plugin2.so", "plugin1.so"].map(|name| name.parse().expect("a name")).into(),
            margin: Duration::from_millis(100),
            token: None,
        }),
        ..options(engine.server.address)
    };
    let runs: Vec<_> = (0..RUNS).map(|_| run(&options)).collect();
    let (mut done, mut sent, mut wrong) = (0, 0, [0; 4]);
    for run in &runs {
        let (swaps, messages) = (run.swaps.as_ref().expect("asked for"), &run.messages);
        assert!(swaps.refused.is_empty(), "{run}");
        done += swaps.done;
        sent += messages.sent;
        let lost = messages.lost + messages.damaged + messages.failed;
        let of_run = [run.disconnects() + run.refused(), lost, messages.duplicated, messages.out_of_order];
        wrong.iter_mut().zip(of_run).for_each(|(all, of_run)| *all += of_run);
    }
    let [disconnects, lost, duplicated, out_of_order] = wrong;
    report.add(
        &format!(
            "1,000 players, 10 messages/s each, {done} swaps in {RUNS} times {seconds} s: disconnects, lost, duplicated, out of order"
        ),
        wrong.iter().sum::<u64>() as f64,
        "",
        Bar::AtMost(0.0),
        format!(
            "{disconnects} disconnects, {lost} lost, {duplicated} duplicated, {out_of_order} out of order, of {sent} messages"
        ),
    );
    let ratio = |run: &swarm::Report| run.swap_p99_ratio().expect("there were swaps");
    let each = runs.iter().map(|run| {
        let (inside, outside) = (run.rtt.inside_swaps.expect("some"), run.rtt.outside_swaps.expect("some"));
        let late = run.lateness.expect("a rate");
        format!("{:.2} ({:.2} / {:.2} ms, sent {:.2} late)", ratio(run), inside.p99_ms, outside.p99_ms, late.p99_ms)
    });
    let detail = each.collect::<Vec<_>>().join(", ") + "; late is the load generator itself, at p99";
    let ratios: Vec<_> = runs.iter().map(ratio).collect();
    report.add("round trip p99 inside swap windows against outside", median(&ratios), " ×", Bar::AtMost(1.2), detail);
}
