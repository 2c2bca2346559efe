//! Rooms that come and go under a running engine, and how they end.

use crate::support::{Engine, Setup, moody};
use rustix::process::Signal;

/// What a command of the engine prints.
#[track_caller]
fn run(engine: &Engine, words: &[&str]) -> String {
    let output = engine.setup.run(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names of the rooms that are listed.
fn listed(engine: &Engine, query: &str) -> Vec<String> {
    let rooms: serde_json::Value = serde_json::from_str(&engine.get(&format!("/api/v1/rooms{query}"))).unwrap();
    rooms.as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn rooms_come_and_go_while_versions_do() {
    let engine = Setup::new(moody(), &["game.1001.so", "plugin2.so"]).with("rooms = [\"lobby\", \"b\"]").start();
    assert_eq!(engine.get("/count"), "1 in 1001\n", "in the first room, for there is no main");
    assert_eq!(engine.get("/peek?room=lobby"), "1 in 1001\n");

    let duel = ["rooms", "new", "duel", "--label", "d", "--players-max", "2", "--locked"];
    assert_eq!(run(&engine, &duel), "opened duel: 2 seats, 20 ticks a second\n");
    assert_eq!(engine.get("/count?room=duel"), "1 in 1001\n");
    assert_eq!(listed(&engine, ""), ["lobby", "b", "duel"]);
    assert_eq!(listed(&engine, "?label=d"), ["duel"]);
    assert_eq!(listed(&engine, "?free=1"), ["lobby", "b"]);
    assert_eq!(run(&engine, &["rooms", "unlock", "duel"]), "duel is open\n");
    assert_eq!(listed(&engine, "?free=1"), ["lobby", "b", "duel"]);
    let taken = "there is a room duel already; give another name, or none for one that is made up";
    assert_eq!(engine.setup.failure(&duel), taken);

    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/count?room=duel"), "102 in 1002\n", "upgraded with the others");
    run(&engine, &["rooms", "new", "late", "--tick-hz", "0"]);
    assert_eq!(engine.get("/count?room=late"), "1 in 1002\n", "made on what is current");
    assert_eq!(engine.status()["versions"][1]["rooms"], serde_json::json!(["lobby", "b", "duel", "late"]));

    assert_eq!(run(&engine, &["rooms", "close", "duel"]), "duel is closed\n");
    let gone = engine.refusal("/count?room=duel");
    assert_eq!(
        gone,
        (404, "room-unknown".to_owned(), "there is no room \"duel\"; there are lobby, b, late".to_owned())
    );
    let metrics = engine.get("/metrics");
    assert!(metrics.contains("room=\"late\"") && !metrics.contains("duel"), "{metrics}");
    assert_eq!(engine.metric("hotseat_rooms"), 3);
    assert_eq!(engine.metric("hotseat_rooms_opened_total"), 4);
    assert_eq!(engine.metric("hotseat_rooms_closed_total"), 1);

    assert_eq!(engine.get("/load?name=game.1001.so"), "done\n");
    assert_eq!(engine.get("/count?room=late"), "102 in 1001\n");
    run(&engine, &["rooms", "new", "brief", "--dispose-when-empty", "--linger-ms", "0"]);
    engine.until("nobody comes", |engine| engine.metric("hotseat_rooms_closed_total") == 2);
    assert_eq!(listed(&engine, ""), ["lobby", "b", "late"]);
}

#[test]
fn every_room_hears_of_its_end() {
    // Where rooms are kept, they go on when the engine starts again.
    let setup = Setup::new(moody(), &["game.1001.so"]).with("rooms = [\"main\", \"b\"]");
    let engine = setup.with("durability = \"off\"").start();
    run(&engine, &["rooms", "new", "c"]);
    run(&engine, &["rooms", "new", "closed"]);
    engine.get("/count?room=c");
    run(&engine, &["rooms", "close", "closed"]);
    let log = engine.log();
    let told = log.find("closed is told to end in 0 ms").unwrap();
    assert!(log[told..].contains("closed ends after 0 requests"), "{log}");
    assert!(!log.contains("main is told"), "{log}");
    engine.signal(Signal::TERM);
    engine.until("it ends in order", |engine| engine.log().contains("stopped in order"));
    let log = engine.log();
    for (room, requests) in [("main", 0), ("b", 0), ("c", 1)] {
        let told = log.find(&format!("{room} is told to end in 0 ms")).unwrap_or_else(|| panic!("{room}: {log}"));
        assert!(log[told..].contains(&format!("{room} ends after {requests} requests")), "{room}: {log}");
    }
    assert_eq!(engine.ended().0, Some(0));
}
