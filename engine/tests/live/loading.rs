//! `/load`, again and again and at once.

use crate::support::{Engine, Setup, build_so, echoing, game, moody};

const BOTH: &[&str] = &["plugin1.so", "plugin2.so", "game.1001.so"];

fn version(engine: &Engine) -> u32 {
    let text = engine.get("/hello");
    text.split("version=").nth(1).and_then(|rest| rest.split(',').next()).unwrap().parse().unwrap()
}

#[test]
fn to_and_fro_maps_each_version_once() {
    let engine = Setup::new(game(), BOTH).start();
    engine.get("/load?name=plugin2.so");
    let descriptors = engine.descriptors();
    for turn in 0..50 {
        let number = 1 + turn % 2;
        assert_eq!(engine.get(&format!("/load?name=plugin{number}.so")), "done\n");
        assert_eq!(version(&engine), 1000 + number);
    }
    engine.until("the last connection is closed", |engine| engine.descriptors() <= descriptors);
    // The same bytes under another name are the same version.
    assert_eq!(engine.get("/load?name=game.1001.so"), "done\n");
    assert_eq!(engine.metric("hotseat_versions_mapped"), 2);
    assert_eq!(engine.metric("hotseat_loads_total{outcome=\"done\"}"), 52);
    let status = engine.status();
    assert_eq!(status["swaps"].as_array().unwrap().len(), 52);
    assert_eq!(status["swaps"][0]["name"], "game.1001.so");
    assert_eq!(status["versions"].as_array().unwrap().len(), 2);
    assert_eq!(status["versions"][0]["rooms"], serde_json::json!(["main"]));
}

#[test]
fn the_same_file_again_is_done() {
    let engine = Setup::new(game(), BOTH).start();
    assert_eq!(engine.get("/load?name=plugin1.so"), "done\n");
    assert_eq!(engine.get("/load?name=plugin1.so"), "done\n");
    assert_eq!(version(&engine), 1001);
    assert_eq!(engine.metric("hotseat_versions_mapped"), 1);
}

#[test]
fn the_same_name_with_new_bytes_runs_the_new_code() {
    let engine = Setup::new(game(), BOTH).start();
    let plugins = engine.setup.plugins();
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(version(&engine), 1002);
    engine.setup.put(&plugins.join("plugin1.so"), "plugin2.so");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(version(&engine), 1001);
    // The same version number, and yet other code: only the name that is compiled in differs.
    build_so(&plugins, &["2", "another"]);
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert!(engine.get("/hello").contains("version=1002, name=another, oldversion=1001, oldName=game1"));
    assert_eq!(engine.metric("hotseat_versions_mapped"), 3);
}

#[test]
fn loads_at_once_are_done_one_after_the_other() {
    let engine = Setup::new(game(), BOTH).with("rooms = [\"main\", \"b\", \"c\"]").start();
    std::thread::scope(|scope| {
        for number in [1, 2, 1, 2] {
            let engine = &engine;
            scope.spawn(move || {
                for _ in 0..5 {
                    assert_eq!(engine.get(&format!("/load?name=plugin{number}.so")), "done\n");
                }
            });
        }
    });
    let status = engine.status();
    assert_eq!(status["swaps"].as_array().unwrap().len(), 20);
    let last = status["swaps"][0]["to"]["version"].as_u64().unwrap();
    for room in ["main", "b", "c"] {
        let text = engine.get(&format!("/hello?room={room}"));
        assert!(text.contains(&format!(" version={last},")), "{text}");
    }
    let before: Vec<_> = status["swaps"]
        .as_array()
        .unwrap()
        .windows(2)
        .collect::<Vec<_>>()
        .iter()
        .map(|pair| pair[0]["from"] == pair[1]["to"])
        .collect();
    assert!(before.iter().all(|is_chain| *is_chain), "each load began where the one before had ended");
}

#[test]
fn too_many_loads_at_once_are_refused() {
    let engine = Setup::new(moody(), &["plugin1.so", "game.1001.so", "plugin4.so"]).start();
    let pending: Vec<_> = (0..20).map(|_| engine.begin("/load?name=plugin4.so", "*/*")).collect();
    engine.until("the sixteen places are taken", |engine| {
        engine.metric("hotseat_loads_under_way") == 16
            && engine.metric("hotseat_loads_total{outcome=\"load-busy\"}") == 4
    });
    drop(pending);
}

#[test]
fn a_room_of_other_tables_is_not_touched() {
    let engine = Setup::new(game(), BOTH).start();
    engine.get("/hello");
    engine.setup.put(&moody().join("plugin2.so"), "other.so");
    let (status, code, reason) = engine.refusal("/load?name=other.so");
    assert_eq!((status, code.as_str()), (409, "schema-differs"));
    let mut lines = reason.lines();
    assert_eq!(
        lines.next().unwrap(),
        "the tables of game1 1001, which is running, cannot be carried over to game2 1002; what may be lost can be acknowledged \
         with &drop=NAME"
    );
    for table in ["avatars", "orbs", "bots", "game", "askers", "greeting"] {
        let how = format!("say `#[world(dropped(\"{table}\"))]`, or acknowledge it with drop={table}");
        let line = format!("{table}: the table would be dropped with its rows; {how}");
        assert_eq!(lines.next().unwrap(), line);
    }
    assert_eq!(lines.next(), None);
    assert_eq!(version(&engine), 1001);
    assert_eq!(engine.metric("hotseat_versions_mapped"), 1);
    let swap = &engine.status()["swaps"][0];
    assert_eq!((swap["outcome"].as_str(), swap["to"]["version"].as_u64()), (Some("refused"), Some(1002)));
}

#[test]
fn an_upgrade_that_panics_is_refused_before_anything_changes() {
    let engine = Setup::new(moody(), &["game.1001.so", "plugin2.so", "plugin3.so"]).start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    let (status, code, reason) = engine.refusal("/load?name=plugin3.so");
    assert_eq!((status, code.as_str()), (422, "upgraded-failed"));
    assert!(reason.starts_with("in the room main: version 1003 failed in upgraded at tick "), "{reason}");
    assert!(
        reason.contains("engine/tests/moody/src/lib.rs:") && reason.ends_with(": nothing can come after 1001"),
        "{reason}"
    );
    assert_eq!(engine.get("/count"), "2 in 1001\n");
    assert_eq!(engine.metric("hotseat_faults_total{room=\"main\"}"), 0, "the room has seen nothing of it");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/count"), "103 in 1002\n");
}

#[test]
fn an_upgrade_that_never_returns_is_refused() {
    let engine =
        Setup::new(moody(), &["game.1001.so", "plugin2.so", "plugin4.so"]).with("probe_timeout_ms = 5000").start();
    let (status, code, reason) = engine.refusal("/load?name=plugin4.so");
    assert_eq!((status, code.as_str()), (422, "upgraded-never-returns"));
    assert_eq!(reason, "plugin4.so: did not return from upgraded within 5 s, in the room main: a loop?");
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/count"), "102 in 1002\n");
}

/// Many pages, and more bytes than a pipe holds, go to the child; a room that is too large for that is loaded all the same.
#[test]
fn a_large_room_is_rehearsed_up_to_the_limit() {
    const LEFT_OUT: &str = "rooms are too large to try the version on";
    for (line, is_left_out) in [("", false), ("rehearsal_bytes_max = 1000000", true)] {
        let engine = Setup::new(echoing(), &["game.1001.so", "plugin2.so"]).with(line).start();
        let opened = engine.post("/api/v1/rooms", r#"{"name": "large", "config": "20000"}"#);
        assert_eq!(opened.status, 201, "{}", opened.body);
        assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
        assert_eq!(engine.log().contains(LEFT_OUT), is_left_out, "{line}");
        let rooms = engine.status()["rooms"].clone();
        let large = rooms.as_array().unwrap().iter().find(|room| room["name"] == "large").unwrap().clone();
        assert_eq!((large["version"].as_u64(), large["rows"].as_u64()), (Some(1002), Some(20_001)));
    }
}

#[test]
fn a_request_goes_to_its_room() {
    let engine =
        Setup::new(moody(), &["game.1001.so"]).with("rooms = [\"main\", \"b\", \"c\"]\nroom_threads = 2").start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    assert_eq!(engine.get("/count?room=main"), "2 in 1001\n");
    assert_eq!(engine.get("/count?room=c"), "1 in 1001\n");
    assert_eq!(engine.get("/peek?room=c"), "1 in 1001\n");
    assert_eq!(engine.get("/peek?room=b"), "0 in 1001\n");
    let (status, code, reason) = engine.refusal("/count?room=d");
    assert_eq!((status, code.as_str()), (404, "room-unknown"));
    assert_eq!(reason, "there is no room \"d\"; there are main, b, c");
}
