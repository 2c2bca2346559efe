//! The blocks of a snapshot: kind, length, content, checksum; and the hash over all of them at the end.

use super::{SNAPSHOT_FORMAT, SnapshotError};
use crate::bytes::{Malformed, Reader};
use crate::limits::HEAP_BYTES_MAX;
use crc32c::{crc32c, crc32c_append};
use std::io::{self, Read as _};
use xxhash_rust::xxh3::Xxh3;

const MAGIC: [u8; 8] = *b"HOTSNAP\0";
/// Kind and length before a block's content.
const BLOCK_HEAD_BYTES: usize = 8;
/// Content of a block: a page of the heap may have all its texts.
const BLOCK_BYTES_MAX: usize = HEAP_BYTES_MAX + (1 << 20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockKind(u32);

impl BlockKind {
    pub(super) const ROOM: Self = Self(1);
    pub(super) const TABLE: Self = Self(2);
    pub(super) const PAGE: Self = Self(3);
    pub(super) const HEAP: Self = Self(4);
    pub(super) const HEAP_PAGE: Self = Self(5);
    const END: Self = Self(6);
    pub(super) const MADE_HEAP_PAGE: Self = Self(7);
}

/// Writes blocks.
pub(super) struct Sink<'a, W> {
    out: &'a mut W,
    hash: Xxh3,
    /// Kept for its memory.
    buffer: Vec<u8>,
}

impl<'a, W: io::Write> Sink<'a, W> {
    pub(super) fn start(out: &'a mut W) -> io::Result<Self> {
        let mut sink = Self { out, hash: Xxh3::new(), buffer: Vec::new() };
        sink.buffer.extend_from_slice(&MAGIC);
        sink.buffer.extend_from_slice(&SNAPSHOT_FORMAT.to_le_bytes());
        sink.put()?;
        Ok(sink)
    }

    pub(super) fn block(&mut self, kind: BlockKind, put: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.buffer.extend_from_slice(&kind.0.to_le_bytes());
        self.buffer.extend_from_slice(&[0; 4]);
        put(&mut self.buffer);
        let len = u32::try_from(self.buffer.len() - BLOCK_HEAD_BYTES).expect("a block has a limit");
        self.buffer[4..BLOCK_HEAD_BYTES].copy_from_slice(&len.to_le_bytes());
        let checksum = crc32c(&self.buffer);
        self.buffer.extend_from_slice(&checksum.to_le_bytes());
        self.put()
    }

    pub(super) fn end(mut self, state_hash: u64) -> io::Result<()> {
        let hash = self.hash.digest();
        self.block(BlockKind::END, |bytes| {
            bytes.extend_from_slice(&state_hash.to_le_bytes());
            bytes.extend_from_slice(&hash.to_le_bytes());
        })
    }

    fn put(&mut self) -> io::Result<()> {
        self.hash.update(&self.buffer);
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Reads blocks.
pub(super) struct Blocks<'a, R> {
    from: &'a mut R,
    hash: Xxh3,
    /// Where the next block starts.
    at: u64,
    content: Vec<u8>,
    /// Read ahead, and not taken yet.
    ahead: Option<BlockKind>,
}

impl<'a, R: io::Read> Blocks<'a, R> {
    pub(super) fn start(from: &'a mut R) -> Result<Self, SnapshotError> {
        let mut blocks = Self { from, hash: Xxh3::new(), at: 0, content: Vec::new(), ahead: None };
        let head: [u8; MAGIC.len() + 2] = blocks.array().map_err(|error| match error {
            SnapshotError::Damaged { .. } => SnapshotError::NoSnapshot,
            error => error,
        })?;
        let (magic, format) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(SnapshotError::NoSnapshot);
        }
        let found = u16::from_le_bytes([format[0], format[1]]);
        if found != SNAPSHOT_FORMAT {
            return Err(SnapshotError::Format { found });
        }
        blocks.hash.update(&head);
        blocks.at = head.len() as u64;
        Ok(blocks)
    }

    /// The next block, which must be of this kind.
    pub(super) fn read<T>(
        &mut self,
        kind: BlockKind,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, SnapshotError> {
        let at = self.at;
        let found = self.next()?;
        if found != kind {
            let what = format!("a block of kind {}, where kind {} was expected", found.0, kind.0);
            return Err(SnapshotError::Damaged { at, what });
        }
        let mut reader = Reader::new(&self.content);
        let value = read(&mut reader).and_then(|value| reader.end().map(|()| value));
        value.map_err(|malformed| SnapshotError::Damaged { at, what: malformed.to_string() })
    }

    /// Passes over a block; false before the last one.
    pub(super) fn skip(&mut self) -> Result<bool, SnapshotError> {
        let kind = self.next()?;
        if kind == BlockKind::END {
            self.ahead = Some(kind);
        }
        Ok(kind != BlockKind::END)
    }

    /// The last block, which must fit what was read, and the end of the stream after it.
    pub(super) fn end(mut self, state_hash: Option<u64>) -> Result<(), SnapshotError> {
        let at = self.at;
        let damaged = |what: &str| SnapshotError::Damaged { at, what: what.to_owned() };
        // `next` has compared the hash of the whole.
        let (state, _) = self.read(BlockKind::END, |from| Ok((from.u64("state hash")?, from.u64("hash")?)))?;
        if state_hash.is_some_and(|hash| hash != state) {
            return Err(damaged("the state hash of the world made from it is another"));
        }
        if self.from.read(&mut [0])? != 0 {
            return Err(damaged("it goes on after its end"));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<BlockKind, SnapshotError> {
        if let Some(kind) = self.ahead.take() {
            return Ok(kind);
        }
        let head: [u8; BLOCK_HEAD_BYTES] = self.array()?;
        let [kind, len] =
            [&head[..4], &head[4..]].map(|half| u32::from_le_bytes(half.try_into().expect("half of eight")));
        let at = self.at;
        let damaged = |what: &str| SnapshotError::Damaged { at, what: what.to_owned() };
        if len as usize > BLOCK_BYTES_MAX {
            return Err(damaged("it is longer than a block may be"));
        }
        self.content.clear();
        // Grows with what there is: the length is not to be believed yet.
        let got = self.from.by_ref().take(len.into()).read_to_end(&mut self.content)?;
        let checksum = u32::from_le_bytes(self.array()?);
        if got != len as usize || crc32c_append(crc32c(&head), &self.content) != checksum {
            return Err(damaged("its checksum is another"));
        }
        let kind = BlockKind(kind);
        if kind == BlockKind::END && self.content.get(8..) != Some(&self.hash.digest().to_le_bytes()) {
            return Err(damaged("the hash of the whole is another"));
        }
        self.hash.update(&head);
        self.hash.update(&self.content);
        self.hash.update(&checksum.to_le_bytes());
        self.at += (head.len() + self.content.len() + 4) as u64;
        Ok(kind)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        match self.from.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(SnapshotError::Damaged { at: self.at, what: "the stream ends in it".to_owned() })
            }
            Err(error) => Err(error.into()),
        }
    }
}
