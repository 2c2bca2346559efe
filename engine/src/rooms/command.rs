//! What is sent to the thread of a room.

use std::sync::Arc;
use std::time::Duration;

use logic_api::PlayerId;
use room::{LogicVersion, Request, Response, Room, Spent, Stamp, StepError};
use tokio::sync::oneshot;

use crate::journal::recovery::Recovered;
use crate::rooms::error::RoomError;
use crate::rooms::name::RoomId;
use crate::rooms::opening::RoomSettings;
use crate::rooms::outlet::Entered;
use crate::rooms::play::Newcomer;
use crate::rooms::players::House;
use crate::rooms::registry::{Opening, Place};
use crate::rooms::trial::Swap;
use crate::sessions::Link;
use crate::status::PlayerStatus;

/// To one room of a thread, or to the thread itself.
#[derive(Debug)]
pub(super) enum Command {
    /// If the room is gone, the reply is dropped.
    ToRoom { room: RoomId, ask: Ask },
    /// Creates a room on this thread. If the reply cannot be given any more, the room is disposed of. Its name is kept until then,
    /// however long that takes.
    Open { new: Box<NewSeat>, opening: Opening, reply: oneshot::Sender<Opened> },
    /// Ends every room, and then the thread.
    End { grace: Duration },
}

/// What keeps the name, and whether the room is there.
pub(super) type Opened = (Opening, Result<(), StepError>);

impl Command {
    /// Whether a helper may do it: that is quick as a rule, and neither begins nor ends a room.
    pub(super) fn is_light(&self) -> bool {
        matches!(self, Command::ToRoom { ask: Ask::FromPlayer { .. }, .. })
    }
}

/// What is asked of one room. Whoever drops the other end of `reply` before its turn has taken it back.
#[derive(Debug)]
pub(super) enum Ask {
    Request {
        request: Arc<Request>,
        reply: oneshot::Sender<Answer>,
    },
    /// A player who comes in on a seat that is kept.
    Join {
        newcomer: Box<Newcomer>,
        reply: oneshot::Sender<Entered>,
    },
    /// A player who is back.
    Resume {
        player: PlayerId,
        entry: Entry,
        reply: oneshot::Sender<Entered>,
    },
    /// From the connection of somebody who is in.
    FromPlayer {
        player: PlayerId,
        link: Arc<Link>,
        what: FromPlayer,
    },
    Players {
        reply: oneshot::Sender<Vec<PlayerStatus>>,
    },
    /// Tells everybody the notice that is given out now.
    Notice,
    Leave {
        player: PlayerId,
        reason: Arc<str>,
        reply: oneshot::Sender<Result<(), RoomError>>,
    },
    /// A room to try things on, away from the thread.
    Twin {
        reply: oneshot::Sender<(Room, Stamp)>,
    },
    /// If the reply cannot be given any more, the swap is taken back.
    Swap {
        swap: Arc<Swap>,
        reply: oneshot::Sender<Result<Swapped, StepError>>,
    },
    /// What the version on trial does may be seen: every room has taken it. The reply leaves when the swap is as safe as what
    /// leaves.
    AllSwapped {
        reply: oneshot::Sender<()>,
    },
    /// The reply is what was spent, to be dropped elsewhere.
    KeepSwap {
        reply: oneshot::Sender<Spent>,
    },
    /// As `KeepSwap`; and what was rewound, `None` in a room that had not been swapped.
    RewindSwap {
        reply: oneshot::Sender<(Option<Rewound>, Spent)>,
    },
    /// Terminates the room, and disposes of it once the grace is over or nobody is in it. `gone` is dropped after that.
    End {
        grace: Duration,
        gone: oneshot::Sender<()>,
    },
}

pub(super) type Answer = Result<Response, RoomError>;

/// By what somebody comes in.
#[derive(Debug)]
pub struct Entry {
    pub(crate) link: Arc<Link>,
    /// With which they can come back.
    pub(crate) token: Arc<str>,
    /// How long they wait for the room's answer.
    pub(crate) patience: Duration,
}

/// What a connection brings.
#[derive(Debug)]
pub(crate) enum FromPlayer {
    /// Numbered, as they came. They count as given to the room by [`Link::gave`].
    Messages(Vec<(u32, Arc<[u8]>)>),
    /// The player is out for good.
    Leave,
    /// The connection is.
    Gone,
}

/// A room that is to be created.
#[derive(Debug)]
pub(super) struct NewSeat {
    pub(super) place: Arc<Place>,
    pub(super) logic: Arc<LogicVersion>,
    /// For the logic's `create`.
    pub(super) config: Arc<[u8]>,
    /// How long the room stays when nobody is in it; `None` for ever.
    pub(super) linger: Option<Duration>,
    pub(super) house: Arc<House>,
    pub(super) settings: RoomSettings,
    /// The room as it was when the engine before this one ended; `None` for one that is to be made.
    pub(super) recovered: Option<Box<Recovered>>,
}

/// A room runs the new version: its code has answered from inside the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swapped {
    /// How long the room took no input.
    pub pause: Duration,
}

/// A room runs the version from before again, as if the swap had never been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewound {
    /// How long the room took no input.
    pub pause: Duration,
    /// Since the swap, which were applied once more.
    pub inputs: usize,
    /// Of those, what the version from before did not take.
    pub lost: usize,
}
