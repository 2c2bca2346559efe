//! What a run is to be.

use std::str::FromStr;
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
    /// What is loaded, in turn.
    pub between: Vec<Load>,
    /// A swap's window ends so long after its answer.
    pub margin: Duration,
    /// For an engine that is not on this machine.
    pub token: Option<String>,
}

/// A plugin that takes its turn: as a text, its name and what may be lost by it, `plugin1.so?drop=Avatar.lives&drop=orbs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    pub name: String,
    /// Fields and tables for which the version has no place.
    pub drops: Vec<String>,
}

/// What takes a turn cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no plugin: give NAME, or NAME?drop=TABLE.FIELD&drop=TABLE")]
pub struct LoadError(String);

impl FromStr for Load {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Load, LoadError> {
        let bad = || LoadError(text.to_owned());
        let (name, query) = text.split_once('?').map_or((text, None), |(name, query)| (name, Some(query)));
        let drop = |word: &str| word.strip_prefix("drop=").filter(|drop| !drop.is_empty()).map(str::to_owned);
        let drops = query.map_or(Some(Vec::new()), |query| query.split('&').map(drop).collect());
        if name.is_empty() {
            return Err(bad());
        }
        Ok(Load { name: name.to_owned(), drops: drops.ok_or_else(bad)? })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_takes_its_turn_with_what_may_be_lost() {
        let check = |text: &str, name: &str, drops: &[&str]| {
            let Load { name: found, drops: found_drops } = text.parse().unwrap();
            assert_eq!((&*found, &*found_drops.join(" ")), (name, &*drops.join(" ")));
        };
        check("plugin2.so", "plugin2.so", &[]);
        check("plugin1.so?drop=Avatar.lives&drop=orbs", "plugin1.so", &["Avatar.lives", "orbs"]);
        for bad in ["", "?drop=orbs", "a.so?", "a.so?drop=", "a.so?drop=orbs&force=1"] {
            let error = bad.parse::<Load>().unwrap_err().to_string();
            assert!(error.ends_with("is no plugin: give NAME, or NAME?drop=TABLE.FIELD&drop=TABLE"), "{error}");
        }
    }
}
