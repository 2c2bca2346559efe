//! A file in memory: what is stored there outlives the process, however it ends.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A file of a fixed length, mapped and shared.
#[derive(Debug)]
pub struct MappedFile {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is owned by this value alone; it is not bound to a thread.
unsafe impl Send for MappedFile {}

impl MappedFile {
    /// Makes the file that long, and maps it.
    ///
    /// # Errors
    /// The file cannot be made that long, or not be mapped.
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        file.set_len(len as u64)?;
        // With all its blocks: a full disk is an error here, and would be the end of the process at a store.
        match fallocate(file, FallocateFlags::empty(), 0, len as u64) {
            // A file system that cannot promise them.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping, of a file that is that long. Nobody makes it shorter: it is in the engine's own folder.
        let start = unsafe { mmap(std::ptr::null_mut(), len, protection, flags, file, 0)? };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at zero"))?;
        Ok(Self { start, len })
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped, that long, and written through `&mut self` only.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    #[inline]
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Stores a number at a multiple of four, after all that was stored before, and before all that is stored after, as the
    /// process sees it that comes after this one. An end of the process, by a fault or by a signal, comes between two
    /// instructions of a thread, so only the compiler has to keep the order: fences of the processor took as long as the
    /// rest of what is noted of an input.
    #[inline]
    pub(super) fn store(&mut self, at: usize, number: u32) {
        assert!(at.is_multiple_of(align_of::<AtomicU32>()) && at + size_of::<u32>() <= self.len);
        // SAFETY: within the mapping.
        let place = unsafe { self.start.as_ptr().add(at) };
        // SAFETY: aligned, for a mapping starts at a page; only this value writes to it.
        let place = unsafe { AtomicU32::from_ptr(place.cast()) };
        compiler_fence(Ordering::SeqCst);
        place.store(number, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }
}

impl MappedFile {
    /// Stays mapped for as long as the process, as numbers that any thread may read and write, and a signal handler.
    pub(super) fn kept_mapped(self) -> &'static [AtomicU64] {
        let this = ManuallyDrop::new(self);
        // SAFETY: mapped, that long, never unmapped, and aligned, for a mapping starts at a page; from here on nothing else looks
        // at it.
        unsafe { std::slice::from_raw_parts(this.start.as_ptr().cast(), this.len / size_of::<AtomicU64>()) }
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nobody has a reference any more.
        let _unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
