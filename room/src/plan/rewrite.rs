//! Carries a plan out: the pages of a fork are rewritten while the room plays on, then those that have changed since, until what
//! is left for the swap is little.

use super::check_value;
use super::frees::Frees;
use super::steps::{Misfit, Strided, run};
use super::{Change, IndexPlan, Migration, Plan, RowsPlan, TablePlan};
use crate::LogicVersion;
use crate::limits::TABLE_BYTES_MAX;
use crate::outbox::Outbox;
use crate::raw::Tables;
use crate::raw::{
    Aligned, Arguments, Block, Frame, Index, Page, Pool, RawTable, RewrittenPage, TableLayout, class_for,
};
use crate::world::World;
use logic_api::abi::hash_key;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The share of the pages, in eighths, for which memory is got ready: as many may change until the swap without a wait for it.
const RESERVED_EIGHTHS: usize = 2;
/// Bytes of old and new rows to which the steps are done at a time.
const ROWS_BYTES: usize = 16 << 10;

/// A plan, as far as it has been carried out for a world: see [`Rewrite::update`].
pub struct Rewrite {
    plan: Arc<Plan>,
    to: Arc<LogicVersion>,
    drops: Arc<[String]>,
    seed: u64,
    /// As the tables of the plan.
    tables: Vec<TableRewrite>,
    frees: Frees,
    /// Of rewritten pages.
    bytes: usize,
    bytes_max: usize,
    /// Pages that were rewritten, or only followed in the indexes.
    pages_done: usize,
}

/// Why a plan cannot be carried out. The world that it is for has not been touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum RewriteError {
    /// A row has a value that the new schema has no place for.
    #[error("{0}")]
    Unfit(String),
    /// A migration panicked.
    #[error("{path}: the migration panicked at row {row}: {message}")]
    Fault { path: String, row: usize, message: String, location: String },
    #[error("the rewritten tables take more than the {bytes_max} bytes that they may")]
    Memory { bytes_max: usize },
    #[error("the rewrite was given up: its time is over")]
    Cancelled,
}

/// Ends a rewrite from another thread, between two pages.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn check(&self) -> Result<(), RewriteError> {
        if self.0.load(Ordering::Relaxed) { Err(RewriteError::Cancelled) } else { Ok(()) }
    }
}

#[derive(Default)]
struct TableRewrite {
    /// Of the new table, once a page was rewritten.
    layout: Option<Arc<TableLayout>>,
    slots: usize,
    pages: Vec<PageRewrite>,
    /// As the indexes of the new table; none for those that are kept, and until the first are made.
    indexes: Vec<Option<Index>>,
}

struct PageRewrite {
    /// The old page. Held, so that its memory cannot become another page meanwhile.
    source: Arc<Block>,
    page: RewrittenPage,
    /// Which slots were live.
    live: Vec<u64>,
}

/// What a rewrite has left over, to drop where that may take its time.
#[derive(Default)]
pub(crate) struct Leftover {
    _pages: Vec<Vec<PageRewrite>>,
    _blocks: Vec<Arc<Block>>,
    _tables: Vec<RawTable>,
    _frees: Frees,
}

impl fmt::Debug for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leftover").finish_non_exhaustive()
    }
}

impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pages, bytes) = (self.pages_done(), self.bytes);
        f.debug_struct("Rewrite").field("pages_done", &pages).field("bytes", &bytes).finish_non_exhaustive()
    }
}

impl Rewrite {
    /// A plan of which nothing has been carried out. `seed` only places keys in the indexes, `bytes_max` bounds the memory.
    ///
    /// # Panics
    /// If the plan is refused.
    pub fn new(plan: Arc<Plan>, to: Arc<LogicVersion>, drops: Arc<[String]>, seed: u64, bytes_max: usize) -> Self {
        assert!(plan.refusals().is_empty(), "a refused plan is not carried out");
        let tables = plan.tables.iter().map(|_| TableRewrite::default()).collect();
        Self { plan, to, drops, seed, tables, frees: Frees::default(), bytes: 0, bytes_max, pages_done: 0 }
    }

    /// Pages that have been gone through so far, one that has changed in between once more: rewritten, followed in an index that is
    /// made, or searched for texts to be freed.
    pub fn pages_done(&self) -> usize {
        self.pages_done + self.frees.pages_done()
    }

    /// True if this is the rewrite for that swap of that world.
    pub(crate) fn is_for(&self, world: &World, to: &Arc<LogicVersion>, drops: &[String]) -> bool {
        *self.plan.old == **world.schema() && Arc::ptr_eq(&self.to, to) && *self.drops == *drops
    }

    /// Rewrites the pages of a fork that have changed since the last time, all of them the first time. What makes texts waits for
    /// the swap.
    ///
    /// # Errors
    /// [`RewriteError`]; the rewrite is of no use any more.
    pub fn update(&mut self, world: &mut World, cancel: &Cancel) -> Result<(), RewriteError> {
        self.rewrite(world, cancel, false)?;
        self.frees.update(&self.plan, world, cancel)?;
        if self.bytes + self.frees.bytes() > self.bytes_max {
            return Err(RewriteError::Memory { bytes_max: self.bytes_max });
        }
        for table in &mut self.tables {
            table.reserve(world.tables().pool());
        }
        Ok(())
    }

    /// Makes the new world of the old one: what is left to rewrite, and everything that is not pages.
    ///
    /// # Errors
    /// As for `update`; the world is of no use any more.
    pub(crate) fn finish(mut self, world: &mut World) -> Result<Leftover, RewriteError> {
        self.rewrite(world, &Cancel::default(), true)?;
        let frees = std::mem::take(&mut self.frees).finish(&self.plan, world);
        let pool = world.tables().pool().clone();
        let mut old: Vec<Option<RawTable>> = world.tables_mut().take().into_iter().map(Some).collect();
        let mut leftover = Leftover { _frees: frees, ..Leftover::default() };
        let mut tables = Vec::with_capacity(self.plan.tables.len());
        for (number, (plan, done)) in self.plan.tables.iter().zip(self.tables).enumerate() {
            let schema = &self.plan.new.tables[number];
            let is_anew = |table: &RawTable| plan.must_be_single && table.row_count() == 0;
            let goes_on = plan.old.filter(|old_number| !old[*old_number].as_ref().is_some_and(is_anew));
            // A `One` reads the first generation of its slot, which is over where there have been rows.
            let Some(mut table) = goes_on.and_then(|old_number| old[old_number].take()) else {
                tables.push(RawTable::new(Arc::new(TableLayout::new(number, schema, None)), &pool, self.seed));
                continue;
            };
            let layout = Arc::new(TableLayout::of_old(number, schema, &table));
            let mut made = done.indexes;
            let indexes = plan.indexes.iter().enumerate().map(|(index, from)| match from {
                IndexPlan::Kept(old) => table.take_index(*old),
                IndexPlan::Made => made[index].take().expect("made by `rewrite`"),
            });
            let indexes: Vec<Index> = indexes.collect();
            let is_rewritten = matches!(plan.change, Change::Rows(_));
            let pages = is_rewritten.then(|| done.pages.iter().map(|page| page.page.clone()).collect());
            leftover._blocks.extend(table.become_other(layout, pages, indexes));
            leftover._pages.push(done.pages);
            tables.push(table);
        }
        leftover._tables.extend(old.into_iter().flatten());
        world.put_tables(self.plan.new.clone(), Tables::of(tables, &pool));
        Ok(leftover)
    }

    fn rewrite(&mut self, world: &mut World, cancel: &Cancel, is_swap: bool) -> Result<(), RewriteError> {
        let plan = Arc::clone(&self.plan);
        for (number, table) in plan.tables.iter().enumerate() {
            let Some(old) = table.old else { continue };
            if table.must_be_single && !world.tables().table(old).is_single() {
                let rows = world.tables().table(old).row_count();
                let what = "a One needs one row, the first that the table ever had";
                let rows = format!("{rows} {}", if rows == 1 { "row" } else { "rows" });
                return Err(RewriteError::Unfit(format!("{}: the table has {rows}; {what}", table.name)));
            }
            let has_work = match &table.change {
                Change::New => false,
                Change::Kept => table.indexes.contains(&IndexPlan::Made),
                Change::Rows(rows) => is_swap || !rows.is_in_pause(),
            };
            if has_work {
                self.table(number, table, old, world, cancel)?;
            }
        }
        Ok(())
    }

    /// Rewrites the changed pages of a table, and follows them in the indexes that are made.
    fn table(
        &mut self,
        number: usize,
        plan: &TablePlan,
        old: usize,
        world: &mut World,
        cancel: &Cancel,
    ) -> Result<(), RewriteError> {
        let schema = &self.plan.new.tables[number];
        let table = world.tables().table(old);
        let layout = Arc::new(TableLayout::of_old(number, schema, table));
        let (slots, pages) = (table.slots(), table.row_page_count());
        let mut done = std::mem::take(&mut self.tables[number]);
        if slots != done.slots {
            // A lone page has grown since.
            done = TableRewrite { slots, ..TableRewrite::default() };
        }
        done.indexes.resize_with(plan.indexes.len(), || None);
        let is_changed = |done: &TableRewrite, page: usize| {
            done.pages.get(page).is_none_or(|known| !Arc::ptr_eq(&known.source, table.block(page)))
        };
        let mut changed: Vec<usize> = (0..pages).filter(|page| is_changed(&done, *page)).collect();
        if !changed.is_empty() && matches!(&plan.change, Change::Rows(rows) if rows.is_whole()) {
            changed = (0..pages).collect();
        }
        let mut work = Work { to: &self.to, layout: &layout, plan, old, scratch: Scratch::default() };
        let mut before = Vec::new();
        for &page in &changed {
            cancel.check()?;
            let rewritten = work.page(page, world)?;
            self.pages_done += 1;
            // What is kept is the world's own.
            let is_new = matches!(plan.change, Change::Rows(_));
            if is_new {
                self.bytes += rewritten.page.block.bytes();
            }
            if done.pages.len() == page {
                done.pages.push(rewritten);
            } else {
                let known = std::mem::replace(&mut done.pages[page], rewritten);
                if is_new {
                    self.bytes -= known.page.block.bytes();
                }
                before.push(known);
            }
            if self.bytes > self.bytes_max || pages * done.pages[page].page.block.bytes() > TABLE_BYTES_MAX {
                let bytes_max = self.bytes_max.min(TABLE_BYTES_MAX);
                return Err(RewriteError::Memory { bytes_max });
            }
        }
        if !changed.is_empty() {
            work.whole(&mut done, world)?;
        }
        let seed = world.tables().table(old).index_seed().unwrap_or(self.seed);
        let indexes = plan.indexes.iter().enumerate().filter(|(_, index)| **index == IndexPlan::Made);
        for (index, _) in indexes {
            let mut made = done.indexes[index].take().unwrap_or_else(|| Index::new(world.tables().pool(), seed));
            let keys = Keys { layout: &layout, slots, pages: &done.pages, index };
            keys.follow(&mut made, &changed, &before).map_err(|(one, two)| {
                let field = schema.row.indexes()[index];
                let (offset, _) = layout.column(index);
                let value = super::show(&field.column, &keys.row(one)[offset..]);
                let (one, two) = (Slot(one), Slot(two));
                let what = format!("is to be unique, and the rows in slots {one} and {two} both have {value}");
                RewriteError::Unfit(format!("{}.{}: {what}", schema.row.name, field.name))
            })?;
            done.indexes[index] = Some(made);
        }
        done.layout = Some(layout);
        self.tables[number] = done;
        Ok(())
    }
}

impl TableRewrite {
    /// Gets memory ready for pages that are going to change until the swap.
    fn reserve(&self, pool: &Pool) {
        if let Some(layout) = &self.layout {
            let class = class_for(self.slots * layout.row_bytes());
            pool.reserve_blocks(class, self.pages.len() * RESERVED_EIGHTHS / 8);
        }
    }
}

impl RowsPlan {
    /// Whether all of it has to be done again where a single row has changed.
    pub(super) fn is_whole(&self) -> bool {
        self.migrations.iter().any(|migration| migration.is_whole)
    }
}

/// The rewriting of one table.
struct Work<'a> {
    to: &'a Arc<LogicVersion>,
    layout: &'a Arc<TableLayout>,
    plan: &'a TablePlan,
    /// The old table's number.
    old: usize,
    scratch: Scratch,
}

/// Rows that a migration reads, and values that it gives.
#[derive(Default)]
struct Scratch {
    old: Aligned,
    new: Aligned,
}

impl Work<'_> {
    fn page(&mut self, number: usize, world: &mut World) -> Result<PageRewrite, RewriteError> {
        let table = world.tables().table(self.old);
        let source = table.block(number).clone();
        let page = table.page(number);
        let live = page.live.to_vec();
        let Change::Rows(rows) = &self.plan.change else {
            return Ok(PageRewrite { page: RewrittenPage { block: source.clone(), hash: None }, source, live });
        };
        let (slots, old_bytes, new_bytes) = (table.slots(), page.rows.len() / table.slots(), self.layout.row_bytes());
        let len = slots * new_bytes;
        let mut block = world.tables().pool().take(class_for(len));
        let new = block.bytes_mut(len);
        let mut at = 0;
        for (start, end) in runs(&live, slots) {
            // Free slots are zero, and so is what only a migration will write.
            let clear = if rows.is_dense { at..start } else { at..end };
            new[clear.start * new_bytes..clear.end * new_bytes].fill(0);
            at = end;
        }
        new[at * new_bytes..].fill(0);
        // As many rows at a time as stay in the processor's nearest cache for all steps.
        let most = (ROWS_BYTES / (old_bytes + new_bytes)).max(1);
        let pieces = runs(&live, slots)
            .flat_map(|(start, end)| (start..end).step_by(most).map(move |at| (at, end.min(at + most))));
        for (start, end) in pieces {
            let old = &page.rows[start * old_bytes..end * old_bytes];
            let new = &mut new[start * new_bytes..end * new_bytes];
            run(&rows.steps, &mut Strided::new(old, old_bytes, new, new_bytes)).map_err(|misfit| {
                RewriteError::Unfit(told(&misfit, table.rows_before(number), number, &live, start, slots))
            })?;
        }
        for migration in rows.migrations.iter().filter(|migration| !migration.is_whole) {
            let table = world.tables().table(self.old);
            let first = table.rows_before(number);
            self.scratch.read(migration, [table.page(number)], slots, first)?;
            self.scratch.run(self.to, migration, world, first)?;
            self.scratch.write(migration, block.bytes_mut(len), &live, slots, 0, first)?;
        }
        // So that the first state hash after the swap need not read them all; at once, while the page is in the cache.
        let generations = world.tables().table(self.old).generations(number);
        let hash = (!rows.is_whole()).then(|| self.layout.hash(slots, block.slice(len), generations, &live));
        Ok(PageRewrite { source, page: RewrittenPage { block: Arc::new(block), hash }, live })
    }

    /// Runs the migration of all rows at once, if there is one.
    fn whole(&mut self, done: &mut TableRewrite, world: &mut World) -> Result<(), RewriteError> {
        let Change::Rows(rows) = &self.plan.change else { return Ok(()) };
        for migration in rows.migrations.iter().filter(|migration| migration.is_whole) {
            let table = world.tables().table(self.old);
            let (slots, pages) = (table.slots(), table.row_page_count());
            self.scratch.read(migration, (0..pages).map(|page| table.page(page)), slots, 0)?;
            self.scratch.run(self.to, migration, world, 0)?;
            let table = world.tables().table(self.old);
            let mut first = 0;
            for (number, page) in done.pages.iter_mut().enumerate() {
                let block = Arc::get_mut(&mut page.page.block).expect("just made, and nobody else's");
                let bytes = block.bytes_mut(slots * self.layout.row_bytes());
                self.scratch.write(migration, bytes, &page.live, slots, first, first)?;
                page.page.hash = Some(self.layout.hash(slots, bytes, table.generations(number), &page.live));
                first += live_slots(&page.live, slots).count();
            }
        }
        Ok(())
    }
}

impl Scratch {
    /// Brings live rows into the form that a migration reads. `first`: the number of the first row.
    fn read<'p>(
        &mut self,
        migration: &Migration,
        pages: impl IntoIterator<Item = Page<'p>> + Clone,
        slots: usize,
        mut first: usize,
    ) -> Result<(), RewriteError> {
        let rows: usize = pages.clone().into_iter().map(|page| live_slots(page.live, slots).count()).sum();
        let view_bytes = migration.old_bytes;
        self.old.reset(rows * view_bytes);
        let mut views = self.old.bytes_mut();
        for page in pages {
            let row_bytes = page.rows.len() / slots;
            for (start, end) in runs(page.live, slots) {
                let old = &page.rows[start * row_bytes..end * row_bytes];
                let view;
                (view, views) = views.split_at_mut((end - start) * view_bytes);
                run(&migration.view, &mut Strided::new(old, row_bytes, view, view_bytes)).map_err(|misfit| {
                    let row = first + misfit.row;
                    RewriteError::Unfit(format!("{}: what its migration reads of row {row}: {misfit}", migration.path))
                })?;
                first += end - start;
            }
        }
        Ok(())
    }

    /// `first`: the number of the first row, for a panic's report.
    fn run(
        &mut self,
        to: &LogicVersion,
        migration: &Migration,
        world: &mut World,
        first: usize,
    ) -> Result<(), RewriteError> {
        let rows = self.old.len() / migration.old_bytes;
        self.new.reset(rows * migration.column.size() as usize);
        let (arguments, mut outbox) = (Arguments::default(), Outbox::new());
        let mut frame = Frame::new(world, &mut outbox, &arguments, !migration.has_heap);
        to.migrate(migration.number, &mut frame, &arguments, &self.old, &mut self.new).map_err(|done| {
            let (message, location) = frame.panic.take().unwrap_or_default();
            RewriteError::Fault { path: migration.path.to_string(), row: first + done, message, location }
        })
    }

    /// Puts values, from number `from` on, into the live rows of a page. They come from a plugin, so they are looked at first.
    fn write(
        &self,
        migration: &Migration,
        page: &mut [u8],
        live: &[u64],
        slots: usize,
        from: usize,
        first: usize,
    ) -> Result<(), RewriteError> {
        let (row_bytes, value_bytes) = (page.len() / slots, migration.column.size() as usize);
        let spans = migration.column.spans();
        let values = self.new.bytes()[from * value_bytes..].chunks_exact(value_bytes);
        for (number, (slot, value)) in live_slots(live, slots).zip(values).enumerate() {
            check_value(&migration.column, value).map_err(|what| {
                let row = first + number;
                RewriteError::Unfit(format!(
                    "{}: the migration gave row {row} what is no value: {what}",
                    migration.path
                ))
            })?;
            let new = &mut page[slot * row_bytes + migration.to..][..value_bytes];
            for &(offset, len) in &spans {
                let (offset, len) = (offset as usize, len as usize);
                new[offset..offset + len].copy_from_slice(&value[offset..offset + len]);
            }
        }
        Ok(())
    }
}

/// An index that is being made over rewritten pages.
struct Keys<'a> {
    layout: &'a TableLayout,
    slots: usize,
    pages: &'a [PageRewrite],
    index: usize,
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
    /// The slots of two rows that have one value.
    fn follow(&self, index: &mut Index, changed: &[usize], before: &[PageRewrite]) -> Result<(), (u32, u32)> {
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
                    return Err((other.get().min(slot), other.get().max(slot)));
                }
                let hash_of = |multiplier, slot| hash_key(multiplier, self.key(self.row(slot)));
                let hash = index.grow(key, hash_of).expect("an index grows with its table");
                index.insert(hash, slot);
            }
        }
        Ok(())
    }

    /// True if a row is in the slot as it was before, with the value that it had.
    fn has_stayed(&self, number: usize, slot: usize, before: &PageRewrite) -> bool {
        let is_live = |page: &PageRewrite| page.live[slot / 64] >> (slot % 64) & 1 == 1;
        let key = |page| self.key(row_of(page, slot, self.slots, self.layout.row_bytes()));
        let now = &self.pages[number];
        is_live(before) && is_live(now) && key(before) == key(now)
    }
}

fn row_of(page: &PageRewrite, slot: usize, slots: usize, row_bytes: usize) -> &[u8] {
    &page.page.block.slice(slots * row_bytes)[slot * row_bytes..][..row_bytes]
}

fn slot_number(page: usize, slot: usize) -> u32 {
    u32::try_from(page << 16 | slot).expect("page and slot fit 16 bits each")
}

/// A slot as ids show it: page and place.
struct Slot(u32);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xFFFF)
    }
}

/// Names the row of a misfit, which counts from the start of its run.
fn told(misfit: &Misfit, rows_before: usize, page: usize, live: &[u64], start: usize, slots: usize) -> String {
    let slot = start + misfit.row;
    let number = rows_before + live_slots(live, slots).take_while(|live| *live < slot).count();
    format!("{}: row {number} (slot {}) {}", misfit.path, Slot(slot_number(page, slot)), misfit.what)
}

pub(super) fn live_slots(live: &[u64], slots: usize) -> impl Iterator<Item = usize> {
    (0..slots).filter(move |slot| live[slot / 64] >> (slot % 64) & 1 == 1)
}

/// Stretches of live slots: where each starts, and where it ends.
fn runs(live: &[u64], slots: usize) -> impl Iterator<Item = (usize, usize)> {
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
