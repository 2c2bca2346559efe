//! Versions on trial: what ends a trial, what is left of a version that failed, and what players lose by it.

use serde_json::Value;
use wire::{ClientFrame, CloseCode};

use crate::kept::files_of;
use crate::players::client::{Client, Transport};
use crate::support::{Engine, Setup, moody};

/// 1001 fails where 1002 does not: on trial it is the bad one.
const MOODY: &[&str] = &["game.1002.so", "plugin1.so", "plugin2.so"];

fn setup() -> Setup {
    Setup::new(moody(), MOODY).with("rooms = [\"main\", \"b\"]\ntick_hz = 100\nprobation = \"10min\"")
}

/// On 1002, with 1001 on trial, and a request made before and one since.
fn on_trial() -> Engine {
    let engine = setup().start();
    assert_eq!(engine.get("/count"), "1 in 1002\n");
    assert_eq!(engine.get("/load?name=plugin1.so"), "done\n");
    assert_eq!(engine.get("/count"), "102 in 1001\n");
    engine
}

fn swap(engine: &Engine) -> Value {
    engine.status()["swaps"][0].clone()
}

/// Returns when every room runs 1002 again; with what the rewinding has told.
fn until_rewound(engine: &Engine) -> Value {
    engine.until("the version is taken back", |engine| swap(engine)["outcome"] == "rewound");
    let status = engine.status();
    assert_eq!(status["trial"], Value::Null);
    for room in status["rooms"].as_array().unwrap() {
        assert_eq!((&room["version"], &room["state"]), (&1002.into(), &"running".into()), "{room}");
    }
    swap(engine)["verdict"].clone()
}

#[test]
fn a_fault_takes_every_room_back_and_no_request_is_lost() {
    let engine = on_trial();
    assert_eq!(engine.get("/count?room=b"), "101 in 1001\n");
    let trial = engine.status()["trial"].clone();
    assert_eq!((&trial["version"], &trial["rooms"]), (&1001.into(), &serde_json::json!(["main", "b"])));
    assert_eq!(trial["from"][0]["version"], 1002);
    assert!((1..=600).contains(&trial["seconds_left"].as_u64().unwrap()), "{trial}");
    assert_eq!(engine.metric("hotseat_on_trial"), 1);

    let (status, code, _) = engine.refusal("/panic?room=b");
    assert_eq!((status, code.as_str()), (500, "logic-fault"), "its sender is told");
    let verdict = until_rewound(&engine);
    let reason = verdict["reason"].as_str().unwrap();
    assert!(reason.starts_with("in the room b: version 1001 failed in request at tick "), "{reason}");
    assert_eq!(verdict["who"], "the engine");
    // As if 1001 had never been: its `upgraded` has left no trace, and the requests that it took are there.
    assert_eq!(engine.get("/count"), "3 in 1002\n");
    assert_eq!(engine.get("/count?room=b"), "2 in 1002\n");
    assert_eq!(engine.metric("hotseat_verdicts_total{verdict=\"rewound\",why=\"fault\"}"), 1);
    assert_eq!(engine.metric("hotseat_rewind_seconds_count{room=\"main\"}"), 1);
    assert_eq!(engine.metric("hotseat_on_trial"), 0);
}

#[test]
fn a_tick_that_panics_thaws_with_the_version_from_before() {
    let engine = setup().start();
    assert_eq!(engine.get("/spoil"), "spoilt\n");
    assert_eq!(engine.get("/load?name=plugin1.so"), "done\n");
    let verdict = until_rewound(&engine);
    let reason = verdict["reason"].as_str().unwrap();
    assert!(reason.starts_with("in the room main: version 1001 failed in tick at tick "), "{reason}");
    let tick = || engine.status()["rooms"][0]["tick"].as_u64().unwrap();
    let before = tick();
    engine.until("it ticks again", |_| tick() > before + 2);
}

#[test]
fn a_version_that_failed_is_refused_until_it_is_forced() {
    let engine = on_trial();
    assert_eq!(engine.get("/api/v1/rollback?reason=orbs+are+worth+nothing"), "rewound\n");
    assert_eq!(engine.get("/count"), "3 in 1002\n");
    let verdict = until_rewound(&engine);
    assert_eq!(verdict["reason"], "orbs are worth nothing");
    let refused = |engine: &Engine| {
        let (status, code, reason) = engine.refusal("/load?name=plugin1.so");
        assert_eq!((status, code.as_str()), (409, "version-failed"));
        assert!(
            reason.contains(" 1001 was on trial and failed at 20") && reason.contains(": orbs are worth nothing; "),
            "{reason}"
        );
    };
    refused(&engine);
    let versions = engine.status()["versions"].clone();
    let failed: Vec<_> = versions.as_array().unwrap().iter().map(|version| version["failed"].clone()).collect();
    assert_eq!(failed, [Value::Null, "orbs are worth nothing".into()]);

    // So it is by the next engine.
    engine.signal(rustix::process::Signal::TERM);
    let (code, setup) = engine.ended();
    assert_eq!(code, Some(0));
    let engine = setup.start();
    refused(&engine);
    assert_eq!(engine.get("/load?name=plugin1.so&force=1"), "done\n");
    assert_eq!(engine.get("/api/v1/confirm"), "confirmed\n");
    assert_eq!(engine.get("/load?name=plugin2.so&confirm=1"), "done\n");
    assert_eq!(engine.get("/api/v1/confirm"), "confirmed\n");
    assert_eq!(engine.get("/load?name=plugin1.so"), "done\n", "it has stayed once: all is forgiven");
}

#[test]
fn another_load_waits_for_the_verdict_or_brings_it() {
    let engine = on_trial();
    let (status, code, reason) = engine.refusal("/load?name=plugin2.so");
    assert_eq!((status, code.as_str()), (409, "on-trial"));
    assert!(reason.contains(" 1001 is on trial for ") && reason.contains("&confirm=1"), "{reason}");
    // What cannot be loaded does not cost the way back.
    assert_eq!(engine.refusal("/load?name=nothing.so&confirm=1").0, 404);
    assert_eq!(engine.status()["trial"]["version"], 1001);
    assert_eq!(engine.get("/load?name=plugin2.so&confirm=1"), "done\n");
    assert_eq!(engine.get("/count"), "203 in 1002\n");
    let swaps = engine.status()["swaps"].clone();
    let outcomes: Vec<_> = swaps.as_array().unwrap().iter().map(|swap| swap["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["on-trial", "refused", "refused", "confirmed"]);
    assert_eq!(swaps[3]["verdict"]["reason"], "the next load asked for it");
    assert_eq!(engine.get("/api/v1/rollback"), "rewound\n");
    assert_eq!(engine.get("/count"), "104 in 1001\n", "back to what was confirmed, and no further");
}

#[test]
fn what_is_confirmed_stays_whatever_it_does_then() {
    let engine = on_trial();
    let (status, code, _) = engine.refusal("/load?name=plugin2.so&confirm=yes");
    assert_eq!((status, code.as_str()), (400, "flag-malformed"));
    assert_eq!(engine.get("/api/v1/confirm"), "confirmed\n");
    engine.refusal("/panic");
    for target in ["/api/v1/confirm", "/api/v1/rollback"] {
        let (status, code, reason) = engine.refusal(target);
        assert_eq!((status, code.as_str()), (409, "not-on-trial"));
        assert!(reason.starts_with("no version is on trial; ") && reason.contains(" 1001 is confirmed"), "{reason}");
    }
    assert_eq!(engine.get("/count"), "103 in 1001\n");
    assert_eq!(engine.metric("hotseat_verdicts_total{verdict=\"confirmed\",why=\"asked\"}"), 1);
}

/// Whoever left was told so: the room goes back, and they do not come in again.
#[test]
fn a_leave_that_a_frozen_room_cannot_take_back_holds() {
    for end in ["rolled back", "killed", "rolled back and killed"] {
        let engine = Setup::new(moody(), &["game.1001.so", "plugin2.so"]).with("probation = \"10min\"").start();
        let mut ann = Client::open(engine.address, Transport::Tcp);
        let mut bob = Client::open(engine.address, Transport::Tcp);
        let (left, stays) = (ann.join(b"ann"), bob.join(b"bob"));
        engine.get("/spoil");
        engine.until("it freezes", |engine| engine.status()["rooms"][0]["state"] == "frozen");
        assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
        ann.send(&ClientFrame::Leave);
        assert_eq!(ann.closing_at_last().0, CloseCode::Left);
        engine.until("one is in", |engine| engine.status()["rooms"][0]["players"] == 1);
        if end.starts_with("rolled back") {
            engine.setup.said(&["rollback"]);
        }
        let engine = if end.ends_with("killed") { engine.killed().start() } else { engine };
        let room = engine.status()["rooms"][0].clone();
        assert_eq!((&room["state"], &room["version"]), (&"frozen".into(), &1001.into()), "{end}");
        let mut late = Client::open(engine.address, Transport::Tcp);
        late.send(&ClientFrame::Resume { token: &left.token });
        assert_eq!(late.closing_at_last().0, CloseCode::BadToken, "{end}");
        assert!(Client::open(engine.address, Transport::Tcp).resume(&stays.token).resumed);
        // It waits for a version that can take it.
        assert_eq!(engine.get("/load?name=plugin2.so&force=1"), "done\n");
        engine.until("one is in", |engine| engine.status()["rooms"][0]["players"] == 1);
    }
}

/// They are not in the world any more, and nothing waits for them.
#[test]
fn a_room_goes_on_being_kept_after_a_join_and_a_leave_that_it_went_back_over() {
    let setup = Setup::new(moody(), &["game.1001.so", "plugin2.so"]);
    let mut engine = setup.with("probation = \"10min\"\nsnapshot_interval_ms = 100").start();
    engine.get("/spoil");
    engine.until("it freezes", |engine| engine.status()["rooms"][0]["state"] == "frozen");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    let mut ann = Client::open(engine.address, Transport::Tcp);
    ann.join(b"ann");
    ann.send(&ClientFrame::Leave);
    assert_eq!(ann.closing_at_last().0, CloseCode::Left);
    engine.setup.said(&["rollback"]);
    engine = engine.killed().start();
    assert_eq!(engine.get("/load?name=plugin2.so&force=1"), "done\n");
    engine.get("/api/v1/confirm");
    let before = files_of(&engine.setup, "snapshot");
    engine.get("/count");
    engine.until("there is a new snapshot", |engine| files_of(&engine.setup, "snapshot").last() > before.last());
}

#[test]
fn a_version_that_does_no_harm_is_confirmed_when_its_time_is_over() {
    let engine = Setup::new(moody(), MOODY).with("probation = \"200ms\"").start();
    assert_eq!(engine.get("/load?name=plugin1.so"), "done\n");
    engine.until("its time is over", |engine| swap(engine)["outcome"] == "confirmed");
    assert_eq!(swap(&engine)["verdict"]["reason"], "nothing failed for 0.2 s");
    assert_eq!(engine.status()["trial"], Value::Null);
    assert_eq!(engine.get("/count"), "101 in 1001\n");
}

#[test]
fn the_commands_say_what_became_of_the_trial() {
    let engine = on_trial();
    let data = engine.setup.data().display().to_string();
    let run = |words: &[&str]| {
        let output = engine.setup.run(&[words, &["--data", &data]].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text, _) = run(&["status"]);
    assert!(code == Some(0) && text.contains("\non trial: ") && text.contains(" s left\n"), "{text}");
    let (code, _, error) = run(&["load", "plugin2.so"]);
    assert!(code == Some(1) && error.contains(" is on trial for "), "{error}");
    let (code, text, _) = run(&["rollback", "--reason", "it's ugly"]);
    assert!(code == Some(0) && text.starts_with("rewound: ") && text.contains(" 0 of them lost; "), "{text}");
    // The refused load is the newest.
    assert_eq!(engine.status()["swaps"][1]["verdict"]["reason"], "it's ugly");
    let (code, _, error) = run(&["confirm"]);
    assert!(code == Some(1) && error.starts_with("no version is on trial"), "{error}");
    let (code, text, error) = run(&["load", "plugin1.so", "--force"]);
    assert!(code == Some(0) && text.contains("; on trial for 600.0 s"), "{text}{error}");
    let (code, text, _) = run(&["confirm"]);
    assert!(code == Some(0) && text.starts_with("confirmed: "), "{text}");
    assert_eq!(run(&["load", "plugin2.so", "--confirm"]).0, Some(0));
}

#[test]
fn an_engine_that_is_told_to_end_leaves_the_trial_without_blame() {
    let engine = on_trial();
    engine.signal(rustix::process::Signal::TERM);
    engine.until("it says so", |engine| engine.log().contains("the engine ends during a trial"));
    let (code, setup) = engine.ended();
    assert_eq!(code, Some(0));
    let engine = setup.start();
    assert_eq!(engine.get("/count"), "3 in 1002\n", "back to before the trial, with what came since");
    assert_eq!(engine.get("/load?name=plugin1.so"), "done\n", "it has not failed");
}

#[test]
fn a_version_on_trial_when_the_engine_was_killed_has_failed() {
    let engine = on_trial();
    engine.signal(rustix::process::Signal::KILL);
    let (code, setup) = engine.ended();
    assert_eq!(code, None);
    let engine = setup.start();
    assert_eq!(engine.get("/count"), "3 in 1002\n", "it gets no second trial");
    let (status, code, reason) = engine.refusal("/load?name=plugin1.so");
    assert_eq!((status, code.as_str()), (409, "version-failed"));
    assert!(reason.contains(": the engine ended while it was being loaded or on trial; "), "{reason}");
}

#[test]
fn a_version_that_ends_the_engine_when_the_first_room_runs_it_has_failed() {
    // Else it would end the child that tries it.
    let setup = setup().with("rehearsal_bytes_max = 0");
    setup.put(&moody().join("plugin5.so"), "plugin5.so");
    let engine = setup.start();
    assert_eq!(engine.get("/count"), "1 in 1002\n");
    let _unanswered = engine.begin("/load?name=plugin5.so", "*/*");
    let (code, setup) = engine.ended();
    assert_eq!(code, None, "by a signal");
    let engine = setup.start();
    assert_eq!(engine.get("/count"), "2 in 1002\n");
    assert_eq!(engine.refusal("/load?name=plugin5.so").1, "version-failed");
}

/// Versions that are confirmed at once are given no second trial either.
#[test]
fn a_version_that_ends_the_engine_has_failed_without_a_probation_too() {
    for is_named_at_start in [false, true] {
        let setup = Setup::new(moody(), &["game.1001.so", "plugin5.so"]).with("rehearsal_bytes_max = 0");
        let engine = setup.start();
        assert_eq!(engine.get("/count"), "1 in 1001\n");
        let setup = if is_named_at_start {
            engine.killed().start_to_die(&["serve", "--logic", "plugin5.so"], &[]).ended().1
        } else {
            let _unanswered = engine.begin("/load?name=plugin5.so", "*/*");
            engine.ended().1
        };
        // As an orchestrator does, whatever came of it.
        let engine = setup.start_as(&["serve", "--logic", "plugin5.so"], &[]);
        assert_eq!(engine.get("/count"), "2 in 1001\n");
        let (_, code, reason) = engine.refusal("/load?name=plugin5.so");
        assert!(code == "version-failed" && reason.ends_with("or say &force=1 to try it once more"), "{reason}");
        assert!(engine.log().contains(&format!("plugin5.so is not used: {reason}")), "{}", engine.log());
    }
}

#[test]
fn what_was_confirmed_is_what_the_next_engine_runs_in_every_room() {
    for end in [rustix::process::Signal::KILL, rustix::process::Signal::TERM] {
        let engine = on_trial();
        assert_eq!(engine.get("/api/v1/confirm"), "confirmed\n");
        engine.signal(end);
        let engine = engine.ended().1.start();
        assert_eq!(engine.get("/count"), "103 in 1001\n");
        assert_eq!(engine.get("/count?room=b"), "101 in 1001\n");
        assert_eq!(engine.status()["trial"], Value::Null);
    }
}

#[test]
fn no_engine_starts_by_itself_on_a_version_that_failed() {
    let setup = Setup::new(moody(), &["game.1001.so"]).with("probation = \"10min\"\ndurability = \"off\"");
    let engine = setup.start();
    engine.setup.put(&moody().join("plugin2.so"), "game.1002.so");
    assert_eq!(engine.get("/load?name=game.1002.so"), "done\n");
    assert_eq!(engine.get("/api/v1/rollback"), "rewound\n");
    engine.signal(rustix::process::Signal::KILL);
    let engine = engine.ended().1.start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    assert!(engine.log().contains("this version failed when it was on trial: it is passed over"), "{}", engine.log());
    engine.signal(rustix::process::Signal::KILL);
    let setup = engine.ended().1;
    std::fs::remove_file(setup.plugins().join("game.1001.so")).unwrap();
    let expected =
        "plugins/ was on trial and failed: build another, or start on one all the same with --logic game.1002.so";
    let failure = setup.failure(&["serve"]);
    assert!(failure.starts_with("every version in ") && failure.ends_with(expected), "{failure}");
    let engine = setup.with("logic = \"game.1002.so\"").start();
    assert_eq!(engine.get("/count"), "1 in 1002\n");
    assert!(engine.log().contains("it runs because it was asked for by name"));
}
