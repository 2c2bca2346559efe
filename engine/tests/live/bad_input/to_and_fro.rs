//! Many loads: nothing grows, and the version that answers is always the one that was asked for.
//!
//! `HOTSEAT_LOADS` says how many; `scripts/bench.sh loads` does it ten thousand times.

use super::{
    plugins::{good, sealed},
    refusals::start,
};

/// Few enough for every run of the tests.
const LOADS: u64 = 300;
/// After these, everything has been made that is made once.
const WARM_UP: u64 = 100;
/// The bar for 10,000 loads.
const GROWTH_BYTES_MAX: u64 = 5 << 20;

#[test]
fn loads_to_and_fro_leave_nothing_behind() {
    let loads = std::env::var("HOTSEAT_LOADS").map_or(LOADS, |loads| loads.parse().expect("HOTSEAT_LOADS is a number"));
    let engine = start(&sealed(&good(1001, "game1")));
    engine.put("plugin1.so", &sealed(&good(1001, "game1")));
    engine.put("plugin2.so", &sealed(&good(1002, "game2")));
    let load = |number: u64| {
        let version = 1 + number % 2;
        engine.must_load(&format!("plugin{version}.so"));
        assert_eq!(engine.hello(), format!("game{version} {}", 1000 + version), "load {number}");
    };
    let resident = || engine.whole_status().engine.rss_bytes.expect("the system tells");
    (0..WARM_UP).for_each(load);
    let (before, traces) = (resident(), engine.traces());
    (0..loads).for_each(load);
    let hello = engine.hello();
    engine.check_unharmed(&hello, &traces);
    let growth = resident().saturating_sub(before);
    println!("{loads} loads: {} KiB more in memory, {traces:?}", growth >> 10);
    assert!(growth <= GROWTH_BYTES_MAX, "{loads} loads cost {growth} bytes of memory");
    assert_eq!(engine.whole_status().versions.len(), 2);
    engine.end();
}
