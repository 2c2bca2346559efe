//! Makes a plan: matches tables and fields of two schemas, and says what has no place.

use super::columns::Filling;
use super::report::{FieldReport, How};
use super::steps::{Step, filled, merged};
use super::{Migration, RowsPlan};
use logic_api::changes::{Changes, FieldChanges, MigrationSchema, RowChanges};
use logic_api::schema::{ColumnType, FieldSchema, RowSchema, Schema};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A schema, and what its version says of others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) changes: &'a Changes,
}

#[derive(Debug)]
pub(super) struct Maker<'a> {
    pub(super) old: Side<'a>,
    pub(super) new: Side<'a>,
    drops: &'a [String],
    pub(super) drops_used: BTreeSet<usize>,
    /// Row types of tables that are one, old and new.
    same_rows: BTreeSet<(String, String)>,
    /// Reads some fields of a row for a migration, and leaves the others where they are.
    is_view: bool,
    pub(super) refusals: Vec<String>,
}

/// A field as people call it: by its row, and by its table.
#[derive(Debug, Clone)]
pub(super) struct Path {
    row: String,
    table: String,
}

impl Path {
    pub(super) fn new(row: &str, table: &str) -> Self {
        Self { row: row.into(), table: table.into() }
    }

    fn field(&self, name: &str) -> Self {
        Self { row: format!("{}.{name}", self.row), table: format!("{}.{name}", self.table) }
    }

    pub(super) fn shown(&self) -> Arc<str> {
        self.row.as_str().into()
    }
}

/// How a value is made.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) steps: Vec<Step>,
    /// Where in the old row the texts and blobs are that go over into the new one.
    pub(super) kept: Vec<usize>,
    /// The value has the same bytes.
    pub(super) is_same: bool,
}

impl Made {
    pub(super) fn of(steps: Vec<Step>) -> Self {
        Self { steps, kept: Vec::new(), is_same: false }
    }

    pub(super) fn copy(bytes: usize) -> Self {
        Self { is_same: true, ..Self::of(vec![Step::Copy { from: 0, to: 0, bytes }]) }
    }

    /// A text or a blob: its handle goes over, the bytes stay where they are.
    pub(super) fn heap() -> Self {
        Self { kept: vec![0], ..Self::copy(8) }
    }

    /// True if it is one copy of a value without padding.
    pub(super) fn is_copy_of(&self, (old, new): (usize, usize)) -> bool {
        old == new && matches!(self.steps[..], [Step::Copy { from: 0, to: 0, bytes }] if bytes == old)
    }

    pub(super) fn moved(self, by: (usize, usize)) -> Self {
        Self {
            steps: self.steps.into_iter().map(|step| step.moved(by)).collect(),
            kept: self.kept.into_iter().map(|at| at + by.0).collect(),
            is_same: self.is_same,
        }
    }

    /// The same for as many items side by side.
    pub(super) fn repeated(self, count: usize, strides: (usize, usize)) -> Self {
        let kept = (0..count).flat_map(|item| self.kept.iter().map(move |at| at + item * strides.0)).collect();
        let steps = match self.is_copy_of(strides) {
            true => vec![Step::Copy { from: 0, to: 0, bytes: count * strides.0 }],
            false => vec![Step::Each { from: 0, to: 0, count, strides, steps: self.steps }],
        };
        Self { steps, kept, is_same: self.is_same }
    }
}

/// A row's fields, matched.
pub(super) struct Row {
    pub(super) made: Made,
    pub(super) migrations: Vec<Migration>,
    pub(super) fields: Vec<FieldReport>,
    /// For each new field: the old one that it has the bytes of.
    pub(super) same: Vec<Option<usize>>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(old: Side<'a>, new: Side<'a>, drops: &'a [String]) -> Self {
        Self {
            old,
            new,
            drops,
            drops_used: BTreeSet::new(),
            same_rows: BTreeSet::new(),
            is_view: false,
            refusals: Vec::new(),
        }
    }

    /// Tells that the rows of two tables are those of one.
    pub(super) fn pair_rows(&mut self, old: &str, new: &str) {
        self.same_rows.insert((old.to_owned(), new.to_owned()));
    }

    pub(super) fn is_same_row(&self, old: &str, new: &str) -> bool {
        old == new || self.same_rows.contains(&(old.to_owned(), new.to_owned()))
    }

    /// What is lost there was said to be no loss.
    pub(super) fn is_acknowledged(&mut self, path: &Path) -> bool {
        let found = self.drops.iter().position(|drop| *drop == path.row || *drop == path.table);
        self.drops_used.extend(found);
        found.is_some()
    }

    pub(super) fn say(&mut self, path: &Path, what: &str) {
        self.refusals.push(format!("{}: {what}", path.row));
    }

    pub(super) fn refuse(&mut self, path: &Path, what: &str) -> Option<Made> {
        self.say(path, &format!("{what}; give a migration"));
        None
    }

    pub(super) fn is_lossy_allowed(&mut self, path: &Path, what: &str) -> bool {
        let is_acknowledged = self.is_acknowledged(path);
        if !is_acknowledged {
            self.refuse(path, what);
        }
        is_acknowledged
    }

    pub(super) fn nested(&mut self, path: &Path, old: &RowSchema, new: &RowSchema) -> Option<Made> {
        let before = self.refusals.len();
        let row = self.row(path, old, new, false);
        (self.refusals.len() == before).then_some(row.made)
    }

    /// Matches the fields of two rows. Migrations work on rows of tables only: what is in a list has no row of its own.
    pub(super) fn row(&mut self, path: &Path, old: &RowSchema, new: &RowSchema, may_migrate: bool) -> Row {
        let said = self.new.changes.row(new);
        let sources = self.sources(path, old, new, said);
        let mut row = Row {
            made: Made { is_same: old.size == new.size, ..Made::of(Vec::new()) },
            migrations: Vec::new(),
            fields: Vec::new(),
            same: vec![None; new.fields.len()],
        };
        let mut is_read = vec![false; old.fields.len()];
        sources.iter().flatten().for_each(|source| is_read[*source] = true);
        for (number, field) in new.fields.iter().enumerate() {
            let said = said.and_then(|said| said.fields.get(number));
            let source = sources[number].map(|source| &old.fields[source]);
            let path = path.field(&field.name);
            if may_migrate && let Some(migration) = self.field_migration(&path, old, field, source, said) {
                for read in &migration.reads {
                    is_read[*read] = true;
                }
                row.fields.push(FieldReport::new(&path.row, source, Some(field), How::Migrated));
                row.made.is_same = false;
                row.migrations.push(migration);
                continue;
            }
            let Some(made) = self.field(&path, source, field, said) else {
                row.fields.push(FieldReport::new(&path.row, source, Some(field), How::Refused));
                continue;
            };
            let how = match source {
                None => How::Default,
                Some(_) if !made.is_same => How::Converted,
                Some(source) if source.name != field.name => How::Renamed,
                Some(_) => How::Copied,
            };
            row.fields.push(FieldReport::new(&path.row, source, Some(field), how));
            row.same[number] = sources[number].filter(|_| made.is_same);
            let from = source.map_or(0, |source| source.offset as usize);
            row.made.is_same &= made.is_same && source.is_some_and(|source| source.offset == field.offset);
            let made = made.moved((from, field.offset as usize));
            row.made.steps.extend(made.steps);
            row.made.kept.extend(made.kept);
        }
        self.leave(path, old, said, &is_read, &mut row);
        row.made.steps = merged(std::mem::take(&mut row.made.steps));
        row
    }

    fn field(
        &mut self,
        path: &Path,
        source: Option<&FieldSchema>,
        field: &FieldSchema,
        said: Option<&FieldChanges>,
    ) -> Option<Made> {
        let filling = Filling {
            blank: said.and_then(|said| said.blank.as_deref()),
            default: said.and_then(|said| said.default.as_deref()),
        };
        if let Some(source) = source {
            return self.column(path, &source.column, &field.column, filling);
        }
        match filling.default {
            Some(bytes) => {
                let fill = |(offset, len): (u32, u32)| {
                    let bytes = &bytes[offset as usize..][..len as usize];
                    Step::Fill { to: offset as usize, bytes: bytes.into() }
                };
                Some(Made::of(field.column.spans().into_iter().map(fill).collect()))
            }
            None if self.is_view => {
                self.say(path, &format!("{} is not there", field.column));
                None
            }
            None => {
                self.say(path, &format!("{} is new; give it `#[row(default = …)]` or a migration", field.column));
                None
            }
        }
    }

    /// What of the old row has no place in the new one.
    fn leave(&mut self, path: &Path, old: &RowSchema, said: Option<&RowChanges>, is_read: &[bool], row: &mut Row) {
        for (field, _) in old.fields.iter().zip(is_read).filter(|(_, is_read)| !**is_read) {
            row.made.is_same = false;
            if self.is_view {
                continue;
            }
            let path = path.field(&field.name);
            let is_said = said.is_some_and(|said| said.dropped.contains(&field.name));
            if !self.is_acknowledged(&path) && !is_said {
                let how =
                    format!("say `#[row(dropped(\"{}\"))]`, or acknowledge it with drop={}", field.name, path.row);
                self.say(&path, &format!("{} would be dropped; {how}", field.column));
            }
            row.fields.push(FieldReport::new(&path.row, Some(field), None, How::Dropped));
        }
    }

    /// For each new field the old one that it comes from: by name, by what the new version says it was, or by what the old version
    /// says that it had been before.
    fn sources(
        &mut self,
        path: &Path,
        old: &RowSchema,
        new: &RowSchema,
        said: Option<&RowChanges>,
    ) -> Vec<Option<usize>> {
        let names: Vec<&str> = old.fields.iter().map(|field| field.name.as_str()).collect();
        let new_names: Vec<&str> = new.fields.iter().map(|field| field.name.as_str()).collect();
        let was = |number: usize| said?.fields.get(number)?.was.as_deref();
        let old_said = self.old.changes.row(old);
        let old_was = |number: usize| old_said?.fields.get(number)?.was.as_deref();
        let (sources, claims) = match_names(&names, &new_names, was, old_was);
        for (number, other) in claims {
            let (name, other) = (&new_names[number], &new_names[other]);
            let claimed = was(number).unwrap_or_default();
            self.say(
                &path.field(name),
                &format!("was `{claimed}`, which `{other}` comes from too; take one of them out"),
            );
        }
        sources
    }

    /// The migration of a field, if the old row has what it reads, and the value is not there as it is.
    fn field_migration(
        &mut self,
        path: &Path,
        old: &RowSchema,
        field: &FieldSchema,
        source: Option<&FieldSchema>,
        said: Option<&FieldChanges>,
    ) -> Option<Migration> {
        let number = said?.migrate?;
        if source.is_some_and(|source| source.column == field.column) {
            return None;
        }
        let to = field.offset as usize;
        match self.migration(path, number, old, false, &field.column, to) {
            Ok(migration) => Some(migration),
            Err(reason) => {
                // If it can be converted or has a default, the migration is one from yet another version.
                let has_other = said.is_some_and(|said| said.default.is_some());
                if source.is_none() && !has_other {
                    self.say(path, &format!("its migration does not fit the old rows: {reason}"));
                }
                None
            }
        }
    }

    /// A migration of a table's rows, if these are exactly what it reads: what it does not read would be lost in silence.
    pub(super) fn row_migration(
        &mut self,
        path: &Path,
        number: u32,
        old: &RowSchema,
        new: &RowSchema,
    ) -> Option<Migration> {
        self.migration(path, number, old, true, &ColumnType::Row(new.clone()), 0).ok()
    }

    fn migration(
        &mut self,
        path: &Path,
        number: u32,
        old: &RowSchema,
        is_exact: bool,
        column: &ColumnType,
        to: usize,
    ) -> Result<Migration, String> {
        let MigrationSchema { old: read, size, has_heap, whole, .. } =
            self.new.changes.migrations.get(number as usize).ok_or("it is not there")?;
        if *size != column.size() {
            return Err("it gives values of another size".to_owned());
        }
        let nothing = Changes::default();
        let side = Side { schema: self.new.schema, changes: &nothing };
        let mut view = Maker { is_view: true, ..Maker::new(self.old, side, &[]) };
        view.same_rows.clone_from(&self.same_rows);
        let row = view.row(&Path::new(&read.name, &read.name), old, read, false);
        if let Some(reason) = view.refusals.first() {
            return Err(reason.clone());
        }
        let reads: Vec<usize> = old
            .fields
            .iter()
            .enumerate()
            .filter(|(_, field)| read.fields.iter().any(|read| read.name == field.name))
            .map(|(number, _)| number)
            .collect();
        if is_exact && (reads.len() != old.fields.len() || read.fields.len() != old.fields.len()) {
            return Err(format!("{} has other fields than {}", read.name, old.name));
        }
        Ok(Migration {
            number,
            path: path.shown(),
            view: row.made.steps,
            reads,
            old_bytes: read.size as usize,
            column: column.clone(),
            to,
            has_heap: *has_heap,
            is_whole: *whole,
        })
    }
}

impl RowsPlan {
    pub(super) fn of(row: Row, old: &RowSchema, new: &RowSchema) -> Self {
        let kept: BTreeSet<usize> = row.made.kept.iter().copied().collect();
        let frees = heap_offsets(old).into_iter().filter(|at| !kept.contains(at)).collect();
        let steps = filled(row.made.steps, new.size as usize);
        Self { steps, is_dense: true, migrations: row.migrations, frees }
    }
}

/// Which old name each new one comes from, and the claims that came too late: who claims, and who has it.
pub(super) fn match_names<'s>(
    old: &[&str],
    new: &[&str],
    was: impl Fn(usize) -> Option<&'s str>,
    old_was: impl Fn(usize) -> Option<&'s str>,
) -> (Vec<Option<usize>>, Vec<(usize, usize)>) {
    let by_name: BTreeMap<&str, usize> = old.iter().enumerate().map(|(number, name)| (*name, number)).collect();
    let mut sources: Vec<Option<usize>> = new.iter().map(|name| by_name.get(name).copied()).collect();
    let mut taken: BTreeMap<usize, usize> =
        sources.iter().enumerate().filter_map(|(number, source)| Some(((*source)?, number))).collect();
    let mut claims = Vec::new();
    for (number, place) in sources.iter_mut().enumerate().filter(|(_, place)| place.is_none()) {
        let Some(source) = was(number).and_then(|was| by_name.get(was).copied()) else { continue };
        match taken.get(&source) {
            Some(other) => claims.push((number, *other)),
            None => {
                *place = Some(source);
                taken.insert(source, number);
            }
        }
    }
    // Back to an older version, which cannot know what became of its names.
    let undone: BTreeMap<&str, usize> = (0..old.len())
        .filter(|number| !taken.contains_key(number))
        .filter_map(|number| Some((old_was(number)?, number)))
        .collect();
    for (source, name) in sources.iter_mut().zip(new).filter(|(source, _)| source.is_none()) {
        *source = undone.get(name).copied();
    }
    (sources, claims)
}

/// Where the texts and blobs of a row are.
pub(super) fn heap_offsets(row: &RowSchema) -> Vec<usize> {
    fn visit(column: &ColumnType, at: usize, offsets: &mut Vec<usize>) {
        match column {
            ColumnType::Text | ColumnType::Blob => offsets.push(at),
            ColumnType::Row(row) => {
                row.fields.iter().for_each(|field| visit(&field.column, at + field.offset as usize, offsets));
            }
            ColumnType::Array { of, len } if has_heap(of) => {
                (0..*len).for_each(|item| visit(of, at + (item * of.size()) as usize, offsets));
            }
            // Neither a list nor an option can hold one.
            _ => {}
        }
    }
    let mut offsets = Vec::new();
    visit(&ColumnType::Row(row.clone()), 0, &mut offsets);
    offsets
}

fn has_heap(column: &ColumnType) -> bool {
    match column {
        ColumnType::Text | ColumnType::Blob => true,
        ColumnType::Row(row) => row.fields.iter().any(|field| has_heap(&field.column)),
        ColumnType::Array { of, .. } => has_heap(of),
        _ => false,
    }
}
