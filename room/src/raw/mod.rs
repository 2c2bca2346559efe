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
pub(crate) use index::Index;
pub(crate) use logic::{Aligned, Callback, LOAD, MIGRATE, PROCESS, fault_callback, inspect};
pub(crate) use pool::{Block, block_bytes, class_for};
pub(crate) use table::{Page, RawTable, RewrittenPage, TableLayout};
pub(crate) use tables::Tables;
