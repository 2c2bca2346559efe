//! A page of an index: its entries are found, put in and taken out here, by engine and plugin alike.

use super::lanes;
use crate::abi::{Bucket, Count, Hash, Slot};

/// A page of buckets, as a plain place in memory.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    start: *mut Bucket,
    /// Bytes of the page, less those of a bucket.
    mask: u64,
}

/// An entry of a page, as long as nothing else changes there.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Bytes from the start of the page to the entry's bucket.
    at: u64,
    /// Which of the bucket.
    number: usize,
    pub slot: Slot,
}

#[expect(clippy::cast_possible_truncation, reason = "offsets within a page, as wide as the memory's addresses")]
impl Buckets {
    /// # Safety
    /// `start` points to a page of `mask + 64` bytes, a power of two, of buckets that engine and plugin have kept, valid as long as
    /// the result is used. `place` and `take` are called only by who has the page for itself, and nobody else reads it meanwhile.
    #[inline]
    pub const unsafe fn new(start: *mut Bucket, mask: u64) -> Self {
        Self { start, mask }
    }

    /// The bucket at that many bytes from the start, which the mask or another bucket's place has bounded.
    #[inline]
    fn at(&self, bytes: u64) -> &Bucket {
        // SAFETY: within the page, at the start of a bucket; nobody writes while `self` is borrowed (`new`).
        unsafe { &*self.start.byte_add(bytes as usize) }
    }

    #[inline]
    fn at_mut(&mut self, bytes: u64) -> &mut Bucket {
        // SAFETY: as above, and the page is the caller's alone (`new`).
        unsafe { &mut *self.start.byte_add(bytes as usize) }
    }

    /// How many rows the page has.
    #[inline]
    pub fn rows(&self) -> u64 {
        u64::from(self.at(0).page_rows.get())
    }

    /// The bucket that a search for this hash starts with, and a bit for each of its entries that has the hash's tag.
    #[inline]
    pub fn at_home(&self, hash: Hash) -> (&Bucket, u32) {
        let bucket = lanes::in_one_register(self.at(Bucket::home(hash, self.mask)));
        (bucket, lanes::with_tag_at_home(bucket, hash))
    }

    /// The first of the matches in a bucket, of which there is one: its number and its slot.
    #[inline]
    pub fn first(bucket: &Bucket, matches: u32) -> (usize, Slot) {
        let number = matches.trailing_zeros() as usize;
        // SAFETY: a match is a bit for an entry.
        let slot = unsafe { bucket.slots.get_unchecked(number) };
        (number, Slot { index: slot.index, page: slot.page })
    }

    /// The entry of this number in the bucket that a search for this hash starts with.
    #[inline]
    pub fn entry_at_home(&self, hash: Hash, number: usize, slot: Slot) -> Entry {
        Entry { at: Bucket::home(hash, self.mask), number, slot }
    }

    /// The first entry with this hash of whose slot `check` makes something, and what that is.
    #[inline]
    pub fn find<R>(&self, hash: Hash, check: impl Fn(Slot) -> Option<R>) -> Option<(Entry, R)> {
        let mut at = Bucket::home(hash, self.mask);
        loop {
            let bucket = self.at(at);
            let mut matches = lanes::with_tag(bucket, Bucket::tag(hash));
            while matches != 0 {
                let found = Self::check_first(matches, at, bucket, &check);
                if found.is_some() {
                    return found;
                }
                matches &= matches - 1;
            }
            at = Bucket::next(at, self.mask);
            if bucket.passed == Count::default() || at == Bucket::home(hash, self.mask) {
                return None;
            }
        }
    }

    /// The first of the matches, if `check` makes something of its slot. There is one.
    #[inline]
    fn check_first<R>(matches: u32, at: u64, bucket: &Bucket, check: impl Fn(Slot) -> Option<R>) -> Option<(Entry, R)> {
        let (number, slot) = Self::first(bucket, matches);
        check(slot).map(|made| (Entry { at, number, slot }, made))
    }

    /// The entry of a slot with this hash.
    #[inline]
    pub fn find_slot(&self, hash: Hash, slot: u32) -> Option<Entry> {
        self.find(hash, |found| (found.number() == slot).then_some(())).map(|(entry, ())| entry)
    }

    /// Puts an entry into the first bucket with room, from its home on.
    ///
    /// # Panics
    /// If the page is full.
    #[inline]
    pub fn place(&mut self, hash: Hash, slot: u32) {
        let mut at = Bucket::home(hash, self.mask);
        loop {
            let bucket = self.at_mut(at);
            let free = lanes::with_tag(bucket, 0);
            if free != 0 {
                let (number, tag) = (free.trailing_zeros() as usize, Bucket::tag(hash));
                // SAFETY: there are bits for the entries of the bucket only.
                unsafe {
                    *bucket.tags.get_unchecked_mut(number) = tag;
                    *bucket.slots.get_unchecked_mut(number) = Slot::new(slot);
                };
                break;
            }
            // Each of the page's rows passes a bucket once at most, and there are fewer than this can count.
            bucket.passed = bucket.passed.up();
            at = Bucket::next(at, self.mask);
            assert!(at != Bucket::home(hash, self.mask), "the page of an index has room");
        }
        let first = self.at_mut(0);
        first.page_rows = first.page_rows.up();
    }

    /// Takes an entry out, which `find` has just given for this hash.
    #[inline]
    pub fn take(&mut self, hash: Hash, entry: Entry) {
        // SAFETY: `find` gives the number of an entry.
        unsafe { *self.at_mut(entry.at).tags.get_unchecked_mut(entry.number) = 0 };
        let mut at = Bucket::home(hash, self.mask);
        while at != entry.at {
            let bucket = self.at_mut(at);
            bucket.passed = bucket.passed.down();
            at = Bucket::next(at, self.mask);
        }
        let first = self.at_mut(0);
        first.page_rows = first.page_rows.down();
    }

    /// All of the page, in memory order.
    pub fn iter(&self) -> impl Iterator<Item = &Bucket> {
        (0..=self.mask).step_by(size_of::<Bucket>()).map(|at| self.at(at))
    }

    /// The slots of all entries, in memory order.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.iter().flat_map(|bucket| {
            let used = bucket.tags.iter().zip(bucket.slots).filter(|(tag, _)| **tag != 0);
            used.map(|(_, slot)| slot.number())
        })
    }
}
