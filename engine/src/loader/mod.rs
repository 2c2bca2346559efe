//! The way of a plugin from a name in a request into the engine: read -> seal -> elf -> stage -> probe -> map.
//!
//! Each step trusts only what the one before has established, and nothing of a plugin runs in the engine before it has
//! run in a child process. Loading has no effect on any room: that is the swap's business.

pub mod digest;
pub mod elf;
pub mod error;
pub mod intake;
pub mod name;

pub mod load;
mod map_fault;
#[expect(unsafe_code, reason = "maps a plugin, and believes its function table once the layout check has passed")]
pub mod raw;
pub mod versions;

pub mod probe;
pub mod seal;
pub mod source;
pub mod stage;

pub use map_fault::MapFault;
