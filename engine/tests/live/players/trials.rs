//! What players see of a version on trial that is taken back.

use wire::{ClientFrame, CloseCode};

use crate::players::client::{BOTH, Client, Transport};
use crate::support::{Engine, Setup, moody};

/// On 1002; 1001 is the version that will not stay.
fn start() -> Engine {
    let setup = Setup::new(moody(), &["game.1002.so", "plugin1.so"]);
    setup.with("probation = \"10min\"\ntick_hz = 0").start()
}

#[test]
fn nobody_is_disconnected_and_what_players_did_stays() {
    let engine = start();
    let mut clients = BOTH.map(|transport| Client::open(engine.address, transport));
    clients.iter_mut().for_each(|client| drop(client.join(b"")));
    let [mut one, mut two] = clients;
    assert_eq!(one.hear(), "joined");
    assert_eq!(one.ask(b"before"), "before");
    assert_eq!(engine.get("/load?name=plugin1.so"), "done\n");
    // What it does is seen at once, on trial or not.
    for client in [&mut one, &mut two] {
        assert_eq!(client.version().0, 1001);
    }
    assert_eq!(one.ask(b"since"), "since");
    assert_eq!(one.ask(b"odd"), "odd", "only 1001 takes it");
    assert_eq!(one.ask(b"count"), "104");
    let mut late = Client::open(engine.address, Transport::Tcp);
    let joined = late.join(b"late");
    for client in [&mut one, &mut two] {
        assert_eq!(client.hear(), "joined");
    }
    assert_eq!(late.ask(b"me too"), "me too");

    two.say(b"panic");
    let (number, text) = two.error();
    assert!(number == 1 && text.ends_with(": the message was told to"), "{text}");
    for client in [&mut one, &mut two, &mut late] {
        assert_eq!(client.resync(), (1002, "a version was taken back".to_owned()));
    }
    // Of the past once more nothing is heard; what is lost is told to its sender, and counts as consumed.
    let (number, text) = one.error();
    assert_eq!((number, one.header.consumed), (3, 4));
    assert!(text.starts_with("the version that took it was taken back"), "{text}");
    assert_eq!(one.ask(b"count"), "5", "before, since, the count of then, me too, and this one");
    assert_eq!((one.header.consumed, two.ask(b"on"), two.header.consumed), (5, "on".to_owned(), 2));
    // Whoever joined during the trial is in, and could come back.
    let mut again = Client::open(engine.address, Transport::WebSocket);
    assert!(again.resume(&joined.token).resumed);
    assert_eq!(again.header.consumed, 1);
    assert_eq!(again.hear(), "welcome back");
}

#[test]
fn whom_only_the_version_on_trial_let_in_is_told_to_join_again() {
    let engine = start();
    assert_eq!(engine.get("/load?name=plugin1.so"), "done\n");
    let mut odd = Client::open(engine.address, Transport::WebSocket);
    odd.join(b"odd");
    assert_eq!(engine.get("/api/v1/rollback"), "rewound\n");
    let (code, reason) = odd.closing();
    assert_eq!((code, reason.as_str()), (CloseCode::BadToken, "the room went back to before the player joined"));
    let mut odd = Client::open(engine.address, Transport::Tcp);
    odd.send(&ClientFrame::Join { room: "", credentials: "", hello: b"odd" });
    assert_eq!(odd.closing(), (CloseCode::Refused, "you are odd".to_owned()));
}

#[test]
fn players_of_a_room_that_the_version_froze_play_on() {
    let setup = Setup::new(moody(), &["game.1002.so", "plugin1.so"]);
    let engine = setup.with("probation = \"10min\"\ntick_hz = 100").start();
    let mut client = Client::open(engine.address, Transport::WebSocket);
    client.join(b"");
    assert_eq!(engine.get("/load?name=plugin1.so"), "done\n");
    assert_eq!(client.version().0, 1001);
    client.say(b"spoil");
    let (severity, text) = client.notice();
    assert!(severity == 2 && text.contains("the room is spoilt"), "{text}");
    assert_eq!(client.resync().0, 1002);
    assert_eq!(client.notice(), (0, String::new()));
    assert_eq!(client.ask(b"count"), "2");
}

#[test]
fn what_a_room_that_is_frozen_again_has_lost_stays_consumed() {
    let setup = Setup::new(moody(), &["game.1001.so", "plugin2.so"]);
    let engine = setup.with("probation = \"10min\"\ntick_hz = 100").start();
    let mut client = Client::open(engine.address, Transport::WebSocket);
    let joined = client.join(b"");
    client.say(b"spoil");
    assert_eq!(client.notice().0, 2);
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(client.version().0, 1002);
    assert_eq!(client.notice(), (0, String::new()));
    assert_eq!(client.ask(b"one"), "one");
    assert_eq!(client.ask(b"two"), "two");
    assert_eq!(engine.get("/api/v1/rollback"), "rewound\n");
    assert_eq!(client.resync().0, 1001);
    for number in [2, 3] {
        assert_eq!((client.error().0, client.header.consumed), (number, 3));
    }
    assert_eq!(client.notice().0, 2);
    // Waits for the fix, and is in order then.
    client.say(b"three");
    assert_eq!(engine.get("/load?name=plugin2.so&force=1"), "done\n");
    assert_eq!(client.version().0, 1002);
    assert_eq!(client.notice(), (0, String::new()));
    assert_eq!((client.hear(), client.header.consumed), ("three".to_owned(), 4));
    // Killed on trial, it is frozen again, and has lost that, too.
    let engine = engine.killed().start();
    let log = engine.log();
    assert!(log.contains("the room is frozen: version 1001 failed in tick"), "{log}");
    let mut again = Client::open(engine.address, Transport::Tcp);
    assert!(again.resume(&joined.token).resumed);
    assert_eq!(again.header.consumed, 4);
}
