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
    /// Rows in a page that may have them.
    slots: usize,
}

impl Texts {
    pub(super) fn of(plan: &Plan, world: &World) -> Self {
        let mut group_pages = 0;
        let tables = plan.tables.iter().zip(&plan.new.tables).map(|(table, new)| {
            let first_page = group_pages;
            let per_row = match &table.change {
                Change::Rows(rows) => rows.migrations.iter().map(|migration| migration.texts.len()).sum(),
                Change::New | Change::Kept => 0,
            };
            let slots = match table.old {
                // Its row is in the first slot.
                Some(old) if new.single || plan.old.tables[old].single => 1,
                // As many as there can be: a lone page may grow meanwhile.
                Some(old) => world.tables().table(old).slots_max(),
                None => 0,
            };
            group_pages += (slots * per_row).div_ceil(VALUES_PER_PAGE);
            TableTexts { first_page, per_row, slots }
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
        TextWriter { maker: PageMaker::new(vacancies), first, table: self.table, before: 0 }
    }
}

/// Puts the texts of one page of rows where they belong.
pub(super) struct TextWriter<'a> {
    maker: PageMaker<'a>,
    first: usize,
    table: TableTexts,
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
        let beyond = || RewriteError::TextPages { path: migration.path.to_string() };
        // What follows are the places of another table. Only unsafe code puts a row there.
        if slot >= self.table.slots {
            return Err(beyond());
        }
        let nth = self.first + slot * self.table.per_row + self.before + number;
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

#[cfg(test)]
mod tests {
    use crate::plan::{Cancel, Rewrite};
    use crate::testing::TestRoom;
    use crate::{Input, LogicVersion};
    use logic_api::prelude::*;
    use std::sync::Arc;

    mod one {
        use super::*;

        #[derive(Debug, Default, Row)]
        #[repr(C)]
        pub(super) struct Board {
            turn: u64,
        }

        #[derive(Debug, Row)]
        #[repr(C)]
        pub(super) struct Unit {
            pub(super) number: u64,
        }

        #[derive(Debug, World)]
        pub(super) struct World {
            board: One<Board>,
            units: Table<Unit>,
        }

        #[logic(linked, version = 1)]
        impl Logic for World {
            fn create(&mut self, _ctx: &mut Ctx, _config: &[u8]) {
                (0..20_000).for_each(|number| _ = self.units.insert(Unit { number }));
            }

            fn signal(&mut self, _ctx: &mut Ctx, _name: &str, _bytes: &[u8]) {
                self.board.turn += 1;
                (0..5_000).for_each(|number| _ = self.units.insert(Unit { number }));
            }
        }
    }

    mod two {
        use super::*;

        #[derive(Debug, Default, Row)]
        #[repr(C)]
        struct Board {
            turn: u64,
            #[row(migrate = |old: &one::Board| ["a", "b", "c", "d"].map(|line| Text::new(&format!("{line} {old:?}"))))]
            lines: [Text; 4],
        }

        #[derive(Debug, Row)]
        #[repr(C)]
        struct Unit {
            number: u64,
            #[row(migrate = |old: &one::Unit| Text::new(&old.number.to_string()))]
            name: Text,
        }

        #[derive(Debug, World)]
        #[expect(dead_code, reason = "what counts is what the engine does with the tables")]
        pub(super) struct World {
            board: One<Board>,
            units: Table<Unit>,
        }

        #[logic(linked, version = 2)]
        impl Logic for World {}
    }

    /// One page for the `One`, and eight for 8,192 units, in each of four groups. The last page of units has 424 rows.
    #[test]
    fn a_one_takes_a_page_of_the_heap_for_each_page_of_the_longest_table() {
        let to = LogicVersion::linked::<two::World>().unwrap();
        let swapped = |is_prepared: bool| {
            let mut room: TestRoom<one::World> = TestRoom::new();
            let plan = Arc::new(room.room().plan_swap(&to, &[]));
            let mut rewrite = Rewrite::new(plan, to.clone(), Arc::default(), 3, usize::MAX);
            if is_prepared {
                rewrite.update(&mut room.room().fork_world(), &Cancel::default()).unwrap();
                room.room().prepare_swap(rewrite);
            }
            room.signal("more", b"");
            room.step(Input::swap(to.clone())).unwrap();
            let heap = room.room().world().heap();
            assert_eq!((heap.page_counts(), heap.page_count()), ((0, 3 * 9 + 2), 1 + 3 * 8 + 1));
            room.room().state_hash()
        };
        assert_eq!(swapped(true), swapped(false));
    }
}
