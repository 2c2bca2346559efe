//! What a run is to be.

use std::time::Duration;

use crate::script::{Script, Template};
use crate::target::Target;

/// Players of a run.
pub(crate) const PLAYERS_MAX: u32 = 100_000;
/// Messages of one player in a second.
pub(crate) const RATE_MAX: f64 = 100_000.0;
/// Messages of one player that wait for their answers.
pub(crate) const IN_FLIGHT_MAX: u32 = 10_000;
/// Threads that players are spread over.
pub(crate) const THREADS_MAX: usize = 64;

/// A run, as the command line or a bench describes it.
#[derive(Debug, Clone)]
pub struct Options {
    pub target: Target,
    pub protocol: Protocol,
    /// Empty: the room that the URL names, or the engine's own default.
    pub room: String,
    pub players: u32,
    pub pace: Pace,
    /// From the moment all have joined.
    pub duration: Duration,
    /// Joins per second; infinite: all at once.
    pub joins_per_second: f64,
    pub script: Script,
    /// For the logic's `join`.
    pub hello: Template,
    pub credentials: String,
    pub expect: Expect,
    /// `None`: no pings, beyond those that ask for what is still open at the end.
    pub ping_every: Option<Duration>,
    /// Come back by the resume token when a connection breaks.
    pub reconnect: bool,
    pub swaps: Option<Swaps>,
    /// How long to wait at the end for what was not yet confirmed.
    pub drain_max: Duration,
    pub threads: usize,
    /// Same seed, same payloads.
    pub seed: u64,
}

/// What the other side speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `docs/protocol.md`.
    Hotseat,
    /// A server that sends back each WebSocket message or TCP frame as it came, and knows of no players: what engines are
    /// compared with.
    BareEcho,
}

/// When a player sends the next message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// So many a second, whether or not the ones before were answered.
    PerSecond(f64),
    /// So many wait for their answers at any time: as fast as the other side is.
    InFlight(u32),
    /// Never.
    Idle,
}

/// What confirms a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The header of any frame says that it was consumed: true of every game.
    Consumed,
    /// The logic sends the same bytes back. Each payload gets a stamp before it, by which its answer is known.
    Echo,
}

/// Versions that take turns while the players play.
#[derive(Debug, Clone)]
pub struct Swaps {
    pub every: Duration,
    /// Names for `/load`, in turn.
    pub between: Vec<String>,
    /// A swap's window ends so long after its answer.
    pub margin: Duration,
    /// For an engine that is not on this machine.
    pub token: Option<String>,
}

impl Options {
    /// A hundred players, ten messages a second each, for ten seconds.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            target,
            protocol: Protocol::Hotseat,
            room: String::new(),
            players: 100,
            pace: Pace::PerSecond(10.0),
            duration: Duration::from_secs(10),
            joins_per_second: 1000.0,
            script: Script::default(),
            hello: Template::text("swarm{player}").expect("a placeholder that there is"),
            credentials: String::new(),
            expect: Expect::Consumed,
            ping_every: Some(Duration::from_secs(1)),
            reconnect: false,
            swaps: None,
            drain_max: Duration::from_secs(5),
            threads: 1,
            seed: 1,
        }
    }
}
