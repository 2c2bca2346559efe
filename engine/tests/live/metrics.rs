//! What the engine tells about itself, beside what it has really done.

use crate::support::{Engine, Setup, game};

/// The values of one reading of `/metrics`.
struct Reading(String);

impl Reading {
    fn of(engine: &Engine) -> Self {
        Self(engine.get("/metrics"))
    }

    /// The value of a line, by its name and labels.
    #[track_caller]
    fn value(&self, name: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.0)).parse().unwrap()
    }

    #[track_caller]
    fn of_main(&self, name: &str) -> f64 {
        self.value(&format!("{name}{{room=\"main\"}}"))
    }

    /// Checks that a histogram of the room has observed `count` times or more, each within `seconds_max`; its count.
    #[track_caller]
    fn check_times(&self, name: &str, count_min: f64, seconds_max: f64) -> f64 {
        let (count, sum) = (self.of_main(&format!("{name}_count")), self.of_main(&format!("{name}_sum")));
        assert!(count >= count_min, "{name}: {count}");
        assert!(sum > 0.0 && sum < seconds_max * count, "{name}: {sum} s in {count}");
        count
    }
}

#[test]
fn metrics_and_status_tell_what_has_been_done() {
    let engine = Setup::new(game(), &["game.1001.so", "plugin2.so"]).with("tick_hz = 100").start();
    let first = Reading::of(&engine);
    for _ in 0..3 {
        engine.get("/hello");
    }
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    engine.get("/hello");
    let ticks = first.of_main("hotseat_ticks_total");
    engine.until("the room ticks on", |engine| Reading::of(engine).of_main("hotseat_ticks_total") >= ticks + 5.0);

    let reading = Reading::of(&engine);
    let status = engine.status();
    // Generous: what is told must be seconds, on however busy a machine.
    let seconds_max = 5.0;
    let ticks = reading.check_times("hotseat_tick_seconds", 5.0, seconds_max);
    let late = reading.check_times("hotseat_tick_late_seconds", 5.0, seconds_max);
    assert!((ticks - late).abs() <= 1.0, "each of {ticks} ticks is among {late}");
    // By either of its names.
    let of_requests = if reading.0.contains("hotseat_step_seconds_count") { "step" } else { "request" };
    let requests = reading.check_times(&format!("hotseat_{of_requests}_seconds"), 4.0, seconds_max);
    assert!(requests < 100.0, "ticks are not among {requests} requests");
    assert_eq!(reading.check_times("hotseat_swap_pause_seconds", 1.0, seconds_max), 1.0);
    assert_eq!(reading.of_main("hotseat_rows"), 2.0, "the greeting and the game");
    assert!((1.0..100.0).contains(&reading.of_main("hotseat_pages")));
    assert!(reading.of_main("hotseat_forks_total") >= 1.0, "the world to fall back to");
    assert_eq!(reading.of_main("hotseat_faults_total"), 0.0);
    assert_eq!(reading.value("hotseat_versions_mapped"), 2.0);
    assert_eq!(reading.value("hotseat_loads_total{outcome=\"done\"}"), 1.0);
    assert!(reading.value("hotseat_requests_total{class=\"2xx\"}") >= 7.0);
    let resident = reading.value("process_resident_memory_bytes");
    assert!((1e6..1e10).contains(&resident), "{resident}");

    let room = &status["rooms"][0];
    assert!(room["tick"].as_f64().unwrap() >= reading.of_main("hotseat_ticks_total"), "{room}");
    assert_eq!(room["rows"].as_f64(), Some(reading.of_main("hotseat_rows")));
    assert_eq!(room["pages"].as_f64(), Some(reading.of_main("hotseat_pages")));
    assert_eq!((&room["version"], &room["faults"]), (&1002.into(), &0.into()));
    assert_eq!(status["versions"].as_array().unwrap().len(), 2);
    let swap = &status["swaps"][0];
    assert_eq!((&swap["outcome"], &swap["name"]), (&"confirmed".into(), &"plugin2.so".into()));
    assert_eq!(status["engine"]["pid"], engine.pid());
}
