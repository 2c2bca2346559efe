//! The deterministic core of a room: a [`World`] of tables, the logic that runs it, and [`Room::step`], which applies one input
//! at a time. The same inputs give the same world, bit for bit.
//!
//! What never lives here: files, sockets, threads, clocks. Time and randomness come in with the input.

mod bytes;
mod heap;
mod input;
mod json;
pub mod limits;
mod outbox;
pub mod plan;
#[expect(unsafe_code, reason = "the memory of pages and the calls into a plugin")]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a walk over pointers is one step, and its comment lists what it needs"
)]
mod raw;
mod record;
mod rehearsal;
mod request;
mod room;
mod schema_check;
mod snapshot;
pub mod testing;
mod timers;
mod trial;
mod world;

pub use bytes::Malformed;
pub use input::{Input, LogicFault, Lost, Reply, Seq, Stamp, StepError, TrialId};
pub use json::RowView;
pub use outbox::{Outbox, Output};
pub use raw::{BadLogic, LogicVersion, PAGE_BYTES, Pool};
pub use record::{Note, RECORD_FORMAT, RECORD_FORMAT_OLDEST, Record, RecordKind, Skipped, VersionMark, encode_input};
pub use rehearsal::Rehearsal;
pub use request::{Request, Response};
pub use room::{FORK_TICKS, Room, Spent};
pub use snapshot::{Image, SNAPSHOT_FORMAT, SnapshotError, check_snapshot};
pub use trial::{Again, Watch};
pub use world::{Player, World, WorldSize};
