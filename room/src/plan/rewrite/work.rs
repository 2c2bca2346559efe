//! The rewriting of the pages of one table: steps and migrations, page by page.

use super::texts::{TextPlaces, TextWriter};
use super::{PageRewrite, RewriteError, TableRewrite, check_texts};
use crate::LogicVersion;
use crate::heap::{PendingValues, handle};
use crate::outbox::Outbox;
use crate::plan::budget::Budget;
use crate::plan::slots::{live_slots, runs, told};
use crate::plan::steps::{Strided, run};
use crate::plan::{Change, Migration, TablePlan, check_value};
use crate::raw::{Aligned, Arguments, Frame, Page, RewrittenPage, TableLayout, block_bytes, class_for};
use crate::world::World;
use logic_api::abi::RawHeapId;
use std::sync::Arc;

/// Bytes of old and new rows to which the steps are done at a time.
const ROWS_BYTES: usize = 16 << 10;

/// The rewriting of one table.
pub(super) struct Work<'a> {
    pub(super) to: &'a Arc<LogicVersion>,
    pub(super) layout: &'a Arc<TableLayout>,
    pub(super) plan: &'a TablePlan,
    /// The old table's number.
    pub(super) old: usize,
    /// Where the texts come that its migrations make.
    pub(super) texts: TextPlaces<'a>,
    pub(super) budget: &'a mut Budget,
    pub(super) scratch: Scratch,
}

/// Rows that a migration reads, and values that it gives.
#[derive(Default)]
pub(super) struct Scratch {
    old: Aligned,
    new: Aligned,
    /// The texts that the values name.
    texts: PendingValues,
}

impl Work<'_> {
    pub(super) fn page(&mut self, number: usize, world: &mut World) -> Result<PageRewrite, RewriteError> {
        let table = world.tables().table(self.old);
        let source = table.block(number).clone();
        let page = table.page(number);
        let live = page.live.to_vec();
        let Change::Rows(rows) = &self.plan.change else {
            let page = RewrittenPage { block: source.clone(), hash: None };
            return Ok(PageRewrite { page, source, live, texts: Vec::new() });
        };
        let (slots, old_bytes, new_bytes) = (table.slots(), page.rows.len() / table.slots(), self.layout.row_bytes());
        let len = slots * new_bytes;
        self.budget.take(block_bytes(class_for(len)))?;
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
        let mut texts = self.texts.of_page(number);
        for migration in rows.migrations.iter().filter(|migration| !migration.is_whole) {
            let table = world.tables().table(self.old);
            let first = table.rows_before(number);
            self.scratch.read(migration, [table.page(number)], slots, self.budget, first)?;
            self.scratch.run(self.to, migration, world, self.budget, first)?;
            let mut target = Target { page: block.bytes_mut(len), live: &live, slots, texts: &mut texts };
            self.scratch.write(migration, &mut target, self.budget, 0, first)?;
        }
        // So that the first state hash after the swap need not read them all; at once, while the page is in the cache.
        let generations = world.tables().table(self.old).generations(number);
        let hash = (!rows.is_whole()).then(|| self.layout.hash(slots, block.slice(len), generations, &live));
        Ok(PageRewrite { source, page: RewrittenPage { block: Arc::new(block), hash }, live, texts: texts.end() })
    }

    /// Runs the migration of all rows at once, if there is one.
    pub(super) fn whole(&mut self, done: &mut TableRewrite, world: &mut World) -> Result<(), RewriteError> {
        let Change::Rows(rows) = &self.plan.change else { return Ok(()) };
        for migration in rows.migrations.iter().filter(|migration| migration.is_whole) {
            let table = world.tables().table(self.old);
            let (slots, pages) = (table.slots(), table.row_page_count());
            self.scratch.read(migration, (0..pages).map(|page| table.page(page)), slots, self.budget, 0)?;
            self.scratch.run(self.to, migration, world, self.budget, 0)?;
            let table = world.tables().table(self.old);
            let mut first = 0;
            for (number, page) in done.pages.iter_mut().enumerate() {
                let block = Arc::get_mut(&mut page.page.block).expect("just made, and nobody else's");
                let bytes = block.bytes_mut(slots * self.layout.row_bytes());
                let mut texts = self.texts.of_page(number);
                let mut target = Target { page: bytes, live: &page.live, slots, texts: &mut texts };
                self.scratch.write(migration, &mut target, self.budget, first, first)?;
                page.texts = texts.end();
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
        budget: &Budget,
        mut first: usize,
    ) -> Result<(), RewriteError> {
        let rows: usize = pages.clone().into_iter().map(|page| live_slots(page.live, slots).count()).sum();
        let view_bytes = migration.old_bytes;
        budget.check(rows * (view_bytes + migration.column.size() as usize))?;
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
        budget: &Budget,
        first: usize,
    ) -> Result<(), RewriteError> {
        let rows = self.old.len() / migration.old_bytes;
        self.new.reset(rows * migration.column.size() as usize);
        // As `read` has found that they fit.
        let scratch_bytes = self.old.len() + self.new.len();
        self.texts.clear(budget.left().saturating_sub(scratch_bytes));
        let (arguments, mut outbox) = (Arguments::default(), Outbox::new());
        let mut frame = Frame::new(world, &mut outbox, &arguments, true);
        frame.pending = migration.has_heap.then_some(&mut self.texts);
        let migrated = to.migrate(migration.number, &mut frame, &arguments, &self.old, &mut self.new);
        let panic = frame.panic.take();
        // However the migration took it that a text was not kept.
        check_texts(self.texts.value_bytes_asked())?;
        budget.check(scratch_bytes + self.texts.bytes_asked())?;
        migrated.map_err(|done| {
            let (message, location) = panic.unwrap_or_default();
            RewriteError::Fault { path: migration.path.to_string(), row: first + done, message, location }
        })
    }

    /// Puts values, from number `from` on, into the live rows of a page. They come from a plugin, so they are looked at first.
    /// `first`: the number of the first row.
    fn write(
        &mut self,
        migration: &Migration,
        target: &mut Target<'_, '_>,
        budget: &mut Budget,
        from: usize,
        first: usize,
    ) -> Result<(), RewriteError> {
        let (row_bytes, value_bytes) = (target.page.len() / target.slots, migration.column.size() as usize);
        let spans = migration.column.spans();
        let values = self.new.bytes()[from * value_bytes..].chunks_exact(value_bytes);
        for (number, (slot, value)) in live_slots(target.live, target.slots).zip(values).enumerate() {
            let no_value = |what: String| {
                let (path, row) = (&migration.path, first + number);
                RewriteError::Unfit(format!("{path}: the migration gave row {row} what is no value: {what}"))
            };
            check_value(&migration.column, value).map_err(no_value)?;
            let new = &mut target.page[slot * row_bytes + migration.to..][..value_bytes];
            for &(offset, len) in &spans {
                let (offset, len) = (offset as usize, len as usize);
                new[offset..offset + len].copy_from_slice(&value[offset..offset + len]);
            }
            for (text, &at) in migration.texts.iter().enumerate() {
                let id = handle(&value[at..]);
                if id == RawHeapId::default() {
                    continue;
                }
                // Only unsafe code gives one that it does not own.
                let made = self.texts.take(id).ok_or_else(|| no_value("a text that it has not made".to_owned()))?;
                let handle = target.texts.put(migration, (slot, text), made, budget)?;
                new[at..at + 8].copy_from_slice(&handle);
            }
        }
        target.texts.end_of(migration);
        Ok(())
    }
}

/// A page that values are put into.
struct Target<'a, 't> {
    page: &'a mut [u8],
    live: &'a [u64],
    slots: usize,
    texts: &'a mut TextWriter<'t>,
}
