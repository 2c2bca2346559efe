//! How the tables of one version become those of another: compared field by field, carried out page by page.
//!
//! What can be kept is kept: slots, generations and with them ids, and the bytes of texts. What would be lost is refused, with a
//! line for each field, unless the source or the caller says that it may go. `docs/schema.md` has the rules.

mod budget;
mod columns;
mod frees;
mod maker;
mod names;
mod numbers;
mod report;
mod rewrite;
mod show;
mod slots;
mod steps;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "random numbers are cut to what fits")]
mod tests;

use crate::LogicVersion;
use logic_api::changes::Changes;
use logic_api::schema::{ColumnType, FieldSchema, RowSchema, Schema, TableSchema, Unique};
use maker::{Maker, Path, Place, Row};
use names::{Names, match_names, old_names};
use std::sync::Arc;
use steps::Step;

pub use report::{FieldReport, How, PlanReport, Role, TableHow, TableReport};
pub use rewrite::{Cancel, Rewrite, RewriteError};

pub(crate) use columns::check_value;
pub(crate) use maker::{Side, has_heap, heap_offsets};
pub(crate) use rewrite::Leftover;
pub(crate) use show::show;

/// What a swap does to the tables of a world.
#[derive(Debug)]
pub struct Plan {
    /// As the tables of the new schema.
    tables: Vec<TablePlan>,
    dropped: Vec<DroppedTable>,
    notes: Vec<String>,
    refusals: Vec<String>,
    unused_drops: Vec<String>,
    old: Arc<Schema>,
    new: Arc<Schema>,
}

#[derive(Debug)]
struct TablePlan {
    name: String,
    /// The table that it comes from, by number.
    old: Option<usize>,
    /// A table of many becomes one of one row: it must have just that.
    must_be_single: bool,
    change: Change,
    /// As the indexes of the new table.
    indexes: Vec<IndexPlan>,
    fields: Vec<FieldReport>,
}

#[derive(Debug)]
enum Change {
    New,
    /// The pages stay what they are.
    Kept,
    Rows(RowsPlan),
}

/// An index of the new table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IndexPlan {
    /// That index of the old table: the same values in the same slots.
    Kept(usize),
    /// Made anew from the rows.
    Made,
}

/// How old rows become new ones.
#[derive(Debug)]
struct RowsPlan {
    steps: Vec<Step>,
    /// The steps write every byte of a row.
    is_dense: bool,
    migrations: Vec<Migration>,
    /// Where in the old row the texts are that have no place in the new one.
    frees: Vec<usize>,
}

/// A function of the new version that gives a value.
#[derive(Debug)]
struct Migration {
    number: u32,
    /// `Avatar.hp`, or `Avatar` for whole rows.
    path: Arc<str>,
    /// From the old row to the row that the function reads.
    view: Vec<Step>,
    /// The fields of the old row that it reads as a whole, by number.
    reads: Vec<usize>,
    /// Those of which it reads a part only, and what of them it does not.
    unread: Vec<(usize, String)>,
    /// Bytes of a row that it reads.
    old_bytes: usize,
    /// What it gives, and where in the new row that goes.
    column: ColumnType,
    to: usize,
    /// It may make texts.
    has_heap: bool,
    /// Where in what it gives those are.
    texts: Vec<usize>,
    /// It takes all rows at once.
    is_whole: bool,
}

#[derive(Debug)]
struct DroppedTable {
    old: usize,
    frees: Vec<usize>,
}

impl Plan {
    /// Compares the tables of two versions. `drops` says what may be lost, beside what the new version says itself.
    pub fn between(old: &LogicVersion, new: &LogicVersion, drops: &[String]) -> Self {
        let side = |version: &'_ LogicVersion| (Arc::clone(version.schema()), version.changes().clone());
        let ((old, old_changes), (new, new_changes)) = (side(old), side(new));
        Self::new(&old, &old_changes, &new, &new_changes, drops)
    }

    /// As [`Plan::between`], from what versions say of themselves.
    pub fn new(
        old: &Arc<Schema>,
        old_changes: &Changes,
        new: &Arc<Schema>,
        new_changes: &Changes,
        drops: &[String],
    ) -> Self {
        let (old_side, new_side) =
            (Side { schema: old, changes: old_changes }, Side { schema: new, changes: new_changes });
        let mut maker = Maker::new(old_side, new_side, drops);
        let (tables, dropped) = maker.tables();
        let unused = drops.iter().enumerate().filter(|(number, _)| !maker.drops_used.contains(number));
        let unused_drops = unused.map(|(_, drop)| drop.clone()).collect();
        let (notes, refusals) = (maker.notes, maker.refusals);
        Self { tables, dropped, notes, refusals, unused_drops, old: old.clone(), new: new.clone() }
    }

    /// A line for each reason why the plan cannot be carried out; none if it can, as far as the schemas tell. The rows may still
    /// have values that do not fit.
    pub fn refusals(&self) -> &[String] {
        &self.refusals
    }

    /// What the caller said may be lost, and is not.
    pub fn unused_drops(&self) -> &[String] {
        &self.unused_drops
    }

    /// True if the tables are the same in both versions.
    pub fn is_nothing(&self) -> bool {
        self.old == self.new
    }
}

impl Maker<'_> {
    fn tables(&mut self) -> (Vec<TablePlan>, Vec<DroppedTable>) {
        let (old, new) = (self.old.schema, self.new.schema);
        let sources = self.table_sources();
        for (table, source) in new.tables.iter().zip(&sources) {
            if let Some(source) = source {
                self.pair_rows(&old.tables[*source].row.name, &table.row.name);
            }
        }
        let tables: Vec<TablePlan> =
            new.tables.iter().zip(&sources).map(|(table, source)| self.table(table, *source)).collect();
        let mut dropped = Vec::new();
        for (number, table) in old.tables.iter().enumerate().filter(|(number, _)| !sources.contains(&Some(*number))) {
            let path = Path::new(&table.name, &table.name);
            if !self.is_acknowledged(&path) && !self.new.changes.dropped.contains(&table.name) {
                let how = format!("say `#[world(dropped(\"{0}\"))]`, or acknowledge it with drop={0}", table.name);
                self.say(&path, &format!("the table would be dropped with its rows; {how}"));
            }
            dropped.push(DroppedTable { old: number, frees: heap_offsets(&ColumnType::Row(table.row.clone())) });
        }
        (tables, dropped)
    }

    fn table_sources(&mut self) -> Vec<Option<usize>> {
        let (old, new) = (self.old, self.new);
        let names: Vec<&str> = old.schema.tables.iter().map(|table| table.name.as_str()).collect();
        let new_names: Vec<&str> = new.schema.tables.iter().map(|table| table.name.as_str()).collect();
        let was = |number: usize| old_names(new.changes.table(new_names[number]).map(|said| &said.was));
        let old_was = |number: usize| old_names(old.changes.table(names[number]).map(|said| &said.was));
        let (old_names, new_names) = (Names { of: &names, was: &old_was }, Names { of: &new_names, was: &was });
        let matched = match_names(old_names, new_names, &new.changes.dropped);
        for (number, claim) in matched.claims {
            let name = &new.schema.tables[number].name;
            self.say(&Path::new(name, name), &claim);
        }
        matched.sources
    }

    fn table(&mut self, new: &TableSchema, source: Option<usize>) -> TablePlan {
        let indexes = new.row.indexes().len();
        let Some(source) = source else {
            let (change, indexes) = (Change::New, vec![IndexPlan::Made; indexes]);
            let fields = Vec::new();
            return TablePlan { name: new.name.clone(), old: None, must_be_single: false, change, indexes, fields };
        };
        let old = &self.old.schema.tables[source];
        let path = Path::new(&new.row.name, &new.name);
        let migrated = self.migrated(&path, old, new);
        let (change, indexes, fields) = match migrated {
            Ok(Some(migration)) => {
                let fields = vec![FieldReport::rows(&path_of(&migration), How::Migrated)];
                let row = RowsPlan {
                    steps: Vec::new(),
                    is_dense: false,
                    migrations: vec![migration],
                    frees: heap_offsets(&ColumnType::Row(old.row.clone())),
                };
                (Change::Rows(row), vec![IndexPlan::Made; indexes], fields)
            }
            Ok(None) | Err(_) => {
                let before = self.refusals.len();
                let mut row = self.row(&path, &old.row, &new.row, Place::Table);
                self.tell_row_misfit(&path, migrated.err(), before);
                let indexes = index_plans(&old.row, &new.row, &row);
                let fields = std::mem::take(&mut row.fields);
                let change = match row.made.is_same {
                    true => Change::Kept,
                    false => Change::Rows(RowsPlan::of(row, &old.row, &new.row)),
                };
                (change, indexes, fields)
            }
        };
        let must_be_single = new.single && !old.single;
        TablePlan { name: new.name.clone(), old: Some(source), must_be_single, change, indexes, fields }
    }

    /// The migration of all rows at once, or of each as a whole, if there is one for just these rows, and they are not what they
    /// should be already.
    ///
    /// # Errors
    /// Why what there is does not fit.
    fn migrated(&mut self, path: &Path, old: &TableSchema, new: &TableSchema) -> Result<Option<Migration>, String> {
        if self.has_same_fields(&old.row, &new.row) {
            return Ok(None);
        }
        let of_table = self.new.changes.table(&new.name).and_then(|said| said.migrate);
        let of_row = self.new.changes.row(&new.row).and_then(|said| said.migrate);
        let mut misfits = Vec::new();
        for number in [of_table, of_row].into_iter().flatten() {
            match self.row_migration(path, number, &old.row, &new.row) {
                Ok(migration) => return Ok(Some(migration)),
                Err(reason) => misfits.push(reason),
            }
        }
        match misfits.is_empty() {
            true => Ok(None),
            false => Err(misfits.join("; ")),
        }
    }
}

fn path_of(migration: &Migration) -> String {
    migration.path.to_string()
}

/// Which indexes stay: those over a column whose values have the same bytes.
fn index_plans(old: &RowSchema, new: &RowSchema, row: &Row) -> Vec<IndexPlan> {
    let old_indexes = old.indexes();
    let plan = |field: &&FieldSchema| {
        let number = new.fields.iter().position(|other| other.name == field.name)?;
        let source = &old.fields[row.same[number]?];
        if source.unique == Unique::No {
            return None;
        }
        old_indexes.iter().position(|index| index.name == source.name).map(IndexPlan::Kept)
    };
    new.indexes().iter().map(|field| plan(field).unwrap_or(IndexPlan::Made)).collect()
}
