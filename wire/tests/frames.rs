//! The frames against themselves, against noise, and against the page that describes them.

use proptest::prelude::*;
use wire::{ClientFrame, CloseCode, EngineFrame, FrameError, Header, InputError, Joined, Severity, limits, tcp};

/// The page's examples: what each line says, and the frame it is.
fn client_examples() -> Vec<(&'static str, ClientFrame<'static>)> {
    vec![
        ("Join", ClientFrame::Join { room: "main", credentials: "", hello: b"Ann" }),
        ("Join with a secret", ClientFrame::Join { room: "", credentials: "s3cret", hello: b"" }),
        ("Resume", ClientFrame::Resume { token: "bWFpbg" }),
        ("Message", ClientFrame::Message { number: 1, bytes: b"up" }),
        ("Ping", ClientFrame::Ping(7)),
        ("Pong", ClientFrame::Pong(0x0102_0304)),
        ("Leave", ClientFrame::Leave),
    ]
}

fn engine_examples() -> Vec<(&'static str, Header, EngineFrame<'static>)> {
    let header = Header { tick: 300, consumed: 2 };
    let joined = Joined {
        player: 0x0012_3456_789a_bcde,
        resumed: false,
        tick_hz: 20,
        version: 1001,
        version_name: "game1",
        room: "main",
        token: "bWFpbg",
    };
    vec![
        ("Joined", Header { tick: 300, consumed: 0 }, EngineFrame::Joined(joined)),
        ("Message", header, EngineFrame::Message(b"hi")),
        ("Pong", header, EngineFrame::Pong(7)),
        ("Ping", header, EngineFrame::Ping(0x0102_0304)),
        ("Version", header, EngineFrame::Version { version: 1002, name: "game2" }),
        ("Resync", header, EngineFrame::Resync { version: 1001, reason: "back" }),
        ("Error", header, EngineFrame::Error { error: InputError::Fault, number: 2, text: "no" }),
        ("Notice", header, EngineFrame::Notice { severity: Severity::Error, text: "E0308" }),
        ("Closing", header, EngineFrame::Closing { code: CloseCode::TakenOver, reason: "elsewhere" }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
    std::fs::read_to_string(path).expect("the page is in the repository")
}

#[test]
fn the_page_gives_each_frame_in_hex_as_it_is() {
    let mut expected = Vec::new();
    for (name, frame) in client_examples() {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        assert_eq!(ClientFrame::decode(&bytes), Ok(frame));
        expected.push(format!("C {name}: {}", hex(&bytes)));
    }
    for (name, header, frame) in engine_examples() {
        let mut bytes = Vec::new();
        frame.encode(header, &mut bytes);
        assert_eq!(EngineFrame::decode(&bytes), Ok((header, frame)));
        expected.push(format!("E {name}: {}", hex(&bytes)));
    }
    let mut bytes = tcp::PREAMBLE.to_vec();
    tcp::frame(&mut bytes, |to| ClientFrame::Message { number: 1, bytes: b"up" }.encode(to));
    expected.push(format!("C over TCP, the preamble and a Message: {}", hex(&bytes)));

    let page = page();
    let found: Vec<_> = page.lines().filter(|line| line.starts_with("C ") || line.starts_with("E ")).collect();
    assert_eq!(found, expected, "the examples of docs/protocol.md should read:\n{}\n", expected.join("\n"));
}

#[test]
fn the_page_has_every_close_code_and_says_who_may_resume() {
    let page = page();
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let code = CloseCode::of(cells.next()?.parse().ok()?)?;
        Some((code, cells.nth(1)?.starts_with("yes")))
    });
    let expected: Vec<_> = CloseCode::ALL.into_iter().map(|code| (code, code.may_resume())).collect();
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_no_frame_is_told_apart() {
    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(ClientFrame::decode(bytes).expect_err("no frame").to_string(), expected);
    }
    check(b"", "an empty frame; expected at least the byte that says its kind");
    check(&[0x7f, 1, 2], "a frame of kind 0x7f, which there is not");
    check(&[0x81], "a frame of kind 0x81, which there is not");
    check(&[0x01, 5, b'm'], "a Join frame ends within its room: expected 5 bytes more, found 1");
    check(&[0x01, 65], "the room of a Join frame: expected at most 64 bytes, found 65");
    check(&[0x01, 1, 0xff, 0, 0], "the room of a Join frame is not UTF-8");
    check(&[0x01, 0, 0xff, 0xff], "the credentials of a Join frame: expected at most 8192 bytes, found 65535");
    check(&[0x03, 1, 0, 0], "a Message frame ends within its input number: expected 4 bytes more, found 3");
    check(&[0x06, 0], "a Leave frame has 1 bytes after its end");
    check(&[&[0x02][..], &[b'a'; 257]].concat(), "the token of a Resume frame: expected at most 256 bytes, found 257");
}

#[test]
fn texts_for_people_are_cut_at_a_character() {
    let text = "ä".repeat(limits::TEXT_BYTES_MAX);
    let mut bytes = Vec::new();
    EngineFrame::Notice { severity: Severity::Information, text: &text }.encode(Header::default(), &mut bytes);
    let (_, frame) = EngineFrame::decode(&bytes).expect("cut to its limit");
    assert!(matches!(frame, EngineFrame::Notice { text, .. } if text.len() == limits::TEXT_BYTES_MAX));
    assert_eq!(limits::cut("aä", 2), "a");
}

#[test]
fn a_stream_is_split_at_its_lengths() {
    let mut bytes = Vec::new();
    tcp::frame(&mut bytes, |to| to.extend_from_slice(b"abc"));
    tcp::frame(&mut bytes, |_| {});
    assert_eq!(tcp::split(&bytes), Some((&b"abc"[..], 7)));
    assert_eq!(tcp::split(&bytes[7..]), Some((&b""[..], 4)));
    assert_eq!((tcp::split(&bytes[..6]), tcp::announced(&bytes[..6])), (None, Some(3)));
    assert_eq!(tcp::announced(&bytes[..3]), None);
    assert_eq!(tcp::split(&u32::MAX.to_le_bytes()), None);
}

proptest! {
    #[test]
    fn whatever_decodes_is_written_the_same(mut bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 0_u8..9) {
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        if let Ok(frame) = ClientFrame::decode(&bytes) {
            let mut again = Vec::new();
            frame.encode(&mut again);
            prop_assert_eq!(&again, &bytes);
        }
        if let Some(first) = bytes.first_mut() {
            *first = 0x80 + kind * 2;
        }
        if let Ok((header, frame)) = EngineFrame::decode(&bytes) {
            let mut again = Vec::new();
            frame.encode(header, &mut again);
            prop_assert_eq!(&again, &bytes);
        }
    }

    #[test]
    fn frames_come_back(
        room in "[a-zä]{0,32}",
        credentials in ".{0,60}",
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        number: u32,
        long: u64,
        tick: u64,
        resumed: bool,
    ) {
        let client = [
            ClientFrame::Join { room: &room, credentials: &credentials, hello: &bytes },
            ClientFrame::Resume { token: &room },
            ClientFrame::Message { number, bytes: &bytes },
            ClientFrame::Ping(long),
            ClientFrame::Pong(long),
            ClientFrame::Leave,
        ];
        let mut buffer = Vec::new();
        for frame in client {
            buffer.clear();
            frame.encode(&mut buffer);
            prop_assert_eq!(ClientFrame::decode(&buffer), Ok(frame));
        }
        let header = Header { tick, consumed: number };
        let joined = Joined {
            player: long, resumed, tick_hz: 20, version: number, version_name: &credentials, room: &room, token: &room,
        };
        let engine = [
            EngineFrame::Joined(joined),
            EngineFrame::Message(&bytes),
            EngineFrame::Version { version: number, name: &room },
            EngineFrame::Resync { version: number, reason: &credentials },
            EngineFrame::Error { error: InputError::Undone, number, text: &credentials },
            EngineFrame::Notice { severity: Severity::Over, text: &credentials },
        ];
        for frame in engine {
            buffer.clear();
            frame.encode(header, &mut buffer);
            prop_assert_eq!(EngineFrame::decode(&buffer), Ok((header, frame)));
        }
        for code in CloseCode::ALL {
            buffer.clear();
            EngineFrame::Closing { code, reason: &credentials }.encode(header, &mut buffer);
            prop_assert_eq!(EngineFrame::decode(&buffer), Ok((header, EngineFrame::Closing { code, reason: &credentials })));
        }
    }

    #[test]
    fn a_cut_frame_is_no_other(len in 0_usize..12) {
        let mut bytes = Vec::new();
        EngineFrame::Pong(1).encode(Header::default(), &mut bytes);
        bytes.truncate(len);
        let result = EngineFrame::decode(&bytes);
        prop_assert!(matches!(result, Err(FrameError::TooShort { .. } | FrameError::Empty)), "{result:?}");
    }
}
