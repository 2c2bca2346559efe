//! Coming, going, and coming back.

use crate::players::client::{BOTH, Client, Transport};
use crate::support::{Engine, Setup, moody};
use wire::{ClientFrame, CloseCode};

const MOODY: &[&str] = &["game.1001.so", "plugin2.so", "plugin3.so"];
const TCP: Transport = Transport::Tcp;
const WEB_SOCKET: Transport = Transport::WebSocket;

fn start(lines: &str) -> Engine {
    Setup::new(moody(), MOODY).with(lines).start()
}

fn players(engine: &Engine) -> (u64, u64) {
    let room = &engine.status()["rooms"][0];
    (room["players"].as_u64().unwrap(), room["connected"].as_u64().unwrap())
}

#[test]
fn players_play_over_both_transports() {
    let engine = start("tick_hz = 1000");
    let mut clients = BOTH.map(|transport| Client::open(engine.address, transport));
    for client in &mut clients {
        let joined = client.join(b"Ann");
        assert!(joined.player > 0 && joined.player < 1 << 53);
        assert_eq!((joined.resumed, joined.version, joined.room.as_str()), (false, 1001, "main"));
        assert_eq!(client.header.consumed, 0);
    }
    let [first, second] = &mut clients;
    assert_eq!(first.hear(), "joined");
    for number in 1..=100 {
        assert_eq!(second.ask(format!("say {number}").as_bytes()), format!("say {number}"));
        assert_eq!(second.header.consumed, number);
    }
    while first.header.tick == 0 {
        assert_eq!(first.ask(b"who"), "2 of 2");
    }
    first.send(&ClientFrame::Leave);
    assert_eq!(first.closing(), (CloseCode::Left, "the player left".to_owned()));
    assert_eq!(second.hear(), "gone: left");
    engine.until("it is shown who is there", |engine| players(engine) == (1, 1));
}

#[test]
fn messages_sent_at_once_are_answered_in_order() {
    let engine = start("frames_per_second_max = 0");
    for transport in BOTH {
        let mut client = Client::open(engine.address, transport);
        // All of it behind the Join, before its answer.
        let mut bytes = Vec::new();
        ClientFrame::Join { room: "main", credentials: "", hello: b"" }.encode(&mut bytes);
        let mut all = client.framed(&bytes);
        for number in 1..=5000_u32 {
            bytes.clear();
            ClientFrame::Message { number, bytes: &number.to_le_bytes() }.encode(&mut bytes);
            all.extend(client.framed(&bytes));
        }
        let mut writer = client.stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &all).unwrap());
        client.joined();
        assert_eq!(client.hear(), "welcome ");
        for number in 1..=5000_u32 {
            let frame = client.next().unwrap();
            assert_eq!(frame[13..], number.to_le_bytes());
            assert!(client.header.consumed >= number);
        }
        writing.join().unwrap();
    }
}

#[test]
fn what_one_read_is_answered_with_is_one_write() {
    const MESSAGES: u32 = 200;
    let engine = start("frames_per_second_max = 0\ntick_hz = 0");
    for transport in BOTH {
        let mut client = Client::open(engine.address, transport);
        client.join(b"");
        let written = || engine.metric("hotseat_socket_writes_total");
        let (before, mut all) = (written(), Vec::new());
        for number in 1..=MESSAGES {
            let mut bytes = Vec::new();
            ClientFrame::Message { number, bytes: b"x" }.encode(&mut bytes);
            all.extend(client.framed(&bytes));
        }
        client.send_bytes(&all);
        (0..MESSAGES).for_each(|_| assert_eq!(client.hear(), "x"));
        let writes = written() - before;
        assert!((1..=u64::from(MESSAGES) / 10).contains(&writes), "{writes} writes for {MESSAGES} answers");
        client.send(&ClientFrame::Leave);
        assert_eq!(client.closing().0, CloseCode::Left);
    }
}

#[test]
fn a_player_who_was_cut_off_comes_back_by_another_transport() {
    let engine = start("");
    let mut witness = Client::open(engine.address, TCP);
    witness.join(b"");
    let mut client = Client::open(engine.address, TCP);
    let joined = client.join(b"Bob");
    assert_eq!(witness.hear(), "joined");
    assert_eq!(client.ask(b"one"), "one");
    drop(client);
    assert_eq!(witness.hear(), "dropped");
    assert_eq!(witness.ask(b"who"), "1 of 2");
    let mut client = Client::open(engine.address, WEB_SOCKET);
    let again = client.resume(&joined.token);
    assert_eq!((again.player, again.resumed, client.header.consumed), (joined.player, true, 1));
    assert_eq!(again.token, joined.token);
    assert_eq!(client.hear(), "welcome back");
    assert_eq!(witness.hear(), "back");
    // What had been consumed is passed over, wherever it is sent from.
    client.send(&ClientFrame::Message { number: 1, bytes: b"one" });
    client.send(&ClientFrame::Message { number: 2, bytes: b"two" });
    assert_eq!(client.hear(), "two");
    assert_eq!(client.header.consumed, 2);
    assert_eq!(engine.metric("hotseat_duplicates_total"), 1);
}

#[test]
fn the_newest_connection_wins() {
    let engine = start("");
    let mut first = Client::open(engine.address, WEB_SOCKET);
    let joined = first.join(b"");
    let mut second = Client::open(engine.address, TCP);
    second.resume(&joined.token);
    assert_eq!(second.hear(), "welcome back");
    let (code, reason) = first.closing();
    assert_eq!((code, reason.as_str()), (CloseCode::TakenOver, "a newer connection of the same player has taken over"));
    assert_eq!(second.ask(b"who"), "1 of 1");
}

#[test]
fn who_does_not_come_back_in_time_is_out() {
    let engine = start("away_grace_ms = 50");
    let mut witness = Client::open(engine.address, TCP);
    witness.join(b"");
    let mut client = Client::open(engine.address, WEB_SOCKET);
    let joined = client.join(b"");
    assert_eq!(witness.hear(), "joined");
    drop(client);
    assert_eq!(witness.hear(), "dropped");
    assert_eq!(witness.hear(), "gone: away for too long");
    let mut client = Client::open(engine.address, WEB_SOCKET);
    client.send(&ClientFrame::Resume { token: &joined.token });
    let reason = "the player has left the room, or was never in it".to_owned();
    assert_eq!(client.closing(), (CloseCode::BadToken, reason));
}

#[test]
fn a_token_is_good_for_nothing_once_its_player_has_left() {
    let engine = start("");
    let mut client = Client::open(engine.address, TCP);
    let joined = client.join(b"");
    client.send(&ClientFrame::Leave);
    assert_eq!(client.closing().0, CloseCode::Left);
    for token in [&*joined.token, "stolen", ""] {
        let mut client = Client::open(engine.address, TCP);
        client.send(&ClientFrame::Resume { token });
        assert_eq!(client.closing().0, CloseCode::BadToken);
    }
    assert_eq!(engine.metric("hotseat_closes_total{cause=\"token-wrong\",code=\"4410\"}"), 2);
    assert_eq!(engine.metric("hotseat_closes_total{cause=\"token-of-nobody\",code=\"4410\"}"), 1);
}

#[test]
fn the_logic_may_refuse_and_fail_and_kick() {
    let engine = start("");
    for transport in BOTH {
        let mut client = Client::open(engine.address, transport);
        client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"no" });
        assert_eq!(client.closing(), (CloseCode::Refused, "not you".to_owned()));
        let mut client = Client::open(engine.address, transport);
        client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"panic" });
        let (code, reason) = client.closing();
        assert!(code == CloseCode::Failed && reason.ends_with(": the join was told to"), "{code} {reason}");
        let mut client = Client::open(engine.address, transport);
        client.send(&ClientFrame::Join { room: "nowhere", credentials: "", hello: b"" });
        assert_eq!(client.closing().0, CloseCode::NoSuchRoom);

        let mut client = Client::open(engine.address, transport);
        client.join(b"");
        client.say(b"kick");
        assert_eq!(client.closing(), (CloseCode::Kicked, "enough".to_owned()));
    }
    engine.until("nobody is left", |engine| players(engine) == (0, 0));
}

#[test]
fn a_message_that_panics_is_told_to_its_sender_and_consumed() {
    let engine = start("");
    let mut client = Client::open(engine.address, WEB_SOCKET);
    let joined = client.join(b"");
    assert_eq!(client.ask(b"count"), "1");
    client.say(b"panic");
    let (number, text) = client.error();
    assert_eq!((number, client.header.consumed), (2, 2));
    assert!(text.ends_with(": the message was told to"), "{text}");
    assert_eq!(client.ask(b"count"), "2");
    assert_eq!(client.header.consumed, 3);
    let mut again = Client::open(engine.address, TCP);
    again.resume(&joined.token);
    assert_eq!(again.header.consumed, 3);
}

#[test]
fn players_see_no_more_of_a_fault_than_operators_need_to_find_it() {
    let engine = start("tick_hz = 100\n# show_faults is not set");
    let fault = |text: &str, callback: &str| {
        let (kind, rest) = text.split_once(" at tick ").unwrap();
        assert_eq!(kind.trim_start_matches("the room is frozen: "), format!("version 1001 failed in {callback}"));
        let (_, reference) = rest.split_once(" (fault ").unwrap();
        reference.trim_end_matches("; load a fix").strip_suffix(')').unwrap().to_owned()
    };
    let is_found = |reference: &str, message: &str| {
        let found = engine.log().lines().any(|line| line.contains(reference) && line.contains(message));
        let last = &engine.status()["rooms"][0]["last_fault"];
        found && last["reference"] == reference && last["message"] == message
    };
    let mut client = Client::open(engine.address, WEB_SOCKET);
    client.join(b"");
    client.say(b"panic");
    assert!(is_found(&fault(&client.error().1, "message"), "the message was told to"));
    let mut other = Client::open(engine.address, TCP);
    other.send(&ClientFrame::Join { room: "", credentials: "", hello: b"panic" });
    assert!(is_found(&fault(&other.closing().1, "join"), "the join was told to"));
    let (status, code, reason) = engine.refusal("/panic");
    assert_eq!((status, code.as_str()), (500, "logic-fault"));
    assert!(is_found(&fault(&reason, "request"), "the request was told to"));
    client.say(b"spoil");
    assert!(is_found(&fault(&client.notice().1, "tick"), "the room is spoilt"));
    assert!(engine.refusal("/count").2.starts_with("the room main is frozen: version 1001 failed in tick at tick "));
    assert!(!engine.refusal("/count").2.contains("spoilt"));
}

#[test]
fn a_swap_is_told_and_disconnects_nobody() {
    let engine = start("tick_hz = 0");
    let mut clients = BOTH.map(|transport| Client::open(engine.address, transport));
    for client in &mut clients {
        client.join(b"");
    }
    assert_eq!(clients[0].hear(), "joined");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    for client in &mut clients {
        let (version, name) = client.version();
        assert_eq!((version, name.is_empty()), (1002, false));
        assert_eq!(client.ask(b"on"), "on");
    }
    assert_eq!(engine.refusal("/load?name=plugin3.so").0, 422);
    for client in &mut clients {
        assert_eq!(client.ask(b"nothing was heard of it"), "nothing was heard of it");
    }
}

#[test]
fn a_frozen_room_keeps_its_players_and_their_messages() {
    let engine = start("tick_hz = 100");
    let mut client = Client::open(engine.address, WEB_SOCKET);
    let joined = client.join(b"");
    client.say(b"spoil");
    let (severity, text) = client.notice();
    assert!(severity == 2 && text.contains("the room is spoilt"), "{text}");
    client.say(b"while it is frozen");
    client.say(b"count");
    // Nobody new comes in; who is in may even come back.
    let mut other = Client::open(engine.address, TCP);
    other.send(&ClientFrame::Join { room: "", credentials: "", hello: b"" });
    assert_eq!(other.closing().0, CloseCode::Failed);
    let mut again = Client::open(engine.address, TCP);
    again.resume(&joined.token);
    assert_eq!(again.header.consumed, 1);
    assert_eq!(again.notice().0, 2);
    assert_eq!(client.closing().0, CloseCode::TakenOver);
    // What the older connection had sent is sent again, as after every resume.
    again.say(b"while it is frozen");
    again.say(b"count");

    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(again.version().0, 1002);
    assert_eq!(again.notice(), (0, String::new()));
    assert_eq!(again.hear(), "welcome back");
    assert_eq!(again.hear(), "while it is frozen");
    // One for each message, and the hundred of `upgraded`.
    assert_eq!(again.hear(), "103");
    assert_eq!(again.header.consumed, 3);
}

#[test]
fn what_was_sent_before_a_leave_comes_before_it() {
    for transport in BOTH {
        let engine = start("tick_hz = 100");
        let mut witness = Client::open(engine.address, TCP);
        witness.join(b"");
        let mut client = Client::open(engine.address, transport);
        client.join(b"");
        assert_eq!(witness.hear(), "joined");
        let mut gone = Client::open(engine.address, transport);
        let joined = gone.join(b"");
        assert_eq!((witness.hear(), client.hear()), ("joined".to_owned(), "joined".to_owned()));
        witness.say(b"spoil");
        assert_eq!(witness.notice().0, 2);
        client.say(b"pour");
        client.send(&ClientFrame::Leave);
        client.say(b"pour");
        assert_eq!(client.closing_at_last(), (CloseCode::Left, "the player left".to_owned()));
        gone.send(&ClientFrame::Leave);
        assert_eq!(gone.closing_at_last(), (CloseCode::Left, "the player left".to_owned()));
        engine.until("they are seen to have gone", |engine| players(engine) == (3, 1));
        let mut again = Client::open(engine.address, transport);
        again.send(&ClientFrame::Resume { token: &joined.token });
        assert_eq!(again.closing().0, CloseCode::BadToken);
        assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
        assert_eq!(witness.version().0, 1002);
        assert_eq!(witness.notice(), (0, String::new()));
        for _ in 0..2 {
            assert_eq!(witness.hear().len(), 1 << 18, "what was sent before");
        }
        assert_eq!((witness.hear(), witness.hear()), ("gone: left".to_owned(), "gone: left".to_owned()));
        assert_eq!(witness.ask(b"who"), "1 of 1");
    }
}

#[test]
fn who_comes_and_goes_is_known_even_if_the_logic_fails_on_it() {
    let engine = start("tick_hz = 0\naway_grace_ms = 3600000");
    let mut witness = Client::open(engine.address, TCP);
    witness.join(b"");
    let mut client = Client::open(engine.address, WEB_SOCKET);
    let joined = client.join(b"");
    assert_eq!(witness.hear(), "joined");

    assert_eq!(witness.ask(b"curse drop"), "cursed");
    drop(client);
    engine.until("the drop is seen", |engine| players(engine) == (2, 1));
    assert_eq!(witness.ask(b"who"), "1 of 2", "the logic sees it too, though it failed on it");
    let mut client = Client::open(engine.address, TCP);
    client.resume(&joined.token);
    assert_eq!((client.hear(), witness.hear()), ("welcome back".to_owned(), "back".to_owned()));

    assert_eq!(witness.ask(b"curse reconnect"), "cursed");
    drop(client);
    assert_eq!(witness.hear(), "dropped");
    let mut client = Client::open(engine.address, WEB_SOCKET);
    client.resume(&joined.token);
    let (number, text) = client.error();
    assert!(number == 0 && text.ends_with(": the Reconnect is cursed"), "{number} {text}");
    assert_eq!((client.ask(b"who"), players(&engine)), ("2 of 2".to_owned(), (2, 2)));
    drop(client);
    assert_eq!(witness.hear(), "dropped");

    // Whoever leaves is out, though the logic fails on it: for it they are there still, without a connection.
    let mut client = Client::open(engine.address, WEB_SOCKET);
    client.resume(&joined.token);
    client.error();
    assert_eq!(witness.ask(b"curse leave"), "cursed");
    client.send(&ClientFrame::Leave);
    assert_eq!(client.closing().0, CloseCode::Left);
    assert_eq!((witness.hear(), witness.ask(b"who")), ("dropped".to_owned(), "1 of 2".to_owned()));
    let mut client = Client::open(engine.address, TCP);
    client.send(&ClientFrame::Resume { token: &joined.token });
    assert_eq!(client.closing().0, CloseCode::BadToken);
    // An operator can have it told again at any time.
    let id = joined.player.to_string();
    let kick = ["rooms", "kick", "main", &id, "--reason", "once more"];
    let failed = engine.setup.failure(&kick);
    let expected = format!(
        "player {id} is out and cannot come back, but the logic failed on their leave, and hears of it once more in 3600 s: "
    );
    assert!(failed.starts_with(&expected) && failed.ends_with(": the Leave is cursed"), "{failed}");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    witness.version();
    assert_eq!(engine.setup.said(&kick), format!("{id} is out of main\n"));
    assert_eq!((witness.hear(), players(&engine)), ("gone: once more".to_owned(), (1, 1)));
}

#[test]
fn a_leave_that_failed_is_tried_again_after_the_grace() {
    let engine = start("away_grace_ms = 200");
    let mut witness = Client::open(engine.address, TCP);
    witness.join(b"");
    let mut client = Client::open(engine.address, TCP);
    client.join(b"");
    assert_eq!((witness.hear(), witness.ask(b"curse leave")), ("joined".to_owned(), "cursed".to_owned()));
    client.send(&ClientFrame::Leave);
    assert_eq!((client.closing().0, witness.hear()), (CloseCode::Left, "dropped".to_owned()));
    let faults = "hotseat_faults_total{room=\"main\"}";
    engine.until("it has failed more than once", |engine| engine.metric(faults) > 2);
    assert_eq!(engine.get("/load?name=plugin2.so&confirm=1"), "done\n");
    witness.version();
    assert_eq!((witness.hear(), players(&engine)), ("gone: left".to_owned(), (1, 1)));
}

#[test]
fn a_room_that_gets_to_nobody_is_not_waited_for() {
    let engine = start("handshake_timeout_ms = 1000");
    let mut client = Client::open(engine.address, TCP);
    let joined = client.join(b"");
    client.say(b"loop");
    // The Join and the message: another connection's Join might overtake it.
    engine.until("the room has the message", |engine| engine.metric("hotseat_frames_received_total") == 2);
    let join = ClientFrame::Join { room: "", credentials: "", hello: b"" };
    let resume = ClientFrame::Resume { token: &joined.token };
    let late = BOTH.into_iter().flat_map(|transport| [(transport, &join), (transport, &resume)]);
    let late: Vec<_> = late
        .map(|(transport, first)| {
            let mut client = Client::open(engine.address, transport);
            client.send(first);
            client
        })
        .collect();
    for mut client in late {
        let reason = "the room main did not get to it within 1000 ms".to_owned();
        assert_eq!(client.closing(), (CloseCode::Failed, reason));
    }
    assert_eq!(engine.metric("hotseat_closes_total{cause=\"room-stuck\",code=\"4500\"}"), 4);
}

#[test]
fn a_notice_is_shown_to_all_until_it_is_over() {
    let engine = start("");
    let mut client = Client::open(engine.address, TCP);
    client.join(b"");
    let give = |body: &str| engine.post("/api/v1/notice", body);
    assert_eq!(give(r#"{"severity":"error","text":"E0308: mismatched types"}"#).body, "done\n");
    assert_eq!(client.notice(), (2, "E0308: mismatched types".to_owned()));
    let mut late = Client::open(engine.address, WEB_SOCKET);
    late.send(&ClientFrame::Join { room: "", credentials: "", hello: b"" });
    late.joined();
    assert_eq!(late.notice().0, 2);
    assert_eq!(give(r#"{"severity":"over"}"#).body, "done\n");
    assert_eq!(late.hear(), "welcome ");
    assert_eq!(late.notice(), (0, String::new()));
    let refused = give(r#"{"severity":"loud"}"#);
    assert!(
        refused.status == 400
            && refused.body.starts_with("the body is not the JSON that is expected: unknown variant `loud`"),
        "{refused:?}"
    );
}

#[test]
fn an_orderly_stop_is_told() {
    let engine = start("terminate_grace_ms = 0");
    let mut clients = BOTH.map(|transport| Client::open(engine.address, transport));
    for client in &mut clients {
        client.join(b"");
    }
    assert_eq!(clients[0].hear(), "joined");
    let mut silent = Client::open(engine.address, TCP);
    engine.until("all are there", |engine| engine.status()["engine"]["connections"] == 3);
    engine.signal(rustix::process::Signal::TERM);
    for client in &mut clients {
        assert_eq!(client.closing_at_last(), (CloseCode::EngineEnds, "the engine ends".to_owned()));
    }
    assert_eq!(silent.closing().0, CloseCode::EngineEnds);
    assert_eq!(engine.ended().0, Some(0));
}

#[test]
fn it_is_shown_who_plays() {
    let engine = start("ping_interval_ms = 10");
    let mut client = Client::open(engine.address, WEB_SOCKET);
    let joined = client.join(b"");
    assert_eq!(client.ask(b"one"), "one");
    let shown = || serde_json::from_str::<serde_json::Value>(&engine.get("/api/v1/rooms/main/players")).unwrap();
    let player = shown()[0].clone();
    assert_eq!(player["player"], joined.player);
    assert_eq!((player["connected"].as_bool(), player["consumed"].as_u64()), (Some(true), Some(1)));
    while !shown()[0]["rtt_us"].is_u64() {
        // Whatever the client reads before the answer: pings are among it.
        assert_eq!(client.ask(b"on"), "on");
    }
    assert!(engine.metric("hotseat_rtt_seconds_count") > 0);
    assert_eq!(engine.metric("hotseat_connections{transport=\"websocket\"}"), 1);
    assert_eq!(engine.ask("/api/v1/rooms/nowhere/players").status, 404);
    drop(client);
    engine.until("it is seen that they are gone", |_| shown()[0]["connected"] == false);
    assert_eq!(engine.metric("hotseat_connections{transport=\"websocket\"}"), 0);
}
