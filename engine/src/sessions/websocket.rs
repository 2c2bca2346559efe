//! Frames on a WebSocket (RFC 6455): the headers are read and written by `tungstenite`, the rest is here, so that a
//! connection can be taken apart: its socket, its unread bytes, and the message under way are the engine's own.

use std::io::Cursor;
use std::ops::ControlFlow;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use wire::CloseCode;
use wire::limits::{CLOSE_REASON_BYTES_MAX, cut};

use crate::sessions::bad::Bad;
use crate::sessions::frames::{First, OnRead, Read};

/// RFC 6455, 5.5.
const CONTROL_BYTES_MAX: u64 = 125;

#[derive(Debug)]
pub(super) struct WebSocketReader {
    frame_bytes_max: usize,
    /// A binary message whose last fragment has not come.
    message: Option<Vec<u8>>,
}

impl WebSocketReader {
    pub(super) fn new(frame_bytes_max: usize) -> WebSocketReader {
        WebSocketReader { frame_bytes_max, message: None }
    }

    pub(super) fn is_within_message(&self) -> bool {
        self.message.is_some()
    }

    pub(super) fn read(&mut self, bytes: &mut [u8], on: &mut OnRead<'_>) -> Result<First, Bad> {
        let mut cursor = Cursor::new(&*bytes);
        let parsed = FrameHeader::parse(&mut cursor);
        let start = usize::try_from(cursor.position()).expect("within the bytes");
        let Some((header, len)) = parsed.map_err(|error| Bad::frame("opcode-unknown", error.to_string()))? else {
            return Ok(First::Partial);
        };
        let mask = self.check(&header, len)?;
        let end = start + usize::try_from(len).map_err(|_| Bad::too_long(len, self.frame_bytes_max))?;
        let Some(payload) = bytes.get_mut(start..end) else { return Ok(First::Partial) };
        unmask(payload, mask);
        let flow = match header.opcode {
            OpCode::Control(Control::Ping) => on(Read::Ping(payload))?,
            OpCode::Control(Control::Close) => {
                check_close(payload)?;
                on(Read::Close)?
            }
            OpCode::Control(_) => on(Read::Pong)?,
            OpCode::Data(_) => self.data(header.is_final, payload, on)?,
        };
        Ok(First::Taken(end, flow))
    }

    /// Everything that is known of a frame before it has come. Gives its mask.
    fn check(&self, header: &FrameHeader, len: u64) -> Result<[u8; 4], Bad> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Bad::frame("reserved-bits", "a frame has reserved bits set; no extension was agreed on"));
        }
        let Some(mask) = header.mask else {
            return Err(Bad::frame("unmasked", "a frame of a client is not masked (RFC 6455, 5.1)"));
        };
        let message_bytes = self.message.as_ref().map_or(0, Vec::len) as u64;
        match header.opcode {
            OpCode::Control(_) if !header.is_final => {
                Err(Bad::frame("control-fragmented", "a control frame is fragmented (RFC 6455, 5.5)"))
            }
            OpCode::Control(_) if len > CONTROL_BYTES_MAX => {
                Err(Bad::frame("control-too-long", format!("a control frame of {len} bytes; expected at most 125")))
            }
            OpCode::Control(_) => Ok(mask),
            OpCode::Data(Data::Text) => {
                Err(Bad::frame("text", "a text message; frames are binary messages (docs/protocol.md)"))
            }
            OpCode::Data(Data::Binary) if self.message.is_some() => {
                Err(Bad::frame("interleaved", "a message begins before the one under way has ended (RFC 6455, 5.4)"))
            }
            OpCode::Data(Data::Continue) if self.message.is_none() => {
                Err(Bad::frame("continuation", "a message goes on that has not begun (RFC 6455, 5.4)"))
            }
            OpCode::Data(_) => match message_bytes.saturating_add(len) {
                all if all > self.frame_bytes_max as u64 => Err(Bad::too_long(all, self.frame_bytes_max)),
                _ => Ok(mask),
            },
        }
    }

    fn data(&mut self, is_final: bool, payload: &[u8], on: &mut OnRead<'_>) -> Result<ControlFlow<()>, Bad> {
        match (self.message.take(), is_final) {
            (None, true) => on(Read::Frame(payload)),
            (None, false) => {
                self.message = Some(payload.to_vec());
                on(Read::Fragment)
            }
            (Some(mut message), is_final) => {
                message.extend_from_slice(payload);
                if is_final {
                    return on(Read::Frame(&message));
                }
                self.message = Some(message);
                on(Read::Fragment)
            }
        }
    }
}

/// RFC 6455, 5.5.1: nothing, or a code and UTF-8.
fn check_close(payload: &[u8]) -> Result<(), Bad> {
    match payload.split_at_checked(2) {
        None if payload.is_empty() => Ok(()),
        None => Err(Bad::frame("close-cut", "a close frame of one byte; expected none, or a code of two")),
        Some((_, reason)) if str::from_utf8(reason).is_err() => {
            Err(Bad::frame("not-utf8", "the reason of a close frame is not UTF-8"))
        }
        Some(_) => Ok(()),
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    // Eight bytes at a time, which is all that a message of a game mostly has.
    let wide = u64::from_ne_bytes([mask, mask].concat().try_into().expect("twice four"));
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// Writes the header of a binary message of so many bytes, and gives its length.
pub(super) fn prefix(frame_bytes: usize, to: &mut [u8]) -> usize {
    header(OpCode::Data(Data::Binary), frame_bytes, to)
}

/// The answer to a ping.
pub(super) fn pong(payload: &[u8]) -> Vec<u8> {
    control(Control::Pong, payload)
}

/// The close frame, with as much of the reason as it can hold.
pub(super) fn close(code: CloseCode, reason: &str) -> Vec<u8> {
    let reason = cut(reason, CLOSE_REASON_BYTES_MAX);
    control(Control::Close, &[&code.code().to_be_bytes(), reason.as_bytes()].concat())
}

fn control(control: Control, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [0; 14];
    let len = header(OpCode::Control(control), payload.len(), &mut bytes);
    [&bytes[..len], payload].concat()
}

fn header(opcode: OpCode, payload_bytes: usize, mut to: &mut [u8]) -> usize {
    let room = to.len();
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(payload_bytes as u64, &mut to).expect("the longest header of a server has ten bytes");
    room - to.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::frames::{Reader, Transport};

    const MAX: usize = 100;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut masked = payload.to_vec();
        unmask(&mut masked, mask);
        let len = u8::try_from(payload.len()).unwrap();
        [&[first, 0x80 | len], &mask[..], &masked].concat()
    }

    /// What comes of these bytes, in whatever pieces they arrive.
    fn read(bytes: &[u8]) -> Result<Vec<String>, &'static str> {
        let in_pieces = |piece: usize| {
            let mut reader = Reader::new(Transport::WebSocket(WebSocketReader::new(MAX)));
            let mut found = Vec::new();
            for chunk in bytes.chunks(piece) {
                let read = reader.read(&mut chunk.to_vec(), &mut |read| {
                    found.push(match read {
                        Read::Frame(bytes) => format!("frame {}", bytes.escape_ascii()),
                        Read::Ping(bytes) => format!("ping {}", bytes.escape_ascii()),
                        Read::Pong => "pong".to_owned(),
                        Read::Fragment => "fragment".to_owned(),
                        Read::Close => "close".to_owned(),
                    });
                    Ok(ControlFlow::Continue(()))
                });
                read.map_err(|bad| bad.cause)?;
            }
            Ok(found)
        };
        let whole = in_pieces(bytes.len());
        for piece in 1..bytes.len() {
            assert_eq!(in_pieces(piece), whole);
        }
        whole
    }

    fn check(frames: &[Vec<u8>], expected: Result<&[&str], &str>) {
        let found = read(&frames.concat());
        assert_eq!(found, expected.map(|lines| lines.iter().map(ToString::to_string).collect()));
    }

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        check(&[frame(0x82, b"one"), frame(0x82, b"")], Ok(&["frame one", "frame "]));
        let fragments = [frame(0x02, b"a"), frame(0x89, b"p"), frame(0x00, b"b"), frame(0x80, b"cdefghijkl")];
        check(&fragments, Ok(&["fragment", "ping p", "fragment", "frame abcdefghijkl"]));
        check(&[frame(0x8a, b"unasked")], Ok(&["pong"]));
        check(&[frame(0x88, b"")], Ok(&["close"]));
        check(&[frame(0x88, b"\x03\xe8bye")], Ok(&["close"]));
    }

    #[test]
    fn what_breaks_the_rules_is_told_apart() {
        check(&[frame(0x81, b"text")], Err("text"));
        check(&[vec![0x82, 1, 0]], Err("unmasked"));
        check(&[frame(0xc2, b"")], Err("reserved-bits"));
        check(&[frame(0x83, b"")], Err("opcode-unknown"));
        check(&[frame(0x80, b"")], Err("continuation"));
        check(&[frame(0x02, b"a"), frame(0x82, b"b")], Err("interleaved"));
        check(&[frame(0x09, b"")], Err("control-fragmented"));
        check(&[frame(0x88, b"\x03")], Err("close-cut"));
        check(&[frame(0x88, b"\x03\xe8\xff")], Err("not-utf8"));
        check(&[frame(0x82, &[0; MAX + 1])], Err("frame-too-long"));
        check(&[frame(0x02, &[0; MAX]), frame(0x80, b"b")], Err("frame-too-long"));
        check(&[vec![0x89, 0xfe, 0, 126, 1, 2, 3, 4]], Err("control-too-long"));
        check(&[vec![0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]], Err("frame-too-long"));
    }

    #[test]
    fn a_close_frame_holds_what_it_may() {
        let long = close(CloseCode::Kicked, &"ä".repeat(100));
        assert_eq!((long[0], usize::from(long[1]), long.len()), (0x88, 2 + 122, 2 + 2 + 122));
        assert_eq!(close(CloseCode::Left, "left"), b"\x88\x06\x03\xe8left");
    }
}
