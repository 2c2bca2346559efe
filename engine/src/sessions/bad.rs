//! What the engine ends a connection for: a close code for the client, a word for the metrics, a sentence for people.

use std::borrow::Cow;

use wire::{CloseCode, FrameError};

/// Why a connection is ended by the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    pub code: CloseCode,
    /// A label in `/metrics`: always a word of the source, so that there are only so many.
    pub cause: &'static str,
    pub reason: Cow<'static, str>,
}

impl Bad {
    pub(crate) fn new(code: CloseCode, cause: &'static str, reason: impl Into<Cow<'static, str>>) -> Bad {
        Bad { code, cause, reason: reason.into() }
    }

    /// Bytes that break the rules of their transport or of the frames.
    pub(crate) fn frame(cause: &'static str, reason: impl Into<Cow<'static, str>>) -> Bad {
        Bad::new(CloseCode::BadFrame, cause, reason)
    }

    pub(crate) fn too_long(found: u64, max: usize) -> Bad {
        let reason = format!("a frame of {found} bytes; expected at most {max} (frame_bytes_max)");
        Bad::new(CloseCode::FrameTooLong, "frame-too-long", reason)
    }
}

impl From<FrameError> for Bad {
    fn from(error: FrameError) -> Bad {
        let cause = match error {
            FrameError::Empty => "frame-empty",
            FrameError::UnknownKind(_) => "kind-unknown",
            FrameError::TooShort { .. } => "frame-cut",
            FrameError::TooLong { .. } => "frame-overfull",
            FrameError::NotUtf8 { .. } => "not-utf8",
            FrameError::PartTooLong { .. } => "part-too-long",
            FrameError::BadValue { .. } => "value-unknown",
        };
        Bad::frame(cause, error.to_string())
    }
}
