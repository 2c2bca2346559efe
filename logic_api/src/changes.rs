//! What a version says of the tables of other versions: where its own come from, and what becomes of the rest. Plain data, like
//! the schema, which it accompanies; the engine makes a plan of both.

use crate::schema::{ColumnType, EnumSchema, RowSchema};
use crate::{Column, Row, raw};
use serde::{Deserialize, Serialize};
use std::any::TypeId;
use std::fmt;

/// All that the source of a logic says with `was`, `default`, `dropped` and `migrate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Those tables of which there is something to say.
    pub tables: Vec<TableChanges>,
    /// `#[world(dropped("…"))]`: tables of older versions that may go, with all their rows.
    pub dropped: Vec<String>,
    /// Every row type, nested ones included.
    pub rows: Vec<RowChanges>,
    /// Those enums of which there is something to say.
    pub enums: Vec<EnumChanges>,
    /// By number.
    pub migrations: Vec<MigrationSchema>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableChanges {
    pub name: String,
    /// `#[world(was = "…")]`, the newest first.
    pub was: Vec<String>,
    /// `#[world(migrate = …)]`: the number of a migration.
    pub migrate: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChanges {
    /// Which row type this is about: a name alone might be that of two.
    pub row: RowSchema,
    /// `#[row(dropped("…"))]`: fields of older versions that may go.
    pub dropped: Vec<String>,
    /// `#[row(migrate = …)]` above the struct: the number of a migration that gives a whole row.
    pub migrate: Option<u32>,
    /// In the order of the schema.
    pub fields: Vec<FieldChanges>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChanges {
    /// `#[row(was = "…")]`, the newest first.
    pub was: Vec<String>,
    /// `#[row(default = …)]`: the bytes of the value, padding as zeroes.
    pub default: Option<Vec<u8>>,
    /// Of a list or an option: the bytes of one that is empty.
    pub blank: Option<Vec<u8>>,
    /// `#[row(migrate = …)]` above the field: the number of a migration that gives its value.
    pub migrate: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnumChanges {
    pub enumeration: EnumSchema,
    /// `#[row(was = "…")]` above variants: the name, and what it was, the newest first.
    pub was: Vec<(String, String)>,
}

/// A function of the logic that makes new values of old rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationSchema {
    /// The row that it reads.
    pub old: RowSchema,
    /// Bytes of a value that it gives, and their alignment.
    pub size: u32,
    pub align: u32,
    /// Whether values may hold texts or blobs.
    pub has_heap: bool,
    /// It gets all rows at once.
    pub whole: bool,
}

impl Changes {
    /// What is said of a table.
    pub fn table(&self, name: &str) -> Option<&TableChanges> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// What is said of a row type.
    pub fn row(&self, row: &RowSchema) -> Option<&RowChanges> {
        self.rows.iter().find(|changes| changes.row == *row)
    }

    /// What is said of an enum.
    pub fn enumeration(&self, of: &EnumSchema) -> Option<&EnumChanges> {
        self.enums.iter().find(|changes| changes.enumeration == *of)
    }

    /// Reads what the plugin's `describe` wrote: the changes, or why there are none to be had.
    ///
    /// # Errors
    /// The bytes are no changes.
    pub fn decode(bytes: &[u8]) -> Result<Result<Self, String>, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

/// Collects the changes of a world from its types. The derives fill it in.
#[doc(hidden)]
#[derive(Default)]
pub struct Describe {
    changes: Changes,
    functions: Vec<raw::Migrate>,
    seen: Vec<TypeId>,
    /// Two row types that cannot be told apart.
    conflict: Option<String>,
}

impl fmt::Debug for Describe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Describe").field("changes", &self.changes).finish_non_exhaustive()
    }
}

impl Describe {
    pub(crate) fn finish(self) -> (Result<Changes, String>, Vec<raw::Migrate>) {
        let changes = match self.conflict {
            Some(conflict) => Err(conflict),
            None => Ok(self.changes),
        };
        (changes, self.functions)
    }

    pub fn dropped(&mut self, tables: &[&str]) {
        self.changes.dropped.extend(owned(tables));
    }

    pub fn table(&mut self, name: &str, was: &[&str]) {
        if !was.is_empty() {
            let was = owned(was);
            self.changes.tables.push(TableChanges { name: name.to_owned(), was, migrate: None });
        }
    }

    /// For the table named last: all its rows at once, a new one for each.
    pub fn table_migration<O: Row, T: Row>(&mut self, name: &str, function: fn(&[O]) -> Vec<T>) {
        let number = self.migration::<O, T>(raw::Migrate::whole(function), true);
        match self.changes.tables.last_mut().filter(|table| table.name == name) {
            Some(table) => table.migrate = Some(number),
            None => {
                let migrate = Some(number);
                self.changes.tables.push(TableChanges { name: name.to_owned(), was: Vec::new(), migrate });
            }
        }
    }

    pub fn row<T: Row>(&mut self, fill: impl FnOnce(&mut DescribeRow<'_>)) {
        if self.seen.contains(&TypeId::of::<T>()) {
            return;
        }
        self.seen.push(TypeId::of::<T>());
        let row = RowChanges { row: T::row_schema(), dropped: Vec::new(), migrate: None, fields: Vec::new() };
        let mut filling = DescribeRow { describe: self, row };
        fill(&mut filling);
        let row = filling.row;
        match self.changes.row(&row.row) {
            Some(same) if *same != row => {
                self.conflict =
                    Some(format!("two row types are called `{}` and have the same fields: rename one", T::NAME));
            }
            Some(_) => {}
            None => self.changes.rows.push(row),
        }
    }

    pub fn enumeration<T: Column>(&mut self, was: &[(&str, &str)]) {
        let ColumnType::Enum(enumeration) = T::column_type() else { return };
        if self.changes.enumeration(&enumeration).is_none() {
            let was = was.iter().map(|(new, old)| ((*new).to_owned(), (*old).to_owned())).collect();
            self.changes.enums.push(EnumChanges { enumeration, was });
        }
    }

    fn migration<O: Row, N: Column>(&mut self, function: raw::Migrate, whole: bool) -> u32 {
        let number = crate::column::width(self.functions.len());
        self.functions.push(function);
        let (size, align) = (crate::column::width(size_of::<N>()), crate::column::width(align_of::<N>()));
        let old = O::row_schema();
        self.changes.migrations.push(MigrationSchema { old, size, align, has_heap: N::HAS_HEAP, whole });
        number
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Collects what is said of a row type; what is said of a field is of the one named last.
#[doc(hidden)]
#[derive(Debug)]
pub struct DescribeRow<'a> {
    describe: &'a mut Describe,
    row: RowChanges,
}

impl DescribeRow<'_> {
    pub fn dropped(&mut self, fields: &[&str]) {
        self.row.dropped.extend(owned(fields));
    }

    pub fn migrate<O: Row, T: Row>(&mut self, function: fn(&O) -> T) {
        self.row.migrate = Some(self.describe.migration::<O, T>(raw::Migrate::each(function), false));
    }

    pub fn describe(&mut self) -> &mut Describe {
        self.describe
    }

    pub fn field(&mut self, was: &[&str], blank: Option<Vec<u8>>) {
        let was = owned(was);
        self.row.fields.push(FieldChanges { was, blank, ..FieldChanges::default() });
    }

    pub fn field_default<F: Column>(&mut self, value: fn() -> F) {
        self.field_named_last().default = Some(raw::value_bytes(&value()));
    }

    pub fn field_migration<O: Row, F: Column>(&mut self, function: fn(&O) -> F) {
        let number = self.describe.migration::<O, F>(raw::Migrate::each(function), false);
        self.field_named_last().migrate = Some(number);
    }

    fn field_named_last(&mut self) -> &mut FieldChanges {
        self.row.fields.last_mut().expect("the derive names a field before it says something of it")
    }
}
