//! Whether a schema can be held.

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
