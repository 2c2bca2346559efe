//! A callback that does not return.

use serde_json::Value;
use wire::ClientFrame;

use crate::players::client::{Client, Transport};
use crate::support::{Engine, Setup, moody};

fn start(lines: &str) -> Engine {
    let setup =
        Setup::new(moody(), &["game.1001.so"]).with("rooms = [\"main\", \"b\"]\nroom_threads = 2\nwatchdog = \"1s\"");
    setup.with(lines).start()
}

fn states(engine: &Engine) -> Vec<Value> {
    engine.status()["rooms"].as_array().unwrap().iter().map(|room| room["state"].clone()).collect()
}

#[test]
fn a_message_that_never_ends_is_told_with_all_that_is_known_of_it() {
    let engine = start("durability = \"off\"\nwatchdog_restart = \"1500ms\"");
    let mut client = Client::open(engine.address, Transport::Tcp);
    let joined = client.join(b"");
    let mut other = Client::web_socket(engine.address, "/ws?room=b", &[]);
    other.join(b"");
    assert_eq!(engine.get("/healthz"), "ready\n");
    client.say(b"loop");
    engine.until("it is found", |engine| engine.ask("/healthz").status == 503);
    assert_eq!(engine.ask("/healthz").body, "stuck\n");
    assert_eq!(states(&engine), ["stuck", "running"]);
    assert_eq!(engine.metric("hotseat_rooms_stuck"), 1);
    let log = engine.log();
    let told: Vec<Value> = log
        .lines()
        .filter(|line| line.contains("does not return"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(told.len(), 1, "{log}");
    let fields = told[0].get("fields").unwrap_or(&told[0]);
    assert_eq!((&fields["room"], &fields["callback"]), (&"main".into(), &"message".into()), "{fields}");
    assert_eq!((&fields["version"], &fields["player"]), (&1001.into(), &joined.player.into()), "{fields}");
    // The other room has a thread of its own. Without a journal nothing could be brought back, so nothing starts anew.
    assert_eq!(other.ask(b"count"), "1");
    assert_eq!(engine.get("/count?room=b"), "2 in 1001\n");
    let mut late = Client::web_socket(engine.address, "/ws?room=b", &[]);
    late.join(b"");
    assert_eq!(late.ask(b"count"), "3");
    assert!(log.contains("end the engine by SIGKILL if it never returns"), "{log}");
}

#[test]
fn a_message_that_loops_twice_is_quarantined() {
    let engine = start("durability = \"tick\"\nwatchdog_restart = \"2s\"");
    for starts in 1..=2 {
        let mut client = Client::open(engine.address, Transport::Tcp);
        client.join(b"");
        client.say(b"loop");
        client.until_cut();
        let listens = |engine: &Engine| engine.log().matches("listening for HTTP").count() == starts + 1;
        engine.until("it listens again", listens);
    }
    let mut client = Client::open(engine.address, Transport::Tcp);
    client.join(b"");
    client.say(b"loop");
    let (_, reason) = client.error();
    assert!(reason.contains("it ended the process time and again"), "{reason}");
    assert!(engine.log().contains("2 times in a row, the process ended by the watchdog in: message"));
    assert_eq!(client.ask(b"count"), "1");
}

#[test]
fn as_the_last_resort_the_engine_starts_anew_without_the_input() {
    let engine = start("durability = \"tick\"\nwatchdog_restart = \"2s\"");
    let mut client = Client::open(engine.address, Transport::WebSocket);
    let joined = client.join(b"");
    assert_eq!(client.ask(b"count"), "1");
    assert_eq!(engine.get("/count?room=b"), "1 in 1001\n");
    client.say(b"loop");
    let pid = engine.pid();
    // The connection goes with the process; the process that comes has its number, its address and its rooms.
    client.until_cut();
    engine.until("it listens again", |engine| engine.log().matches("listening for HTTP").count() == 2);
    assert_eq!(engine.status()["engine"]["pid"], pid);
    assert!(engine.log().contains("starting anew, on what the journal has"));
    let mut again = Client::open(engine.address, Transport::Tcp);
    again.resume(&joined.token);
    assert_eq!(again.header.consumed, 1, "the message that did not return has not been");
    assert_eq!(again.hear(), "welcome back");
    assert_eq!(again.ask(b"count"), "2");
    assert_eq!(engine.get("/count?room=b"), "2 in 1001\n");
    assert_eq!(states(&engine), ["running", "running"]);
    again.send(&ClientFrame::Leave);
}

#[test]
fn a_rewind_at_a_start_that_never_ends_is_told_and_left_out() {
    let setup = Setup::new(moody(), &["game.1001.so", "plugin2.so"]).with("probation = \"10min\"");
    let engine = setup.with("watchdog = \"1s\"\nwatchdog_restart = \"2s\"").start();
    // A record of the journal first, then one that only the rewind applies on the version from before.
    for load in ["/count", "/load?name=plugin2.so"] {
        engine.get(load);
    }
    assert_eq!(engine.get("/heavy"), "done\n");
    let setup = engine.killed();
    let at_it = setup.path("at-it");
    // The replay applies it on the version on trial, which does not dwell.
    let envs = [("MOODY_HEAVY", at_it.to_str().unwrap()), ("MOODY_HEAVY_IN", "1001")];
    let engine = setup.start_as(&["serve"], &envs);
    let told = |engine: &Engine| engine.log().lines().filter(|line| line.contains("does not return")).count();
    let log = engine.log();
    assert_eq!(told(&engine), 2, "{log}");
    assert!(log.contains("2 times in a row, the process ended by the watchdog in: GET \\\"/heavy\\\""), "{log}");
    let line = log.lines().find(|line| line.contains("does not return")).unwrap();
    let told: Value = serde_json::from_str(line).unwrap();
    let fields = told.get("fields").unwrap_or(&told);
    assert_eq!((&fields["room"], &fields["callback"]), (&"main".into(), &"request".into()), "{fields}");
    assert_eq!(engine.get("/count"), "2 in 1001\n");
}

#[test]
fn a_record_that_never_ends_at_a_start_is_told_and_left_out() {
    let setup = Setup::new(moody(), &["game.1001.so"]);
    let engine = setup.with("watchdog = \"1s\"\nwatchdog_restart = \"2s\"").start();
    assert_eq!(engine.get("/heavy"), "done\n");
    let setup = engine.killed();
    let at_it = setup.path("at-it");
    let engine = setup.start_as(&["serve"], &[("MOODY_HEAVY", at_it.to_str().unwrap())]);
    let log = engine.log();
    assert_eq!(log.matches("does not return").count(), 2, "{log}");
    assert!(log.contains("(GET \\\"/heavy\\\", body 0 bytes) ended the process, and is passed over"), "{log}");
    assert_eq!(engine.get("/count"), "1 in 1001\n");
}

#[test]
fn a_long_rewind_is_no_callback_that_does_not_return() {
    let setup = Setup::new(moody(), &["game.1001.so", "plugin2.so"]).with("probation = \"10min\"");
    let engine = setup.with("watchdog = \"500ms\"\nwatchdog_restart = \"1s\"").start();
    let mut client = Client::open(engine.address, Transport::Tcp);
    client.join(b"");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(client.version().0, 1002);
    for _ in 0..60 {
        assert_eq!(client.ask(b"slow"), "slow");
    }
    assert_eq!(engine.get("/api/v1/rollback"), "rewound\n");
    assert_eq!(client.resync().0, 1001);
    assert_eq!(client.ask(b"count"), "61");
    let log = engine.log();
    assert!(!log.contains("does not return") && !log.contains("starting anew"), "{log}");
}
