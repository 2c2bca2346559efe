//! The records of one room on their way to its log, written from the start as the frames that they are going to be.
//!
//! A frame costs what its records do not: a head, two checksums, a hash. What a room hands over at once is one frame, unless it is
//! long; until it is known where in the journal that is, it is unsealed.

use room::RecordKind;

use super::frame::{
    FRAME_HEAD_BYTES, FRAME_TAIL_BYTES, PAYLOAD_BYTES_MAX, Position, RECORD_HEAD_BYTES_MAX, SegmentHead,
};
use super::frame::{put_varint, seal, zigzag};

/// A frame that has become this long is followed by another one: a torn one is lost as a whole.
pub(super) const FRAME_FULL_BYTES: usize = 64 << 10;
/// Memory that is kept for the next batch.
pub(super) const KEPT_BYTES_MAX: usize = 1 << 20;

/// Each record takes three bytes at least, and a frame counts them in a `u16`.
const _: () = assert!(FRAME_FULL_BYTES / 3 < u16::MAX as usize);

/// Records of one room, in order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Frames, with room for their heads. The last one has no tail yet.
    bytes: Vec<u8>,
    frames: Vec<Unsealed>,
    /// Where the payload of the last record starts.
    last: usize,
    /// As it was before the last record.
    before: Before,
    /// One of them is about the room itself rather than its players: it is synced at once.
    pub is_weighty: bool,
}

#[derive(Debug, Clone, Copy)]
struct Unsealed {
    start: usize,
    records: u16,
    /// Of the first record, and of the last one.
    ticks: [u64; 2],
}

/// Small, for it is noted with each record: the tick is the last one of its frame before it. A frame that it began goes with it.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    len: usize,
    tick: u64,
    is_weighty: bool,
}

impl Batch {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Adds a record, whose payload `put` appends.
    ///
    /// # Panics
    /// The payload is longer than a payload may be, or of a kind beyond 255.
    pub fn push(&mut self, tick: u64, put: impl FnOnce(&mut Vec<u8>) -> RecordKind) {
        let len = self.bytes.len();
        match self.frames.last() {
            Some(frame) if len - frame.start < FRAME_FULL_BYTES => {}
            _ => self.begin_frame(tick),
        }
        let frame = self.frames.last_mut().expect("begun above");
        let [_, tick_before] = frame.ticks;
        (frame.records, frame.ticks[1]) = (frame.records + 1, tick);
        self.before = Before { len, tick: tick_before, is_weighty: self.is_weighty };
        let start = self.bytes.len();
        self.bytes.push(0);
        put_varint(&mut self.bytes, zigzag(tick.wrapping_sub(tick_before)));
        // Most payloads are shorter than 128 bytes: those stay where they are written.
        let at_length = self.bytes.len();
        self.bytes.push(0);
        self.last = self.bytes.len();
        let kind = put(&mut self.bytes);
        self.bytes[start] = u8::try_from(kind.0).expect("kinds are numbered below 256");
        self.put_length(at_length);
        self.is_weighty |= matches!(
            kind,
            RecordKind::CREATE | RecordKind::SWAP | RecordKind::CONFIRM | RecordKind::REWIND | RecordKind::DISPOSE
        );
    }

    fn begin_frame(&mut self, tick: u64) {
        self.end_frame();
        let start = self.bytes.len();
        self.frames.push(Unsealed { start, records: 0, ticks: [tick; 2] });
        self.bytes.resize(start + FRAME_HEAD_BYTES, 0);
    }

    fn end_frame(&mut self) {
        if !self.frames.is_empty() {
            self.bytes.resize(self.bytes.len() + FRAME_TAIL_BYTES, 0);
        }
    }

    /// Notes the length of the last payload before it, which has room for one byte of it there.
    fn put_length(&mut self, at: usize) {
        let length = self.bytes.len() - self.last;
        assert!(length <= PAYLOAD_BYTES_MAX, "a record has a limit");
        if let Ok(short @ 0..0x80) = u8::try_from(length) {
            self.bytes[at] = short;
            return;
        }
        let mut varint = Vec::with_capacity(RECORD_HEAD_BYTES_MAX);
        put_varint(&mut varint, length as u64);
        self.last = at + varint.len();
        self.bytes.splice(at..=at, varint);
    }

    /// Takes the record back that was just added.
    ///
    /// # Panics
    /// None was added since the last one was taken back.
    pub fn pop(&mut self) {
        let Before { len, tick, is_weighty } = self.before;
        assert!(len < self.bytes.len(), "one record at a time can be taken back");
        self.bytes.truncate(len);
        self.is_weighty = is_weighty;
        let frame = self.frames.last_mut().expect("that of the record");
        (frame.records, frame.ticks[1]) = (frame.records - 1, tick);
        if frame.records == 0 {
            self.frames.pop();
        }
    }

    /// The payload of the record that was just added.
    #[inline]
    pub fn last(&self) -> &[u8] {
        &self.bytes[self.last..]
    }

    /// That its frames will have, or a little less.
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Makes frames of it that follow `position`, moves that on, and adds them to `to`. The batch is empty then.
    pub fn seal_into(&mut self, to: &mut Vec<u8>, head: &SegmentHead, position: &mut Position, synced: u64) {
        self.end_frame();
        for number in 0..self.frames.len() {
            let Unsealed { start, records, ticks } = self.frames[number];
            let end = self.frames.get(number + 1).map_or(self.bytes.len(), |next| next.start);
            seal(&mut self.bytes[start..end], head, position, synced, (records, ticks[0]));
        }
        if to.is_empty() {
            std::mem::swap(to, &mut self.bytes);
        } else {
            to.extend_from_slice(&self.bytes);
        }
        let Self { bytes, frames, is_weighty, .. } = self;
        bytes.clear();
        bytes.shrink_to(KEPT_BYTES_MAX);
        frames.clear();
        *is_weighty = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::frame::{FrameFault, StoredRecord, read_frame};
    use proptest::prelude::*;
    use room::RECORD_FORMAT;

    fn head() -> SegmentHead {
        let (name, engine) = ("main".to_owned(), "test".to_owned());
        SegmentHead { record_format: RECORD_FORMAT, room: 7, name, after: Position::default(), salt: 8, engine }
    }

    type Plain = (u16, u64, Vec<u8>);

    fn push(batch: &mut Batch, (kind, tick, payload): &Plain) {
        batch.push(*tick, |out| {
            out.extend_from_slice(payload);
            RecordKind(*kind)
        });
        assert_eq!(batch.last(), payload);
    }

    /// What frames hold, and how many there are.
    fn read(bytes: &[u8]) -> (Vec<Plain>, usize) {
        let (mut at, mut position, mut records, mut frames) = (0, Position::default(), Vec::new(), 0);
        while at < bytes.len() {
            let frame = read_frame(bytes, at, &head(), position).unwrap();
            assert_eq!(frame.records.last().unwrap().seq, frame.position.seq);
            for StoredRecord { seq, tick, kind, payload } in frame.records {
                records.push((kind.0, tick, payload));
                assert_eq!(records.len() as u64, seq);
            }
            (at, position, frames) = (frame.end, frame.position, frames + 1);
        }
        (records, frames)
    }

    #[track_caller]
    fn check(batches: &[Vec<(Plain, bool)>]) -> usize {
        let (mut bytes, mut position, mut kept) = (Vec::new(), Position::default(), Vec::new());
        let mut batch = Batch::default();
        for records in batches {
            for (record, is_taken_back) in records {
                push(&mut batch, record);
                if *is_taken_back {
                    batch.pop();
                } else {
                    kept.push(record.clone());
                }
            }
            batch.seal_into(&mut bytes, &head(), &mut position, 0);
            assert!(batch.is_empty());
        }
        let (read, frames) = read(&bytes);
        assert_eq!(read, kept);
        assert_eq!(position.seq, kept.len() as u64);
        frames
    }

    fn record() -> impl Strategy<Value = (Plain, bool)> {
        let tick = prop_oneof![0..100_u64, any::<u64>()];
        let bytes = prop_oneof![0..300_usize, Just(127), Just(128), 16_000..17_000_usize, 60_000..70_000_usize];
        (0..256_u16, tick, bytes, any::<u8>(), prop::bool::weighted(0.2))
            .prop_map(|(kind, tick, bytes, byte, is_taken_back)| ((kind, tick, vec![byte; bytes]), is_taken_back))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_pushed_and_not_taken_back_is_read(
            batches in prop::collection::vec(prop::collection::vec(record(), 0..12), 0..5)
        ) {
            check(&batches);
        }
    }

    #[test]
    fn a_batch_is_a_frame_unless_it_is_long() {
        let record = |bytes: usize| ((6, 1, vec![0; bytes]), false);
        assert_eq!(check(&[vec![record(20); 1000], vec![record(1)], vec![]]), 2);
        // The smallest records there are.
        assert_eq!(check(&[vec![record(0); 100_000]]), 100_000_usize.div_ceil((FRAME_FULL_BYTES - 54) / 3));
        assert_eq!(check(&[vec![record(FRAME_FULL_BYTES); 3]]), 3);
    }

    #[test]
    fn a_short_message_costs_three_bytes_beside_its_own() {
        let mut batch = Batch::default();
        (0..10).for_each(|_| push(&mut batch, &(6, 1 << 40, vec![7; 48])));
        let mut bytes = Vec::new();
        batch.seal_into(&mut bytes, &head(), &mut Position::default(), 0);
        assert_eq!(bytes.len(), FRAME_HEAD_BYTES + 10 * (3 + 48) + FRAME_TAIL_BYTES);
    }

    #[test]
    fn a_record_that_is_taken_back_is_not_weighty() {
        let mut batch = Batch::default();
        push(&mut batch, &(RecordKind::MESSAGE.0, 1, vec![]));
        push(&mut batch, &(RecordKind::SWAP.0, 1, vec![]));
        assert!(batch.is_weighty);
        batch.pop();
        assert!(!batch.is_weighty && !batch.is_empty());
    }

    /// Checksums are right, and the records are not: nobody but a defect writes that.
    #[test]
    fn a_frame_has_as_many_records_as_it_says_to_the_last_byte() {
        let sealed = |records: u16, content: &[u8]| {
            let mut bytes = [&[0; FRAME_HEAD_BYTES][..], content, &[0; FRAME_TAIL_BYTES]].concat();
            seal(&mut bytes, &head(), &mut Position::default(), 0, (records, 0));
            read_frame(&bytes, 0, &head(), Position::default())
        };
        let two = [7, 0, 1, 99, 7, 2, 0];
        let plain: Vec<_> = sealed(2, &two).unwrap().records.into_iter().map(|it| (it.tick, it.payload)).collect();
        assert_eq!(plain, [(0, vec![99]), (1, vec![])]);
        for (records, content) in [(1, &two[..]), (3, &two), (2, &two[..6]), (1, &[7, 0x80, 0, 0]), (1, &[7, 0, 9])] {
            assert_eq!(sealed(records, content), Err(FrameFault::Records { expected: records }), "{content:?}");
        }
    }
}
