//! Versions that misbehave when a snapshot is opened under them: `engine snapshot --with` tells of it, and is not harmed.

use std::{fs, path::Path};

use saboteurs::deeds::{ABORT, ALLOCATE, EXIT, LOOP, PANIC, PRINT, RECURSE, THREAD};

use super::plugins::{good, saboteur};
use crate::support::Setup;

/// What engines have left: a snapshot of a room for each of these marks, and a plugin.
fn kept(marks: &[u64], plugin: &str) -> Setup {
    let names: Vec<String> = marks.iter().map(|mark| format!("\"{mark}\"")).collect();
    let setup = Setup::new(Path::new(""), &[]).with("logic = \"base.so\"").with("tick_hz = 0");
    fs::write(setup.plugins().join("base.so"), good(1001, "game1")).unwrap();
    fs::write(setup.plugins().join("bad.so"), saboteur(plugin)).unwrap();
    let engine = setup.with(&format!("rooms = [{}]", names.join(", "))).start();
    for mark in marks {
        assert_eq!(engine.get(&format!("/only/{mark}?room={mark}")), "1 marks\n");
    }
    engine.signal(rustix::process::Signal::TERM);
    let (code, setup) = engine.ended();
    assert_eq!(code, Some(0));
    for folder in ["tmp", "dumps"] {
        fs::create_dir(setup.path(folder)).unwrap();
    }
    setup
}

/// Opens the room's snapshot under the plugin and has it written to a file. What is told, and what is in the file.
#[track_caller]
fn open(setup: &Setup, mark: u64) -> (Result<String, String>, Option<String>) {
    let folder = setup.data().join(format!("rooms/{mark}"));
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = files.filter(|path| path.extension().is_some_and(|kind| kind == "snapshot")).max().unwrap();
    let dump = setup.path(&format!("dumps/{mark}"));
    let [shown, to] = [&file, &dump].map(|path| path.to_str().unwrap());
    let mut command = setup.command(&["snapshot", shown, "--with", "plugins/bad.so", "--dump", to]);
    let output = command.env("TMPDIR", setup.path("tmp")).output().unwrap();
    assert_eq!(fs::read_dir(setup.path("tmp")).unwrap().count(), 0, "nothing stays behind");
    let neutral = |bytes| String::from_utf8(bytes).unwrap().replace(&*file.to_string_lossy(), "FILE");
    let [stdout, stderr] = [output.stdout, output.stderr].map(neutral);
    let told = match output.status.code() {
        Some(0) if stderr.is_empty() => Ok(stdout),
        Some(1) if stdout.is_empty() => Err(stderr),
        code => panic!("ended with {code:?}: {stdout}{stderr}"),
    };
    (told, fs::read_to_string(dump).ok())
}

/// Gives what the plugin printed.
#[track_caller]
fn check_refused(setup: &Setup, mark: u64, reason: &str) -> String {
    let (told, dump) = open(setup, mark);
    let told = told.unwrap_err();
    let (line, rest) = told.split_once('\n').unwrap();
    assert_eq!((line, dump), (&*format!("FILE does not open under saboteurs 1000: {reason}"), None));
    assert!(rest.lines().all(|line| line.starts_with("it printed: ")), "{told}");
    rest.to_owned()
}

#[test]
fn an_upgrade_that_ends_its_process_is_told() {
    let setup = kept(&[ABORT, EXIT, RECURSE, ALLOCATE, PANIC, THREAD, PRINT], "upgraded_misbehaves");
    check_refused(&setup, ABORT, "crashed in upgraded, in the room 101: signal 6 (SIGABRT)");
    check_refused(&setup, EXIT, "called exit(0) in upgraded, in the room 102");
    let printed =
        check_refused(&setup, RECURSE, "overflowed its stack in upgraded, in the room 104: recursion without end?");
    assert!(printed.contains("has overflowed its stack\n"), "{printed}");
    check_refused(&setup, ALLOCATE, "ran out of memory in upgraded, in the room 105: a rehearsal has 4 GiB");
    let place = "engine/tests/saboteurs/examples/../src/deeds.rs:58:18";
    check_refused(
        &setup,
        PANIC,
        &format!("in the room 109: version 1000 failed in upgraded at tick 0, {place}: as it was told"),
    );
    let thread = "starts a thread of its own: logic has no threads (it has 1 after upgraded)";
    check_refused(&setup, THREAD, thread);

    // The end of what it prints is told in its place.
    let (told, dump) = open(&setup, PRINT);
    let told = told.unwrap();
    let (before, after) = told.split_once("under saboteurs 1000:\nthe tables stay as they are\n").unwrap();
    let (printed, after) = after.split_once("opened: ").unwrap();
    let last = "it printed: line 3999 of many that nobody asked for\n";
    assert!(printed.lines().count() == 8 && printed.ends_with(last), "{told}");
    assert!(before.ends_with("\n  marks: 1 rows of 8 bytes\n") && after.ends_with("/dumps/110\n"), "{told}");
    let dump: serde_json::Value = serde_json::from_str(&dump.unwrap()).unwrap();
    let marks: Vec<_> = dump["tables"]["marks"].as_array().unwrap().iter().map(|mark| &mark["row"]["number"]).collect();
    assert_eq!((marks, &dump["frozen"]), (vec![&PRINT.into(), &1.into()], &serde_json::Value::Null));
}

#[test]
fn a_migration_that_ends_its_process_is_told() {
    let setup = kept(&[ABORT, EXIT, RECURSE, PANIC], "migration_misbehaves");
    check_refused(&setup, ABORT, "crashed in a migration of marks, in the room 101: signal 6 (SIGABRT)");
    check_refused(&setup, EXIT, "called exit(0) in a migration of marks, in the room 102");
    check_refused(
        &setup,
        RECURSE,
        "overflowed its stack in a migration of marks, in the room 104: recursion without end?",
    );
    let place = "engine/tests/saboteurs/examples/../src/deeds.rs:58:18";
    let reason = format!("in the room 109: Mark.weight: the migration panicked at row 0: as it was told, {place}");
    check_refused(&setup, PANIC, &reason);
}

#[test]
fn what_never_returns_is_ended() {
    let setup = kept(&[LOOP], "upgraded_misbehaves").set("probe_timeout_ms", "5000");
    check_refused(&setup, LOOP, "did not return from upgraded within 5 s, in the room 103: a loop?");
    let setup = kept(&[LOOP], "migration_misbehaves").with("rewrite_timeout_ms = 300");
    let reason = "the tables of the room 103 were not rewritten within 0.3 s (rewrite_timeout_ms): a migration of marks does not return, or \
                  there is too much of them";
    check_refused(&setup, LOOP, reason);
}

/// Its constructor prints: where it is mapped into the command, that is on standard output.
#[test]
fn nothing_of_the_plugin_gets_into_the_command() {
    let setup = kept(&[0], "prints");
    let (told, dump) = open(&setup, 0);
    let told = told.unwrap();
    assert!(told.starts_with("0 at tick 0, by game1 1001, ") && dump.is_some(), "{told}");
}
