//! Why bytes are not a frame.

/// Why bytes are not a frame. The engine closes with [`CloseCode::BadFrame`](crate::CloseCode::BadFrame) and this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("an empty frame; expected at least the byte that says its kind")]
    Empty,
    #[error("a frame of kind {0:#04x}, which there is not")]
    UnknownKind(u8),
    #[error("a {frame} frame ends within its {part}: expected {expected} bytes more, found {found}")]
    TooShort { frame: &'static str, part: &'static str, expected: usize, found: usize },
    #[error("a {frame} frame has {found} bytes after its end")]
    TooLong { frame: &'static str, found: usize },
    #[error("the {part} of a {frame} frame is not UTF-8")]
    NotUtf8 { frame: &'static str, part: &'static str },
    #[error("the {part} of a {frame} frame: expected at most {max} bytes, found {found}")]
    PartTooLong { frame: &'static str, part: &'static str, max: usize, found: usize },
    #[error("the {part} of a {frame} frame is {found}, which means nothing")]
    BadValue { frame: &'static str, part: &'static str, found: u32 },
}
