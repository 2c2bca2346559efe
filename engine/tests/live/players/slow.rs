//! Who reads, writes or says too little: each is told why it has to go, and nobody waits for it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use wire::{ClientFrame, CloseCode, EngineFrame, tcp};

use crate::players::bad_input::{GROWTH_MAX, closes, frame, rss, start};
use crate::players::client::{BOTH, Client, PATIENCE, Transport, web_socket_frame};
use crate::players::witness::{CONNECTIONS, Witness, nobody_notices};

#[test]
fn a_slow_reader_is_dropped_and_nobody_waits_for_it() {
    nobody_notices(|| {
        let engine = start("away_grace_ms = 0");
        let mut slow = Client::open(engine.address, Transport::WebSocket);
        slow.join(b"");
        let mut loud = Witness::new(&engine);
        let before = rss(&engine);
        while closes(&engine, "slow-reader", CloseCode::SlowReader) == 0 {
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
        loud.is_undisturbed()
    });
}

#[test]
fn who_says_nothing_is_dropped() {
    nobody_notices(|| {
        let engine = start("handshake_timeout_ms = 2000");
        let mut witness = Witness::new(&engine);
        // Nobody joins.
        for transport in BOTH {
            let mut client = Client::open(engine.address, transport);
            let reason = "no Join or Resume within 2000 ms".to_owned();
            assert_eq!(client.closing(), (CloseCode::TooSlow, reason));
        }
        // A handshake that never begins, or never ends.
        for (start, expected) in [("", ""), ("GET /ws HTTP/1.1\r\nHost: x\r\nUpgr", "HTTP/1.1 408 Request Timeout\r\n")]
        {
            let mut stream = TcpStream::connect(engine.address).unwrap();
            stream.write_all(start.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(expected) && answer.is_empty() == expected.is_empty(), "{answer}");
            let says_why = answer.ends_with("\r\n\r\nthe head of the request did not arrive within 2000 ms\n");
            assert_eq!(says_why, !expected.is_empty(), "{answer}");
        }
        for cause in ["silent", "head-timeout"] {
            assert_eq!(engine.metric(&format!("hotseat_handshakes_refused_total{{cause=\"{cause}\"}}")), 1);
        }
        assert_eq!(closes(&engine, "join-timeout", CloseCode::TooSlow), 2);
        witness.is_undisturbed()
    });
}

#[test]
fn half_open_sockets_are_dropped_and_nobody_waits() {
    nobody_notices(|| {
        const HALF_OPEN: u64 = 50;
        let engine = start("ping_interval_ms = 300\npong_timeout_ms = 3000\naway_grace_ms = 0");
        let mut witness = Witness::new(&engine);
        // The room has something to say to everybody, all the time.
        witness.say(b"shout ticks");
        let (before, descriptors) = (rss(&engine), engine.descriptors());
        let mut clients: Vec<_> = (0..HALF_OPEN + 10)
            .map(|number| {
                let mut client = Client::open(engine.address, BOTH[usize::from(number % 2 == 0)]);
                client.join(b"");
                client
            })
            .collect();
        // These have said their last word, which is seen at once.
        let (silent, half_closed) = clients.split_at_mut(usize::try_from(HALF_OPEN).unwrap());
        half_closed.iter().for_each(|client| client.stream.shutdown(Shutdown::Write).unwrap());
        // The others are there for the kernel, and for nobody else.
        engine.until("they are found out", |engine| closes(engine, "pong-timeout", CloseCode::TooSlow) == HALF_OPEN);
        engine.until("all are gone", |engine| engine.status()["engine"]["connections"] == CONNECTIONS);
        engine.until("their sockets are closed", |engine| engine.descriptors() <= descriptors);
        assert_eq!(engine.status()["rooms"][0]["players"], 1);
        assert!(rss(&engine) < before + GROWTH_MAX);
        for client in silent {
            let reason = "no sign of life within 3000 ms".to_owned();
            assert_eq!(client.closing_at_last(), (CloseCode::TooSlow, reason), "what has come is there to be read");
        }
        witness.is_undisturbed()
    });
}

#[test]
fn a_client_that_never_reads_is_cut() {
    nobody_notices(|| {
        let engine = start("request_timeout_ms = 2000");
        let mut witness = Witness::new(&engine);
        let descriptors = engine.descriptors();
        let greedy: Vec<_> = (0..20)
            .map(|_| {
                let mut stream = TcpStream::connect(engine.address).unwrap();
                // Far more of an answer than sockets hold.
                let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", engine.address);
                stream.write_all(request.repeat(1500).as_bytes()).unwrap();
                stream
            })
            .collect();
        // Whoever wants to play comes in meanwhile.
        Client::open(engine.address, Transport::WebSocket).join(b"");
        let cut = "hotseat_handshakes_refused_total{cause=\"answer-unread\"} 20";
        engine.until("they are cut", |engine| engine.get("/metrics").lines().any(|line| line == cut));
        engine.until("their sockets are closed", |engine| engine.descriptors() <= descriptors);
        drop(greedy);
        witness.is_undisturbed()
    });
}

/// Writes byte by byte, until the engine ends the connection or the bytes; then what was said.
fn write_slowly(client: &mut Client, every: Duration, bytes: impl Iterator<Item = u8> + Send) -> (CloseCode, String) {
    let mut writer = client.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        let (closed, is_closed) = channel::<()>();
        scope.spawn(move || {
            let deadline = Instant::now() + PATIENCE;
            for byte in bytes {
                let goes_on = is_closed.recv_timeout(every) == Err(RecvTimeoutError::Timeout);
                if !goes_on || writer.write_all(&[byte]).is_err() || Instant::now() > deadline {
                    break;
                }
            }
        });
        let closing = client.closing_at_last();
        drop(closed);
        closing
    })
}

#[test]
fn handshakes_byte_by_byte_end_in_time() {
    nobody_notices(|| {
        const EVERY: Duration = Duration::from_millis(20);
        let engine = start("handshake_timeout_ms = 3000");
        let mut witness = Witness::new(&engine);
        let join = frame(&ClientFrame::Join { room: "", credentials: "", hello: &[b'x'; 1000] });
        std::thread::scope(|scope| {
            for transport in BOTH {
                let (engine, join) = (&engine, &join);
                scope.spawn(move || {
                    let mut client = Client::open(engine.address, transport);
                    let bytes = client.framed(join);
                    let reason = "no Join or Resume within 3000 ms".to_owned();
                    assert_eq!(write_slowly(&mut client, EVERY, bytes.into_iter()), (CloseCode::TooSlow, reason));
                });
            }
            scope.spawn(|| {
                let mut client = Client::bare(engine.address, Transport::Tcp);
                client.send_bytes(b"\0");
                let reason = "no Join or Resume within 3000 ms".to_owned();
                let rest = write_slowly(&mut client, Duration::from_millis(1600), b"HS\x01".iter().copied());
                assert_eq!(rest, (CloseCode::TooSlow, reason));
            });
            scope.spawn(|| {
                let mut stream = TcpStream::connect(engine.address).unwrap();
                let (mut writer, head) =
                    (stream.try_clone().unwrap(), format!("GET /ws HTTP/1.1\r\nHost: {}", "x".repeat(1000)));
                let (closed, is_closed) = channel::<()>();
                let writing = std::thread::spawn(move || {
                    for byte in head.bytes() {
                        let goes_on = is_closed.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout);
                        if !goes_on || writer.write_all(&[byte]).is_err() {
                            break;
                        }
                    }
                });
                let mut answer = [0; 1024];
                let read = stream.read(&mut answer).unwrap();
                drop(closed);
                writing.join().unwrap();
                let answer = String::from_utf8_lossy(&answer[..read]);
                assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
                assert!(
                    answer.ends_with("\r\n\r\nthe head of the request did not arrive within 3000 ms\n"),
                    "{answer}"
                );
            });
        });
        assert_eq!(closes(&engine, "join-timeout", CloseCode::TooSlow), 3);
        assert_eq!(engine.metric("hotseat_handshakes_refused_total{cause=\"head-timeout\"}"), 1);
        witness.is_undisturbed()
    });
}

#[test]
fn a_slow_writer_is_dropped() {
    nobody_notices(|| {
        let engine = start("ping_interval_ms = 300\npong_timeout_ms = 3000");
        let mut witness = Witness::new(&engine);
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
                let mut slow = Client::open(engine.address, transport);
                scope.spawn(move || {
                    slow.join(b"");
                    slow.send_bytes(start);
                    // Each soon enough to be a sign of life, the frame never ending.
                    let closing = write_slowly(&mut slow, Duration::from_millis(40), std::iter::repeat_n(b'x', 900));
                    let reason = "a frame took longer than 3000 ms to come".to_owned();
                    assert_eq!(closing, (CloseCode::TooSlow, reason));
                });
            }
        });
        assert_eq!(closes(&engine, "frame-timeout", CloseCode::TooSlow), 3);
        witness.is_undisturbed()
    });
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
