//! A page of an index: its entries are found, put in and taken out here, by engine and plugin alike.

use super::lanes;
use crate::abi::Bucket;

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
    pub slot: u32,
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
        u64::from(self.at(0).page_rows)
    }

    /// As `find`, but only the first match of the first bucket.
    #[inline]
    pub fn find_first<R>(&self, hash: u64, check: impl Fn(u32) -> Option<R>) -> Option<(Entry, R)> {
        let home = Bucket::home(hash, self.mask);
        let bucket = self.at(home);
        let matches = lanes::with_tag_at_home(bucket, hash);
        if matches == 0 { None } else { Self::check_first(matches, home, bucket, check) }
    }

    /// The first entry with this hash of whose slot `check` makes something, and what that is.
    #[inline]
    pub fn find<R>(&self, hash: u64, check: impl Fn(u32) -> Option<R>) -> Option<(Entry, R)> {
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
            if bucket.passed == 0 || at == Bucket::home(hash, self.mask) {
                return None;
            }
        }
    }

    /// The first of the matches, if `check` makes something of its slot. There is one.
    #[inline]
    fn check_first<R>(matches: u32, at: u64, bucket: &Bucket, check: impl Fn(u32) -> Option<R>) -> Option<(Entry, R)> {
        let number = matches.trailing_zeros() as usize;
        // SAFETY: a match is a bit for an entry.
        let slot = unsafe { *bucket.slots.get_unchecked(number) };
        check(slot).map(|made| (Entry { at, number, slot }, made))
    }

    /// The entry of a slot with this hash.
    #[inline]
    pub fn find_slot(&self, hash: u64, slot: u32) -> Option<Entry> {
        self.find(hash, |found| (found == slot).then_some(())).map(|(entry, ())| entry)
    }

    /// Puts an entry into the first bucket with room, from its home on.
    ///
    /// # Panics
    /// If the page is full.
    #[inline]
    pub fn place(&mut self, hash: u64, slot: u32) {
        let mut at = Bucket::home(hash, self.mask);
        loop {
            let bucket = self.at_mut(at);
            let free = lanes::with_tag(bucket, 0);
            if free != 0 {
                let (number, tag) = (free.trailing_zeros() as usize, Bucket::tag(hash));
                // SAFETY: there are bits for the entries of the bucket only.
                unsafe {
                    (*bucket.tags.get_unchecked_mut(number), *bucket.slots.get_unchecked_mut(number)) = (tag, slot)
                };
                break;
            }
            // Each of the page's rows passes a bucket once at most, and there are fewer than this can count.
            bucket.passed += 1;
            at = Bucket::next(at, self.mask);
            assert!(at != Bucket::home(hash, self.mask), "the page of an index has room");
        }
        self.at_mut(0).page_rows += 1;
    }

    /// Takes an entry out, which `find` has just given for this hash.
    #[inline]
    pub fn take(&mut self, hash: u64, entry: Entry) {
        // SAFETY: `find` gives the number of an entry.
        unsafe { *self.at_mut(entry.at).tags.get_unchecked_mut(entry.number) = 0 };
        let mut at = Bucket::home(hash, self.mask);
        while at != entry.at {
            self.at_mut(at).passed -= 1;
            at = Bucket::next(at, self.mask);
        }
        self.at_mut(0).page_rows -= 1;
    }

    /// All of the page, in memory order.
    pub fn iter(&self) -> impl Iterator<Item = &Bucket> {
        (0..=self.mask).step_by(size_of::<Bucket>()).map(|at| self.at(at))
    }

    /// The slots of all entries, in memory order.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.iter().flat_map(|bucket| {
            let used = bucket.tags.iter().zip(bucket.slots).filter(|(tag, _)| **tag != 0);
            used.map(|(_, slot)| slot)
        })
    }
}
