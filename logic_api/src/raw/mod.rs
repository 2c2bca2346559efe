//! The unsafe half of the contract, on the plugin's side: everything that touches a raw pointer from the engine.

mod buckets;
mod build_id;
mod call;
mod change;
mod current;
mod entry;
mod heap;
mod lanes;
mod log;
mod migrate;
mod panic;
mod view;

pub use buckets::{Buckets, Entry};
pub use entry::{LogicInfo, inspect, lib_header, linked, linked_ext, version_of_build};
pub use migrate::Migrate;

pub(crate) use call::CallRef;
pub(crate) use change::InsertError;
pub(crate) use heap::HeapValue;
pub(crate) use migrate::value_bytes;
pub(crate) use view::{Rows, View, Writing};
