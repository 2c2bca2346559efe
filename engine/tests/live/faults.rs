//! A logic that panics: its input is undone, and everything else goes on.

use std::os::unix::fs::symlink;

use rustix::process::Signal;

use crate::support::{Setup, moody};

const MOODY: &[&str] = &["game.1001.so", "plugin2.so"];

#[test]
fn a_request_that_panics_is_as_if_it_had_never_come() {
    let engine = Setup::new(moody(), MOODY).start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    for callback in ["request", "query"] {
        let target = if callback == "request" { "/panic" } else { "/panic-in-query" };
        let (status, code, reason) = engine.refusal(target);
        assert_eq!((status, code.as_str()), (500, "logic-fault"));
        assert!(reason.starts_with(&format!("version 1001 failed in {callback} at tick ")), "{reason}");
        assert!(reason.contains("engine/tests/moody/src/lib.rs:"), "{reason}");
        assert!(reason.ends_with(&format!(": the {callback} was told to")), "{reason}");
    }
    assert_eq!(engine.get("/count"), "2 in 1001\n");
    let room = &engine.status()["rooms"][0];
    assert_eq!((room["faults"].as_u64(), room["state"].as_str()), (Some(2), Some("running")));
    assert_eq!(room["last_fault"]["callback"], "query");
    assert_eq!(room["last_fault"]["message"], "the query was told to");
}

#[test]
fn a_log_that_takes_nothing_does_no_harm() {
    let setup = Setup::new(moody(), MOODY);
    symlink("/dev/full", setup.path("log")).unwrap();
    let engine = setup.start();
    assert_eq!(engine.refusal("/panic").0, 500);
    assert_eq!(engine.refusal("/load?name=nothing.so").0, 404);
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/count"), "101 in 1002\n");
    assert!(engine.metric("hotseat_log_lines_lost") >= 3);
    engine.signal(Signal::TERM);
    assert_eq!(engine.ended().0, Some(0));
}

#[test]
fn the_same_fault_is_logged_once_and_counted_each_time() {
    let engine = Setup::new(moody(), MOODY).start();
    (0..20).for_each(|_| drop(engine.refusal("/panic")));
    assert_eq!(engine.metric("hotseat_faults_total{room=\"main\"}"), 20);
    assert_eq!(engine.log().matches("the logic failed: the request was told to").count(), 1);
}

#[test]
fn a_tick_that_panics_freezes_the_room_until_a_fix_is_loaded() {
    let engine = Setup::new(moody(), MOODY).with("tick_hz = 100\nrooms = [\"main\", \"other\"]").start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    assert_eq!(engine.get("/spoil"), "spoilt\n");
    engine.until("the next tick panics", |engine| engine.status()["rooms"][0]["state"] == "frozen");
    let (status, code, reason) = engine.refusal("/count");
    assert_eq!((status, code.as_str()), (503, "room-frozen"));
    assert!(reason.starts_with("the room main is frozen: version 1001 failed in tick at tick "), "{reason}");
    assert!(reason.ends_with(": the room is spoilt; load a fix"), "{reason}");
    assert_eq!(engine.get("/peek"), "2 in 1001\n", "what only reads is answered, so a game's page can be loaded again");
    assert_eq!(engine.get("/count?room=other"), "1 in 1001\n");
    assert_eq!(engine.get("/healthz"), "ready\n");

    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    // What came before the panic is still there, and `upgraded` has added its hundred.
    assert_eq!(engine.get("/count"), "103 in 1002\n");
    let frozen_at = engine.status()["rooms"][0]["tick"].as_u64().unwrap();
    engine.until("it ticks again", |engine| engine.status()["rooms"][0]["tick"].as_u64().unwrap() > frozen_at + 2);
    assert_eq!(engine.status()["rooms"][0]["state"], "running");
    assert_eq!(engine.metric("hotseat_faults_total{room=\"main\"}"), 1);
}

#[test]
fn a_start_tells_of_a_room_that_is_frozen() {
    let engine = Setup::new(moody(), MOODY).with("tick_hz = 100").start();
    assert_eq!(engine.get("/spoil"), "spoilt\n");
    engine.until("the next tick panics", |engine| engine.status()["rooms"][0]["state"] == "frozen");
    let engine = engine.killed().start();
    assert_eq!(engine.status()["rooms"][0]["state"], "frozen");
    let log = engine.log();
    let (_, told) = log.split_once("the room is frozen: ").unwrap_or_else(|| panic!("{log}"));
    assert!(told.starts_with("version 1001 failed in tick at tick ") && told.contains("; load a fix"), "{log}");
}
