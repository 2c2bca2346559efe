//! Why a connection ends.

use std::fmt;

/// Why the engine ends a connection: the code of a Closing frame, and of the WebSocket close frame after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum CloseCode {
    Left = 1000,
    EngineEnds = 1001,
    BadFrame = 4400,
    BadCredentials = 4401,
    Refused = 4403,
    NoSuchRoom = 4404,
    TooSlow = 4408,
    TakenOver = 4409,
    BadToken = 4410,
    FrameTooLong = 4413,
    TooFast = 4429,
    Kicked = 4440,
    SlowReader = 4441,
    Failed = 4500,
    NoPlace = 4503,
}

impl CloseCode {
    /// All of them, ascending.
    pub const ALL: [CloseCode; 15] = [
        CloseCode::Left,
        CloseCode::EngineEnds,
        CloseCode::BadFrame,
        CloseCode::BadCredentials,
        CloseCode::Refused,
        CloseCode::NoSuchRoom,
        CloseCode::TooSlow,
        CloseCode::TakenOver,
        CloseCode::BadToken,
        CloseCode::FrameTooLong,
        CloseCode::TooFast,
        CloseCode::Kicked,
        CloseCode::SlowReader,
        CloseCode::Failed,
        CloseCode::NoPlace,
    ];

    /// As it is sent.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// `None` for a number that means nothing here.
    #[must_use]
    pub fn of(code: u16) -> Option<CloseCode> {
        CloseCode::ALL.into_iter().find(|known| known.code() == code)
    }

    /// Whether the player is still there, and may come back with the token.
    #[must_use]
    pub const fn may_resume(self) -> bool {
        matches!(
            self,
            CloseCode::EngineEnds
                | CloseCode::BadFrame
                | CloseCode::TooSlow
                | CloseCode::FrameTooLong
                | CloseCode::TooFast
                | CloseCode::SlowReader
                | CloseCode::Failed
        )
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code().fmt(f)
    }
}
