//! What a load takes: from request to `done`, and ten thousand of them to and fro.

use crate::measure::{Bar, Report, median, quantile};
use crate::server::{Engine, build_so};
use engine::loader::raw;
use logic_api::abi::LogicTable;
use room::LogicVersion;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

const LOADS: usize = 10_000;
const FRESH_LOADS: usize = 21;
/// Of a room on which a load is rehearsed.
const ROWS: u64 = 1_000_000;

/// The logic of the benches, from its `.so`, by the way every plugin goes into the engine.
pub(crate) fn bench_logic() -> Arc<LogicVersion> {
    static MAPPED: OnceLock<Arc<LogicVersion>> = OnceLock::new();
    MAPPED
        .get_or_init(|| {
            let folder = tempfile::tempdir().expect("a folder");
            build_so(folder.path(), &["--crate", concat!(env!("CARGO_MANIFEST_DIR"), "/benches/logic"), "1"]);
            raw::map(&folder.path().join("game.1001.so")).expect("a logic")
        })
        .clone()
}

/// The function table of the same.
pub(crate) fn bench_table() -> LogicTable {
    *bench_logic().table().expect("it is linked in")
}

pub(crate) fn measure(report: &mut Report) {
    let engine = Engine::start();
    engine.build("2");
    engine.build("3");
    let times = fresh_loads(&engine);
    let detail =
        format!("worst {:.1} ms, each a new file: staged, probed, rehearsed and mapped", quantile(&times, 1.0));
    report.add(
        "`/load` of a release `.so` from request to `done`, median",
        median(&times),
        " ms",
        Bar::AtMost(10.0),
        detail,
    );

    large_room(report);

    for name in ["plugin2.so", "plugin3.so"] {
        assert_eq!(engine.get(&format!("/load?name={name}")), "done\n");
    }
    let (rss, descriptors) = (engine.resident_kb(), engine.descriptors());
    let (mut wrong, start) = (0, Instant::now());
    for turn in 0..LOADS {
        let version = 2 + turn % 2;
        assert_eq!(engine.get(&format!("/load?name=plugin{version}.so")), "done\n");
        wrong += usize::from(!engine.get("/hello").contains(&format!("version={},", 1000 + version)));
    }
    let seconds = start.elapsed().as_secs_f64();
    let more = (engine.resident_kb() as f64 - rss as f64) / 1024.0;
    let detail = format!(
        "{} descriptors before, {} after; {wrong} wrong answers; {:.0} loads a second",
        descriptors,
        engine.descriptors(),
        LOADS as f64 / seconds
    );
    assert!(wrong == 0, "the right version every time");
    report.add("RSS after 10000 loads to and fro", more, " MB", Bar::AtMost(5.0), detail);
}

/// How long loads of version 2 take, in milliseconds, each with content that was never loaded before.
fn fresh_loads(engine: &Engine) -> Vec<f64> {
    let load = |_| {
        let name = engine.fresh_copy("plugin2.so");
        let start = Instant::now();
        assert_eq!(engine.get(&format!("/load?name={name}")), "done\n");
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..FRESH_LOADS).map(load).collect()
}

/// A load while there is a room of a million rows: it goes to the child as bytes.
fn large_room(report: &mut Report) {
    let logic = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/logic");
    let engine = Engine::start_with(&[&["--crate", logic, "1"], &["--crate", logic, "2"]], "");
    let opened = engine.send("POST", "/api/v1/rooms", &format!("{{\"name\": \"large\", \"config\": \"{ROWS}\"}}"));
    assert!(opened.contains("\"large\""), "{opened}");
    let times = fresh_loads(&engine);
    report.add(
        "the same beside a room of 1000000 rows of 64 B, on a copy of which it is rehearsed",
        median(&times),
        " ms",
        Bar::AtMost(500.0),
        format!("worst {:.0} ms; the room plays on meanwhile", quantile(&times, 1.0)),
    );
}
