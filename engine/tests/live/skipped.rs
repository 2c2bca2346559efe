//! Inputs that end the process where they had not before: in a rewind, in a recovery, in a replay.

use std::path::PathBuf;

use wire::{ClientFrame, CloseCode};

use crate::players::client::{Client, Transport};
use crate::support::{Engine, Setup, moody};

const SERVE: &[&str] = &["serve"];
/// No version survives `/trap` or a leave with this in its environment.
const TRAP: &[(&str, &str)] = &[("MOODY_TRAP", "1")];

fn setup() -> Setup {
    Setup::new(moody(), &["game.1001.so", "plugin2.so"]).with("tick_hz = 50\ndurability = \"tick\"")
}

/// Ends by itself before it has said where it listens.
#[track_caller]
fn dies(setup: Setup, envs: &[(&str, &str)]) -> Setup {
    let engine = setup.start_to_die(SERVE, envs);
    assert_eq!(engine.address.port(), 0, "it has started\n{}", engine.log());
    let (code, setup) = engine.ended();
    assert_eq!(code, None, "by a signal");
    setup
}

/// What a black box knows is gone; what is left is the journal.
fn forget_all_but_the_journal(setup: &Setup) {
    let folder = setup.data().join("rooms/main");
    std::fs::remove_dir_all(folder.join("quarantine")).unwrap();
    std::fs::remove_file(folder.join("under-way")).unwrap();
}

/// The lines of what was quarantined.
fn quarantined(setup: &Setup) -> Vec<String> {
    let entries = std::fs::read_dir(setup.data().join("rooms/main/quarantine")).unwrap();
    let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let texts = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    texts.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

fn state(engine: &Engine) -> serde_json::Value {
    let status = engine.status();
    assert_eq!(status["trial"], serde_json::Value::Null);
    status["rooms"][0]["state"].clone()
}

fn verified(setup: &Setup, envs: &[(&str, &str)], more: &[&str]) -> String {
    let words = [&["replay", "--verify"][..], more].concat();
    let output = setup.command(&words).envs(envs.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_rewind_goes_on_without_the_input_that_ends_the_process() {
    let engine = setup().with("probation = \"10min\"").start();
    let mut client = Client::open(engine.address, Transport::WebSocket);
    let joined = client.join(b"ann");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/count"), "101 in 1002\n");
    assert_eq!(client.version().0, 1002);
    assert_eq!(client.ask(b"hello"), "hello");
    assert_eq!(engine.get("/brittle"), "whole\n");
    assert_eq!(engine.get("/count"), "104 in 1002\n");
    let _unanswered = engine.begin("/api/v1/rollback", "*/*");
    let (code, setup) = engine.ended();
    assert_eq!(code, None, "by a signal");
    // The rewind is carried out at the start, and again the process ends; then it is known by what.
    let engine = dies(setup, &[]).start();
    assert_eq!(engine.get("/peek"), "3 in 1001\n", "all but the one, on the version from before");
    assert_eq!(state(&engine), "running");
    assert_eq!(engine.refusal("/load?name=plugin2.so").1, "version-failed");
    let lines = quarantined(&engine.setup);
    assert!(lines.len() == 1 && lines[0].contains("GET \"/brittle\", body 0 bytes, input "), "{lines:?}");
    let mut client = Client::open(engine.address, Transport::Tcp);
    assert_eq!((client.resume(&joined.token).resumed, client.header.consumed), (true, 1));
    assert_eq!(engine.get("/count"), "4 in 1001\n");
    // From here on it is in the journal.
    let setup = engine.killed();
    forget_all_but_the_journal(&setup);
    assert!(verified(&setup, &[], &[]).starts_with("verified: "));
    let engine = setup.start();
    assert_eq!(engine.get("/peek"), "4 in 1001\n");
    assert_eq!(state(&engine), "running");
}

#[test]
fn a_tick_that_ends_the_process_in_a_rewind_freezes_the_room() {
    let engine = setup().with("probation = \"10min\"").start();
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/doom"), "doomed\n");
    let tick = || engine.status()["rooms"][0]["tick"].as_u64().unwrap();
    let before = tick();
    engine.until("it ticks on", |_| tick() > before + 1);
    let _unanswered = engine.begin("/api/v1/rollback", "*/*");
    let engine = dies(engine.ended().1, &[]).start();
    assert_eq!(state(&engine), "frozen");
    assert!(quarantined(&engine.setup)[0].contains("in: tick, input "));
    assert_eq!(engine.get("/load?name=plugin2.so&force=1"), "done\n");
    engine.until("it ticks on the fix", |engine| engine.status()["rooms"][0]["state"] == "running");
    assert!(engine.get("/count").ends_with(" in 1002\n"));
}

#[test]
fn what_a_recovery_went_without_is_in_the_journal() {
    let engine = setup().start();
    assert_eq!(engine.get("/trap"), "whole\n");
    assert_eq!(engine.get("/count"), "2 in 1001\n");
    let setup = dies(dies(engine.killed(), TRAP), TRAP);
    let engine = setup.start_as(SERVE, TRAP);
    assert_eq!(engine.get("/peek"), "1 in 1001\n");
    assert!(
        engine.log().contains("(GET \\\"/trap\\\", body 0 bytes) ended the process, and is passed over"),
        "{}",
        engine.log()
    );
    assert_eq!(engine.get("/count"), "2 in 1001\n");
    let setup = engine.killed();
    forget_all_but_the_journal(&setup);
    for envs in [&[], TRAP] {
        assert!(verified(&setup, envs, &[]).contains("ended the process, and is passed over\n"));
    }
    let tail = setup.run(&["journal", "tail", "main", "-n", "100000"]);
    assert!(String::from_utf8(tail.stdout).unwrap().contains(" ended the process: the room goes on without it\n"));
    // Where it would do no harm any more, too.
    let engine = setup.start();
    assert_eq!(engine.get("/peek"), "2 in 1001\n");
    // What is new is tried.
    assert_eq!(engine.get("/trap"), "whole\n");
}

#[test]
fn a_message_that_fails_without_what_a_recovery_passes_over_stays_consumed() {
    let engine = setup().start();
    let mut client = Client::open(engine.address, Transport::WebSocket);
    let joined = client.join(b"ann");
    assert_eq!(engine.get("/trap"), "whole\n");
    assert_eq!(client.ask(b"even"), "even");
    let setup = dies(dies(engine.killed(), TRAP), TRAP);
    let engine = setup.start_as(SERVE, TRAP);
    assert!(engine.log().contains(" was applied once, and fails now: "), "{}", engine.log());
    let mut client = Client::open(engine.address, Transport::Tcp);
    assert_eq!((client.resume(&joined.token).resumed, client.header.consumed), (true, 1));
    assert_eq!(client.hear(), "welcome back");
    assert_eq!(client.ask(b"count"), "1");
    // The journal says the same from here on.
    let setup = engine.killed();
    assert!(verified(&setup, TRAP, &[]).starts_with("verified: "));
    let engine = setup.start();
    let mut client = Client::open(engine.address, Transport::Tcp);
    assert_eq!((client.resume(&joined.token).resumed, client.header.consumed), (true, 2));
}

#[test]
fn whoever_left_by_what_a_recovery_goes_without_is_out_all_the_same() {
    let engine = setup().start();
    let mut client = Client::open(engine.address, Transport::Tcp);
    let joined = client.join(b"ann");
    client.send(&ClientFrame::Leave);
    assert_eq!(client.closing().0, CloseCode::Left);
    let is_out = |engine: &Engine| {
        let mut client = Client::open(engine.address, Transport::Tcp);
        client.send(&ClientFrame::Resume { token: &joined.token });
        assert_eq!(client.closing().0, CloseCode::BadToken);
    };
    // First in the journal; then anew, for the room is to hear of it all the same.
    let mut setup = engine.killed();
    for _ in 0..4 {
        setup = dies(setup, TRAP);
    }
    let engine = setup.start_as(SERVE, TRAP);
    assert!(quarantined(&engine.setup).len() == 2, "{:?}", quarantined(&engine.setup));
    is_out(&engine);
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    let engine = engine.killed().start();
    is_out(&engine);
    engine.until("the room has heard of it", |engine| engine.status()["rooms"][0]["players"] == 0);
}

/// A rewind in the journal names what it goes without by numbers: they mean the same where a recovery passes another one over.
#[test]
fn a_rewind_goes_without_the_same_inputs_after_a_recovery_without_others() {
    let engine = setup().with("probation = \"10min\"").start();
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    for (path, told) in [("/count", "101 in 1002\n"), ("/trap", "whole\n"), ("/count", "103 in 1002\n")] {
        assert_eq!(engine.get(path), told);
    }
    assert_eq!(engine.get("/brittle"), "whole\n");
    assert_eq!(engine.get("/count"), "105 in 1002\n");
    let _unanswered = engine.begin("/api/v1/rollback", "*/*");
    let engine = dies(engine.ended().1, &[]).start();
    assert_eq!(engine.get("/peek"), "4 in 1001\n", "all but the brittle one");
    let setup = engine.killed();
    forget_all_but_the_journal(&setup);
    let engine = dies(dies(setup, TRAP), TRAP).start_as(SERVE, TRAP);
    assert_eq!(engine.get("/peek"), "3 in 1001\n", "all but these two");
    assert_eq!(state(&engine), "running");
}

#[test]
fn a_replay_tells_what_ends_its_process_and_goes_on_without_it() {
    let engine = setup().start();
    assert_eq!(engine.get("/trap"), "whole\n");
    assert_eq!(engine.get("/count"), "2 in 1001\n");
    let setup = engine.killed();
    let run = |words: &[&str]| {
        let output = setup.command(words).envs(TRAP.iter().copied()).output().unwrap();
        let [text, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code(), text, error)
    };
    let (code, text, error) = run(&["replay", "--dump"]);
    let dump: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &dump["tables"]["state"][0]["row"]["count"]), (Some(0), &1.into()), "{error}");
    let told = " ends the process by signal 6; the replay goes on without it\n";
    assert!(error.starts_with("GET \"/trap\", body 0 bytes, record ") && error.ends_with(told), "{error}");
    let (code, text, error) = run(&["replay", "--verify"]);
    let (_, record) = error.split_once("--without ").unwrap_or_else(|| panic!("{error}"));
    assert!((code, &*text) == (Some(1), "") && error.starts_with("not verified: GET \"/trap\""), "{error}");
    let record = record.split(' ').next().unwrap();
    assert!(verified(&setup, TRAP, &["--without", record]).contains("is passed over\n"));
    // Nothing that is kept has changed.
    assert_eq!(setup.start().get("/peek"), "2 in 1001\n");
}
