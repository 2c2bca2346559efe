//! Where the texts come that migrations make.
//!
//! Each page of rows has pages of the heap for them, by its number, and each row has places in those, by its slot. So a page that
//! has changed is done again without a look at the others, and whoever does all of them at once comes to the same handles.

use super::RewriteError;
use crate::heap::{MadePage, PageMaker, VALUES_PER_PAGE, Vacancies, handle_bytes};
use crate::plan::budget::Budget;
use crate::plan::{Change, Migration, Plan};
use crate::world::World;
use std::sync::Arc;

/// The places for the texts of all tables.
#[derive(PartialEq)]
pub(super) struct Texts {
    vacancies: Vacancies,
    /// Pages of the heap for the first pages of all tables, for the second ones, and so on: so a table that grows while the room
    /// plays on moves nothing of the others.
    group_pages: usize,
    /// As the tables of the plan.
    tables: Vec<TableTexts>,
}

/// Those of one table.
#[derive(Clone, Copy, PartialEq)]
struct TableTexts {
    /// Where its pages are in a group.
    first_page: usize,
    per_row: usize,
}

impl Texts {
    pub(super) fn of(plan: &Plan, world: &World) -> Self {
        let mut group_pages = 0;
        let tables = plan.tables.iter().map(|table| {
            let first_page = group_pages;
            let per_row = match &table.change {
                Change::Rows(rows) => rows.migrations.iter().map(|migration| migration.texts.len()).sum(),
                Change::New | Change::Kept => 0,
            };
            // As many as there can be: a lone page may grow meanwhile.
            let slots = table.old.map_or(0, |old| world.tables().table(old).slots_max());
            group_pages += (slots * per_row).div_ceil(VALUES_PER_PAGE);
            TableTexts { first_page, per_row }
        });
        let tables = tables.collect();
        Self { vacancies: world.heap().vacancies(), group_pages, tables }
    }

    pub(super) fn of_table(&self, number: usize) -> TextPlaces<'_> {
        TextPlaces { texts: self, table: self.tables[number] }
    }
}

/// The places for the texts of one table.
#[derive(Clone, Copy)]
pub(super) struct TextPlaces<'a> {
    texts: &'a Texts,
    table: TableTexts,
}

impl<'a> TextPlaces<'a> {
    /// Those for a page of rows.
    pub(super) fn of_page(&self, page: usize) -> TextWriter<'a> {
        let Texts { vacancies, group_pages, .. } = self.texts;
        let first = (page * group_pages + self.table.first_page) * VALUES_PER_PAGE;
        TextWriter { maker: PageMaker::new(vacancies), first, per_row: self.table.per_row, before: 0 }
    }
}

/// Puts the texts of one page of rows where they belong.
pub(super) struct TextWriter<'a> {
    maker: PageMaker<'a>,
    first: usize,
    per_row: usize,
    /// Texts of a row that other migrations make.
    before: usize,
}

impl TextWriter<'_> {
    /// A text of the row in that slot, the one of that number in what the migration gives; and what names it.
    pub(super) fn put(
        &mut self,
        migration: &Migration,
        (slot, number): (usize, usize),
        text: Arc<[u8]>,
        budget: &mut Budget,
    ) -> Result<[u8; 8], RewriteError> {
        let nth = self.first + slot * self.per_row + self.before + number;
        let beyond = || RewriteError::TextPages { path: migration.path.to_string() };
        budget.take(self.maker.growth_bytes(nth, &text))?;
        self.maker.put(nth, text).map(handle_bytes).ok_or_else(beyond)
    }

    /// All of this migration have been put.
    pub(super) fn end_of(&mut self, migration: &Migration) {
        self.before += migration.texts.len();
    }

    pub(super) fn end(self) -> Vec<MadePage> {
        self.maker.end()
    }
}
