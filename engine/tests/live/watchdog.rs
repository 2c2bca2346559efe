//! A callback that does not return.

use serde_json::Value;
use wire::ClientFrame;

use crate::players::client::{Client, Transport};
use crate::support::{Engine, Setup, moody};

fn start(lines: &str) -> Engine {
    let setup = Setup::new(moody(), &["game.1001.so"])
        .with("rooms = [\"main\", \"b\"]\nroom_threads = 2\nwatchdog = \"200ms\"");
    setup.with(lines).start()
}

fn states(engine: &Engine) -> Vec<Value> {
    engine.status()["rooms"].as_array().unwrap().iter().map(|room| room["state"].clone()).collect()
}

#[test]
fn a_message_that_never_ends_is_told_with_all_that_is_known_of_it() {
    let engine = start("durability = \"off\"\nwatchdog_restart = \"300ms\"");
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
    let engine = start("durability = \"tick\"\nwatchdog_restart = \"400ms\"");
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
    let engine = start("durability = \"tick\"\nwatchdog_restart = \"400ms\"");
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
