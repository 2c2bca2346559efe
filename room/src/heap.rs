//! The heap of a world: texts and blobs of any length, shared between forks.

use crate::bytes::{Malformed, Reader, put_bytes};
use crate::limits::{HEAP_BYTES_MAX, HEAP_VALUE_BYTES_MAX};
use logic_api::abi::RawHeapId;
use std::sync::Arc;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const VALUES_PER_PAGE: usize = 1024;

/// Values by slot. A value never moves or changes; replacing one frees it and keeps another. Forks share pages, and values
/// even where a page was copied.
#[derive(Clone, Default)]
pub(crate) struct Heap {
    pages: Vec<Arc<Page>>,
    /// A bit for each page that has a free slot.
    free: Vec<u64>,
    bytes: usize,
    /// Out of date where a page is dirty.
    hashes: Vec<u64>,
    dirty: Vec<bool>,
}

#[derive(Clone)]
struct Page {
    /// Odd for a live value.
    generations: [u32; VALUES_PER_PAGE],
    values: [Option<Arc<[u8]>>; VALUES_PER_PAGE],
    live: usize,
}

/// A page without some of its values, made while the heap's own is in use.
pub(crate) struct FreedPage {
    /// The page as it was. Held, so that who writes to it copies it, and its memory cannot become another page meanwhile.
    source: Arc<Page>,
    /// The values that are not in it any more.
    ids: Arc<[RawHeapId]>,
    freed: Arc<Page>,
    /// Of the values.
    bytes: usize,
    hash: u64,
}

/// A page that another has taken the place of, to drop where that may take its time.
pub(crate) struct SpentPage {
    _page: Arc<Page>,
}

impl FreedPage {
    /// True if it is the heap's page as it is now, without just these values.
    pub(crate) fn is_for(&self, heap: &Heap, number: usize, ids: &[RawHeapId]) -> bool {
        Arc::ptr_eq(&self.source, &heap.pages[number]) && *self.ids == *ids
    }

    pub(crate) fn ids(&self) -> &[RawHeapId] {
        &self.ids
    }

    /// Bytes that it takes itself.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Page>() + size_of_val(&*self.ids)
    }
}

impl Page {
    fn empty() -> Self {
        Self { generations: [0; VALUES_PER_PAGE], values: [const { None }; VALUES_PER_PAGE], live: 0 }
    }

    /// As it would be if the values in these slots were freed; and how many bytes those are.
    fn without(&self, goes: &[bool; VALUES_PER_PAGE]) -> (Self, usize) {
        let (mut page, mut bytes) = (Self { generations: self.generations, ..Self::empty() }, 0);
        for (slot, value) in self.values.iter().enumerate() {
            if goes[slot] {
                page.generations[slot] = page.generations[slot].wrapping_add(1);
                bytes += value.as_ref().map_or(0, |value| value.len());
            } else {
                page.values[slot].clone_from(value);
                page.live += usize::from(value.is_some());
            }
        }
        (page, bytes)
    }

    fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for (value, generation) in self.values.iter().zip(self.generations) {
            hash.update(&generation.to_le_bytes());
            hash.update(&value.as_ref().map_or(0, |value| value.len()).to_le_bytes());
            hash.update(value.as_deref().unwrap_or_default());
        }
        hash.digest()
    }
}

impl Heap {
    /// Keeps bytes; none where a limit is reached.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<RawHeapId> {
        if bytes.len() > HEAP_VALUE_BYTES_MAX || self.bytes + bytes.len() > HEAP_BYTES_MAX {
            return None;
        }
        let number = self.page_with_room();
        self.dirty[number] = true;
        let page = Arc::make_mut(&mut self.pages[number]);
        let slot = page.values.iter().position(Option::is_none).expect("the page has room");
        page.values[slot] = Some(bytes.into());
        page.generations[slot] = page.generations[slot].wrapping_add(1);
        page.live += 1;
        if page.live == VALUES_PER_PAGE {
            self.free[number / 64] &= !(1 << (number % 64));
        }
        self.bytes += bytes.len();
        let slot_number = u32::try_from(number * VALUES_PER_PAGE + slot).expect("a heap has fewer values than bytes");
        Some(RawHeapId { slot: slot_number, generation: page.generations[slot] })
    }

    /// The bytes; empty for an id that names none.
    pub(crate) fn get(&self, id: RawHeapId) -> &[u8] {
        self.locate(id).and_then(|(page, slot)| self.pages[page].values[slot].as_deref()).unwrap_or_default()
    }

    pub(crate) fn free(&mut self, id: RawHeapId) {
        let Some((number, slot)) = self.locate(id) else { return };
        self.dirty[number] = true;
        let page = Arc::make_mut(&mut self.pages[number]);
        self.bytes -= page.values[slot].take().map_or(0, |value| value.len());
        page.generations[slot] = page.generations[slot].wrapping_add(1);
        page.live -= 1;
        self.free[number / 64] |= 1 << (number % 64);
    }

    /// The number of the page that a value is in.
    pub(crate) fn page_of(id: RawHeapId) -> usize {
        id.slot as usize / VALUES_PER_PAGE
    }

    /// A page as it would be if these of its values were freed.
    ///
    /// # Panics
    /// If one of them is not in it.
    pub(crate) fn without(&self, number: usize, ids: Vec<RawHeapId>) -> FreedPage {
        let goes = self.slots_of(number, &ids);
        let is_there = |id: &RawHeapId| goes[id.slot as usize % VALUES_PER_PAGE] && Self::page_of(*id) == number;
        assert!(ids.iter().all(is_there), "a live row has its texts, and they are in that page");
        let source = &self.pages[number];
        let (freed, bytes) = source.without(&goes);
        FreedPage { source: source.clone(), ids: ids.into(), hash: freed.hash(), freed: Arc::new(freed), bytes }
    }

    /// Frees values of one page at once, which is made anew for it: one by one each would be looked for, and its bytes dropped,
    /// while the room stands still. What the ids name no more is left out.
    pub(crate) fn free_all(&mut self, number: usize, ids: &[RawHeapId]) -> SpentPage {
        let (freed, bytes) = self.pages[number].without(&self.slots_of(number, ids));
        self.free[number / 64] |= u64::from(freed.live < VALUES_PER_PAGE) << (number % 64);
        self.dirty[number] = true;
        self.bytes -= bytes;
        SpentPage { _page: std::mem::replace(&mut self.pages[number], Arc::new(freed)) }
    }

    /// Which slots of a page these ids name.
    fn slots_of(&self, number: usize, ids: &[RawHeapId]) -> [bool; VALUES_PER_PAGE] {
        let mut named = [false; VALUES_PER_PAGE];
        let found = ids.iter().filter_map(|id| self.locate(*id)).filter(|(page, _)| *page == number);
        found.for_each(|(_, slot)| named[slot] = true);
        named
    }

    /// Puts the page in the place of the one that it was made of; false if that is another by now. The page that was there is
    /// dropped with `page`.
    pub(crate) fn put_freed(&mut self, number: usize, page: &FreedPage) -> bool {
        if !Arc::ptr_eq(&self.pages[number], &page.source) {
            return false;
        }
        self.pages[number] = page.freed.clone();
        self.hashes[number] = page.hash;
        self.dirty[number] = false;
        self.bytes -= page.bytes;
        self.free[number / 64] |= 1 << (number % 64);
        true
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn page_count(&self) -> usize {
        self.pages.len()
    }

    pub(crate) fn state_hash(&mut self) -> u64 {
        for (number, page) in self.pages.iter().enumerate().filter(|(number, _)| self.dirty[*number]) {
            self.hashes[number] = page.hash();
        }
        self.dirty.fill(false);
        let bytes: Vec<u8> = self.hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        xxh3_64(&bytes)
    }

    /// The generations of a page, and its live values, each after its length.
    pub(crate) fn put_page(&self, number: usize, out: &mut Vec<u8>) {
        let page = &self.pages[number];
        page.generations.iter().for_each(|generation| out.extend_from_slice(&generation.to_le_bytes()));
        page.values.iter().flatten().for_each(|value| put_bytes(out, value));
    }

    /// Adds the next page, which `put_page` wrote.
    pub(crate) fn read_page(&mut self, from: &mut Reader<'_>) -> Result<(), Malformed> {
        let mut page = Page::empty();
        for generation in &mut page.generations {
            *generation = from.u32("generation of a text")?;
        }
        for slot in (0..VALUES_PER_PAGE).filter(|slot| page.generations[*slot] & 1 == 1) {
            let value = from.bytes("text")?;
            self.bytes += value.len();
            if value.len() > HEAP_VALUE_BYTES_MAX || self.bytes > HEAP_BYTES_MAX {
                let expected = "no more than a heap may hold";
                return Err(Malformed::Value { what: "bytes of texts", found: self.bytes as u64, expected });
            }
            page.values[slot] = Some(value.into());
            page.live += 1;
        }
        self.add_page(page);
        Ok(())
    }

    fn locate(&self, id: RawHeapId) -> Option<(usize, usize)> {
        let (page, slot) = (id.slot as usize / VALUES_PER_PAGE, id.slot as usize % VALUES_PER_PAGE);
        let is_live = self.pages.get(page)?.generations[slot] == id.generation && id.generation & 1 == 1;
        is_live.then_some((page, slot))
    }

    fn page_with_room(&mut self) -> usize {
        if let Some(word) = self.free.iter().position(|word| *word != 0) {
            return word * 64 + self.free[word].trailing_zeros() as usize;
        }
        self.add_page(Page::empty())
    }

    fn add_page(&mut self, page: Page) -> usize {
        let number = self.pages.len();
        self.free.resize(number / 64 + 1, 0);
        if page.live < VALUES_PER_PAGE {
            self.free[number / 64] |= 1 << (number % 64);
        }
        self.pages.push(Arc::new(page));
        self.hashes.push(0);
        self.dirty.push(true);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_value_is_not_found_under_its_old_id() {
        let mut heap = Heap::default();
        let one = heap.put(b"one").unwrap();
        heap.free(one);
        heap.free(one);
        let two = heap.put(b"two").unwrap();
        assert_eq!((one.slot, heap.get(one), heap.get(two)), (two.slot, &b""[..], &b"two"[..]));
        assert_eq!(heap.bytes(), 3);
    }

    #[test]
    fn a_fork_keeps_what_the_other_side_frees() {
        let mut heap = Heap::default();
        let ids: Vec<_> = (0..3000u32).map(|n| heap.put(&n.to_le_bytes()).unwrap()).collect();
        let before = heap.state_hash();
        let mut fork = heap.clone();
        ids.iter().for_each(|id| heap.free(*id));
        assert_eq!(heap.bytes(), 0);
        assert!(ids.iter().zip(0u32..).all(|(id, n)| fork.get(*id) == n.to_le_bytes()));
        assert_eq!(fork.state_hash(), before);
        assert_ne!(heap.state_hash(), before);
    }

    #[test]
    fn a_value_above_the_limit_is_refused() {
        assert_eq!(Heap::default().put(&vec![0; HEAP_VALUE_BYTES_MAX + 1]), None);
    }
}
