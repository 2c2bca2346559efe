//! Reading and writing little-endian bytes, for records and snapshots, where nothing that is read is believed; and in which pieces bytes
//! are copied fast.

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("{what}: {needed} bytes expected, {left} left")]
    Short { what: &'static str, needed: usize, left: usize },
    #[error("{what} is not UTF-8")]
    NotText { what: &'static str },
    #[error("{what}: found {found}, expected {expected}")]
    Value { what: &'static str, found: u64, expected: &'static str },
    #[error("{left} bytes after its end")]
    Trailing { left: usize },
}

/// Takes values off the front of a slice.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, what: &'static str, len: usize) -> Result<&'a [u8], Malformed> {
        let short = Malformed::Short { what, needed: len, left: self.0.len() };
        let (taken, rest) = self.0.split_at_checked(len).ok_or(short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        Ok(self.take(what, N)?.try_into().expect("as many were taken"))
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, Malformed> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(Malformed::Value { what, found: found.into(), expected: "0 or 1" }),
        }
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A `u32` length, then so many bytes.
    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let len = self.u32(what)?;
        self.take(what, usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// As `bytes`, which are UTF-8.
    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| Malformed::NotText { what })
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing is left.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Trailing { left: self.0.len() }) }
    }
}

/// What `Reader::bytes` reads.
///
/// # Panics
/// If there are 4 GiB of them: everything that is written has a limit far below.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// What `Reader::text` reads.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// A count or a length as it is written.
pub(crate) fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("less than 4 GiB").to_le_bytes()
}

/// Runs for pieces of a few lengths, powers of two up to 64, each of which can be a loop without calls: where each starts, and its bytes.
/// The last is the shortest that has the rest, and starts so early that it ends with the whole.
#[inline]
pub(crate) fn in_pieces(bytes: usize, mut run: impl FnMut(usize, usize)) {
    let longest = 1 << bytes.clamp(1, 64).ilog2();
    for at in (0..bytes).step_by(longest) {
        let piece = (bytes - at).min(longest).next_power_of_two();
        run(at.min(bytes - piece), piece);
    }
}
