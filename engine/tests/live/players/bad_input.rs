//! What no client sends: each gets a word that says why, and nobody else is disturbed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use logic_api::Rng;
use wire::{ClientFrame, CloseCode, EngineFrame, tcp};

use crate::players::client::{BOTH, Client, Transport, web_socket_frame};
use crate::players::witness::{CONNECTIONS, QUIET, Witness};
use crate::support::{Engine, Setup, moody};

/// What the engine may grow by while it is sent what it must not keep.
const GROWTH_MAX: u64 = 32 << 20;

fn start(lines: &str) -> Engine {
    Setup::new(moody(), &["game.1001.so", "plugin2.so"]).with(QUIET).with(lines).start()
}

fn frame(frame: &ClientFrame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

fn rss(engine: &Engine) -> u64 {
    engine.status()["engine"]["rss_bytes"].as_u64().unwrap()
}

fn closes(engine: &Engine, cause: &str, code: CloseCode) -> u64 {
    engine.metric(&format!("hotseat_closes_total{{cause=\"{cause}\",code=\"{code}\"}}"))
}

/// These bytes, behind a Join where `joins`, end the connection with this code, and are counted with this cause.
#[track_caller]
fn check(engine: &Engine, transport: Transport, joins: bool, bytes: &[u8], code: CloseCode, cause: &str) {
    let metric = format!("hotseat_closes_total{{cause=\"{cause}\",code=\"{code}\"}}");
    let count = |engine: &Engine| {
        let text = engine.get("/metrics");
        text.lines().find_map(|line| line.strip_prefix(&*metric)?.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let before = count(engine);
    let mut client = Client::open(engine.address, transport);
    if joins {
        client.join(b"");
    }
    client.send_bytes(bytes);
    let (found, reason) = client.closing_at_last();
    assert_eq!((found, count(engine)), (code, before + 1), "{cause}: {reason}");
}

#[test]
fn frames_that_are_none_are_told_apart() {
    let engine = start("frame_bytes_max = 1000");
    let mut witness = Witness::new(&engine);
    let before = rss(&engine);
    let long = frame(&ClientFrame::Message { number: 1, bytes: &[0; 1000] });
    let whole = [
        (true, frame(&ClientFrame::Ping(1))[..5].to_vec(), CloseCode::BadFrame, "frame-cut"),
        (true, vec![0x7f], CloseCode::BadFrame, "kind-unknown"),
        (true, Vec::new(), CloseCode::BadFrame, "frame-empty"),
        (true, vec![0x06, 0], CloseCode::BadFrame, "frame-overfull"),
        (false, vec![0x02, 0xff], CloseCode::BadFrame, "not-utf8"),
        (false, frame(&ClientFrame::Ping(1)), CloseCode::BadFrame, "not-joined"),
        (false, [&[0x01, 65][..], &[b'a'; 65], &[0, 0]].concat(), CloseCode::BadFrame, "part-too-long"),
        (true, frame(&ClientFrame::Resume { token: "" }), CloseCode::BadFrame, "joined-twice"),
        (true, frame(&ClientFrame::Message { number: 2, bytes: b"" }), CloseCode::BadFrame, "number-unexpected"),
        (true, frame(&ClientFrame::Message { number: 0, bytes: b"" }), CloseCode::BadFrame, "number-unexpected"),
        (true, long, CloseCode::FrameTooLong, "frame-too-long"),
        (false, frame(&ClientFrame::Resume { token: "AAAA" }), CloseCode::BadToken, "token-wrong"),
    ];
    for transport in BOTH {
        for (joins, bytes, code, cause) in &whole {
            let mut framed = Vec::new();
            match transport {
                Transport::Tcp => tcp::frame(&mut framed, |to| to.extend_from_slice(bytes)),
                Transport::WebSocket => framed = web_socket_frame(0x82, bytes),
            }
            check(&engine, transport, *joins, &framed, *code, cause);
        }
    }
    // A length that is only announced.
    check(&engine, Transport::Tcp, true, &u32::MAX.to_le_bytes(), CloseCode::FrameTooLong, "frame-too-long");
    let mut client = Client::bare(engine.address, Transport::Tcp);
    client.send_bytes(b"\0HS\x02");
    assert_eq!(client.closing().0, CloseCode::BadFrame);
    assert_eq!(closes(&engine, "preamble-wrong", CloseCode::BadFrame), 1);
    witness.is_undisturbed();
    assert!(rss(&engine) < before + GROWTH_MAX);
}

#[test]
fn web_socket_frames_that_break_its_rules_are_told_apart() {
    let engine = start("frame_bytes_max = 1000");
    let mut witness = Witness::new(&engine);
    let before = rss(&engine);
    let ping = frame(&ClientFrame::Ping(1));
    let fragment = |first: u8| web_socket_frame(first, &ping);
    let huge = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let many: Vec<u8> = (0..20).flat_map(|n| web_socket_frame(if n == 0 { 0x02 } else { 0x00 }, &[3; 100])).collect();
    for (bytes, code, cause) in [
        (web_socket_frame(0x81, b"text"), CloseCode::BadFrame, "text"),
        (vec![0x82, 9, 4, 1, 0, 0, 0, 0, 0, 0, 0], CloseCode::BadFrame, "unmasked"),
        (fragment(0xc2), CloseCode::BadFrame, "reserved-bits"),
        (fragment(0x83), CloseCode::BadFrame, "opcode-unknown"),
        (fragment(0x80), CloseCode::BadFrame, "continuation"),
        ([fragment(0x02), fragment(0x82)].concat(), CloseCode::BadFrame, "interleaved"),
        (fragment(0x09), CloseCode::BadFrame, "control-fragmented"),
        (web_socket_frame(0x88, b"\x03\xe8\xff\xfe"), CloseCode::BadFrame, "not-utf8"),
        (huge.to_vec(), CloseCode::FrameTooLong, "frame-too-long"),
        (many, CloseCode::FrameTooLong, "frame-too-long"),
    ] {
        check(&engine, Transport::WebSocket, true, &bytes, code, cause);
    }
    // What is odd but allowed: fragments with a ping between them, one byte at a time.
    let mut client = Client::open(engine.address, Transport::WebSocket);
    client.join(b"");
    let message = frame(&ClientFrame::Message { number: 1, bytes: b"in pieces" });
    let (start, end) = message.split_at(4);
    let bytes = [web_socket_frame(0x02, start), web_socket_frame(0x89, b"?"), web_socket_frame(0x80, end)].concat();
    bytes.chunks(1).for_each(|byte| client.send_bytes(byte));
    assert_eq!(client.hear(), "in pieces");
    client.send_bytes(&web_socket_frame(0x88, b"\x03\xe8bye"));
    while client.next_raw().is_some() {}
    witness.is_undisturbed();
    assert!(rss(&engine) < before + GROWTH_MAX);
}

#[test]
fn a_token_is_its_bearers_and_one_that_was_made_up_is_nobodys() {
    let (engine, other) = (start(""), start(""));
    let mut witness = Witness::new(&engine);
    let mut owner = Client::open(engine.address, Transport::Tcp);
    let joined = owner.join(b"owner");
    let foreign = Client::open(other.address, Transport::Tcp).join(b"").token;
    let others = joined.token.replace(char::is_uppercase, "a");
    for transport in BOTH {
        for token in [&*foreign, &joined.token[1..], &format!("{}A", joined.token), &others, "", &"A".repeat(256)] {
            let mut client = Client::open(engine.address, transport);
            client.send(&ClientFrame::Resume { token });
            let reason = "the token is none of this engine's".to_owned();
            assert_eq!(client.closing(), (CloseCode::BadToken, reason));
        }
        // Stolen, it is as good as its owner, who is told at once, and need not wait until something is missing.
        let mut thief = Client::open(engine.address, transport);
        assert_eq!(thief.resume(&joined.token).player, joined.player);
        let reason = "a newer connection of the same player has taken over".to_owned();
        assert_eq!(owner.closing_at_last(), (CloseCode::TakenOver, reason));
        owner = thief;
    }
    assert_eq!(closes(&engine, "token-wrong", CloseCode::BadToken), 12);
    assert_eq!(closes(&engine, "taken-over", CloseCode::TakenOver), 2);
    witness.is_undisturbed();
}

/// Frames of any kind that a player in the room may send, each with what it takes to send it.
fn good_frames(client: &Client, count: u64, rng: &mut Rng) -> (Vec<Vec<u8>>, Vec<bool>) {
    let mut number = 0;
    let mut are_pings = Vec::new();
    let frames = (0..count).map(|_| {
        let kind = rng.below(3);
        are_pings.push(kind == 0);
        let payload = noise(rng, 40);
        client.framed(&frame(&match kind {
            0 => ClientFrame::Ping(rng.next_u64()),
            1 => ClientFrame::Pong(rng.next_u64()),
            _ => {
                number += 1;
                ClientFrame::Message { number, bytes: &payload }
            }
        }))
    });
    (frames.collect(), are_pings)
}

fn noise(rng: &mut Rng, len_max: u64) -> Vec<u8> {
    (0..rng.below(len_max)).map(|_| rng.below(256).to_le_bytes()[0]).collect()
}

/// What ends a connection at once, whatever comes behind it.
fn damaged_frame(client: &Client, rng: &mut Rng) -> Vec<u8> {
    let mut ping = frame(&ClientFrame::Ping(rng.next_u64()));
    let bad = match rng.below(7) {
        0 => {
            ping.truncate(usize::try_from(rng.below(9)).unwrap());
            ping
        }
        1 => [ping, vec![0]].concat(),
        2 => [vec![7 + rng.below(249).to_le_bytes()[0]], noise(rng, 40)].concat(),
        3 => frame(&ClientFrame::Message { number: 0, bytes: &noise(rng, 40) }),
        4 => frame(&ClientFrame::Join { room: "", credentials: "", hello: &noise(rng, 40) }),
        5 => [vec![0x02, 0xff], noise(rng, 40)].concat(),
        // No frame for either transport: a length above the limit, and reserved bits with an unknown opcode.
        _ => return vec![0xff; 16],
    };
    client.framed(&bad)
}

#[test]
fn a_hundred_thousand_random_frames_are_taken_and_the_bad_ones_told_apart() {
    let engine = start("frames_per_second_max = 0");
    let mut witness = Witness::new(&engine);
    let before = rss(&engine);
    let mut rng = Rng::new(20_261_122);
    let mut taken = 0;
    while taken < 100_000 {
        let mut client = Client::open(engine.address, BOTH[usize::try_from(rng.below(2)).unwrap()]);
        client.join(b"");
        let (mut frames, are_pings) = good_frames(&client, 4_000, &mut rng);
        let place = usize::try_from(rng.below(3_990)).unwrap();
        frames[place] = damaged_frame(&client, &mut rng);
        // The engine may be faster to close than this to write.
        let _closed = client.stream.write_all(&frames.concat());
        let _closed = client.stream.shutdown(std::net::Shutdown::Write);
        let (mut pongs, mut closing) = (0, None);
        while let Some(frame) = client.next_raw() {
            match EngineFrame::decode(&frame).unwrap().1 {
                EngineFrame::Pong(_) => pongs += 1,
                EngineFrame::Closing { code, .. } => closing = Some(code),
                _ => {}
            }
        }
        let closing = closing.expect("the engine says why it closes");
        assert!(matches!(closing, CloseCode::BadFrame | CloseCode::FrameTooLong), "{closing} at frame {place}");
        let pings = are_pings[..place].iter().filter(|is_ping| **is_ping).count();
        assert_eq!(pongs, pings, "every frame before the bad one counts, and none behind it");
        taken += place;
    }
    let metrics = engine.get("/metrics");
    let counted = metrics.lines().find_map(|line| line.strip_prefix("hotseat_frames_received_total "));
    assert!(counted.unwrap().parse::<usize>().unwrap() >= taken, "{counted:?} of {taken}");
    witness.is_undisturbed();
    assert!(rss(&engine) < before + GROWTH_MAX);
}

#[test]
fn ticks_come_between_the_messages_of_whoever_has_much_to_say() {
    let engine = start("frames_per_second_max = 0");
    for transport in BOTH {
        let mut client = Client::open(engine.address, transport);
        client.join(b"");
        let before = client.header.tick;
        // One read takes them, and they are a quarter of a second's work.
        let message = |number| ClientFrame::Message { number, bytes: if number < 1000 { b"work" } else { b"done" } };
        let all: Vec<_> = (1..=1000).flat_map(|number| client.framed(&frame(&message(number)))).collect();
        client.send_bytes(&all);
        while client.hear() != "done" {}
        let ticks = client.header.tick - before;
        assert!(ticks >= 15, "{ticks} ticks of 10 ms each");
    }
}

#[test]
fn a_flood_is_cut_off() {
    let engine = start("frames_per_second_max = 50");
    let mut witness = Witness::new(&engine);
    let before = rss(&engine);
    for transport in BOTH {
        let mut client = Client::open(engine.address, transport);
        client.join(b"");
        (0..1000).for_each(|_| client.say(b"x"));
        let (code, reason) = client.closing_at_last();
        assert_eq!(
            (code, reason.as_str()),
            (CloseCode::TooFast, "more than 50 frames a second (frames_per_second_max)")
        );
    }
    assert_eq!(closes(&engine, "too-fast", CloseCode::TooFast), 2);
    witness.is_undisturbed();
    assert!(rss(&engine) < before + GROWTH_MAX);
}

#[test]
fn a_slow_reader_is_dropped_and_nobody_waits_for_it() {
    let engine = start("away_grace_ms = 0");
    let mut slow = Client::open(engine.address, Transport::WebSocket);
    slow.join(b"");
    let mut loud = Witness::new(&engine);
    let before = rss(&engine);
    let metric = "hotseat_closes_total{cause=\"slow-reader\",code=\"4441\"}";
    let is_dropped = |engine: &Engine| engine.get("/metrics").lines().any(|line| line.starts_with(metric));
    while !is_dropped(&engine) {
        loud.say(b"pour");
        // This one reads all of it.
        let mut read = 0;
        while read < 2 {
            read += usize::from(loud.hear().len() >= 1 << 18);
        }
    }
    assert!(rss(&engine) < before + GROWTH_MAX, "what waits for a slow reader is bounded");
    // What it may still read says why.
    assert_eq!(slow.closing_at_last().0, CloseCode::SlowReader);
    engine.until("it is out", |engine| engine.status()["rooms"][0]["players"] == 1);
    loud.is_undisturbed();
}

#[test]
fn who_says_nothing_or_hardly_anything_is_dropped() {
    let engine = start("handshake_timeout_ms = 500\nping_interval_ms = 50\npong_timeout_ms = 300");
    let mut witness = Witness::new(&engine);
    // Nobody joins.
    for transport in BOTH {
        let mut client = Client::open(engine.address, transport);
        let reason = "no Join or Resume within 500 ms".to_owned();
        assert_eq!(client.closing(), (CloseCode::TooSlow, reason));
    }
    // A handshake that never begins, or never ends.
    for (start, expected) in [("", ""), ("GET /ws HTTP/1.1\r\nHost: x\r\nUpgr", "HTTP/1.1 408 Request Timeout\r\n")] {
        let mut stream = TcpStream::connect(engine.address).unwrap();
        stream.write_all(start.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(expected) && answer.is_empty() == expected.is_empty(), "{answer}");
        let says_why = answer.ends_with("\r\n\r\nthe head of the request did not arrive within 500 ms\n");
        assert_eq!(says_why, !expected.is_empty(), "{answer}");
    }
    for cause in ["silent", "head-timeout"] {
        assert_eq!(engine.metric(&format!("hotseat_handshakes_refused_total{{cause=\"{cause}\"}}")), 1);
    }
    let mut preamble = Client::bare(engine.address, Transport::Tcp);
    preamble.send_bytes(b"\0H");
    assert_eq!(preamble.closing().0, CloseCode::TooSlow);
    assert_eq!(closes(&engine, "join-timeout", CloseCode::TooSlow), 3);
    // Half open: it is there for the kernel, and for nobody else. It reads nothing, so it answers no ping.
    let mut half_open = Client::open(engine.address, Transport::WebSocket);
    half_open.join(b"");
    assert_eq!(half_open.closing_at_last().0, CloseCode::TooSlow);
    assert_eq!(closes(&engine, "pong-timeout", CloseCode::TooSlow), 1);
    // Who answers pings stays, however little it says.
    witness.is_undisturbed();
}

/// Byte by byte, each soon enough to be a sign of life, the frame never ending.
fn write_slowly(mut slow: Client, start: &[u8]) {
    slow.join(b"");
    slow.send_bytes(start);
    let started = Instant::now();
    let mut writer = slow.stream.try_clone().unwrap();
    let (closed, is_closed) = std::sync::mpsc::channel::<()>();
    let writing = std::thread::spawn(move || {
        while is_closed.recv_timeout(Duration::from_millis(40)).is_err() {
            if writer.write_all(b"x").is_err() || started.elapsed() > Duration::from_secs(20) {
                break;
            }
        }
    });
    let (code, reason) = slow.closing_at_last();
    assert_eq!((code, reason.as_str()), (CloseCode::TooSlow, "a frame took longer than 1000 ms to come"));
    let _ended_already = closed.send(());
    writing.join().unwrap();
}

#[test]
fn a_slow_writer_is_dropped() {
    let engine = start("ping_interval_ms = 600000\npong_timeout_ms = 1000");
    let before = rss(&engine);
    let whole = web_socket_frame(0x82, &[0; 1000]);
    // Whole fragments of a message that never ends are no better than a frame.
    let rest = web_socket_frame(0x80, &[0; 1000]);
    let fragment = [web_socket_frame(0x02, b"xx"), rest[..8].to_vec()].concat();
    let starts = [
        (Transport::Tcp, &1000_u32.to_le_bytes()[..]),
        (Transport::WebSocket, &whole[..8]),
        (Transport::WebSocket, &fragment),
    ];
    std::thread::scope(|scope| {
        for (transport, start) in starts {
            let slow = Client::open(engine.address, transport);
            scope.spawn(move || write_slowly(slow, start));
        }
    });
    assert_eq!(closes(&engine, "frame-timeout", CloseCode::TooSlow), 3);
    assert!(rss(&engine) < before + GROWTH_MAX);
}

#[test]
fn a_join_storm_gets_the_seats_that_there_are() {
    let engine = start("players_max = 20\nconnections_max = 61");
    let mut witness = Witness::new(&engine);
    let before = rss(&engine);
    let mut clients: Vec<_> = (0..50).map(|number| Client::open(engine.address, BOTH[number % 2])).collect();
    for client in &mut clients {
        client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"" });
    }
    let (mut joined, mut turned_away) = (Vec::new(), 0);
    for mut client in clients {
        let first = client.next().unwrap();
        match EngineFrame::decode(&first).unwrap().1 {
            EngineFrame::Joined(_) => joined.push(client),
            EngineFrame::Closing { code: CloseCode::NoPlace, reason } => {
                assert_eq!(reason, "the room main is full: it has 20 seats");
                turned_away += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((joined.len(), turned_away), (19, 31));
    engine.until("those turned away are gone", |engine| engine.status()["engine"]["connections"] == 19 + CONNECTIONS);
    // And there are only so many connections, whatever they want.
    let _idle: Vec<_> = (0..40).map(|_| Client::open(engine.address, Transport::WebSocket)).collect();
    let (_, head) = Client::handshake(engine.address, "/ws", &[]);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let mut more = Client::open(engine.address, Transport::Tcp);
    let reason = "61 connections are open (connections_max)".to_owned();
    assert_eq!(more.closing(), (CloseCode::Failed, reason));
    assert_eq!(closes(&engine, "not-admitted", CloseCode::NoPlace), 31);
    assert_eq!(closes(&engine, "no-connection", CloseCode::Failed), 1);
    assert_eq!(engine.metric("hotseat_handshakes_refused_total{cause=\"no-connection\"}"), 1);
    assert!(rss(&engine) < before + GROWTH_MAX);
    joined[0].say(b"who");
    while joined[0].hear() != "20 of 20" {}
    witness.is_undisturbed();
}

#[test]
fn a_room_that_is_behind_holds_its_players_up_and_keeps_what_they_sent() {
    let engine = start("frames_per_second_max = 0\nping_interval_ms = 100\npong_timeout_ms = 3000");
    let mut client = Client::open(engine.address, Transport::Tcp);
    client.join(b"");
    client.say(b"spoil");
    assert_eq!(client.notice().0, 2);
    let before = rss(&engine);
    // Far more than the room takes while it is frozen: the engine stops reading, and the socket fills.
    let payload = [b'x'; 1 << 14];
    let mut writer = client.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        for number in 2..=2000_u32 {
            let mut bytes = Vec::new();
            tcp::frame(&mut bytes, |to| ClientFrame::Message { number, bytes: &payload }.encode(to));
            writer.write_all(&bytes).unwrap();
        }
    });
    engine.until("it has had time to be found silent", |engine| {
        engine.status()["engine"]["uptime_s"].as_u64().unwrap() >= 7
    });
    assert!(rss(&engine) < before + GROWTH_MAX);
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    let mut heard = 0;
    while heard < 1999 {
        // Pings are not answered: that would go between the pieces of what the other thread writes.
        let frame = client.next_raw().expect("nobody was disconnected");
        client.header = EngineFrame::decode(&frame).unwrap().0;
        match EngineFrame::decode(&frame).unwrap().1 {
            EngineFrame::Message(_) => heard += 1,
            EngineFrame::Closing { code, reason } => panic!("{code} after {heard} answers: {reason}"),
            _ => {}
        }
    }
    assert_eq!(client.header.consumed, 2000);
    writing.join().unwrap();
}
