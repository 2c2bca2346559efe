//! A plan as people and programs read it.

use super::{Change, IndexPlan, Plan, TablePlan};
use crate::world::World;
use logic_api::schema::FieldSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Pages that are looked at during a swap to see whether they have changed, in a microsecond.
const PAGES_COMPARED_US: u64 = 40;
/// Bytes that are rewritten in a microsecond: a third of what a copy of memory does.
const BYTES_REWRITTEN_US: u64 = 2_000;
/// Rows that a migration makes, or whose texts are freed, in a microsecond.
const ROWS_RUN_US: u64 = 10;
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
    /// Done during the swap, because a migration makes texts.
    pub in_pause: bool,
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    Copied,
    Renamed,
    Converted,
    Default,
    Migrated,
    Dropped,
    Refused,
}

impl FieldReport {
    pub(super) fn new(path: &str, old: Option<&FieldSchema>, new: Option<&FieldSchema>, how: How) -> Self {
        let was = old.filter(|old| new.is_some_and(|new| new.name != old.name)).map(|old| old.name.clone());
        let shown = |field: Option<&FieldSchema>| field.map(|field| field.column.to_string());
        Self { field: path.to_owned(), was, old: shown(old), new: shown(new), how }
    }

    /// Of whole rows.
    pub(super) fn rows(path: &str, how: How) -> Self {
        Self { field: path.to_owned(), was: None, old: None, new: None, how }
    }
}

impl Plan {
    /// What it does, and what it would do to a world of the old version.
    pub fn report(&self, world: Option<&World>) -> PlanReport {
        let tables: Vec<_> =
            self.tables.iter().enumerate().map(|(number, table)| self.table(number, table, world)).collect();
        let (mut pause_us, mut pause_us_max) = (0, 0);
        if world.is_some() {
            (pause_us, pause_us_max) = (SWAP_US, SWAP_US);
            for (table, plan) in tables.iter().zip(&self.tables) {
                let (idle, all) = pauses(table, plan);
                pause_us += idle;
                pause_us_max += all;
            }
        }
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
                in_pause: false,
                fields: Vec::new(),
            }
        });
        let (notes, refusals) = (self.notes.clone(), self.refusals.clone());
        PlanReport { tables: tables.into_iter().chain(dropped).collect(), notes, refusals, pause_us, pause_us_max }
    }

    fn table(&self, number: usize, plan: &TablePlan, world: Option<&World>) -> TableReport {
        let new = &self.new.tables[number];
        let old = plan.old.map(|old| &self.old.tables[old]);
        let rows = plan.old.zip(world).map_or(0, |(old, world)| world.tables().table(old).row_count());
        let (how, in_pause) = match &plan.change {
            Change::New => (TableHow::New, false),
            Change::Kept => (TableHow::Kept, false),
            Change::Rows(rows) => (TableHow::Rewritten, rows.is_in_pause()),
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
            in_pause,
            fields: plan.fields.clone(),
        }
    }
}

/// The part that a table has in the pause: where nothing has changed, and where everything has.
fn pauses(table: &TableReport, plan: &TablePlan) -> (u64, u64) {
    let Change::Rows(rows) = &plan.change else { return (0, 0) };
    let runs = table.rows * u64::from(table.indexes_made) + table.rows * rows.migrations.len() as u64;
    let all = table.bytes / BYTES_REWRITTEN_US + runs / ROWS_RUN_US;
    let frees = if rows.frees.is_empty() { 0 } else { table.rows / ROWS_RUN_US };
    let idle = if rows.is_in_pause() { all } else { table.bytes / crate::PAGE_BYTES as u64 / PAGES_COMPARED_US };
    (idle + frees, all + frees)
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
        for table in &self.tables {
            writeln!(f, "{table}")?;
            let told = table.fields.iter().filter(|field| field.how != How::Copied);
            told.into_iter().try_for_each(|field| writeln!(f, "  {field}"))?;
        }
        if self.pause_us_max > 0 {
            let (idle, all) = (self.pause_us, self.pause_us_max);
            writeln!(f, "estimated pause: {idle} us, {all} us if every row changes meanwhile")?;
        }
        self.notes.iter().try_for_each(|line| writeln!(f, "note: {line}"))?;
        self.refusals.iter().try_for_each(|line| writeln!(f, "refused: {line}"))
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
        if self.in_pause {
            f.write_str(", during the swap")?;
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
            How::Default => "new, by default",
            How::Migrated => "migrated",
            How::Dropped => "dropped",
            How::Refused => "refused",
        })
    }
}
