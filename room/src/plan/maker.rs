//! Makes a plan: matches tables and fields of two schemas, and says what has no place.

use super::columns::Filling;
use super::names::{Names, match_names, old_names};
use super::report::{FieldReport, How};
use super::steps::{Step, filled, merged};
use super::{Migration, RowsPlan};
use logic_api::changes::{Changes, FieldChanges, MigrationSchema, RowChanges};
use logic_api::schema::{ColumnType, FieldSchema, RowSchema, Schema};
use std::collections::BTreeSet;
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
    /// Reads rows for a migration: there is nobody to ask whether something may be lost.
    is_view: bool,
    /// What of nested rows a view does not read.
    unread: Vec<String>,
    /// Of the field that is being matched.
    pub(super) told: Told,
    /// What is left out, and no loss.
    pub(super) notes: Vec<String>,
    pub(super) refusals: Vec<String>,
}

/// What the report tells of a field beside its types.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What is lost, which was acknowledged.
    pub(super) losses: Vec<String>,
    /// It is for the rows to say whether something is lost.
    pub(super) is_checked: bool,
    /// The fields of a row in it.
    fields: Vec<FieldReport>,
}

/// Where the rows are that are matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Those of a table. Only these have migrations: what is in a list has no row of its own.
    Table,
    /// What a migration reads. It need not read every field.
    View,
    /// In a row.
    Nested,
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
    /// Acknowledged: nothing of the old value is in it.
    pub(super) is_lost: bool,
}

impl Made {
    pub(super) fn of(steps: Vec<Step>) -> Self {
        Self { steps, kept: Vec::new(), is_same: false, is_lost: false }
    }

    /// These bytes, whatever was there.
    pub(super) fn filled(column: &ColumnType, bytes: &[u8]) -> Self {
        let fill = |(offset, len): (u32, u32)| {
            let bytes = &bytes[offset as usize..][..len as usize];
            Step::Fill { to: offset as usize, bytes: bytes.into() }
        };
        Self::of(column.spans().into_iter().map(fill).collect())
    }

    /// What stands there where nothing of the old value can.
    pub(super) fn lost(column: &ColumnType, filling: Filling<'_>) -> Self {
        Self { is_lost: true, ..Self::filled(column, &filling.value(column)) }
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
            ..self
        }
    }

    /// The same for as many items side by side.
    pub(super) fn repeated(self, count: usize, strides: (usize, usize)) -> Self {
        let kept = (0..count).flat_map(|item| self.kept.iter().map(move |at| at + item * strides.0)).collect();
        let steps = match self.is_copy_of(strides) {
            true => vec![Step::Copy { from: 0, to: 0, bytes: count * strides.0 }],
            false => vec![Step::Each { from: 0, to: 0, count, strides, steps: self.steps }],
        };
        Self { steps, kept, ..self }
    }
}

/// A row's fields, matched.
pub(super) struct Row {
    pub(super) made: Made,
    pub(super) migrations: Vec<Migration>,
    pub(super) fields: Vec<FieldReport>,
    /// For each new field: the old one that it has the bytes of.
    pub(super) same: Vec<Option<usize>>,
    /// For each old field: whether it is carried over.
    is_read: Vec<bool>,
    /// Old fields of which only a part is read, and what of them is not.
    unread: Vec<(usize, String)>,
}

impl Row {
    /// `source`: the field that it comes from, and its number; `number`: that of the new one.
    fn put(
        &mut self,
        path: &Path,
        source: Option<(&FieldSchema, usize)>,
        field: &FieldSchema,
        number: usize,
        (made, told): (Made, Told),
    ) {
        let (source, source_number) = source.unzip();
        let how = match source {
            None => How::Default,
            Some(_) if made.is_lost => How::Dropped,
            Some(_) if !told.losses.is_empty() => How::Lossy,
            Some(_) if told.is_checked => How::Checked,
            Some(_) if !made.is_same => How::Converted,
            Some(source) if source.name != field.name => How::Renamed,
            Some(_) => How::Copied,
        };
        let loses = (how == How::Lossy).then(|| told.losses.join(", and "));
        let report = FieldReport { loses, ..FieldReport::new(&path.row, source, Some(field), how) };
        self.fields.push(report.with_fields(told.fields));
        self.same[number] = source_number.filter(|_| made.is_same);
        let from = source.map_or(0, |source| source.offset as usize);
        self.made.is_same &= made.is_same && source.is_some_and(|source| source.offset == field.offset);
        let made = made.moved((from, field.offset as usize));
        self.made.steps.extend(made.steps);
        self.made.kept.extend(made.kept);
    }

    /// Its own source is what a migration replaces, even if it does not look at it; but then not at a part of it.
    fn migrate(&mut self, migration: Migration, source: Option<usize>) {
        let is_part = |source: &usize| migration.unread.iter().any(|(of, _)| of == source);
        let replaced = source.filter(|source| !is_part(source));
        migration.reads.iter().chain(&replaced).for_each(|read| self.is_read[*read] = true);
        self.unread.extend_from_slice(&migration.unread);
        self.made.is_same = false;
        self.migrations.push(migration);
    }
}

/// Of a migration in a row that is not that of a table.
const IN_A_ROW: &str =
    "a migration does not run in a row within a row; give one above the field of the table's row, or above that row";

impl<'a> Maker<'a> {
    pub(super) fn new(old: Side<'a>, new: Side<'a>, drops: &'a [String]) -> Self {
        Self {
            old,
            new,
            drops,
            drops_used: BTreeSet::new(),
            same_rows: BTreeSet::new(),
            is_view: false,
            unread: Vec::new(),
            told: Told::default(),
            notes: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Tells that the rows of two tables are those of one.
    pub(super) fn pair_rows(&mut self, old: &str, new: &str) {
        self.same_rows.insert((old.to_owned(), new.to_owned()));
    }

    /// Why an id does not name the same row under the new schema; none if it does.
    pub(super) fn lost_id(&self, old: &str, new: &str) -> Option<&'static str> {
        let mut became = self.same_rows.iter().filter(|(of, _)| of == old).map(|(_, to)| to);
        if self.same_rows.contains(&(old.to_owned(), new.to_owned())) {
            return became.any(|to| to != new).then_some("may name rows of two tables, which are of two row types now");
        }
        let has = |schema: &Schema, row: &str| schema.tables.iter().any(|table| table.row.name == row);
        let (is_of_old, is_of_new) = (has(self.old.schema, old), has(self.new.schema, new));
        // Where a name alone tells: of no table that there is, or of what a migration declares to read it.
        if old == new && !is_of_new && (!is_of_old || self.is_view) {
            return None;
        }
        Some(if is_of_old && !self.same_rows.iter().any(|(of, _)| of == old) {
            "names rows of a table that is dropped"
        } else if is_of_new && !self.same_rows.iter().any(|(_, of)| of == new) {
            "names rows of a table that is new"
        } else {
            "names rows of another table"
        })
    }

    /// The value has the same bytes, and they mean the same.
    pub(super) fn is_as_it_was(&self, old: &ColumnType, new: &ColumnType) -> bool {
        old == new && self.names_the_same(new)
    }

    fn names_the_same(&self, column: &ColumnType) -> bool {
        match column {
            ColumnType::Id { row } => self.lost_id(row, row).is_none(),
            ColumnType::List { of, .. } | ColumnType::Opt { of } | ColumnType::Array { of, .. } => {
                self.names_the_same(of)
            }
            ColumnType::Row(row) => row.fields.iter().all(|field| self.names_the_same(&field.column)),
            _ => true,
        }
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
        match self.is_view {
            true => self.say(path, what),
            false => self.say(path, &format!("{what}; give a migration")),
        }
        None
    }

    pub(super) fn is_lossy_allowed(&mut self, path: &Path, what: &str) -> bool {
        let is_acknowledged = self.is_acknowledged(path);
        if !is_acknowledged {
            self.refuse(path, what);
        }
        is_acknowledged
    }

    /// Whether a part of the values may be lost: `loss` is which, as in `values above 255`.
    pub(super) fn may_lose(&mut self, path: &Path, (old, new): (&ColumnType, &ColumnType), loss: &str) -> bool {
        let is_allowed = self.is_lossy_allowed(path, &format!("{old} -> {new} would lose {loss}"));
        if is_allowed {
            self.told.losses.push(loss.to_owned());
        }
        is_allowed
    }

    /// Whether what the new type has no place for may be lost. If not, each row is looked at.
    pub(super) fn may_cut(&mut self, path: &Path, loss: impl FnOnce() -> String) -> bool {
        let is_allowed = self.is_acknowledged(path);
        match is_allowed {
            true => self.told.losses.push(loss()),
            false => self.told.is_checked = true,
        }
        is_allowed
    }

    pub(super) fn nested(&mut self, path: &Path, old: &RowSchema, new: &RowSchema) -> Option<Made> {
        let before = self.refusals.len();
        let said = self.new.changes.row(new);
        if said.is_some_and(|said| said.migrate.is_some()) && !self.has_same_fields(old, new) {
            self.say(path, IN_A_ROW);
        }
        // What was told of the field that this row is in is not of the row's.
        let told = std::mem::take(&mut self.told);
        let row = self.row(path, old, new, Place::Nested);
        self.told = Told { fields: row.fields, ..told };
        (self.refusals.len() == before).then_some(row.made)
    }

    pub(super) fn has_same_fields(&self, old: &RowSchema, new: &RowSchema) -> bool {
        let is_same = |(one, two): (&FieldSchema, &FieldSchema)| {
            one.name == two.name && self.is_as_it_was(&one.column, &two.column)
        };
        old.fields.len() == new.fields.len() && old.fields.iter().zip(&new.fields).all(is_same)
    }

    /// Matches the fields of two rows.
    pub(super) fn row(&mut self, path: &Path, old: &RowSchema, new: &RowSchema, place: Place) -> Row {
        let said = self.new.changes.row(new);
        let sources = self.sources(path, old, new, said);
        let mut row = Row {
            made: Made { is_same: old.size == new.size, ..Made::of(Vec::new()) },
            migrations: Vec::new(),
            fields: Vec::new(),
            same: vec![None; new.fields.len()],
            is_read: vec![false; old.fields.len()],
            unread: Vec::new(),
        };
        for (number, field) in new.fields.iter().enumerate() {
            let said = said.and_then(|said| said.fields.get(number));
            let source = sources[number].map(|source| &old.fields[source]);
            let path = path.field(&field.name);
            let (mut misfit, before) = (None, self.refusals.len());
            match self.field_migration(&path, old, field, source, said) {
                Some(_) if place == Place::Nested => self.say(&path, IN_A_ROW),
                Some(Ok(migration)) => {
                    row.fields.push(FieldReport::new(&path.row, source, Some(field), How::Migrated));
                    row.migrate(migration, sources[number]);
                    continue;
                }
                Some(Err(reason)) => misfit = Some(reason),
                None => {}
            }
            let made = self.field(&path, source, field, said);
            self.tell_misfit(&path, misfit, before);
            if place == Place::View {
                let unread = self.unread.drain(..).map(|what| (sources[number].unwrap_or_default(), what));
                row.unread.extend(unread);
            }
            let told = std::mem::take(&mut self.told);
            match made {
                Some(made) => row.put(&path, source.zip(sources[number]), field, number, (made, told)),
                None => {
                    let report = FieldReport::new(&path.row, source, Some(field), How::Refused);
                    row.fields.push(report.with_fields(told.fields));
                }
            }
            sources[number].into_iter().for_each(|source| row.is_read[source] = true);
        }
        if place != Place::View {
            self.leave(path, old, new, said, &mut row);
        }
        row.made.steps = merged(std::mem::take(&mut row.made.steps));
        row
    }

    /// As for a field, but in a line of its own: what is refused are its fields.
    pub(super) fn tell_row_misfit(&mut self, path: &Path, misfit: Option<String>, before: usize) {
        let Some(reason) = misfit else { return };
        match self.refusals.len() == before {
            true => self.tell_misfit(path, Some(reason), before),
            false => self.say(path, &format!("its migration does not fit: {reason}")),
        }
    }

    /// A migration that does not fit is one from yet another version, or a mistake: what is refused for want of it says so, and the
    /// report where nothing is.
    fn tell_misfit(&mut self, path: &Path, misfit: Option<String>, before: usize) {
        let Some(reason) = misfit else { return };
        if self.refusals.len() == before {
            self.notes.push(format!("{}: its migration does not fit, and is left out: {reason}", path.row));
        }
        for refusal in &mut self.refusals[before..] {
            refusal.push_str(&format!("; its migration does not fit: {reason}"));
        }
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
            Some(bytes) => Some(Made::filled(&field.column, bytes)),
            None if self.is_view => {
                self.say(path, &format!("{} is not there", field.column));
                None
            }
            // A version that knows it has no say in what is older than it.
            None if self.is_acknowledged(path) => Some(Made::filled(&field.column, &filling.value(&field.column))),
            None => {
                self.say(path, &format!("{} is new; give it `#[row(default = …)]` or a migration", field.column));
                None
            }
        }
    }

    /// What of the old row has no place in the new one.
    fn leave(&mut self, path: &Path, old: &RowSchema, new: &RowSchema, said: Option<&RowChanges>, row: &mut Row) {
        for (number, field) in old.fields.iter().enumerate() {
            if row.is_read[number] {
                continue;
            }
            row.made.is_same = false;
            let path = path.field(&field.name);
            if self.is_view {
                self.unread.push(format!("{}: {} is not read", path.row, field.column));
                continue;
            }
            let is_said = said.is_some_and(|said| said.dropped.contains(&field.name));
            let how = match self.is_acknowledged(&path) || is_said {
                true => How::Dropped,
                false => How::Refused,
            };
            if how == How::Refused {
                let part = row.unread.iter().find(|(of, _)| *of == number);
                let part = part.map_or_else(String::new, |(_, what)| format!(", since {what}"));
                // What its own migration reads in part cannot be called dropped.
                let say = match new.fields.iter().any(|new| new.name == field.name) {
                    true => "read all of it".to_owned(),
                    false => format!("say `#[row(dropped(\"{}\"))]`", field.name),
                };
                let say = format!("{say}, or acknowledge it with drop={}", path.row);
                self.say(&path, &format!("{} would be dropped{part}; {say}", field.column));
            }
            row.fields.push(FieldReport::new(&path.row, Some(field), None, how));
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
        let was = |number: usize| old_names(said.and_then(|said| said.fields.get(number)).map(|said| &said.was));
        let old_said = self.old.changes.row(old);
        let old_was =
            |number: usize| old_names(old_said.and_then(|said| said.fields.get(number)).map(|said| &said.was));
        let dropped = said.map_or(&[][..], |said| &said.dropped);
        let matched = match_names(Names { of: &names, was: &old_was }, Names { of: &new_names, was: &was }, dropped);
        for (number, claim) in matched.claims {
            self.say(&path.field(new_names[number]), &claim);
        }
        matched.sources
    }

    /// The migration of a field, or why it does not fit the old row; none if there is none, or the value is there as it is.
    fn field_migration(
        &mut self,
        path: &Path,
        old: &RowSchema,
        field: &FieldSchema,
        source: Option<&FieldSchema>,
        said: Option<&FieldChanges>,
    ) -> Option<Result<Migration, String>> {
        let number = said?.migrate?;
        if source.is_some_and(|source| self.is_as_it_was(&source.column, &field.column)) {
            return None;
        }
        Some(self.migration(path, number, old, false, &field.column, field.offset as usize))
    }

    /// A migration of a table's rows, if these are exactly what it reads: what it does not read would be lost in silence.
    pub(super) fn row_migration(
        &mut self,
        path: &Path,
        number: u32,
        old: &RowSchema,
        new: &RowSchema,
    ) -> Result<Migration, String> {
        self.migration(path, number, old, true, &ColumnType::Row(new.clone()), 0)
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
        let row = view.row(&Path::new(&read.name, &read.name), old, read, Place::View);
        if let Some(reason) = view.refusals.first() {
            return Err(reason.clone());
        }
        if is_exact && let Some((_, what)) = row.unread.first() {
            return Err(what.clone());
        }
        let is_read = |number: &usize| {
            let name = &old.fields[*number].name;
            read.fields.iter().any(|read| read.name == *name) && !row.unread.iter().any(|(of, _)| of == number)
        };
        let reads: Vec<usize> = (0..old.fields.len()).filter(is_read).collect();
        if is_exact && (reads.len() != old.fields.len() || read.fields.len() != old.fields.len()) {
            return Err(format!("{} has other fields than {}", read.name, old.name));
        }
        Ok(Migration {
            number,
            path: path.shown(),
            view: row.made.steps,
            reads,
            unread: row.unread,
            old_bytes: read.size as usize,
            column: column.clone(),
            to,
            has_heap: *has_heap,
            texts: heap_offsets(column),
            is_whole: *whole,
        })
    }
}

impl RowsPlan {
    pub(super) fn of(row: Row, old: &RowSchema, new: &RowSchema) -> Self {
        let kept: BTreeSet<usize> = row.made.kept.iter().copied().collect();
        let frees = heap_offsets(&ColumnType::Row(old.clone())).into_iter().filter(|at| !kept.contains(at)).collect();
        let steps = filled(row.made.steps, new.size as usize);
        Self { steps, is_dense: true, migrations: row.migrations, frees }
    }
}

/// Where the texts and blobs of a value are.
pub(crate) fn heap_offsets(column: &ColumnType) -> Vec<usize> {
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
    visit(column, 0, &mut offsets);
    offsets
}

pub(crate) fn has_heap(column: &ColumnType) -> bool {
    match column {
        ColumnType::Text | ColumnType::Blob => true,
        ColumnType::Row(row) => row.fields.iter().any(|field| has_heap(&field.column)),
        ColumnType::Array { of, .. } => has_heap(of),
        _ => false,
    }
}
