//! A load generator for games on Hotseat: many players over WebSocket or TCP, and a check, message by message, that none was
//! lost, doubled or overtaken. The binary `swarm` is for users; the benches use the library.
//!
//! ```no_run
//! use swarm::{Options, Stop, Target};
//!
//! let mut options = Options::new("ws://127.0.0.1:12345/ws".parse::<Target>()?);
//! options.players = 100;
//! let report = swarm::run(&options, &Stop::default(), |_progress| {})?;
//! assert_eq!(report.messages.lost, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A thread runs its players without any lock: one task for each waits for its socket, and one pacer sends what is due, for all
//! of them. What the figures mean is in `docs/swarm.md`.

mod options;
pub mod script;
mod target;

mod run;
mod swaps;
mod worker;

mod link;
mod player;

mod ledger;
mod tally;

mod bars;
mod progress;
mod report;

pub use bars::{Bar, Bars, Met};
pub use options::{Expect, Load, LoadError, Options, Pace, Protocol, Swaps};
pub use progress::Progress;
pub use report::{Connections, Frames, Messages, Report, RoundTrips, Spread, SwapReport};
pub use run::{RunError, Stop, run};
pub use target::{Target, TargetError, Transport};
