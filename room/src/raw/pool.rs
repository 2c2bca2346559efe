//! The memory of pages: blocks of few sizes, recycled, because touching fresh memory costs ten times a copy.

use crate::limits::ROW_BYTES_MAX;
use parking_lot::Mutex;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fmt, ptr::NonNull};

pub use logic_api::abi::PAGE_BYTES;

const BLOCK_BYTES_MIN: usize = 1 << 10;
/// Sizes double from the smallest block to a page.
pub(crate) const CLASS_MAX: u8 = 6;
/// Above a page they grow by eighths of the last power of two: for rows that a schema change has made longer, whose pages keep
/// their number of slots. The largest is a page of the shortest rows that have become the longest.
const GROWN_CLASS_MAX: u8 = CLASS_MAX + 8 * 12;
/// What is asked of the system at a time: one huge page, so that a world of a million rows costs few faults and TLB entries.
const CHUNK_BYTES: usize = 2 << 20;

const _: () = assert!(BLOCK_BYTES_MIN << CLASS_MAX == PAGE_BYTES);
const _: () = assert!(CHUNK_BYTES.is_multiple_of(PAGE_BYTES));
const _: () = assert!(block_bytes(GROWN_CLASS_MAX) >= PAGE_BYTES / size_of::<u32>() * ROW_BYTES_MAX);

pub(crate) const fn block_bytes(class: u8) -> usize {
    if class <= CLASS_MAX {
        return BLOCK_BYTES_MIN << class;
    }
    let eighths = (class - CLASS_MAX - 1) as usize;
    (PAGE_BYTES << (eighths / 8)) / 8 * (9 + eighths % 8)
}

/// The smallest blocks that hold this many bytes.
///
/// # Panics
/// If none does: more than a page of the longest rows.
pub(crate) fn class_for(bytes: usize) -> u8 {
    (0..=GROWN_CLASS_MAX).find(|class| block_bytes(*class) >= bytes).expect("a page is smaller than the largest block")
}

/// A source of blocks, shared by the worlds that are made with it: those of a room thread, say. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    /// Free blocks by class. One lock each: forks are dropped on other threads than those that write.
    free: [Mutex<Vec<Free>>; GROWN_CLASS_MAX as usize + 1],
    chunks: Mutex<Vec<Free>>,
    /// Chunks of which every block has come back and was of one size: for blocks of another.
    spare: Mutex<Vec<Free>>,
    /// Free blocks of the sizes that are cut from chunks, in bytes: whether it is worth to look for whole chunks among them.
    free_bytes: AtomicUsize,
    /// Taken from the system, whether in use or free.
    held_bytes: AtomicUsize,
    /// Blocks in use, in bytes.
    used_bytes: AtomicUsize,
}

/// Memory that nobody else refers to.
struct Free(NonNull<u8>);

// SAFETY: whoever holds it holds the only pointer to it.
unsafe impl Send for Free {}

impl Default for Pool {
    fn default() -> Self {
        Self(Arc::new(Shared {
            free: [const { Mutex::new(Vec::new()) }; GROWN_CLASS_MAX as usize + 1],
            chunks: Mutex::default(),
            spare: Mutex::default(),
            free_bytes: AtomicUsize::new(0),
            held_bytes: AtomicUsize::new(0),
            used_bytes: AtomicUsize::new(0),
        }))
    }
}

impl Pool {
    pub fn new() -> Self {
        Self::default()
    }

    /// A block with arbitrary content.
    pub(crate) fn take(&self, class: u8) -> Block {
        let start = self.0.take(class);
        self.0.used_bytes.fetch_add(block_bytes(class), Ordering::Relaxed);
        Block { start, class, pool: self.clone() }
    }

    /// Gets that many free pages ready, faulted in, so that the next writes after a fork need not wait for the system.
    pub fn reserve(&self, pages: usize) {
        self.reserve_blocks(CLASS_MAX, pages);
    }

    /// As `reserve`, for blocks of a page or more. The largest, which are kept nowhere, are left out.
    pub(crate) fn reserve_blocks(&self, class: u8, blocks: usize) {
        let bytes = block_bytes(class);
        if class < CLASS_MAX || bytes > CHUNK_BYTES {
            return;
        }
        let free = &self.0.free[class as usize];
        while free.lock().len() < blocks {
            let chunk = self.0.chunk(class);
            // SAFETY: just taken, nobody else refers to it.
            let cut = unsafe { cut(chunk, CHUNK_BYTES, bytes) };
            self.0.free_bytes.fetch_add(CHUNK_BYTES / bytes * bytes, Ordering::Relaxed);
            free.lock().extend(cut.skip(1).chain([Free(chunk)]));
        }
    }

    /// Bytes in pages that worlds and forks use.
    pub fn used_bytes(&self) -> usize {
        self.0.used_bytes.load(Ordering::Relaxed)
    }

    /// Bytes taken from the system, whether in use or free.
    pub fn held_bytes(&self) -> usize {
        self.0.held_bytes.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn take(&self, class: u8) -> NonNull<u8> {
        let free = || &self.free[class as usize];
        let size = block_bytes(class);
        if let Some(Free(start)) = free().lock().pop() {
            if class >= CLASS_MAX {
                self.free_bytes.fetch_sub(size, Ordering::Relaxed);
            }
            return start;
        }
        // Not under the lock: the system takes its time, and other rooms have blocks to give back meanwhile.
        let (source, bytes) = if size > CHUNK_BYTES {
            return self.huge(size);
        } else if class >= CLASS_MAX {
            self.free_bytes.fetch_add((CHUNK_BYTES / size - 1) * size, Ordering::Relaxed);
            (self.chunk(class), CHUNK_BYTES)
        } else {
            // A page is cut into blocks of a smaller class for good: small tables are many or none.
            (self.take(CLASS_MAX), PAGE_BYTES)
        };
        // SAFETY: just taken, nobody else refers to it.
        let blocks = unsafe { cut(source, bytes, size) };
        free().lock().extend(blocks.skip(1));
        source
    }

    fn give_back(&self, start: NonNull<u8>, class: u8) {
        let size = block_bytes(class);
        if size > CHUNK_BYTES {
            self.held_bytes.fetch_sub(size, Ordering::Relaxed);
            // SAFETY: allocated by `huge` with this layout, and nobody refers to it any more.
            unsafe { dealloc(start.as_ptr(), huge_layout(size)) };
            return;
        }
        if class >= CLASS_MAX {
            self.free_bytes.fetch_add(size, Ordering::Relaxed);
        }
        self.free[class as usize].lock().push(Free(start));
    }

    /// A block of its own from the system, touched.
    fn huge(&self, size: usize) -> NonNull<u8> {
        let layout = huge_layout(size);
        // SAFETY: the layout has a size.
        let block = unsafe { alloc(layout) };
        let Some(block) = NonNull::new(block) else { handle_alloc_error(layout) };
        // SAFETY: ours, and of that size.
        unsafe { block.write_bytes(0, size) };
        self.held_bytes.fetch_add(size, Ordering::Relaxed);
        block
    }

    /// A chunk whose blocks are all free, taken out of the list of their size: after a schema change there are many of the old
    /// size, and none of the new. Not out of those of the size that is wanted, or who reserves would never be done.
    fn reclaim(&self, wanted: u8) -> Option<NonNull<u8>> {
        if let Some(Free(chunk)) = self.spare.lock().pop() {
            return Some(chunk);
        }
        if self.free_bytes.load(Ordering::Relaxed) < CHUNK_BYTES {
            return None;
        }
        let is_cut = |class: &u8| block_bytes(*class) <= CHUNK_BYTES;
        for class in (CLASS_MAX..=GROWN_CLASS_MAX).take_while(is_cut).filter(|class| *class != wanted) {
            let (size, whole) = (block_bytes(class), CHUNK_BYTES / block_bytes(class));
            let mut free = self.free[class as usize].lock();
            if free.len() < whole {
                continue;
            }
            let chunk_of = |block: &Free| block.0.addr().get() & !(CHUNK_BYTES - 1);
            free.sort_unstable_by_key(|block| std::cmp::Reverse(block.0.addr()));
            let blocks = std::mem::take(&mut *free);
            let mut spare = self.spare.lock();
            for chunk in blocks.chunk_by(|one, two| chunk_of(one) == chunk_of(two)) {
                match chunk {
                    [.., Free(first)] if chunk.len() == whole => {
                        self.free_bytes.fetch_sub(whole * size, Ordering::Relaxed);
                        spare.push(Free(*first));
                    }
                    some => free.extend(some.iter().map(|block| Free(block.0))),
                }
            }
        }
        self.spare.lock().pop().map(|Free(chunk)| chunk)
    }

    /// A chunk for blocks of this class: one that is free again, or one from the system, every page of it touched.
    fn chunk(&self, class: u8) -> NonNull<u8> {
        if let Some(chunk) = self.reclaim(class) {
            return chunk;
        }
        let layout = chunk_layout();
        // SAFETY: the layout has a size.
        let chunk = unsafe { alloc(layout) };
        let Some(chunk) = NonNull::new(chunk) else { handle_alloc_error(layout) };
        advise_huge(chunk);
        // SAFETY: ours, and of that size. This is what faults the memory in.
        unsafe { chunk.write_bytes(0, CHUNK_BYTES) };
        self.chunks.lock().push(Free(chunk));
        self.held_bytes.fetch_add(CHUNK_BYTES, Ordering::Relaxed);
        chunk
    }
}

/// The blocks of a stretch of memory: the first, then the others from the last on, so that taking from the end goes upwards.
///
/// # Safety
/// The stretch is one allocation, to which nobody else refers.
unsafe fn cut(start: NonNull<u8>, bytes: usize, block: usize) -> impl Iterator<Item = Free> {
    let count = bytes / block;
    let offsets = std::iter::once(0).chain((1..count).rev().map(move |number| number * block));
    // SAFETY: within the stretch, which is ours by the caller's promise.
    offsets.map(move |offset| Free(unsafe { start.add(offset) }))
}

/// Asks for one huge page. A kernel that has none gives small ones, which only costs time.
fn advise_huge(chunk: NonNull<u8>) {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use rustix::mm::{Advice, madvise};
        // SAFETY: the range is ours; the advice does not change its content.
        let _unsupported = unsafe { madvise(chunk.as_ptr().cast(), CHUNK_BYTES, Advice::LinuxHugepage) };
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = chunk;
}

fn chunk_layout() -> Layout {
    Layout::from_size_align(CHUNK_BYTES, CHUNK_BYTES).expect("a power of two")
}

fn huge_layout(size: usize) -> Layout {
    Layout::from_size_align(size, PAGE_BYTES).expect("a power of two")
}

impl Drop for Shared {
    fn drop(&mut self) {
        for Free(chunk) in self.chunks.get_mut().drain(..) {
            // SAFETY: allocated with this layout; every block holds a `Pool`, so none is left.
            unsafe { dealloc(chunk.as_ptr(), chunk_layout()) };
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("used_bytes", &self.used_bytes()).field("held_bytes", &self.held_bytes()).finish()
    }
}

/// A block of the pool, which goes back when dropped. Forks share it through an `Arc`.
pub(crate) struct Block {
    start: NonNull<u8>,
    class: u8,
    pool: Pool,
}

// SAFETY: a block is plain memory. Its owner, one world at a time or shared and then unwritten, guards access.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub(crate) fn class(&self) -> u8 {
        self.class
    }

    pub(crate) fn bytes(&self) -> usize {
        block_bytes(self.class)
    }

    /// Its first bytes, to write to: who has the block alone.
    pub(crate) fn bytes_mut(&mut self, len: usize) -> &mut [u8] {
        assert!(len <= self.bytes());
        // SAFETY: the block is that long, initialised when its memory was taken from the system, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start(), len) }
    }

    /// Its first bytes.
    pub(crate) fn slice(&self, len: usize) -> &[u8] {
        assert!(len <= self.bytes());
        // SAFETY: as in `bytes_mut`; a block that is shared is not written.
        unsafe { std::slice::from_raw_parts(self.start(), len) }
    }

    /// A copy in a block of the same size.
    pub(crate) fn duplicate(&self) -> Self {
        let copy = self.pool.take(self.class);
        // SAFETY: two blocks of the same size, which are different ones.
        unsafe { copy.start.copy_from_nonoverlapping(self.start, self.bytes()) };
        copy
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let shared = &self.pool.0;
        shared.used_bytes.fetch_sub(self.bytes(), Ordering::Relaxed);
        shared.give_back(self.start, self.class);
    }
}

/// Has the processor fetch the counters of blocks that are about to be shared, many at a time: counting up waits for each in turn.
pub(crate) fn fetch_counters<'a>(blocks: impl Iterator<Item = &'a Arc<Block>>) {
    std::hint::black_box(blocks.map(Arc::strong_count).fold(0, usize::wrapping_add));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_recycled_and_counted() {
        let pool = Pool::new();
        let page = pool.take(CLASS_MAX);
        let small = pool.take(0);
        assert_eq!(pool.used_bytes(), PAGE_BYTES + BLOCK_BYTES_MIN);
        let start = page.start();
        drop(page);
        assert_eq!(pool.take(CLASS_MAX).start(), start);
        drop(small);
        assert_eq!(pool.used_bytes(), 0);
        assert_eq!(pool.held_bytes(), CHUNK_BYTES);
    }

    #[test]
    fn sizes_above_a_page_grow_by_an_eighth_at_most() {
        for class in CLASS_MAX..GROWN_CLASS_MAX {
            let (size, next) = (block_bytes(class), block_bytes(class + 1));
            assert!(size < next && (next - size) * 8 <= size, "{class}: {size}, {next}");
            assert!((class_for(size), class_for(size + 1)) == (class, class + 1) && size.is_multiple_of(8 << 10));
        }
        assert_eq!(block_bytes(GROWN_CLASS_MAX), 256 << 20);
    }

    #[test]
    fn chunks_of_one_size_become_those_of_another() {
        let pool = Pool::new();
        let blocks = |class| (0..60).map(|_| pool.take(class)).collect::<Vec<Block>>();
        drop(blocks(CLASS_MAX));
        assert_eq!(pool.held_bytes(), 2 * CHUNK_BYTES);
        let grown = blocks(CLASS_MAX + 1);
        let mut starts: Vec<_> = grown.iter().map(|block| block.start().addr()).collect();
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= block_bytes(CLASS_MAX + 1)));
        assert_eq!(pool.held_bytes(), 3 * CHUNK_BYTES);
        drop(grown);
        drop(blocks(CLASS_MAX));
        assert_eq!((pool.held_bytes(), pool.used_bytes()), (3 * CHUNK_BYTES, 0));
    }

    #[test]
    fn a_block_above_a_chunk_goes_back_to_the_system() {
        let pool = Pool::new();
        let huge = pool.take(class_for(CHUNK_BYTES + 1));
        assert_eq!(pool.held_bytes(), huge.bytes());
        drop(huge);
        assert_eq!(pool.held_bytes(), 0);
    }

    #[test]
    fn a_reserve_is_there_before_it_is_asked_for() {
        let pool = Pool::new();
        pool.reserve(CHUNK_BYTES / PAGE_BYTES + 1);
        assert_eq!(pool.held_bytes(), 2 * CHUNK_BYTES);
        let _pages: Vec<Block> = (0..2 * CHUNK_BYTES / PAGE_BYTES).map(|_| pool.take(CLASS_MAX)).collect();
        assert_eq!(pool.held_bytes(), 2 * CHUNK_BYTES);
    }
}
