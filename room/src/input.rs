//! Everything that can happen to a room.

use crate::limits::PLAYERS_MAX;
use crate::plan::RewriteError;
use crate::raw::MIGRATE;
use crate::{LogicVersion, Request, Response};
use logic_api::{PlayerId, Tick, Version};
use std::{fmt, sync::Arc, time::Duration};
use xxhash_rust::xxh3::Xxh3;

/// The place of an input in its room's order, from 1 without gaps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Seq(pub u64);

/// The time and the randomness of an input. They are part of it, so that a replay has the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Microseconds since the Unix epoch. Never goes back within a room.
    pub now_us: u64,
    pub seed: u64,
}

/// Names a trial: the swaps of one load, in all rooms. 0 where nobody asks which trial it was.
///
/// Confirming it in many rooms is not one step: who keeps their journals decides once for the trial, and after a crash in
/// between all rooms are brought to that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct TrialId(pub u64);

/// The closed list of what changes a world. Inputs of a room are applied one at a time, in order.
#[derive(Debug, Clone)]
pub enum Input {
    /// The first input of a room.
    Create {
        config: Arc<[u8]>,
    },
    /// Asks `join_attempt`, which cannot change the world, then lets the player in, with a connection.
    Join {
        player: PlayerId,
        hello: Arc<[u8]>,
        /// What their credentials say of them, as JSON; may be empty.
        claims: Arc<str>,
    },
    /// The player's connection is gone.
    Drop {
        player: PlayerId,
    },
    /// The player has a connection again.
    Reconnect {
        player: PlayerId,
    },
    Leave {
        player: PlayerId,
        reason: Arc<str>,
    },
    /// Consumes the number, which must be above those consumed before. Gaps are the sender's business.
    Message {
        player: PlayerId,
        number: u32,
        bytes: Arc<[u8]>,
    },
    /// Consumes the number of a message that failed, and calls nothing: the player is not to send it again.
    Skip {
        player: PlayerId,
        number: u32,
    },
    /// The player's connection is gone or there again, and calls nothing: the logic failed on the drop or the reconnect.
    Presence {
        player: PlayerId,
        is_connected: bool,
    },
    /// Fires the timers that are due, then calls `tick`.
    Tick,
    Request(Arc<Request>),
    Signal {
        name: Arc<str>,
        bytes: Arc<[u8]>,
    },
    /// From here on this version runs the room, on trial: one of the next two says what becomes of it.
    Swap {
        to: Arc<LogicVersion>,
        /// What of the world may be lost because the version has no place for it: `Avatar.hp`, `orbs`. Beside what its source
        /// says may be.
        drops: Arc<[String]>,
        trial: TrialId,
    },
    /// The version on trial stays.
    Confirm,
    /// The version on trial goes: back to the fork from before its swap, and the inputs since once more on the version from
    /// before.
    Rewind {
        /// Those of them that are lost instead, by their numbers since the swap from 1, in ascending order: they end the process.
        without: Arc<[u32]>,
    },
    Terminate {
        grace: Duration,
    },
    /// The last input of a room.
    Dispose,
}

impl Input {
    /// A swap to a version that has a place for everything, or says itself what may be lost.
    pub fn swap(to: Arc<LogicVersion>) -> Self {
        Self::swap_dropping(to, &[])
    }

    /// A swap to a version that has no place for what is named: `Avatar.hp`, `orbs`.
    pub fn swap_dropping(to: Arc<LogicVersion>, drops: &[&str]) -> Self {
        let drops = drops.iter().map(|drop| (*drop).to_owned()).collect();
        Self::Swap { to, drops, trial: TrialId::default() }
    }

    /// A rewind that applies all inputs since the swap once more.
    pub fn rewind() -> Self {
        Self::Rewind { without: Arc::from([]) }
    }
}

/// What an input was answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Done,
    /// To `Input::Request`.
    Response(Response),
    /// To `Input::Rewind`: what the version from before did not take of that which the version on trial had.
    Rewound(Vec<Lost>),
}

/// An input that was applied and, after a rewind, is as if it had never come, but that the number of a message stays consumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Whose input it was; 0 where it was nobody's.
    pub player: PlayerId,
    /// Of a message; 0 for everything else.
    pub number: u32,
    /// What kind of input it was, as its callback is called.
    pub callback: &'static str,
    /// Why they left, where it was a leave: whoever has left was told so, and must not be in again.
    pub leave: Option<Arc<str>>,
    pub error: StepError,
}

/// Why an input was not applied. The world is as if it had never come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Fault(#[from] LogicFault),
    #[error("the room is frozen: {0}; load a fix")]
    Frozen(LogicFault),
    /// To `Input::Join`, with the reason that the player sees.
    #[error("the logic refused the player: {0}")]
    Refused(String),
    #[error("player 0 names nobody")]
    Nobody,
    #[error("player {0} is in the room already")]
    AlreadyIn(PlayerId),
    #[error("the room is full: it has {PLAYERS_MAX} players")]
    RoomFull,
    #[error("player {0} is not in the room")]
    NotIn(PlayerId),
    #[error("version {0} is on trial; confirm or rewind it first")]
    OnTrial(Version),
    #[error("no version is on trial")]
    NoTrial,
    #[error(
        "version {version} is on trial with {inputs} inputs, which is as many as can be rewound; confirm or rewind it"
    )]
    TrialFull { version: Version, inputs: usize },
    #[error("player {0} has a connection already")]
    Connected(PlayerId),
    #[error("player {0} has no connection that could be lost")]
    NotConnected(PlayerId),
    #[error("player {player} sent input {number}, but {consumed} was consumed already")]
    Consumed { player: PlayerId, number: u32, consumed: u32 },
    #[error("the tables cannot be carried over: {}", .0.join("; "))]
    SchemaDiffers(Vec<String>),
    #[error("the tables cannot be carried over: {0}")]
    Unfit(String),
    /// They would take more than a room or a rewrite may.
    #[error("the tables cannot be carried over: {0}")]
    TooLarge(RewriteError),
    #[error("the new code answers with another build id: expected {expected}, found {found}")]
    WrongCode { expected: String, found: String },
}

/// A logic that panicked, or went over a limit. Data, not an error of the engine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LogicFault {
    pub version: Version,
    pub callback: &'static str,
    pub message: String,
    /// `file:line:column`, empty where it is not known.
    pub location: String,
    pub tick: Tick,
}

impl LogicFault {
    /// True for a migration's, which no callback is.
    pub fn is_of_migration(&self) -> bool {
        self.callback == MIGRATE
    }

    /// Names the fault to those who are not to see its text: eight hex digits, the same whenever it comes again.
    pub fn reference(&self) -> String {
        let mut hash = Xxh3::new();
        hash.update(&self.version.0.to_le_bytes());
        for text in [self.callback, &self.message, &self.location] {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        format!("{:08x}", hash.digest() >> 32)
    }
}

impl fmt::Display for LogicFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} failed in {} at tick {}", self.version, self.callback, self.tick)?;
        if !self.location.is_empty() {
            write!(f, ", {}", self.location)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for LogicFault {}
