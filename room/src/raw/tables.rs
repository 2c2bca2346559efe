//! All tables of a world, and the views through which a plugin reads them.

use super::pool::Pool;
use super::table::{InsertError, RawTable, TableLayout};
use logic_api::abi::TableView;
use logic_api::schema::Schema;
use std::sync::Arc;

pub(crate) struct Tables {
    tables: Vec<RawTable>,
    /// What plugins see.
    views: Vec<*mut TableView>,
    /// Where new tables take their pages from.
    pool: Pool,
}

// SAFETY: the views are those of the tables, and go where they go.
unsafe impl Send for Tables {}

impl Tables {
    /// Empty tables of a schema that was checked (`crate::schema_check`).
    pub(crate) fn new(schema: &Schema, pool: &Pool, seed: u64) -> Self {
        let layout = |(number, table)| Arc::new(TableLayout::new(number, table, None));
        let tables = schema.tables.iter().enumerate().map(layout);
        Self::of(tables.map(|layout| RawTable::new(layout, pool, seed)).collect(), pool)
    }

    /// Tables that `read_table` gives one after the other, in the order of the schema.
    pub(crate) fn read<E>(
        schema: &Schema,
        pool: &Pool,
        mut read_table: impl FnMut(Arc<TableLayout>) -> Result<RawTable, E>,
    ) -> Result<Self, E> {
        let layouts =
            schema.tables.iter().enumerate().map(|(number, table)| Arc::new(TableLayout::new(number, table, None)));
        Ok(Self::of(layouts.map(&mut read_table).collect::<Result<_, _>>()?, pool))
    }

    pub(crate) fn of(tables: Vec<RawTable>, pool: &Pool) -> Self {
        let views = tables.iter().map(RawTable::view).collect();
        Self { tables, views, pool: pool.clone() }
    }

    /// The tables by themselves, to make others of them.
    pub(crate) fn take(&mut self) -> Vec<RawTable> {
        let pool = self.pool.clone();
        std::mem::replace(self, Self::of(Vec::new(), &pool)).tables
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn fork(&mut self) -> Self {
        Self::of(self.tables.iter_mut().map(RawTable::fork).collect(), &self.pool)
    }

    pub(crate) fn views(&self) -> *const *mut TableView {
        self.views.as_ptr()
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
        self.tables[number].unshare(page)
    }

    /// # Safety
    /// As for [`RawTable::make_room`].
    pub(crate) unsafe fn make_room(&mut self, number: usize, row: *const u8) -> Result<(), InsertError> {
        // SAFETY: the caller's promise.
        unsafe { self.tables[number].make_room(row) }
    }

    pub(crate) fn make_writable(&mut self, number: usize, slot: u32) -> bool {
        self.tables[number].make_writable(slot)
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
        // SAFETY: the caller's promise.
        unsafe { self.tables[number].rekey(slot, index, old) }
    }
}
