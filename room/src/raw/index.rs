//! An index over a key or unique column: extendible hashing (Fagin et al., 1979) in copy-on-write pages, with buckets that
//! count what passes them (as in Folly's F14, 2019), so that a removal leaves no tombstone.
//!
//! A page that is full is split in two, so that growth never stops a tick for a rehash of everything, and an insert after a fork
//! copies one page. `docs/abi.md`, "Index", gives the layout that plugins read in place.

use super::pool::{Block, CLASS_MAX, Pool, fetch_counters};
use logic_api::abi::{Bucket, IndexView};
use std::sync::Arc;

/// A page of an index is at most a quarter of a page of rows: what an insert after a fork copies, and what a split goes through.
const INDEX_CLASS_MAX: u8 = 4;
/// The share of its entries, in 16ths, that a page may have taken: most buckets have room then, so that a search is one cache line.
const LOAD_MAX: usize = 13;
/// Pages are chosen by at most that many bits of a hash.
const DEPTH_MAX: u32 = 24;

const _: () = assert!(INDEX_CLASS_MAX < CLASS_MAX);

pub(crate) struct Index {
    pool: Pool,
    seed: u64,
    /// That many bits of a hash, from the 32nd on, choose the directory entry.
    depth: u32,
    /// By directory entry, for plugins to read.
    directory: Vec<*const Bucket>,
    /// By directory entry: which page that is.
    page_of: Vec<u32>,
    pages: Vec<Page>,
    /// The view has changed since it was last asked for.
    moved: bool,
}

/// What a search for a value found.
pub(crate) enum Found {
    Taken,
    /// No entry, and the page that one would go to.
    Free {
        page: usize,
        has_room: bool,
    },
}

#[derive(Clone)]
struct Page {
    block: Arc<Block>,
    /// How many of those bits all hashes of the page share, and which they are.
    depth: u32,
    bits: usize,
    taken: usize,
    /// False from a fork until the block is known to be this index's alone.
    owned: bool,
}

// SAFETY: the pointers of the directory go into the index's own pages, which are plain memory.
unsafe impl Send for Index {}

impl Index {
    pub(crate) fn new(pool: &Pool, seed: u64) -> Self {
        let page = Page::empty(pool, 0, 0, 0);
        let directory = vec![page.start()];
        Self { pool: pool.clone(), seed, depth: 0, directory, page_of: vec![0], pages: vec![page], moved: false }
    }

    #[inline]
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn view(&self) -> IndexView {
        // All pages have one size: only a lone page is smaller than the largest.
        let bucket_mask = (self.pages[0].block.bytes() - size_of::<Bucket>()) as u64;
        let directory_mask = self.directory.len() as u64 - 1;
        IndexView { directory: self.directory.as_ptr(), seed: self.seed, directory_mask, bucket_mask }
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
        for page in &mut self.pages {
            page.owned = false;
        }
        Self {
            pool: self.pool.clone(),
            directory: self.directory.clone(),
            page_of: self.page_of.clone(),
            pages: self.pages.clone(),
            moved: false,
            ..*self
        }
    }

    #[inline]
    fn page_at(&self, hash: u64) -> usize {
        let entry = Bucket::directory_entry(hash, self.directory.len() as u64 - 1);
        self.page_of[usize::try_from(entry).expect("an entry of the directory")] as usize
    }

    /// Looks for the slot among those with this hash for which `is` says yes.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is: impl FnMut(u32) -> bool) -> Found {
        let page = self.page_at(hash);
        match self.pages[page].find(hash, is) {
            true => Found::Taken,
            false => Found::Free { page, has_room: self.pages[page].has_room() },
        }
    }

    /// Makes room for one more entry with this hash and gives the page for it; none if the index cannot grow any further.
    /// `hash_of` gives the hash of the row in a slot.
    #[cold]
    pub(crate) fn grow(&mut self, hash: u64, hash_of: impl Fn(u32) -> u64) -> Option<usize> {
        loop {
            let number = self.page_at(hash);
            let page = &self.pages[number];
            if page.has_room() {
                return Some(number);
            }
            if page.block.class() < INDEX_CLASS_MAX {
                self.enlarge(&hash_of);
            } else if page.depth < DEPTH_MAX {
                self.split(number, &hash_of);
            } else {
                return None;
            }
        }
    }

    /// Adds an entry to the page that has room for it (`find`, `grow`).
    #[inline]
    pub(crate) fn insert(&mut self, page: usize, hash: u64, slot: u32) {
        self.own(page);
        self.pages[page].place(hash, slot);
    }

    /// Removes the entry of a slot; false if it has none with this hash.
    #[inline]
    pub(crate) fn remove(&mut self, hash: u64, slot: u32) -> bool {
        let number = self.page_at(hash);
        self.own(number);
        self.pages[number].take(hash, slot)
    }

    /// Adds an entry to the page that it belongs to, which it may fill to the brim; false if it is full.
    pub(crate) fn squeeze_in(&mut self, hash: u64, slot: u32) -> bool {
        let number = self.page_at(hash);
        if self.pages[number].is_full() {
            return false;
        }
        self.insert(number, hash, slot);
        true
    }

    /// Makes a page this index's alone.
    #[inline]
    fn own(&mut self, number: usize) {
        if !self.pages[number].owned {
            self.copy_if_shared(number);
        }
    }

    #[cold]
    fn copy_if_shared(&mut self, number: usize) {
        let page = &mut self.pages[number];
        page.owned = true;
        if Arc::get_mut(&mut page.block).is_none() {
            page.block = Arc::new(page.block.duplicate());
            self.point_at(number);
        }
    }

    /// Lets the directory point to a page's present block.
    fn point_at(&mut self, number: usize) {
        let page = &self.pages[number];
        let of = u32::try_from(number).expect("at most 2^24 pages");
        for entry in (page.bits..self.directory.len()).step_by(1 << page.depth) {
            (self.directory[entry], self.page_of[entry]) = (page.start(), of);
        }
    }

    /// Doubles the lone page.
    #[cold]
    fn enlarge(&mut self, hash_of: &impl Fn(u32) -> u64) {
        let old = &self.pages[0];
        let mut new = Page::empty(&self.pool, old.block.class() + 1, 0, 0);
        old.slots().for_each(|slot| new.place(hash_of(slot), slot));
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
            self.page_of.extend_from_within(..);
            self.moved = true;
        }
        let half = |bits| Page::empty(&self.pool, INDEX_CLASS_MAX, old_depth + 1, bits);
        let mut halves = [half(bits), half(bits | 1 << old_depth)];
        for slot in self.pages[number].slots() {
            let hash = hash_of(slot);
            halves[usize::from(hash >> (32 + old_depth) & 1 == 1)].place(hash, slot);
        }
        let [low, high] = halves;
        let new = self.pages.len();
        self.pages[number] = low;
        self.pages.push(high);
        self.point_at(number);
        self.point_at(new);
    }
}

/// The bucket that a hash belongs to.
#[inline]
fn home(hash: u64, buckets: usize) -> usize {
    let bytes = Bucket::home(hash, ((buckets - 1) * size_of::<Bucket>()) as u64);
    usize::try_from(bytes).expect("within a page") / size_of::<Bucket>()
}

/// The buckets to look into for a hash, in order, each of the page's buckets once.
#[inline]
fn probes(hash: u64, buckets: usize) -> impl Iterator<Item = usize> {
    let home = home(hash, buckets);
    (0..buckets).map(move |step| (home + step) & (buckets - 1))
}

/// The entries that have their bit set.
#[inline]
fn entries(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let entry = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (entry < Bucket::ENTRIES).then_some(entry)
    })
}

impl Page {
    fn empty(pool: &Pool, class: u8, depth: u32, bits: usize) -> Self {
        let block = Arc::new(pool.take(class));
        // SAFETY: the block is new and ours alone; all zero is an empty bucket.
        unsafe { block.start().write_bytes(0, block.bytes()) };
        Self { block, depth, bits, taken: 0, owned: true }
    }

    fn start(&self) -> *const Bucket {
        self.block.start().cast::<Bucket>().cast_const()
    }

    #[inline]
    fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> bool {
        let buckets = self.slice();
        for at in probes(hash, buckets.len()) {
            let bucket = &buckets[at];
            if entries(bucket.matches(Bucket::tag(hash))).any(|entry| is(bucket.slots[entry])) {
                return true;
            }
            if bucket.passed == 0 {
                break;
            }
        }
        false
    }

    #[inline]
    fn has_room(&self) -> bool {
        (self.taken + 1) * 16 <= self.slice().len() * Bucket::ENTRIES * LOAD_MAX
    }

    fn is_full(&self) -> bool {
        self.taken == self.slice().len() * Bucket::ENTRIES
    }

    #[inline]
    fn slice(&self) -> &[Bucket] {
        // SAFETY: the block is that long, aligned to its size, initialised, and written by its owner only.
        unsafe { std::slice::from_raw_parts(self.start(), self.block.bytes() / size_of::<Bucket>()) }
    }

    /// Only for a page that is owned.
    #[inline]
    fn slice_mut(&mut self) -> &mut [Bucket] {
        assert!(self.owned, "a shared page is not written");
        // SAFETY: as in `slice`, and no other index shares the block.
        unsafe { std::slice::from_raw_parts_mut(self.block.start().cast(), self.block.bytes() / size_of::<Bucket>()) }
    }

    /// Puts an entry into the first bucket with room, from its home on.
    #[inline]
    fn place(&mut self, hash: u64, slot: u32) {
        self.taken += 1;
        let buckets = self.slice_mut();
        for at in probes(hash, buckets.len()) {
            let bucket = &mut buckets[at];
            if let Some(free) = entries(bucket.matches(0)).next() {
                (bucket.tags[free], bucket.slots[free]) = (Bucket::tag(hash), slot);
                return;
            }
            bucket.passed = bucket.passed.saturating_add(1);
        }
        unreachable!("the page has room");
    }

    /// Removes the entry of a slot; false if it has none with this hash.
    #[inline]
    fn take(&mut self, hash: u64, slot: u32) -> bool {
        let buckets = self.slice_mut();
        for (passed, at) in probes(hash, buckets.len()).enumerate() {
            let bucket = &mut buckets[at];
            if let Some(entry) = entries(bucket.matches(Bucket::tag(hash))).find(|entry| bucket.slots[*entry] == slot) {
                bucket.tags[entry] = 0;
                for at in probes(hash, buckets.len()).take(passed) {
                    // One that was passed too often to count stays so.
                    let bucket = &mut buckets[at];
                    bucket.passed -= u32::from(bucket.passed != Bucket::PASSED_MAX);
                }
                self.taken -= 1;
                return true;
            }
            if bucket.passed == 0 {
                break;
            }
        }
        false
    }

    fn slots(&self) -> impl Iterator<Item = u32> {
        self.slice().iter().flat_map(|bucket| {
            let used = bucket.tags.iter().zip(bucket.slots).filter(|(tag, _)| **tag != 0);
            used.map(|(_, slot)| slot)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logic_api::abi::hash_key;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Rows are numbered as slots of pages of 960; the key of a row is its number.
    fn slot(row: u64) -> u32 {
        u32::try_from(((row / 960) << 16) | (row % 960)).expect("few rows")
    }

    fn hash(row: u64) -> u64 {
        hash_key(7, &row.to_le_bytes())
    }

    fn hash_of(slot: u32) -> u64 {
        hash(u64::from(slot >> 16) * 960 + u64::from(slot & 0xFFFF))
    }

    fn has(index: &Index, row: u64) -> bool {
        matches!(index.find(hash(row), |found| found == slot(row)), Found::Taken)
    }

    fn add(index: &mut Index, row: u64) {
        let page = index.grow(hash(row), hash_of).unwrap();
        index.insert(page, hash(row), slot(row));
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
        assert!(index.pages.iter().flat_map(Page::slice).all(|bucket| bucket.tags == [0; 12] && bucket.passed == 0));
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
