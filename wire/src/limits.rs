//! Every limit of the frames. What an operator may move is in the engine's config.

/// Bytes of a room's name.
pub const ROOM_NAME_BYTES_MAX: usize = 64;
/// Bytes of the credentials of a Join: room for a JWT with a good many claims.
pub const CREDENTIALS_BYTES_MAX: usize = 8 << 10;
/// Bytes of a resume token.
pub const TOKEN_BYTES_MAX: usize = 256;
/// Bytes of a version's name.
pub const VERSION_NAME_BYTES_MAX: usize = u8::MAX as usize;
/// Bytes of the texts in Error, Notice, Resync and Closing. Longer ones are cut at a character before they are sent.
pub const TEXT_BYTES_MAX: usize = 4 << 10;
/// Bytes of the reason in a WebSocket's close frame: that frame has at most 125, two of them the code (RFC 6455, 5.5).
pub const CLOSE_REASON_BYTES_MAX: usize = 123;
/// Bytes of a client's frame, where the engine's config says nothing else.
pub const CLIENT_FRAME_BYTES_MAX: usize = 64 << 10;
/// Bytes of an engine's frame: as much as one input may cause to be sent, and a header.
pub const ENGINE_FRAME_BYTES_MAX: usize = (64 << 20) + crate::Header::BYTES;

const _: () = assert!(ROOM_NAME_BYTES_MAX <= u8::MAX as usize && CREDENTIALS_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(CREDENTIALS_BYTES_MAX + ROOM_NAME_BYTES_MAX < CLIENT_FRAME_BYTES_MAX);

/// The text, cut at a character so that it has at most `bytes_max` bytes.
#[must_use]
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
