//! [`One`]: a table of exactly one row.

use crate::{Binder, Id, Row, Table};
use std::{fmt, ops};

/// State of which there is one: it reads and writes as the row itself. The row is there from the start, with its default.
pub struct One<T: Row> {
    table: Table<T>,
}

/// A row that a [`One`] may hold: one with a default.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the row of a `One`: it has no default to start from",
    label = "has no default",
    note = "write `#[derive(Default)]` above `struct {Self}`, or `impl Default for {Self}`"
)]
pub trait SingleRow: Row + Default {}

#[diagnostic::do_not_recommend]
impl<T: Row + Default> SingleRow for T {}

impl<T: Row> One<T> {
    /// # Safety
    /// As for [`Table::bind`].
    #[doc(hidden)]
    #[expect(unsafe_code, reason = "called by #[derive(World)], whose schema it follows")]
    pub unsafe fn bind(binder: &Binder<'_>, number: u32) -> Self {
        // SAFETY: the caller's promise.
        Self { table: unsafe { Table::bind(binder, number) } }
    }

    /// Puts the default in where there is no row yet.
    #[doc(hidden)]
    pub fn init(&mut self)
    where
        T: SingleRow,
    {
        if self.table.is_empty() {
            self.table.insert(T::default());
        }
    }
}

/// The only row of a table of one: the first slot, never removed, so still in its first generation.
fn only<T>() -> Id<T> {
    Id::new(0, 1)
}

impl<T: Row> ops::Deref for One<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        self.table.get(only()).expect("`init` gave a One its row")
    }
}

impl<T: Row> ops::DerefMut for One<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.table.get_plain_mut(only()).expect("`init` gave a One its row")
    }
}

impl<T: Row + fmt::Debug> fmt::Debug for One<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
