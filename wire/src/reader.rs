//! Taking a frame apart, front to back.

use crate::FrameError;

/// What is left of a frame, and what to call it in an error.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    frame: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(frame: &'static str, rest: &'a [u8]) -> Self {
        Self { frame, rest }
    }

    pub(crate) fn take(&mut self, part: &'static str, len: usize) -> Result<&'a [u8], FrameError> {
        let (frame, found) = (self.frame, self.rest.len());
        let too_short = FrameError::TooShort { frame, part, expected: len, found };
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(too_short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], FrameError> {
        Ok(self.take(part, N)?.try_into().expect("as many bytes as were asked for"))
    }

    pub(crate) fn u8(&mut self, part: &'static str) -> Result<u8, FrameError> {
        Ok(u8::from_le_bytes(self.array(part)?))
    }

    pub(crate) fn u16(&mut self, part: &'static str) -> Result<u16, FrameError> {
        Ok(u16::from_le_bytes(self.array(part)?))
    }

    pub(crate) fn u32(&mut self, part: &'static str) -> Result<u32, FrameError> {
        Ok(u32::from_le_bytes(self.array(part)?))
    }

    pub(crate) fn u64(&mut self, part: &'static str) -> Result<u64, FrameError> {
        Ok(u64::from_le_bytes(self.array(part)?))
    }

    /// Text of a length that was read before.
    pub(crate) fn text(&mut self, part: &'static str, len: usize, max: usize) -> Result<&'a str, FrameError> {
        if len > max {
            return Err(FrameError::PartTooLong { frame: self.frame, part, max, found: len });
        }
        let frame = self.frame;
        str::from_utf8(self.take(part, len)?).map_err(|_| FrameError::NotUtf8 { frame, part })
    }

    /// Text to the frame's end.
    pub(crate) fn last_text(mut self, part: &'static str, max: usize) -> Result<&'a str, FrameError> {
        self.text(part, self.rest.len(), max)
    }

    /// Bytes to the frame's end.
    pub(crate) fn last_bytes(self) -> &'a [u8] {
        self.rest
    }

    /// The frame must end here.
    pub(crate) fn end(self) -> Result<(), FrameError> {
        match self.rest.len() {
            0 => Ok(()),
            found => Err(FrameError::TooLong { frame: self.frame, found }),
        }
    }

    pub(crate) fn bad_value(&self, part: &'static str, found: u32) -> FrameError {
        FrameError::BadValue { frame: self.frame, part, found }
    }
}
