//! What the HTTP layer asks of the engine behind it. It knows no room, no loader and no thread: only this.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use wire::Severity;

use crate::http::Refusal;
use crate::loader::name::PluginName;
use crate::sessions::Lobby;
use crate::status::{Decided, Loaded, NewRoom, PlayerStatus, RoomChange, RoomStatus, Status, VersionName, VersionPlan};

/// The engine as the routes see it. Every method may be called from any thread, at any time, many at once.
pub trait Backend: Send + Sync + 'static {
    /// Hands a request to the logic of a room; `None` is the default room. The caller stops waiting after
    /// `request_timeout_ms` by dropping the future, which must leave the room as if nobody had ever waited: whether the
    /// input is applied is then unknown to the client, as with any server.
    fn request(
        &self,
        room: Option<&str>,
        request: room::Request,
    ) -> impl Future<Output = Result<room::Response, Refusal>> + Send;

    /// Swaps every room to the named plugin. It returns `Ok` only after the new code has answered from every room, and
    /// is serialised with other loads by the implementation. A load whose caller went away is finished all the same.
    fn load(&self, request: LoadRequest, who: Requester) -> impl Future<Output = Result<Loaded, Refusal>> + Send;

    /// What a load would do to the tables of the rooms, by the version that they run. Changes nothing.
    fn plan(
        &self,
        name: PluginName,
        drops: Vec<String>,
    ) -> impl Future<Output = Result<Vec<VersionPlan>, Refusal>> + Send;

    /// The version on trial stays, in every room. It is finished even if the caller goes away, as is `roll_back`.
    fn confirm(&self, who: Requester) -> impl Future<Output = Result<Decided, Refusal>> + Send;

    /// The version on trial goes, in every room; the reason is for those who ask later.
    fn roll_back(
        &self,
        who: Requester,
        reason: Option<String>,
    ) -> impl Future<Output = Result<Decided, Refusal>> + Send;

    /// Opens a room, and returns once it can be asked. A room whose opener went away is opened all the same.
    fn open_room(&self, new: NewRoom) -> impl Future<Output = Result<RoomStatus, Refusal>> + Send;

    /// Changes who may come into a room, and returns once that is kept.
    fn change_room(&self, name: &str, change: &RoomChange) -> impl Future<Output = Result<RoomStatus, Refusal>> + Send;

    /// Ends a room, and returns once it is gone; `None` is the config's grace for those who are in. It goes even if the caller
    /// does.
    fn close_room(&self, name: &str, grace_ms: Option<u64>) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Must not wait for the room.
    fn room(&self, name: &str) -> Result<RoomStatus, Refusal>;

    /// The version that a room runs, for the log; `None` is the default room. `None` where there is no such room. Must not wait for
    /// the room.
    fn logic_of(&self, room: Option<&str>) -> Option<VersionName>;

    /// Must not wait for a room: a frozen or a busy room is what one asks the status about.
    fn status(&self) -> Status;

    /// The Prometheus text format. Must not wait for a room.
    fn metrics(&self) -> String;

    fn health(&self) -> Health;

    /// Where players come in; `None` where nobody can play.
    fn lobby(&self) -> Option<Arc<Lobby>>;

    /// Who is in a room.
    fn players(&self, room: &str) -> impl Future<Output = Result<Vec<PlayerStatus>, Refusal>> + Send;

    /// Takes a player out of a room for good: their connection ends, and the logic hears of it, with the reason. In a frozen room
    /// it hears of it later.
    fn kick(&self, room: &str, player: u64, reason: &str) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Has every player told something, until it is over.
    fn notice(&self, severity: Severity, text: &str);
}

/// What a load is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadRequest {
    pub name: PluginName,
    /// Whether a version that is on trial is confirmed first, in place of refusing this load.
    pub confirm: bool,
    /// Whether the version is tried even if it has failed before.
    pub force: bool,
    /// What of the tables may be lost: `Avatar.hp`, `orbs`.
    pub drops: Vec<String>,
}

/// Whether new work is welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Ready,
    Stopping,
    /// A callback of a room does not return, and the rooms of its thread stand still.
    Stuck,
}

/// Who asked for a load, for the log and the swap history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    pub peer: SocketAddr,
    /// The start of `User-Agent`, printable: it tells a browser from a script.
    pub agent: Option<String>,
}

impl fmt::Display for Requester {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.peer)?;
        self.agent.as_ref().map_or(Ok(()), |agent| write!(formatter, " ({agent})"))
    }
}
