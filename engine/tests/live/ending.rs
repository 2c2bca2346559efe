//! SIGTERM and Ctrl-C, in the middle of things; and what the system gives no more of.

use std::net::TcpStream;

use crate::support::{Engine, Setup, moody};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

#[test]
fn ctrl_c_ends_in_order() {
    let engine = Setup::new(moody(), &["game.1001.so"]).with("rooms = [\"main\", \"b\", \"c\"]").start();
    engine.get("/count");
    engine.signal(Signal::INT);
    assert_eq!(engine.ended().0, Some(0));
}

#[test]
fn a_closed_terminal_ends_it_in_order_but_under_nohup() {
    let engine = Setup::new(moody(), &["game.1001.so"]).start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    // As this test was started, so is what it starts.
    let is_under_nohup = ignored_by(std::process::id()) >> (Signal::HUP.as_raw() - 1) & 1 == 1;
    engine.signal(Signal::HUP);
    engine.signal(Signal::HUP);
    if is_under_nohup {
        assert_eq!(engine.get("/count"), "2 in 1001\n");
        engine.signal(Signal::TERM);
    }
    assert_eq!(engine.ended().0, Some(0));
}

#[test]
fn a_frozen_room_does_not_hold_the_end_up() {
    let engine = Setup::new(moody(), &["game.1001.so"]).with("tick_hz = 100").start();
    engine.get("/spoil");
    engine.until("the next tick panics", |engine| engine.status()["rooms"][0]["state"] == "frozen");
    engine.signal(Signal::TERM);
    assert_eq!(engine.ended().0, Some(0));
}

#[test]
fn a_load_that_waits_when_the_stop_begins_is_refused() {
    let files = ["game.1001.so", "plugin2.so", "plugin4.so"];
    // The stop waits for the first however long that has to wait for a core.
    let limits = "probe_timeout_ms = 5000\nrequest_timeout_ms = 60000";
    let engine = Setup::new(moody(), &files).with(limits).start();
    let slow = engine.begin("/load?name=plugin4.so", "*/*");
    engine.until("the first is under way", |engine| engine.metric("hotseat_loads_under_way") == 1);
    let waiting = engine.begin("/load?name=plugin2.so", "*/*");
    engine.until("the second waits", |engine| engine.metric("hotseat_loads_under_way") == 2);
    engine.signal(Signal::TERM);
    let (slow, waiting) = (slow.end(), waiting.end());
    let expected = "plugin4.so: did not return from upgraded within 5 s, in the room main: a loop?\n";
    assert_eq!((slow.status, slow.body.as_str()), (422, expected));
    let expected = "the engine is stopping and loads nothing any more\n";
    assert_eq!((waiting.status, waiting.body.as_str()), (503, expected));
    assert_eq!(engine.ended().0, Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let engine = Setup::new(moody(), &["game.1001.so", "plugin4.so"]).start();
    let slow = engine.begin("/load?name=plugin4.so", "*/*");
    engine.until("it is under way", |engine| engine.metric("hotseat_loads_under_way") == 1);
    engine.signal(Signal::TERM);
    engine.until("the stop has begun", |engine| engine.log().contains("stopping in order"));
    engine.signal(Signal::TERM);
    assert_eq!(engine.ended().0, Some(128 + Signal::TERM.as_raw()));
    drop(slow);
}

/// The system's own way is a signal that ends the process without a word.
#[test]
fn a_journal_that_may_not_become_longer_ends_the_engine_with_the_reason() {
    let engine = Setup::new(moody(), &["game.1001.so"]).with("tick_hz = 1000").start();
    // Its files are there once it has acknowledged something.
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    limit(&engine, Resource::Fsize, 1 << 16);
    let (code, setup) = engine.ended();
    let log = std::fs::read_to_string(setup.path("log")).unwrap();
    assert_eq!(code, Some(74), "{log}");
    assert!(log.contains(".journal failed: File too large (os error 27); the engine stops: see to the disk"), "{log}");
    // Where it may, it goes on.
    assert_eq!(setup.start().get("/count"), "2 in 1001\n");
}

#[test]
fn a_plugin_that_may_not_be_copied_is_refused_and_the_rooms_play_on() {
    let files = ["game.1001.so", "plugin2.so"];
    let engine = Setup::new(moody(), &files).with("durability = \"off\"").start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    limit(&engine, Resource::Fsize, 1 << 16);
    let (status, _, reason) = engine.refusal("/load?name=plugin2.so");
    assert!(status == 503 && reason.contains("File too large (os error 27)"), "{status} {reason}");
    assert_eq!(engine.get("/count"), "2 in 1001\n");
    // What is ignored is so in every program that is started, and none asked for it.
    let ignored = ignored_by(engine.pid());
    assert_eq!(ignored >> (Signal::XFSZ.as_raw() - 1) & 1, 0, "{ignored:x}");
}

/// A segment that cannot be begun would end the engine.
#[test]
fn connections_leave_the_journal_the_files_that_it_needs() {
    const FILES_MAX: u64 = 200;
    let settings = "snapshot_interval_ms = 100\nhandshake_timeout_ms = 600000";
    let engine = Setup::new(moody(), &["game.1001.so"]).with(settings).start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    limit(&engine, Resource::Nofile, FILES_MAX);
    let crowd: Vec<_> = (0..FILES_MAX).map(|_| TcpStream::connect(engine.address).unwrap()).collect();
    engine.until("nobody is let in", |engine| engine.log().contains("nobody is let in: as many files are open"));
    let segments = || {
        let names = engine.setup.path("data/rooms/main").read_dir().unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".journal")).max()
    };
    let before = segments();
    engine.until("another segment is begun", |_| segments() > before);
    let descriptors = engine.descriptors() as u64;
    assert!(descriptors < FILES_MAX * 4 / 5, "{descriptors} are open");
    drop(crowd);
    assert_eq!(engine.get("/count"), "2 in 1001\n");
    engine.signal(Signal::TERM);
    assert_eq!(engine.ended().0, Some(0));
}

/// The signals that a process takes no notice of, a bit for each, from number 1 on.
fn ignored_by(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    u64::from_str_radix(ignored, 16).unwrap()
}

fn limit(engine: &Engine, of: Resource, most: u64) {
    let pid = Pid::from_raw(engine.pid().cast_signed()).unwrap();
    prlimit(Some(pid), of, Rlimit { current: Some(most), maximum: Some(most) }).unwrap();
}
