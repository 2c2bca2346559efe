//! What `#[derive(Row)]` makes of a struct.

use crate::{Column, Key, schema::RowSchema};
use std::{fmt, marker::PhantomData};

/// A struct that can be the row of a table, or a field of another row. Derive it; do not write it by hand.
///
/// # Safety
/// As for [`Column`]; `INDEXED_COLUMNS`, `keys` and `changed_keys` cover exactly the columns that the schema calls unique, in index order.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a row",
    label = "not a row",
    note = "write `#[derive(Row)]` and `#[repr(C)]` above `struct {Self}`"
)]
#[expect(unsafe_code, reason = "the engine relies on what an implementation claims")]
pub unsafe trait Row: Column + Sized {
    /// The name of the struct, as the schema has it.
    const NAME: &'static str;

    /// Offset and size in bytes of the columns that are a key or unique, in index order.
    #[doc(hidden)]
    const INDEXED_COLUMNS: &'static [(usize, usize)];

    /// True if a column is a key or unique.
    #[doc(hidden)]
    const INDEXED: bool = !Self::INDEXED_COLUMNS.is_empty();

    /// The type of the column marked `#[row(key)]`; [`NoKey`] where there is none.
    type Key: Key;

    /// The values of all indexed columns.
    #[doc(hidden)]
    type Keys: Copy + PartialEq;

    #[doc(hidden)]
    const KEY: UniqueColumn<Self, Self::Key>;

    /// The fields as the schema tells them.
    fn row_schema() -> RowSchema;

    #[doc(hidden)]
    fn keys(&self) -> Self::Keys;

    /// Calls `changed(index, old)` for every indexed column whose value is not the one in `before`.
    #[doc(hidden)]
    fn changed_keys(&self, before: &Self::Keys, changed: &mut dyn FnMut(u32, *const u8));
}

/// The key type of a row without a key. It has no values, so that `find` cannot be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {}

// SAFETY: there is no value to have a layout.
#[expect(unsafe_code, reason = "an unsafe trait")]
unsafe impl Column for NoKey {
    fn column_type() -> crate::schema::ColumnType {
        unreachable!("no column has this type")
    }
}
// SAFETY: as above.
#[expect(unsafe_code, reason = "an unsafe trait")]
unsafe impl Key for NoKey {}

/// A key or unique column of a row: what [`Table::find_by`](crate::Table::find_by) takes. The derive makes one for each, as
/// `Avatar::BY_NAME` for a column `name`.
pub struct UniqueColumn<T, K> {
    pub(crate) index: u32,
    /// Bytes from the start of the row.
    pub(crate) offset: usize,
    types: PhantomData<fn(T) -> K>,
}

impl<T, K> UniqueColumn<T, K> {
    /// # Safety
    /// Index `index` of the rows `T` is over a column of type `K` at `offset`.
    #[doc(hidden)]
    #[expect(unsafe_code, reason = "called by the derive, which knows the layout")]
    pub const unsafe fn new(index: u32, offset: usize) -> Self {
        Self { index, offset, types: PhantomData }
    }
}

impl<T, K> Clone for UniqueColumn<T, K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T, K> Copy for UniqueColumn<T, K> {}
impl<T, K> fmt::Debug for UniqueColumn<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UniqueColumn").field("index", &self.index).field("offset", &self.offset).finish()
    }
}
