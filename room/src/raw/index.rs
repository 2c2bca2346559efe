//! An index over a key or unique column: extendible hashing (Fagin et al., 1979) in copy-on-write pages, with buckets that
//! count what passes them (as in Folly's F14, 2019), so that a removal leaves no tombstone.
//!
//! A page that is full is split in two, so that growth never stops a tick for a rehash of everything, and an insert after a fork
//! copies one page. `docs/abi.md`, "Index", gives the layout that plugins read in place.

use super::pool::{Block, CLASS_MAX, Pool, block_bytes, fetch_counters};
use logic_api::abi::{Bucket, Count, Hash, IndexView, hash_key};
use logic_api::raw::Buckets;
use std::ptr;
use std::sync::Arc;

/// A page of an index is at most a quarter of a page of rows: what an insert after a fork copies, and what a split goes through.
const INDEX_CLASS_MAX: u8 = 4;
/// The share of its entries, in 16ths, that a page may have taken: most buckets have room then, so that a search is one cache line.
const LOAD_MAX: u64 = 13;
/// How many of 16 rows of a page that has to grow may have had to pass a bucket: one or two do where keys are spread as they should be.
const PASSED_MAX: u64 = 6;
/// Pages are chosen by at most that many bits of a hash.
const DEPTH_MAX: u32 = 24;

/// Of an entry of the directory.
const ENTRY_BYTES: usize = 2 * size_of::<*const Bucket>() + size_of::<u32>();

const _: () = assert!(INDEX_CLASS_MAX < CLASS_MAX);
const _: () = assert!(block_bytes(INDEX_CLASS_MAX) / size_of::<Bucket>() * Bucket::ENTRIES <= Count::MAX as usize);

pub(crate) struct Index {
    pool: Pool,
    seed: u64,
    /// What `hash_key` takes. Made from the seed, and from the one before where that did not suit the keys.
    multiplier: u64,
    /// With how many pages another multiplier may be tried: making the index anew must not become a habit.
    renewable_from: usize,
    /// That many bits of a hash's `page`, from the top, choose the directory entry. Not 0: a shift by all bits is none.
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
    /// How many of the directory's bits all hashes of the page share, from the top, and which they are.
    depth: u32,
    bits: usize,
}

// SAFETY: the pointers of the directory go into the index's own pages, which are plain memory.
unsafe impl Send for Index {}

impl Index {
    /// What a new one takes: its lone page, and two entries of the directory.
    pub(crate) const EMPTY_BYTES: usize = block_bytes(0) + 2 * ENTRY_BYTES;

    pub(crate) fn new(pool: &Pool, seed: u64) -> Self {
        Self::empty(pool, seed, multiplier(seed))
    }

    fn empty(pool: &Pool, seed: u64, multiplier: u64) -> Self {
        let page = Page::empty(pool, 0, 0, 0);
        let (directory, writable) = (vec![page.start().cast_const(); 2], vec![page.start(); 2]);
        Self {
            pool: pool.clone(),
            seed,
            multiplier,
            renewable_from: 1,
            depth: 1,
            directory,
            writable,
            page_of: vec![0; 2],
            pages: vec![page],
            moved: false,
        }
    }

    #[inline]
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The hash of a value of the column.
    pub(crate) fn hash(&self, value: &[u8]) -> Hash {
        hash_key(self.multiplier, value)
    }

    pub(crate) fn view(&self) -> IndexView {
        // All pages have one size: only a lone page is smaller than the largest.
        let page = &self.pages[0];
        IndexView {
            directory: self.directory.as_ptr(),
            writable: self.writable.as_ptr(),
            multiplier: self.multiplier,
            directory_shift: self.directory_shift(),
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

    /// What it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.iter().map(|page| page.block.bytes()).sum::<usize>() + self.directory.len() * ENTRY_BYTES
    }

    /// What has to be there before one more entry can be made room for, beside what the index takes: all that a step of `grow` makes
    /// before what it replaces is gone. 0 where there is room.
    pub(crate) fn growth_bytes(&self, value: &[u8]) -> usize {
        let page = &self.pages[self.page_at(self.hash(value))];
        if page.buckets().rows() < page.rows_max() {
            return 0;
        }
        if page.is_crowded() && self.pages.len() >= self.renewable_from {
            return self.bytes();
        }
        match page.block.class() < INDEX_CLASS_MAX {
            true => block_bytes(page.block.class() + 1),
            false => 2 * block_bytes(INDEX_CLASS_MAX) + self.directory.len() * ENTRY_BYTES,
        }
    }

    /// Entries, each of which is a row.
    pub(crate) fn len(&self) -> u64 {
        self.pages.iter().map(|page| page.buckets().rows()).sum()
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

    fn directory_shift(&self) -> u64 {
        u64::from(u64::BITS - self.depth)
    }

    fn entry_of(&self, hash: Hash) -> usize {
        let entry = Bucket::directory_entry(hash, self.directory_shift());
        usize::try_from(entry).expect("an entry of the directory")
    }

    fn page_at(&self, hash: Hash) -> usize {
        self.page_of[self.entry_of(hash)] as usize
    }

    /// True if there is an entry with this hash for whose slot `is` says yes.
    pub(crate) fn has(&self, hash: Hash, is: impl Fn(u32) -> bool) -> bool {
        self.pages[self.page_at(hash)].buckets().find(hash, |slot| is(slot.number()).then_some(())).is_some()
    }

    /// Makes room for one more entry, in a page that may be written, and gives its hash; none if the index cannot grow any further.
    /// `hash_of` gives the hash of the row in a slot, by a multiplier.
    pub(crate) fn grow(&mut self, value: &[u8], hash_of: impl Fn(u64, u32) -> Hash) -> Option<Hash> {
        self.grow_for(|multiplier| hash_key(multiplier, value), &hash_of)
    }

    fn grow_for(&mut self, hash: impl Fn(u64) -> Hash, hash_of: &impl Fn(u64, u32) -> Hash) -> Option<Hash> {
        loop {
            let multiplier = self.multiplier;
            let number = self.page_at(hash(multiplier));
            let page = &self.pages[number];
            if page.buckets().rows() < page.rows_max() {
                self.own(hash(multiplier));
                return Some(hash(multiplier));
            }
            if page.is_crowded() && self.pages.len() >= self.renewable_from {
                self.renew(hash_of);
            } else if page.block.class() < INDEX_CLASS_MAX {
                self.enlarge(&|slot| hash_of(multiplier, slot));
            } else if page.depth < DEPTH_MAX {
                self.split(number, &|slot| hash_of(multiplier, slot));
            } else {
                return None;
            }
        }
    }

    /// Makes the index anew with another multiplier. There are keys in a row for each multiplier, as multiples of some number, that
    /// it does not spread.
    #[cold]
    fn renew(&mut self, hash_of: &impl Fn(u64, u32) -> Hash) {
        let mut new = Self::empty(&self.pool, self.seed, multiplier(self.multiplier));
        new.renewable_from = self.pages.len() * 2;
        for slot in self.pages.iter().flat_map(|page| page.buckets().slots().collect::<Vec<u32>>()) {
            match new.grow_for(|multiplier| hash_of(multiplier, slot), hash_of) {
                Some(hash) => new.insert(hash, slot),
                // No better, then: the old one stays, and grows as it can.
                None => return self.renewable_from = self.pages.len() * 2,
            }
        }
        new.moved = true;
        *self = new;
    }

    /// Adds an entry, for which `grow` has made room.
    pub(crate) fn insert(&mut self, hash: Hash, slot: u32) {
        self.own(hash).place(hash, slot);
    }

    /// Removes the entry of a slot; false if it has none with this hash.
    pub(crate) fn remove(&mut self, hash: Hash, slot: u32) -> bool {
        let mut buckets = self.own(hash);
        let entry = buckets.find_slot(hash, slot);
        entry.inspect(|entry| buckets.take(hash, *entry)).is_some()
    }

    /// Adds an entry to the page that it belongs to, which it may fill to the brim; false if it is full.
    pub(crate) fn squeeze_in(&mut self, hash: Hash, slot: u32) -> bool {
        let page = &self.pages[self.page_at(hash)];
        let has_room = page.buckets().rows() < page.entries();
        if has_room {
            self.insert(hash, slot);
        }
        has_room
    }

    /// Makes the page of a hash this index's alone, and gives it.
    pub(crate) fn own(&mut self, hash: Hash) -> Buckets {
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
        let entries = self.directory.len() >> page.depth;
        for entry in page.bits * entries..(page.bits + 1) * entries {
            (self.directory[entry], self.writable[entry], self.page_of[entry]) = (page.start(), page.start(), of);
        }
    }

    /// Doubles the lone page.
    #[cold]
    fn enlarge(&mut self, hash_of: &impl Fn(u32) -> Hash) {
        let old = &self.pages[0];
        let new = Page::empty(&self.pool, old.block.class() + 1, 0, 0);
        old.buckets().slots().for_each(|slot| new.buckets().place(hash_of(slot), slot));
        self.pages[0] = new;
        self.point_at(0);
        self.moved = true;
    }

    /// Divides a page's entries between two, by the next bit of their hashes.
    #[cold]
    fn split(&mut self, number: usize, hash_of: &impl Fn(u32) -> Hash) {
        let (old_depth, bits) = (self.pages[number].depth, self.pages[number].bits);
        if old_depth == self.depth {
            self.depth += 1;
            twice_each(&mut self.directory);
            twice_each(&mut self.writable);
            twice_each(&mut self.page_of);
            self.moved = true;
        }
        let half = |bits| Page::empty(&self.pool, INDEX_CLASS_MAX, old_depth + 1, bits);
        let halves = [half(bits << 1), half(bits << 1 | 1)];
        for slot in self.pages[number].buckets().slots() {
            let hash = hash_of(slot);
            halves[usize::from(hash.page << old_depth >> 63 == 1)].buckets().place(hash, slot);
        }
        let [low, high] = halves;
        let new = self.pages.len();
        self.pages[number] = low;
        self.pages.push(high);
        self.point_at(number);
        self.point_at(new);
    }
}

fn twice_each<E: Copy>(entries: &mut Vec<E>) {
    *entries = entries.iter().flat_map(|entry| [*entry; 2]).collect();
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

    /// True if so many rows had to pass buckets that another multiplier would do better.
    fn is_crowded(&self) -> bool {
        let passed: u64 = self.buckets().iter().map(|bucket| u64::from(bucket.passed.get())).sum();
        passed > self.buckets().rows() * PASSED_MAX / 16
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

    fn hash(index: &Index, row: u64) -> Hash {
        index.hash(&row.to_le_bytes())
    }

    fn row(slot: u32) -> u64 {
        u64::from(slot >> 16) * 960 + u64::from(slot & 0xFFFF)
    }

    fn has(index: &Index, row: u64) -> bool {
        index.has(hash(index, row), |found| found == slot(row))
    }

    fn add(index: &mut Index, added: u64) {
        let hash_of = |multiplier, slot| hash_key(multiplier, &row(slot).to_le_bytes());
        let hash = index.grow(&added.to_le_bytes(), hash_of).expect("room");
        index.insert(hash, slot(added));
    }

    fn remove(index: &mut Index, row: u64) -> bool {
        index.remove(hash(index, row), slot(row))
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
            assert!(remove(&mut index, row));
            assert!(!remove(&mut index, row));
        }
        let is_empty =
            |bucket: &Bucket| bucket.tags == [0; 12] && bucket.passed.get() == 0 && bucket.page_rows.get() == 0;
        assert!(index.pages.iter().all(|page| page.buckets().iter().all(is_empty)));
    }

    /// Of all rows, how many pass a bucket.
    fn passed(index: &Index) -> f64 {
        let buckets = || index.pages.iter().flat_map(|page| page.buckets().iter().copied().collect::<Vec<Bucket>>());
        let passed: u64 = buckets().map(|bucket| u64::from(bucket.passed.get())).sum();
        passed as f64 / index.pages.iter().map(|page| page.buckets().rows()).sum::<u64>() as f64
    }

    #[test]
    fn keys_that_a_multiplier_does_not_spread_get_another_one() {
        let mut index = Index::new(&Pool::new(), 7);
        let first = index.multiplier;
        let rows = if cfg!(miri) { 300 } else { 20_000 };
        let keys: Vec<u64> =
            (0..).filter(|key: &u64| hash_key(first, &key.to_le_bytes()).entry >> 12 & 63 == 0).take(rows).collect();
        let key = |slot: u32| keys[usize::try_from(row(slot)).expect("few rows")].to_le_bytes();
        for number in 0..rows as u64 {
            let hash_of = |multiplier, slot| hash_key(multiplier, &key(slot));
            let hash = index.grow(&key(slot(number)), hash_of).expect("room");
            index.insert(hash, slot(number));
        }
        assert_ne!(index.multiplier, first);
        assert!(passed(&index) < 0.1, "{}", passed(&index));
        let is_there = |number| index.has(index.hash(&key(slot(number))), |found| found == slot(number));
        assert!((0..rows as u64).all(is_there));
    }

    /// Keys as tables have them: from counters, in steps, of two halves, multiples of powers of two, numbers with a point.
    #[test]
    fn keys_with_a_pattern_are_spread_as_random_ones() {
        type Pattern = (&'static str, fn(u64) -> u64);
        let patterns: [Pattern; 10] = [
            ("counter", |number| number),
            ("in steps", |number| number * 1000),
            ("halves", |number| ((number / 500) << 32) + number % 500),
            ("2^8", |number| number << 8),
            ("2^16", |number| number << 16),
            ("2^24", |number| number << 24),
            ("2^32", |number| number << 32),
            ("2^44", |number| number << 44),
            ("floats", |number| (number as f64).to_bits()),
            ("downwards", |number| u64::MAX - number),
        ];
        let rows = if cfg!(miri) { 200 } else { 20_000 };
        for ((name, key), seed) in patterns.iter().flat_map(|pattern| (1..=4).map(move |seed| (pattern, seed))) {
            let mut index = Index::new(&Pool::new(), seed);
            for number in 0..rows {
                let hash_of = |multiplier, slot| hash_key(multiplier, &key(row(slot)).to_le_bytes());
                let hash = index.grow(&key(number).to_le_bytes(), hash_of).expect("room");
                index.insert(hash, slot(number));
            }
            assert!(passed(&index) < 0.4, "{name}, seed {seed}: {}", passed(&index));
            // All pages are about as full as each other.
            assert!(index.pages.len() < 40, "{name}, seed {seed}: {} pages", index.pages.len());
        }
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
                    prop_assert!(remove(&mut index, row));
                }
            }
            for (index, set) in fork.iter().chain([&(index, set)]) {
                prop_assert!((0..2000).all(|row| has(index, row) == set.contains(&row)));
            }
        }
    }
}
