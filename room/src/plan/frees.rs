//! The texts that have no place in the new tables: found, and taken out of a copy of their heap's pages, while the room plays on.

use super::budget::Budget;
use super::rewrite::{Cancel, RewriteError};
use super::slots::{is_live, live_slots, row_in};
use super::{Change, Plan};
use crate::heap::{ByPage, FreedPage, Heap, SpentPage, handle};
use crate::raw::{Block, RawTable};
use crate::world::World;
use logic_api::abi::RawHeapId;
use std::sync::Arc;

/// What a plan frees, as far as it is known.
#[derive(Default)]
pub(super) struct Frees {
    /// As [`Plan::freed`] tells them.
    tables: Vec<Vec<Found>>,
    /// None where nothing goes.
    heap: ByPage<Option<FreedPage>>,
    /// What is named in pages that the heap had not, by rows that only a plugin's unsafe code can make.
    strays: Vec<RawHeapId>,
    is_begun: bool,
    /// Pages of rows gone through, and of the heap made anew, one that has changed in between once more.
    pages_done: usize,
    /// What the swap has taken out of the heap.
    spent: Vec<SpentPage>,
}

/// The texts of a page of rows that go.
struct Found {
    /// Held, so that its memory cannot become another page meanwhile.
    block: Arc<Block>,
    /// How many slots it had, and which were live.
    slots: usize,
    live: Box<[u64]>,
    ids: Arc<[RawHeapId]>,
}

impl Found {
    fn of(table: &RawTable, page: usize, offsets: &[usize]) -> Self {
        let (rows, slots) = (table.page(page), table.slots());
        let row_bytes = rows.rows.len() / slots;
        let ids = live_slots(rows.live, slots).flat_map(|slot| {
            let row = row_in(rows.rows, slot, row_bytes);
            offsets.iter().map(|at| handle(&row[*at..])).filter(|id| *id != RawHeapId::default())
        });
        Self { ids: ids.collect(), slots, live: rows.live.into(), block: table.block(page).clone() }
    }

    /// The most that one can take: each row has all of its texts.
    fn bytes_max(table: &RawTable, page: usize, offsets: &[usize]) -> usize {
        let rows = table.page(page);
        let texts = live_slots(rows.live, table.slots()).count() * offsets.len();
        size_of_val(rows.live) + texts * size_of::<RawHeapId>()
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.live) + size_of_val(&*self.ids)
    }

    fn is_of(&self, table: &RawTable, page: usize) -> bool {
        Arc::ptr_eq(&self.block, table.block(page))
    }
}

/// Texts that go or do not, other than was found before. One that two rows name, as only unsafe code has it, is there twice: it
/// goes as long as one of them names it.
#[derive(Default)]
struct Moved {
    gone: Vec<u64>,
    come: Vec<u64>,
}

impl Moved {
    /// What has become of a page, slot by slot: most handles are where they were.
    fn add(&mut self, known: Option<&Found>, table: &RawTable, page: usize, offsets: &[usize]) {
        let (rows, slots) = (table.page(page), table.slots());
        let row_bytes = rows.rows.len() / slots;
        let known = known.map(|known| (known.block.slice(known.slots * row_bytes), &*known.live));
        for slot in 0..slots {
            let row = |rows, live| is_live(live, slot).then(|| row_in(rows, slot, row_bytes));
            let was = known.and_then(|(rows, live)| row(rows, live));
            let is = row(rows.rows, rows.live);
            for &at in offsets {
                let [was, is] = [was, is].map(|row| row.map_or(RawHeapId::default(), |row| handle(&row[at..])));
                if was != is {
                    self.gone.extend((was != RawHeapId::default()).then(|| bits(&was)));
                    self.come.extend((is != RawHeapId::default()).then(|| bits(&is)));
                }
            }
        }
    }

    /// By page of the heap, ascending: which texts stay after all, and which go too.
    fn by_page(mut self, heap: &Heap) -> ByPage<(Vec<u64>, Vec<RawHeapId>)> {
        self.gone.sort_unstable();
        self.come.sort_unstable();
        let mut by_page = ByPage::default();
        by_page.fit(heap);
        // One that has only changed its place is in both.
        for id in missing(&self.gone, &self.come).map(id_of) {
            by_page.get_mut(Heap::page_of(id)).into_iter().for_each(|(stay, _): &mut (Vec<_>, _)| stay.push(bits(&id)));
        }
        for id in missing(&self.come, &self.gone).map(id_of) {
            by_page.get_mut(Heap::page_of(id)).into_iter().for_each(|(_, go): &mut (_, Vec<_>)| go.push(id));
        }
        by_page
    }
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
    pub(super) fn update(
        &mut self,
        plan: &Plan,
        world: &World,
        budget: &mut Budget,
        cancel: &Cancel,
    ) -> Result<(), RewriteError> {
        let freed = plan.freed();
        if freed.is_empty() {
            return Ok(());
        }
        self.is_begun = true;
        self.tables.resize_with(freed.len(), Vec::new);
        let mut by_page: ByPage<Vec<RawHeapId>> = ByPage::default();
        by_page.fit(world.heap());
        self.strays.clear();
        for (found, (old, offsets)) in self.tables.iter_mut().zip(freed) {
            let table = world.tables().table(old);
            for page in 0..table.row_page_count() {
                cancel.check()?;
                if !found.get(page).is_some_and(|known| known.is_of(table, page)) {
                    self.pages_done += 1;
                    let bytes_max = Found::bytes_max(table, page, offsets);
                    budget.take(bytes_max)?;
                    let of_page = Found::of(table, page, offsets);
                    budget.give(bytes_max - of_page.bytes());
                    match found.get_mut(page) {
                        Some(known) => budget.give(std::mem::replace(known, of_page).bytes()),
                        None => found.push(of_page),
                    }
                }
                for id in found[page].ids.iter() {
                    by_page.get_mut(Heap::page_of(*id)).unwrap_or(&mut self.strays).push(*id);
                }
            }
        }
        self.heap.fit(world.heap());
        for (number, ids) in by_page.into_numbered() {
            cancel.check()?;
            let known = self.heap.get_mut(number).expect("as many as there are pages");
            let is_known = match known {
                Some(known) => known.is_for(world.heap(), number, &ids),
                None => ids.is_empty(),
            };
            if !is_known {
                self.pages_done += 1;
                budget.give(known.take().map_or(0, |known| known.bytes()));
                if !ids.is_empty() {
                    budget.take(FreedPage::BYTES + size_of_val(&*ids))?;
                    *known = world.heap().without(number, ids);
                }
            }
        }
        Ok(())
    }

    /// True if the world still has the pages that were gone through, and their slots: what has come since is followed, and what
    /// has changed, but nothing says what was in those that are gone.
    pub(super) fn fit(&self, plan: &Plan, world: &World) -> bool {
        let mut tables = self.tables.iter().zip(plan.freed());
        let is_there = |(found, (old, _)): (&Vec<Found>, (usize, &[usize]))| {
            let table = world.tables().table(old);
            found.len() <= table.row_page_count() && found.iter().all(|page| page.slots <= table.slots())
        };
        self.heap.is_within(world.heap()) && tables.all(is_there)
    }

    /// Pages gone through so far, those of rows and those of the heap.
    pub(super) fn pages_done(&self) -> usize {
        self.pages_done
    }

    /// Of the texts that go.
    pub(super) fn freed_bytes(&self) -> usize {
        self.heap.iter().flatten().map(FreedPage::freed_bytes).sum()
    }

    /// Takes the texts out of the world's heap. To be called while the old tables are there. What is left is to be dropped where
    /// that may take its time.
    pub(super) fn finish(mut self, plan: &Plan, world: &mut World, budget: &mut Budget) -> Result<Self, RewriteError> {
        if !self.is_begun {
            // As in a replay, which has nothing got ready for it.
            self.update(plan, world, budget, &Cancel::default())?;
        }
        let mut moved = Moved::default();
        for (found, (old, offsets)) in self.tables.iter().zip(plan.freed()) {
            let table = world.tables().table(old);
            for page in 0..table.row_page_count() {
                let known = found.get(page);
                if !known.is_some_and(|known| known.is_of(table, page)) {
                    moved.add(known, table, page, offsets);
                }
            }
        }
        moved.come.extend(self.strays.iter().map(bits));
        let heap = world.heap_mut();
        self.heap.fit(heap);
        for (made, (number, (stay, go))) in self.heap.iter().zip(moved.by_page(heap).into_numbered()) {
            let is_as_made = stay.is_empty() && go.is_empty();
            if is_as_made && made.as_ref().is_none_or(|made| heap.put_freed(number, made)) {
                continue;
            }
            let mut known: Vec<u64> = made.iter().flat_map(FreedPage::ids).map(bits).collect();
            if !stay.is_empty() {
                known.sort_unstable();
            }
            let ids: Vec<RawHeapId> = missing(&known, &stay).map(id_of).chain(go).collect();
            budget.take(FreedPage::BYTES)?;
            self.spent.extend(heap.free_all(number, &ids));
        }
        Ok(self)
    }
}

/// Those of the first that are not among the second, each as often as it is there more; both are sorted.
fn missing<'a>(one: &'a [u64], other: &'a [u64]) -> impl Iterator<Item = u64> + 'a {
    let mut rest = other.iter().copied().peekable();
    one.iter().copied().filter(move |bits| {
        while rest.next_if(|other| other < bits).is_some() {}
        rest.next_if_eq(bits).is_none()
    })
}

fn bits(id: &RawHeapId) -> u64 {
    u64::from(id.slot) << 32 | u64::from(id.generation)
}

fn id_of(bits: u64) -> RawHeapId {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("32 bits");
    RawHeapId { slot: half(bits >> 32), generation: half(bits) }
}
