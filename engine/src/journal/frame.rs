//! The frames of records and the heads of segments, as bytes. `docs/journal.md` gives them; no file is known here.
//!
//! A frame is made so that its damage can be told from a write that never reached the disk: each of its sectors holds something
//! else than zeroes, whatever the record says, and zeroes are what an unwritten sector of an appended file reads as.

use crc32c::{crc32c, crc32c_append};
use room::{RECORD_FORMAT, RecordKind};
use xxhash_rust::xxh3::xxh3_64;

/// The version of frames and heads.
pub const JOURNAL_FORMAT: u16 = 1;
/// The unit in which a disk writes, or does not.
pub const SECTOR_BYTES: usize = 512;
/// Before the first frame of a segment.
pub const SEGMENT_HEAD_BYTES: usize = 256;
const FRAME_HEAD_BYTES: usize = 56;
const FRAME_TAIL_BYTES: usize = 5;
/// A payload: the largest body of a request, and what goes with it.
pub const PAYLOAD_BYTES_MAX: usize = 80 << 20;
/// Of a room's name.
const NAME_BYTES_MAX: usize = 64;

/// No byte of it is zero, so that the piece of a frame in its first sector is not.
const FRAME_MAGIC: u32 = u32::from_le_bytes([0x91, b'H', b'J', b'F']);
const SEGMENT_MAGIC: [u8; 8] = *b"HOTJRNL\0";
/// Not zero either: the piece in the last sector.
const FRAME_END: u8 = 0xE5;

const _: () = assert!(crate::config::REQUEST_BODY_BYTES_MAX.max + (1 << 20) <= PAYLOAD_BYTES_MAX as u64);
const _: () = assert!(crate::config::ROOM_NAME_BYTES_MAX <= NAME_BYTES_MAX);

/// A place in a room's journal: after the record with this number, whose frame has this hash. Zeroes: before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    pub seq: u64,
    pub hash: u64,
}

/// What a segment says of itself before its first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHead {
    /// Told apart from another room of the same name: random, from when the room was made.
    pub room: u64,
    pub name: String,
    /// Where the segment begins.
    pub after: Position,
    /// What payloads are masked with.
    pub salt: u64,
    /// The engine that wrote it.
    pub engine: String,
}

/// One record in a segment's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub seq: u64,
    pub tick: u64,
    pub kind: RecordKind,
    /// Everything up to this record was on the disk when this frame was written.
    pub synced: u64,
    pub payload: Vec<u8>,
    /// After this frame.
    pub position: Position,
    /// Where the next frame starts.
    pub end: usize,
}

/// What is wrong with a frame. Each text is what was expected and what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    #[error("{found} bytes are left, a frame has at least {}", FRAME_HEAD_BYTES + FRAME_TAIL_BYTES)]
    Short { found: usize },
    #[error("its head is damaged")]
    Head,
    #[error("it has {found} bytes, where its head says {expected}")]
    Cut { expected: usize, found: usize },
    #[error("its checksum is another")]
    Checksum,
    #[error("it has format {found}, this engine reads {JOURNAL_FORMAT}")]
    Format { found: u16 },
    #[error("it says record {found}, record {expected} was expected")]
    Seq { expected: u64, found: u64 },
    #[error("it is of another room")]
    Room,
    #[error("it does not follow the record before it")]
    Chain,
}

impl SegmentHead {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEAD_BYTES);
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&JOURNAL_FORMAT.to_le_bytes());
        out.extend_from_slice(&RECORD_FORMAT.to_le_bytes());
        for number in [self.room, self.after.seq, self.after.hash, self.salt] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for text in [&self.name, &self.engine] {
            let cut = &text.as_bytes()[..text.len().min(NAME_BYTES_MAX)];
            out.push(u8::try_from(cut.len()).expect("at most 64"));
            out.extend_from_slice(cut);
        }
        out.resize(SEGMENT_HEAD_BYTES - 4, 0);
        let checksum = crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// # Errors
    /// Why the bytes are no head of a segment that this engine reads.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Some(head) = bytes.get(..SEGMENT_HEAD_BYTES) else {
            return Err(format!("{} bytes, the head of a segment has {SEGMENT_HEAD_BYTES}", bytes.len()));
        };
        let (content, checksum) = head.split_at(SEGMENT_HEAD_BYTES - 4);
        if content[..8] != SEGMENT_MAGIC {
            return Err("this is no segment of a journal".to_owned());
        }
        let formats = [u16_at(content, 8), u16_at(content, 10)];
        if u32_at(checksum, 0) != crc32c(content) {
            return Err("the head of the segment is damaged: its checksum is another".to_owned());
        }
        if formats != [JOURNAL_FORMAT, RECORD_FORMAT] {
            let [journal, record] = formats;
            let expected = format!("journal {JOURNAL_FORMAT}, records {RECORD_FORMAT}");
            return Err(format!("formats journal {journal}, records {record}; this engine reads {expected}"));
        }
        let [room, seq, hash, salt] = [12, 20, 28, 36].map(|at| u64_at(content, at));
        let mut rest = &content[44..];
        let mut text = || {
            let (len, after) = rest.split_first()?;
            let (text, after) = after.split_at_checked(usize::from(*len))?;
            rest = after;
            String::from_utf8(text.to_vec()).ok()
        };
        let texts = (text(), text());
        let (Some(name), Some(engine)) = texts else { return Err("the names in the head are no text".to_owned()) };
        Ok(Self { room, name, after: Position { seq, hash }, salt, engine })
    }
}

/// Appends the frame of a record that follows `position`, and moves that on.
pub fn put_frame(
    out: &mut Vec<u8>,
    head: &SegmentHead,
    position: &mut Position,
    synced: u64,
    (kind, tick): (RecordKind, u64),
    payload: &[u8],
) {
    assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a record has a limit");
    let (start, seq) = (out.len(), position.seq + 1);
    out.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
    out.extend_from_slice(&JOURNAL_FORMAT.to_le_bytes());
    out.extend_from_slice(&kind.0.to_le_bytes());
    for number in [head.room, seq, tick, synced, position.hash] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&u32::try_from(payload.len()).expect("see above").to_le_bytes());
    let checksum = crc32c(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    debug_assert_eq!(out.len() - start, FRAME_HEAD_BYTES);
    out.extend_from_slice(payload);
    mask(&mut out[start + FRAME_HEAD_BYTES..], head.salt ^ seq);
    let checksum = crc32c(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.push(FRAME_END);
    *position = Position { seq, hash: xxh3_64(&out[start..]) };
}

/// The frame at `at`, which follows `position`.
///
/// # Errors
/// [`FrameFault`]: something else is there.
pub fn read_frame(bytes: &[u8], at: usize, head: &SegmentHead, position: Position) -> Result<Frame, FrameFault> {
    let rest = &bytes[at..];
    let FrameHead { len, seq, room, previous, .. } = frame_head(rest)?;
    let whole = FRAME_HEAD_BYTES + len + FRAME_TAIL_BYTES;
    let frame = rest.get(..whole).ok_or(FrameFault::Cut { expected: whole, found: rest.len() })?;
    let (content, tail) = frame.split_at(whole - FRAME_TAIL_BYTES);
    if u32_at(tail, 0) != crc32c(content) || tail[4] != FRAME_END {
        return Err(FrameFault::Checksum);
    }
    let format = u16_at(content, 4);
    if format != JOURNAL_FORMAT {
        return Err(FrameFault::Format { found: format });
    }
    if room != head.room {
        return Err(FrameFault::Room);
    }
    if seq != position.seq + 1 {
        return Err(FrameFault::Seq { expected: position.seq + 1, found: seq });
    }
    if previous != position.hash {
        return Err(FrameFault::Chain);
    }
    let mut payload = content[FRAME_HEAD_BYTES..].to_vec();
    mask(&mut payload, head.salt ^ seq);
    Ok(Frame {
        seq,
        tick: u64_at(content, 24),
        kind: RecordKind(u16_at(content, 6)),
        synced: u64_at(content, 32),
        payload,
        position: Position { seq, hash: xxh3_64(frame) },
        end: at + whole,
    })
}

/// True if what is at `at` can only be a write that did not reach the disk whole: no record after `at` was written later than
/// that one was synced, and a part of the frame is missing or has stayed zero up to the end of its sector.
pub fn is_torn(bytes: &[u8], at: usize, head: &SegmentHead, position: Position) -> bool {
    let rest = &bytes[at..];
    let (extent, is_known) = match frame_head(rest) {
        Ok(head) => (FRAME_HEAD_BYTES + head.len + FRAME_TAIL_BYTES, true),
        Err(_) => (FRAME_HEAD_BYTES, false),
    };
    let is_cut = rest.len() < extent && (is_known || rest.len() < FRAME_HEAD_BYTES);
    let end = (at + extent).min(bytes.len());
    let has_hole = (at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)).any(|sector| {
        let piece = &bytes[at.max(sector * SECTOR_BYTES)..bytes.len().min((sector + 1) * SECTOR_BYTES)];
        piece.iter().all(|byte| *byte == 0)
    });
    // A record that says it was written when this one was on the disk: then this one was whole once.
    let is_refuted = || {
        (at + 1..bytes.len().saturating_sub(FRAME_HEAD_BYTES))
            .filter(|later| bytes[*later] == FRAME_MAGIC.to_le_bytes()[0])
            .filter_map(|later| frame_head(&bytes[later..]).ok())
            .any(|later| later.room == head.room && later.seq > position.seq && later.synced > position.seq)
    };
    (is_cut || has_hole) && !is_refuted()
}

struct FrameHead {
    room: u64,
    seq: u64,
    synced: u64,
    previous: u64,
    len: usize,
}

fn frame_head(rest: &[u8]) -> Result<FrameHead, FrameFault> {
    let head = rest.get(..FRAME_HEAD_BYTES).ok_or(FrameFault::Short { found: rest.len() })?;
    let checksum = u32_at(head, FRAME_HEAD_BYTES - 4);
    if u32_at(head, 0) != FRAME_MAGIC || crc32c_append(0, &head[..FRAME_HEAD_BYTES - 4]) != checksum {
        return Err(FrameFault::Head);
    }
    let len = u32_at(head, 48) as usize;
    if len > PAYLOAD_BYTES_MAX {
        return Err(FrameFault::Head);
    }
    let [room, seq, synced, previous] = [8, 16, 32, 40].map(|at| u64_at(head, at));
    Ok(FrameHead { room, seq, synced, previous, len })
}

/// Exchanges bytes with a stream of noise, and back: what a player sends must not look like a sector that was never written.
fn mask(bytes: &mut [u8], mut state: u64) {
    // SplitMix64 (Steele, Lea, Flood, 2014).
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)).to_le_bytes()
    };
    for chunk in bytes.chunks_mut(8) {
        chunk.iter_mut().zip(next()).for_each(|(byte, noise)| *byte ^= noise);
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
