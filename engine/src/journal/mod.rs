//! Nothing lost: the journal of every room, its snapshots, and the way back from both. `docs/journal.md`.
//!
//! What a record says is `room`'s; what frames it, and where it is kept, is here.

pub mod batch;
pub mod black_box;
pub mod checked;
pub mod commit;
pub mod compare;
mod failure;
pub mod files;
pub mod frame;
pub mod keeper;
pub mod last_word;
pub mod log;
#[expect(unsafe_code, reason = "a file in memory")]
mod raw;
pub mod recorder;
pub mod recovery;
pub mod replay;
pub mod segments;
pub mod snapshots;
pub mod writer;

pub use commit::{Durability, Journal, LogId};
