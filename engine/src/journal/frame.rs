//! Frames, which hold some records each, and the heads of segments, as bytes. `docs/journal.md` gives them; no file is known here.
//!
//! A frame is made so that its damage can be told from a write that never reached the disk: each of its sectors holds something
//! else than zeroes, whatever the record says, and zeroes are what an unwritten sector of an appended file reads as.

use crc32c::{crc32c, crc32c_append};
use room::{RECORD_FORMAT, RECORD_FORMAT_OLDEST, RecordKind};
use xxhash_rust::xxh3::xxh3_64;

use super::batch::FRAME_FULL_BYTES;

/// The version of frames and heads.
pub const JOURNAL_FORMAT: u16 = 2;
/// The unit in which a disk writes, or does not.
pub const SECTOR_BYTES: usize = 512;
/// Before the first frame of a segment.
pub const SEGMENT_HEAD_BYTES: usize = 256;
pub const FRAME_HEAD_BYTES: usize = 56;
pub(super) const FRAME_TAIL_BYTES: usize = 5;
/// A payload: the largest body of a request, and what goes with it.
pub const PAYLOAD_BYTES_MAX: usize = 80 << 20;
/// What goes before a payload: its kind, and two numbers.
pub(super) const RECORD_HEAD_BYTES_MAX: usize = 1 + 2 * VARINT_BYTES_MAX;
const VARINT_BYTES_MAX: usize = 10;
/// All records of a frame: it is full before the last one.
const CONTENT_BYTES_MAX: usize = FRAME_FULL_BYTES + RECORD_HEAD_BYTES_MAX + PAYLOAD_BYTES_MAX;
/// Of a room's name.
const NAME_BYTES_MAX: usize = 64;

/// No byte of it is zero, so that the piece of a frame in its first sector is not.
const FRAME_MAGIC: u32 = u32::from_le_bytes([0x91, b'H', b'J', b'F']);
const SEGMENT_MAGIC: [u8; 8] = *b"HOTJRNL\0";
/// Not zero either: the piece in the last sector.
const FRAME_END: u8 = 0xE5;

const _: () = assert!(crate::config::REQUEST_BODY_BYTES_MAX.max + (1 << 20) <= PAYLOAD_BYTES_MAX as u64);
const _: () = assert!(crate::config::ROOM_NAME_BYTES_MAX <= NAME_BYTES_MAX);

/// A place in a room's journal: after a frame with this hash, whose last record has this number. Zeroes: before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    pub seq: u64,
    pub hash: u64,
}

/// What a segment says of itself before its first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHead {
    /// Of what is in the segment.
    pub record_format: u16,
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

/// One frame in a segment's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// In order; there is at least one.
    pub records: Vec<StoredRecord>,
    /// Everything up to this record was on the disk when this frame was written.
    pub synced: u64,
    /// After this frame.
    pub position: Position,
    /// Where the next frame starts.
    pub end: usize,
}

/// A record as a journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    pub seq: u64,
    /// Of the room, before the record.
    pub tick: u64,
    pub kind: RecordKind,
    pub payload: Vec<u8>,
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
    #[error("it does not follow the frame before it")]
    Chain,
    #[error("its checksum is right, but it does not hold the {expected} records that its head says")]
    Records { expected: u16 },
}

/// Why bytes are no head of a segment that this engine reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    #[error("{0}")]
    Damaged(String),
    #[error(
        "journal format {journal} and record format {record}, written by {engine}; this engine reads journal format \
         {JOURNAL_FORMAT} and record formats {RECORD_FORMAT_OLDEST} to {RECORD_FORMAT}"
    )]
    Format { journal: u16, record: u16, engine: String },
}

impl SegmentHead {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEAD_BYTES);
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&JOURNAL_FORMAT.to_le_bytes());
        out.extend_from_slice(&self.record_format.to_le_bytes());
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
    /// [`HeadFault`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HeadFault> {
        let damaged = |what: String| Err(HeadFault::Damaged(what));
        let Some(head) = bytes.get(..SEGMENT_HEAD_BYTES) else {
            return damaged(format!("{} bytes, the head of a segment has {SEGMENT_HEAD_BYTES}", bytes.len()));
        };
        let (content, checksum) = head.split_at(SEGMENT_HEAD_BYTES - 4);
        if content[..8] != SEGMENT_MAGIC {
            return damaged("this is no segment of a journal".to_owned());
        }
        if u32_at(checksum, 0) != crc32c(content) {
            return damaged("the head of the segment is damaged: its checksum is another".to_owned());
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
        let (journal, record) = (u16_at(content, 8), u16_at(content, 10));
        if journal != JOURNAL_FORMAT || !(RECORD_FORMAT_OLDEST..=RECORD_FORMAT).contains(&record) {
            let engine = texts.1.unwrap_or_else(|| "another engine".to_owned());
            return Err(HeadFault::Format { journal, record, engine });
        }
        let (Some(name), Some(engine)) = texts else { return damaged("the names in the head are no text".to_owned()) };
        Ok(Self { record_format: record, room, name, after: Position { seq, hash }, salt, engine })
    }
}

/// Makes a frame that follows `position`, and moves that on. `bytes` have its records, and room for its head and tail; `records` is
/// how many there are, and the tick of the first.
pub(super) fn seal(
    bytes: &mut [u8],
    head: &SegmentHead,
    position: &mut Position,
    synced: u64,
    (records, tick): (u16, u64),
) {
    let first = position.seq + 1;
    let content = bytes.len() - FRAME_HEAD_BYTES - FRAME_TAIL_BYTES;
    assert!(content <= CONTENT_BYTES_MAX && records > 0, "{records} records, {content} bytes");
    bytes[..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
    bytes[4..6].copy_from_slice(&JOURNAL_FORMAT.to_le_bytes());
    bytes[6..8].copy_from_slice(&records.to_le_bytes());
    for (at, number) in [(8, head.room), (16, first), (24, tick), (32, synced), (40, position.hash)] {
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    bytes[48..52].copy_from_slice(&u32::try_from(content).expect("see above").to_le_bytes());
    let checksum = crc32c(&bytes[..FRAME_HEAD_BYTES - 4]);
    bytes[FRAME_HEAD_BYTES - 4..FRAME_HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    let at_tail = FRAME_HEAD_BYTES + content;
    mask(&mut bytes[FRAME_HEAD_BYTES..at_tail], head.salt ^ first);
    let checksum = crc32c(&bytes[..at_tail]);
    bytes[at_tail..at_tail + 4].copy_from_slice(&checksum.to_le_bytes());
    bytes[at_tail + 4] = FRAME_END;
    *position = Position { seq: position.seq + u64::from(records), hash: xxh3_64(bytes) };
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
    let count = u16_at(content, 6);
    let mut records = content[FRAME_HEAD_BYTES..].to_vec();
    mask(&mut records, head.salt ^ seq);
    let records = read_records(&records, seq, u64_at(content, 24), count);
    let records = records.filter(|records| !records.is_empty()).ok_or(FrameFault::Records { expected: count })?;
    let position = Position { seq: position.seq + u64::from(count), hash: xxh3_64(frame) };
    Ok(Frame { records, synced: u64_at(content, 32), position, end: at + whole })
}

/// `None` unless there are as many, to the last byte.
fn read_records(mut bytes: &[u8], first: u64, mut tick: u64, count: u16) -> Option<Vec<StoredRecord>> {
    let mut records = Vec::with_capacity(usize::from(count));
    for seq in (first..).take(usize::from(count)) {
        let (kind, after) = bytes.split_first()?;
        let (step, after) = split_varint(after)?;
        let (length, after) = split_varint(after)?;
        let (payload, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        (bytes, tick) = (after, tick.wrapping_add(unzigzag(step)));
        records.push(StoredRecord { seq, tick, kind: RecordKind(u16::from(*kind)), payload: payload.to_vec() });
    }
    bytes.is_empty().then_some(records)
}

/// True if what is at `at` can only be a write that did not reach the disk whole: no frame after `at` was written later than
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
    // A frame that says it was written when this one was on the disk: then this one was whole once.
    let is_refuted = || {
        (at + 1..=bytes.len().saturating_sub(FRAME_HEAD_BYTES))
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
    if len > CONTENT_BYTES_MAX {
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
        word ^ (word >> 31)
    };
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let masked = u64_at(word, 0) ^ next();
        word.copy_from_slice(&masked.to_le_bytes());
    }
    let rest = words.into_remainder();
    rest.iter_mut().zip(next().to_le_bytes()).for_each(|(byte, noise)| *byte ^= noise);
}

/// Appends a number in as few bytes as it needs: seven bits in each, the lowest first, the highest bit of all but the last set.
#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// A number as [`put_varint`] writes it, and what comes after; `None` for what is none, or is longer than need be.
fn split_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(VARINT_BYTES_MAX) {
        let part = u64::from(byte & 0x7F);
        number |= part << (7 * at);
        if number >> (7 * at) != part {
            return None;
        }
        if byte & 0x80 == 0 {
            let is_shortest = *byte > 0 || at == 0;
            return is_shortest.then_some((number, &bytes[at + 1..]));
        }
    }
    None
}

/// A step forth or back, small as a number if it is small: 0, -1, 1, -2, …
#[inline]
pub(super) fn zigzag(step: u64) -> u64 {
    (step << 1) ^ if step >> 63 == 1 { u64::MAX } else { 0 }
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ if number & 1 == 1 { u64::MAX } else { 0 }
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
