//! The unsafe half of the contract, on the plugin's side: everything that touches a raw pointer from the engine.

mod build_id;
mod call;
mod current;
mod entry;
mod heap;
mod lanes;
mod log;
mod panic;
mod view;

pub use entry::{LogicInfo, inspect, lib_header, linked, version_of_build};

pub(crate) use call::CallRef;
pub(crate) use heap::HeapValue;
pub(crate) use lanes::equal_tags;
pub(crate) use view::{InsertError, Rows, View, Writing};
