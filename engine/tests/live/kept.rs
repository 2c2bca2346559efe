//! What outlives the engine: killed, ended, or ended by its own logic; and what is refused.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use wire::{ClientFrame, CloseCode};

use crate::client;
use crate::players::client::{Client, Transport};
use crate::support::{Engine, Setup, moody};

fn setup() -> Setup {
    Setup::new(moody(), &["game.1001.so", "plugin2.so"]).with("tick_hz = 50")
}

#[test]
fn players_are_where_they_were_and_resume_with_their_token() {
    let engine = setup().with("durability = \"tick\"").start();
    let mut client = Client::open(engine.address, Transport::WebSocket);
    let joined = client.join(b"ann");
    assert_eq!(client.ask(b"count"), "1");
    let engine = engine.killed().start();
    assert_eq!(engine.status()["rooms"][0]["players"], 1);
    let mut client = Client::open(engine.address, Transport::Tcp);
    let again = client.resume(&joined.token);
    assert_eq!((again.player, again.resumed, client.header.consumed), (joined.player, true, 1));
    assert_eq!(client.hear(), "welcome back");
    assert_eq!(client.ask(b"count"), "2");
    // And over an orderly end.
    engine.signal(Signal::TERM);
    let (code, setup) = engine.ended();
    assert_eq!(code, Some(0));
    let engine = setup.start();
    let mut client = Client::open(engine.address, Transport::Tcp);
    client.resume(&joined.token);
    assert_eq!(client.hear(), "welcome back");
    assert_eq!(client.ask(b"count"), "3");
}

#[test]
fn rooms_go_on_on_the_version_that_ran_them() {
    let engine = setup().start();
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/count"), "101 in 1002\n");
    let setup = engine.killed();
    // Whatever lies in the folder by then.
    std::fs::remove_file(setup.plugins().join("plugin2.so")).unwrap();
    let engine = setup.start();
    assert_eq!(engine.get("/count"), "102 in 1002\n");
    engine.setup.said(&["rooms", "new", "duel", "--label", "ranked"]);
    assert_eq!(engine.get("/count?room=duel"), "1 in 1002\n");
    engine.setup.said(&["rooms", "new", "gone"]);
    engine.setup.said(&["rooms", "close", "gone"]);
    let engine = engine.killed().start();
    assert_eq!(engine.get("/count?room=duel"), "2 in 1002\n");
    let names: Vec<String> =
        engine.status()["rooms"].as_array().unwrap().iter().map(|room| room["name"].to_string()).collect();
    assert_eq!(names, ["\"duel\"", "\"main\""]);
    assert_eq!(engine.status()["rooms"][0]["label"], "ranked");
}

#[test]
fn a_version_on_trial_is_taken_back_with_the_engine() {
    let engine = setup().with("probation = \"10min\"").start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/count"), "102 in 1002\n");
    let engine = engine.killed().start();
    assert_eq!(engine.get("/count"), "3 in 1001\n");
    assert!(engine.log().contains("a version that was not confirmed is taken back"), "{}", engine.log());
    let engine = engine.killed().start();
    assert_eq!(engine.get("/count"), "4 in 1001\n");
}

#[test]
fn fresh_begins_anew_and_deletes_nothing() {
    let engine = setup().start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/count"), "102 in 1002\n");
    let setup = engine.killed();
    std::fs::remove_file(setup.plugins().join("plugin2.so")).unwrap();
    // Nothing to begin on: nothing is moved.
    for words in [["--logic", "plugin2.so"], ["--logic", "nobody"], ["--plugins", "nowhere"], ["--plugins", "data"]] {
        setup.failure(&[&["serve", "--fresh"], &words[..]].concat());
        assert!(setup.data().join("rooms/main").exists(), "{words:?}");
    }
    let engine = setup.start_as(&["serve", "--fresh"], &[]);
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    let folders = std::fs::read_dir(engine.setup.data()).unwrap().map(|entry| entry.unwrap().path());
    let aside: Vec<PathBuf> = folders.filter(|path| path.to_str().unwrap().contains("/rooms-")).collect();
    assert_eq!(aside.len(), 1);
    assert!(aside[0].join("main/00000000000000000001.journal").exists());
    // It can be undone, even after another start, which removes what nothing needs.
    let stale = engine.setup.data().join(format!("versions/{:064}.so", 0));
    std::fs::write(&stale, "nobody's").unwrap();
    let setup = engine.killed().start().killed();
    assert!(!stale.exists());
    std::fs::remove_dir_all(setup.data().join("rooms")).unwrap();
    std::fs::rename(&aside[0], setup.data().join("rooms")).unwrap();
    let engine = setup.start();
    assert_eq!(engine.get("/count"), "103 in 1002\n");
    // What was needed only by rooms that were moved aside goes with them.
    let setup = engine.killed().start_as(&["serve", "--fresh"], &[]).killed();
    let versions = |setup: &Setup| std::fs::read_dir(setup.data().join("versions")).unwrap().count();
    assert_eq!(versions(&setup), 2);
    let names = std::fs::read_dir(setup.data()).unwrap().map(|entry| entry.unwrap().path());
    let aside = names.filter(|path| path.to_str().unwrap().contains("/rooms-"));
    aside.for_each(|path| std::fs::remove_dir_all(path).unwrap());
    let setup = setup.start().killed();
    assert_eq!(versions(&setup), 1);
}

#[test]
fn a_room_may_be_called_like_what_is_half_made() {
    let engine = setup().start();
    for name in ["duel", "duel.tmp", "duel.gone"] {
        engine.setup.said(&["rooms", "new", name]);
        assert_eq!(engine.get(&format!("/count?room={name}")), "1 in 1001\n");
    }
    engine.setup.said(&["rooms", "close", "duel"]);
    let engine = engine.killed().start();
    for name in ["duel.tmp", "duel.gone"] {
        assert_eq!(engine.get(&format!("/count?room={name}")), "2 in 1001\n");
    }
    assert_eq!(engine.refusal("/count?room=duel").0, 404);
}

#[test]
fn what_is_no_room_is_left_as_it_is() {
    let engine = setup().start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    let setup = engine.killed();
    let (foreign, unborn) = (setup.data().join("rooms/photos"), setup.data().join("rooms/unborn"));
    std::fs::create_dir(&foreign).unwrap();
    for file in ["cat.jpg", "dog.tmp"] {
        std::fs::write(foreign.join(file), file).unwrap();
    }
    std::fs::create_dir(&unborn).unwrap();
    std::fs::write(unborn.join("room.json"), "{").unwrap();
    // This one had a journal once.
    let lost = setup.data().join("rooms/lost");
    std::fs::create_dir(&lost).unwrap();
    for file in ["room.json", "under-way"] {
        std::fs::copy(setup.data().join("rooms/main").join(file), lost.join(file)).unwrap();
    }
    let engine = setup.start();
    assert_eq!(engine.get("/count"), "2 in 1001\n");
    assert!(engine.log().contains("this is no room's folder; nothing was changed"), "{}", engine.log());
    assert!(foreign.join("cat.jpg").exists() && foreign.join("dog.tmp").exists());
    assert!(!unborn.exists());
    assert!(engine.log().contains("rooms/lost has under-way and no journal: put its journal back"), "{}", engine.log());
    assert!(lost.join("room.json").exists() && lost.join("under-way").exists());
}

#[test]
fn rooms_come_and_go_under_one_name_while_snapshots_are_made() {
    let engine = setup().with("snapshot_interval_ms = 100").start();
    let names = ["duel", "a", "b", "c", "d", "e"];
    for _ in 0..5 {
        for name in names {
            engine.setup.said(&["rooms", "new", name]);
            assert_eq!(engine.get(&format!("/count?room={name}")), "1 in 1001\n");
        }
        let has_snapshot = |engine: &Engine| {
            let files = std::fs::read_dir(engine.setup.data().join("rooms/e")).unwrap();
            files.filter_map(Result::ok).any(|file| file.path().extension().is_some_and(|kind| kind == "snapshot"))
        };
        engine.until("a snapshot is made", has_snapshot);
        names.iter().for_each(|name| drop(engine.setup.said(&["rooms", "close", name])));
    }
    let engine = engine.killed().start();
    assert_eq!(engine.refusal("/count?room=duel").0, 404);
    assert_eq!(engine.get("/count"), "1 in 1001\n");
}

#[test]
fn without_durability_nothing_is_kept() {
    let engine = setup().with("durability = \"off\"").start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    let engine = engine.killed().start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    assert!(!engine.setup.data().join("rooms").exists());
}

#[test]
fn without_durability_what_was_kept_is_told_of_and_left() {
    let told = "\"off\\\" the rooms that are kept are left as they are";
    let engine = setup().with("rooms = [\"main\", \"b\"]").start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    assert_eq!(engine.get("/count?room=b"), "1 in 1001\n");
    assert!(!engine.log().contains(told), "{}", engine.log());
    let setup = engine.killed();
    // These are no rooms.
    std::fs::write(setup.data().join("rooms/notes"), "").unwrap();
    std::fs::create_dir(setup.data().join("rooms/photos")).unwrap();
    std::fs::create_dir(setup.data().join("rooms/No Room")).unwrap();
    let engine = setup.set("durability", "\"off\"").start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    let log = engine.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(told)).collect();
    assert!(lines.len() == 1 && lines[0].contains("\"WARN\"") && lines[0].contains("\"rooms\":2"), "{log}");
    let engine = engine.killed().set("durability", "\"tick\"").start();
    assert_eq!(engine.get("/count"), "2 in 1001\n");
}

#[test]
fn a_damaged_room_is_refused_and_left_as_it_is() {
    let engine = setup().with("rooms = [\"main\", \"b\"]").start();
    (0..5).for_each(|_| drop(engine.get("/count?room=b")));
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    let setup = engine.killed();
    let file = setup.data().join("rooms/b/00000000000000000001.journal");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&file, &bytes).unwrap();
    let engine = setup.start();
    assert_eq!(engine.get("/count"), "2 in 1001\n");
    assert_eq!(engine.refusal("/count?room=b").0, 404);
    let log = engine.log();
    assert!(log.contains("the room is not started") && log.contains("is damaged at byte"), "{log}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let setup = engine.killed();
    // And the other one.
    let file = setup.data().join("rooms/main/00000000000000000001.journal");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[300] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let failure = setup.failure(&["serve"]);
    assert!(failure.starts_with("no room can be brought back; "), "{failure}");
}

#[test]
fn a_room_whose_settings_are_damaged_waits_for_an_operator() {
    let engine = setup().with("rooms = [\"main\", \"b\"]").start();
    assert_eq!(engine.get("/count?room=b"), "1 in 1001\n");
    engine.setup.said(&["rooms", "lock", "b"]);
    engine.signal(rustix::process::Signal::TERM);
    let setup = engine.ended().1;
    let file = setup.data().join("rooms/b/room.json");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"locked\": true"), "{text}");
    std::fs::write(&file, text.replace("true", "frue")).unwrap();
    // What a room that is started would have moved aside, or removed.
    let snapshot = paths_in(&setup, "b", "snapshot").pop().unwrap();
    let mut bytes = std::fs::read(&snapshot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&snapshot, &bytes).unwrap();
    std::fs::write(file.with_file_name("half.tmp"), "half").unwrap();
    let content = |setup: &Setup| {
        let paths = std::fs::read_dir(setup.data().join("rooms/b")).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_file()).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    };
    let was: BTreeMap<PathBuf, Vec<u8>> = content(&setup);
    let engine = setup.start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    // Not opened to all without a word.
    assert_eq!(engine.refusal("/count?room=b").0, 404);
    let log = engine.log();
    assert!(log.contains("room.json is damaged: ") && log.contains("remove it, and the room comes back"), "{log}");
    let setup = engine.killed();
    assert!(content(&setup) == was, "a room that is refused is left as it is");
    std::fs::remove_file(&file).unwrap();
    let engine = setup.start();
    assert_eq!(engine.get("/count?room=b"), "2 in 1001\n");
    assert!(snapshot.with_added_extension("damaged").exists() && !file.with_file_name("half.tmp").exists());
}

#[test]
fn a_request_that_ends_the_process_twice_is_quarantined() {
    for (path, by) in [("/abort", "signal 6"), ("/overflow", "signal 6"), ("/exit", "a call of exit")] {
        let mut engine = setup().start();
        assert_eq!(engine.get("/count"), "1 in 1001\n");
        for _ in 0..2 {
            client::try_get(engine.address, path).unwrap_err();
            if path == "/overflow" {
                assert!(engine.log().contains("has overflowed its stack"), "{}", engine.log());
            }
            engine = engine.ended().1.start();
        }
        let (status, _, reason) = engine.refusal(path);
        assert_eq!(status, 500);
        assert!(reason.contains("it ended the process time and again"), "{reason}");
        assert_eq!(engine.get("/count"), "2 in 1001\n");
        let line = quarantined(&engine.setup).pop().unwrap();
        let expected = format!("2 times in a row, the process ended by {by} in: GET \"{path}\"");
        assert!(line.contains(&expected), "{line}");
    }
}

#[test]
fn a_join_that_ends_the_process_twice_is_quarantined() {
    let mut engine = setup().start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    for _ in 0..2 {
        Client::open(engine.address, Transport::Tcp).send(&ClientFrame::Join {
            room: "",
            credentials: "",
            hello: b"abort",
        });
        engine = engine.ended().1.start();
    }
    let mut client = Client::open(engine.address, Transport::WebSocket);
    client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"abort" });
    let (code, reason) = client.closing_at_last();
    assert_eq!(code, CloseCode::Failed);
    assert!(reason.contains("it ended the process time and again"), "{reason}");
    Client::open(engine.address, Transport::Tcp).join(b"ann");
    assert_eq!(engine.get("/count"), "2 in 1001\n");
}

#[test]
fn a_message_that_ends_the_process_twice_is_quarantined() {
    for is_resumed in [true, false] {
        let mut engine = setup().with("durability = \"tick\"").start();
        let mut client = Client::open(engine.address, Transport::Tcp);
        let joined = client.join(b"ann");
        assert_eq!(client.ask(b"count"), "1");
        let come = |engine: &Engine| {
            let mut client = Client::open(engine.address, Transport::Tcp);
            if is_resumed {
                client.resume(&joined.token);
                assert_eq!(client.hear(), "welcome back");
            } else {
                client.join(b"bob");
            }
            client
        };
        for _ in 0..2 {
            let mut client = come(&engine);
            client.say(b"abort");
            engine = engine.ended().1.start();
        }
        let mut client = come(&engine);
        client.say(b"abort");
        let (number, reason) = client.error();
        assert!(number > 0 && reason.contains("it ended the process time and again"), "{reason}");
        assert_eq!(client.ask(b"count"), "2");
        assert!(quarantined(&engine.setup)[0].contains("2 times in a row, the process ended by signal 6 in: message"));
    }
}

#[test]
fn a_query_that_ends_the_process_twice_is_quarantined() {
    let mut engine = setup().start();
    for _ in 0..2 {
        assert!(engine.get("/peek").ends_with(" in 1001\n"));
        client::try_get(engine.address, "/abort-in-query").unwrap_err();
        engine = engine.ended().1.start();
    }
    let (status, _, reason) = engine.refusal("/abort-in-query");
    assert!(status == 500 && reason.contains("it ended the process time and again"), "{reason}");
    assert!(engine.get("/peek").ends_with(" in 1001\n"));
    let expected = "the process ended by signal 6 in: query GET \"/abort-in-query\"";
    assert!(quarantined(&engine.setup)[0].contains(expected));
}

#[test]
fn a_creation_that_ends_the_process_twice_is_quarantined() {
    let mut engine = setup().start();
    let create = |engine: &Engine, name: &str| engine.setup.run(&["rooms", "new", name, "--create", "abort"]);
    // Whatever the room is called.
    for name in ["one", "two"] {
        assert!(!create(&engine, name).status.success());
        engine = engine.ended().1.start();
    }
    let refused = create(&engine, "three");
    let reason = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && reason.contains("it ended the process time and again"), "{reason}");
    engine.setup.said(&["rooms", "new", "three", "--create", "else"]);
    assert_eq!(engine.get("/count?room=three"), "1 in 1001\n");
    let line = texts_in(&engine.setup.data().join("unborn/quarantine")).pop().unwrap();
    assert!(line.contains("2 times in a row, the process ended by signal 6 in: create on game1 1001"), "{line}");
}

#[test]
fn a_first_room_that_ends_the_process_is_no_endless_loop() {
    let mut setup = setup();
    let envs = [("MOODY_STILLBORN", "1")];
    for _ in 0..2 {
        setup = setup.start_to_die(&["serve"], &envs).ended().1;
    }
    let failure = setup.failure(&["serve"]);
    assert!(failure.contains("main") && failure.contains("it ended the process time and again"), "{failure}");
    // Another version is not to blame.
    let engine = setup.start_as(&["serve", "--logic", "plugin2.so"], &envs);
    assert_eq!(engine.get("/count"), "1 in 1002\n");
}

/// What people are told of the inputs in quarantine.
fn quarantined(setup: &Setup) -> Vec<String> {
    texts_in(&setup.data().join("rooms/main/quarantine"))
}

fn texts_in(folder: &Path) -> Vec<String> {
    let Ok(dumps) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = dumps.map(|entry| entry.unwrap().path());
    let texts = paths.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    texts.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn a_start_that_is_killed_time_and_again_loses_no_input() {
    let engine = setup().start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    assert_eq!(engine.get("/heavy"), "done\n");
    let mut setup = engine.killed();
    let at_it = setup.path("at-it");
    let kill = |setup: Setup| {
        let engine = setup.start_unheard(&["serve"], &[("MOODY_HEAVY", at_it.to_str().unwrap())]);
        engine.until("it is at it", |_| at_it.exists());
        std::fs::remove_file(&at_it).unwrap();
        engine.killed()
    };
    for _ in 0..4 {
        setup = kill(setup);
        assert_eq!(quarantined(&setup), [""; 0]);
    }
    let engine = setup.start();
    assert_eq!(engine.get("/count"), "3 in 1001\n");
    // It went well in between. But what takes all patience does not come for ever.
    let mut setup = (0..5).fold(engine.killed(), |setup, _| kill(setup));
    setup = setup.start_as(&["serve"], &[("MOODY_HEAVY", at_it.to_str().unwrap())]).killed();
    assert!(quarantined(&setup)[0].contains("5 times in a row, the process ended in: GET \"/heavy\""));
    assert_eq!(setup.start().get("/count"), "3 in 1001\n");
}

#[test]
fn a_tick_that_ends_the_process_twice_freezes_the_room() {
    // A tick may end the process before the request is written; then nobody heard of it, and only the black box knows of the tick.
    let mut setup = loop {
        let engine = setup().start();
        // What is answered is written, so the room has its folder by then.
        engine.get("/count");
        let _answer = client::try_get(engine.address, "/doom");
        let setup = engine.ended().1;
        if setup.said(&["journal", "tail", "main"]).contains("/doom") {
            break setup;
        }
    };
    // The room is whole before its first tick.
    setup = setup.start_to_die(&["serve"], &[]).ended().1;
    let engine = setup.start();
    engine.until("the room is frozen", |engine| engine.status()["rooms"][0]["state"] == "frozen");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    engine.until("it ticks on the fix", |engine| engine.status()["rooms"][0]["state"] == "running");
    assert!(engine.get("/count").ends_with("in 1002\n"));
}

/// Whoever leaves a frozen room is told that they are out, which must hold.
#[test]
fn a_leave_that_has_to_wait_outlives_the_engine() {
    for is_killed in [true, false] {
        let engine = setup().start();
        let (mut ann, mut bob) =
            (Client::open(engine.address, Transport::Tcp), Client::open(engine.address, Transport::Tcp));
        let (left, stays) = (ann.join(b"ann"), bob.join(b"bob"));
        engine.get("/spoil");
        engine.until("it freezes", |engine| engine.status()["rooms"][0]["state"] == "frozen");
        ann.send(&ClientFrame::Leave);
        assert_eq!(ann.closing_at_last().0, CloseCode::Left);
        let mut setup = match is_killed {
            true => engine.killed(),
            false => {
                engine.signal(Signal::TERM);
                engine.ended().1
            }
        };
        // A start that comes no further keeps it, too.
        for _ in 0..2 {
            setup = setup.start().killed();
        }
        let engine = setup.start();
        let mut late = Client::open(engine.address, Transport::Tcp);
        late.send(&ClientFrame::Resume { token: &left.token });
        assert_eq!(late.closing_at_last().0, CloseCode::BadToken);
        assert!(Client::open(engine.address, Transport::Tcp).resume(&stays.token).resumed);
        assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
        engine.until("one is in", |engine| engine.status()["rooms"][0]["players"] == 1);
        let tail = engine.killed().said(&["journal", "tail", "main", "-n", "1000"]);
        let lines: Vec<&str> = tail.lines().filter(|line| line.ends_with(": \"left\"")).collect();
        assert_eq!(lines.len(), 2, "{tail}");
        assert!(
            lines[0].contains(&format!("player {} has left, of which the room is still to hear", left.player)),
            "{tail}"
        );
        assert!(lines[1].contains(&format!("player {} leaves", left.player)), "{tail}");
    }
}

#[test]
fn verification_catches_what_is_not_determined() {
    for (path, expected) in
        [("/hash-map", "fickle is "), ("/clock", "fickle is "), ("/nan", "number is no number (NaN)")]
    {
        // Whether anything comes after it or not.
        for tick_hz in [50, 0] {
            let setup = Setup::new(moody(), &["game.1001.so"]).with(&format!("tick_hz = {tick_hz}"));
            let engine = setup.start();
            engine.get("/count");
            engine.get(path);
            let tick = engine.status()["rooms"][0]["tick"].as_u64().unwrap();
            let has_ticked = |engine: &Engine| engine.status()["rooms"][0]["tick"].as_u64().unwrap() > tick;
            engine.until("it ticks", |engine| tick_hz == 0 || has_ticked(engine));
            let failure = engine.killed().failure(&["replay", "--verify"]);
            let is_told = failure.starts_with("not verified: ")
                && failure.contains("at tick ")
                && failure.contains("state, row 0/0 (generation 1): ")
                && failure.contains(expected);
            assert!(is_told, "{path} at {tick_hz} Hz: {failure}");
        }
    }
    // And nothing else.
    let engine = setup().start();
    engine.get("/count");
    assert!(engine.killed().said(&["replay", "--verify"]).starts_with("verified: "));
}

#[test]
fn a_replay_shows_the_past_and_what_a_fix_would_have_changed() {
    let engine = setup().start();
    engine.get("/count");
    engine.get("/spoil");
    engine.until("it freezes", |engine| engine.status()["rooms"][0]["state"] == "frozen");
    let setup = engine.killed();
    let text = setup.said(&["replay", "--with", "plugins/plugin2.so"]);
    assert!(text.contains("does not fail where the room froze"), "{text}");
    assert!(text.contains("first difference at tick ") && text.contains("count is "), "{text}");
    let text = setup.said(&["replay", "--with", "plugins/game.1001.so"]);
    let fails = "fails, too: version 1001 failed in tick at tick ";
    assert!(text.contains(fails), "{text}");
    let dump: serde_json::Value = serde_json::from_str(&setup.said(&["replay", "--until", "0", "--dump"])).unwrap();
    assert_eq!((&dump["tick"], &dump["version"]), (&0.into(), &1001.into()));
    let tail = setup.said(&["journal", "tail", "main", "-n", "3"]);
    assert!(tail.contains("GET \"/spoil\"") && tail.contains("frozen: version 1001 failed in tick"), "{tail}");
    assert!(setup.said(&["journal", "list"]).contains("sound"));
    let failure = setup.failure(&["replay", "--room", "other"]);
    assert!(failure.ends_with("keeps no room \"other\"; it has main"), "{failure}");
    // A tick that fails by the time it has.
    let engine = self::setup().start();
    engine.get("/spoil-from-now");
    engine.until("it freezes", |engine| engine.status()["rooms"][0]["state"] == "frozen");
    let text = engine.killed().said(&["replay", "--with", "plugins/game.1001.so"]);
    assert!(text.contains(fails), "{text}");
}

#[test]
fn a_replay_changes_no_plugin_that_is_kept() {
    let engine = setup().start();
    engine.get("/count");
    let setup = engine.killed();
    let (versions, changed) = (setup.data().join("versions"), Permissions::from_mode(0o644));
    let plugin = versions.read_dir().unwrap().next().unwrap().unwrap().path();
    std::fs::set_permissions(&plugin, changed.clone()).unwrap();
    let names = || versions.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let before = (names(), plugin.metadata().unwrap().ino());
    assert!(setup.said(&["replay", "--verify"]).starts_with("verified: "));
    assert_eq!((names(), plugin.metadata().unwrap().ino()), before);
    assert_eq!(plugin.metadata().unwrap().permissions().mode() & 0o777, changed.mode());
}

#[test]
fn a_version_that_does_not_take_the_room_over_is_no_fix() {
    let engine = Setup::new(moody(), &["game.1001.so", "plugin2.so", "plugin3.so"]).start();
    engine.get("/count");
    let setup = engine.killed();
    let failure = setup.failure(&["replay", "--with", "plugins/plugin3.so"]);
    let expected = "version 1003 does not take the room over at tick 0: version 1003 failed in upgraded at tick 0, ";
    assert!(failure.starts_with(expected), "{failure}");
    let failure = setup.failure(&["replay", "--with", "plugins/plugin2.so", "--drop", "nobody"]);
    assert_eq!(failure, "nothing called \"nobody\" is lost; leave --drop nobody out");
}

/// The names of a kind of file in the room `main`.
pub(crate) fn files_of(setup: &Setup, extension: &str) -> Vec<PathBuf> {
    paths_in(setup, "main", extension)
}

fn paths_in(setup: &Setup, room: &str, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(setup.data().join("rooms").join(room)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|is| is == extension)).collect();
    paths.sort();
    paths
}

#[test]
fn a_damaged_snapshot_is_moved_aside_and_does_not_count() {
    let engine = setup().with("snapshot_interval_ms = 100").start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    engine.until("two are kept", |engine| files_of(&engine.setup, "snapshot").len() == 2);
    let setup = engine.killed();
    let newest = files_of(&setup, "snapshot").pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, &bytes).unwrap();
    assert!(setup.failure(&["journal", "check"]).contains(" is damaged in the block at byte "));
    let engine = setup.start();
    assert_eq!(engine.get("/count"), "2 in 1001\n");
    assert!(engine.log().contains(" is moved aside, to .damaged: "), "{}", engine.log());
    let aside = newest.with_added_extension("damaged");
    assert_eq!(std::fs::read(aside).unwrap(), bytes);
    engine.until("two are kept again", |engine| files_of(&engine.setup, "snapshot").len() == 2);
    let setup = engine.killed();
    assert!(setup.said(&["journal", "check"]).contains(" and 2 snapshots are sound"));
    assert_eq!(files_of(&setup, "damaged").len(), 1);
}

#[test]
fn snapshots_without_their_journal_are_no_sound_room() {
    let engine = setup().with("snapshot_interval_ms = 100").start();
    engine.until("there is one", |engine| !files_of(&engine.setup, "snapshot").is_empty());
    let setup = engine.killed();
    files_of(&setup, "journal").iter().for_each(|path| std::fs::rename(path, path.with_extension("away")).unwrap());
    let expected = " snapshots and no journal: put its journal back, or move the folder aside to do without the room";
    let failure = setup.failure(&["journal", "check"]);
    assert!(failure.starts_with("main: ") && failure.ends_with(expected), "{failure}");
    assert!(setup.failure(&["serve"]).contains(expected));
    files_of(&setup, "away").iter().for_each(|path| std::fs::rename(path, path.with_extension("journal")).unwrap());
    assert!(setup.start().get("/count").ends_with(" in 1001\n"));
}

#[test]
fn what_was_changed_in_a_room_stays_and_the_config_has_the_say_of_the_rest() {
    let change = |engine: &Engine, room: &str, change: &str| {
        assert_eq!(engine.patch(&format!("/api/v1/rooms/{room}"), change).status, 200);
    };
    let rooms = |engine: &Engine| -> Vec<(String, String)> {
        let shown = |room: &serde_json::Value| {
            let said = ["locked", "label", "players_max", "tick_hz"].map(|key| room[key].to_string());
            (room["name"].as_str().unwrap().to_owned(), said.join(" "))
        };
        engine.status()["rooms"].as_array().unwrap().iter().map(shown).collect()
    };
    let expected = |rooms: &[(&str, &str)]| -> Vec<(String, String)> {
        rooms.iter().map(|(name, said)| ((*name).to_owned(), (*said).to_owned())).collect()
    };
    let engine = setup().with("rooms = [\"main\", \"b\"]").start();
    engine.setup.said(&["rooms", "new", "duel", "--players-max", "2"]);
    change(&engine, "main", r#"{"players_max": 7, "label": "ranked"}"#);
    change(&engine, "main", r#"{"locked": true}"#);
    change(&engine, "duel", r#"{"locked": true}"#);
    // At once: what was answered is kept.
    let setup = engine.killed().with("players_max = 20");
    let engine = setup.start();
    let known = [("b", "false null 20 50"), ("duel", "true null 2 50"), ("main", "true \"ranked\" 7 50")];
    assert_eq!(rooms(&engine), expected(&known));
    change(&engine, "main", r#"{"locked": false, "label": ""}"#);
    change(&engine, "b", r#"{"locked": true}"#);
    engine.signal(Signal::TERM);
    let engine = engine.ended().1.start();
    let known = [("b", "true null 20 50"), ("duel", "true null 2 50"), ("main", "false null 7 50")];
    assert_eq!(rooms(&engine), expected(&known));
}
