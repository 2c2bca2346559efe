//! `engine replay` on what the binary itself has kept: where it stops, what it shows there, and how it ends.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::support::{Engine, Setup, moody};

fn setup() -> Setup {
    Setup::new(moody(), &["game.1001.so", "plugin2.so"]).with("tick_hz = 50\ndurability = \"tick\"")
}

/// Exit code, standard output and standard error of a replay in an environment.
fn replay(setup: &Setup, words: &[&str], envs: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = setup.command(&[&["replay"], words].concat()).envs(envs.iter().copied()).output().unwrap();
    let [text, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code(), text, error)
}

fn tick(engine: &Engine) -> u64 {
    engine.status()["rooms"][0]["tick"].as_u64().unwrap()
}

fn until_it_ticks(engine: &Engine) {
    let before = tick(engine);
    engine.until("it ticks", |engine| tick(engine) > before + 2);
}

/// Where the journal has the requests for `/count`: the ticks before them.
fn counts(setup: &Setup) -> Vec<u64> {
    let tail = setup.said(&["journal", "tail", "main", "-n", "100000"]);
    let lines = tail.lines().filter(|line| line.contains("GET \"/count\""));
    lines.map(|line| line.split_whitespace().nth(2).unwrap().parse().unwrap()).collect()
}

fn dumped(setup: &Setup, until: u64) -> Value {
    serde_json::from_str(&setup.said(&["replay", "--until", &until.to_string(), "--dump"])).unwrap()
}

#[track_caller]
fn check_dump(dump: &Value, tick: u64, count: usize, version: u64) {
    let found = (&dump["tick"], &dump["tables"]["state"][0]["row"]["count"], &dump["version"]);
    assert_eq!(found, (&tick.into(), &count.into(), &version.into()));
}

#[test]
fn a_room_is_shown_at_any_tick_also_after_a_rewind() {
    let engine = setup().with("probation = \"10min\"").start();
    for _ in 0..3 {
        engine.get("/count");
        until_it_ticks(&engine);
    }
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/count"), "104 in 1002\n");
    until_it_ticks(&engine);
    // The rewind comes before the next tick.
    let on_trial = tick(&engine) - 1;
    assert!(engine.get("/api/v1/rollback").contains("rewound"));
    until_it_ticks(&engine);
    let setup = engine.killed();
    let counts = counts(&setup);
    for until in [0, counts[0], counts[1] - 1, counts[1], counts[2]] {
        let count = counts.iter().filter(|tick| **tick <= until).count();
        check_dump(&dumped(&setup, until), until, count, 1001);
    }
    check_dump(&dumped(&setup, on_trial), on_trial, 104, 1002);
    // What came on trial has come on the version from before.
    let last = setup.said(&["replay", "--dump"]);
    let last: Value = serde_json::from_str(&last).unwrap();
    check_dump(&last, last["tick"].as_u64().unwrap(), 4, 1001);
    assert!(last["tick"].as_u64().unwrap() > on_trial);
    let (code, text, error) = replay(&setup, &["--until", "1000000"], &[]);
    let told = format!("the journal ends at tick {}, before 1000000\n", last["tick"]);
    assert!(code == Some(0) && text.contains(&told), "{text}{error}");
}

#[test]
fn a_tick_before_all_that_is_kept_is_refused() {
    let engine = setup().with("snapshot_interval_ms = 100").start();
    engine.get("/count");
    let first = engine.setup.data().join("rooms/main/00000000000000000001.journal");
    engine.until("the oldest records have gone", |_| !first.exists());
    engine.get("/count");
    until_it_ticks(&engine);
    let setup = engine.killed();
    let (code, text, error) = replay(&setup, &["--until", "0", "--dump"], &[]);
    let oldest = error.strip_prefix("main is kept from tick ").and_then(|rest| rest.split(' ').next());
    let oldest: u64 = oldest.unwrap_or_else(|| panic!("{text}{error}")).parse().unwrap();
    assert_eq!((code, error), (Some(1), format!("main is kept from tick {oldest} on, and --until 0 is before that\n")));
    assert!(replay(&setup, &["--until", &(oldest - 1).to_string()], &[]).2.contains(" is before that"));
    for until in oldest..oldest + 3 {
        let dump = dumped(&setup, until);
        assert_eq!(dump["tick"], until);
    }
    assert_eq!(
        setup.said(&["replay", "--verify", "--until", &oldest.to_string()]).split(' ').next(),
        Some("verified:")
    );
}

#[test]
fn a_replay_that_does_not_come_to_its_end_says_so() {
    let engine = setup().start();
    assert_eq!(engine.get("/quit"), "whole\n");
    assert_eq!(engine.get("/count"), "2 in 1001\n");
    let setup = engine.killed();
    let exits = &[("MOODY_QUIT", "exit")];
    let ends = "GET \"/quit\", body 0 bytes, record ";
    for words in [&[][..], &["--with", "plugins/plugin2.so"]] {
        let (code, text, error) = replay(&setup, words, exits);
        assert!(code == Some(0) && text.contains(" records of main "), "{words:?}: {text}{error}");
        let told = " ends the process with exit code 0; the replay goes on without it\n";
        assert!(error.starts_with(ends) && error.ends_with(told), "{words:?}: {error}");
    }
    let (code, text, error) = replay(&setup, &["--verify"], exits);
    assert_eq!((code, text.as_str()), (Some(1), ""));
    let told = " ends the process with exit code 0; --without ";
    assert!(error.starts_with(&format!("not verified: {ends}")) && error.contains(told), "{error}");
    let (code, text, error) = replay(&setup, &[], &[("MOODY_QUIT", "kill")]);
    assert_eq!((code, text.as_str()), (Some(1), ""));
    let told = format!("the replay was ended by signal 9, while it was at {ends}");
    assert!(error.starts_with(&told), "{error}");
}

#[test]
fn what_a_replay_is_to_leave_out_has_to_be_there() {
    let engine = setup().start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    let setup = engine.killed();
    let tail = setup.said(&["journal", "tail", "main", "-n", "100000"]);
    let record = tail.lines().find(|line| line.contains("GET \"/count\"")).unwrap().split_whitespace().next().unwrap();
    let told = format!("record {record} (GET \"/count\", body 0 bytes) is left out, and is passed over\n");
    for words in [&["--without", record][..], &["--verify", "--without", record]] {
        let (code, text, error) = replay(&setup, words, &[]);
        assert!(code == Some(0) && text.ends_with(&told), "{text}{error}");
    }
    let no_input_of_a_rewind = format!("{record}.1");
    let last = tail.lines().last().unwrap().split_whitespace().next().unwrap();
    for without in ["999999", &no_input_of_a_rewind] {
        for mode in [&[][..], &["--verify"], &["--with", "plugins/plugin2.so"]] {
            let (code, text, error) = replay(&setup, &[&["--without", without], mode].concat(), &[]);
            let told = format!(
                "--without {without} leaves nothing out: there is no such input among records 1 to {last}; an input that a rewind applies \
                 once more is named as RECORD.INPUT, and the rewind itself, or a confirm, cannot be left out\n"
            );
            assert_eq!((code, text, error), (Some(1), String::new(), told));
        }
    }
    let (_, text, error) = replay(&setup, &["--without", "1"], &[]);
    assert!(error.contains(" is left out, and without it there is no room\n"), "{text}{error}");
}

#[test]
fn what_a_rewind_is_to_leave_out_has_to_be_among_its_inputs() {
    let engine = setup().set("tick_hz", "0").with("probation = \"10min\"").start();
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/count"), "101 in 1002\n");
    assert_eq!(engine.get("/count"), "102 in 1002\n");
    assert!(engine.get("/api/v1/rollback").contains("rewound"));
    let setup = engine.killed();
    let tail = setup.said(&["journal", "tail", "main", "-n", "100000"]);
    let rewind = tail
        .lines()
        .find(|line| line.contains(" goes: back to before its swap"))
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    let modes = [&[][..], &["--verify"], &["--with", "plugins/plugin2.so"]];
    for mode in modes {
        let (code, text, error) = replay(&setup, &[&["--without", &format!("{rewind}.3")], mode].concat(), &[]);
        let told = format!(
            "there is no input {rewind}.3 to leave out: the rewind of record {rewind} applies inputs 1 to 2 once more\n"
        );
        assert_eq!((code, text, error), (Some(1), String::new(), told), "{mode:?}");
        let (code, text, error) = replay(&setup, &[&["--without", &format!("{rewind}.2")], mode].concat(), &[]);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{mode:?}: {text}");
    }
    let dump = setup.said(&["replay", "--without", &format!("{rewind}.2"), "--dump"]);
    let dump: Value = serde_json::from_str(&dump).unwrap();
    check_dump(&dump, 0, 1, 1001);
}

/// Files go while they are read.
#[test]
fn what_is_kept_is_looked_at_while_the_engine_runs() {
    let engine = setup().with("snapshot_interval_ms = 100").start();
    let first = engine.setup.data().join("rooms/main/00000000000000000001.journal");
    engine.until("the oldest records have gone", |_| !first.exists());
    for _ in 0..25 {
        engine.get("/count");
        assert!(engine.setup.said(&["journal", "check"]).contains(" snapshots are sound"));
        assert!(engine.setup.said(&["journal", "list"]).contains("main"));
        let (code, text, error) = replay(&engine.setup, &["--verify"], &[]);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
    }
}

/// Whoever waits for a start is told how far it is, however few the records are.
#[test]
fn a_slow_recovery_says_how_far_it_is() {
    let engine = setup().start();
    engine.until("it ticks", |engine| tick(engine) > 100);
    let engine = engine.killed().start_as(&["serve"], &[("MOODY_SLOW", "1")]);
    let log = engine.log();
    let told = log.split("recovering: ").skip(1).map(|rest| rest.split(' ').next().unwrap());
    let percents: Vec<u64> = told.map(|percent| percent.parse().unwrap()).collect();
    assert!(percents.iter().any(|percent| (1..100).contains(percent)) && percents.is_sorted(), "{percents:?}: {log}");
}

/// All that a replay shows where its standard error is a terminal.
fn shown_on_terminal(setup: &Setup, words: &[&str], envs: &[(&str, &str)]) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let its_end = File::options().write(true).open(Path::new(OsStr::from_bytes(name.as_bytes()))).unwrap();
    let mut child = {
        let mut command = setup.command(&[&["replay"], words].concat());
        // Gone with the command, so that the terminal is at its end when the child is.
        command.envs(envs.iter().copied()).stderr(its_end).stdout(Stdio::null()).spawn().unwrap()
    };
    let (mut shown, mut bytes, mut terminal) = (Vec::new(), [0; 1024], File::from(terminal));
    // A terminal that nobody has open any more cannot be read.
    while let Ok(read @ 1..) = terminal.read(&mut bytes) {
        shown.extend_from_slice(&bytes[..read]);
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8(shown).unwrap()
}

#[test]
fn a_bar_shows_on_a_terminal_how_far_a_replay_is() {
    let engine = setup().start();
    engine.until("it ticks", |engine| tick(engine) > 30);
    let (setup, slow) = (engine.killed(), [("MOODY_SLOW", "1")]);
    let shown = shown_on_terminal(&setup, &[], &slow);
    let (bars, end) = shown.rsplit_once('\r').unwrap();
    assert_eq!(end, "\u{1b}[K", "the line is clean at the end: {shown:?}");
    let mut last = (0, 0);
    let moves = bars.split('\r').skip(1).map(|bar| {
        let (marks, rest) = bar.strip_prefix('[').and_then(|bar| bar.split_once("] ")).unwrap();
        let (percent, rest) = rest.split_once(" % tick ").unwrap();
        let at: (usize, u64) = (percent.trim().parse().unwrap(), rest.trim_end().parse().unwrap());
        assert_eq!(marks, format!("{:.<30}", "#".repeat(at.0 * 30 / 100)), "{shown:?}");
        assert!(at > last && at.0 <= 100, "{shown:?}");
        last = at;
    });
    assert!(moves.count() > 2, "{shown:?}");
    // What is over in no time, and what nobody looks at, shows none.
    assert_eq!(shown_on_terminal(&setup, &["--until", "0"], &[]), "");
    let (code, text, error) = replay(&setup, &[], &slow);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
}
