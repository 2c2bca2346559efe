//! The memory of pages: blocks of eight sizes, recycled, because touching fresh memory costs ten times a copy.

use parking_lot::Mutex;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fmt, ptr::NonNull};

pub use logic_api::abi::PAGE_BYTES;

const BLOCK_BYTES_MIN: usize = 1 << 10;
/// Sizes double from the smallest block to a page.
pub(crate) const CLASS_MAX: u8 = 6;
/// What is asked of the system at a time: one huge page, so that a world of a million rows costs few faults and TLB entries.
const CHUNK_BYTES: usize = 2 << 20;

const _: () = assert!(BLOCK_BYTES_MIN << CLASS_MAX == PAGE_BYTES);
const _: () = assert!(CHUNK_BYTES.is_multiple_of(PAGE_BYTES));

pub(crate) const fn block_bytes(class: u8) -> usize {
    BLOCK_BYTES_MIN << class
}

/// A source of blocks, shared by the worlds that are made with it: those of a room thread, say. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pool(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Free blocks by class. One lock each: forks are dropped on other threads than those that write.
    free: [Mutex<Vec<Free>>; CLASS_MAX as usize + 1],
    chunks: Mutex<Vec<Free>>,
    chunk_count: AtomicUsize,
    /// Blocks in use, in bytes.
    used_bytes: AtomicUsize,
}

/// Memory that nobody else refers to.
struct Free(NonNull<u8>);

// SAFETY: whoever holds it holds the only pointer to it.
unsafe impl Send for Free {}

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
        let free = &self.0.free[CLASS_MAX as usize];
        while free.lock().len() < pages {
            let chunk = self.0.chunk();
            // SAFETY: just taken, nobody else refers to it.
            let pages = unsafe { cut(chunk, CHUNK_BYTES, PAGE_BYTES) };
            free.lock().extend(pages.skip(1).chain([Free(chunk)]));
        }
    }

    /// Bytes in pages that worlds and forks use.
    pub fn used_bytes(&self) -> usize {
        self.0.used_bytes.load(Ordering::Relaxed)
    }

    /// Bytes taken from the system, whether in use or free.
    pub fn held_bytes(&self) -> usize {
        self.0.chunk_count.load(Ordering::Relaxed) * CHUNK_BYTES
    }
}

impl Shared {
    fn take(&self, class: u8) -> NonNull<u8> {
        let free = || &self.free[class as usize];
        if let Some(Free(start)) = free().lock().pop() {
            return start;
        }
        // Not under the lock: the system takes its time, and other rooms have blocks to give back meanwhile.
        let (source, bytes) = if class == CLASS_MAX {
            (self.chunk(), CHUNK_BYTES)
        } else {
            // A page is cut into blocks of a smaller class for good: small tables are many or none.
            (self.take(CLASS_MAX), PAGE_BYTES)
        };
        // SAFETY: just taken, nobody else refers to it.
        let blocks = unsafe { cut(source, bytes, block_bytes(class)) };
        free().lock().extend(blocks.skip(1));
        source
    }

    /// A chunk from the system, every page of it touched.
    fn chunk(&self) -> NonNull<u8> {
        let layout = chunk_layout();
        // SAFETY: the layout has a size.
        let chunk = unsafe { alloc(layout) };
        let Some(chunk) = NonNull::new(chunk) else { handle_alloc_error(layout) };
        advise_huge(chunk);
        // SAFETY: ours, and of that size. This is what faults the memory in.
        unsafe { chunk.write_bytes(0, CHUNK_BYTES) };
        self.chunks.lock().push(Free(chunk));
        self.chunk_count.fetch_add(1, Ordering::Relaxed);
        chunk
    }
}

/// The blocks of a stretch of memory: the first, then the others from the last on, so that taking from the end goes upwards.
///
/// # Safety
/// The stretch is one allocation, to which nobody else refers.
unsafe fn cut(start: NonNull<u8>, bytes: usize, block: usize) -> impl Iterator<Item = Free> {
    let offsets = std::iter::once(0).chain((block..bytes).step_by(block).rev());
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
        shared.free[self.class as usize].lock().push(Free(self.start));
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
    fn a_reserve_is_there_before_it_is_asked_for() {
        let pool = Pool::new();
        pool.reserve(CHUNK_BYTES / PAGE_BYTES + 1);
        assert_eq!(pool.held_bytes(), 2 * CHUNK_BYTES);
        let _pages: Vec<Block> = (0..2 * CHUNK_BYTES / PAGE_BYTES).map(|_| pool.take(CLASS_MAX)).collect();
        assert_eq!(pool.held_bytes(), 2 * CHUNK_BYTES);
    }
}
