//! Logic that fails while it runs.

use engine::status::{FaultStatus, RoomState};
use expect_test::{Expect, expect};

use super::{
    plugins::{good, saboteur},
    refusals::start,
};
use crate::client;
use crate::support::Engine;

/// The request fails like this, in the room `main`, and has changed nothing.
fn check(engine: &Engine, target: &str, reason: Expect) -> FaultStatus {
    let marks = engine.get("/marks");
    let answer = engine.send("GET", target, &[]);
    assert_eq!((answer.status, answer.code().as_str()), (500, "logic-fault"), "{target}: {answer:?}");
    reason.assert_eq(&engine.neutral(&answer.reason()));
    assert_eq!(engine.get("/marks"), marks, "{target}");
    let room = engine.whole_status().rooms.remove(0);
    assert_eq!((room.name.as_str(), room.state), ("main", RoomState::Running));
    room.last_fault.expect("the status tells the last fault")
}

#[test]
fn a_request_that_panics_is_answered_and_taken_back() {
    let engine = start(&saboteur("faults"));
    engine.get("/mark");
    let fault = check(
        &engine,
        "/panic",
        expect![
            "version 1000 failed in request at tick N, engine/tests/saboteurs/examples/faults.rs:22:17: it was asked to"
        ],
    );
    assert_eq!((fault.version, fault.callback.as_str(), fault.message.as_str()), (1000, "request", "it was asked to"));
    assert!(fault.location.starts_with("engine/tests/saboteurs/examples/faults.rs:"), "{fault:?}");
    check(
        &engine,
        "/index?at=7",
        expect![
            "version 1000 failed in request at tick N, engine/tests/saboteurs/examples/faults.rs:28:32: index out of bounds: the len is 3 but the index is 7"
        ],
    );
    check(
        &engine,
        "/panic-in-query",
        expect![[
            r#"version 1000 failed in query at tick N, engine/tests/saboteurs/examples/faults.rs:14:9: assertion `left != right` failed: a question too much   left: "/panic-in-query"  right: "/panic-in-query""#
        ]],
    );
    assert_eq!(engine.get("/index?at=2"), "3");
    assert_eq!(engine.whole_status().rooms[0].faults, 3);
    assert_eq!(engine.whole_status().rooms[1].faults, 0);
    engine.end();
}

#[test]
fn a_tick_that_panics_freezes_its_room_until_a_fix_is_loaded() {
    let engine = start(&saboteur("faults"));
    engine.put("fix.so", &good(1002, "fix"));
    engine.get("/mark");
    assert_eq!(engine.send("GET", "/arm", &[]).body, "armed\n");
    let frozen = loop {
        let answer = engine.send("GET", "/marks", &[]);
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((frozen.status, frozen.code().as_str()), (503, "room-frozen"));
    expect!["the room main is frozen: version 1000 failed in tick at tick N, engine/tests/saboteurs/examples/faults.rs:55:9: armed; load a fix"].assert_eq(&engine.neutral(&frozen.reason()));
    assert_eq!(engine.whole_status().rooms[0].state, RoomState::Frozen);
    assert_eq!(engine.hello_in("second"), "saboteurs 1000", "another room goes on");

    engine.must_load("fix.so");
    assert_eq!(engine.hello(), "fix 1002");
    assert_eq!(engine.get("/marks"), "2 marks\n", "no input is lost, the one that armed it included");
    let room = engine.whole_status().rooms.remove(0);
    assert_eq!((room.state, room.faults), (RoomState::Running, 1));
    engine.end();
}

#[test]
fn output_without_measure_is_a_fault() {
    let engine = start(&saboteur("faults"));
    check(&engine, "/flood", expect!["version 1000 failed in request at tick N: made more output than an input may"]);
    check(&engine, "/long", expect!["version 1000 failed in request at tick N: made more output than an input may"]);
    engine.end();
}

#[test]
fn an_answer_that_http_cannot_carry_is_told_in_the_log_without_its_body() {
    let engine = start(&saboteur("faults"));
    let answer = engine.send("GET", "/odd", &[]);
    let types = answer.head.lines().filter(|line| line.starts_with("content-type:"));
    assert_eq!((types.collect::<Vec<_>>(), answer.body.as_str()), (vec!["content-type: text/odd"], "odd\n"));
    for status in [0, 99, 101, 1000] {
        let answer = engine.send("GET", &format!("/odd?status={status}"), &[]);
        assert_eq!((answer.status, answer.code().as_str()), (500, "answer-malformed"));
        let reason = format!("the logic answered with the status {status}; accepted are 200 to 599");
        assert_eq!(answer.reason(), reason);
        let log = engine.log();
        let mut lines = log.lines().filter(|line| line.contains(&reason));
        let line = lines.next().expect("it is told");
        assert!(
            line.contains("WARN") && line.contains("\"version\":1000") && line.contains("\"path\":\"/odd\""),
            "{line}"
        );
        assert_eq!(lines.next(), None, "once");
    }
    engine.end();
}

/// The one fault that ends the process: a stack that overflows is found by the processor, not by the language.
#[test]
fn recursion_without_end_ends_the_engine() {
    let engine = start(&saboteur("faults"));
    let _ = client::try_get(engine.address, "/recurse");
    engine.until("it says why", |engine| engine.log().contains("has overflowed its stack"));
    assert_eq!(engine.ended().0, None, "it was killed");
}
