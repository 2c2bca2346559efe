//! An index over a key or unique column: extendible hashing (Fagin et al., 1979) in copy-on-write pages, with buckets that
//! count what passes them (as in Folly's F14, 2019), so that a removal leaves no tombstone.
//!
//! A page that is full is split in two, so that growth never stops a tick for a rehash of everything, and an insert after a fork
//! copies one page. `docs/abi.md`, "Index", gives the layout that plugins read in place.

use super::pool::{Block, CLASS_MAX, Pool, fetch_counters};
use logic_api::abi::{Bucket, IndexView, hash_key};
use logic_api::raw::Buckets;
use std::ptr;
use std::sync::Arc;

/// A page of an index is at most a quarter of a page of rows: what an insert after a fork copies, and what a split goes through.
const INDEX_CLASS_MAX: u8 = 4;
/// The share of its entries, in 16ths, that a page may have taken: most buckets have room then, so that a search is one cache line.
const LOAD_MAX: u64 = 13;
/// Pages are chosen by at most that many bits of a hash.
const DEPTH_MAX: u32 = 24;

const _: () = assert!(INDEX_CLASS_MAX < CLASS_MAX);

pub(crate) struct Index {
    pool: Pool,
    seed: u64,
    /// Made from the seed: what `hash_key` takes.
    multiplier: u64,
    /// That many bits of a hash, from the 32nd on, choose the directory entry.
    depth: u32,
    /// By directory entry, for plugins to read.
    directory: Vec<*const Bucket>,
    /// The same for pages that are known to be this index's alone since the last fork, for plugins to write.
    writable: Vec<*mut Bucket>,
    /// By directory entry: which page that is.
    page_of: Vec<u32>,
    pages: Vec<Page>,
    /// The view has changed since it was last asked for.
    moved: bool,
}

#[derive(Clone)]
struct Page {
    block: Arc<Block>,
    /// How many of those bits all hashes of the page share, and which they are.
    depth: u32,
    bits: usize,
}

// SAFETY: the pointers of the directory go into the index's own pages, which are plain memory.
unsafe impl Send for Index {}

impl Index {
    pub(crate) fn new(pool: &Pool, seed: u64) -> Self {
        let page = Page::empty(pool, 0, 0, 0);
        let (directory, writable) = (vec![page.start().cast_const()], vec![page.start()]);
        Self {
            pool: pool.clone(),
            seed,
            multiplier: multiplier(seed),
            depth: 0,
            directory,
            writable,
            page_of: vec![0],
            pages: vec![page],
            moved: false,
        }
    }

    #[inline]
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The hash of a value of the column.
    pub(crate) fn hash(&self, value: &[u8]) -> u64 {
        hash_key(self.multiplier, value)
    }

    pub(crate) fn multiplier(&self) -> u64 {
        self.multiplier
    }

    pub(crate) fn view(&self) -> IndexView {
        // All pages have one size: only a lone page is smaller than the largest.
        let page = &self.pages[0];
        IndexView {
            directory: self.directory.as_ptr(),
            writable: self.writable.as_ptr(),
            multiplier: self.multiplier,
            directory_mask: self.directory.len() as u64 - 1,
            bucket_mask: page.bucket_mask(),
            page_rows_max: page.rows_max(),
        }
    }

    /// The view, if it has changed since the last time.
    #[inline]
    pub(crate) fn take_moved_view(&mut self) -> Option<IndexView> {
        std::mem::take(&mut self.moved).then(|| self.view())
    }

    pub(crate) fn page_count(&self) -> usize {
        self.pages.len()
    }

    pub(crate) fn fork(&mut self) -> Self {
        fetch_counters(self.pages.iter().map(|page| &page.block));
        self.writable.fill(ptr::null_mut());
        Self {
            pool: self.pool.clone(),
            directory: self.directory.clone(),
            writable: self.writable.clone(),
            page_of: self.page_of.clone(),
            pages: self.pages.clone(),
            moved: false,
            ..*self
        }
    }

    fn entry_of(&self, hash: u64) -> usize {
        let entry = Bucket::directory_entry(hash, self.directory.len() as u64 - 1);
        usize::try_from(entry).expect("an entry of the directory")
    }

    fn page_at(&self, hash: u64) -> usize {
        self.page_of[self.entry_of(hash)] as usize
    }

    /// True if there is an entry with this hash for whose slot `is` says yes.
    pub(crate) fn has(&self, hash: u64, is: impl Fn(u32) -> bool) -> bool {
        self.pages[self.page_at(hash)].buckets().find(hash, |slot| is(slot).then_some(())).is_some()
    }

    /// Makes room for one more entry with this hash, in a page that may be written; false if the index cannot grow any further.
    /// `hash_of` gives the hash of the row in a slot.
    pub(crate) fn grow(&mut self, hash: u64, hash_of: impl Fn(u32) -> u64) -> bool {
        loop {
            let number = self.page_at(hash);
            let page = &self.pages[number];
            if page.buckets().rows() < page.rows_max() {
                self.own(hash);
                return true;
            }
            if page.block.class() < INDEX_CLASS_MAX {
                self.enlarge(&hash_of);
            } else if page.depth < DEPTH_MAX {
                self.split(number, &hash_of);
            } else {
                return false;
            }
        }
    }

    /// Adds an entry, for which `grow` has made room.
    pub(crate) fn insert(&mut self, hash: u64, slot: u32) {
        self.own(hash).place(hash, slot);
    }

    /// Removes the entry of a slot; false if it has none with this hash.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32) -> bool {
        let mut buckets = self.own(hash);
        let entry = buckets.find_slot(hash, slot);
        entry.inspect(|entry| buckets.take(hash, *entry)).is_some()
    }

    /// Adds an entry to the page that it belongs to, which it may fill to the brim; false if it is full.
    pub(crate) fn squeeze_in(&mut self, hash: u64, slot: u32) -> bool {
        let page = &self.pages[self.page_at(hash)];
        let has_room = page.buckets().rows() < page.entries();
        if has_room {
            self.insert(hash, slot);
        }
        has_room
    }

    /// Makes the page of a hash this index's alone, and gives it.
    pub(crate) fn own(&mut self, hash: u64) -> Buckets {
        let entry = self.entry_of(hash);
        let number = self.page_of[entry] as usize;
        if self.writable[entry].is_null() {
            self.copy_if_shared(number);
        }
        self.pages[number].buckets()
    }

    #[cold]
    fn copy_if_shared(&mut self, number: usize) {
        let page = &mut self.pages[number];
        if Arc::get_mut(&mut page.block).is_none() {
            page.block = Arc::new(page.block.duplicate());
        }
        self.point_at(number);
    }

    /// Lets the directory point to a page's present block, which is this index's alone.
    fn point_at(&mut self, number: usize) {
        let page = &self.pages[number];
        let of = u32::try_from(number).expect("at most 2^24 pages");
        for entry in (page.bits..self.directory.len()).step_by(1 << page.depth) {
            (self.directory[entry], self.writable[entry], self.page_of[entry]) = (page.start(), page.start(), of);
        }
    }

    /// Doubles the lone page.
    #[cold]
    fn enlarge(&mut self, hash_of: &impl Fn(u32) -> u64) {
        let old = &self.pages[0];
        let new = Page::empty(&self.pool, old.block.class() + 1, 0, 0);
        old.buckets().slots().for_each(|slot| new.buckets().place(hash_of(slot), slot));
        self.pages[0] = new;
        self.point_at(0);
        self.moved = true;
    }

    /// Divides a page's entries between two, by the next bit of their hashes.
    #[cold]
    fn split(&mut self, number: usize, hash_of: &impl Fn(u32) -> u64) {
        let (old_depth, bits) = (self.pages[number].depth, self.pages[number].bits);
        if old_depth == self.depth {
            self.depth += 1;
            self.directory.extend_from_within(..);
            self.writable.extend_from_within(..);
            self.page_of.extend_from_within(..);
            self.moved = true;
        }
        let half = |bits| Page::empty(&self.pool, INDEX_CLASS_MAX, old_depth + 1, bits);
        let halves = [half(bits), half(bits | 1 << old_depth)];
        for slot in self.pages[number].buckets().slots() {
            let hash = hash_of(slot);
            halves[usize::from(hash >> (32 + old_depth) & 1 == 1)].buckets().place(hash, slot);
        }
        let [low, high] = halves;
        let new = self.pages.len();
        self.pages[number] = low;
        self.pages.push(high);
        self.point_at(number);
        self.point_at(new);
    }
}

/// An odd number with as many ones as zeroes, more or less, whatever the seed (SplitMix64, Steele et al., 2014).
fn multiplier(seed: u64) -> u64 {
    let mut state = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    state = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ state >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ state >> 31 | 1
}

impl Page {
    fn empty(pool: &Pool, class: u8, depth: u32, bits: usize) -> Self {
        let block = Arc::new(pool.take(class));
        // SAFETY: the block is new and ours alone; all zero is an empty bucket.
        unsafe { block.start().write_bytes(0, block.bytes()) };
        Self { block, depth, bits }
    }

    fn start(&self) -> *mut Bucket {
        self.block.start().cast()
    }

    fn bucket_mask(&self) -> u64 {
        (self.block.bytes() - size_of::<Bucket>()) as u64
    }

    fn entries(&self) -> u64 {
        (self.block.bytes() / size_of::<Bucket>() * Bucket::ENTRIES) as u64
    }

    /// How many of its entries may be taken before the page has to grow.
    fn rows_max(&self) -> u64 {
        self.entries() * LOAD_MAX / 16
    }

    fn buckets(&self) -> Buckets {
        // SAFETY: the block is that long, aligned to its size and initialised. The index writes to pages that are its own only
        // (`own`, `Page::empty`), and whoever reads them borrows it.
        unsafe { Buckets::new(self.start(), self.bucket_mask()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Rows are numbered as slots of pages of 960; the key of a row is its number.
    fn slot(row: u64) -> u32 {
        u32::try_from(((row / 960) << 16) | (row % 960)).expect("few rows")
    }

    fn hash(row: u64) -> u64 {
        hash_key(multiplier(7), &row.to_le_bytes())
    }

    fn hash_of(slot: u32) -> u64 {
        hash(u64::from(slot >> 16) * 960 + u64::from(slot & 0xFFFF))
    }

    fn has(index: &Index, row: u64) -> bool {
        index.has(hash(row), |found| found == slot(row))
    }

    fn add(index: &mut Index, row: u64) {
        assert!(index.grow(hash(row), hash_of));
        index.insert(hash(row), slot(row));
    }

    #[test]
    fn a_hundred_thousand_rows_are_found_after_all_splits() {
        let rows = if cfg!(miri) { 500 } else { 100_000 };
        let mut index = Index::new(&Pool::new(), 7);
        for row in 0..rows {
            add(&mut index, row);
        }
        assert!((0..rows).all(|row| has(&index, row)));
        assert!(!has(&index, rows));
        for row in 0..rows {
            assert!(index.remove(hash(row), slot(row)));
            assert!(!index.remove(hash(row), slot(row)));
        }
        let is_empty = |bucket: &Bucket| bucket.tags == [0; 12] && bucket.passed == 0 && bucket.page_rows == 0;
        assert!(index.pages.iter().all(|page| page.buckets().iter().all(is_empty)));
    }

    proptest! {
        #[test]
        fn an_index_and_its_fork_agree_with_a_set(
            steps in prop::collection::vec((prop::bool::weighted(0.7), 0u64..2000), 1..3000),
            fork_at in 0usize..3000,
        ) {
            let mut index = Index::new(&Pool::new(), 7);
            let mut set = BTreeSet::new();
            let mut fork = None;
            for (number, (insert, row)) in steps.into_iter().enumerate() {
                if number == fork_at {
                    fork = Some((index.fork(), set.clone()));
                }
                if insert && set.insert(row) {
                    add(&mut index, row);
                } else if !insert && set.remove(&row) {
                    prop_assert!(index.remove(hash(row), slot(row)));
                }
            }
            for (index, set) in fork.iter().chain([&(index, set)]) {
                prop_assert!((0..2000).all(|row| has(index, row) == set.contains(&row)));
            }
        }
    }
}
