//! An index over a key or unique column: extendible hashing (Fagin et al., 1979) in copy-on-write pages.
//!
//! A full page is split in two, so that growth never stops a tick for a rehash of everything, and an insert after a fork
//! copies one page. `docs/abi.md`, "Index", gives the layout that plugins read in place.

use super::pool::{Block, CLASS_MAX, Pool};
use logic_api::abi::{Bucket, IndexView};
use std::sync::Arc;

/// A page of an index is a quarter of a page of rows: what an insert after a fork copies, and what a split looks through.
const INDEX_CLASS_MAX: u8 = 4;
/// A page is split before this share of its entries is taken, in quarters: most buckets have room then, so that a search is one
/// cache line, and one bucket at least does, so that it ends.
const LOAD_QUARTERS_MAX: usize = 3;
/// A hash has 32 bits, of which a full page's buckets take the lower 8.
const DEPTH_MAX: u32 = 20;

const _: () = assert!(INDEX_CLASS_MAX < CLASS_MAX);

pub(crate) struct Index {
    pool: Pool,
    seed: u64,
    /// The upper `depth` bits of a hash choose the directory slot.
    depth: u32,
    /// By directory slot: the entries, for plugins to read.
    directory: Vec<*const Bucket>,
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
        let directory = vec![page.start().cast_const()];
        Self {
            pool: pool.clone(),
            seed,
            depth: 0,
            directory,
            page_of: vec![0],
            pages: vec![page],
        }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn view(&self) -> IndexView {
        // All pages have one size: only a lone page is smaller than the largest.
        let mask = u32::try_from(self.pages[0].slice().len() - 1).expect("a page has at most 2^8 buckets");
        IndexView {
            directory: self.directory.as_ptr(),
            seed: self.seed,
            shift: 31 - self.depth,
            mask,
        }
    }

    pub(crate) fn page_count(&self) -> usize {
        self.pages.len()
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

    #[inline]
    fn page_at(&self, hash: u32) -> usize {
        self.page_of[Bucket::directory_slot(hash, 31 - self.depth)] as usize
    }

    /// The slot among those with this hash for which `is` says yes.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let buckets = self.pages[self.page_at(hash)].slice();
        let mut at = home(hash, buckets.len());
        loop {
            let bucket = &buckets[at];
            let mut matches = bucket.matches(Bucket::tag(hash));
            while matches != 0 {
                let slot = bucket.slots[matches.trailing_zeros() as usize];
                if is(slot) {
                    return Some(slot);
                }
                matches &= matches - 1;
            }
            if !bucket.is_full() {
                return None;
            }
            at = (at + 1) & (buckets.len() - 1);
        }
    }

    /// Makes room for one more entry with this hash; false if the index cannot grow any further. `hash_of` gives the hash of the
    /// row in a slot.
    #[inline]
    pub(crate) fn reserve(&mut self, hash: u32, hash_of: impl Fn(u32) -> u32 + Copy) -> bool {
        loop {
            let number = self.page_at(hash);
            let page = &self.pages[number];
            let entries = page.slice().len() * Bucket::ENTRIES;
            if (page.taken as usize + 1) * 4 <= entries * LOAD_QUARTERS_MAX {
                return true;
            }
            if page.block.class() < INDEX_CLASS_MAX {
                self.enlarge(hash_of);
            } else if page.depth < DEPTH_MAX {
                self.split(number, hash_of);
            } else {
                return false;
            }
        }
    }

    /// Adds an entry, for which there is room (`reserve`).
    #[inline]
    pub(crate) fn insert(&mut self, hash: u32, slot: u32) {
        let number = self.page_at(hash);
        self.own(number);
        let page = &mut self.pages[number];
        page.taken += 1;
        place(page.slice_mut(), hash, slot);
    }

    /// Removes an entry that is there. `hash_of` gives the hash of the row in a slot.
    #[inline]
    pub(crate) fn remove(&mut self, hash: u32, slot: u32, hash_of: impl Fn(u32) -> u32) {
        let number = self.page_at(hash);
        self.own(number);
        let page = &mut self.pages[number];
        page.taken -= 1;
        let buckets = page.slice_mut();
        let mask = buckets.len() - 1;
        let mut at = home(hash, buckets.len());
        let entry = loop {
            let bucket = &buckets[at];
            let mut matches = bucket.matches(Bucket::tag(hash));
            while matches != 0 && bucket.slots[matches.trailing_zeros() as usize] != slot {
                matches &= matches - 1;
            }
            if matches != 0 {
                break matches.trailing_zeros() as usize;
            }
            assert!(bucket.is_full(), "the index has no entry for a live row");
            at = (at + 1) & mask;
        };
        let overflows = buckets[at].is_full();
        take(&mut buckets[at], entry);
        if overflows {
            refill(buckets, at, hash_of);
        }
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
        self.directory[slots.clone()].fill(page.start().cast_const());
        self.page_of[slots].fill(u32::try_from(number).expect("at most 2^20 pages"));
    }

    /// Doubles the lone page.
    fn enlarge(&mut self, hash_of: impl Fn(u32) -> u32) {
        let old = &self.pages[0];
        let mut page = Page::empty(&self.pool, old.block.class() + 1, 0, 0);
        page.taken = old.taken;
        old.live().for_each(|slot| place(page.slice_mut(), hash_of(slot), slot));
        self.pages[0] = page;
        self.point_at(0);
    }

    /// Divides a page's entries between itself and a new page, by the next bit of their hashes.
    fn split(&mut self, number: usize, hash_of: impl Fn(u32) -> u32) {
        let depth = self.pages[number].depth + 1;
        if depth > self.depth {
            self.depth = depth;
            self.directory = self.directory.iter().flat_map(|pointer| [*pointer; 2]).collect();
            self.page_of = self.page_of.iter().flat_map(|page| [*page; 2]).collect();
        }
        let upper = |hash: u32| hash >> (32 - depth) & 1 == 1;
        let prefix = self.pages[number].prefix << 1;
        let mut halves = [prefix, prefix | 1].map(|prefix| Page::empty(&self.pool, INDEX_CLASS_MAX, depth, prefix));
        for slot in self.pages[number].live() {
            let hash = hash_of(slot);
            let half = &mut halves[usize::from(upper(hash))];
            half.taken += 1;
            place(half.slice_mut(), hash, slot);
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

/// The bucket that an entry with this hash belongs to, among a power of two of them.
#[inline]
fn home(hash: u32, buckets: usize) -> usize {
    hash as usize & (buckets - 1)
}

/// Puts an entry into the first bucket with room, from its home on.
#[inline]
fn place(buckets: &mut [Bucket], hash: u32, slot: u32) {
    let mask = buckets.len() - 1;
    let mut at = home(hash, buckets.len());
    while buckets[at].is_full() {
        at = (at + 1) & mask;
    }
    place_in(&mut buckets[at], hash, slot);
}

/// Puts an entry into a bucket with room.
#[inline]
fn place_in(bucket: &mut Bucket, hash: u32, slot: u32) {
    let entry = bucket.len as usize;
    (bucket.tags[entry], bucket.slots[entry]) = (Bucket::tag(hash), slot);
    bucket.len += 1;
}

/// Takes an entry out of a bucket; the last one moves into its place.
#[inline]
fn take(bucket: &mut Bucket, entry: usize) {
    bucket.len -= 1;
    let last = bucket.len as usize;
    (bucket.tags[entry], bucket.slots[entry]) = (bucket.tags[last], bucket.slots[last]);
}

/// After a bucket that was full has lost an entry: brings back one that had to go past it, and so on from where that was.
/// No tombstones, so that searches stay short for ever (backward shift: Knuth, TAOCP 6.4, algorithm R).
#[cold]
fn refill(buckets: &mut [Bucket], mut hole: usize, hash_of: impl Fn(u32) -> u32) {
    let mask = buckets.len() - 1;
    let mut at = hole;
    loop {
        at = (at + 1) & mask;
        let was_full = buckets[at].is_full();
        // An entry may move to the hole if its home is not cyclically within (hole, at].
        let moves = |hash: u32| (at.wrapping_sub(home(hash, mask + 1)) & mask) >= (at.wrapping_sub(hole) & mask);
        let slots = buckets[at].slots;
        let used = slots[..buckets[at].len as usize].iter().enumerate();
        let mover = used
            .map(|(entry, slot)| (entry, hash_of(*slot)))
            .find(|(_, hash)| moves(*hash));
        if let Some((entry, hash)) = mover {
            take(&mut buckets[at], entry);
            place_in(&mut buckets[hole], hash, slots[entry]);
            hole = at;
        }
        if !was_full {
            return;
        }
    }
}

impl Page {
    fn empty(pool: &Pool, class: u8, depth: u32, prefix: u32) -> Self {
        let block = Arc::new(pool.take(class));
        // SAFETY: the block is new and ours alone; all zero is an empty bucket.
        unsafe { block.start().write_bytes(0, block.bytes()) };
        Self {
            block,
            depth,
            prefix,
            taken: 0,
            owned: true,
        }
    }

    fn start(&self) -> *mut Bucket {
        self.block.start().cast()
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
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.block.bytes() / size_of::<Bucket>()) }
    }

    fn live(&self) -> impl Iterator<Item = u32> {
        self.slice()
            .iter()
            .flat_map(|bucket| bucket.slots.into_iter().take(bucket.len as usize))
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
            assert!(index.reserve(hash(key), |slot| hash(slot.into())));
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
                    prop_assert!(index.reserve(hash(key), |slot| hash(slot.into())));
                    index.insert(hash(key), key as u32);
                    map.insert(key, ());
                } else if !insert && map.remove(&key).is_some() {
                    index.remove(hash(key), key as u32, |slot| hash(slot.into()));
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
