//! Frames on a plain TCP connection: the preamble, then lengths.

use std::ops::ControlFlow;

use wire::tcp::{LENGTH_BYTES, PREAMBLE, announced, split};

use crate::sessions::bad::Bad;
use crate::sessions::frames::{First, OnRead, Read};

#[derive(Debug)]
pub(super) struct TcpReader {
    frame_bytes_max: usize,
    /// Whether the preamble has come.
    is_begun: bool,
}

impl TcpReader {
    pub(super) fn new(frame_bytes_max: usize) -> TcpReader {
        TcpReader { frame_bytes_max, is_begun: false }
    }

    pub(super) fn read(&mut self, bytes: &mut [u8], on: &mut OnRead<'_>) -> Result<First, Bad> {
        if !self.is_begun {
            let found = &bytes[..bytes.len().min(PREAMBLE.len())];
            if !PREAMBLE.starts_with(found) {
                let reason = format!("expected the preamble {PREAMBLE:02x?}, found {found:02x?}");
                return Err(Bad::frame("preamble-wrong", reason));
            }
            self.is_begun = found.len() == PREAMBLE.len();
            return Ok(match self.is_begun {
                true => First::Taken(PREAMBLE.len(), ControlFlow::Continue(())),
                false => First::Partial,
            });
        }
        // Refused before it has come: memory is taken only for what may.
        if let Some(found) = announced(bytes).filter(|found| *found > self.frame_bytes_max) {
            return Err(Bad::too_long(found as u64, self.frame_bytes_max));
        }
        let Some((frame, taken)) = split(bytes) else { return Ok(First::Partial) };
        Ok(First::Taken(taken, on(Read::Frame(frame))?))
    }
}

/// What goes before a frame of so many bytes.
pub(super) fn prefix(frame_bytes: usize, to: &mut [u8]) -> usize {
    let len = u32::try_from(frame_bytes).expect("the engine sends no frame of 4 GiB");
    to[..LENGTH_BYTES].copy_from_slice(&len.to_le_bytes());
    LENGTH_BYTES
}
