//! The records of a journal as bytes: every input of a room, and what else happened to it. `docs/journal.md`, "Payloads".
//!
//! What frames them and where they are kept is not known here.

mod show;

use crate::bytes::{Reader, length, put_bytes, put_text};
use crate::input::{Input, LogicFault, Stamp, TrialId};
use crate::raw::fault_callback;
use crate::{LogicVersion, Malformed, Request};
use logic_api::{PlayerId, Tick, Version};
use std::sync::Arc;
use std::time::Duration;

/// The version of these encodings. What is newer is not read.
pub const RECORD_FORMAT: u16 = 4;
/// The oldest that is read: what has come since are kinds of records.
pub const RECORD_FORMAT_OLDEST: u16 = 2;

/// Which kind of record the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKind(pub u16);

impl RecordKind {
    pub const CREATE: Self = Self(1);
    pub const JOIN: Self = Self(2);
    pub const DROP: Self = Self(3);
    pub const RECONNECT: Self = Self(4);
    pub const LEAVE: Self = Self(5);
    pub const MESSAGE: Self = Self(6);
    pub const TICK: Self = Self(7);
    pub const REQUEST: Self = Self(8);
    pub const SIGNAL: Self = Self(9);
    pub const SWAP: Self = Self(10);
    pub const TERMINATE: Self = Self(11);
    pub const DISPOSE: Self = Self(12);
    pub const SKIP: Self = Self(13);
    pub const CONFIRM: Self = Self(14);
    pub const REWIND: Self = Self(15);
    pub const PRESENCE: Self = Self(16);
    pub const FREEZE: Self = Self(32);
    pub const HASH: Self = Self(33);
    pub const SKIPPED: Self = Self(34);
    pub const LEAVING: Self = Self(35);
    pub const FREEZE_IN_TICK: Self = Self(36);
}

/// Names a version of a logic beyond the life of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionMark {
    pub version: Version,
    pub name: String,
    /// What the code answers when it is asked.
    pub build_id: Vec<u8>,
    /// Of the plugin's file; all zero for a logic that is linked in.
    pub sha256: [u8; 32],
}

/// What a record says, read back.
#[derive(Debug, Clone)]
pub enum Record {
    /// The first input of a room, and the version that it ran on.
    Create {
        stamp: Stamp,
        version: VersionMark,
        config: Arc<[u8]>,
    },
    /// From here on this version ran the room.
    Swap {
        stamp: Stamp,
        to: VersionMark,
        /// `Table.field` or `Table`, which the operator had said may be dropped.
        drops: Vec<String>,
        trial: TrialId,
    },
    /// Any other input.
    Input {
        stamp: Stamp,
        input: Input,
    },
    Note(Note),
}

/// What happens to a room beside its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The room takes nothing but a swap from here on. With the time and randomness of the tick that failed, if it was one: it is
    /// no input, for it was not applied.
    Freeze { fault: LogicFault, tick: Option<Stamp> },
    /// The state hash at this place, for a replay to compare with.
    Hash(u64),
    /// What a recovery did without, and with it everything after it.
    Skipped(Skipped),
    /// The player is gone for good, and the room is still to hear of it, by a leave with this reason: it takes no inputs now, or the
    /// logic has failed on that leave.
    Leaving { player: PlayerId, reason: Arc<str> },
}

/// An input of a journal that ended the process: from the note of it on, the room is what it is without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    /// The number of its record.
    pub record: u64,
    /// 0 for the record's own input; else the record is a rewind, and this is the number of the input since the swap.
    pub again: u32,
}

impl Note {
    /// Appends the note's bytes and says which kind they are.
    pub fn encode(&self, out: &mut Vec<u8>) -> RecordKind {
        match self {
            Self::Freeze { fault, tick: None } => {
                put_fault(out, fault);
                RecordKind::FREEZE
            }
            Self::Freeze { fault, tick: Some(stamp) } => {
                put_stamp(out, *stamp);
                put_fault(out, fault);
                RecordKind::FREEZE_IN_TICK
            }
            Self::Hash(hash) => {
                out.extend_from_slice(&hash.to_le_bytes());
                RecordKind::HASH
            }
            Self::Skipped(Skipped { record, again }) => {
                out.extend_from_slice(&record.to_le_bytes());
                out.extend_from_slice(&again.to_le_bytes());
                RecordKind::SKIPPED
            }
            Self::Leaving { player, reason } => {
                out.extend_from_slice(&player.0.to_le_bytes());
                put_text(out, reason);
                RecordKind::LEAVING
            }
        }
    }
}

/// Appends an input's bytes and says which kind they are. `running` is the version that runs the room before it.
pub fn encode_input(stamp: Stamp, input: &Input, running: &LogicVersion, out: &mut Vec<u8>) -> RecordKind {
    put_stamp(out, stamp);
    let player = |out: &mut Vec<u8>, player: PlayerId| out.extend_from_slice(&player.0.to_le_bytes());
    match input {
        Input::Create { config } => {
            put_version(out, &running.mark());
            put_bytes(out, config);
            RecordKind::CREATE
        }
        Input::Join { player: who, hello, claims } => {
            player(out, *who);
            put_bytes(out, hello);
            put_text(out, claims);
            RecordKind::JOIN
        }
        Input::Drop { player: who } => {
            player(out, *who);
            RecordKind::DROP
        }
        Input::Reconnect { player: who } => {
            player(out, *who);
            RecordKind::RECONNECT
        }
        Input::Leave { player: who, reason } => {
            player(out, *who);
            put_text(out, reason);
            RecordKind::LEAVE
        }
        Input::Message { player: who, number, bytes } => {
            player(out, *who);
            out.extend_from_slice(&number.to_le_bytes());
            put_bytes(out, bytes);
            RecordKind::MESSAGE
        }
        Input::Skip { player: who, number } => {
            player(out, *who);
            out.extend_from_slice(&number.to_le_bytes());
            RecordKind::SKIP
        }
        Input::Presence { player: who, is_connected } => {
            player(out, *who);
            out.push(u8::from(*is_connected));
            RecordKind::PRESENCE
        }
        Input::Tick => RecordKind::TICK,
        Input::Confirm => RecordKind::CONFIRM,
        Input::Rewind { without } => {
            out.extend_from_slice(&length(without.len()));
            without.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
            RecordKind::REWIND
        }
        Input::Request(request) => {
            put_request(out, request);
            RecordKind::REQUEST
        }
        Input::Signal { name, bytes } => {
            put_text(out, name);
            put_bytes(out, bytes);
            RecordKind::SIGNAL
        }
        Input::Swap { to, drops, trial } => {
            put_version(out, &to.mark());
            out.extend_from_slice(&length(drops.len()));
            drops.iter().for_each(|drop| put_text(out, drop));
            out.extend_from_slice(&trial.0.to_le_bytes());
            RecordKind::SWAP
        }
        Input::Terminate { grace } => {
            out.extend_from_slice(&grace.as_secs().to_le_bytes());
            out.extend_from_slice(&grace.subsec_nanos().to_le_bytes());
            RecordKind::TERMINATE
        }
        Input::Dispose => RecordKind::DISPOSE,
    }
}

impl Record {
    /// The time and randomness of an input.
    pub fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Create { stamp, .. } | Self::Swap { stamp, .. } | Self::Input { stamp, .. } => Some(*stamp),
            Self::Note(_) => None,
        }
    }

    /// Reads the bytes of a record.
    ///
    /// # Errors
    /// They are not what a record of this kind has, to the last byte.
    pub fn decode(kind: RecordKind, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let record = read(kind, &mut reader)?;
        reader.end()?;
        Ok(record)
    }
}

fn read(kind: RecordKind, from: &mut Reader<'_>) -> Result<Record, Malformed> {
    Ok(Record::Note(match kind {
        RecordKind::FREEZE => Note::Freeze { fault: read_fault(from)?, tick: None },
        RecordKind::FREEZE_IN_TICK => {
            let stamp = read_stamp(from)?;
            Note::Freeze { fault: read_fault(from)?, tick: Some(stamp) }
        }
        RecordKind::HASH => Note::Hash(from.u64("state hash")?),
        RecordKind::SKIPPED => {
            Note::Skipped(Skipped { record: from.u64("record")?, again: from.u32("number of an input")? })
        }
        RecordKind::LEAVING => {
            Note::Leaving { player: PlayerId(from.u64("player")?), reason: from.text("reason")?.into() }
        }
        _ => return read_input(kind, from),
    }))
}

fn read_input(kind: RecordKind, from: &mut Reader<'_>) -> Result<Record, Malformed> {
    let stamp = read_stamp(from)?;
    let player = |from: &mut Reader<'_>| from.u64("player").map(PlayerId);
    let input = match kind {
        RecordKind::CREATE => {
            return Ok(Record::Create { stamp, version: read_version(from)?, config: from.bytes("config")?.into() });
        }
        RecordKind::SWAP => {
            let to = read_version(from)?;
            let count = from.u32("number of drops")?;
            let drops = (0..count).map(|_| from.text("drop").map(str::to_owned)).collect::<Result<_, _>>()?;
            return Ok(Record::Swap { stamp, to, drops, trial: TrialId(from.u64("trial")?) });
        }
        RecordKind::JOIN => {
            let (player, hello) = (player(from)?, from.bytes("hello")?.into());
            Input::Join { player, hello, claims: from.text("claims")?.into() }
        }
        RecordKind::DROP => Input::Drop { player: player(from)? },
        RecordKind::RECONNECT => Input::Reconnect { player: player(from)? },
        RecordKind::LEAVE => Input::Leave { player: player(from)?, reason: from.text("reason")?.into() },
        RecordKind::MESSAGE => {
            let (player, number) = (player(from)?, from.u32("number")?);
            Input::Message { player, number, bytes: from.bytes("message")?.into() }
        }
        RecordKind::SKIP => Input::Skip { player: player(from)?, number: from.u32("number")? },
        RecordKind::PRESENCE => Input::Presence { player: player(from)?, is_connected: from.flag("presence")? },
        RecordKind::TICK => Input::Tick,
        RecordKind::CONFIRM => Input::Confirm,
        RecordKind::REWIND => Input::Rewind { without: read_without(from)? },
        RecordKind::REQUEST => Input::Request(Arc::new(read_request(from)?)),
        RecordKind::SIGNAL => Input::Signal { name: from.text("signal")?.into(), bytes: from.bytes("bytes")?.into() },
        RecordKind::TERMINATE => {
            let (seconds, nanos) = (from.u64("grace")?, from.u32("grace")?);
            if nanos >= 1_000_000_000 {
                let expected = "less than a second of nanoseconds";
                return Err(Malformed::Value { what: "grace", found: nanos.into(), expected });
            }
            Input::Terminate { grace: Duration::new(seconds, nanos) }
        }
        RecordKind::DISPOSE => Input::Dispose,
        RecordKind(found) => {
            let expected = "one that this engine knows";
            return Err(Malformed::Value { what: "kind of record", found: found.into(), expected });
        }
    };
    Ok(Record::Input { stamp, input })
}

/// Numbers from 1, each above the one before.
fn read_without(from: &mut Reader<'_>) -> Result<Arc<[u32]>, Malformed> {
    let count = from.u32("number of lost inputs")?;
    let mut numbers: Vec<u32> = Vec::new();
    for _ in 0..count {
        let number = from.u32("lost input")?;
        if number <= numbers.last().copied().unwrap_or(0) {
            let expected = "numbers from 1, in ascending order";
            return Err(Malformed::Value { what: "lost input", found: number.into(), expected });
        }
        numbers.push(number);
    }
    Ok(numbers.into())
}

fn put_stamp(out: &mut Vec<u8>, stamp: Stamp) {
    out.extend_from_slice(&stamp.now_us.to_le_bytes());
    out.extend_from_slice(&stamp.seed.to_le_bytes());
}

fn read_stamp(from: &mut Reader<'_>) -> Result<Stamp, Malformed> {
    Ok(Stamp { now_us: from.u64("time")?, seed: from.u64("seed")? })
}

pub(crate) fn put_version(out: &mut Vec<u8>, mark: &VersionMark) {
    out.extend_from_slice(&mark.version.0.to_le_bytes());
    put_text(out, &mark.name);
    put_bytes(out, &mark.build_id);
    out.extend_from_slice(&mark.sha256);
}

pub(crate) fn read_version(from: &mut Reader<'_>) -> Result<VersionMark, Malformed> {
    Ok(VersionMark {
        version: Version(from.u32("version")?),
        name: from.text("name of the version")?.to_owned(),
        build_id: from.bytes("build id")?.to_vec(),
        sha256: from.array("sha256")?,
    })
}

pub(crate) fn put_fault(out: &mut Vec<u8>, fault: &LogicFault) {
    out.extend_from_slice(&fault.version.0.to_le_bytes());
    put_text(out, fault.callback);
    put_text(out, &fault.message);
    put_text(out, &fault.location);
    out.extend_from_slice(&fault.tick.0.to_le_bytes());
}

pub(crate) fn read_fault(from: &mut Reader<'_>) -> Result<LogicFault, Malformed> {
    let version = Version(from.u32("version")?);
    let name = from.text("callback")?;
    let unknown = Malformed::Value { what: "callback", found: name.len() as u64, expected: "a name that is known" };
    Ok(LogicFault {
        version,
        callback: fault_callback(name).ok_or(unknown)?,
        message: from.text("message")?.to_owned(),
        location: from.text("location")?.to_owned(),
        tick: Tick(from.u64("tick")?),
    })
}

fn put_request(out: &mut Vec<u8>, request: &Request) {
    put_text(out, &request.method);
    put_text(out, &request.path);
    put_text(out, &request.query);
    out.extend_from_slice(&length(request.headers.len()));
    for (name, value) in &request.headers {
        put_text(out, name);
        put_text(out, value);
    }
    put_bytes(out, &request.body);
}

fn read_request(from: &mut Reader<'_>) -> Result<Request, Malformed> {
    let method = from.text("method")?.to_owned();
    let path = from.text("path")?.to_owned();
    let query = from.text("query")?.to_owned();
    let count = from.u32("number of headers")?;
    // Not reserved ahead: the number is not to be believed before so many were read.
    let mut header = || Ok((from.text("header")?.to_owned(), from.text("header")?.to_owned()));
    let headers = (0..count).map(|_| header()).collect::<Result<_, Malformed>>()?;
    Ok(Request { method, path, query, headers, body: from.bytes("body")?.to_vec() })
}
