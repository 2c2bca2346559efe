//! What the engine tells about itself: the JSON of `/api/v1/` and of `/load`, and what `engine status` reads back.
//!
//! Plain data. Durations are in the unit that the name ends in; times are RFC 3339 in UTC.

use std::net::SocketAddr;

use jiff::Timestamp;
use room::plan::PlanReport;
use serde::{Deserialize, Serialize};

/// The most swaps that [`Status::swaps`] holds; older ones are in the log only.
pub const SWAPS_KEPT_MAX: usize = 64;

/// Everything at one moment, as nearly as the rooms can tell without being stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub engine: EngineStatus,
    pub rooms: Vec<RoomStatus>,
    pub versions: Vec<VersionStatus>,
    /// The version that is on trial, if one is.
    pub trial: Option<TrialStatus>,
    /// Newest first, at most [`SWAPS_KEPT_MAX`].
    pub swaps: Vec<SwapRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Of the engine itself, not of the logic.
    pub version: String,
    pub pid: u32,
    pub started_at: Timestamp,
    pub uptime_s: u64,
    pub listen: SocketAddr,
    /// `None` where the operating system would not tell.
    pub rss_bytes: Option<u64>,
    pub stopping: bool,
    /// Connections of players, those included that have not joined yet.
    pub connections: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoomStatus {
    pub name: String,
    /// Given once in the life of the engine, unlike the name.
    pub id: u64,
    pub label: Option<String>,
    pub version: u32,
    pub logic: String,
    pub state: RoomState,
    /// Whether players are kept out.
    pub locked: bool,
    pub tick: u64,
    pub players: u64,
    /// Of the players, those who have a connection; the others are awaited back.
    pub connected: u64,
    pub players_max: u64,
    pub rows: u64,
    pub pages: u64,
    pub bytes: u64,
    /// 0: the room does not tick.
    pub tick_hz: u32,
    pub overruns: u64,
    pub faults: u64,
    pub last_fault: Option<FaultStatus>,
}

impl RoomStatus {
    /// Whether a player could come in. Seats that are kept for players on their way in are free until those are in.
    #[must_use]
    pub fn has_free_seat(&self) -> bool {
        self.state != RoomState::Ending && !self.locked && self.players < self.players_max
    }
}

/// A player in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerStatus {
    pub player: u64,
    /// False for one who is awaited back.
    pub connected: bool,
    /// The number of the last input that was consumed.
    pub consumed: u32,
    /// The last round trip of a ping; `None` before the first, and without a connection.
    pub rtt_us: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomState {
    Running,
    /// The logic's `tick` panicked: connections stay, nothing moves until a version is loaded.
    Frozen,
    /// It has been told to end, and takes nobody in.
    Ending,
    /// A callback of the logic does not return: nothing moves, nor in the other rooms of its thread.
    Stuck,
}

/// A room that is to be opened, as `POST /api/v1/rooms` takes it. What is left out is as in the config.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewRoom {
    /// `None`: the engine makes one up.
    pub name: Option<String>,
    /// What the logic's `create` gets, as UTF-8.
    pub config: Option<String>,
    pub players_max: Option<u64>,
    pub locked: bool,
    /// By which players can ask for any room of a kind.
    pub label: Option<String>,
    pub dispose_when_empty: bool,
    /// How long it stays empty before it goes; only beside `dispose_when_empty`.
    pub linger_ms: Option<u64>,
    pub tick_hz: Option<u64>,
}

/// What is to change about a room, as `PATCH /api/v1/rooms/NAME` takes it. What is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoomChange {
    pub locked: Option<bool>,
    /// Nobody is sent away by a lower one.
    pub players_max: Option<u64>,
    /// Empty: no label.
    pub label: Option<String>,
}

/// A panic of the logic, never of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultStatus {
    pub version: u32,
    pub callback: String,
    pub message: String,
    /// `file:line` in the logic's source.
    pub location: String,
    /// By which players know it, unless they see it all (`show_faults`).
    pub reference: String,
    pub at: Timestamp,
}

/// A version that is mapped into the engine; versions are never unmapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionStatus {
    pub version: u32,
    pub name: String,
    pub build_id: String,
    pub sha256: String,
    /// The name under which the file lay in the plugins folder.
    pub file: String,
    pub bytes: u64,
    pub mapped_at: Timestamp,
    /// Why it did not stay when it was on trial, if that has happened.
    pub failed: Option<String>,
    /// The rooms that run it now.
    pub rooms: Vec<String>,
}

/// One `/load` that got as far as a well-formed name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapRecord {
    pub at: Timestamp,
    /// Who asked: see [`crate::http::Requester`].
    pub who: String,
    /// The name that was asked for.
    pub name: String,
    pub from: Option<VersionName>,
    /// `None` where the file was refused before its version was known.
    pub to: Option<VersionName>,
    pub outcome: Outcome,
    /// Why it was refused, in one line.
    pub reason: Option<String>,
    /// More lines of why, such as one for each field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// How the trial ended, `None` while it goes on and where there was none.
    pub verdict: Option<VerdictRecord>,
    /// What was acknowledged to be lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drops: Vec<String>,
    /// What was done to the tables; of a refused load, what would have been, without rows where they were not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<VersionPlan>,
    /// The longest pause of any room.
    pub pause_us_max: u64,
    pub total_us: u64,
}

/// What a load does to the tables of the rooms that run one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionPlan {
    pub from: VersionName,
    /// Rows and bytes are those of all its rooms, the pause is that of the longest.
    pub plan: PlanReport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing was swapped.
    Refused,
    /// Every room runs it, and may still go back.
    OnTrial,
    /// Every room runs it for good.
    Confirmed,
    /// Every room has gone back to before the swap.
    Rewound,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRecord {
    pub at: Timestamp,
    /// An operator, or the engine.
    pub who: String,
    /// In one line.
    pub reason: String,
}

/// A version on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStatus {
    pub version: u32,
    pub name: String,
    pub sha256: String,
    /// What runs again if it fails; more than one where rooms ran different versions.
    pub from: Vec<VersionName>,
    /// Who loaded it.
    pub who: String,
    pub since: Timestamp,
    /// When it is confirmed if nothing fails before.
    pub until: Timestamp,
    /// Rounded up.
    pub seconds_left: u64,
    /// That run it.
    pub rooms: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionName {
    pub version: u32,
    pub name: String,
}

/// A load that every room has answered from the new code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    pub version: u32,
    pub name: String,
    pub build_id: String,
    pub sha256: String,
    /// What ran before, in the rooms' order; more than one where rooms ran different versions.
    pub previous: Vec<VersionName>,
    /// What was done to the tables; empty where they stayed as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<VersionPlan>,
    pub pauses: Vec<RoomPause>,
    /// From the request to the last room's echo.
    pub total_us: u64,
    /// How long it is on trial from here on; 0: it is confirmed.
    pub on_trial_for_ms: u64,
}

/// The end of a trial by an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    pub version: u32,
    pub name: String,
    pub sha256: String,
    /// What runs now.
    pub running: Vec<VersionName>,
    pub outcome: Outcome,
    /// Of a rewind.
    pub rooms: Vec<RoomRewind>,
    /// From the request to the last room's answer.
    pub total_us: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRewind {
    pub room: String,
    /// In which the room took no input.
    pub pause_us: u64,
    /// Since the swap, which were applied once more.
    pub inputs: u64,
    /// Of those, what the version from before did not take.
    pub lost: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPause {
    pub room: String,
    pub pause_us: u64,
}

/// The process's resident memory, from the operating system.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_memory() {
        let bytes = resident_bytes().expect("/proc is mounted where tests run");
        assert!(bytes > 100_000 && bytes.is_multiple_of(rustix::param::page_size() as u64), "{bytes}");
    }
}
