//! What a load takes: from request to `done`, and ten thousand of them to and fro.

use crate::measure::{Bar, Report, median, quantile};
use crate::server::{Engine, build_so};
use engine::loader::raw;
use logic_api::abi::LogicTable;
use room::LogicVersion;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

const LOADS: usize = 10_000;

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
    *bench_logic().table()
}

pub(crate) fn measure(report: &mut Report) {
    let engine = Engine::start();
    engine.build("2");
    engine.build("3");
    // Each with content that was never loaded before, so that it is staged, probed and mapped.
    let mut times = Vec::new();
    for _ in 0..21 {
        let name = engine.fresh_copy("plugin2.so");
        let start = Instant::now();
        assert_eq!(engine.get(&format!("/load?name={name}")), "done\n");
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let detail = format!("worst {:.1} ms, each a new file: staged, probed and mapped", quantile(&times, 1.0));
    report.add(
        "`/load` of a release `.so` from request to `done`, median",
        median(&times),
        " ms",
        Bar::AtMost(10.0),
        detail,
    );

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
