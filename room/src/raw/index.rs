//! An index over a key or unique column: extendible hashing (Fagin et al., 1979) in copy-on-write pages.
//!
//! A full page is split in two, so that growth never stops a tick for a rehash of everything, and an insert after a fork
//! copies one page. `docs/abi.md`, "Index", gives the layout that plugins read in place.

use super::pool::{Block, CLASS_MAX, Pool};
use logic_api::abi::{IndexView, index_entry};
use std::sync::Arc;

const ENTRY_BYTES: usize = 8;
/// A page is split before this share of its entries is taken, in sixteenths. What is left keeps probing short, and ends it.
const LOAD_SIXTEENTHS_MAX: usize = 13;
/// The directory's upper bits and a page's lower bits share the 32 bits of a hash.
const DEPTH_MAX: u32 = 19;

pub(crate) struct Index {
    pool: Pool,
    seed: u64,
    /// The upper `depth` bits of a hash choose the directory slot.
    depth: u32,
    /// By directory slot: the entries, for plugins to read.
    directory: Vec<*const u64>,
    /// By directory slot: which page that is.
    page_of: Vec<u32>,
    pages: Vec<Page>,
}

#[derive(Clone)]
struct Page {
    block: Arc<Block>,
    /// How many upper bits all hashes of the page share, and which these are.
    depth: u32,
    prefix: u32,
    taken: u32,
    /// False from a fork until the block is known to be this index's alone.
    owned: bool,
}

impl Index {
    pub(crate) fn new(pool: &Pool, seed: u64) -> Self {
        let page = Page::empty(pool, 0, 0, 0);
        let directory = vec![page.entries().cast_const()];
        Self { pool: pool.clone(), seed, depth: 0, directory, page_of: vec![0], pages: vec![page] }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn view(&self) -> IndexView {
        let mask = u32::try_from(self.entries_per_page() - 1).expect("a page has at most 2^13 entries");
        IndexView { directory: self.directory.as_ptr(), seed: self.seed, shift: 31 - self.depth, mask }
    }

    pub(crate) fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// All pages have one size: only a lone page is smaller than the largest.
    fn entries_per_page(&self) -> usize {
        self.pages[0].block.bytes() / ENTRY_BYTES
    }

    pub(crate) fn fork(&mut self) -> Self {
        for page in &mut self.pages {
            page.owned = false;
        }
        Self {
            pool: self.pool.clone(),
            seed: self.seed,
            depth: self.depth,
            directory: self.directory.clone(),
            page_of: self.page_of.clone(),
            pages: self.pages.clone(),
        }
    }

    fn page_at(&self, hash: u32) -> usize {
        self.page_of[index_entry::directory_slot(hash, 31 - self.depth)] as usize
    }

    /// The slot among those with this hash for which `is` says yes.
    pub(crate) fn find(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let entries = self.pages[self.page_at(hash)].slice();
        let mask = entries.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let entry = entries[at];
            if entry == index_entry::EMPTY {
                return None;
            }
            if index_entry::hash(entry) == hash && is(index_entry::slot(entry)) {
                return Some(index_entry::slot(entry));
            }
            at = (at + 1) & mask;
        }
    }

    /// Makes room for one more entry with this hash; false if the index cannot grow any further.
    pub(crate) fn reserve(&mut self, hash: u32) -> bool {
        loop {
            let number = self.page_at(hash);
            let page = &self.pages[number];
            let entries = page.block.bytes() / ENTRY_BYTES;
            if (page.taken as usize + 1) * 16 <= entries * LOAD_SIXTEENTHS_MAX {
                return true;
            }
            if page.block.class() < CLASS_MAX {
                self.enlarge();
            } else if page.depth < DEPTH_MAX {
                self.split(number);
            } else {
                return false;
            }
        }
    }

    /// Adds an entry, for which there is room (`reserve`).
    pub(crate) fn insert(&mut self, hash: u32, slot: u32) {
        let number = self.page_at(hash);
        self.own(number);
        let page = &mut self.pages[number];
        page.taken += 1;
        place(page.slice_mut(), index_entry::new(hash, slot));
    }

    /// Removes an entry that is there.
    pub(crate) fn remove(&mut self, hash: u32, slot: u32) {
        let number = self.page_at(hash);
        self.own(number);
        let page = &mut self.pages[number];
        page.taken -= 1;
        let entries = page.slice_mut();
        let mask = entries.len() - 1;
        let mut hole = hash as usize & mask;
        while entries[hole] != index_entry::new(hash, slot) {
            assert!(entries[hole] != index_entry::EMPTY, "the index has no entry for a live row");
            hole = (hole + 1) & mask;
        }
        // Backward shift (Knuth, TAOCP 6.4, algorithm R): no tombstones, so probing stays short for ever.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let entry = entries[at];
            if entry == index_entry::EMPTY {
                break;
            }
            let home = index_entry::hash(entry) as usize & mask;
            // Move it if its home is not cyclically within (hole, at].
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                entries[hole] = entry;
                hole = at;
            }
        }
        entries[hole] = index_entry::EMPTY;
    }

    /// Makes a page this index's alone.
    fn own(&mut self, number: usize) {
        let page = &mut self.pages[number];
        if page.owned {
            return;
        }
        page.owned = true;
        if Arc::get_mut(&mut page.block).is_none() {
            page.block = Arc::new(page.block.duplicate());
            self.point_at(number);
        }
    }

    /// Lets the directory point to a page's present block.
    fn point_at(&mut self, number: usize) {
        let page = &self.pages[number];
        let slots_bits = self.depth - page.depth;
        let first = (page.prefix as usize) << slots_bits;
        let slots = first..first + (1 << slots_bits);
        self.directory[slots.clone()].fill(page.entries().cast_const());
        self.page_of[slots].fill(u32::try_from(number).expect("at most 2^19 pages"));
    }

    /// Doubles the lone page.
    fn enlarge(&mut self) {
        let old = &self.pages[0];
        let mut page = Page::empty(&self.pool, old.block.class() + 1, 0, 0);
        page.taken = old.taken;
        old.live().for_each(|entry| place(page.slice_mut(), entry));
        self.pages[0] = page;
        self.point_at(0);
    }

    /// Divides a page's entries between itself and a new page, by the next bit of their hashes.
    fn split(&mut self, number: usize) {
        let depth = self.pages[number].depth + 1;
        if depth > self.depth {
            self.depth = depth;
            self.directory = self.directory.iter().flat_map(|pointer| [*pointer; 2]).collect();
            self.page_of = self.page_of.iter().flat_map(|page| [*page; 2]).collect();
        }
        let upper = |hash: u32| hash >> (32 - depth) & 1 == 1;
        let prefix = self.pages[number].prefix << 1;
        let mut halves = [prefix, prefix | 1].map(|prefix| Page::empty(&self.pool, CLASS_MAX, depth, prefix));
        for entry in self.pages[number].live() {
            let half = &mut halves[usize::from(upper(index_entry::hash(entry)))];
            half.taken += 1;
            place(half.slice_mut(), entry);
        }
        let [low, high] = halves;
        self.pages[number] = low;
        let new = self.pages.len();
        self.pages.push(high);
        self.point_at(number);
        self.point_at(new);
    }
}

// SAFETY: the pointers of the directory go into the index's own pages, which are plain memory.
unsafe impl Send for Index {}

/// Puts an entry into the first free place from its home.
fn place(entries: &mut [u64], entry: u64) {
    let mask = entries.len() - 1;
    let mut at = index_entry::hash(entry) as usize & mask;
    while entries[at] != index_entry::EMPTY {
        at = (at + 1) & mask;
    }
    entries[at] = entry;
}

impl Page {
    fn empty(pool: &Pool, class: u8, depth: u32, prefix: u32) -> Self {
        let block = Arc::new(pool.take(class));
        // SAFETY: the block is new and ours alone. All ones is `EMPTY`.
        unsafe { block.start().write_bytes(0xFF, block.bytes()) };
        Self { block, depth, prefix, taken: 0, owned: true }
    }

    fn entries(&self) -> *mut u64 {
        self.block.start().cast()
    }

    fn slice(&self) -> &[u64] {
        // SAFETY: the block is that long, aligned to its size, initialised, and written by its owner only.
        unsafe { std::slice::from_raw_parts(self.entries(), self.block.bytes() / ENTRY_BYTES) }
    }

    /// Only for a page that is owned.
    fn slice_mut(&mut self) -> &mut [u64] {
        assert!(self.owned, "a shared page is not written");
        // SAFETY: as in `slice`, and no other index shares the block.
        unsafe { std::slice::from_raw_parts_mut(self.entries(), self.block.bytes() / ENTRY_BYTES) }
    }

    fn live(&self) -> impl Iterator<Item = u64> {
        self.slice().iter().copied().filter(|entry| *entry != index_entry::EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logic_api::abi::hash_key;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn hash(key: u64) -> u32 {
        hash_key(7, &key.to_le_bytes())
    }

    #[test]
    fn a_hundred_thousand_keys_are_found_after_all_splits() {
        let count = if cfg!(miri) { 500 } else { 100_000 };
        let mut index = Index::new(&Pool::new(), 7);
        for key in 0..count {
            assert!(index.reserve(hash(key)));
            index.insert(hash(key), key as u32);
        }
        for key in 0..count {
            assert_eq!(index.find(hash(key), |slot| slot == key as u32), Some(key as u32));
        }
        assert_eq!(index.find(hash(count), |slot| u64::from(slot) == count), None);
    }

    proptest! {
        #[test]
        fn an_index_and_its_fork_agree_with_a_map(
            steps in prop::collection::vec((any::<bool>(), 0u64..300), 1..600),
            fork_at in 0usize..600,
        ) {
            let mut index = Index::new(&Pool::new(), 7);
            let mut map = BTreeMap::new();
            let mut fork = None;
            for (number, (insert, key)) in steps.into_iter().enumerate() {
                if number == fork_at {
                    fork = Some((index.fork(), map.clone()));
                }
                if insert && !map.contains_key(&key) {
                    prop_assert!(index.reserve(hash(key)));
                    index.insert(hash(key), key as u32);
                    map.insert(key, ());
                } else if !insert && map.remove(&key).is_some() {
                    index.remove(hash(key), key as u32);
                }
            }
            for (index, map) in fork.iter().chain([&(index, map)]) {
                for key in 0..300 {
                    let found = index.find(hash(key), |slot| u64::from(slot) == key);
                    prop_assert_eq!(found.is_some(), map.contains_key(&key), "key {}", key);
                }
            }
        }
    }
}
