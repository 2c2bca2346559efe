//! Slots of a page: which are live, and how they are told.

use super::steps::Misfit;
use std::fmt;

pub(super) fn slot_number(page: usize, slot: usize) -> u32 {
    u32::try_from(page << 16 | slot).expect("page and slot fit 16 bits each")
}

/// A slot as ids show it: page and place.
pub(super) struct Slot(pub(super) u32);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xFFFF)
    }
}

/// Names the row of a misfit, which counts from the start of its run.
pub(super) fn told(
    misfit: &Misfit,
    rows_before: usize,
    page: usize,
    live: &[u64],
    start: usize,
    slots: usize,
) -> String {
    let slot = start + misfit.row;
    let number = rows_before + live_slots(live, slots).take_while(|live| *live < slot).count();
    format!("{}: row {number} (slot {}) {}", misfit.path, Slot(slot_number(page, slot)), misfit.what)
}

/// False also for a slot that there is not: a lone page may have grown since.
pub(super) fn is_live(live: &[u64], slot: usize) -> bool {
    live.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
}

pub(super) fn live_slots(live: &[u64], slots: usize) -> impl Iterator<Item = usize> {
    (0..slots).filter(move |slot| is_live(live, *slot))
}

/// What is in a slot, live or not.
pub(super) fn row_in(rows: &[u8], slot: usize, row_bytes: usize) -> &[u8] {
    &rows[slot * row_bytes..][..row_bytes]
}

/// Stretches of live slots: where each starts, and where it ends.
pub(super) fn runs(live: &[u64], slots: usize) -> impl Iterator<Item = (usize, usize)> {
    let seek = move |from: usize, is_live: bool| {
        let flip = if is_live { 0 } else { u64::MAX };
        let mut at = from;
        while at < slots {
            let word = (live[at / 64] ^ flip) >> (at % 64);
            if word != 0 {
                return (at + word.trailing_zeros() as usize).min(slots);
            }
            at = (at / 64 + 1) * 64;
        }
        slots
    };
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = seek(at, true);
        at = seek(start, false);
        (start < slots).then_some((start, at))
    })
}
