//! The deterministic core of a room: a [`World`] of tables, the logic that runs it, and [`Room::step`], which applies one input
//! at a time. The same inputs give the same world, bit for bit.
//!
//! What never lives here: files, sockets, threads, clocks. Time and randomness come in with the input.

pub mod limits;
mod request;
mod input;
mod outbox;
mod heap;
mod timers;
mod world;
mod schema_check;
mod room;
pub mod testing;
#[expect(unsafe_code, reason = "the memory of pages and the calls into a plugin")]
mod raw;

pub use input::{Input, LogicFault, Reply, Seq, Stamp, StepError};
pub use outbox::{Outbox, Output};
pub use raw::{BadLogic, LogicVersion, PAGE_BYTES, Pool};
pub use request::{Request, Response};
pub use room::{FORK_TICKS, Room};
pub use schema_check::differences;
pub use world::{World, WorldSize};
