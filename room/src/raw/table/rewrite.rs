//! What a schema change does to a table: its pages are read, others are put in their place, and everything that says which slots
//! are whose stays. `crate::plan` decides; this only lends the memory.

use super::{CLASS_MAX, Index, RawTable, TableLayout, hash_page};
use crate::raw::pool::{Block, class_for};
use logic_api::schema::TableSchema;
use std::sync::Arc;
use std::{ptr, slice};

/// A page of rows, to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    /// As many rows as the page has slots. Padding is whatever a plugin left there, and not to be read.
    pub(crate) rows: &'a [u8],
    /// A bit for each slot that has one.
    pub(crate) live: &'a [u64],
}

/// What a page of another table has become.
#[derive(Clone)]
pub(crate) struct RewrittenPage {
    pub(crate) block: Arc<Block>,
    /// Its state hash, where that is known already.
    pub(crate) hash: Option<u64>,
}

impl TableLayout {
    /// The layout of a table that goes on in the slots of an old one.
    pub(crate) fn of_old(number: usize, schema: &TableSchema, old: &RawTable) -> Self {
        // A table without pages has no slots to keep.
        let slot_bytes = (!old.pages.is_empty()).then(|| u32::try_from(old.layout.slot_bytes).expect("a row is short"));
        Self::new(number, schema, slot_bytes)
    }

    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Offset and size of an indexed column.
    pub(crate) fn column(&self, index: usize) -> (usize, usize) {
        self.columns[index]
    }

    /// The state hash of a page.
    pub(crate) fn hash(&self, slots: usize, rows: &[u8], generations: &[u8], live: &[u64]) -> u64 {
        hash_page(self, slots, rows, generations, live)
    }
}

impl RawTable {
    pub(crate) fn page(&self, page: usize) -> Page<'_> {
        // SAFETY: the block has that many bytes, which were initialised when it was taken; nobody writes while `self` is borrowed.
        let rows = unsafe { slice::from_raw_parts(self.starts[page], self.slots * self.layout.row_bytes) };
        Page { rows, live: &self.live[page * self.live_words..][..self.live_words] }
    }

    pub(crate) fn block(&self, page: usize) -> &Arc<Block> {
        &self.pages[page]
    }

    /// A `u32` for each slot of a page.
    pub(crate) fn generations(&self, page: usize) -> &[u8] {
        // SAFETY: as many as the page has slots; nobody writes while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.generation_starts[page].cast(), self.slots * size_of::<u32>()) }
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// As many as a page of the table can have; only a lone one has fewer.
    pub(crate) fn slots_max(&self) -> usize {
        self.layout.slots(CLASS_MAX)
    }

    /// Live rows of the pages before this one.
    pub(crate) fn rows_before(&self, page: usize) -> usize {
        self.page_rows[..page].iter().map(|rows| *rows as usize).sum()
    }

    /// True if there is one row at most, and that in the first slot and generation, where a `One` has it.
    pub(crate) fn is_single(&self) -> bool {
        let is_first = || self.live[0] & 1 == 1 && self.generations(0)[..4] == 1u32.to_le_bytes();
        self.row_count() == 0 || (self.row_count() == 1 && is_first())
    }

    pub(crate) fn index_seed(&self) -> Option<u64> {
        self.indexes.first().map(Index::seed)
    }

    pub(crate) fn take_index(&mut self, number: usize) -> Index {
        let empty = Index::new(&self.pool, 0);
        std::mem::replace(&mut self.indexes[number], empty)
    }

    /// The table of another version in the same slots. `pages`: what its pages have become; none if they stay.
    ///
    /// # Panics
    /// If there is another number of pages.
    pub(crate) fn become_other(
        &mut self,
        layout: Arc<TableLayout>,
        pages: Option<Vec<RewrittenPage>>,
        indexes: Vec<Index>,
    ) -> Vec<Arc<Block>> {
        let mut spent = Vec::new();
        if let Some(pages) = pages {
            assert_eq!(pages.len(), self.pages.len(), "a page for each page");
            self.starts = pages.iter().map(|page| page.block.start()).collect();
            // The first write asks, so that the page becomes dirty.
            self.writable = vec![ptr::null_mut(); pages.len()];
            self.hashes = pages.iter().map(|page| page.hash.unwrap_or(0)).collect();
            self.dirty = pages.iter().map(|page| page.hash.is_none()).collect();
            spent = std::mem::replace(&mut self.pages, pages.into_iter().map(|page| page.block).collect());
        }
        if self.pages.is_empty() {
            self.class = class_for(layout.slot_bytes);
            assert!(self.class <= CLASS_MAX, "a row fits a page");
            self.slots = layout.slots(self.class);
            self.live_words = self.slots.div_ceil(64);
        }
        self.layout = layout;
        self.index_views = indexes.iter().map(Index::view).collect();
        self.indexes = indexes;
        self.show(self.row_count());
        spent
    }
}
