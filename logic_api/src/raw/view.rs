//! A table's pages, read and written in place.

use super::CallRef;
use super::{Buckets, Entry};
use crate::abi::{Bucket, Call, Hash, Host, Slot, TableView, hash_key, insert};
use crate::{Id, Key, Row, UniqueColumn};
use std::{fmt, marker::PhantomData, ptr::NonNull, slice};

/// A table of the world for the length of a callback. All structure (who is live, where) is the engine's memory; this works on
/// it in place, and asks the host only to make a page writable and to make room.
pub(crate) struct View<T> {
    table: *mut TableView,
    call: *const Call,
    rows: PhantomData<T>,
}

/// What a search has found.
pub(super) struct Found<T> {
    pub(super) row: NonNull<T>,
    pub(super) entry: Entry,
    pub(super) hash: Hash,
}

impl<T: Row> View<T> {
    /// # Safety
    /// Table `number` of the call has rows of type `T`, and the view is dropped before the callback returns.
    #[inline]
    pub(crate) unsafe fn new(call: CallRef<'_>, number: u32) -> Self {
        const { assert!(size_of::<T>() > 0, "a row needs a field") };
        let fields = call.fields();
        assert!(number < fields.table_count, "the engine gave too few tables");
        // SAFETY: there are `table_count` tables.
        let table = unsafe { *fields.tables.add(number as usize) };
        // SAFETY: `table` is valid.
        let row_size = unsafe { (*table).row_size };
        assert!(row_size as usize == size_of::<T>(), "the engine's table has rows of another size");
        Self { table, call: fields, rows: PhantomData }
    }

    #[inline]
    pub(super) fn table(&self) -> &TableView {
        // SAFETY: valid by `new`. It is changed only in calls that take `&mut self`, when no such reference lives.
        unsafe { &*self.table }
    }

    #[inline]
    pub(super) fn table_mut(&mut self) -> &mut TableView {
        // SAFETY: valid by `new`, and this view is the only one of the table.
        unsafe { &mut *self.table }
    }

    /// The host, and what to give it first.
    #[inline]
    pub(super) fn host(&self) -> (&Host, *mut ()) {
        // SAFETY: both valid by `new`.
        unsafe { (&*(*self.call).host, (*self.call).context) }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.table().rows as usize
    }

    /// The page and the index in it, if `id` names a live row.
    #[inline]
    pub(super) fn locate(&self, id: Id<T>) -> Option<(usize, usize)> {
        let &TableView { generations, page_count, slots_per_page, .. } = self.table();
        // Each of these is a jump that is hardly ever taken. The compiler would work all of them out and join the answers: what it
        // knows nothing of it leaves in its place.
        let (page, index) = ((id.slot() >> 16) as usize, (id.slot() & 0xFFFF) as usize);
        if page >= page_count as usize {
            return None;
        }
        let index = forgotten(index);
        if index >= slots_per_page as usize {
            return None;
        }
        if forgotten(id.generation() as usize) & 1 == 0 {
            return None;
        }
        // SAFETY: page and index are in range.
        let generation = unsafe { generation(generations, page, index) };
        (generation == id.generation()).then_some((page, index))
    }

    /// # Safety
    /// `base` is where the rows of a page of this table start, `index` below its number of slots.
    #[inline]
    pub(super) unsafe fn row_in(&self, base: *mut u8, index: usize) -> NonNull<T> {
        // SAFETY: the page has that row, and the engine aligns the first one to a cache line.
        unsafe { NonNull::new_unchecked(base.cast::<T>().add(index)) }
    }

    #[inline]
    pub(crate) fn get(&self, id: Id<T>) -> Option<&T> {
        let pages = self.table().pages;
        let (page, index) = self.locate(id)?;
        // SAFETY: a live row, initialised by `insert`; nobody writes while `self` is borrowed.
        Some(unsafe { self.row_in(*pages.add(page), index).as_ref() })
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id<T>) -> Option<Writing<'_, T>> {
        let (page, index) = self.locate(id)?;
        // SAFETY: `locate` found the page.
        let base = unsafe { self.writable(page) };
        // SAFETY: a live row in a writable page; `self` is borrowed mutably for as long as the row is.
        Some(unsafe { Writing::new(self, base, page, self.row_in(base, index)) })
    }

    /// Where the rows of a page start that may be written.
    ///
    /// # Safety
    /// `page` is below the table's number of pages.
    #[inline]
    unsafe fn writable(&self, page: usize) -> *mut u8 {
        // SAFETY: in range by the caller's promise.
        let base = unsafe { *self.table().writable.add(page) };
        if base.is_null() { self.unshare(page) } else { base }
    }

    #[cold]
    fn unshare(&self, page: usize) -> *mut u8 {
        let ((host, context), table) = (self.host(), self.table().number);
        let page = u32::try_from(page).expect("page numbers fit 16 bits");
        // SAFETY: the host of the callback under way.
        let base = unsafe { (host.unshare)(context, table, page) };
        assert!(!base.is_null(), "a query cannot change the world");
        base
    }

    /// The live row whose indexed column has this value. Nearly always it is the first match of the bucket that the search starts
    /// with. Anything else starts anew: what it needs would take registers from there, and each instruction there counts (`Bucket`).
    #[inline(always)]
    pub(super) fn search<K: Key>(&self, column: UniqueColumn<T, K>, value: &K) -> Option<Found<T>> {
        let pages = self.table().pages;
        let (buckets, hash) = self.buckets_for(column, value);
        let (bucket, matches) = buckets.at_home(hash);
        // Only jumps straight to there make the compiler take what is behind `seldom` out of the way.
        if matches != 0 {
            let (number, slot) = Buckets::first(bucket, matches);
            // SAFETY: an index holds the slots of live rows only.
            let row = unsafe { row_of::<T>(pages, slot) };
            // SAFETY: the derive takes the offset of the column from the row's layout.
            if unsafe { row.byte_add(column.offset).cast::<K>().as_ref() } == value {
                return Some(Found { row, entry: buckets.entry_at_home(hash, number, slot), hash });
            }
        }
        seldom();
        // Copies, of which only this part needs the places.
        let (value, column, pages) = (forgotten(*value), column, pages);
        let (buckets, hash) = self.buckets_for(column, &value);
        // SAFETY: as above.
        let (entry, row) = buckets.find(hash, move |slot| unsafe { row_with(pages, slot, column, &value) })?;
        Some(Found { row, entry, hash })
    }

    /// The page of an index that a value belongs to, to read, and the value's hash.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "offsets into memory, as wide as its addresses")]
    fn buckets_for<K: Key>(&self, column: UniqueColumn<T, K>, value: &K) -> (Buckets, Hash) {
        // SAFETY: a key has no padding, so each of its bytes is initialised.
        let bytes = unsafe { slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<K>()) };
        // SAFETY: the derive numbers the indexes as the engine does; both count the schema's indexed columns.
        let index = unsafe { &*self.table().indexes.add(column.index as usize) };
        let hash = hash_key(index.multiplier, bytes);
        let entry = Bucket::directory_entry(hash, index.directory_shift);
        // SAFETY: the directory has an entry for all bits that its shift leaves.
        let page = unsafe { *index.directory.add(entry as usize) };
        // SAFETY: the engine keeps pages of this size; nobody writes to one while `self` is borrowed.
        (unsafe { Buckets::new(page.cast_mut(), index.bucket_mask) }, hash)
    }

    #[inline]
    pub(crate) fn find<K: Key>(&self, column: UniqueColumn<T, K>, value: &K) -> Option<&T> {
        // SAFETY: a live row; nobody writes while `self` is borrowed.
        self.search(column, value).map(|found| unsafe { found.row.as_ref() })
    }

    #[inline]
    pub(crate) fn find_mut<K: Key>(&mut self, column: UniqueColumn<T, K>, value: &K) -> Option<Writing<'_, T>> {
        let slot = self.search(column, value)?.entry.slot;
        let (page, index) = (usize::from(slot.page), usize::from(slot.index));
        // SAFETY: the page of a live row.
        let base = unsafe { self.writable(page) };
        // SAFETY: a live row in a writable page; `self` is borrowed mutably for as long as the row is.
        Some(unsafe { Writing::new(self, base, page, self.row_in(base, index)) })
    }

    #[inline]
    pub(crate) fn id_of<K: Key>(&self, column: UniqueColumn<T, K>, value: &K) -> Option<Id<T>> {
        let slot = self.search(column, value)?.entry.slot;
        // SAFETY: the page and the index exist, since the row does.
        let generation =
            unsafe { generation(self.table().generations, usize::from(slot.page), usize::from(slot.index)) };
        Some(Id::new(slot.number(), generation))
    }

    #[inline]
    pub(crate) fn rows(&self) -> Rows<'_, T, false> {
        Rows::new(self)
    }

    #[inline]
    pub(crate) fn rows_mut(&mut self) -> Rows<'_, T, true> {
        Rows::new(self)
    }
}

impl<T> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

/// The live rows of a table in slot order, which is the same on every replay. Runs of live rows are walked as a slice would be.
pub(crate) struct Rows<'a, T, const WRITE: bool> {
    run: Run<T>,
    view: &'a View<T>,
}

/// Live rows that lie side by side, from `next` to before `end`.
struct Run<T> {
    next: *mut T,
    end: *mut T,
    /// Where the rows of their page start.
    base: *mut u8,
    page: usize,
    /// Slot of the page at which to look for the next run.
    index: usize,
}

impl<'a, T: Row, const WRITE: bool> Rows<'a, T, WRITE> {
    #[inline]
    fn new(view: &'a View<T>) -> Self {
        let none = NonNull::dangling().as_ptr();
        Self { run: Run { next: none, end: none, base: std::ptr::null_mut(), page: 0, index: 0 }, view }
    }

    /// The next run of live rows. By value: a loop over rows keeps its state in registers only if nobody takes its address.
    #[inline(never)]
    fn next_run(view: &View<T>, from_page: usize, from_index: usize) -> Option<Run<T>> {
        let table = view.table();
        let slots = table.slots_per_page as usize;
        let mut index = from_index;
        for page in from_page..table.page_count as usize {
            // SAFETY: the page is in range.
            let (mut base, rows) = unsafe { (*table.pages.add(page), *table.page_rows.add(page) as usize) };
            let (start, end) = if rows == slots {
                (index, slots)
            } else {
                let words = table.live_words as usize;
                // SAFETY: each page has that many words.
                let live = unsafe { slice::from_raw_parts(table.live.add(page * words), words) };
                let start = seek(live, index, slots, true);
                (start, seek(live, start, slots, false))
            };
            if start < slots {
                if WRITE {
                    // SAFETY: the page is in range.
                    base = unsafe { view.writable(page) };
                }
                // SAFETY: both are at most the number of slots.
                let (next, end_row) = unsafe {
                    let next = view.row_in(base, start).as_ptr();
                    (next, next.add(end - start))
                };
                return Some(Run { next, end: end_row, base, page, index: end });
            }
            index = 0;
        }
        None
    }

    #[inline]
    fn next_pointer(&mut self) -> Option<NonNull<T>> {
        if self.run.next == self.run.end {
            self.run = Self::next_run(self.view, self.run.page, self.run.index)?;
        }
        let row = self.run.next;
        // SAFETY: `next` is before `end`, both in one page.
        self.run.next = unsafe { row.add(1) };
        NonNull::new(row)
    }

    /// The id of a row that this has just given.
    #[inline]
    pub(crate) fn id_of(&self, row: NonNull<T>) -> Id<T> {
        id_in(self.view.table(), self.run.base, self.run.page, row)
    }
}

/// The first slot from `from` whose bit is `live`, or `slots`.
#[inline]
fn seek(words: &[u64], from: usize, slots: usize, live: bool) -> usize {
    let flip = if live { 0 } else { u64::MAX };
    let mut at = from;
    while at < slots {
        let word = (words[at / 64] ^ flip) >> (at % 64);
        if word != 0 {
            return (at + word.trailing_zeros() as usize).min(slots);
        }
        at = (at / 64 + 1) * 64;
    }
    slots
}

/// Tells the compiler that it hardly ever comes here, as `cold_path` does; but that says nothing in a function that is not inlined
/// early, and none is where builds are incremental, as those of plugins are.
#[cold]
#[inline(always)]
fn seldom() {
    std::hint::cold_path();
}

/// The value, of which the compiler does not know any more what it has computed from it, so that it keeps none of that.
#[inline]
fn forgotten<K: Copy>(value: K) -> K {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if size_of::<K>() == size_of::<u64>() {
        // SAFETY: of the same size, and each byte of a key is initialised.
        let mut number: u64 = unsafe { std::mem::transmute_copy(&value) };
        // SAFETY: no instruction at all.
        unsafe { std::arch::asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
        // SAFETY: as above, and the bytes are those of the value.
        return unsafe { std::mem::transmute_copy(&number) };
    }
    value
}

/// A row, `pages` being where the pages of its table start.
///
/// # Safety
/// `slot` is that of a row of the table.
#[inline]
pub(super) unsafe fn row_of<T>(pages: *const *mut u8, slot: Slot) -> NonNull<T> {
    let (page, index) = (usize::from(slot.page), usize::from(slot.index));
    // SAFETY: the page and the index exist, since the row does; the engine aligns a page's first row to a cache line.
    unsafe { NonNull::new_unchecked((*pages.add(page)).byte_add(index * size_of::<T>()).cast::<T>()) }
}

/// The row in a slot, if its column has this value.
///
/// # Safety
/// As for [`row_of`].
#[inline]
unsafe fn row_with<T, K: Key>(
    pages: *const *mut u8,
    slot: Slot,
    column: UniqueColumn<T, K>,
    value: &K,
) -> Option<NonNull<T>> {
    // SAFETY: the caller's promise.
    let row = unsafe { row_of::<T>(pages, slot) };
    // SAFETY: the derive takes the offset of the column from the row's layout.
    let found = unsafe { row.byte_add(column.offset).cast::<K>().as_ref() };
    (found == value).then_some(row)
}

/// The generation of a slot.
///
/// # Safety
/// `generations` are a table's, `page` is below the table's number of pages, `index` below its number of slots.
#[inline]
unsafe fn generation(generations: *const *const u32, page: usize, index: usize) -> u32 {
    // SAFETY: a page has a generation for each slot.
    unsafe { *(*generations.add(page)).add(index) }
}

/// The id of a live row in the page whose rows start at `base`.
#[inline]
fn id_in<T>(table: &TableView, base: *mut u8, page: usize, row: NonNull<T>) -> Id<T> {
    let index = (row.as_ptr().addr() - base.addr()) / size_of::<T>();
    // SAFETY: the row lies in that page, so its index has a generation.
    let generation = unsafe { generation(table.generations, page, index) };
    let slot = u32::try_from(page << 16 | index).expect("page and index fit 16 bits each");
    Id::new(slot, generation)
}

impl<'a, T: Row> Iterator for Rows<'a, T, false> {
    type Item = (NonNull<T>, &'a T);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: a live row; nobody writes while the view is borrowed.
        self.next_pointer().map(|row| (row, unsafe { row.as_ref() }))
    }
}

impl<'a, T: Row> Iterator for Rows<'a, T, true> {
    type Item = Writing<'a, T>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let row = self.next_pointer()?;
        // SAFETY: a live row in a writable page, given once; the view is borrowed mutably for `'a` (`rows_mut`).
        Some(unsafe { Writing::new(self.view, self.run.base, self.run.page, row) })
    }
}

impl<T, const WRITE: bool> fmt::Debug for Rows<'_, T, WRITE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("page", &self.run.page).finish_non_exhaustive()
    }
}

/// A row being written. When it goes, changed keys are told to the index.
pub(crate) struct Writing<'a, T: Row> {
    row: NonNull<T>,
    before: T::Keys,
    view: &'a View<T>,
    base: *mut u8,
    page: usize,
}

impl<'a, T: Row> Writing<'a, T> {
    /// # Safety
    /// `row` is live and in the writable page number `page`, whose rows start at `base`, and nothing else refers to it for `'a`.
    #[inline]
    unsafe fn new(view: &'a View<T>, base: *mut u8, page: usize, row: NonNull<T>) -> Self {
        // SAFETY: a live row.
        let before = unsafe { row.as_ref() }.keys();
        Self { row, before, view, base, page }
    }

    #[inline]
    pub(crate) fn id(&self) -> Id<T> {
        id_in(self.view.table(), self.base, self.page, self.row)
    }

    #[inline]
    pub(crate) fn get(&self) -> &T {
        // SAFETY: by `new`, ours alone.
        unsafe { self.row.as_ref() }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        // SAFETY: by `new`, ours alone.
        unsafe { self.row.as_mut() }
    }

    /// The row for as long as the view is borrowed. For rows without indexed columns, whose drop does nothing.
    #[inline]
    pub(crate) fn into_row(self) -> &'a mut T {
        const { assert!(!T::INDEXED) };
        let mut row = self.row;
        // SAFETY: by `new`, ours alone for `'a`.
        unsafe { row.as_mut() }
    }
}

/// Tells the index that a row's keys are no longer those in `before`. Everything by value: a loop over rows keeps the guard in
/// registers, and drops the comparison where no key is written, only if nobody takes the guard's address.
#[cold]
#[inline(never)]
fn rekey<T: Row>(view: &View<T>, base: *mut u8, page: usize, row: NonNull<T>, before: T::Keys) {
    let slot = id_in(view.table(), base, page, row).slot();
    let ((host, context), number) = (view.host(), view.table().number);
    // SAFETY: the row of a `Writing`, whose drop this is.
    let row = unsafe { row.as_ref() };
    row.changed_keys(&before, &mut |index, old| {
        // SAFETY: the host of the callback under way; `old` points to a value of the column's type.
        let status = unsafe { (host.rekey)(context, number, slot, index, old) };
        // A logic that catches the panic which takes this row must find the index up to date; a second panic would be the end.
        let goes_on = status == insert::DONE || std::thread::panicking();
        assert!(goes_on, "{}: another row has this value of the unique column number {index}", T::NAME);
    });
}

impl<T: Row> Drop for Writing<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if T::INDEXED && self.get().keys() != self.before {
            rekey(self.view, self.base, self.page, self.row, self.before);
        }
    }
}
