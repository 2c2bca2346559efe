//! Carries a plan out: the pages of a fork are rewritten while the room plays on, then those that have changed since, until what
//! is left for the swap is little.

mod keys;
mod texts;
mod work;

use super::budget::Budget;
use super::frees::Frees;
use super::{Change, IndexPlan, Plan, RowsPlan, TablePlan};
use crate::LogicVersion;
use crate::heap::MadePage;
use crate::limits::{HEAP_BYTES_MAX, TABLE_BYTES_MAX};
use crate::raw::{Block, Index, Pool, RawTable, RewrittenPage, TableLayout, Tables, block_bytes, class_for};
use crate::world::{Lineage, World};
use keys::Keys;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use texts::Texts;
use work::{Scratch, Work};

/// The share of the pages, in eighths, for which memory is got ready: as many may change until the swap without a wait for it.
const RESERVED_EIGHTHS: usize = 2;

/// A plan, as far as it has been carried out for a world: see [`Rewrite::update`].
pub struct Rewrite {
    plan: Arc<Plan>,
    to: Arc<LogicVersion>,
    drops: Arc<[String]>,
    seed: u64,
    /// As the tables of the plan.
    tables: Vec<TableRewrite>,
    /// Whose pages they are. None until the first is rewritten.
    lineage: Option<Lineage>,
    /// Where the texts come that migrations make. None until the first page is rewritten.
    texts: Option<Texts>,
    frees: Frees,
    /// What others have taken the place of.
    spent: Vec<PageRewrite>,
    budget: Budget,
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
    #[error("{path}: the migration panicked at row {row}: {message}{}", after_comma(.location))]
    Fault { path: String, row: usize, message: String, location: String },
    #[error("the rewritten tables take more than the {bytes_max} bytes that they may")]
    Memory { bytes_max: usize },
    /// Whatever the settings say.
    #[error(
        "{table}: its pages would take {bytes} bytes, and those of a table may take {bytes_max}: make its rows shorter, or put some of \
         its columns into a table of their own"
    )]
    Table { table: String, bytes: usize, bytes_max: usize },
    #[error(
        "the texts would take {bytes} bytes, and those of a room may take {bytes_max}: make shorter ones, or remove some before"
    )]
    Texts { bytes: usize, bytes_max: usize },
    /// Handles cannot name as many pages.
    #[error(
        "{path}: its texts, with those of the other tables, need more pages than a handle can name: make fewer for each row, or \
         change the tables one after the other"
    )]
    TextPages { path: String },
    #[error("the rewrite was given up: its time is over")]
    Cancelled,
}

/// It is empty where it is not known.
fn after_comma(location: &str) -> String {
    if location.is_empty() { String::new() } else { format!(", {location}") }
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
    /// With the texts that its migrations have made.
    texts: Vec<MadePage>,
}

impl PageRewrite {
    /// What it takes. A page that stays is the world's own.
    fn bytes(&self) -> usize {
        let is_new = !Arc::ptr_eq(&self.page.block, &self.source);
        let rows = if is_new { self.page.block.bytes() } else { 0 };
        rows + self.texts.iter().map(MadePage::bytes).sum::<usize>()
    }
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
        let (pages, bytes) = (self.pages_done(), self.bytes());
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
        let (lineage, texts) = (None, None);
        let (frees, spent, budget) = (Frees::default(), Vec::new(), Budget::new(bytes_max));
        Self { plan, to, drops, seed, tables, lineage, texts, frees, spent, budget, pages_done: 0 }
    }

    /// What it takes: pages of rows and of texts, indexes, and what is known of texts that go.
    pub fn bytes(&self) -> usize {
        self.budget.used()
    }

    /// Pages that have been gone through so far, one that has changed in between once more: rewritten, followed in an index that is
    /// made, or searched for texts to be freed.
    pub fn pages_done(&self) -> usize {
        self.pages_done + self.frees.pages_done()
    }

    /// True if what has been carried out is of this world or of forks of it, and it can be followed from there on: not if the world
    /// was made anew, its tables are others by now, or it went back to where it had fewer pages.
    pub fn is_of(&self, world: &World) -> bool {
        let is_kin = self.lineage.as_ref().is_none_or(|lineage| lineage == world.lineage());
        is_kin
            && *self.plan.old == **world.schema()
            && self.texts.as_ref().is_none_or(|texts| *texts == Texts::of(&self.plan, world))
            && self.has_its_pages(world)
            && self.frees.fit(&self.plan, world)
    }

    fn has_its_pages(&self, world: &World) -> bool {
        let mut tables = self.plan.tables.iter().zip(&self.tables).filter_map(|(plan, done)| Some((plan.old?, done)));
        tables.all(|(old, done)| done.pages.len() <= world.tables().table(old).row_page_count())
    }

    /// True if this is the rewrite for that swap of that world.
    pub(crate) fn is_for(&self, world: &World, to: &Arc<LogicVersion>, drops: &[String]) -> bool {
        Arc::ptr_eq(&self.to, to) && *self.drops == *drops && self.is_of(world)
    }

    /// Rewrites the pages of a fork that have changed since the last time, all of them the first time.
    ///
    /// # Errors
    /// [`RewriteError`]; the rewrite is of no use any more.
    ///
    /// # Panics
    /// If the rewrite is not of that world: [`Rewrite::is_of`].
    pub fn update(&mut self, world: &mut World, cancel: &Cancel) -> Result<(), RewriteError> {
        self.update_watched(world, cancel, &mut |_| {})
    }

    /// As [`Rewrite::update`]; `watch` is told of each table before it is rewritten.
    pub(crate) fn update_watched(
        &mut self,
        world: &mut World,
        cancel: &Cancel,
        watch: &mut dyn FnMut(&str),
    ) -> Result<(), RewriteError> {
        assert!(self.is_of(world), "a rewrite goes on with the world that it was begun for");
        self.rewrite(world, cancel, watch, false)?;
        self.frees.update(&self.plan, world, &mut self.budget, cancel)?;
        self.check_texts(world.heap().bytes() - self.frees.freed_bytes())?;
        // What is got ready for one table is not there for the next.
        let mut left = self.budget.left();
        for table in &self.tables {
            left -= table.reserve(world.tables().pool(), left);
        }
        Ok(())
    }

    /// Makes the new world of the old one: what is left to rewrite, and everything that is not pages.
    ///
    /// # Errors
    /// As for `update`; the world is of no use any more.
    pub(crate) fn finish(mut self, world: &mut World) -> Result<Leftover, RewriteError> {
        self.rewrite(world, &Cancel::default(), &mut |_| {}, true)?;
        let frees = std::mem::take(&mut self.frees).finish(&self.plan, world, &mut self.budget)?;
        self.check_texts(world.heap().bytes())?;
        let made = self.tables.iter_mut().flat_map(|table| &mut table.pages).flat_map(|page| page.texts.drain(..));
        world.heap_mut().put_made(made.collect());
        let pool = world.tables().pool().clone();
        let mut old: Vec<Option<RawTable>> = world.tables_mut().take().into_iter().map(Some).collect();
        let mut leftover = Leftover { _frees: frees, _pages: vec![self.spent], ..Leftover::default() };
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

    /// `bytes`: of the texts that stay beside those that are made.
    fn check_texts(&self, bytes: usize) -> Result<(), RewriteError> {
        let made = self.tables.iter().flat_map(|table| &table.pages).flat_map(|page| &page.texts);
        check_texts(bytes + made.map(MadePage::value_bytes).sum::<usize>())
    }

    fn rewrite(
        &mut self,
        world: &mut World,
        cancel: &Cancel,
        watch: &mut dyn FnMut(&str),
        is_swap: bool,
    ) -> Result<(), RewriteError> {
        let plan = Arc::clone(&self.plan);
        if self.lineage.is_none() {
            self.lineage = Some(world.lineage().clone());
            self.texts = Some(Texts::of(&plan, world));
        }
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
                Change::Rows(_) => true,
            };
            if has_work {
                watch(&table.name);
                self.table(number, table, old, world, cancel)?;
            }
            // In the swap that would take its time.
            if !is_swap {
                self.budget.give(self.spent.drain(..).map(|page| page.bytes()).sum());
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
            self.budget.give(done.bytes());
            done = TableRewrite { slots, ..TableRewrite::default() };
        }
        if matches!(plan.change, Change::Rows(_)) {
            check_table(&plan.name, pages, slots * layout.row_bytes())?;
        }
        done.indexes.resize_with(plan.indexes.len(), || None);
        let is_changed = |done: &TableRewrite, page: usize| {
            done.pages.get(page).is_none_or(|known| !Arc::ptr_eq(&known.source, table.block(page)))
        };
        let mut changed: Vec<usize> = (0..pages).filter(|page| is_changed(&done, *page)).collect();
        if !changed.is_empty() && matches!(&plan.change, Change::Rows(rows) if rows.is_whole()) {
            changed = (0..pages).collect();
        }
        let texts = self.texts.as_ref().expect("known before the first table").of_table(number);
        let (to, layout_of, budget) = (&self.to, &layout, &mut self.budget);
        let mut work = Work { to, layout: layout_of, plan, old, texts, budget, scratch: Scratch::default() };
        let mut before = Vec::new();
        for &page in &changed {
            cancel.check()?;
            let rewritten = work.page(page, world)?;
            self.pages_done += 1;
            if done.pages.len() == page {
                done.pages.push(rewritten);
            } else {
                before.push(std::mem::replace(&mut done.pages[page], rewritten));
            }
        }
        if !changed.is_empty() {
            work.whole(&mut done, world)?;
        }
        let seed = world.tables().table(old).index_seed().unwrap_or(self.seed);
        let indexes = plan.indexes.iter().enumerate().filter(|(_, index)| **index == IndexPlan::Made);
        for (index, _) in indexes {
            let mut made = match done.indexes[index].take() {
                Some(made) => made,
                None => {
                    self.budget.take(Index::EMPTY_BYTES)?;
                    Index::new(world.tables().pool(), seed)
                }
            };
            let keys = Keys { layout: &layout, slots, pages: &done.pages, index };
            let followed = keys.follow(&mut made, &changed, &before, &mut self.budget);
            followed.map_err(|hindrance| hindrance.told(&keys, &schema.row))?;
            done.indexes[index] = Some(made);
        }
        self.spent.extend(before);
        done.layout = Some(layout);
        self.tables[number] = done;
        Ok(())
    }
}

impl TableRewrite {
    /// Gets memory ready for pages that are going to change until the swap. Returns how much.
    fn reserve(&self, pool: &Pool, bytes_max: usize) -> usize {
        let Some(layout) = &self.layout else { return 0 };
        let class = class_for(self.slots * layout.row_bytes());
        let blocks = (self.pages.len() * RESERVED_EIGHTHS / 8).min(bytes_max / block_bytes(class));
        pool.reserve_blocks(class, blocks);
        blocks * block_bytes(class)
    }

    /// What it takes.
    fn bytes(&self) -> usize {
        let pages = self.pages.iter().map(PageRewrite::bytes).sum::<usize>();
        pages + self.indexes.iter().flatten().map(Index::bytes).sum::<usize>()
    }
}

/// Refuses a table whose pages would take more than a table may. They keep their number and that of their slots.
fn check_table(table: &str, pages: usize, page_bytes: usize) -> Result<(), RewriteError> {
    let bytes = pages * block_bytes(class_for(page_bytes));
    match bytes > TABLE_BYTES_MAX {
        true => Err(RewriteError::Table { table: table.to_owned(), bytes, bytes_max: TABLE_BYTES_MAX }),
        false => Ok(()),
    }
}

/// Refuses more texts than a heap may have.
fn check_texts(bytes: usize) -> Result<(), RewriteError> {
    if bytes > HEAP_BYTES_MAX { Err(RewriteError::Texts { bytes, bytes_max: HEAP_BYTES_MAX }) } else { Ok(()) }
}

impl RowsPlan {
    /// Whether all of it has to be done again where a single row has changed.
    pub(super) fn is_whole(&self) -> bool {
        self.migrations.iter().any(|migration| migration.is_whole)
    }
}
