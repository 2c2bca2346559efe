//! The unsafe half of a room: memory of pages, tables of rows whose type only the plugin knows, and the calls into it.

mod host;
mod index;
mod logic;
mod pool;
mod table;
mod tables;

pub use logic::{BadLogic, LogicVersion};
pub use pool::{PAGE_BYTES, Pool};

pub(crate) use host::{Arguments, Frame};
pub(crate) use logic::{Callback, fault_callback, inspect};
pub(crate) use table::RawTable;
pub(crate) use tables::Tables;
