//! A table as bytes, page by page, and back. `docs/journal.md`, "Snapshot".

use super::{CLASS_MAX, Index, Pool, RawTable, TableLayout};
use crate::bytes::{Malformed, Reader, length};
use crate::limits::{PAGES_PER_TABLE_MAX, ROW_BYTES_MAX};
use std::sync::Arc;
use std::{ptr, slice};

impl RawTable {
    /// What is the same for all pages.
    pub(crate) fn put_head(&self, out: &mut Vec<u8>) {
        out.push(self.class);
        out.extend_from_slice(&length(self.layout.slot_bytes));
        out.extend_from_slice(&length(self.pages.len()));
        out.extend_from_slice(&length(self.indexes.len()));
        for index in &self.indexes {
            out.extend_from_slice(&index.seed().to_le_bytes());
        }
    }

    /// Pages of rows, without those of indexes.
    pub(crate) fn row_page_count(&self) -> usize {
        self.pages.len()
    }

    /// Which slots are live, the generation of each, and the live rows, their padding as zeroes.
    pub(crate) fn put_page(&self, page: usize, out: &mut Vec<u8>) {
        let row_bytes = self.layout.row_bytes;
        for word in self.live_of(page) {
            out.extend_from_slice(&word.to_le_bytes());
        }
        // SAFETY: a `u32` for each slot; nobody writes while `self` is borrowed.
        let generations = unsafe { slice::from_raw_parts(self.generation_starts[page], self.slots) };
        generations.iter().for_each(|generation| out.extend_from_slice(&generation.to_le_bytes()));
        // SAFETY: as many rows as the page has slots, all initialised (`empty_blocks`, `insert`), but for what a plugin left in
        // padding, which is not read.
        let row = |slot: usize, offset: usize, len: usize| unsafe {
            slice::from_raw_parts(self.starts[page].add(slot * row_bytes + offset), len)
        };
        if self.layout.is_dense() && self.page_rows[page] as usize == self.slots {
            out.extend_from_slice(row(0, 0, self.slots * row_bytes));
            return;
        }
        for slot in self.live_slots_of(page) {
            let start = out.len();
            out.resize(start + row_bytes, 0);
            for &(offset, len) in &self.layout.spans {
                out[start + offset..][..len].copy_from_slice(row(slot, offset, len));
            }
        }
    }

    fn live_of(&self, page: usize) -> &[u64] {
        &self.live[page * self.live_words..][..self.live_words]
    }

    fn live_slots_of(&self, page: usize) -> impl Iterator<Item = usize> {
        let live = self.live_of(page);
        (0..self.slots).filter(move |slot| live[slot / 64] >> (slot % 64) & 1 == 1)
    }

    /// An empty table as `put_head` described it, and how many pages it is going to have.
    pub(crate) fn read_head(
        layout: Arc<TableLayout>,
        pool: &Pool,
        from: &mut Reader<'_>,
    ) -> Result<(Self, usize), Malformed> {
        let class = from.u8("size of pages")?;
        let slot_bytes = from.u32("bytes of a slot")? as usize;
        if !(1..=ROW_BYTES_MAX).contains(&slot_bytes) {
            let expected = "the length of a row";
            return Err(Malformed::Value { what: "bytes of a slot", found: slot_bytes as u64, expected });
        }
        let mut table = Self::new(Arc::new(TableLayout { slot_bytes, ..(*layout).clone() }), pool, 0);
        let smallest = table.class;
        let pages = from.u32("number of pages")? as usize;
        let expected = "a size of pages that holds a row, the largest for more than one page";
        let is_size = match pages {
            0 => class == smallest,
            1 => (smallest..=CLASS_MAX).contains(&class),
            _ => class == CLASS_MAX,
        };
        if !is_size || pages > PAGES_PER_TABLE_MAX {
            return Err(Malformed::Value { what: "size of pages", found: class.into(), expected });
        }
        let indexes = from.u32("number of indexes")? as usize;
        if indexes != table.indexes.len() {
            let expected = "as many indexes as the schema has";
            return Err(Malformed::Value { what: "number of indexes", found: indexes as u64, expected });
        }
        for index in &mut table.indexes {
            *index = Index::new(pool, from.u64("seed of an index")?);
        }
        table.class = class;
        table.slots = table.layout.slots(class);
        table.live_words = table.slots.div_ceil(64);
        Ok((table, pages))
    }

    /// Adds the next page, which `put_page` wrote. The indexes do not know its rows yet.
    pub(crate) fn read_page(&mut self, from: &mut Reader<'_>) -> Result<(), Malformed> {
        let (slots, row_bytes) = (self.slots, self.layout.row_bytes);
        let live: Vec<u64> = (0..self.live_words).map(|_| from.u64("live slots")).collect::<Result<_, _>>()?;
        let generations = from.take("generations", slots * size_of::<u32>())?.as_chunks::<4>().0;
        let rows = live.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        let bytes = from.take("rows", rows * row_bytes)?;
        let is_live = |slot: usize| live.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1);
        if let Some(slot) = (slots..self.live_words * 64).find(|slot| is_live(*slot)) {
            return Err(Malformed::Value { what: "live slot", found: slot as u64, expected: "a slot of the page" });
        }
        for (slot, generation) in generations.iter().enumerate() {
            let generation = u32::from_le_bytes(*generation);
            if (generation & 1 == 1) != is_live(slot) {
                let expected = "an odd one for a live row, an even one for a free slot";
                return Err(Malformed::Value { what: "generation", found: generation.into(), expected });
            }
        }
        let page = self.pages.len();
        self.add_page();
        let (rows_start, generations_start) = (self.starts[page], self.generations[page].start());
        for (slot, generation) in generations.iter().enumerate() {
            // SAFETY: the block is this table's alone and has a `u32` for each slot.
            unsafe { generations_start.cast::<u32>().add(slot).write(u32::from_le_bytes(*generation)) };
        }
        let mut left = bytes.chunks_exact(row_bytes);
        for slot in (0..slots).filter(|slot| is_live(*slot)) {
            let row = left.next().expect("as many rows as live slots");
            // SAFETY: the block is this table's alone, and the slot is in range.
            unsafe { ptr::copy_nonoverlapping(row.as_ptr(), rows_start.add(slot * row_bytes), row_bytes) };
        }
        self.live[page * self.live_words..].copy_from_slice(&live);
        self.page_rows[page] = u32::try_from(rows).expect("a page has few rows");
        let first_free = (0..slots).find(|slot| !is_live(*slot)).unwrap_or(slots);
        self.page_free_from[page] = u32::try_from(first_free).expect("a page has few slots");
        if first_free < slots {
            self.set_free(page);
        }
        Ok(())
    }

    /// All pages are there: the rows are found by their keys from here on.
    pub(crate) fn read_end(&mut self) {
        for number in 0..self.indexes.len() {
            self.make_index(number, &[], None);
        }
        self.show(self.page_rows.iter().sum());
    }
}
