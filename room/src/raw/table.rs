//! A table of rows whose type only the plugin knows: pages of slots, their generations, and which of them are live.
//!
//! A page of rows is one block with nothing but rows, so that a walk over full pages reads memory as it does in a `Vec`: anything
//! between the rows of two pages costs the processor's look-ahead a tenth of the speed. The generations are blocks of their own,
//! which a change of rows does not copy. Free slots are zero. `docs/abi.md`, "Table".
//!
//! A slot is a row's name for life, also when its rows become longer or shorter by a schema change. So a page has the number of
//! slots that fitted a page when the table was new: `slot_bytes` says for which length of rows that was.

mod hash;
mod image;
mod rewrite;

use super::index::Index;
use super::pool::{Block, CLASS_MAX, PAGE_BYTES, Pool, block_bytes, class_for, fetch_counters};
use crate::limits::PAGES_PER_TABLE_MAX;
use logic_api::abi::{IndexView, TableView, hash_key};
use logic_api::schema::TableSchema;
use std::borrow::Cow;
use std::sync::Arc;
use std::{ptr, slice};
use xxhash_rust::xxh3::xxh3_64;

use hash::hash_page;
pub(crate) use rewrite::{Page, RewrittenPage};

/// What is the same for all pages and forks of a table.
#[derive(Debug, Clone)]
pub(crate) struct TableLayout {
    number: u32,
    row_bytes: usize,
    /// The length of rows that the number of slots of a page was made for: `row_bytes`, unless a schema change came between.
    slot_bytes: usize,
    /// The stretches of a row that carry state; one for a row without padding.
    spans: Vec<(usize, usize)>,
    /// Offset and size of the columns with an index.
    columns: Vec<(usize, usize)>,
}

impl TableLayout {
    /// The layout of a table that has its pages from rows of `slot_bytes`; none: it is new.
    pub(crate) fn new(number: usize, schema: &TableSchema, slot_bytes: Option<u32>) -> Self {
        let wide = |(offset, bytes): (u32, u32)| (offset as usize, bytes as usize);
        let row = &schema.row;
        Self {
            number: u32::try_from(number).expect("a schema has few tables"),
            row_bytes: row.size as usize,
            slot_bytes: slot_bytes.unwrap_or(row.size) as usize,
            spans: row.spans().into_iter().map(wide).collect(),
            columns: row.indexes().into_iter().map(|field| wide((field.offset, field.column.size()))).collect(),
        }
    }

    /// True if a row has no padding.
    fn is_dense(&self) -> bool {
        self.spans == [(0, self.row_bytes)]
    }

    /// Slots of a page of this class. Their generations must fit a block too.
    fn slots(&self, class: u8) -> usize {
        (block_bytes(class) / self.slot_bytes).min(PAGE_BYTES / size_of::<u32>())
    }
}

/// Why a row was not inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InsertError {
    Full,
    Duplicate { index: u32 },
}

impl InsertError {
    fn duplicate(index: usize) -> Self {
        Self::Duplicate { index: u32::try_from(index).unwrap_or(u32::MAX) }
    }
}

pub(crate) struct RawTable {
    layout: Arc<TableLayout>,
    pool: Pool,
    /// What plugins see of all this. The number of rows is kept there only: plugins write it.
    view: SharedView,
    /// How many slots pages have: as many as fit a block of this class, the largest but for a lone page.
    class: u8,
    /// Slots of such a page, and words of `live` for them. Kept, because a division is slow.
    slots: usize,
    live_words: usize,
    /// Rows, and where they start, for plugins to read.
    pages: Vec<Arc<Block>>,
    starts: Vec<*mut u8>,
    /// The same for pages that may be written without asking: unshared since the last fork, and dirty since the last hash.
    writable: Vec<*mut u8>,
    /// A `u32` for each slot: odd where it is live. And where they start, for plugins to read.
    generations: Vec<Arc<Block>>,
    generation_starts: Vec<*const u32>,
    /// The same for pages whose generations are known to be this table's alone since the last fork.
    writable_generations: Vec<*mut u32>,
    /// A bit for each slot that is live, `live_words` words for each page.
    live: Vec<u64>,
    /// How many rows each page has.
    page_rows: Vec<u32>,
    /// No slot of the page before this one is free.
    page_free_from: Vec<u32>,
    /// A bit for each page that has a free slot.
    free: Vec<u64>,
    /// A bit for each word of `free` that is not 0.
    free_groups: Vec<u64>,
    /// The hash of each page, out of date where the page is dirty.
    hashes: Vec<u64>,
    dirty: Vec<bool>,
    indexes: Vec<Index>,
    index_views: Vec<IndexView>,
}

// SAFETY: the pointers go into the table's own pages. Who has `&mut` to the table, or has forked it, guards their content.
unsafe impl Send for RawTable {}

impl RawTable {
    pub(crate) fn new(layout: Arc<TableLayout>, pool: &Pool, seed: u64) -> Self {
        let indexes: Vec<Index> = layout.columns.iter().map(|_| Index::new(pool, seed)).collect();
        let class = class_for(layout.slot_bytes);
        let slots = layout.slots(class);
        let mut table = Self {
            class,
            slots,
            live_words: slots.div_ceil(64),
            layout,
            pool: pool.clone(),
            view: SharedView::new(),
            pages: Vec::new(),
            starts: Vec::new(),
            writable: Vec::new(),
            generations: Vec::new(),
            generation_starts: Vec::new(),
            writable_generations: Vec::new(),
            live: Vec::new(),
            page_rows: Vec::new(),
            page_free_from: Vec::new(),
            free: Vec::new(),
            free_groups: Vec::new(),
            hashes: Vec::new(),
            dirty: Vec::new(),
            index_views: indexes.iter().map(Index::view).collect(),
            indexes,
        };
        table.show(0);
        table
    }

    /// A copy that shares all pages until one side writes.
    pub(crate) fn fork(&mut self) -> Self {
        fetch_counters(self.pages.iter().chain(&self.generations));
        self.writable.fill(ptr::null_mut());
        self.writable_generations.fill(ptr::null_mut());
        let indexes: Vec<Index> = self.indexes.iter_mut().map(Index::fork).collect();
        let mut fork = Self {
            layout: self.layout.clone(),
            pool: self.pool.clone(),
            view: SharedView::new(),
            class: self.class,
            slots: self.slots,
            live_words: self.live_words,
            pages: self.pages.clone(),
            starts: self.starts.clone(),
            writable: self.writable.clone(),
            generations: self.generations.clone(),
            generation_starts: self.generation_starts.clone(),
            writable_generations: self.writable_generations.clone(),
            live: self.live.clone(),
            page_rows: self.page_rows.clone(),
            page_free_from: self.page_free_from.clone(),
            free: self.free.clone(),
            free_groups: self.free_groups.clone(),
            hashes: self.hashes.clone(),
            dirty: self.dirty.clone(),
            index_views: indexes.iter().map(Index::view).collect(),
            indexes,
        };
        fork.show(self.row_count());
        fork
    }

    /// Lets plugins see the arrays and sizes as they are now: after every change of structure.
    fn show(&mut self, rows: u32) {
        let narrow = |size: usize| u32::try_from(size).expect("sizes within a page and counts of pages fit 32 bits");
        self.view.set(TableView {
            pages: self.starts.as_ptr(),
            writable: self.writable.as_ptr(),
            generations: self.generation_starts.as_ptr(),
            writable_generations: self.writable_generations.as_ptr(),
            live: self.live.as_mut_ptr(),
            page_rows: self.page_rows.as_mut_ptr(),
            page_free_from: self.page_free_from.as_mut_ptr(),
            free: self.free.as_mut_ptr(),
            free_groups: self.free_groups.as_mut_ptr(),
            indexes: self.index_views.as_ptr(),
            rows,
            free_groups_len: narrow(self.free_groups.len()),
            page_count: narrow(self.pages.len()),
            slots_per_page: narrow(self.slots),
            live_words: narrow(self.live_words),
            row_size: narrow(self.layout.row_bytes),
            number: self.layout.number,
            index_count: narrow(self.indexes.len()),
        });
    }

    /// What plugins work on, at a place that stays.
    pub(crate) fn view(&self) -> *mut TableView {
        self.view.0
    }

    pub(crate) fn row_count(&self) -> u32 {
        self.view.get().rows
    }

    /// Pages of rows and of indexes.
    pub(crate) fn page_count(&self) -> usize {
        self.pages.len() + self.indexes.iter().map(Index::page_count).sum::<usize>()
    }

    /// How many pages this table shares with another one: neither has written to them since the fork.
    pub(crate) fn pages_shared_with(&self, other: &Self) -> usize {
        self.pages.iter().zip(&other.pages).filter(|(one, two)| Arc::ptr_eq(one, two)).count()
    }

    /// Makes a page writable and gives where its rows start.
    #[inline]
    pub(crate) fn unshare(&mut self, page: usize) -> *mut u8 {
        if self.writable[page].is_null() { self.copy_if_shared(page) } else { self.writable[page] }
    }

    #[cold]
    fn copy_if_shared(&mut self, page: usize) -> *mut u8 {
        if Arc::get_mut(&mut self.pages[page]).is_none() {
            self.pages[page] = Arc::new(self.pages[page].duplicate());
        }
        let start = self.pages[page].start();
        self.starts[page] = start;
        self.writable[page] = start;
        self.dirty[page] = true;
        start
    }

    /// Makes the generations of a page writable.
    fn unshare_generations(&mut self, page: usize) {
        if !self.writable_generations[page].is_null() {
            return;
        }
        if Arc::get_mut(&mut self.generations[page]).is_none() {
            self.generations[page] = Arc::new(self.generations[page].duplicate());
        }
        let start = self.generations[page].start().cast::<u32>();
        self.generation_starts[page] = start;
        self.writable_generations[page] = start;
    }

    /// Makes room for a row, of which it reads the indexed columns: afterwards, all that putting it in writes to is writable.
    ///
    /// # Safety
    /// `row` points to `row_bytes` bytes of a row of this table's schema.
    pub(crate) unsafe fn make_room(&mut self, row: *const u8) -> Result<(), InsertError> {
        let place = Place { starts: &self.starts, slots: self.slots, row_bytes: self.layout.row_bytes };
        for (number, index) in self.indexes.iter_mut().enumerate() {
            let (offset, bytes) = self.layout.columns[number];
            // SAFETY: the column lies within the row; an indexed column has no padding.
            let value = unsafe { slice::from_raw_parts(row.add(offset), bytes) };
            if index.has(index.hash(value), |slot| place.column(slot, offset, bytes) == value) {
                return Err(InsertError::duplicate(number));
            }
            let hash_of = |multiplier, slot| hash_key(multiplier, place.column(slot, offset, bytes));
            let has_room = index.grow(value, hash_of).is_some();
            // At once: another index may refuse the row, and this one has grown all the same.
            if let Some(view) = index.take_moved_view() {
                self.index_views[number] = view;
            }
            if !has_room {
                return Err(InsertError::Full);
            }
        }
        let page = self.page_with_room().ok_or(InsertError::Full)?;
        self.unshare(page);
        self.unshare_generations(page);
        Ok(())
    }

    /// Makes all that taking the row of a live slot out writes to writable; false if the slot has no row.
    pub(crate) fn make_writable(&mut self, slot: u32) -> bool {
        if !self.is_live(slot) {
            return false;
        }
        let page = page_of(slot);
        self.unshare(page);
        self.unshare_generations(page);
        for number in 0..self.indexes.len() {
            let (offset, bytes) = self.layout.columns[number];
            let place = Place { starts: &self.starts, slots: self.slots, row_bytes: self.layout.row_bytes };
            let index = &mut self.indexes[number];
            let hash = index.hash(place.column(slot, offset, bytes));
            index.own(hash);
            if !index.has(hash, |found| found == slot) {
                self.warn_of_untold_key();
                // First, so that it has its entry whatever else there is with that value.
                self.make_index(number, &[slot], Some(slot));
            }
        }
        true
    }

    /// Follows a change of an indexed column of a live row.
    ///
    /// # Safety
    /// `old` points to the value that the index knows, and `slot` is that of a live row.
    pub(crate) unsafe fn rekey(&mut self, slot: u32, number: usize, old: *const u8) -> Result<(), InsertError> {
        let (offset, bytes) = self.layout.columns[number];
        // SAFETY: a value of the column, by the caller's promise.
        let old = unsafe { slice::from_raw_parts(old, bytes) };
        let place = Place { starts: &self.starts, slots: self.slots, row_bytes: self.layout.row_bytes };
        let new = place.column(slot, offset, bytes);
        let index = &mut self.indexes[number];
        let hash = index.hash(new);
        if index.has(hash, |found| found != slot && place.column(found, offset, bytes) == new) {
            return Err(InsertError::duplicate(number));
        }
        // The old entry leaves first, so that the index need not grow: it would look at other rows for their hashes, which may
        // have been written to already, and not told yet.
        if !index.remove(index.hash(old), slot) {
            self.warn_of_untold_key();
            self.make_index(number, &[], Some(slot));
        }
        match self.indexes[number].squeeze_in(hash, slot) {
            true => Ok(()),
            false => Err(InsertError::Full),
        }
    }

    /// An index does not know the value of a row: a logic wrote to a unique column and leaked the guard that would have told
    /// (`mem::forget`), or caught the panic that took it.
    #[cold]
    fn warn_of_untold_key(&self) {
        tracing::warn!(table = self.layout.number, "a logic did not tell of a changed key: making the index anew");
    }

    /// Makes an index from the rows in the slots `first`, and then from all others but the one in `without`.
    #[cold]
    fn make_index(&mut self, number: usize, first: &[u32], without: Option<u32>) {
        let (offset, bytes) = self.layout.columns[number];
        let place = Place { starts: &self.starts, slots: self.slots, row_bytes: self.layout.row_bytes };
        let seed = self.indexes[number].seed();
        let mut index = Index::new(&self.pool, seed);
        let value = |slot| place.column(slot, offset, bytes);
        for slot in first.iter().copied().chain(self.live_slots().filter(|slot| Some(*slot) != without)) {
            // Where too many rows have one value, which only such a logic can bring about, the rest are not found by it.
            if let Some(hash) = index.grow(value(slot), |multiplier, slot| hash_key(multiplier, value(slot))) {
                index.insert(hash, slot);
            }
        }
        self.index_views[number] = index.view();
        self.indexes[number] = index;
    }

    /// True if the indexes find every row by its values, and have nothing else. Looks at all rows.
    pub(crate) fn has_sound_indexes(&self) -> bool {
        let place = Place { starts: &self.starts, slots: self.slots, row_bytes: self.layout.row_bytes };
        self.indexes.iter().zip(&self.layout.columns).all(|(index, &(offset, bytes))| {
            let finds = |slot| index.has(index.hash(place.column(slot, offset, bytes)), |found| found == slot);
            index.len() == u64::from(self.row_count()) && self.live_slots().all(finds)
        })
    }

    /// True if the slot has a row.
    pub(crate) fn is_live(&self, slot: u32) -> bool {
        let (page, slot) = (page_of(slot), slot_of(slot));
        // SAFETY: page and slot are in range.
        page < self.pages.len() && slot < self.slots && unsafe { *self.generation_starts[page].add(slot) } & 1 == 1
    }

    /// The live rows in slot order, as bytes. Padding reads as zero: what a plugin left there is arbitrary, and may be anything
    /// that was in its memory.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        self.live_slots().map(|slot| self.row(slot))
    }

    /// As `rows`, each with its id as `Id::to_bits` gives it.
    pub(crate) fn rows_with_ids(&self) -> impl Iterator<Item = (u64, Cow<'_, [u8]>)> {
        self.live_slots().map(|slot| {
            // SAFETY: page and slot are in range.
            let generation = unsafe { *self.generation_starts[page_of(slot)].add(slot_of(slot)) };
            (u64::from(generation) << 32 | u64::from(slot), self.row(slot))
        })
    }

    fn row(&self, slot: u32) -> Cow<'_, [u8]> {
        let place = Place { starts: &self.starts, slots: self.slots, row_bytes: self.layout.row_bytes };
        if self.layout.is_dense() {
            return Cow::Borrowed(place.column(slot, 0, place.row_bytes));
        }
        let mut copy = vec![0; place.row_bytes];
        for &(offset, len) in &self.layout.spans {
            copy[offset..offset + len].copy_from_slice(place.column(slot, offset, len));
        }
        Cow::Owned(copy)
    }

    /// The slots of the live rows, ascending.
    fn live_slots(&self) -> impl Iterator<Item = u32> {
        let words = self.live_words;
        (0..self.pages.len()).flat_map(move |page| {
            let live = move |slot: &usize| self.live[page * words + slot / 64] >> (slot % 64) & 1 == 1;
            (0..self.slots).filter(live).map(move |slot| slot_number(page, slot))
        })
    }

    /// A hash of all rows, where they are and which generation they have. Only pages written to since the last time are read.
    pub(crate) fn state_hash(&mut self) -> u64 {
        for page in 0..self.pages.len() {
            if self.dirty[page] {
                self.hashes[page] = self.page_hash(page);
                self.dirty[page] = false;
                // The next write must come through `unshare`, to make the page dirty again.
                self.writable[page] = ptr::null_mut();
            }
        }
        let bytes: Vec<u8> = self.hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        xxh3_64(&bytes)
    }

    fn page_hash(&self, page: usize) -> u64 {
        let live = &self.live[page * self.live_words..][..self.live_words];
        hash_page(&self.layout, self.slots, self.page(page).rows, self.generations(page), live)
    }

    /// The first page with a free slot, made if there is none.
    fn page_with_room(&mut self) -> Option<usize> {
        if let Some(group) = self.free_groups.iter().position(|group| *group != 0) {
            let word = group * 64 + self.free_groups[group].trailing_zeros() as usize;
            return Some(word * 64 + self.free[word].trailing_zeros() as usize);
        }
        match &self.pages[..] {
            [_] if self.class < CLASS_MAX => self.enlarge(),
            pages if pages.len() == PAGES_PER_TABLE_MAX => return None,
            _ => self.add_page(),
        }
        let page = self.pages.len() - 1;
        self.set_free(page);
        self.show(self.row_count());
        Some(page)
    }

    /// Notes that a page has a free slot.
    fn set_free(&mut self, page: usize) {
        self.free[page / 64] |= 1 << (page % 64);
        self.free_groups[page / 4096] |= 1 << (page / 64 % 64);
    }

    #[cold]
    fn add_page(&mut self) {
        let (rows, generations) = self.empty_blocks();
        self.starts.push(rows.start());
        self.writable.push(rows.start());
        self.pages.push(Arc::new(rows));
        let generation_start = generations.start().cast::<u32>();
        self.generation_starts.push(generation_start);
        self.generations.push(Arc::new(generations));
        self.writable_generations.push(generation_start);
        self.live.resize(self.live.len() + self.live_words, 0);
        self.page_rows.push(0);
        self.page_free_from.push(0);
        self.free.resize(self.pages.len().div_ceil(64), 0);
        self.free_groups.resize(self.pages.len().div_ceil(4096), 0);
        self.hashes.push(0);
        self.dirty.push(true);
    }

    /// Blocks for the rows and the generations of a page, all zero.
    fn empty_blocks(&self) -> (Block, Block) {
        let class = |bytes: usize| class_for(self.slots * bytes);
        let blocks = (self.pool.take(class(self.layout.row_bytes)), self.pool.take(class(size_of::<u32>())));
        // SAFETY: the blocks are new and ours alone.
        unsafe {
            blocks.0.start().write_bytes(0, blocks.0.bytes());
            blocks.1.start().write_bytes(0, blocks.1.bytes());
        }
        blocks
    }

    /// Moves the lone page into a block of twice the size, so that small tables are small.
    #[cold]
    fn enlarge(&mut self) {
        let (old_slots, row_bytes) = (self.slots, self.layout.row_bytes);
        self.class += 1;
        self.slots = self.layout.slots(self.class);
        self.live_words = self.slots.div_ceil(64);
        let (rows, generations) = self.empty_blocks();
        // SAFETY: different blocks, and the new ones have room for what the old ones hold.
        unsafe {
            ptr::copy_nonoverlapping(self.pages[0].start(), rows.start(), old_slots * row_bytes);
            ptr::copy_nonoverlapping(self.generations[0].start(), generations.start(), old_slots * size_of::<u32>());
        }
        self.starts[0] = rows.start();
        self.writable[0] = rows.start();
        self.pages[0] = Arc::new(rows);
        self.generation_starts[0] = generations.start().cast::<u32>();
        self.writable_generations[0] = generations.start().cast::<u32>();
        self.generations[0] = Arc::new(generations);
        self.live.resize(self.live_words, 0);
        self.dirty[0] = true;
    }
}

/// A view at a place that stays, which plugins read and write while a callback runs: never borrowed beyond a function here.
struct SharedView(*mut TableView);

impl SharedView {
    /// All zero and null, until it is first set.
    fn new() -> Self {
        // SAFETY: plain numbers and pointers.
        Self(Box::into_raw(Box::new(unsafe { std::mem::zeroed() })))
    }

    fn get(&self) -> TableView {
        // SAFETY: made by `new`; no plugin code runs while the host reads.
        unsafe { *self.0 }
    }

    fn set(&mut self, view: TableView) {
        // SAFETY: as above.
        unsafe { *self.0 = view };
    }
}

impl Drop for SharedView {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw`, and dropped once.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// How to find a column of a live row.
struct Place<'a> {
    starts: &'a [*mut u8],
    /// Slots of a page.
    slots: usize,
    row_bytes: usize,
}

impl<'a> Place<'a> {
    fn column(&self, slot: u32, offset: usize, bytes: usize) -> &'a [u8] {
        let (page, index) = (page_of(slot), slot_of(slot));
        assert!(index < self.slots, "the index holds slots of the table");
        // SAFETY: the page exists (checked by the slice), the slot is in range, and the table is borrowed for `'a`.
        unsafe {
            let row = self.starts[page].add(index * self.row_bytes);
            slice::from_raw_parts(row.add(offset), bytes)
        }
    }
}

fn page_of(slot: u32) -> usize {
    (slot >> 16) as usize
}

fn slot_of(slot: u32) -> usize {
    (slot & 0xFFFF) as usize
}

fn slot_number(page: usize, slot: usize) -> u32 {
    u32::try_from(page << 16 | slot).expect("page and slot fit 16 bits each")
}
