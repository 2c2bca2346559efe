//! Rooms that come and go under a running engine, and how they end.

use rustix::process::Signal;
use wire::{ClientFrame, CloseCode};

use crate::players::client::{BOTH, Client, Transport};
use crate::support::{Engine, Setup, moody};

/// The names of the rooms that are listed.
fn listed(engine: &Engine, query: &str) -> Vec<String> {
    let rooms: serde_json::Value = serde_json::from_str(&engine.get(&format!("/api/v1/rooms{query}"))).unwrap();
    rooms.as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn rooms_come_and_go_while_versions_do() {
    let engine = Setup::new(moody(), &["game.1001.so", "plugin2.so"]).with("rooms = [\"lobby\", \"b\"]").start();
    assert_eq!(engine.get("/count"), "1 in 1001\n", "in the first room, for there is no main");
    assert_eq!(engine.get("/peek?room=lobby"), "1 in 1001\n");

    let duel = ["rooms", "new", "duel", "--label", "d", "--players-max", "2", "--locked"];
    assert_eq!(engine.setup.said(&duel), "opened duel: 2 seats, 20 ticks a second\n");
    assert_eq!(engine.get("/count?room=duel"), "1 in 1001\n");
    assert_eq!(listed(&engine, ""), ["lobby", "b", "duel"]);
    assert_eq!(listed(&engine, "?label=d"), ["duel"]);
    assert_eq!(listed(&engine, "?free=1"), ["lobby", "b"]);
    assert_eq!(engine.setup.said(&["rooms", "unlock", "duel"]), "duel is open\n");
    assert_eq!(listed(&engine, "?free=1"), ["lobby", "b", "duel"]);
    let taken = "there is a room duel already; give another name, or none for one that is made up";
    assert_eq!(engine.setup.failure(&duel), taken);

    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/count?room=duel"), "102 in 1002\n", "upgraded with the others");
    engine.setup.said(&["rooms", "new", "late", "--tick-hz", "0"]);
    assert_eq!(engine.get("/count?room=late"), "1 in 1002\n", "made on what is current");
    assert_eq!(engine.status()["versions"][1]["rooms"], serde_json::json!(["lobby", "b", "duel", "late"]));

    assert_eq!(engine.setup.said(&["rooms", "close", "duel"]), "duel is closed\n");
    let gone = engine.refusal("/count?room=duel");
    assert_eq!(
        gone,
        (404, "room-unknown".to_owned(), "there is no room \"duel\"; there are lobby, b, late".to_owned())
    );
    let metrics = engine.get("/metrics");
    assert!(metrics.contains("room=\"late\"") && !metrics.contains("duel"), "{metrics}");
    assert_eq!(engine.metric("hotseat_rooms"), 3);
    assert_eq!(engine.metric("hotseat_rooms_opened_total"), 4);
    assert_eq!(engine.metric("hotseat_rooms_closed_total"), 1);

    assert_eq!(engine.get("/load?name=game.1001.so"), "done\n");
    assert_eq!(engine.get("/count?room=late"), "102 in 1001\n");
    engine.setup.said(&["rooms", "new", "brief", "--dispose-when-empty", "--linger-ms", "0"]);
    engine.until("nobody comes", |engine| engine.metric("hotseat_rooms_closed_total") == 2);
    assert_eq!(listed(&engine, ""), ["lobby", "b", "late"]);
}

#[test]
fn every_room_hears_of_its_end() {
    // Where rooms are kept, they go on when the engine starts again.
    let setup = Setup::new(moody(), &["game.1001.so"]).with("rooms = [\"main\", \"b\"]");
    let engine = setup.with("durability = \"off\"").start();
    engine.setup.said(&["rooms", "new", "c"]);
    engine.setup.said(&["rooms", "new", "closed"]);
    engine.get("/count?room=c");
    engine.setup.said(&["rooms", "close", "closed"]);
    let log = engine.log();
    let told = log.find("closed is told to end in 0 ms").unwrap();
    assert!(log[told..].contains("closed ends after 0 requests"), "{log}");
    assert!(!log.contains("main is told"), "{log}");
    engine.signal(Signal::TERM);
    engine.until("it ends in order", |engine| engine.log().contains("stopped in order"));
    let log = engine.log();
    for (room, requests) in [("main", 0), ("b", 0), ("c", 1)] {
        let told = log.find(&format!("{room} is told to end in 0 ms")).unwrap_or_else(|| panic!("{room}: {log}"));
        assert!(log[told..].contains(&format!("{room} ends after {requests} requests")), "{room}: {log}");
    }
    assert_eq!(engine.ended().0, Some(0));
}

/// Joins a room by this name, which gets into the one that is given; and stays.
#[track_caller]
fn finds(engine: &Engine, transport: Transport, wanted: &str, room: &str) -> Client {
    let mut client = Client::open(engine.address, transport);
    assert_eq!(client.join_room(wanted, b"").room, room);
    client
}

#[track_caller]
fn turned_away(engine: &Engine, transport: Transport, wanted: &str, code: CloseCode, reason: &str) {
    let mut client = Client::open(engine.address, transport);
    client.send(&ClientFrame::Join { room: wanted, credentials: "", hello: b"" });
    assert_eq!(client.closing(), (code, reason.to_owned()), "{wanted}");
}

#[test]
fn players_find_and_fill_rooms_over_the_wire() {
    for transport in BOTH {
        let engine = Setup::new(moody(), &["game.1001.so"]).with("players_max = 2").start();
        for duel in ["duel-1", "duel-2"] {
            engine.setup.said(&["rooms", "new", duel, "--label", "duel", "--players-max", "1"]);
        }
        let no_place = CloseCode::NoPlace;
        let _duellists = ["duel-1", "duel-2"].map(|room| finds(&engine, transport, "*duel", room));
        turned_away(&engine, transport, "*duel", no_place, "no room labelled duel has a free seat");
        turned_away(&engine, transport, "duel-1", no_place, "the room duel-1 is full: it has 1 seats");
        let _in_main = finds(&engine, transport, "*", "main");
        engine.setup.said(&["rooms", "lock", "main"]);
        turned_away(&engine, transport, "main", no_place, "the room main is locked");
        turned_away(&engine, transport, "*", no_place, "no room has a free seat");
        engine.setup.said(&["rooms", "unlock", "main"]);
        let _in_main_too = finds(&engine, transport, "", "main");
        let unknown = "there is no room \"nowhere\"; there are main, duel-1, duel-2";
        turned_away(&engine, transport, "nowhere", CloseCode::NoSuchRoom, unknown);
    }
}

#[test]
fn rooms_come_with_the_players_who_ask_for_them_and_go_with_them() {
    let setup = Setup::new(moody(), &["game.1001.so"]).with("rooms_on_demand = true\nroom_linger_ms = 0");
    let engine = setup.with("players_max = 1\naway_grace_ms = 0").start();
    for transport in BOTH {
        let mut client = Client::open(engine.address, transport);
        let joined = client.join_room("fresh", b"");
        assert_eq!(joined.room, "fresh");
        turned_away(&engine, transport, "fresh", CloseCode::NoPlace, "the room fresh is full: it has 1 seats");
        let mut duellist = Client::open(engine.address, transport);
        let duel = duellist.join_room("*duel", b"").room;
        assert_eq!(listed(&engine, "?label=duel"), [duel]);
        client.send(&ClientFrame::Leave);
        assert_eq!(client.closing().0, CloseCode::Left);
        // This one is just gone.
        drop(duellist);
        engine.until("nobody is in them", |engine| listed(engine, "") == ["main"]);
        let mut late = Client::open(engine.address, transport);
        late.send(&ClientFrame::Resume { token: &joined.token });
        let reason = "there is no room \"fresh\"; there are main".to_owned();
        assert_eq!(late.closing(), (CloseCode::BadToken, reason));
    }
}

#[test]
fn an_operator_takes_a_player_out() {
    let engine = Setup::new(moody(), &["game.1001.so"]).start();
    for transport in BOTH {
        let mut witness = Client::open(engine.address, Transport::Tcp);
        witness.join(b"");
        let mut rude = Client::open(engine.address, transport);
        let joined = rude.join(b"");
        let player = joined.player.to_string();
        assert_eq!(witness.hear(), "joined");
        let shown = engine.setup.said(&["rooms", "players", "main"]);
        assert!(shown.lines().any(|line| line.contains(&player) && line.contains("open")), "{shown}");
        let printed = engine.setup.said(&["rooms", "kick", "main", &player, "--reason", "that is rude, & loud"]);
        assert_eq!(printed, format!("{player} is out of main\n"));
        assert_eq!(rude.closing(), (CloseCode::Kicked, "that is rude, & loud".to_owned()));
        assert_eq!(witness.hear(), "gone: that is rude, & loud", "the logic hears why");
        let mut again = Client::open(engine.address, transport);
        again.send(&ClientFrame::Resume { token: &joined.token });
        assert_eq!(again.closing().0, CloseCode::BadToken);
        let missing = engine.setup.failure(&["rooms", "kick", "main", &player]);
        assert_eq!(missing, format!("player {player} is not in the room"));
        witness.send(&ClientFrame::Leave);
        assert_eq!(witness.closing().0, CloseCode::Left);
    }
    assert_eq!(engine.metric("hotseat_closes_total{cause=\"taken-out\",code=\"4440\"}"), 2);
}
