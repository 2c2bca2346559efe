//! How frames are told apart on a TCP connection: a preamble once, then before each frame its length.

/// What a client sends first: no HTTP request begins so. The last byte is the version of the protocol.
pub const PREAMBLE: [u8; 4] = [0x00, b'H', b'S', 0x01];

/// Bytes of the length before each frame: a little-endian `u32`, which does not count itself.
pub const LENGTH_BYTES: usize = 4;

/// Appends the length and the frame that `encode` writes.
///
/// # Panics
/// If the frame has 4 GiB or more.
pub fn frame(to: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend_from_slice(&[0; LENGTH_BYTES]);
    encode(to);
    let len = u32::try_from(to.len() - start - LENGTH_BYTES).expect("a frame is shorter than 4 GiB");
    to[start..start + LENGTH_BYTES].copy_from_slice(&len.to_le_bytes());
}

/// The bytes of the first whole frame, and how many bytes it took with its length; `None` if more must come first. The
/// length is not checked: see [`announced`].
#[must_use]
pub fn split(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = LENGTH_BYTES.checked_add(announced(bytes)?)?;
    Some((bytes.get(LENGTH_BYTES..end)?, end))
}

/// The length that the first frame is going to have, as soon as it can be known: to refuse it before it has come.
#[must_use]
pub fn announced(bytes: &[u8]) -> Option<usize> {
    let len = bytes.first_chunk::<LENGTH_BYTES>()?;
    usize::try_from(u32::from_le_bytes(*len)).ok()
}
