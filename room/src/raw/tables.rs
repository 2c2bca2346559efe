//! All tables of a world, and the views through which a plugin reads them.

use super::pool::Pool;
use super::table::{InsertError, RawTable, TableLayout};
use logic_api::abi::{Inserted, RawId, TableView};
use logic_api::schema::Schema;
use std::sync::Arc;

pub(crate) struct Tables {
    tables: Vec<RawTable>,
    /// What plugins see: an array that stays where it is. Written after every change of structure, through `Views::follow` only.
    views: Views,
}

impl Tables {
    /// Empty tables of a schema that was checked (`crate::schema_check`).
    pub(crate) fn new(schema: &Schema, pool: &Pool, seed: u64) -> Self {
        let layout = |(number, table)| Arc::new(TableLayout::new(number, table, None));
        let tables = schema.tables.iter().enumerate().map(layout);
        Self::of(tables.map(|layout| RawTable::new(layout, pool, seed)).collect())
    }

    /// Tables that `read_table` gives one after the other, in the order of the schema.
    pub(crate) fn read<E>(
        schema: &Schema,
        mut read_table: impl FnMut(Arc<TableLayout>) -> Result<RawTable, E>,
    ) -> Result<Self, E> {
        let layouts =
            schema.tables.iter().enumerate().map(|(number, table)| Arc::new(TableLayout::new(number, table, None)));
        Ok(Self::of(layouts.map(&mut read_table).collect::<Result<_, _>>()?))
    }

    fn of(tables: Vec<RawTable>) -> Self {
        let views = Views::new(tables.iter().map(RawTable::view).collect());
        Self { tables, views }
    }

    pub(crate) fn fork(&mut self) -> Self {
        Self::of(self.tables.iter_mut().map(RawTable::fork).collect())
    }

    pub(crate) fn views(&self) -> *const TableView {
        self.views.0
    }

    pub(crate) fn len(&self) -> usize {
        self.tables.len()
    }

    pub(crate) fn table(&self, number: usize) -> &RawTable {
        &self.tables[number]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &RawTable> {
        self.tables.iter()
    }

    pub(crate) fn state_hashes(&mut self) -> impl Iterator<Item = u64> {
        self.tables.iter_mut().map(RawTable::state_hash)
    }

    pub(crate) fn unshare(&mut self, number: usize, page: usize) -> *mut u8 {
        // Changes no field of the view: the arrays that it points to are written in place.
        self.tables[number].unshare(page)
    }

    /// # Safety
    /// As for [`RawTable::insert`].
    pub(crate) unsafe fn insert(&mut self, number: usize, row: *const u8) -> Result<Inserted, InsertError> {
        // SAFETY: the caller's promise.
        let inserted = unsafe { self.tables[number].insert(row) };
        self.views.follow(number, &mut self.tables[number]);
        inserted
    }

    pub(crate) fn remove(&mut self, number: usize, id: RawId) -> bool {
        let removed = self.tables[number].remove(id);
        self.views.follow(number, &mut self.tables[number]);
        removed
    }

    /// # Safety
    /// As for [`RawTable::rekey`].
    pub(crate) unsafe fn rekey(
        &mut self,
        number: usize,
        slot: u32,
        index: usize,
        old: *const u8,
    ) -> Result<(), InsertError> {
        // SAFETY: the caller's promise. It changes no field of the view: the array of index views is written in place.
        unsafe { self.tables[number].rekey(slot, index, old) }
    }
}

/// An array that others hold pointers into: never moved, never borrowed, only written through its raw pointer.
struct Views(*mut TableView, usize);

// SAFETY: the array is owned, and goes where the tables go.
unsafe impl Send for Views {}

impl Views {
    fn new(views: Vec<TableView>) -> Self {
        let len = views.len();
        Self(Box::into_raw(views.into_boxed_slice()).cast(), len)
    }

    /// Shows what has changed in a table. Mostly that is the number of rows: writing more would cost a stall, since a plugin's
    /// next search reads fields that were written in other widths.
    #[inline]
    fn follow(&mut self, number: usize, table: &mut RawTable) {
        assert!(number < self.1);
        // SAFETY: in range; no plugin code runs while the host changes a view.
        let view = unsafe { &mut *self.0.add(number) };
        if let Some(moved) = table.take_moved_view() {
            *view = moved;
        } else {
            view.rows = table.row_count();
        }
    }
}

impl Drop for Views {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw` of a slice of this length.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.0, self.1)) });
    }
}
