//! Every limit of a room, in one place.

use crate::raw::PAGE_BYTES;

/// Bytes of one row: a page holds at least four.
pub const ROW_BYTES_MAX: usize = 16 << 10;
/// Rows, lists, options and arrays in each other: each is a call on the stack of whoever goes through a value.
pub const COLUMN_DEPTH_MAX: usize = 32;
/// The length of a `Str` is one byte.
pub const STR_BYTES_MAX: u32 = 255;
/// A slot has its page in 16 bits, which makes 4 GiB a table.
pub const PAGES_PER_TABLE_MAX: usize = 1 << 16;
/// Bytes of a table's rows. As many as the pages have, unless a schema change has made them longer.
pub const TABLE_BYTES_MAX: usize = PAGES_PER_TABLE_MAX * PAGE_BYTES;
pub const TABLES_MAX: usize = 256;
/// Fields of a table's rows, those of rows in them counted too.
pub const FIELDS_PER_TABLE_MAX: usize = 1024;
/// Fields of all tables: each has a line in plans, and a part in what a plugin writes of itself before it is mapped.
pub const FIELDS_MAX: usize = 16 << 10;
/// Variants of an enum.
pub const VARIANTS_MAX: usize = 4096;
/// Bytes of the name of a table, a row, a field, an enum or a variant.
pub const NAME_BYTES_MAX: usize = 128;
/// Key and unique columns of a row.
pub use logic_api::abi::INDEXES_PER_TABLE_MAX;
/// Bytes of texts and blobs in a room.
pub const HEAP_BYTES_MAX: usize = 1 << 30;
/// Bytes of one text or blob.
pub const HEAP_VALUE_BYTES_MAX: usize = 16 << 20;
pub const TIMERS_MAX: usize = 1 << 16;
pub const PLAYERS_MAX: usize = 1 << 16;
/// Bytes that one input may cause to be sent.
pub const OUTPUT_BYTES_MAX: usize = 64 << 20;
/// Inputs kept since the last fork: what a fault may have to replay.
pub const REPLAY_INPUTS_MAX: usize = 4096;
/// Inputs kept while a version is on trial: what a rewind may have to replay. Half a minute of a thousand busy players.
pub const TRIAL_INPUTS_MAX: usize = 1 << 19;

const _: () = assert!(4 * ROW_BYTES_MAX <= PAGE_BYTES);
const _: () = assert!(FIELDS_PER_TABLE_MAX <= FIELDS_MAX && TABLES_MAX <= FIELDS_MAX);
const _: () = assert!(REPLAY_INPUTS_MAX < TRIAL_INPUTS_MAX);
const _: () = assert!(HEAP_VALUE_BYTES_MAX <= HEAP_BYTES_MAX);
