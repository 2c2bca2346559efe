//! A page of the heap: its values, and copies of it without some of them.

use super::VALUES_PER_PAGE;
use std::sync::{Arc, LazyLock};
use xxhash_rust::xxh3::Xxh3;

/// What stands where no page is: no id names anything in it.
pub(super) static NO_PAGE: LazyLock<Arc<Page>> = LazyLock::new(|| Arc::new(Page::empty(0)));

#[derive(Clone)]
pub(super) struct Page {
    /// Odd for a live value.
    pub(super) generations: [u32; VALUES_PER_PAGE],
    pub(super) values: [Option<Arc<[u8]>>; VALUES_PER_PAGE],
    pub(super) live: usize,
}

impl Page {
    /// `generation`: that of every slot.
    pub(super) fn empty(generation: u32) -> Self {
        Self { generations: [generation; VALUES_PER_PAGE], values: [const { None }; VALUES_PER_PAGE], live: 0 }
    }

    /// Puts a value into a free slot, and gives its generation.
    pub(super) fn put(&mut self, slot: usize, value: Arc<[u8]>) -> u32 {
        self.values[slot] = Some(value);
        self.generations[slot] = self.generations[slot].wrapping_add(1);
        self.live += 1;
        self.generations[slot]
    }

    pub(super) fn has_room(&self) -> bool {
        self.live < VALUES_PER_PAGE
    }

    /// As it would be if the values in these slots were freed; and how many bytes those are.
    pub(super) fn without(&self, goes: &[bool; VALUES_PER_PAGE]) -> (Self, usize) {
        let (mut page, mut bytes) = (Self { generations: self.generations, ..Self::empty(0) }, 0);
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

    pub(super) fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for (value, generation) in self.values.iter().zip(self.generations) {
            hash.update(&generation.to_le_bytes());
            hash.update(&value.as_ref().map_or(0, |value| value.len()).to_le_bytes());
            hash.update(value.as_deref().unwrap_or_default());
        }
        hash.digest()
    }
}
