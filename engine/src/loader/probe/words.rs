//! What the child and the engine write to each other: a line for each step of the child, and rooms as streams of bytes.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use logic_api::changes::Changes;
use room::plan::RewriteError;
use serde::{Deserialize, Serialize};

use super::fault::Change;

/// Bytes of one line that the child writes: a schema of some ten thousand fields, and what the source says of them.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;
/// Bytes of all lines that are read: the long one, and many short ones.
pub(super) const LINES_BYTES_MAX: usize = 2 * LINE_BYTES_MAX;

/// What the child writes, one JSON object a line.
#[derive(Serialize, Deserialize)]
pub(super) struct Line<T> {
    /// The one from the command line: nothing else that gets into the pipe has it.
    pub(super) nonce: String,
    pub(super) message: Message<T>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Message<T> {
    /// The child is set up; all that goes wrong from here on is the plugin's doing.
    Ready,
    Loaded(T),
    Refused(String),
    /// The child has this many threads of the plugin.
    Threads(usize),
    Changed(Change),
    /// What it is about to do with a room. From here until the next line, this is what it does.
    Doing(Step),
    /// The table that it is about to rewrite, with its migrations.
    Migrating(String),
    /// The room would not take the version.
    Failed(RehearsalFault),
    /// All rooms have taken the version, and the process is as it was.
    Rehearsed,
}

/// What the child does with a room, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Reads it. The first step of every room.
    Read,
    /// Makes its tables those of the version, where they are others.
    Migrate,
    /// Has the version take it over.
    Upgrade,
    /// Writes what it has become, if that is asked for.
    Write,
    /// Nothing: it waits for the next room, or for the word that there is none.
    Wait,
}

/// Why a room would not take the version, found in the child without harm to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RehearsalFault {
    /// The engine's own trouble.
    #[error("the room cannot be read: {0}")]
    Unreadable(String),
    /// The same.
    #[error("what the room has become cannot be written: {0}")]
    Unwritten(String),
    #[error(transparent)]
    Rewrite(RewriteError),
    /// A panic, in words for the operator.
    #[error("{0}")]
    Upgrade(String),
}

/// What the child is told of a room before its bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct RoomHead {
    /// What the version that runs the room says of older tables.
    pub(super) changes: Changes,
    pub(super) drops: Vec<String>,
    pub(super) now_us: u64,
    pub(super) seed: u64,
    pub(super) rewrite_bytes_max: usize,
    pub(super) becomes: Option<PathBuf>,
}

/// Writes a stream of unknown length so that its reader finds the end: in chunks after their lengths, the last one empty.
pub(super) struct ChunkWriter<'a, W>(pub(super) &'a mut W);

impl<W: Write> ChunkWriter<'_, W> {
    pub(super) fn end(self) -> io::Result<()> {
        self.0.write_all(&0u32.to_le_bytes())
    }
}

impl<W: Write> Write for ChunkWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.write_all(&len.to_le_bytes())?;
        self.0.write_all(&bytes[..len as usize])?;
        Ok(len as usize)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Reads what [`ChunkWriter`] wrote, up to its end and no further.
pub(super) struct ChunkReader<'a, R> {
    from: &'a mut R,
    /// Of the chunk that is being read; none after the last.
    left: Option<u32>,
}

impl<'a, R: Read> ChunkReader<'a, R> {
    pub(super) fn new(from: &'a mut R) -> Self {
        Self { from, left: Some(0) }
    }
}

impl<R: Read> Read for ChunkReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut left) = self.left else { return Ok(0) };
        if buffer.is_empty() {
            return Ok(0);
        }
        if left == 0 {
            let mut len = [0; 4];
            self.from.read_exact(&mut len)?;
            left = u32::from_le_bytes(len);
            if left == 0 {
                self.left = None;
                return Ok(0);
            }
        }
        let len = buffer.len().min(left as usize);
        let count = self.from.read(&mut buffer[..len])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = Some(left - u32::try_from(count).expect("no more than is left"));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_after_each_other_are_told_apart() {
        let mut bytes = Vec::new();
        for parts in [&["one", "", "two"][..], &[], &["three"]] {
            let mut writer = ChunkWriter(&mut bytes);
            parts.iter().for_each(|part| writer.write_all(part.as_bytes()).unwrap());
            writer.end().unwrap();
        }
        let mut from = &*bytes;
        for expected in ["onetwo", "", "three"] {
            let mut found = String::new();
            let mut reader = ChunkReader::new(&mut from);
            reader.read_to_string(&mut found).unwrap();
            assert_eq!((found.as_str(), reader.read(&mut [0]).unwrap()), (expected, 0));
        }
        assert!(from.is_empty());
        let mut cut = &bytes[..5];
        ChunkReader::new(&mut cut).read_to_string(&mut String::new()).unwrap_err();
    }
}
