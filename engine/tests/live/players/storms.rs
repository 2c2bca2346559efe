//! Too many, and too much: of connections, of frames, and of bytes that are kept for what never comes.

use std::io::Write;

use wire::{ClientFrame, CloseCode, EngineFrame};

use crate::players::bad_input::{GROWTH_MAX, closes, frame, rss, start};
use crate::players::client::{BOTH, Client, Transport, web_socket_frame};
use crate::players::witness::{CONNECTIONS, Witness, nobody_notices};
use crate::support::Engine;

/// What a flood is made of.
#[derive(Debug, Clone, Copy)]
enum Flood {
    Message,
    Ping,
    /// The frames of a WebSocket's own.
    Raw(u8),
}

#[test]
fn a_flood_is_cut_off() {
    nobody_notices(|| {
        let engine = start("frames_per_second_max = 50");
        let mut witness = Witness::new(&engine);
        let before = rss(&engine);
        let of_both = BOTH.into_iter().flat_map(|transport| [(transport, Flood::Message), (transport, Flood::Ping)]);
        // Pings, pongs, and the empty fragments of a message that goes on.
        let own = [0x89, 0x8a, 0x00].map(|first| (Transport::WebSocket, Flood::Raw(first)));
        let floods: Vec<_> = of_both.chain(own).collect();
        std::thread::scope(|scope| {
            for (transport, of) in floods.repeat(3) {
                let mut client = Client::open(engine.address, transport);
                client.join(b"");
                scope.spawn(move || flood(client, of));
            }
        });
        assert_eq!(closes(&engine, "too-fast", CloseCode::TooFast), 21);
        engine.until("they are gone", |engine| engine.status()["engine"]["connections"] == CONNECTIONS);
        witness.is_undisturbed()?;
        assert!(rss(&engine) < before + GROWTH_MAX);
        Ok(())
    });
}

fn flood(mut client: Client, of: Flood) {
    let begun = web_socket_frame(0x02, b"");
    let flood: Vec<u8> = (1..=1000)
        .flat_map(|number| match of {
            Flood::Message => client.framed(&frame(&ClientFrame::Message { number, bytes: b"x" })),
            Flood::Ping => client.framed(&frame(&ClientFrame::Ping(number.into()))),
            Flood::Raw(0x00) if number == 1 => begun.clone(),
            Flood::Raw(0x00) => web_socket_frame(0x00, b""),
            Flood::Raw(first) => web_socket_frame(first, b"x"),
        })
        .collect();
    // The engine may be faster to close than this to write.
    let _closed = client.stream.write_all(&flood);
    let reason = "more than 50 frames a second (frames_per_second_max)".to_owned();
    assert_eq!(client.closing_at_last(), (CloseCode::TooFast, reason), "{of:?}");
}

#[test]
fn a_join_storm_gets_the_seats_that_there_are() {
    nobody_notices(|| {
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
        engine
            .until("those turned away are gone", |engine| engine.status()["engine"]["connections"] == 19 + CONNECTIONS);
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
        witness.is_undisturbed()
    });
}

#[test]
fn an_address_has_only_so_many_connections() {
    nobody_notices(|| {
        let engine = start("connections_per_address_max = 4");
        // The witness has two.
        let mut witness = Witness::new(&engine);
        let mut clients = BOTH.map(|transport| Client::open(engine.address, transport));
        clients.iter_mut().for_each(|client| _ = client.join(b""));
        let reason = "4 connections of 127.0.0.1 are open (connections_per_address_max)";
        let mut more = Client::open(engine.address, Transport::Tcp);
        assert_eq!(more.closing(), (CloseCode::Failed, reason.to_owned()));
        let (mut more, head) = Client::handshake(engine.address, "/ws", &[]);
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(more.body(&head), format!("{reason}\n"));
        assert_eq!(closes(&engine, "address-full", CloseCode::Failed), 1);
        assert_eq!(engine.metric("hotseat_handshakes_refused_total{cause=\"address-full\"}"), 1);
        drop(clients);
        engine.until("they are gone", |engine| engine.status()["engine"]["connections"] == CONNECTIONS);
        Client::open(engine.address, Transport::WebSocket).join(b"");
        witness.is_undisturbed()
    });
}

/// Half of them hang up at once, some have a token that is none, and some stay, if there is a seat.
fn storm(engine: &Engine, count: u32) -> Vec<Client> {
    let mut stay = Vec::new();
    for number in 0..count {
        let mut client = Client::open(engine.address, BOTH[usize::from(number % 3 == 0)]);
        if number % 4 == 2 {
            client.send(&ClientFrame::Resume { token: "AAAA" });
            assert_eq!(client.closing().0, CloseCode::BadToken);
            continue;
        }
        client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"" });
        if number % 4 == 3 && is_let_in(&mut client) {
            stay.push(client);
        }
    }
    stay
}

fn is_let_in(client: &mut Client) -> bool {
    let first = client.next().unwrap();
    match EngineFrame::decode(&first).unwrap().1 {
        EngineFrame::Joined(_) => true,
        EngineFrame::Closing { code: CloseCode::NoPlace, .. } => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn after_a_storm_there_are_as_many_seats_as_before() {
    nobody_notices(|| {
        let engine = start("players_max = 20\naway_grace_ms = 0");
        let mut witness = Witness::new(&engine);
        let (before, descriptors) = (rss(&engine), engine.descriptors());
        let mut stay: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| storm(&engine, 250))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let is_settled = |connections: u64| {
            engine.until("those who hung up are gone", |engine| {
                let status = engine.status();
                let players = connections - CONNECTIONS + 1;
                status["engine"]["connections"] == connections && status["rooms"][0]["players"] == players
            });
        };
        is_settled(CONNECTIONS + stay.len() as u64);
        // Every seat that somebody had for a moment is free again.
        while stay.len() < 19 {
            let mut client = Client::open(engine.address, Transport::Tcp);
            client.join(b"");
            stay.push(client);
        }
        let mut client = Client::open(engine.address, Transport::Tcp);
        client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"" });
        assert_eq!(client.closing(), (CloseCode::NoPlace, "the room main is full: it has 20 seats".to_owned()));
        drop(stay);
        is_settled(CONNECTIONS);
        engine.until("their sockets are closed", |engine| engine.descriptors() <= descriptors);
        assert_eq!(closes(&engine, "token-wrong", CloseCode::BadToken), 496);
        assert!(rss(&engine) < before + GROWTH_MAX);
        witness.is_undisturbed()
    });
}

#[test]
fn frames_that_never_end_take_no_more_than_their_limit() {
    nobody_notices(|| {
        const COUNT: u64 = 300;
        const FRAME_BYTES_MAX: usize = 65_536;
        let engine = start("players_max = 400\naway_grace_ms = 0");
        let mut witness = Witness::new(&engine);
        let before = rss(&engine);
        let growth = |engine: &Engine| rss(engine).saturating_sub(before);
        let sent = COUNT * FRAME_BYTES_MAX as u64;
        let whole = vec![b'x'; FRAME_BYTES_MAX];
        // More than once: the allocator keeps what it was given back, but there must not be more of it each time.
        for _ in 0..3 {
            let clients: Vec<_> = (0..COUNT)
                .map(|number| {
                    let mut client = Client::open(engine.address, BOTH[usize::from(number % 4 != 0)]);
                    client.join(b"");
                    // All but the last byte: of a frame, or of the second half of one.
                    let mut bytes = match number % 4 {
                        1 | 3 => {
                            [0x02, 0x80].map(|first| web_socket_frame(first, &whole[..FRAME_BYTES_MAX / 2])).concat()
                        }
                        _ => client.framed(&whole),
                    };
                    bytes.pop();
                    client.send_bytes(&bytes);
                    client
                })
                .collect();
            engine.until("it has all that was sent", |engine| growth(engine) > sent * 3 / 4);
            let most = growth(&engine);
            assert!(most <= sent * 5 / 2, "{most} bytes for {sent}");
            drop(clients);
            engine.until("they are gone", |engine| engine.status()["engine"]["connections"] == CONNECTIONS);
        }
        witness.is_undisturbed()
    });
}
