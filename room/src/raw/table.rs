//! A table of rows whose type only the plugin knows: pages of slots, live bitmaps, generations.
//!
//! A page is one block: the generations of its slots (`u32` each), the live bitmap (`u64` words), then the rows, aligned to a
//! cache line. Free slots and padding between the three are zero. `docs/abi.md`, "Page".

use super::index::{Found, Index};
use super::pool::{Block, CLASS_MAX, Pool, block_bytes};
use crate::limits::{INDEXES_PER_TABLE_MAX, PAGES_PER_TABLE_MAX};
use logic_api::abi::{IndexView, Inserted, RawId, TableView, hash_key};
use logic_api::schema::TableSchema;
use std::sync::Arc;
use std::{ptr, slice};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// What is the same for all pages and forks of a table.
#[derive(Debug)]
pub(crate) struct TableLayout {
    number: u32,
    row_bytes: usize,
    /// The stretches of a row that carry state; one for a row without padding.
    spans: Vec<(usize, usize)>,
    /// Offset and size of the columns with an index.
    columns: Vec<(usize, usize)>,
}

impl TableLayout {
    pub(crate) fn new(number: usize, schema: &TableSchema) -> Self {
        let wide = |(offset, bytes): (u32, u32)| (offset as usize, bytes as usize);
        let row = &schema.row;
        Self {
            number: u32::try_from(number).expect("a schema has few tables"),
            row_bytes: row.size as usize,
            spans: row.spans().into_iter().map(wide).collect(),
            columns: row.indexes().into_iter().map(|field| wide((field.offset, field.column.size()))).collect(),
        }
    }

    /// True if a row has no padding.
    fn is_dense(&self) -> bool {
        self.spans == [(0, self.row_bytes)]
    }
}

/// Where things are in a page of a size.
#[derive(Clone, Copy)]
struct Geometry {
    slots: usize,
    bitmap_offset: usize,
    rows_offset: usize,
}

impl Geometry {
    /// Where the rows of a block start.
    fn rows(&self, block: &Block) -> *mut u8 {
        // Wrapping only in name: the offset lies within the block.
        block.start().wrapping_add(self.rows_offset)
    }

    fn of(row_bytes: usize, class: u8) -> Self {
        const ROWS_ALIGN: usize = 64;
        let fit = |slots: usize| {
            let bitmap_offset = (slots * 4).next_multiple_of(8);
            let rows_offset = (bitmap_offset + slots.div_ceil(64) * 8).next_multiple_of(ROWS_ALIGN);
            Self { slots, bitmap_offset, rows_offset }
        };
        let mut slots = block_bytes(class) / (row_bytes + 4);
        while slots > 0 && fit(slots).rows_offset + slots * row_bytes > block_bytes(class) {
            slots -= 1;
        }
        fit(slots)
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
    geometry: Geometry,
    rows: u32,
    pages: Vec<Arc<Block>>,
    /// Where the rows of each page start, for plugins to read.
    starts: Vec<*mut u8>,
    /// The same for pages that may be written without asking: unshared since the last fork, and dirty since the last hash.
    writable: Vec<*mut u8>,
    /// A bit for each page that has a free slot.
    free: Vec<u64>,
    /// No word of `free` before this one has a bit.
    free_from: usize,
    /// How many rows each page has.
    page_rows: Vec<u32>,
    /// No slot of the page before this one is free.
    page_free_from: Vec<u32>,
    /// The hash of each page, out of date where the page is dirty.
    hashes: Vec<u64>,
    dirty: Vec<bool>,
    indexes: Vec<Index>,
    index_views: Vec<IndexView>,
    /// More of the view than the number of rows has changed since it was last asked for.
    moved: bool,
}

// SAFETY: the pointers go into the table's own pages. Who has `&mut` to the table, or has forked it, guards their content.
unsafe impl Send for RawTable {}

impl RawTable {
    pub(crate) fn new(layout: Arc<TableLayout>, pool: &Pool, seed: u64) -> Self {
        let smallest = (0..=CLASS_MAX).find(|class| Geometry::of(layout.row_bytes, *class).slots > 0);
        let geometry = Geometry::of(layout.row_bytes, smallest.expect("a row fits a page"));
        let indexes: Vec<Index> = layout.columns.iter().map(|_| Index::new(pool, seed)).collect();
        let index_views = indexes.iter().map(Index::view).collect();
        Self {
            layout,
            pool: pool.clone(),
            geometry,
            rows: 0,
            pages: Vec::new(),
            starts: Vec::new(),
            writable: Vec::new(),
            free: Vec::new(),
            free_from: 0,
            page_rows: Vec::new(),
            page_free_from: Vec::new(),
            hashes: Vec::new(),
            dirty: Vec::new(),
            indexes,
            index_views,
            moved: false,
        }
    }

    /// A copy that shares all pages until one side writes.
    pub(crate) fn fork(&mut self) -> Self {
        self.writable.fill(ptr::null_mut());
        let indexes: Vec<Index> = self.indexes.iter_mut().map(Index::fork).collect();
        Self {
            layout: self.layout.clone(),
            pool: self.pool.clone(),
            geometry: self.geometry,
            rows: self.rows,
            pages: self.pages.clone(),
            starts: self.starts.clone(),
            writable: self.writable.clone(),
            free: self.free.clone(),
            free_from: self.free_from,
            page_rows: self.page_rows.clone(),
            page_free_from: self.page_free_from.clone(),
            hashes: self.hashes.clone(),
            dirty: self.dirty.clone(),
            index_views: indexes.iter().map(Index::view).collect(),
            indexes,
            moved: false,
        }
    }

    pub(crate) fn view(&self) -> TableView {
        let narrow = |size: usize| u32::try_from(size).expect("sizes within a page and counts of pages fit 32 bits");
        TableView {
            pages: self.starts.as_ptr(),
            writable: self.writable.as_ptr(),
            indexes: self.index_views.as_ptr(),
            rows: self.rows,
            page_count: narrow(self.pages.len()),
            slots_per_page: narrow(self.geometry.slots),
            bitmap_offset: narrow(self.geometry.rows_offset - self.geometry.bitmap_offset),
            generations_offset: narrow(self.geometry.rows_offset),
            row_size: narrow(self.layout.row_bytes),
            number: self.layout.number,
            index_count: narrow(self.indexes.len()),
        }
    }

    /// The view, if more of it than the number of rows has changed since the last time.
    #[inline]
    pub(crate) fn take_moved_view(&mut self) -> Option<TableView> {
        std::mem::take(&mut self.moved).then(|| self.view())
    }

    #[inline]
    pub(crate) fn row_count(&self) -> u32 {
        self.rows
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
        let start = self.geometry.rows(&self.pages[page]);
        self.starts[page] = start;
        self.writable[page] = start;
        self.dirty[page] = true;
        start
    }

    /// Makes room for a row, of which it reads the indexed columns. The caller writes the row to where the result says, before
    /// anything else happens to the table.
    ///
    /// # Safety
    /// `row` points to `row_bytes` bytes of a row of this table's schema.
    pub(crate) unsafe fn insert(&mut self, row: *const u8) -> Result<Inserted, InsertError> {
        let mut found = [(0, 0); INDEXES_PER_TABLE_MAX];
        let place = Place { starts: &self.starts, slots: self.geometry.slots, row_bytes: self.layout.row_bytes };
        for ((number, index), found) in self.indexes.iter_mut().enumerate().zip(&mut found) {
            let (offset, bytes) = self.layout.columns[number];
            // SAFETY: the column lies within the row; an indexed column has no padding.
            let value = unsafe { slice::from_raw_parts(row.add(offset), bytes) };
            let hash = hash_key(index.seed(), value);
            let page = match index.find(hash, |slot| place.column(slot, offset, bytes) == value) {
                Found::Taken => return Err(InsertError::duplicate(number)),
                Found::Free { page, has_room: true } => page,
                Found::Free { has_room: false, .. } => {
                    let seed = index.seed();
                    let hash_of = |slot| hash_key(seed, place.column(slot, offset, bytes));
                    index.grow(hash, hash_of).ok_or(InsertError::Full)?
                }
            };
            *found = (page, hash);
        }
        let page = self.page_with_room().ok_or(InsertError::Full)?;
        let rows = self.unshare(page);
        let Geometry { slots, bitmap_offset, rows_offset } = self.geometry;
        // SAFETY: the page is ours alone (`unshare`), and what lies before its rows is as the geometry says.
        let (start, bitmap) = unsafe { (rows.sub(rows_offset), rows.sub(rows_offset - bitmap_offset).cast::<u64>()) };
        let mut word = self.page_free_from[page] as usize / 64;
        // SAFETY: the page has room, and none before `page_free_from`, so that a word with a free bit comes.
        let slot = unsafe {
            while *bitmap.add(word) == u64::MAX {
                word += 1;
            }
            word * 64 + (*bitmap.add(word)).trailing_ones() as usize
        };
        assert!(slot < slots, "the page has room");
        self.page_rows[page] += 1;
        let is_full = self.page_rows[page] as usize == slots;
        self.page_free_from[page] = slot_number(0, if is_full { slots } else { slot + 1 });
        if is_full {
            self.free[page / 64] &= !(1 << (page % 64));
        }
        // SAFETY: the slot is in range.
        let (generation, place) = unsafe {
            *bitmap.add(slot / 64) |= 1 << (slot % 64);
            let generation = start.cast::<u32>().add(slot);
            *generation = (*generation).wrapping_add(1);
            (*generation, rows.add(slot * self.layout.row_bytes))
        };
        let id = RawId { slot: slot_number(page, slot), generation };
        for (number, index) in self.indexes.iter_mut().enumerate() {
            let (page, hash) = found[number];
            index.insert(page, hash, id.slot);
            if let Some(view) = index.take_moved_view() {
                self.index_views[number] = view;
            }
        }
        self.rows += 1;
        Ok(Inserted { id, row: place })
    }

    /// Removes a row, which the caller has read if it wants it; false if the id names none.
    pub(crate) fn remove(&mut self, id: RawId) -> bool {
        if !self.is_live(id) {
            return false;
        }
        let (page, slot) = (page_of(id.slot), slot_of(id.slot));
        let rows = self.unshare(page);
        let Geometry { bitmap_offset, rows_offset, .. } = self.geometry;
        let row_bytes = self.layout.row_bytes;
        for (number, index) in self.indexes.iter_mut().enumerate() {
            let (offset, bytes) = self.layout.columns[number];
            let place = Place { starts: &self.starts, slots: self.geometry.slots, row_bytes };
            index.remove(hash_key(index.seed(), place.column(id.slot, offset, bytes)), id.slot);
        }
        // SAFETY: the page is ours alone (`unshare`), and the slot is in range (`is_live`).
        unsafe {
            rows.add(slot * row_bytes).write_bytes(0, row_bytes);
            let generation = rows.sub(rows_offset).cast::<u32>().add(slot);
            *generation = (*generation).wrapping_add(1);
            *rows.sub(rows_offset - bitmap_offset).cast::<u64>().add(slot / 64) &= !(1 << (slot % 64));
        }
        self.free[page / 64] |= 1 << (page % 64);
        self.free_from = self.free_from.min(page / 64);
        self.page_rows[page] -= 1;
        self.page_free_from[page] = self.page_free_from[page].min(slot_number(0, slot));
        self.rows -= 1;
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
        let place = Place { starts: &self.starts, slots: self.geometry.slots, row_bytes: self.layout.row_bytes };
        let new = place.column(slot, offset, bytes);
        let index = &mut self.indexes[number];
        let hash = hash_key(index.seed(), new);
        if let Found::Taken = index.find(hash, |found| found != slot && place.column(found, offset, bytes) == new) {
            return Err(InsertError::duplicate(number));
        }
        // To the index, the row in `slot` has its old value until the entry is gone.
        let (seed, old_hash) = (index.seed(), hash_key(index.seed(), old));
        let hash_of = |found| {
            if found == slot { old_hash } else { hash_key(seed, place.column(found, offset, bytes)) }
        };
        let page = index.grow(hash, hash_of).ok_or(InsertError::Full)?;
        index.remove(old_hash, slot);
        index.insert(page, hash, slot);
        if let Some(view) = index.take_moved_view() {
            self.index_views[number] = view;
        }
        Ok(())
    }

    pub(crate) fn is_live(&self, id: RawId) -> bool {
        let (page, slot) = (page_of(id.slot), slot_of(id.slot));
        if id.generation & 1 == 0 || page >= self.pages.len() || slot >= self.geometry.slots {
            return false;
        }
        // SAFETY: page and slot are in range; the generations lie before the rows.
        unsafe { *self.starts[page].sub(self.geometry.rows_offset).cast::<u32>().add(slot) == id.generation }
    }

    /// The live rows in slot order, as bytes. Padding among them is arbitrary but initialised: pages start as zeroes.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (RawId, &[u8])> {
        let Geometry { slots, bitmap_offset, rows_offset } = self.geometry;
        let row_bytes = self.layout.row_bytes;
        self.pages.iter().map(|page| page.start()).enumerate().flat_map(move |(page, start)| {
            (0..slots).filter_map(move |slot| {
                // SAFETY: within the page; nobody writes while `self` is borrowed.
                unsafe {
                    let word = *start.add(bitmap_offset).cast::<u64>().add(slot / 64);
                    if word >> (slot % 64) & 1 == 0 {
                        return None;
                    }
                    let generation = *start.cast::<u32>().add(slot);
                    let row = slice::from_raw_parts(start.add(rows_offset + slot * row_bytes), row_bytes);
                    Some((RawId { slot: slot_number(page, slot), generation }, row))
                }
            })
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
        let Geometry { slots, rows_offset, .. } = self.geometry;
        let (start, row_bytes) = (self.pages[page].start(), self.layout.row_bytes);
        // SAFETY: within the page, which was zeroed when it was made; nobody writes while `self` is borrowed.
        let bytes = |offset: usize, len: usize| unsafe { slice::from_raw_parts(start.add(offset), len) };
        if self.layout.is_dense() {
            return xxh3_64(bytes(0, rows_offset + slots * row_bytes));
        }
        let mut hash = Xxh3::new();
        hash.update(bytes(0, rows_offset));
        for slot in 0..slots {
            for (offset, len) in &self.layout.spans {
                hash.update(bytes(rows_offset + slot * row_bytes + offset, *len));
            }
        }
        hash.digest()
    }

    /// The first page with a free slot, made if there is none.
    fn page_with_room(&mut self) -> Option<usize> {
        while self.free_from < self.free.len() {
            let word = self.free[self.free_from];
            if word != 0 {
                return Some(self.free_from * 64 + word.trailing_zeros() as usize);
            }
            self.free_from += 1;
        }
        match &self.pages[..] {
            [only] if only.class() < CLASS_MAX => self.enlarge(),
            pages if pages.len() == PAGES_PER_TABLE_MAX => return None,
            pages => {
                let class = pages.first().map_or_else(|| self.smallest_class(), |first| first.class());
                let block = self.empty_block(class);
                let start = self.geometry.rows(&block);
                self.pages.push(Arc::new(block));
                self.starts.push(start);
                self.writable.push(start);
                self.page_rows.push(0);
                self.page_free_from.push(0);
                self.hashes.push(0);
                self.dirty.push(true);
                self.moved = true;
            }
        }
        let page = self.pages.len() - 1;
        self.free.resize(page / 64 + 1, 0);
        self.free[page / 64] |= 1 << (page % 64);
        self.free_from = page / 64;
        Some(page)
    }

    fn smallest_class(&self) -> u8 {
        (0..=CLASS_MAX).find(|class| Geometry::of(self.layout.row_bytes, *class).slots > 0).unwrap_or(CLASS_MAX)
    }

    fn empty_block(&self, class: u8) -> Block {
        let block = self.pool.take(class);
        // SAFETY: the block is new and ours alone.
        unsafe { block.start().write_bytes(0, block.bytes()) };
        block
    }

    /// Moves the lone page into a block of twice the size, so that small tables are small.
    fn enlarge(&mut self) {
        let (old, from) = (self.pages[0].clone(), self.geometry);
        let to = Geometry::of(self.layout.row_bytes, old.class() + 1);
        let new = self.empty_block(old.class() + 1);
        // SAFETY: two different blocks; what the old geometry holds fits the new one, which has more slots.
        unsafe {
            let (old, new) = (old.start(), new.start());
            ptr::copy_nonoverlapping(old, new, from.slots * 4);
            let bitmap_bytes = from.slots.div_ceil(64) * 8;
            ptr::copy_nonoverlapping(old.add(from.bitmap_offset), new.add(to.bitmap_offset), bitmap_bytes);
            let rows_bytes = from.slots * self.layout.row_bytes;
            ptr::copy_nonoverlapping(old.add(from.rows_offset), new.add(to.rows_offset), rows_bytes);
        }
        self.geometry = to;
        self.starts[0] = to.rows(&new);
        self.writable[0] = to.rows(&new);
        self.dirty[0] = true;
        self.pages[0] = Arc::new(new);
        self.moved = true;
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
