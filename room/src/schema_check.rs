//! Whether a schema can be held, and how two of them differ.

use crate::limits::{INDEXES_PER_TABLE_MAX, ROW_BYTES_MAX, TABLES_MAX};
use logic_api::changes::Changes;
use logic_api::schema::{ColumnType, RowSchema, Schema, TableSchema, Unique};

/// Refuses a schema that a world could not hold, with a line for each reason. It comes from a plugin, so nothing is believed.
pub(crate) fn check(schema: &Schema) -> Result<(), Vec<String>> {
    let mut reasons = Vec::new();
    if schema.tables.len() > TABLES_MAX {
        reasons.push(format!("{} tables, at most {TABLES_MAX} are possible", schema.tables.len()));
    }
    for (number, table) in schema.tables.iter().enumerate() {
        if schema.tables[..number].iter().any(|other| other.name == table.name) {
            reasons.push(format!("two tables are called `{}`", table.name));
        }
        check_table(table, &mut reasons);
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

fn check_table(table: &TableSchema, reasons: &mut Vec<String>) {
    let row = &table.row;
    if row.size as usize > ROW_BYTES_MAX {
        let advice = "keep long texts in `Text` columns and lists in tables of their own";
        reasons
            .push(format!("{}: rows of {} bytes, at most {ROW_BYTES_MAX} are possible; {advice}", row.name, row.size));
    }
    let indexes = row.fields.iter().filter(|field| field.unique != Unique::No).count();
    if indexes > INDEXES_PER_TABLE_MAX {
        reasons.push(format!("{}: {indexes} unique columns, at most {INDEXES_PER_TABLE_MAX} are possible", row.name));
    }
    if table.single && indexes > 0 {
        reasons.push(format!("{}: the row of a One has no key and no unique column: there is only one row", row.name));
    }
    if row.fields.iter().filter(|field| field.unique == Unique::Key).count() > 1 {
        reasons.push(format!("{}: two keys", row.name));
    }
    check_row(row, reasons);
}

fn check_row(row: &RowSchema, reasons: &mut Vec<String>) {
    if row.size == 0 || !row.align.is_power_of_two() || row.align > 16 || !row.size.is_multiple_of(row.align.max(1)) {
        reasons.push(format!("{}: {} bytes aligned to {} are no layout", row.name, row.size, row.align));
    }
    let mut end = 0;
    let mut fields: Vec<_> = row.fields.iter().collect();
    fields.sort_by_key(|field| field.offset);
    for field in fields {
        let last = field.offset.saturating_add(field.column.size());
        if field.offset < end || last > row.size || !field.offset.is_multiple_of(field.column.align().max(1)) {
            reasons.push(format!("{}.{}: at {} it does not fit the row", row.name, field.name, field.offset));
        }
        end = last;
        check_column(&field.column, reasons);
    }
}

fn check_column(column: &ColumnType, reasons: &mut Vec<String>) {
    match column {
        ColumnType::Row(row) => check_row(row, reasons),
        ColumnType::List { of, .. } | ColumnType::Opt { of } | ColumnType::Array { of, .. } => {
            check_column(of, reasons)
        }
        _ => {}
    }
}

/// Refuses changes that do not fit the row types that they are about. They come from a plugin, so nothing is believed.
pub(crate) fn check_changes(changes: &Changes) -> Result<(), String> {
    let mut reasons = Vec::new();
    let count = changes.migrations.len();
    let is_there = |number: Option<u32>| number.is_none_or(|number| (number as usize) < count);
    for migration in &changes.migrations {
        check_row(&migration.old, &mut reasons);
        if migration.size == 0 || !migration.align.is_power_of_two() || migration.align > 16 {
            reasons.push(format!("a migration of {}: {} bytes are no value", migration.old.name, migration.size));
        }
    }
    for row in &changes.rows {
        check_row(&row.row, &mut reasons);
        if row.fields.len() != row.row.fields.len() || !is_there(row.migrate) {
            reasons.push(format!("{}: {} fields are described", row.row.name, row.fields.len()));
        }
        for (field, said) in row.row.fields.iter().zip(&row.fields) {
            let fits = |bytes: &Option<Vec<u8>>| {
                bytes.as_ref().is_none_or(|bytes| bytes.len() == field.column.size() as usize)
            };
            if !fits(&said.default) || !fits(&said.blank) || !is_there(said.migrate) {
                reasons.push(format!("{}.{}: its default or migration is of another type", row.row.name, field.name));
            }
        }
    }
    if changes.tables.iter().any(|table| !is_there(table.migrate)) {
        reasons.push("a table's migration is not there".to_owned());
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
}

/// A line for each difference between the schema of a running logic and that of its successor; none if they are equal.
pub fn differences(old: &Schema, new: &Schema) -> Vec<String> {
    let mut lines = Vec::new();
    for table in &old.tables {
        match new.tables.iter().find(|other| other.name == table.name) {
            None => lines.push(format!("{}: table dropped", table.name)),
            Some(other) => table_differences(table, other, &mut lines),
        }
    }
    let is_new = |table: &&TableSchema| old.tables.iter().all(|other| other.name != table.name);
    lines.extend(new.tables.iter().filter(is_new).map(|table| format!("{}: table added", table.name)));
    if lines.is_empty() && old != new {
        lines.push("the tables are in another order".into());
    }
    lines
}

fn table_differences(old: &TableSchema, new: &TableSchema, lines: &mut Vec<String>) {
    let kind = |table: &TableSchema| if table.single { "One" } else { "Table" };
    if old.single != new.single {
        lines.push(format!("{}: {}<{}> -> {}<{}>", old.name, kind(old), old.row.name, kind(new), new.row.name));
    }
    row_differences(&format!("{}.", old.row.name), &old.row, &new.row, lines);
}

fn row_differences(prefix: &str, old: &RowSchema, new: &RowSchema, lines: &mut Vec<String>) {
    let before = lines.len();
    if old.name != new.name {
        lines.push(format!("{}: row type renamed to {}", old.name, new.name));
    }
    for field in &old.fields {
        let name = &field.name;
        let Some(other) = new.fields.iter().find(|other| other.name == *name) else {
            lines.push(format!("{prefix}{name}: field dropped"));
            continue;
        };
        match (&field.column, &other.column) {
            (ColumnType::Row(one), ColumnType::Row(two)) if one != two => {
                row_differences(&format!("{prefix}{name}."), one, two, lines);
            }
            (ColumnType::Enum(one), ColumnType::Enum(two)) if one != two => {
                let list = |variants: &[(String, i64)]| {
                    variants.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
                };
                let (one, two) = (list(&one.variants), list(&two.variants));
                lines.push(format!("{prefix}{name}: variants {one} -> {two}"));
            }
            (one, two) if one != two => lines.push(format!("{prefix}{name}: {one} -> {two}")),
            _ => {}
        }
        if field.unique != other.unique {
            lines.push(format!("{prefix}{name}: {} -> {}", unique(field.unique), unique(other.unique)));
        }
    }
    for field in new.fields.iter().filter(|field| old.fields.iter().all(|other| other.name != field.name)) {
        lines.push(format!("{prefix}{}: field added ({})", field.name, field.column));
    }
    if lines.len() == before && old != new {
        lines.push(format!("{}: the fields are in another order", old.name));
    }
}

fn unique(unique: Unique) -> &'static str {
    match unique {
        Unique::No => "plain",
        Unique::Unique => "unique",
        Unique::Key => "key",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logic_api::schema::FieldSchema;

    fn schema(fields: &[(&str, ColumnType, Unique)]) -> Schema {
        let mut offset = 0;
        let fields = fields.iter().map(|(name, column, unique)| {
            let at: u32 = offset;
            offset += column.size();
            FieldSchema { name: (*name).into(), offset: at, column: column.clone(), unique: *unique }
        });
        let fields: Vec<_> = fields.collect();
        let row = RowSchema { name: "Avatar".into(), size: offset, align: 1, fields };
        Schema { tables: vec![TableSchema { name: "avatars".into(), single: false, row }] }
    }

    #[track_caller]
    fn check_lines(old: &[(&str, ColumnType, Unique)], new: &[(&str, ColumnType, Unique)], expected: &[&str]) {
        assert_eq!(differences(&schema(old), &schema(new)), expected);
    }

    #[test]
    fn every_difference_has_its_line() {
        use ColumnType::{F32, I32, Str, U8};
        use Unique::{Key, No};
        check_lines(&[("hp", I32, No)], &[("hp", I32, No)], &[]);
        check_lines(&[("hp", I32, No)], &[("hp", F32, No)], &["Avatar.hp: i32 -> f32"]);
        check_lines(
            &[("hp", I32, No)],
            &[("mp", I32, No)],
            &["Avatar.hp: field dropped", "Avatar.mp: field added (i32)"],
        );
        check_lines(&[("hp", I32, No)], &[("hp", I32, Key)], &["Avatar.hp: plain -> key"]);
        let (short, long) = (Str { capacity: 8 }, Str { capacity: 16 });
        check_lines(&[("n", short, No)], &[("n", long, No)], &["Avatar.n: Str<8> -> Str<16>"]);
        let both = [("a", U8, No), ("b", U8, No)];
        let swapped = [("b", U8, No), ("a", U8, No)];
        check_lines(&both, &swapped, &["Avatar: the fields are in another order"]);
    }

    #[test]
    fn tables_come_and_go() {
        let one = schema(&[("hp", ColumnType::I32, Unique::No)]);
        assert_eq!(differences(&Schema::default(), &one), ["avatars: table added"]);
        assert_eq!(differences(&one, &Schema::default()), ["avatars: table dropped"]);
        let mut single = one.clone();
        single.tables[0].single = true;
        assert_eq!(differences(&one, &single), ["avatars: Table<Avatar> -> One<Avatar>"]);
    }

    #[test]
    fn a_schema_that_lies_is_refused() {
        let mut lying = schema(&[("hp", ColumnType::I32, Unique::No)]);
        lying.tables[0].row.fields[0].offset = 3;
        assert_eq!(check(&lying), Err(vec!["Avatar.hp: at 3 it does not fit the row".into()]));
        let huge = schema(&[("map", ColumnType::Array { of: Box::new(ColumnType::U8), len: 20_000 }, Unique::No)]);
        let advice = "keep long texts in `Text` columns and lists in tables of their own";
        let reason = format!("Avatar: rows of 20000 bytes, at most 16384 are possible; {advice}");
        assert_eq!(check(&huge), Err(vec![reason]));
    }
}
