//! Tables that change under rooms: those that are kept and open under a newer version, and loads that come to nothing.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use swarm::{Expect, Options, Pace, Progress, Stop};
use wire::ClientFrame;

use crate::players::client::{Client, Transport};
use crate::schema_refused::unfit;
use crate::support::{Engine, Setup, in_time, tally};

/// What the way back from 1002 to 1001 loses.
pub(crate) const BACK: &str = "game.1001.so&drop=Score.lives&drop=Score.mean&drop=Score.bytes&drop=story";

fn setup() -> Setup {
    Setup::new(tally(), &["game.1001.so"]).with("tick_hz = 50").with("terminate_grace_ms = 0")
}

/// A room in which somebody has said something, on version 1001; and what it tells.
pub(crate) fn played() -> (Engine, String) {
    let engine = setup().start();
    let mut client = Client::open(engine.address, Transport::Tcp);
    client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"ann" });
    client.joined();
    for text in ["one", "two", "three"] {
        assert_eq!(client.ask(text.as_bytes()), text);
    }
    assert_eq!(engine.get("/fill?2000"), "2000\n");
    let told = engine.get("/tally");
    assert!(told.starts_with("2001 scores, 1999003 hits, 11 bytes, digest "), "{told}");
    (engine, told)
}

/// An orderly end, after which nothing is in the journal that is not in the snapshot.
fn ended(engine: Engine) -> Setup {
    engine.signal(Signal::TERM);
    let (code, setup) = engine.ended();
    assert_eq!(code, Some(0));
    setup
}

pub(crate) fn versions(engine: &Engine) -> Vec<u64> {
    engine.status()["rooms"].as_array().unwrap().iter().map(|room| room["version"].as_u64().unwrap()).collect()
}

/// The copies that the engine keeps of plugins.
fn kept_code(setup: &Setup) -> Vec<PathBuf> {
    std::fs::read_dir(setup.data().join("versions")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn newest_snapshot(setup: &Setup) -> String {
    let files = std::fs::read_dir(setup.data().join("rooms/main")).unwrap().map(|entry| entry.unwrap().path());
    let snapshots = files.filter(|path| path.extension().is_some_and(|kind| kind == "snapshot"));
    snapshots.max().unwrap().display().to_string()
}

/// What is kept is sound, but that a replay would need the plugin that is gone.
#[track_caller]
fn check_misses_only_the_code(setup: &Setup) {
    let failure = setup.failure(&["journal", "check"]);
    assert!(failure.starts_with("main: data/versions/"), "{failure}");
    assert!(failure.ends_with("; put the plugin with this sha256 there"), "{failure}");
}

#[test]
fn a_start_on_a_newer_version_takes_kept_rooms_over() {
    let (engine, told) = played();
    let setup = engine.killed();
    setup.put(&tally().join("game.1002.so"), "plugin2.so");
    let engine = setup.start_as(&["serve", "--logic", "plugin2.so"], &[]);
    assert_eq!((engine.get("/tally"), versions(&engine)), (told.clone(), vec![1002]));
    let swap = &engine.status()["swaps"][0];
    assert_eq!(
        (&swap["who"], &swap["plans"][0]["plan"]["tables"][0]["name"]),
        (&"the engine".into(), &"scores".into())
    );
    // Once it is taken over, nothing is done again: not by the same start, and not by one on an older version.
    let engine = engine.killed().start_as(&["serve", "--logic", "plugin2.so"], &[]);
    assert_eq!((engine.get("/tally"), engine.status()["swaps"].as_array().unwrap().len()), (told.clone(), 0));
    let engine = engine.killed().start_as(&["serve", "--logic", "game.1001.so"], &[]);
    assert_eq!((engine.get("/tally"), versions(&engine)), (told.clone(), vec![1002]));
    assert!(engine.log().contains("game.1001.so is not used: load it"), "{}", engine.log());
    let setup = engine.killed();
    assert!(setup.said(&["replay", "--verify"]).starts_with("verified: "));
    assert_eq!(setup.start().get("/tally"), told);
}

#[test]
fn a_start_on_a_version_that_has_no_place_for_the_rows_is_refused() {
    let (engine, told) = played();
    let setup = engine.killed();
    setup.put(&tally().join("game.1003.so"), "plugin3.so");
    let failure = setup.failure(&["serve", "--logic", "plugin3.so"]);
    assert!(
        failure.starts_with("the rooms that are kept do not go on on plugin3.so: the tables of game1 1001, "),
        "{failure}"
    );
    assert!(failure.contains("; what may be lost can be acknowledged with --drop NAME; "), "{failure}");
    assert!(failure.ends_with("; without --logic they go on on the version that ran them"), "{failure}");
    assert!(failure.contains("; Score.hits: u32 -> u8 would lose values above 255; give a migration"), "{failure}");
    let engine = setup.start();
    assert_eq!((engine.get("/tally"), versions(&engine)), (told, vec![1001]));
    // Acknowledged, each value becomes the nearest that there is.
    let setup = engine.killed();
    let engine = setup.start_as(&["serve", "--logic", "plugin3.so", "--drop", "Score.hits"], &[]);
    assert!(engine.get("/tally").starts_with("2001 scores, 477"), "{}", engine.get("/tally"));
    assert_eq!(versions(&engine), [1003]);
}

#[test]
fn a_snapshot_opens_under_a_newer_version_when_its_own_is_gone() {
    let (engine, told) = played();
    let setup = ended(engine);
    let code = kept_code(&setup);
    assert_eq!(code.len(), 1);
    std::fs::remove_file(&code[0]).unwrap();
    std::fs::remove_file(setup.plugins().join("game.1001.so")).unwrap();
    setup.put(&tally().join("game.1002.so"), "game.1002.so");

    // It stands still until something is loaded, and nothing is lost by that.
    let engine = setup.start();
    let status = engine.status();
    assert_eq!((&status["rooms"][0]["state"], &status["rooms"][0]["version"]), (&"frozen".into(), &1001.into()));
    assert!(engine.log().contains("the room stands still"), "{}", engine.log());
    assert_eq!(engine.refusal("/tally").0, 503);
    let plan = engine.get("/api/v1/plan?name=game.1002.so");
    assert!(plan.contains("Score.count: was hits, u32, renamed"), "{plan}");
    let engine = engine.killed().start();
    assert_eq!(engine.get("/load?name=game.1002.so"), "done\n");
    assert_eq!(engine.get("/tally"), told);

    // Killed before there is another snapshot: the same once more, from the old one and the swap after it.
    let engine = engine.killed().start();
    assert_eq!((engine.get("/tally"), versions(&engine)), (told, vec![1002]));
    let setup = engine.killed();
    check_misses_only_the_code(&setup);
}

#[test]
fn a_start_may_name_the_version_for_rooms_whose_own_is_gone() {
    let (engine, told) = played();
    let setup = ended(engine);
    kept_code(&setup).iter().for_each(|file| std::fs::remove_file(file).unwrap());
    setup.put(&tally().join("game.1002.so"), "plugin2.so");
    let setup = setup.with("probation = \"10min\"");
    let engine = setup.start_as(&["serve", "--logic", "plugin2.so"], &[]);
    assert_eq!((engine.get("/tally"), versions(&engine)), (told.clone(), vec![1002]));
    // It is on trial, as after any load, and taken back there is nothing to run.
    assert_eq!(engine.get("/api/v1/rollback"), "rewound\n");
    assert_eq!(engine.status()["rooms"][0]["state"], "frozen");
    // The plugin is still in the folder: loaded, it goes on with what it had.
    let engine = engine.killed().start();
    assert_eq!(engine.get("/load?name=game.1001.so"), "done\n");
    assert_eq!((engine.get("/tally"), versions(&engine)), (told, vec![1001]));
}

#[test]
fn records_that_need_the_version_that_is_gone_are_not_passed_over() {
    let (engine, _) = played();
    let setup = ended(engine);
    let engine = setup.start();
    assert_eq!(engine.get("/fill?0"), "0\n");
    let setup = engine.killed();
    let code = kept_code(&setup).remove(0);
    let bytes = std::fs::read(&code).unwrap();
    std::fs::remove_file(&code).unwrap();
    let failure = setup.failure(&["serve"]);
    assert!(
        failure.contains(" needs game1 1001") && failure.contains("put the plugin with this sha256 there"),
        "{failure}"
    );
    std::fs::write(&code, bytes).unwrap();
    assert!(setup.start().get("/tally").starts_with("2001 scores, "));
}

#[test]
fn a_snapshot_is_shown_and_opened_without_an_engine() {
    let (engine, _) = played();
    let setup = ended(engine);
    kept_code(&setup).iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let file = newest_snapshot(&setup);
    let (two, three) = (tally().join("game.1002.so"), tally().join("game.1003.so"));
    let (two, three) = (two.to_str().unwrap(), three.to_str().unwrap());

    let text = setup.said(&["snapshot", &file]);
    assert!(text.contains(", by game1 1001") && text.ends_with("\n  scores: 2001 rows of 40 bytes\n"), "{text}");
    let text = setup.said(&["snapshot", &file, "--with", two]);
    for part in ["under game2 1002:\nscores: rows of 40 bytes become 56, 2001 rows", "\nopened: state hash "] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let dump: Value = serde_json::from_str(&setup.said(&["snapshot", &file, "--dump"])).unwrap();
    assert_eq!(
        (&dump["version"], &dump["frozen"]),
        (&1001.into(), &Value::Null),
        "that its code is gone is not its state"
    );
    let dump: Value = serde_json::from_str(&setup.said(&["snapshot", &file, "--with", two, "--dump"])).unwrap();
    let row = &dump["tables"]["scores"][0]["row"];
    assert_eq!((&row["nick"], &row["count"], &row["lives"]), (&"ann".into(), &3.into(), &3.into()));
    assert_eq!((&dump["version"], &dump["tables"]["story"][0]["row"]["upgraded_from"]), (&1002.into(), &1001.into()));

    let output = setup.run(&["snapshot", &file, "--with", three]);
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "{file} does not open under game3 1003: its tables cannot be carried over\n\
             Score.hits: u32 -> u8 would lose values above 255; give a migration\n"
        )
    );
    setup.said(&["snapshot", &file, "--with", three, "--drop", "Score.hits"]);
    let failure = setup.failure(&["snapshot", &file, "--with", two, "--drop", "orbs"]);
    assert_eq!(failure, "nothing called \"orbs\" is lost; leave --drop orbs out");
    let failure = setup.failure(&["snapshot", two]);
    assert!(failure.ends_with("cannot be read: its head is damaged"), "{failure}");
    // Nothing was changed by all this.
    check_misses_only_the_code(&setup);
}

/// An older version has no place for some of what there is. On trial it goes without; taken back, all of it is there again.
#[test]
fn what_an_older_version_on_trial_went_without_comes_back_with_the_newer_one() {
    const NICK: &str = "ann of the longer name";
    let setup = Setup::new(tally(), &["game.1001.so", "game.1002.so"]).with("logic = \"game.1001.so\"");
    let engine = setup.with("tick_hz = 0").with("probation = \"10min\"").start();
    assert_eq!(engine.get("/load?name=game.1002.so"), "done\n");
    assert_eq!(engine.get("/api/v1/confirm"), "confirmed\n");
    let mut client = Client::open(engine.address, Transport::Tcp);
    client.send(&ClientFrame::Join { room: "", credentials: "", hello: NICK.as_bytes() });
    client.joined();
    assert_eq!(client.ask(b"before"), "before");
    let before = engine.get("/tally");
    assert_eq!(engine.get(&format!("/load?name={BACK}&drop=Score.nick")), "done\n");
    let cut = engine.get("/tally");
    assert!(cut.starts_with("1 scores, 1 hits, 6 bytes, digest ") && cut != before, "{cut}, {before}");
    assert_eq!(client.version().0, 1001);
    assert_eq!(client.ask(b"since"), "since");
    assert_eq!(engine.get("/api/v1/rollback"), "rewound\n");
    assert_eq!((client.resync().0, versions(&engine)), (1002, vec![1002]));
    assert_eq!(client.ask(b"after"), "after");
    let told = engine.get("/tally");
    let setup = engine.killed();
    let dump: Value = serde_json::from_str(&setup.said(&["replay", "--dump"])).unwrap();
    let row = &dump["tables"]["scores"][0]["row"];
    assert_eq!((&row["nick"], &row["count"], &row["bytes"]), (&NICK.into(), &3.into(), &16.into()));
    assert_eq!((&row["lives"], &dump["tables"]["story"][0]["row"]["upgraded_from"]), (&3.into(), &1001.into()));
    assert!(setup.said(&["replay", "--verify"]).starts_with("verified: "));
    assert_eq!(setup.start().get("/tally"), told);
}

/// Nothing of a column may be left, and the way back is open all the same: whoever loads says what may go.
#[test]
fn a_load_there_and_back_is_a_matter_of_words() {
    let (engine, told) = played();
    engine.setup.put(&tally().join("game.1006.so"), "game.1006.so");
    let there = "game.1006.so&drop=Score.nick&drop=Score.bytes";
    let (status, code, reason) = engine.refusal(&format!("/load?name={there}"));
    assert_eq!((status, &*code), (409, "schema-differs"), "{reason}");
    let (status, code, reason) = engine.refusal(&format!("/load?name={there}&drop=Score.mood&drop=orbs"));
    assert_eq!((status, &*code), (400, "drop-unknown"), "{reason}");
    assert_eq!(reason, "nothing called \"orbs\" is lost by this load; leave drop=orbs out");
    assert_eq!((engine.get("/tally"), versions(&engine)), (told, vec![1001]));

    assert_eq!(engine.get(&format!("/load?name={there}&drop=scores.mood")), "done\n");
    let gone = engine.get("/tally");
    assert!(gone.starts_with("2001 scores, 1999003 hits, 0 bytes, digest "), "{gone}");
    let back = "game.1001.so&drop=Score.nick&drop=Score.mood&drop=Score.bytes";
    assert_eq!(engine.get(&format!("/load?name={back}")), "done\n");
    assert_eq!((engine.get("/tally"), versions(&engine)), (gone, vec![1001]));
    let setup = engine.killed();
    assert!(setup.said(&["replay", "--verify"]).starts_with("verified: "));
}

/// The first is held half-way through its rows, so all of this is while it is at them.
#[test]
fn loads_while_tables_are_rewritten_wait_for_their_turn() {
    let setup = setup().with("logic = \"game.1001.so\"");
    let setup = setup.with("rehearsal_bytes_max = 0").with("rewrite_timeout_ms = 60000");
    let held = setup.path("held");
    std::fs::write(&held, "").unwrap();
    setup.put(&unfit().join("game.1011.so"), "game.1011.so");
    setup.put(&tally().join("game.1003.so"), "game.1003.so");
    let engine = setup.start_as(&["serve"], &[("TALLY_HOLD", held.to_str().unwrap())]);
    assert_eq!(engine.get("/fill?2000"), "2000\n");
    let mut client = Client::open(engine.address, Transport::Tcp);
    client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"ann" });
    client.joined();

    let first = engine.begin("/load?name=game.1011.so", "*/*");
    engine.until("the rows are rewritten", |engine| engine.metric("hotseat_rewrites") == 1);
    let second = engine.begin("/load?name=game.1003.so", "*/*");
    engine.until("both are under way", |engine| engine.metric("hotseat_loads_under_way") == 2);
    (0..50).for_each(|_| assert_eq!(client.ask(b"on"), "on"));
    assert_eq!(engine.post("/api/v1/rooms", "{\"name\": \"late\"}").status, 201);
    assert_eq!(engine.get("/fill?30&room=late"), "30\n");
    assert_eq!((versions(&engine), engine.metric("hotseat_loads_under_way")), (vec![1001, 1001], 2));
    assert_eq!(engine.metric("hotseat_rewrites"), 1);
    std::fs::remove_file(&held).unwrap();
    assert_eq!([first, second].map(|pending| pending.end().status), [200, 409]);
    assert_eq!(versions(&engine), [1011, 1011]);
    let told = engine.get("/tally");
    assert!(told.starts_with("2001 scores, 1999050 hits, 100 bytes, digest "), "{told}");
    let late = engine.get("/tally?room=late");
    assert!(late.starts_with("30 scores, 435 hits, 0 bytes, digest "), "{late}");
}

/// The crowd of swarm, through twenty changes of the tables under it: a field renamed, two wider, two and a table more, and back.
#[test]
fn a_crowd_plays_on_while_its_tables_change() {
    const CHANGES: usize = 20;
    let setup = Setup::new(tally(), &["game.1001.so", "game.1002.so"]).with("logic = \"game.1001.so\"");
    let engine = setup.with("frames_per_second_max = 0").with("tick_hz = 20").start();
    let options = Options {
        players: 100,
        pace: Pace::PerSecond(10.0),
        duration: Duration::from_secs(600),
        expect: Expect::Echo,
        drain_max: Duration::from_secs(30),
        ..Options::new(format!("ws://{}/ws", engine.address).parse().unwrap())
    };
    let (stop, joined) = (Stop::default(), AtomicBool::new(false));
    let report = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let is_joined = |progress: &Progress| joined.store(progress.joined == 100, Ordering::Relaxed);
            swarm::run(&options, &stop, is_joined)
        });
        assert!(in_time(|| joined.load(Ordering::Relaxed)));
        for change in 0..CHANGES {
            let before = engine.get("/tally");
            let target = [BACK, "game.1002.so"][usize::from(change % 2 == 0)];
            assert_eq!(engine.get(&format!("/load?name={target}")), "done\n");
            // What they had before is there, and more comes.
            let hits = |told: &str| told.split(' ').nth(2).unwrap().parse::<u64>().unwrap();
            assert!(hits(&engine.get("/tally")) >= hits(&before));
            engine.until("players play on", |engine| hits(&engine.get("/tally")) > hits(&before));
        }
        stop.begin();
        run.join().unwrap().unwrap()
    });
    let messages = &report.messages;
    let wrong = [messages.lost, messages.duplicated, messages.out_of_order, messages.damaged, messages.failed];
    assert_eq!((wrong, report.refused(), report.disconnects()), ([0; 5], 0, 0), "{report}");
    assert_eq!((report.connections.joined, messages.confirmed), (100, messages.sent), "{report}");
    // Each message counted once, and every byte of it.
    let told = engine.get("/tally");
    assert!(told.starts_with(&format!("100 scores, {} hits, ", messages.sent)), "{told} of {report}");
    let swaps = engine.status()["swaps"].as_array().unwrap().len();
    assert_eq!((versions(&engine), swaps), (vec![1001], CHANGES));
    // And a replay of all that comes to the same.
    let setup = engine.killed();
    let dump: Value = serde_json::from_str(&setup.said(&["replay", "--dump"])).unwrap();
    let rows = dump["tables"]["scores"].as_array().unwrap();
    let hits: u64 = rows.iter().map(|row| row["row"]["hits"].as_u64().unwrap()).sum();
    assert_eq!((rows.len(), hits), (100, messages.sent));
    assert_eq!(setup.start().get("/tally"), told);
}
