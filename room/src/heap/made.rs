//! The pages of the heap that schema changes make.
//!
//! They are made while the room plays on, and values name their page, so its number must not hang on what the room does meanwhile:
//! whoever carries the whole plan out at once, as a replay does, comes to the same handles. So they have numbers of their own, which
//! only swaps give and take. What callbacks put into them, where they have room, changes no number.

use super::page::{NO_PAGE, Page};
use super::{Heap, MADE_FROM, VALUES_PER_PAGE, Zone};
use crate::limits::{HEAP_BYTES_MAX, HEAP_VALUE_BYTES_MAX};
use logic_api::abi::RawHeapId;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Of every value that a migration has made and that is in no page yet. No value of a heap has an even one.
const PENDING_GENERATION: u32 = 2;

/// What each value takes beside its bytes: two counters.
const VALUE_BYTES: usize = 2 * size_of::<usize>();

/// The number of a page that is not there, among those that schema changes make, and the generation of all its slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vacancy {
    pub(super) number: u32,
    pub(super) generation: u32,
}

impl Vacancy {
    pub(super) fn new(number: usize, generation: u32) -> Self {
        Self { number: u32::try_from(number).expect("a page has 22 bits of a slot"), generation }
    }

    fn hash(self) -> u64 {
        xxh3_64(&self.generation.to_le_bytes())
    }
}

/// Numbers for the pages that the next schema change makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Vacancies {
    /// Ascending.
    gone: Arc<Vec<Vacancy>>,
    /// From here on there is none.
    end: usize,
}

impl Vacancies {
    /// None beyond the last that a handle can name.
    fn get(&self, nth: usize) -> Option<Vacancy> {
        let beyond = || self.end.checked_add(nth - self.gone.len()).filter(|number| *number < MADE_FROM);
        match self.gone.get(nth) {
            Some(gone) => Some(*gone),
            None => beyond().map(|number| Vacancy::new(number, 0)),
        }
    }
}

/// Values that a migration makes, apart from the heap until it is known which of them stay.
#[derive(Default)]
pub(crate) struct PendingValues {
    values: Vec<Option<Arc<[u8]>>>,
    /// Of those that are there, with what each takes beside its bytes.
    bytes: usize,
    bytes_max: usize,
    /// The most that there were or would have been at once.
    bytes_asked: usize,
    /// The same of the values alone, which is what a heap is limited in.
    value_bytes: usize,
    value_bytes_asked: usize,
}

impl PendingValues {
    /// `bytes_max`: of all together.
    pub(crate) fn clear(&mut self, bytes_max: usize) {
        *self = Self { bytes_max, ..Self::default() };
    }

    /// Keeps bytes; none where a limit is reached.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<RawHeapId> {
        if bytes.len() > HEAP_VALUE_BYTES_MAX {
            return None;
        }
        let bytes_then = self.bytes + bytes.len() + VALUE_BYTES;
        let value_bytes_then = self.value_bytes + bytes.len();
        self.bytes_asked = self.bytes_asked.max(bytes_then);
        self.value_bytes_asked = self.value_bytes_asked.max(value_bytes_then);
        if bytes_then > self.bytes_max || value_bytes_then > HEAP_BYTES_MAX {
            return None;
        }
        let slot = u32::try_from(self.values.len()).ok()?;
        self.values.push(Some(bytes.into()));
        (self.bytes, self.value_bytes) = (bytes_then, value_bytes_then);
        Some(RawHeapId { slot, generation: PENDING_GENERATION })
    }

    /// The most bytes that were asked for at once. More than there may be: a value was not kept for that.
    pub(crate) fn bytes_asked(&self) -> usize {
        self.bytes_asked
    }

    /// The same of the values alone.
    pub(crate) fn value_bytes_asked(&self) -> usize {
        self.value_bytes_asked
    }

    /// None for an id that names no value of these.
    pub(crate) fn get(&self, id: RawHeapId) -> Option<&[u8]> {
        let value = self.values.get(id.slot as usize).filter(|_| id.generation == PENDING_GENERATION)?;
        value.as_deref()
    }

    /// Takes a value out.
    pub(crate) fn take(&mut self, id: RawHeapId) -> Option<Arc<[u8]>> {
        let value = self.values.get_mut(id.slot as usize).filter(|_| id.generation == PENDING_GENERATION)?.take()?;
        self.bytes -= value.len() + VALUE_BYTES;
        self.value_bytes -= value.len();
        Some(value)
    }
}

/// A page that a schema change has made, and that is not in the heap yet.
pub(crate) struct MadePage {
    vacancy: Vacancy,
    page: Arc<Page>,
    /// Of the values.
    bytes: usize,
    /// Both known once all values are in it, so that it need not be read in the swap.
    hash: u64,
    has_room: bool,
}

impl MadePage {
    /// What one takes without its values.
    pub(crate) const BYTES: usize = size_of::<Page>();

    /// Of the values.
    pub(crate) fn value_bytes(&self) -> usize {
        self.bytes
    }

    /// What it takes, its values included.
    pub(crate) fn bytes(&self) -> usize {
        Self::BYTES + self.bytes + self.page.live * VALUE_BYTES
    }
}

/// Puts values into new pages, one after the other.
pub(crate) struct PageMaker<'a> {
    vacancies: &'a Vacancies,
    pages: BTreeMap<usize, MadePage>,
}

impl<'a> PageMaker<'a> {
    pub(crate) fn new(vacancies: &'a Vacancies) -> Self {
        Self { vacancies, pages: BTreeMap::new() }
    }

    /// What `put` takes for this value. The value is there already, but not counted.
    pub(crate) fn growth_bytes(&self, nth: usize, value: &[u8]) -> usize {
        let is_there = self.pages.contains_key(&(nth / VALUES_PER_PAGE));
        value.len() + VALUE_BYTES + if is_there { 0 } else { MadePage::BYTES }
    }

    /// Puts a value into the slot of that number, counted over all pages that the schema change may make; none if a handle cannot
    /// name it. No slot is given twice.
    pub(crate) fn put(&mut self, nth: usize, value: Arc<[u8]>) -> Option<RawHeapId> {
        let (page, slot) = (nth / VALUES_PER_PAGE, nth % VALUES_PER_PAGE);
        let made = match self.pages.entry(page) {
            Entry::Occupied(made) => made.into_mut(),
            Entry::Vacant(entry) => {
                let vacancy = self.vacancies.get(page)?;
                let page = Arc::new(Page::empty(vacancy.generation));
                entry.insert(MadePage { vacancy, page, bytes: 0, hash: 0, has_room: true })
            }
        };
        made.bytes += value.len();
        let page = Arc::get_mut(&mut made.page).expect("just made, and nobody else's");
        let generation = page.put(slot, value);
        let slot = (MADE_FROM + made.vacancy.number as usize) * VALUES_PER_PAGE + slot;
        Some(RawHeapId { slot: u32::try_from(slot).expect("a vacancy is within a handle's reach"), generation })
    }

    pub(crate) fn end(self) -> Vec<MadePage> {
        let hashed = |mut made: MadePage| {
            (made.hash, made.has_room) = (made.page.hash(), made.page.has_room());
            made
        };
        self.pages.into_values().map(hashed).collect()
    }
}

impl Heap {
    /// Numbers for the pages that the next schema change makes. Only a schema change changes them.
    pub(crate) fn vacancies(&self) -> Vacancies {
        Vacancies { gone: self.vacant.clone(), end: self.made.pages.len() }
    }

    /// Puts pages that a schema change has made where they belong, and gives up those of earlier ones in which nothing is left.
    pub(crate) fn put_made(&mut self, pages: Vec<MadePage>) {
        let mut vacant: BTreeMap<usize, u32> =
            self.vacant.iter().map(|vacancy| (vacancy.number as usize, vacancy.generation)).collect();
        let with_room = self.made.pages.iter().enumerate().filter(|(number, _)| self.made.has_room(*number));
        for (number, page) in with_room.filter(|(_, page)| page.live == 0) {
            let last = page.generations.iter().max().copied().unwrap_or_default();
            vacant.entry(number).or_insert(last);
        }
        for MadePage { vacancy, page, bytes, hash, has_room } in pages {
            let number = vacancy.number as usize;
            while self.made.pages.len() <= number {
                vacant.insert(self.made.add(NO_PAGE.clone()), 0);
            }
            vacant.remove(&number);
            self.made.replace(number, page, Some(hash), has_room);
            self.bytes += bytes;
        }
        let vacant = vacant.into_iter().map(|(number, generation)| Vacancy::new(number, generation));
        self.vacant = Arc::new(vacant.collect());
        for vacancy in self.vacant.iter() {
            self.made.vacate(*vacancy);
        }
    }
}

impl Zone {
    /// Leaves nothing of a page but its number.
    pub(super) fn vacate(&mut self, vacancy: Vacancy) {
        let number = vacancy.number as usize;
        self.replace(number, NO_PAGE.clone(), Some(vacancy.hash()), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each takes beside its bytes is a matter of memory, not of what a heap may have.
    #[test]
    fn values_are_kept_up_to_what_a_heap_may_have_and_more_is_told() {
        let mut values = PendingValues::default();
        values.clear(usize::MAX);
        // As if that many were there, which would take a gigabyte.
        (values.bytes, values.value_bytes) = (2 * HEAP_BYTES_MAX, HEAP_BYTES_MAX - 3);
        let id = values.put(b"abc").unwrap();
        assert_eq!(values.value_bytes_asked(), HEAP_BYTES_MAX);
        assert_eq!(values.put(b"d"), None);
        assert_eq!(values.value_bytes_asked(), HEAP_BYTES_MAX + 1);
        values.take(id).unwrap();
        assert!(values.put(b"d").is_some());
    }
}
