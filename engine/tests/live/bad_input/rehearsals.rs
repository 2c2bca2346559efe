//! Versions that misbehave in `upgraded` or in a migration: they do so to a child process, on copies of the rooms.

use expect_test::{Expect, expect};
use saboteurs::deeds::{ABORT, ALLOCATE, CRASH, DAEMON, DAWDLE, EXIT, FORK, LOOP, OPEN, PANIC, PRINT, RECURSE, THREAD};

use super::{
    plugins::{good, saboteur},
    refusals::{start, start_with},
};
use crate::support::Engine;

/// The version is refused like this while that mark is in the rooms.
#[track_caller]
fn check(engine: &Engine, number: u64, code: &str, reason: Expect) {
    assert_eq!(engine.get(&format!("/only/{number}")), "1 marks\n");
    engine.check_swap_refused("bad.so", 422, code, reason);
    assert_eq!(engine.get("/marks"), "1 marks\n", "no room has seen anything of it");
}

/// What is loaded next is loaded at once.
#[track_caller]
fn check_goes_on(engine: Engine) {
    engine.put("good.so", &good(1002, "game2"));
    engine.must_load("good.so");
    assert_eq!((engine.hello().as_str(), engine.get("/marks").as_str()), ("game2 1002", "1 marks\n"));
    assert_eq!(engine.metric("hotseat_rewrites"), 0);
    assert_eq!(engine.whole_status().versions.len(), 2, "nothing of what was refused is mapped");
    engine.end();
}

#[test]
fn an_upgrade_that_ends_the_process_ends_the_rehearsal_only() {
    let engine = start(&good(1001, "game1"));
    engine.put("bad.so", &saboteur("upgraded_misbehaves"));
    check(
        &engine,
        CRASH,
        "upgraded-crashes",
        expect!["bad.so: crashed in upgraded, in the room main: signal 11 (SIGSEGV)"],
    );
    check(
        &engine,
        ABORT,
        "upgraded-crashes",
        expect!["bad.so: crashed in upgraded, in the room main: signal 6 (SIGABRT)"],
    );
    check(&engine, EXIT, "upgraded-exits", expect!["bad.so: called exit(0) in upgraded, in the room main"]);
    check(
        &engine,
        RECURSE,
        "upgraded-overflows",
        expect![[r#"
        bad.so: overflowed its stack in upgraded, in the room main: recursion without end?
        it printed: thread 'rehearsal' (N) has overflowed its stack
        it printed: fatal runtime error: stack overflow, aborting"#]],
    );
    check(
        &engine,
        ALLOCATE,
        "upgraded-out-of-memory",
        expect![[r#"
            bad.so: ran out of memory in upgraded, in the room main: a rehearsal has 4 GiB
            it printed: memory allocation of 67108864 bytes failed
            it printed: note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace"#]],
    );
    check(
        &engine,
        PANIC,
        "upgraded-failed",
        expect![
            "in the room main: version 1000 failed in upgraded at tick N, engine/tests/saboteurs/examples/../src/deeds.rs:58:18: as it was told"
        ],
    );
    // In whichever room.
    engine.get("/only/0");
    engine.get(&format!("/only/{CRASH}?room=second"));
    engine.check_swap_refused(
        "bad.so",
        422,
        "upgraded-crashes",
        expect!["bad.so: crashed in upgraded, in the room second: signal 11 (SIGSEGV)"],
    );
    check_goes_on(engine);
}

#[test]
fn an_upgrade_that_leaves_something_behind_is_refused() {
    let engine = start(&good(1001, "game1"));
    engine.put("bad.so", &saboteur("upgraded_misbehaves"));
    check(
        &engine,
        FORK,
        "starts-processes",
        expect!["bad.so: starts a process of its own: logic has none (seen after upgraded)"],
    );
    check(
        &engine,
        DAEMON,
        "starts-processes",
        expect!["bad.so: starts a process of its own: logic has none (seen after upgraded)"],
    );
    check(
        &engine,
        THREAD,
        "starts-threads",
        expect!["bad.so: starts a thread of its own: logic has no threads (it has 1 after upgraded)"],
    );
    check(
        &engine,
        OPEN,
        "changes-files",
        expect!["bad.so: opens or closes files: logic has none (seen after upgraded)"],
    );
    check_goes_on(engine);
}

/// Small rooms, all of which would fit into the pipe at once.
#[test]
fn rooms_beyond_the_time_are_left_out() {
    let engine = start(&good(1001, "game1"));
    engine.put("slow.so", &saboteur("upgraded_misbehaves"));
    assert_eq!(engine.post("/api/v1/rooms", r#"{"name": "third"}"#).status, 201);
    for room in ["main", "second", "third"] {
        engine.get(&format!("/only/{DAWDLE}?room={room}"));
    }
    engine.must_load("slow.so");
    assert!(engine.log().contains("rooms are too many to try the version on all of them"), "{}", engine.log());
    assert_eq!(engine.hello_in("third"), "saboteurs 1000");
    engine.end();
}

#[test]
fn an_upgrade_that_prints_without_measure_does_no_harm() {
    let engine = start(&good(1001, "game1"));
    engine.put("bad.so", &saboteur("upgraded_misbehaves"));
    engine.get(&format!("/only/{PRINT}"));
    engine.must_load("bad.so");
    assert!(engine.log().contains("line 3999 of many that nobody asked for"), "its end is in the log");
    assert_eq!((engine.hello().as_str(), engine.get("/marks").as_str()), ("saboteurs 1000", "2 marks\n"));
    engine.end();
}

/// A version that is mapped already is tried again: the rooms are others by now.
#[test]
fn a_version_that_was_good_before_is_tried_once_more() {
    let engine = start(&good(1001, "game1"));
    engine.put("bad.so", &saboteur("upgraded_misbehaves"));
    engine.must_load("bad.so");
    engine.must_load("base.so");
    check(
        &engine,
        CRASH,
        "upgraded-crashes",
        expect!["bad.so: crashed in upgraded, in the room main: signal 11 (SIGSEGV)"],
    );
    engine.get("/only/0");
    engine.must_load("bad.so");
    assert_eq!((engine.hello().as_str(), engine.get("/marks").as_str()), ("saboteurs 1000", "2 marks\n"));
    engine.end();
}

#[test]
fn an_upgrade_that_never_returns_is_stopped() {
    let engine = start_with(&good(1001, "game1"), "probe_timeout_ms = 5000");
    engine.put("bad.so", &saboteur("upgraded_misbehaves"));
    check(
        &engine,
        LOOP,
        "upgraded-never-returns",
        expect!["bad.so: did not return from upgraded within 5 s, in the room main: a loop?"],
    );
    check_goes_on(engine);
}

#[test]
fn a_migration_that_ends_the_process_ends_the_rehearsal_only() {
    let engine = start(&good(1001, "game1"));
    engine.put("bad.so", &saboteur("migration_misbehaves"));
    check(
        &engine,
        CRASH,
        "migration-crashes",
        expect!["bad.so: crashed in a migration of marks, in the room main: signal 11 (SIGSEGV)"],
    );
    check(
        &engine,
        EXIT,
        "migration-exits",
        expect!["bad.so: called exit(0) in a migration of marks, in the room main"],
    );
    check(
        &engine,
        RECURSE,
        "migration-overflows",
        expect![[r#"
        bad.so: overflowed its stack in a migration of marks, in the room main: recursion without end?
        it printed: thread 'rehearsal' (N) has overflowed its stack
        it printed: fatal runtime error: stack overflow, aborting"#]],
    );
    check(
        &engine,
        ALLOCATE,
        "migration-out-of-memory",
        expect![[r#"
            bad.so: ran out of memory in a migration of marks, in the room main: a rehearsal has 4 GiB
            it printed: memory allocation of 67108864 bytes failed
            it printed: note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace"#]],
    );
    check(
        &engine,
        THREAD,
        "starts-threads",
        expect!["bad.so: starts a thread of its own: logic has no threads (it has 1 after upgraded)"],
    );
    check(
        &engine,
        PANIC,
        "migration-failed",
        expect![
            "in the room main: Mark.weight: the migration panicked at row 0: as it was told, engine/tests/saboteurs/examples/../src/deeds.rs:58:18"
        ],
    );
    check_goes_on(engine);
}

#[test]
fn a_migration_that_never_returns_is_stopped() {
    let engine = start_with(&good(1001, "game1"), "rewrite_timeout_ms = 300");
    engine.put("bad.so", &saboteur("migration_misbehaves"));
    check(
        &engine,
        LOOP,
        "rewrite-late",
        expect![
            "bad.so: the tables of the room main were not rewritten within 0.3 s (rewrite_timeout_ms): a migration of marks does not return, or there is too much of them"
        ],
    );
    check_goes_on(engine);
}
