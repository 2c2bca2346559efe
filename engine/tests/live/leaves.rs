//! Players who have left, whose leave the logic has not taken, over restarts: they were told that they are out, and are.

use rustix::process::Signal;
use wire::{ClientFrame, CloseCode};

use crate::players::client::{Client, Transport};
use crate::support::{Engine, Setup, moody};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Killed,
    InOrder,
}

/// No grace is over before the test is.
fn setup() -> Setup {
    let settings = "tick_hz = 50\naway_grace_ms = 3600000\nterminate_grace_ms = 0";
    Setup::new(moody(), &["game.1001.so", "plugin2.so"]).with(settings)
}

fn restarted(engine: Engine, end: End) -> Engine {
    if end == End::Killed {
        return engine.killed().start();
    }
    engine.signal(Signal::TERM);
    let (code, setup) = engine.ended();
    assert_eq!(code, Some(0));
    setup.start()
}

/// Players, and how many of them are connected.
fn players(engine: &Engine) -> (u64, u64) {
    let room = &engine.status()["rooms"][0];
    (room["players"].as_u64().unwrap(), room["connected"].as_u64().unwrap())
}

/// Waits for a snapshot in which everything is that happened so far.
fn until_snapshot(engine: &Engine) {
    let tail = engine.setup.said(&["journal", "tail", "main", "-n", "1"]);
    let last: u64 = tail.split_whitespace().next().unwrap().parse().unwrap();
    let newest = || {
        let files = std::fs::read_dir(engine.setup.data().join("rooms/main")).unwrap();
        let paths = files.filter_map(Result::ok).map(|file| file.path());
        let snapshots = paths.filter(|path| path.extension().is_some_and(|kind| kind == "snapshot"));
        snapshots.filter_map(|path| path.file_stem()?.to_str()?.parse::<u64>().ok()).max()
    };
    engine.until("a snapshot is made", |engine| {
        // A frozen room does nothing by itself.
        engine.get("/peek");
        newest().is_some_and(|seq| seq >= last)
    });
}

#[track_caller]
fn check_is_out(engine: &Engine, token: &str) {
    let mut client = Client::open(engine.address, Transport::WebSocket);
    client.send(&ClientFrame::Resume { token });
    let reason = "the player has left the room, or was never in it".to_owned();
    assert_eq!(client.closing_at_last(), (CloseCode::BadToken, reason));
}

fn check_failed(end: End, has_snapshot_between: bool) {
    let interval = if has_snapshot_between { 100 } else { 3_600_000 };
    let mut engine = setup().with(&format!("snapshot_interval_ms = {interval}")).start();
    let mut clients = [(); 3].map(|()| Client::open(engine.address, Transport::Tcp));
    let joined = clients.each_mut().map(|client| client.join(b""));
    let [witness, left, kicked] = &mut clients;
    assert_eq!([witness.hear(), witness.hear(), witness.ask(b"curse leave")], ["joined", "joined", "cursed"]);
    left.send(&ClientFrame::Leave);
    assert_eq!(left.closing_at_last().0, CloseCode::Left);
    let id = joined[2].player.to_string();
    let failed = engine.setup.failure(&["rooms", "kick", "main", &id, "--reason", "enough"]);
    assert!(failed.contains("the logic failed on their leave, and hears of it once more in 3600 s"), "{failed}");
    assert_eq!(kicked.closing_at_last().0, CloseCode::Kicked);
    // And what a start has found is not lost by the next.
    for _ in 0..2 {
        if has_snapshot_between {
            until_snapshot(&engine);
        }
        engine = restarted(engine, end);
        joined[1..].iter().for_each(|joined| check_is_out(&engine, &joined.token));
        let mut witness = Client::open(engine.address, Transport::Tcp);
        witness.resume(&joined[0].token);
        // It fails once more, so for the logic they are in.
        assert_eq!([witness.hear(), witness.ask(b"who")], ["welcome back", "1 of 3"]);
    }
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    engine = restarted(engine, end);
    // This version has let go of them, and nobody is shown the room from before that.
    assert_eq!(players(&engine), (1, 0));
    joined[1..].iter().for_each(|joined| check_is_out(&engine, &joined.token));
}

#[test]
fn whoever_has_left_is_out_after_a_kill_though_the_logic_failed_on_it() {
    check_failed(End::Killed, false);
}

#[test]
fn whoever_has_left_is_out_after_an_orderly_end_though_the_logic_failed_on_it() {
    check_failed(End::InOrder, false);
}

#[test]
fn a_snapshot_knows_of_leaves_that_the_logic_failed_on() {
    check_failed(End::Killed, true);
}

/// Frozen for days, a room would start from where it was before, and keep all its segments.
#[test]
fn a_leave_that_waits_holds_up_no_snapshot() {
    for end in [End::Killed, End::InOrder] {
        let engine = setup().with("snapshot_interval_ms = 100").start();
        let mut clients = [(); 2].map(|()| Client::open(engine.address, Transport::Tcp));
        let joined = clients.each_mut().map(|client| client.join(b""));
        let [witness, left] = &mut clients;
        assert_eq!(witness.hear(), "joined");
        witness.say(b"spoil");
        assert_eq!(witness.notice().0, 2);
        left.send(&ClientFrame::Leave);
        assert_eq!(left.closing_at_last().0, CloseCode::Left);
        until_snapshot(&engine);
        let engine = restarted(engine, end);
        check_is_out(&engine, &joined[1].token);
        let mut witness = Client::open(engine.address, Transport::Tcp);
        witness.resume(&joined[0].token);
        assert_eq!(witness.notice().0, 2);
        assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
        assert_eq!((witness.version().0, witness.notice().0), (1002, 0));
        assert_eq!([witness.hear(), witness.hear()], ["gone: left", "welcome back"]);
        assert_eq!(witness.ask(b"who"), "1 of 1");
    }
}
