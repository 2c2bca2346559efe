//! The texts that have no place in the new tables: found, and taken out of a copy of their heap's pages, while the room plays on.

use super::rewrite::{Cancel, RewriteError, live_slots};
use super::{Change, Plan};
use crate::heap::{FreedPage, Heap};
use crate::raw::{Block, RawTable};
use crate::world::World;
use logic_api::abi::RawHeapId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a plan frees, as far as it is known.
#[derive(Default)]
pub(super) struct Frees {
    /// As [`Plan::freed`] tells them.
    tables: Vec<Vec<Found>>,
    /// As the pages of the heap; none where nothing goes.
    heap: Vec<Option<FreedPage>>,
    is_begun: bool,
}

/// The texts of a page of rows that go.
struct Found {
    /// Held, so that its memory cannot become another page meanwhile.
    block: Arc<Block>,
    ids: Arc<[RawHeapId]>,
}

impl Found {
    fn of(table: &RawTable, page: usize, offsets: &[usize]) -> Self {
        let (rows, slots) = (table.page(page), table.slots());
        let row_bytes = rows.rows.len() / slots;
        let ids = live_slots(rows.live, slots).flat_map(|slot| {
            let row = &rows.rows[slot * row_bytes..][..row_bytes];
            offsets.iter().map(|at| handle(&row[*at..])).filter(|id| *id != RawHeapId::default())
        });
        Self { ids: ids.collect(), block: table.block(page).clone() }
    }

    fn is_of(&self, table: &RawTable, page: usize) -> bool {
        Arc::ptr_eq(&self.block, table.block(page))
    }
}

/// The handle of a text.
fn handle(bytes: &[u8]) -> RawHeapId {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    RawHeapId { slot: number(0), generation: number(4) }
}

impl Plan {
    /// The old tables that have texts without a place in the new world, and where in their rows those are.
    fn freed(&self) -> Vec<(usize, &[usize])> {
        let rows = self.tables.iter().filter_map(|table| match &table.change {
            Change::Rows(rows) => Some((table.old?, &*rows.frees)),
            _ => None,
        });
        let dropped = self.dropped.iter().map(|table| (table.old, &*table.frees));
        rows.chain(dropped).filter(|(_, offsets)| !offsets.is_empty()).collect()
    }
}

impl Frees {
    /// Follows what has changed since the last time; all of it the first time.
    pub(super) fn update(&mut self, plan: &Plan, world: &World, cancel: &Cancel) -> Result<(), RewriteError> {
        let freed = plan.freed();
        if freed.is_empty() {
            return Ok(());
        }
        self.is_begun = true;
        self.tables.resize_with(freed.len(), Vec::new);
        let mut by_page: Vec<Vec<RawHeapId>> = vec![Vec::new(); world.heap().page_count()];
        for (found, (old, offsets)) in self.tables.iter_mut().zip(freed) {
            let table = world.tables().table(old);
            for page in 0..table.row_page_count() {
                cancel.check()?;
                match found.get_mut(page) {
                    Some(known) if known.is_of(table, page) => {}
                    Some(known) => *known = Found::of(table, page, offsets),
                    None => found.push(Found::of(table, page, offsets)),
                }
                found[page].ids.iter().for_each(|id| by_page[Heap::page_of(*id)].push(*id));
            }
        }
        self.heap.resize_with(by_page.len(), || None);
        for (number, (known, ids)) in self.heap.iter_mut().zip(by_page).enumerate() {
            cancel.check()?;
            let is_known = match known {
                Some(known) => known.is_for(world.heap(), number, &ids),
                None => ids.is_empty(),
            };
            if !is_known {
                *known = (!ids.is_empty()).then(|| world.heap().without(number, ids));
            }
        }
        Ok(())
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        let ids: usize = self.tables.iter().flatten().map(|found| size_of_val(&*found.ids)).sum();
        ids + self.heap.iter().flatten().map(FreedPage::bytes).sum::<usize>()
    }

    /// Takes the texts out of the world's heap. To be called while the old tables are there. What is left is to be dropped where
    /// that may take its time.
    pub(super) fn finish(mut self, plan: &Plan, world: &mut World) -> Self {
        if !self.is_begun {
            // As in a replay, which has nothing got ready for it.
            self.update(plan, world, &Cancel::default()).expect("nobody cancels it");
        }
        let (mut gone, mut come) = (BTreeSet::new(), Vec::new());
        for (found, (old, offsets)) in self.tables.iter_mut().zip(plan.freed()) {
            let table = world.tables().table(old);
            for page in 0..table.row_page_count() {
                let known = found.get(page);
                if known.is_some_and(|known| known.is_of(table, page)) {
                    continue;
                }
                let before = sorted(known.map_or(&[], |known| &known.ids));
                let after = sorted(&Found::of(table, page, offsets).ids);
                gone.extend(missing(&before, &after));
                come.extend(missing(&after, &before));
            }
        }
        let is_gone = |id: &RawHeapId| gone.contains(&bits(id));
        let changed: BTreeSet<usize> = gone.iter().map(|bits| Heap::page_of(id_of(*bits))).collect();
        for (number, page) in self.heap.iter().enumerate() {
            let Some(page) = page else { continue };
            if changed.contains(&number) || !world.heap_mut().put_freed(number, page) {
                let ids = page.ids().iter().filter(|id| !is_gone(id));
                ids.for_each(|id| world.heap_mut().free(*id));
            }
        }
        come.into_iter().for_each(|bits| world.heap_mut().free(id_of(bits)));
        self
    }
}

/// In an order that the ids of a page's rows mostly have already.
fn sorted(ids: &[RawHeapId]) -> Vec<u64> {
    let mut sorted: Vec<u64> = ids.iter().map(bits).collect();
    sorted.sort_unstable();
    sorted
}

/// Those of the first that are not among the second; both are sorted.
fn missing<'a>(one: &'a [u64], other: &'a [u64]) -> impl Iterator<Item = u64> + 'a {
    let mut rest = other.iter().copied().peekable();
    one.iter().copied().filter(move |bits| {
        while rest.next_if(|other| other < bits).is_some() {}
        rest.peek() != Some(bits)
    })
}

fn bits(id: &RawHeapId) -> u64 {
    u64::from(id.slot) << 32 | u64::from(id.generation)
}

fn id_of(bits: u64) -> RawHeapId {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("32 bits");
    RawHeapId { slot: half(bits >> 32), generation: half(bits) }
}
