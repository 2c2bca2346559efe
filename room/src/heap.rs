//! The heap of a world: texts and blobs of any length, shared between forks.

mod image;
mod made;
mod page;

use crate::limits::{HEAP_BYTES_MAX, HEAP_VALUE_BYTES_MAX};
use logic_api::abi::RawHeapId;
use page::Page;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

use made::Vacancy;
pub(crate) use made::{MadePage, PageMaker, PendingValues, Vacancies};

pub(crate) const VALUES_PER_PAGE: usize = 1024;
/// A handle's slot has the number of its page in 22 bits. In the upper half of them are the pages that schema changes make.
const MADE_FROM: usize = 1 << 21;

// As many values as a heap has bytes, for none is empty, and no page is begun while another has room.
const _: () = assert!(HEAP_BYTES_MAX / VALUES_PER_PAGE < MADE_FROM);
const _: () = assert!(2 * MADE_FROM * VALUES_PER_PAGE == 1 << u32::BITS);

/// Values by slot. A value never moves or changes; replacing one frees it and keeps another. Forks share pages, and values
/// even where a page was copied.
#[derive(Clone, Default)]
pub(crate) struct Heap {
    /// The pages that came one after the other, as callbacks needed them.
    grown: Zone,
    /// Those that schema changes have made.
    made: Zone,
    /// Where there is none among these, although there are some behind it. Ascending.
    vacant: Arc<Vec<Vacancy>>,
    bytes: usize,
}

/// Pages whose numbers follow on each other.
#[derive(Clone, Default)]
struct Zone {
    pages: Vec<Arc<Page>>,
    /// A bit for each page that has a free slot.
    free: Vec<u64>,
    /// Out of date where a page is dirty.
    hashes: Vec<u64>,
    dirty: Vec<bool>,
}

/// A page without some of its values, made while the heap's own is in use.
pub(crate) struct FreedPage {
    /// The page as it was. Held, so that who writes to it copies it, and its memory cannot become another page meanwhile.
    source: Arc<Page>,
    /// The values that are not in it any more.
    ids: Arc<[RawHeapId]>,
    freed: Arc<Page>,
    /// Kept apart, for whoever puts it into its place does not read it: false if the ids name nothing.
    has_lost: bool,
    /// Of the values.
    bytes: usize,
    hash: u64,
}

/// A page that another has taken the place of, to drop where that may take its time.
pub(crate) struct SpentPage {
    _page: Arc<Page>,
}

/// Something for each page of a heap.
pub(crate) struct ByPage<T> {
    grown: Vec<T>,
    made: Vec<T>,
}

impl<T> Default for ByPage<T> {
    fn default() -> Self {
        Self { grown: Vec::new(), made: Vec::new() }
    }
}

impl<T: Default> ByPage<T> {
    /// Has as many as the heap has pages.
    ///
    /// # Panics
    /// If there are more: see `is_within`.
    pub(crate) fn fit(&mut self, heap: &Heap) {
        assert!(self.is_within(heap), "nothing is lost without a word");
        self.grown.resize_with(heap.grown.pages.len(), T::default);
        self.made.resize_with(heap.made.pages.len(), T::default);
    }

    /// True if the heap has a page for each. One that went back may have fewer.
    pub(crate) fn is_within(&self, heap: &Heap) -> bool {
        self.grown.len() <= heap.grown.pages.len() && self.made.len() <= heap.made.pages.len()
    }

    /// None for a page that there is not.
    pub(crate) fn get_mut(&mut self, page: usize) -> Option<&mut T> {
        match page.checked_sub(MADE_FROM) {
            None => self.grown.get_mut(page),
            Some(page) => self.made.get_mut(page),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.grown.iter().chain(&self.made)
    }

    /// With the numbers of the pages.
    pub(crate) fn into_numbered(self) -> impl Iterator<Item = (usize, T)> {
        (0..).zip(self.grown).chain((MADE_FROM..).zip(self.made))
    }
}

impl FreedPage {
    /// What one takes, beside the ids.
    pub(crate) const BYTES: usize = size_of::<Page>();

    /// True if it is the heap's page as it is now, without just these values.
    pub(crate) fn is_for(&self, heap: &Heap, number: usize, ids: &[RawHeapId]) -> bool {
        heap.page(number).is_some_and(|page| Arc::ptr_eq(&self.source, page)) && *self.ids == *ids
    }

    pub(crate) fn ids(&self) -> &[RawHeapId] {
        &self.ids
    }

    /// Bytes that it takes itself.
    pub(crate) fn bytes(&self) -> usize {
        Self::BYTES + size_of_val(&*self.ids)
    }

    /// Of the values that are not in it any more.
    pub(crate) fn freed_bytes(&self) -> usize {
        self.bytes
    }
}

impl Zone {
    /// The first page that has a free slot.
    fn with_room(&self) -> Option<usize> {
        let word = self.free.iter().position(|word| *word != 0)?;
        Some(word * 64 + self.free[word].trailing_zeros() as usize)
    }

    fn add(&mut self, page: Arc<Page>) -> usize {
        let number = self.pages.len();
        self.free.resize(number / 64 + 1, 0);
        self.pages.push(page);
        self.hashes.push(0);
        self.dirty.push(true);
        self.show_room(number, self.pages[number].has_room());
        number
    }

    /// `hash`: the page's own; none if it is still to be made. `has_room`: as the page would say, which is not read for it.
    fn replace(&mut self, number: usize, page: Arc<Page>, hash: Option<u64>, has_room: bool) -> Arc<Page> {
        self.hashes[number] = hash.unwrap_or_default();
        self.dirty[number] = hash.is_none();
        self.show_room(number, has_room);
        std::mem::replace(&mut self.pages[number], page)
    }

    fn show_room(&mut self, number: usize, has_room: bool) {
        let (word, bit) = (&mut self.free[number / 64], 1 << (number % 64));
        match has_room {
            true => *word |= bit,
            false => *word &= !bit,
        }
    }

    fn has_room(&self, number: usize) -> bool {
        self.free[number / 64] >> (number % 64) & 1 == 1
    }

    /// A page to write to.
    fn page_mut(&mut self, number: usize) -> &mut Page {
        self.dirty[number] = true;
        Arc::make_mut(&mut self.pages[number])
    }

    fn bring_hashes_up_to_date(&mut self) {
        for (number, page) in self.pages.iter().enumerate().filter(|(number, _)| self.dirty[*number]) {
            self.hashes[number] = page.hash();
        }
        self.dirty.fill(false);
    }
}

impl Heap {
    /// Keeps bytes; none where a limit is reached.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<RawHeapId> {
        if bytes.len() > HEAP_VALUE_BYTES_MAX || self.bytes + bytes.len() > HEAP_BYTES_MAX {
            return None;
        }
        let number = self.page_with_room();
        let (zone, at) = self.zone_mut(number);
        let page = zone.page_mut(at);
        let slot = page.values.iter().position(Option::is_none).expect("the page has room");
        let generation = page.put(slot, bytes.into());
        let has_room = page.has_room();
        zone.show_room(at, has_room);
        self.bytes += bytes.len();
        let slot = u32::try_from(number * VALUES_PER_PAGE + slot).expect("a page has 22 bits of a slot");
        Some(RawHeapId { slot, generation })
    }

    /// The bytes; empty for an id that names none.
    pub(crate) fn get(&self, id: RawHeapId) -> &[u8] {
        self.locate(id).and_then(|(page, slot)| page.values[slot].as_deref()).unwrap_or_default()
    }

    pub(crate) fn free(&mut self, id: RawHeapId) {
        let Some((_, slot)) = self.locate(id) else { return };
        let (zone, at) = self.zone_mut(Self::page_of(id));
        let page = zone.page_mut(at);
        let bytes = page.values[slot].take().map_or(0, |value| value.len());
        page.generations[slot] = page.generations[slot].wrapping_add(1);
        page.live -= 1;
        zone.show_room(at, true);
        self.bytes -= bytes;
    }

    /// The number of the page that a value is in.
    pub(crate) fn page_of(id: RawHeapId) -> usize {
        id.slot as usize / VALUES_PER_PAGE
    }

    /// A page as it would be if these of its values were freed. What the ids name no more is left out, as everywhere; none if
    /// there is no such page.
    pub(crate) fn without(&self, number: usize, ids: Vec<RawHeapId>) -> Option<FreedPage> {
        let source = self.page(number)?.clone();
        let goes = self.slots_of(number, &ids);
        let (freed, bytes) = source.without(&goes);
        let (hash, has_lost) = (freed.hash(), goes.contains(&true));
        Some(FreedPage { source, ids: ids.into(), hash, freed: Arc::new(freed), has_lost, bytes })
    }

    /// Frees values of one page at once, which is made anew for it: one by one each would be looked for, and its bytes dropped,
    /// while the room stands still. What the ids name no more is left out; none if nothing is left then.
    pub(crate) fn free_all(&mut self, number: usize, ids: &[RawHeapId]) -> Option<SpentPage> {
        let goes = self.slots_of(number, ids);
        if !goes.contains(&true) {
            return None;
        }
        let (freed, bytes) = self.page(number)?.without(&goes);
        self.bytes -= bytes;
        let (zone, at) = self.zone_mut(number);
        Some(SpentPage { _page: zone.replace(at, Arc::new(freed), None, true) })
    }

    /// Which slots of a page these ids name.
    fn slots_of(&self, number: usize, ids: &[RawHeapId]) -> [bool; VALUES_PER_PAGE] {
        let mut named = [false; VALUES_PER_PAGE];
        let found = ids.iter().filter(|id| Self::page_of(**id) == number).filter_map(|id| self.locate(*id));
        found.for_each(|(_, slot)| named[slot] = true);
        named
    }

    /// Puts the page in the place of the one that it was made of; false if that is another by now. The page that was there is
    /// dropped with `page`.
    pub(crate) fn put_freed(&mut self, number: usize, page: &FreedPage) -> bool {
        if !self.page(number).is_some_and(|now| Arc::ptr_eq(now, &page.source)) {
            return false;
        }
        // One that has lost nothing may be none at all, and is not to come into being by this.
        if page.has_lost {
            let (zone, at) = self.zone_mut(number);
            zone.replace(at, page.freed.clone(), Some(page.hash), true);
            self.bytes -= page.bytes;
        }
        true
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Pages that there are.
    pub(crate) fn page_count(&self) -> usize {
        self.grown.pages.len() + self.made.pages.len() - self.vacant.len()
    }

    pub(crate) fn state_hash(&mut self) -> u64 {
        self.grown.bring_hashes_up_to_date();
        self.made.bring_hashes_up_to_date();
        let hashes = |zone: &Zone| zone.hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect::<Vec<u8>>();
        let mut bytes = hashes(&self.grown);
        if !self.made.pages.is_empty() {
            bytes.extend_from_slice(&self.grown.pages.len().to_le_bytes());
            bytes.extend(hashes(&self.made));
        }
        xxh3_64(&bytes)
    }

    fn page(&self, number: usize) -> Option<&Arc<Page>> {
        match number.checked_sub(MADE_FROM) {
            None => self.grown.pages.get(number),
            Some(number) => self.made.pages.get(number),
        }
    }

    fn zone_mut(&mut self, number: usize) -> (&mut Zone, usize) {
        match number.checked_sub(MADE_FROM) {
            None => (&mut self.grown, number),
            Some(number) => (&mut self.made, number),
        }
    }

    fn locate(&self, id: RawHeapId) -> Option<(&Page, usize)> {
        let (page, slot) = (self.page(Self::page_of(id))?, id.slot as usize % VALUES_PER_PAGE);
        let is_live = page.generations[slot] == id.generation && id.generation & 1 == 1;
        is_live.then_some((&**page, slot))
    }

    fn page_with_room(&mut self) -> usize {
        let made = || self.made.with_room().map(|number| MADE_FROM + number);
        match self.grown.with_room().or_else(made) {
            Some(number) => number,
            None => self.grown.add(Arc::new(Page::empty(0))),
        }
    }
}

/// The handle that a row has of a text.
pub(crate) fn handle(bytes: &[u8]) -> RawHeapId {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    RawHeapId { slot: number(0), generation: number(4) }
}

/// As a row has it.
pub(crate) fn handle_bytes(id: RawHeapId) -> [u8; 8] {
    (u64::from(id.generation) << 32 | u64::from(id.slot)).to_le_bytes()
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
