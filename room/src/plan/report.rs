//! A plan as people and programs read it.

use super::{Change, IndexPlan, Plan, TablePlan};
use crate::raw::RawTable;
use crate::world::World;
use logic_api::schema::{FieldSchema, Unique};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Pages that are looked at during a swap to see whether they have changed, in a microsecond.
const PAGES_COMPARED_US: u64 = 40;
/// Bytes that are rewritten in a microsecond: a third of what a copy of memory does.
const BYTES_REWRITTEN_US: u64 = 5_000;
/// Rows that a migration makes in a microsecond.
const ROWS_RUN_US: u64 = 10;
/// Texts that one makes, beside that.
const TEXTS_MADE_US: u64 = 15;
/// Rows that an index takes.
const ROWS_INDEXED_US: u64 = 4;
/// Texts that are freed.
const TEXTS_FREED_US: u64 = 30;
/// What a swap takes that changes no table.
const SWAP_US: u64 = 100;

/// What a plan does: table by table, field by field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// As the tables of the new version, then those that are dropped.
    pub tables: Vec<TableReport>,
    /// What is left out without a loss: a line for each migration of yet another version.
    pub notes: Vec<String>,
    /// A line for each reason why the plan is refused.
    pub refusals: Vec<String>,
    /// What was said may be lost, and is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused_drops: Vec<String>,
    /// The estimated pause of the room where nothing changes while the plan is carried out in the background. 0 for no world.
    pub pause_us: u64,
    /// The same where everything changes meanwhile.
    pub pause_us_max: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    pub name: String,
    /// The name it has in the old version, where that is another one.
    pub was: Option<String>,
    pub how: TableHow,
    /// Rows that there are, and bytes of them that are written. 0 for no world.
    pub rows: u64,
    pub bytes: u64,
    /// Of an old and of a new row.
    pub row_bytes: (u32, u32),
    /// Indexes that are made anew.
    pub indexes_made: u32,
    /// Done during the swap if one row changes after it was done in the background, because a migration takes all rows at once.
    #[serde(default)]
    pub in_pause_if_changed: bool,
    /// In the order of the new row; what is dropped comes last.
    pub fields: Vec<FieldReport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableHow {
    New,
    /// Its pages stay what they are.
    Kept,
    Rewritten,
    Dropped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldReport {
    /// `Avatar.hp`
    pub field: String,
    /// The name it has in the old version, where that is another one.
    pub was: Option<String>,
    /// Its types; none where it is not there.
    pub old: Option<String>,
    pub new: Option<String>,
    pub how: How,
    /// Where it was something else in its table, or is new there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub becomes: Option<Role>,
    /// What is lost where that is lossy: `values above 255`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loses: Option<String>,
    /// The fields of a row in it, also of one in a list, an option or an array; none where all of these are copied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldReport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    Copied,
    Renamed,
    /// Every value has a place in the new type.
    Converted,
    /// Converted if the values of every row have a place, else refused.
    Checked,
    /// Converted, and acknowledged that values may be lost.
    Lossy,
    Default,
    Migrated,
    /// With a new type: nothing of the old values is left, which was acknowledged.
    Dropped,
    Refused,
}

/// What a column is in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Key,
    Unique,
    Plain,
}

impl FieldReport {
    pub(super) fn new(path: &str, old: Option<&FieldSchema>, new: Option<&FieldSchema>, how: How) -> Self {
        let was = old.filter(|old| new.is_some_and(|new| new.name != old.name)).map(|old| old.name.clone());
        let shown = |field: Option<&FieldSchema>| field.map(|field| field.column.to_string());
        let is_other = |new: &&FieldSchema| new.unique != old.map_or(Unique::No, |old| old.unique);
        let becomes = new.filter(is_other).map(|new| match new.unique {
            Unique::Key => Role::Key,
            Unique::Unique => Role::Unique,
            Unique::No => Role::Plain,
        });
        Self { was, old: shown(old), new: shown(new), becomes, ..Self::rows(path, how) }
    }

    /// Of whole rows.
    pub(super) fn rows(path: &str, how: How) -> Self {
        let field = path.to_owned();
        Self { field, was: None, old: None, new: None, how, becomes: None, loses: None, fields: Vec::new() }
    }

    /// The same with the fields of a row in it, if there is anything to tell of them.
    pub(super) fn with_fields(self, mut fields: Vec<Self>) -> Self {
        // A key is one of the rows of a table only.
        fields.iter_mut().for_each(|field| field.becomes = None);
        let is_told = fields.iter().any(|field| field.copied() == 0);
        Self { fields: if is_told { fields } else { Vec::new() }, ..self }
    }

    /// Fields that are copied, those of rows in it one by one.
    fn copied(&self) -> usize {
        match self.fields.is_empty() {
            true => usize::from(self.is_untouched()),
            false => self.fields.iter().map(Self::copied).sum(),
        }
    }

    fn is_untouched(&self) -> bool {
        self.how == How::Copied && self.becomes.is_none()
    }

    /// A line for each that is not just copied, or `refused` with the reason. That of a row goes without saying where those of its
    /// fields say all.
    fn write_lines(&self, f: &mut fmt::Formatter<'_>, refused: &BTreeSet<&str>) -> fmt::Result {
        let is_told = match self.fields.is_empty() {
            true => !self.is_untouched() && !refused.contains(&*self.field),
            false => self.was.is_some() || self.old != self.new,
        };
        if is_told {
            writeln!(f, "  {self}")?;
        }
        self.fields.iter().try_for_each(|field| field.write_lines(f, refused))
    }
}

impl Plan {
    /// What it does, and what it would do to a world of the old version.
    pub fn report(&self, world: Option<&World>) -> PlanReport {
        let tables: Vec<_> =
            self.tables.iter().enumerate().map(|(number, table)| self.table(number, table, world)).collect();
        let (pause_us, pause_us_max) = world.map_or((0, 0), |world| self.pauses(world));
        let dropped = self.dropped.iter().map(|dropped| {
            let old = &self.old.tables[dropped.old];
            TableReport {
                name: old.name.clone(),
                was: None,
                how: TableHow::Dropped,
                rows: world.map_or(0, |world| world.tables().table(dropped.old).row_count().into()),
                bytes: 0,
                row_bytes: (old.row.size, 0),
                indexes_made: 0,
                in_pause_if_changed: false,
                fields: Vec::new(),
            }
        });
        let (notes, refusals) = (self.notes.clone(), self.refusals.clone());
        let (tables, unused_drops) = (tables.into_iter().chain(dropped).collect(), self.unused_drops.clone());
        PlanReport { tables, notes, refusals, unused_drops, pause_us, pause_us_max }
    }

    fn table(&self, number: usize, plan: &TablePlan, world: Option<&World>) -> TableReport {
        let new = &self.new.tables[number];
        let old = plan.old.map(|old| &self.old.tables[old]);
        let rows = plan.old.zip(world).map_or(0, |(old, world)| world.tables().table(old).row_count());
        let (how, is_whole) = match &plan.change {
            Change::New => (TableHow::New, false),
            Change::Kept => (TableHow::Kept, false),
            Change::Rows(rows) => (TableHow::Rewritten, rows.is_whole()),
        };
        let made = plan.indexes.iter().filter(|index| **index == IndexPlan::Made).count();
        TableReport {
            name: plan.name.clone(),
            was: old.map(|old| old.name.clone()).filter(|old| *old != plan.name),
            how,
            rows: rows.into(),
            bytes: if how == TableHow::Rewritten { u64::from(rows) * u64::from(new.row.size) } else { 0 },
            row_bytes: (old.map_or(0, |old| old.row.size), new.row.size),
            indexes_made: u32::try_from(made).unwrap_or(u32::MAX),
            in_pause_if_changed: is_whole,
            fields: plan.fields.clone(),
        }
    }
}

/// A table's size before the change.
#[derive(Debug, Clone, Copy)]
struct Size {
    rows: u64,
    pages: u64,
}

impl Size {
    fn of(table: &RawTable) -> Self {
        Self { rows: table.row_count().into(), pages: table.row_page_count() as u64 }
    }
}

impl Plan {
    /// The estimated pause of a room with this world: where nothing has changed since the plan was carried out, and where everything
    /// has.
    fn pauses(&self, world: &World) -> (u64, u64) {
        let size = |old: usize| Size::of(world.tables().table(old));
        let tables = self.tables.iter().zip(&self.new.tables);
        let carried = tables.filter_map(|(plan, new)| Some(plan.pauses(size(plan.old?), new.row.size)));
        let dropped = self.dropped.iter().map(|dropped| freeing(size(dropped.old), dropped.frees.len()));
        let pauses = carried.chain(dropped);
        pauses.fold((SWAP_US, SWAP_US), |(idle, all), (more, most)| (idle + more, all + most))
    }
}

impl TablePlan {
    /// Its part in the pause, given the bytes of a new row.
    fn pauses(&self, size: Size, row_bytes: u32) -> (u64, u64) {
        let comparing = size.pages / PAGES_COMPARED_US;
        let made = self.indexes.iter().filter(|index| **index == IndexPlan::Made).count() as u64;
        let rows = match &self.change {
            Change::New => return (0, 0),
            Change::Kept if made == 0 => return (0, 0),
            Change::Kept => return (comparing, comparing + size.rows * made / ROWS_INDEXED_US),
            Change::Rows(rows) => rows,
        };
        let texts = rows.migrations.iter().map(|migration| migration.texts.len() as u64).sum::<u64>();
        let runs = size.rows * rows.migrations.len() as u64 / ROWS_RUN_US + size.rows * texts / TEXTS_MADE_US;
        let indexes = size.rows * made / ROWS_INDEXED_US;
        let all = comparing + size.rows * u64::from(row_bytes) / BYTES_REWRITTEN_US + runs + indexes;
        let (frees_idle, frees_all) = freeing(size, rows.frees.len());
        (frees_idle + comparing, frees_all + all)
    }
}

/// The part of a table that loses so many texts of each row.
fn freeing(size: Size, texts: usize) -> (u64, u64) {
    if texts == 0 {
        return (0, 0);
    }
    let comparing = size.pages / PAGES_COMPARED_US;
    (comparing, comparing + size.rows * texts as u64 / TEXTS_FREED_US)
}

impl PlanReport {
    /// Takes the rows of another room into account, for which the plan is the same.
    pub fn add(&mut self, other: &Self) {
        for (table, other) in self.tables.iter_mut().zip(&other.tables) {
            table.rows += other.rows;
            table.bytes += other.bytes;
        }
        self.pause_us = self.pause_us.max(other.pause_us);
        self.pause_us_max = self.pause_us_max.max(other.pause_us_max);
    }
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = self.refusals.iter().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
        for table in &self.tables {
            writeln!(f, "{table}")?;
            table.fields.iter().try_for_each(|field| field.write_lines(f, &refused))?;
            match table.fields.iter().map(FieldReport::copied).sum() {
                0usize => {}
                _ if table.how != TableHow::Rewritten => {}
                1 => writeln!(f, "  1 more field, copied")?,
                copied => writeln!(f, "  {copied} more fields, copied")?,
            }
        }
        if self.pause_us_max > 0 {
            let (idle, all) = (self.pause_us, self.pause_us_max);
            writeln!(f, "estimated pause: {idle} us, {all} us if every row changes meanwhile")?;
        }
        self.notes.iter().try_for_each(|line| writeln!(f, "note: {line}"))?;
        self.refusals.iter().try_for_each(|line| writeln!(f, "refused: {line}"))?;
        self.unused_drops.iter().try_for_each(|drop| writeln!(f, "nothing called {drop:?} is lost"))
    }
}

impl fmt::Display for TableReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        if let Some(was) = &self.was {
            write!(f, "was {was}, ")?;
        }
        match self.how {
            TableHow::New => f.write_str("new")?,
            TableHow::Kept => f.write_str("stays as it is")?,
            TableHow::Rewritten => write!(f, "rows of {} bytes become {}", self.row_bytes.0, self.row_bytes.1)?,
            TableHow::Dropped => f.write_str("dropped")?,
        }
        if self.rows > 0 {
            write!(f, ", {} {}", self.rows, if self.rows == 1 { "row" } else { "rows" })?;
        }
        if self.indexes_made > 0 && self.how != TableHow::New {
            write!(f, ", {} made anew", if self.indexes_made == 1 { "an index" } else { "indexes" })?;
        }
        if self.in_pause_if_changed {
            f.write_str(", during the swap if a row changes meanwhile")?;
        }
        Ok(())
    }
}

impl fmt::Display for FieldReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.field)?;
        if let Some(was) = &self.was {
            write!(f, "was {was}, ")?;
        }
        match (&self.old, &self.new) {
            (Some(old), Some(new)) if old != new => write!(f, "{old} -> {new}, ")?,
            (Some(shown), _) | (None, Some(shown)) => write!(f, "{shown}, ")?,
            (None, None) => {}
        }
        f.write_str(match self.how {
            How::Copied => "copied",
            How::Renamed => "renamed",
            How::Converted => "converted",
            How::Checked => "converted if every row fits",
            How::Lossy => "converted, loses ",
            How::Default => "new, by default",
            How::Migrated => "migrated",
            How::Dropped if self.new.is_some() => "its values dropped",
            How::Dropped => "dropped",
            How::Refused => "refused",
        })?;
        f.write_str(self.loses.as_deref().unwrap_or_default())?;
        f.write_str(match self.becomes {
            Some(Role::Key) => ", becomes the key",
            Some(Role::Unique) => ", becomes unique",
            Some(Role::Plain) => ", unique no more",
            None => "",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Migration, RowsPlan};
    use super::*;
    use logic_api::schema::ColumnType;
    use std::ops::Range;

    /// A million rows of 64 bytes.
    const MILLION: Size = Size { rows: 1_000_000, pages: 977 };

    fn rows(frees: usize, migration: Option<(bool, bool)>) -> Change {
        let migration = migration.map(|(has_heap, is_whole)| Migration {
            number: 0,
            path: "Avatar".into(),
            view: Vec::new(),
            reads: Vec::new(),
            unread: Vec::new(),
            old_bytes: 64,
            column: ColumnType::U8,
            to: 0,
            has_heap,
            texts: if has_heap { vec![0] } else { Vec::new() },
            is_whole,
        });
        let (steps, migrations) = (Vec::new(), migration.into_iter().collect());
        Change::Rows(RowsPlan { steps, is_dense: true, migrations, frees: vec![0; frees] })
    }

    fn table(change: Change, indexes: &[IndexPlan]) -> TablePlan {
        let (old, must_be_single, fields) = (Some(0), false, Vec::new());
        TablePlan { name: "avatars".into(), old, must_be_single, change, indexes: indexes.to_vec(), fields }
    }

    /// What is measured lies between: docs/performance.md.
    #[track_caller]
    fn check(change: Change, indexes: &[IndexPlan], idle: Range<u64>, all: Range<u64>) {
        let pauses = table(change, indexes).pauses(MILLION, 72);
        assert!(idle.contains(&pauses.0) && all.contains(&pauses.1), "{pauses:?}");
    }

    #[test]
    fn the_pause_is_of_what_is_done_in_it() {
        use IndexPlan::{Kept, Made};
        check(rows(0, None), &[Kept(0)], 10..500, 4_000..30_000);
        // Texts are freed in the background.
        check(rows(1, None), &[], 10..500, 15_000..80_000);
        check(rows(0, None), &[Made], 10..500, 100_000..800_000);
        check(Change::Kept, &[Kept(0)], 0..1, 0..1);
        check(Change::Kept, &[Made], 10..500, 100_000..800_000);
        check(Change::New, &[Made], 0..1, 0..1);
        // Whatever a migration makes; one of all rows is done in the background too, until one of them changes.
        check(rows(0, Some((false, false))), &[], 10..500, 50_000..500_000);
        check(rows(0, Some((true, false))), &[], 10..500, 100_000..1_000_000);
        check(rows(0, Some((false, true))), &[], 10..500, 50_000..500_000);
    }

    #[test]
    fn a_table_that_goes_with_its_texts_has_its_part() {
        assert_eq!(freeing(MILLION, 0), (0, 0));
        let (idle, all) = freeing(MILLION, 2);
        assert!((10..500).contains(&idle) && (20_000..200_000).contains(&all), "{idle}, {all}");
    }
}
