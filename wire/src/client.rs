//! The frames of a client.

use crate::FrameError;
use crate::limits::{CREDENTIALS_BYTES_MAX, ROOM_NAME_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::reader::Reader;

mod kind {
    pub(super) const JOIN: u8 = 0x01;
    pub(super) const RESUME: u8 = 0x02;
    pub(super) const MESSAGE: u8 = 0x03;
    pub(super) const PING: u8 = 0x04;
    pub(super) const PONG: u8 = 0x05;
    pub(super) const LEAVE: u8 = 0x06;
}

/// What a client says. The first frame of a connection is Join or Resume, and there is no other one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// A new player wants in.
    Join {
        /// Empty: the room that the transport names, or `main`.
        room: &'a str,
        /// What the engine's `auth` asks for; empty where it asks for nothing.
        credentials: &'a str,
        /// For the logic's `join_attempt` and `join`.
        hello: &'a [u8],
    },
    /// A player is back.
    Resume {
        token: &'a str,
    },
    Message {
        /// From 1, one more each time, over all connections of the player.
        number: u32,
        /// For the logic's `message`.
        bytes: &'a [u8],
    },
    Ping(u64),
    /// With the number of the engine's Ping.
    Pong(u64),
    Leave,
}

impl<'a> ClientFrame<'a> {
    /// Reads a whole frame.
    ///
    /// # Errors
    /// [`FrameError`] if it is none; nothing is passed over.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (kind, rest) = bytes.split_first().ok_or(FrameError::Empty)?;
        let frame = match *kind {
            kind::JOIN => {
                let mut reader = Reader::new("Join", rest);
                let len = usize::from(reader.u8("length of the room")?);
                let room = reader.text("room", len, ROOM_NAME_BYTES_MAX)?;
                let len = usize::from(reader.u16("length of the credentials")?);
                let credentials = reader.text("credentials", len, CREDENTIALS_BYTES_MAX)?;
                ClientFrame::Join { room, credentials, hello: reader.last_bytes() }
            }
            kind::RESUME => {
                ClientFrame::Resume { token: Reader::new("Resume", rest).last_text("token", TOKEN_BYTES_MAX)? }
            }
            kind::MESSAGE => {
                let mut reader = Reader::new("Message", rest);
                let number = reader.u32("input number")?;
                ClientFrame::Message { number, bytes: reader.last_bytes() }
            }
            kind::PING => ClientFrame::Ping(lone_u64("Ping", rest)?),
            kind::PONG => ClientFrame::Pong(lone_u64("Pong", rest)?),
            kind::LEAVE => {
                Reader::new("Leave", rest).end()?;
                ClientFrame::Leave
            }
            other => return Err(FrameError::UnknownKind(other)),
        };
        Ok(frame)
    }

    /// Appends the frame.
    ///
    /// # Panics
    /// If a part is longer than its limit (`limits`).
    pub fn encode(&self, to: &mut Vec<u8>) {
        match *self {
            ClientFrame::Join { room, credentials, hello } => {
                assert!(room.len() <= ROOM_NAME_BYTES_MAX, "a room's name has at most {ROOM_NAME_BYTES_MAX} bytes");
                assert!(
                    credentials.len() <= CREDENTIALS_BYTES_MAX,
                    "at most {CREDENTIALS_BYTES_MAX} bytes are credentials"
                );
                let room_len = u8::try_from(room.len()).expect("within the limit");
                let credentials_len = u16::try_from(credentials.len()).expect("within the limit");
                to.extend_from_slice(&[kind::JOIN, room_len]);
                to.extend_from_slice(room.as_bytes());
                to.extend_from_slice(&credentials_len.to_le_bytes());
                to.extend_from_slice(credentials.as_bytes());
                to.extend_from_slice(hello);
            }
            ClientFrame::Resume { token } => {
                assert!(token.len() <= TOKEN_BYTES_MAX, "a token has at most {TOKEN_BYTES_MAX} bytes");
                to.push(kind::RESUME);
                to.extend_from_slice(token.as_bytes());
            }
            ClientFrame::Message { number, bytes } => {
                to.push(kind::MESSAGE);
                to.extend_from_slice(&number.to_le_bytes());
                to.extend_from_slice(bytes);
            }
            ClientFrame::Ping(number) => push_u64(kind::PING, number, to),
            ClientFrame::Pong(number) => push_u64(kind::PONG, number, to),
            ClientFrame::Leave => to.push(kind::LEAVE),
        }
    }
}

fn lone_u64(frame: &'static str, bytes: &[u8]) -> Result<u64, FrameError> {
    let mut reader = Reader::new(frame, bytes);
    let number = reader.u64("number")?;
    reader.end()?;
    Ok(number)
}

fn push_u64(kind: u8, number: u64, to: &mut Vec<u8>) {
    to.push(kind);
    to.extend_from_slice(&number.to_le_bytes());
}
