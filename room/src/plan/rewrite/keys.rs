//! Indexes that are made anew, over pages that are rewritten meanwhile.

use super::{PageRewrite, RewriteError};
use crate::plan::budget::Budget;
use crate::plan::show;
use crate::plan::slots::{Slot, is_live, live_slots, row_in, slot_number};
use crate::raw::{Index, TableLayout};
use logic_api::abi::hash_key;
use logic_api::schema::RowSchema;
use std::cell::Cell;

/// Why an index cannot be made.
pub(super) enum Hindrance {
    /// The slots of two rows that have one value.
    Twice(u32, u32),
    Memory(RewriteError),
}

impl Hindrance {
    /// `row`: of the table.
    pub(super) fn told(self, keys: &Keys<'_>, row: &RowSchema) -> RewriteError {
        let (one, two) = match self {
            Self::Twice(one, two) => (one, two),
            Self::Memory(error) => return error,
        };
        let field = row.indexes()[keys.index];
        let (offset, _) = keys.layout.column(keys.index);
        let value = show(&field.column, &keys.row(one)[offset..]);
        let (one, two) = (Slot(one), Slot(two));
        let what = format!("is to be unique, and the rows in slots {one} and {two} both have {value}");
        RewriteError::Unfit(format!("{}.{}: {what}", row.name, field.name))
    }
}

impl From<RewriteError> for Hindrance {
    fn from(error: RewriteError) -> Self {
        Self::Memory(error)
    }
}

/// An index that is being made over rewritten pages.
pub(super) struct Keys<'a> {
    pub(super) layout: &'a TableLayout,
    pub(super) slots: usize,
    pub(super) pages: &'a [PageRewrite],
    pub(super) index: usize,
}

impl Keys<'_> {
    fn row(&self, slot: u32) -> &[u8] {
        row_of(&self.pages[(slot >> 16) as usize], (slot & 0xFFFF) as usize, self.slots, self.layout.row_bytes())
    }

    fn key<'b>(&self, row: &'b [u8]) -> &'b [u8] {
        let (offset, bytes) = self.layout.column(self.index);
        &row[offset..offset + bytes]
    }

    /// Takes the rows of changed pages out as they were, and puts them in as they are.
    ///
    /// # Errors
    /// Two rows have one value, or the index would take too much.
    pub(super) fn follow(
        &self,
        index: &mut Index,
        changed: &[usize],
        before: &[PageRewrite],
        budget: &mut Budget,
    ) -> Result<(), Hindrance> {
        let row_bytes = self.layout.row_bytes();
        // Pages that are new come last in `changed`; those that were there before are told of in its order. Most rows of a page have
        // the value that they had, and stay.
        for (&number, page) in changed.iter().zip(before) {
            for slot in live_slots(&page.live, self.slots).filter(|slot| !self.has_stayed(number, *slot, page)) {
                let row = row_of(page, slot, self.slots, row_bytes);
                let was_there = index.remove(index.hash(self.key(row)), slot_number(number, slot));
                assert!(was_there, "the index has every row of a page that was rewritten");
            }
        }
        for (place, &number) in changed.iter().enumerate() {
            let has_stayed = |slot: &usize| before.get(place).is_some_and(|page| self.has_stayed(number, *slot, page));
            for slot in live_slots(&self.pages[number].live, self.slots).filter(|slot| !has_stayed(slot)) {
                let slot = slot_number(number, slot);
                let key = self.key(self.row(slot));
                let other = Cell::new(0);
                let is_taken = index.has(index.hash(key), |found| {
                    other.set(found);
                    self.key(self.row(found)) == key
                });
                if is_taken {
                    return Err(Hindrance::Twice(other.get().min(slot), other.get().max(slot)));
                }
                let growth_bytes = index.growth_bytes(key);
                let bytes = if growth_bytes > 0 { index.bytes() } else { 0 };
                budget.check(growth_bytes)?;
                let hash_of = |multiplier, slot| hash_key(multiplier, self.key(self.row(slot)));
                let hash = index.grow(key, hash_of).expect("an index grows with its table");
                index.insert(hash, slot);
                if growth_bytes > 0 {
                    budget.give(bytes);
                    budget.take(index.bytes())?;
                }
            }
        }
        Ok(())
    }

    /// True if a row is in the slot as it was before, with the value that it had.
    fn has_stayed(&self, number: usize, slot: usize, before: &PageRewrite) -> bool {
        let key = |page| self.key(row_of(page, slot, self.slots, self.layout.row_bytes()));
        let now = &self.pages[number];
        is_live(&before.live, slot) && is_live(&now.live, slot) && key(before) == key(now)
    }
}

fn row_of(page: &PageRewrite, slot: usize, slots: usize, row_bytes: usize) -> &[u8] {
    row_in(page.page.block.slice(slots * row_bytes), slot, row_bytes)
}
