//! What no client sends: each gets a word that says why, and nobody else is disturbed.

use std::io::Write;

use logic_api::Rng;
use wire::{ClientFrame, CloseCode, EngineFrame, tcp};

use crate::players::client::{BOTH, Client, Transport, web_socket_frame};
use crate::players::witness::{QUIET, Witness, nobody_notices};
use crate::support::{Engine, Setup, moody};

/// What the engine may grow by while it is sent what it must not keep.
pub(super) const GROWTH_MAX: u64 = 32 << 20;

pub(super) fn start(lines: &str) -> Engine {
    Setup::new(moody(), &["game.1001.so", "plugin2.so"]).with(QUIET).with(lines).start()
}

pub(super) fn frame(frame: &ClientFrame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

pub(super) fn rss(engine: &Engine) -> u64 {
    engine.status()["engine"]["rss_bytes"].as_u64().unwrap()
}

/// How often connections were ended so.
pub(super) fn closes(engine: &Engine, cause: &str, code: CloseCode) -> u64 {
    let name = format!("hotseat_closes_total{{cause=\"{cause}\",code=\"{code}\"}} ");
    let text = engine.get("/metrics");
    text.lines().find_map(|line| line.strip_prefix(&*name)).map_or(0, |count| count.parse().unwrap())
}

/// These bytes, behind a Join where `joins`, end the connection with this code and reason, and are counted with this cause.
#[track_caller]
fn check(engine: &Engine, transport: Transport, joins: bool, bytes: &[u8], end: (CloseCode, &str, &str)) {
    let (code, cause, reason) = end;
    let before = closes(engine, cause, code);
    let mut client = Client::open(engine.address, transport);
    if joins {
        client.join(b"");
    }
    client.send_bytes(bytes);
    assert_eq!(client.closing_at_last(), (code, reason.to_owned()), "{cause}");
    assert_eq!(closes(engine, cause, code), before + 1, "{cause}");
}

#[test]
fn frames_that_are_none_are_told_apart() {
    nobody_notices(|| {
        let engine = start("frame_bytes_max = 1000");
        let mut witness = Witness::new(&engine);
        let before = rss(&engine);
        let long = frame(&ClientFrame::Message { number: 1, bytes: &[0; 1000] });
        let none = |cause, reason| (CloseCode::BadFrame, cause, reason);
        let too_long = |reason| (CloseCode::FrameTooLong, "frame-too-long", reason);
        let whole = [
            (
                true,
                frame(&ClientFrame::Ping(1))[..5].to_vec(),
                none("frame-cut", "a Ping frame ends within its number: expected 8 bytes more, found 4"),
            ),
            (true, vec![0x7f], none("kind-unknown", "a frame of kind 0x7f, which there is not")),
            (true, Vec::new(), none("frame-empty", "an empty frame; expected at least the byte that says its kind")),
            (true, vec![0x06, 0], none("frame-overfull", "a Leave frame has 1 bytes after its end")),
            (false, vec![0x02, 0xff], none("not-utf8", "the token of a Resume frame is not UTF-8")),
            (false, frame(&ClientFrame::Ping(1)), none("not-joined", "the first frame is neither a Join nor a Resume")),
            (
                false,
                [&[0x01, 65][..], &[b'a'; 65], &[0, 0]].concat(),
                none("part-too-long", "the room of a Join frame: expected at most 64 bytes, found 65"),
            ),
            (
                true,
                frame(&ClientFrame::Resume { token: "" }),
                none("joined-twice", "a second Join or Resume; one connection is one player"),
            ),
            (
                true,
                frame(&ClientFrame::Message { number: 2, bytes: b"" }),
                none("number-unexpected", "input number 2; expected 1"),
            ),
            (
                true,
                frame(&ClientFrame::Message { number: 0, bytes: b"" }),
                none("number-unexpected", "input number 0; the first one is 1"),
            ),
            (true, long, too_long("a frame of 1005 bytes; expected at most 1000 (frame_bytes_max)")),
            (
                false,
                frame(&ClientFrame::Resume { token: "AAAA" }),
                (CloseCode::BadToken, "token-wrong", "the token is none of this engine's"),
            ),
        ];
        for transport in BOTH {
            for (joins, bytes, end) in &whole {
                let mut framed = Vec::new();
                match transport {
                    Transport::Tcp => tcp::frame(&mut framed, |to| to.extend_from_slice(bytes)),
                    Transport::WebSocket => framed = web_socket_frame(0x82, bytes),
                }
                check(&engine, transport, *joins, &framed, *end);
            }
        }
        // A length that is only announced.
        let announced = too_long("a frame of 4294967295 bytes; expected at most 1000 (frame_bytes_max)");
        check(&engine, Transport::Tcp, true, &u32::MAX.to_le_bytes(), announced);
        let mut client = Client::bare(engine.address, Transport::Tcp);
        client.send_bytes(b"\0HS\x02");
        let reason = "expected the preamble [00, 48, 53, 01], found [00, 48, 53, 02]".to_owned();
        assert_eq!(client.closing(), (CloseCode::BadFrame, reason));
        assert_eq!(closes(&engine, "preamble-wrong", CloseCode::BadFrame), 1);
        witness.is_undisturbed()?;
        assert!(rss(&engine) < before + GROWTH_MAX);
        Ok(())
    });
}

#[test]
fn web_socket_frames_that_break_its_rules_are_told_apart() {
    nobody_notices(|| {
        let engine = start("frame_bytes_max = 1000");
        let mut witness = Witness::new(&engine);
        let before = rss(&engine);
        let ping = frame(&ClientFrame::Ping(1));
        let fragment = |first: u8| web_socket_frame(first, &ping);
        let huge = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        let many: Vec<u8> =
            (0..20).flat_map(|n| web_socket_frame(if n == 0 { 0x02 } else { 0x00 }, &[3; 100])).collect();
        let none = |cause, reason| (CloseCode::BadFrame, cause, reason);
        let too_long = |reason| (CloseCode::FrameTooLong, "frame-too-long", reason);
        for (bytes, end) in [
            (
                web_socket_frame(0x81, b"text"),
                none("text", "a text message; frames are binary messages (docs/protocol.md)"),
            ),
            (
                vec![0x82, 9, 4, 1, 0, 0, 0, 0, 0, 0, 0],
                none("unmasked", "a frame of a client is not masked (RFC 6455, 5.1)"),
            ),
            (fragment(0xc2), none("reserved-bits", "a frame has reserved bits set; no extension was agreed on")),
            (fragment(0x83), none("opcode-unknown", "WebSocket protocol error: Encountered invalid opcode: 3")),
            (fragment(0x80), none("continuation", "a message goes on that has not begun (RFC 6455, 5.4)")),
            (
                [fragment(0x02), fragment(0x82)].concat(),
                none("interleaved", "a message begins before the one under way has ended (RFC 6455, 5.4)"),
            ),
            (fragment(0x09), none("control-fragmented", "a control frame is fragmented (RFC 6455, 5.5)")),
            (web_socket_frame(0x88, b"\x03\xe8\xff\xfe"), none("not-utf8", "the reason of a close frame is not UTF-8")),
            (huge.to_vec(), too_long("a frame of 9223372036854775807 bytes; expected at most 1000 (frame_bytes_max)")),
            (many, too_long("a frame of 1100 bytes; expected at most 1000 (frame_bytes_max)")),
        ] {
            check(&engine, Transport::WebSocket, true, &bytes, end);
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
        witness.is_undisturbed()?;
        assert!(rss(&engine) < before + GROWTH_MAX);
        Ok(())
    });
}

#[test]
fn a_token_is_its_bearers_and_one_that_was_made_up_is_nobodys() {
    nobody_notices(|| {
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
        witness.is_undisturbed()
    });
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
    nobody_notices(|| {
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
        witness.is_undisturbed()?;
        assert!(rss(&engine) < before + GROWTH_MAX);
        Ok(())
    });
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
