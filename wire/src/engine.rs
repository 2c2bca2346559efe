//! The frames of the engine.

use crate::limits::{ROOM_NAME_BYTES_MAX, TEXT_BYTES_MAX, TOKEN_BYTES_MAX, VERSION_NAME_BYTES_MAX, cut};
use crate::reader::Reader;
use crate::{CloseCode, FrameError};

/// The first byte of each frame: for those who put a header before a payload that many share.
pub mod kind {
    pub const JOINED: u8 = 0x81;
    pub const MESSAGE: u8 = 0x83;
    pub const PONG: u8 = 0x84;
    pub const PING: u8 = 0x85;
    pub const VERSION: u8 = 0x86;
    pub const RESYNC: u8 = 0x87;
    pub const ERROR: u8 = 0x88;
    pub const NOTICE: u8 = 0x89;
    pub const CLOSING: u8 = 0x8f;
}

/// What every frame of the engine begins with, after its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// Of the room, when it made the frame. 0 before the player is in one.
    pub tick: u64,
    /// The number of the last input of this player that was consumed; 0: none.
    pub consumed: u32,
}

impl Header {
    /// With the kind before it.
    pub const BYTES: usize = 13;

    /// What the first bytes of a frame say.
    #[inline]
    #[must_use]
    pub fn of(bytes: &[u8; Header::BYTES]) -> Header {
        let [_, tick @ .., c0, c1, c2, c3] = *bytes;
        Header { tick: u64::from_le_bytes(tick), consumed: u32::from_le_bytes([c0, c1, c2, c3]) }
    }

    /// The first bytes of a frame of this kind.
    #[inline]
    #[must_use]
    pub fn with_kind(self, kind: u8) -> [u8; Header::BYTES] {
        let mut bytes = [kind; Header::BYTES];
        bytes[1..9].copy_from_slice(&self.tick.to_le_bytes());
        bytes[9..].copy_from_slice(&self.consumed.to_le_bytes());
        bytes
    }
}

/// What the engine says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineFrame<'a> {
    /// The answer to Join and to Resume.
    Joined(Joined<'a>),
    /// What the logic sent.
    Message(&'a [u8]),
    /// With the number of the client's Ping.
    Pong(u64),
    Ping(u64),
    /// The room runs this version from here on.
    Version {
        version: u32,
        name: &'a str,
    },
    /// The room went back in time: the tick may be lower than before.
    Resync {
        version: u32,
        reason: &'a str,
    },
    /// An input was not applied, and will not be; the connection goes on.
    Error {
        error: InputError,
        number: u32,
        text: &'a str,
    },
    /// For whoever develops the game.
    Notice {
        severity: Severity,
        text: &'a str,
    },
    /// The last frame.
    Closing {
        code: CloseCode,
        reason: &'a str,
    },
}

/// A player is in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined<'a> {
    /// From 1 to 2^53 - 1: exact in JavaScript.
    pub player: u64,
    pub resumed: bool,
    /// Ticks per second, 0 if the room does not tick.
    pub tick_hz: u16,
    pub version: u32,
    pub version_name: &'a str,
    pub room: &'a str,
    /// For Resume; whoever has it is the player.
    pub token: &'a str,
}

/// Why an input was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum InputError {
    /// The logic failed on it.
    Fault = 1,
    /// It was applied, but then the room went back in time, and the version that runs now does not take it.
    Undone = 2,
}

impl InputError {
    fn of(code: u16) -> Option<InputError> {
        [InputError::Fault, InputError::Undone].into_iter().find(|known| *known as u16 == code)
    }
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Severity {
    /// What was said before holds no more.
    Over = 0,
    Information = 1,
    Error = 2,
}

impl Severity {
    /// `None` for a number that means nothing.
    #[must_use]
    pub fn of(number: u8) -> Option<Severity> {
        [Severity::Over, Severity::Information, Severity::Error].into_iter().find(|known| *known as u8 == number)
    }
}

impl<'a> EngineFrame<'a> {
    /// Reads a whole frame.
    ///
    /// # Errors
    /// [`FrameError`] if it is none.
    pub fn decode(bytes: &'a [u8]) -> Result<(Header, Self), FrameError> {
        let (kind, rest) = bytes.split_first().ok_or(FrameError::Empty)?;
        let name = name(*kind).ok_or(FrameError::UnknownKind(*kind))?;
        let mut reader = Reader::new(name, rest);
        let header = Header { tick: reader.u64("tick")?, consumed: reader.u32("last consumed input")? };
        let frame = match *kind {
            kind::JOINED => EngineFrame::Joined(Joined::read(reader)?),
            kind::MESSAGE => EngineFrame::Message(reader.last_bytes()),
            kind::PONG => EngineFrame::Pong(last_u64(reader)?),
            kind::PING => EngineFrame::Ping(last_u64(reader)?),
            kind::VERSION => {
                let version = reader.u32("version")?;
                EngineFrame::Version { version, name: reader.last_text("name", VERSION_NAME_BYTES_MAX)? }
            }
            kind::RESYNC => {
                let version = reader.u32("version")?;
                EngineFrame::Resync { version, reason: reader.last_text("reason", TEXT_BYTES_MAX)? }
            }
            kind::ERROR => {
                let code = reader.u16("code")?;
                let error = InputError::of(code).ok_or_else(|| reader.bad_value("code", code.into()))?;
                let number = reader.u32("input number")?;
                EngineFrame::Error { error, number, text: reader.last_text("text", TEXT_BYTES_MAX)? }
            }
            kind::NOTICE => {
                let number = reader.u8("severity")?;
                let severity = Severity::of(number).ok_or_else(|| reader.bad_value("severity", number.into()))?;
                EngineFrame::Notice { severity, text: reader.last_text("text", TEXT_BYTES_MAX)? }
            }
            kind::CLOSING => {
                let number = reader.u16("code")?;
                let code = CloseCode::of(number).ok_or_else(|| reader.bad_value("code", number.into()))?;
                EngineFrame::Closing { code, reason: reader.last_text("reason", TEXT_BYTES_MAX)? }
            }
            _ => unreachable!("it has a name"),
        };
        Ok((header, frame))
    }

    /// Appends the frame. Texts for people are cut to their limit.
    ///
    /// # Panics
    /// If a name or a token is longer than its limit (`limits`).
    pub fn encode(&self, header: Header, to: &mut Vec<u8>) {
        to.extend_from_slice(&header.with_kind(self.kind()));
        match *self {
            EngineFrame::Joined(joined) => joined.write(to),
            EngineFrame::Message(bytes) => to.extend_from_slice(bytes),
            EngineFrame::Pong(number) | EngineFrame::Ping(number) => to.extend_from_slice(&number.to_le_bytes()),
            EngineFrame::Version { version, name } => {
                assert!(
                    name.len() <= VERSION_NAME_BYTES_MAX,
                    "a version's name has at most {VERSION_NAME_BYTES_MAX} bytes"
                );
                to.extend_from_slice(&version.to_le_bytes());
                to.extend_from_slice(name.as_bytes());
            }
            EngineFrame::Resync { version, reason } => {
                to.extend_from_slice(&version.to_le_bytes());
                push_text(reason, to);
            }
            EngineFrame::Error { error, number, text } => {
                to.extend_from_slice(&(error as u16).to_le_bytes());
                to.extend_from_slice(&number.to_le_bytes());
                push_text(text, to);
            }
            EngineFrame::Notice { severity, text } => {
                to.push(severity as u8);
                push_text(text, to);
            }
            EngineFrame::Closing { code, reason } => {
                to.extend_from_slice(&code.code().to_le_bytes());
                push_text(reason, to);
            }
        }
    }

    /// Its first byte.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            EngineFrame::Joined(_) => kind::JOINED,
            EngineFrame::Message(_) => kind::MESSAGE,
            EngineFrame::Pong(_) => kind::PONG,
            EngineFrame::Ping(_) => kind::PING,
            EngineFrame::Version { .. } => kind::VERSION,
            EngineFrame::Resync { .. } => kind::RESYNC,
            EngineFrame::Error { .. } => kind::ERROR,
            EngineFrame::Notice { .. } => kind::NOTICE,
            EngineFrame::Closing { .. } => kind::CLOSING,
        }
    }
}

impl<'a> Joined<'a> {
    fn read(mut reader: Reader<'a>) -> Result<Self, FrameError> {
        let player = reader.u64("player")?;
        let resumed = match reader.u8("mark of a resume")? {
            0 => false,
            1 => true,
            other => return Err(reader.bad_value("mark of a resume", other.into())),
        };
        let tick_hz = reader.u16("ticks per second")?;
        let version = reader.u32("version")?;
        let len = usize::from(reader.u8("length of the version's name")?);
        let version_name = reader.text("version's name", len, VERSION_NAME_BYTES_MAX)?;
        let len = usize::from(reader.u8("length of the room")?);
        let room = reader.text("room", len, ROOM_NAME_BYTES_MAX)?;
        let token = reader.last_text("token", TOKEN_BYTES_MAX)?;
        Ok(Joined { player, resumed, tick_hz, version, version_name, room, token })
    }

    fn write(self, to: &mut Vec<u8>) {
        assert!(self.room.len() <= ROOM_NAME_BYTES_MAX, "a room's name has at most {ROOM_NAME_BYTES_MAX} bytes");
        assert!(self.token.len() <= TOKEN_BYTES_MAX, "a token has at most {TOKEN_BYTES_MAX} bytes");
        let name_len = u8::try_from(self.version_name.len()).expect("a version's name has at most 255 bytes");
        let room_len = u8::try_from(self.room.len()).expect("within the limit");
        to.extend_from_slice(&self.player.to_le_bytes());
        to.push(u8::from(self.resumed));
        to.extend_from_slice(&self.tick_hz.to_le_bytes());
        to.extend_from_slice(&self.version.to_le_bytes());
        to.push(name_len);
        to.extend_from_slice(self.version_name.as_bytes());
        to.push(room_len);
        to.extend_from_slice(self.room.as_bytes());
        to.extend_from_slice(self.token.as_bytes());
    }
}

fn name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        kind::JOINED => "Joined",
        kind::MESSAGE => "Message",
        kind::PONG => "Pong",
        kind::PING => "Ping",
        kind::VERSION => "Version",
        kind::RESYNC => "Resync",
        kind::ERROR => "Error",
        kind::NOTICE => "Notice",
        kind::CLOSING => "Closing",
        _ => return None,
    })
}

fn last_u64(mut reader: Reader<'_>) -> Result<u64, FrameError> {
    let number = reader.u64("number")?;
    reader.end()?;
    Ok(number)
}

fn push_text(text: &str, to: &mut Vec<u8>) {
    to.extend_from_slice(cut(text, TEXT_BYTES_MAX).as_bytes());
}
