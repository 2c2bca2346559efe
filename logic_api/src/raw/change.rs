//! How rows come and go. The plugin does it all in place as long as what it writes to is writable and has room, and asks the
//! host else: what a host call and its checks cost is several times what the work itself does.

use super::view::{View, row_of};
use super::{Buckets, Entry};
use crate::abi::{Bucket, Hash, INDEXES_PER_TABLE_MAX, IndexView, hash_key, insert};
use crate::{Id, Key, Row, UniqueColumn};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::{ptr, slice};

/// Why a row was not inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InsertError {
    Full,
    ReadOnly,
    Duplicate { index: u32 },
}

/// One of each index of a table, of which the first `T::INDEXED_COLUMNS.len()` are initialised.
type ForIndexes<I> = [MaybeUninit<I>; INDEXES_PER_TABLE_MAX];

/// A free slot, and all else that a new row writes to. Nothing has happened to the table since.
struct Room<T> {
    slot: Slot<T>,
    entries: ForIndexes<(Buckets, Hash)>,
}

/// A row that is about to go, and all that this writes to. Nothing has happened to the table since.
struct Leaving<T> {
    slot: Slot<T>,
    entries: ForIndexes<(Buckets, Hash, Entry)>,
}

/// A slot whose row and generation may be written.
struct Slot<T> {
    page: usize,
    index: usize,
    row: *mut T,
    generation: *mut u32,
}

impl<T: Row> View<T> {
    #[inline]
    pub(crate) fn insert(&mut self, row: T) -> Result<Id<T>, (InsertError, T)> {
        match self.room_for(&row) {
            Some(room) => Ok(self.put(&room, row)),
            None => {
                // A copy: the row itself stays in registers as long as nobody is told where it is.
                let row = ManuallyDrop::new(row);
                // SAFETY: the row is moved.
                self.insert_with_host(unsafe { ptr::read(&raw const *row) })
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn insert_with_host(&mut self, row: T) -> Result<Id<T>, (InsertError, T)> {
        let ((host, context), number) = (self.host(), self.table().number);
        // SAFETY: the host of the callback under way; it reads the indexed columns of the row.
        let error = match unsafe { (host.make_room)(context, number, (&raw const row).cast()) } {
            insert::DONE => {
                let room = self.room_for(&row).expect("the engine has made room for the row");
                return Ok(self.put(&room, row));
            }
            insert::FULL => InsertError::Full,
            insert::READ_ONLY => InsertError::ReadOnly,
            duplicate => InsertError::Duplicate { index: duplicate - insert::DUPLICATE },
        };
        Err((error, row))
    }

    /// Where the row goes; none where the host has to do something first, or to say what is wrong.
    #[inline]
    fn room_for(&self, row: &T) -> Option<Room<T>> {
        let mut entries: ForIndexes<(Buckets, Hash)> = [const { MaybeUninit::uninit() }; INDEXES_PER_TABLE_MAX];
        for (number, entry) in entries.iter_mut().enumerate().take(T::INDEXED_COLUMNS.len()) {
            let (view, hash) = self.index_and_hash(number, row, None);
            let buckets = writable_buckets(view, hash)?;
            if self.is_taken(row, number, hash, &buckets) || buckets.rows() >= view.page_rows_max {
                return None;
            }
            entry.write((buckets, hash));
        }
        Some(Room { slot: self.free_slot()?, entries })
    }

    /// True if a row of the table has the same value in an indexed column.
    #[inline]
    fn is_taken(&self, row: &T, number: usize, hash: Hash, buckets: &Buckets) -> bool {
        let pages = self.table().pages;
        let value = column(row, number);
        let is_same = |slot| {
            // SAFETY: an index holds the slots of live rows only.
            let row = unsafe { row_of::<T>(pages, slot).as_ref() };
            are_equal(column(row, number), value).then_some(())
        };
        buckets.find(hash, is_same).is_some()
    }

    /// An index, and the hash of the row's column, if that is not known already.
    #[inline]
    fn index_and_hash(&self, number: usize, row: &T, hash: Option<Hash>) -> (&IndexView, Hash) {
        const { assert!(T::INDEXED_COLUMNS.len() <= INDEXES_PER_TABLE_MAX, "a row has too many unique columns") };
        // SAFETY: the derive numbers the indexes as the engine does; both count the schema's indexed columns.
        let view = unsafe { &*self.table().indexes.add(number) };
        (view, hash.unwrap_or_else(|| hash_key(view.multiplier, column(row, number))))
    }

    /// The lowest free slot of the first page that has one.
    #[inline]
    fn free_slot(&self) -> Option<Slot<T>> {
        let table = self.table();
        // SAFETY: there are `free_groups_len` words in `free_groups`, and each of their bits stands for a word of `free` that is not 0.
        let page = unsafe {
            let groups = slice::from_raw_parts(table.free_groups, table.free_groups_len as usize);
            let group = groups.iter().position(|group| *group != 0)?;
            let word = group * 64 + groups[group].trailing_zeros() as usize;
            word * 64 + (*table.free.add(word)).trailing_zeros() as usize
        };
        // SAFETY: a page of the table, which has `live_words` words, and a free slot not before `page_free_from`.
        let index = unsafe {
            let live = table.live.add(page * table.live_words as usize);
            let mut word = *table.page_free_from.add(page) as usize / 64;
            while *live.add(word) == u64::MAX {
                word += 1;
            }
            word * 64 + (*live.add(word)).trailing_ones() as usize
        };
        // SAFETY: a slot of a page of the table.
        unsafe { self.writable_slot(page, index) }
    }

    /// The slot, if its row and its generation may be written.
    ///
    /// # Safety
    /// `page` and `index` name a slot of the table.
    #[inline]
    unsafe fn writable_slot(&self, page: usize, index: usize) -> Option<Slot<T>> {
        let table = self.table();
        // SAFETY: the page exists.
        let (rows, generations) = unsafe { (*table.writable.add(page), *table.writable_generations.add(page)) };
        if rows.is_null() || generations.is_null() {
            return None;
        }
        // SAFETY: the page has that slot.
        let (row, generation) = unsafe { (self.row_in(rows, index).as_ptr(), generations.add(index)) };
        Some(Slot { page, index, row, generation })
    }

    #[inline]
    fn put(&mut self, room: &Room<T>, row: T) -> Id<T> {
        let Slot { page, index, row: place, generation } = room.slot;
        let table = self.table_mut();
        // SAFETY: `room_for` has just found all of this to be in range, writable and free.
        let id = unsafe {
            *generation = (*generation).wrapping_add(1);
            let slot = slot_number(page, index);
            *table.live.add(page * table.live_words as usize + index / 64) |= 1 << (index % 64);
            let (page_rows, free_from) = (table.page_rows.add(page), table.page_free_from.add(page));
            *page_rows += 1;
            *free_from = slot_number(0, index) + 1;
            if *page_rows == table.slots_per_page {
                *free_from = table.slots_per_page;
                let (word, group) = (table.free.add(page / 64), table.free_groups.add(page / 4096));
                *word &= !(1 << (page % 64));
                *group &= !(u64::from(*word == 0) << (page / 64 % 64));
            }
            table.rows += 1;
            for entry in &room.entries[..T::INDEXED_COLUMNS.len()] {
                let (mut buckets, hash) = entry.assume_init();
                buckets.place(hash, slot);
            }
            Id::new(slot, *generation)
        };
        // SAFETY: as above; the slot has no row yet.
        unsafe { place.write(row) };
        id
    }

    #[inline]
    pub(crate) fn remove(&mut self, id: Id<T>) -> Option<T> {
        self.locate(id)?;
        self.remove_slot(id.slot(), None)
    }

    #[inline]
    pub(crate) fn remove_by<K: Key>(&mut self, column: UniqueColumn<T, K>, value: &K) -> Option<T> {
        let found = self.search(column, value)?;
        self.remove_slot(found.entry.slot.number(), Some((column.index, found.hash, found.entry)))
    }

    /// Takes the row of a slot out, which is live. `known` is an index, its hash for the row and its entry, if that was looked up.
    #[inline]
    fn remove_slot(&mut self, slot: u32, known: Option<(u32, Hash, Entry)>) -> Option<T> {
        let leaving = match self.leaving(slot, known) {
            Some(leaving) => leaving,
            None => self.leaving_with_host(slot)?,
        };
        Some(self.take(&leaving))
    }

    #[cold]
    #[inline(never)]
    fn leaving_with_host(&self, slot: u32) -> Option<Leaving<T>> {
        let ((host, context), number) = (self.host(), self.table().number);
        // SAFETY: the host of the callback under way, and the slot of a live row.
        let status = unsafe { (host.make_writable)(context, number, slot) };
        let leaving = || self.leaving(slot, None).expect("the engine has made the row's places writable");
        (status == insert::DONE).then(leaving)
    }

    /// What the row of a live slot takes along; none where the host has to do something first.
    #[inline]
    fn leaving(&self, slot: u32, known: Option<(u32, Hash, Entry)>) -> Option<Leaving<T>> {
        // SAFETY: the slot of a live row.
        let place = unsafe { self.writable_slot((slot >> 16) as usize, (slot & 0xFFFF) as usize)? };
        // SAFETY: as above.
        let row = unsafe { &*place.row };
        let mut entries: ForIndexes<(Buckets, Hash, Entry)> = [const { MaybeUninit::uninit() }; INDEXES_PER_TABLE_MAX];
        for (number, entry) in entries.iter_mut().enumerate().take(T::INDEXED_COLUMNS.len()) {
            let known = known.filter(|(index, ..)| *index as usize == number);
            let (view, hash) = self.index_and_hash(number, row, known.map(|(_, hash, _)| hash));
            let buckets = writable_buckets(view, hash)?;
            let found = match known {
                Some((_, _, entry)) => entry,
                None => buckets.find_slot(hash, slot)?,
            };
            entry.write((buckets, hash, found));
        }
        Some(Leaving { slot: place, entries })
    }

    #[inline]
    fn take(&mut self, leaving: &Leaving<T>) -> T {
        let Slot { page, index, row: place, generation } = leaving.slot;
        let table = self.table_mut();
        // SAFETY: `leaving` has just found all of this to be in range, writable and live; the row is read before its slot is given up.
        unsafe {
            let row = place.read();
            place.write_bytes(0, 1);
            *generation = (*generation).wrapping_add(1);
            *table.live.add(page * table.live_words as usize + index / 64) &= !(1 << (index % 64));
            let (page_rows, free_from) = (table.page_rows.add(page), table.page_free_from.add(page));
            *page_rows -= 1;
            *free_from = (*free_from).min(slot_number(0, index));
            *table.free.add(page / 64) |= 1 << (page % 64);
            *table.free_groups.add(page / 4096) |= 1 << (page / 64 % 64);
            table.rows -= 1;
            for entry in &leaving.entries[..T::INDEXED_COLUMNS.len()] {
                let (mut buckets, hash, entry) = entry.assume_init();
                buckets.take(hash, entry);
            }
            row
        }
    }
}

/// The page of an index that a hash belongs to, if it may be written.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the place in an array, as wide as the memory's addresses")]
fn writable_buckets(view: &IndexView, hash: Hash) -> Option<Buckets> {
    let entry = Bucket::directory_entry(hash, view.directory_shift);
    // SAFETY: the directory has an entry for all bits that its shift leaves.
    let page = unsafe { *view.writable.add(entry as usize) };
    // SAFETY: the engine keeps pages of this size, and those that may be written are this table's alone.
    (!page.is_null()).then(|| unsafe { Buckets::new(page, view.bucket_mask) })
}

/// Compares two values of a column. For lengths that the compiler knows it makes this a few loads; `==` would have it call a
/// function, for which it puts the row into memory.
#[inline]
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    let (words, rest) = one.as_chunks::<8>();
    let (other_words, other_rest) = other.as_chunks::<8>();
    let number = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    words.iter().zip(other_words).all(|(one, other)| number(one) == number(other))
        && rest.iter().zip(other_rest).all(|(one, other)| one == other)
}

/// The bytes of an indexed column.
#[inline]
fn column<T: Row>(row: &T, number: usize) -> &[u8] {
    let (offset, bytes) = T::INDEXED_COLUMNS[number];
    // SAFETY: the derive takes both from the row's layout, and a key has no padding.
    unsafe { slice::from_raw_parts(ptr::from_ref(row).cast::<u8>().add(offset), bytes) }
}

/// A slot by its page and its place there, which fit 16 bits each.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the engine has at most 2^16 pages, of at most 2^16 slots")]
fn slot_number(page: usize, index: usize) -> u32 {
    (page << 16 | index) as u32
}
