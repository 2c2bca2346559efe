//! Whether a schema can be held.

use crate::limits::{
    COLUMN_DEPTH_MAX, FIELDS_MAX, FIELDS_PER_TABLE_MAX, INDEXES_PER_TABLE_MAX, NAME_BYTES_MAX, ROW_BYTES_MAX,
    STR_BYTES_MAX, TABLES_MAX, VARIANTS_MAX,
};
use crate::plan::{check_value, has_heap, heap_offsets};
use logic_api::changes::{Changes, FieldChanges};
use logic_api::schema::{ColumnType, EnumSchema, FieldSchema, RowSchema, Schema, TableSchema, Unique};
use std::collections::BTreeSet;

/// Refuses a schema that a world could not hold, with a line for each reason. It comes from a plugin, so nothing is believed.
pub(crate) fn check(schema: &Schema) -> Result<(), Vec<String>> {
    let mut reasons = Vec::new();
    if schema.tables.len() > TABLES_MAX {
        return Err(vec![format!("{} tables, at most {TABLES_MAX} are possible", schema.tables.len())]);
    }
    for (number, table) in schema.tables.iter().enumerate() {
        reasons.extend(check_name("a table", &table.name));
        if schema.tables[..number].iter().any(|other| other.name == table.name) {
            reasons.push(format!("two tables are called `{}`", table.name));
        }
        check_table(table, &mut reasons);
    }
    // Nothing that is deeper than may be has passed.
    if reasons.is_empty() {
        let fields: usize = schema.tables.iter().map(|table| fields_in_row(&table.row)).sum();
        if fields > FIELDS_MAX {
            reasons.push(format!("{fields} fields in all tables, at most {FIELDS_MAX} are possible"));
        }
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
    match row.fields.iter().find(|field| is_deeper(&field.column, COLUMN_DEPTH_MAX)) {
        Some(field) => {
            reasons.push(format!("{}.{}: more than {COLUMN_DEPTH_MAX} columns in each other", row.name, field.name));
        }
        None => match fields_in_row(row) {
            0..=FIELDS_PER_TABLE_MAX => check_fields(row, reasons),
            fields => {
                let advice = "those of rows in it count too; an array is one field";
                reasons.push(format!(
                    "{}: {fields} fields, at most {FIELDS_PER_TABLE_MAX} are possible; {advice}",
                    row.name
                ));
            }
        },
    }
}

/// With those of the rows in it.
fn fields_in_row(row: &RowSchema) -> usize {
    fn within(column: &ColumnType) -> usize {
        match column {
            ColumnType::Row(row) => fields_in_row(row),
            ColumnType::List { of, .. } | ColumnType::Opt { of } | ColumnType::Array { of, .. } => within(of),
            _ => 0,
        }
    }
    row.fields.iter().map(|field| 1 + within(&field.column)).sum()
}

/// Names go into lines that people read, a line for each field.
fn check_name(of: &str, name: &str) -> Option<String> {
    if name.is_empty() || name.contains(char::is_control) {
        return Some(format!("{of} is called {name:?}, which is no name"));
    }
    let is_long = name.len() > NAME_BYTES_MAX;
    is_long.then(|| format!("{of} has a name of {} bytes, at most {NAME_BYTES_MAX} are possible", name.len()))
}

/// More than as many levels of rows, lists, options and arrays, so that nothing else should go down into it.
fn is_deeper(column: &ColumnType, levels: usize) -> bool {
    match column {
        _ if levels == 0 => true,
        ColumnType::Row(row) => row.fields.iter().any(|field| is_deeper(&field.column, levels - 1)),
        ColumnType::List { of, .. } | ColumnType::Opt { of } | ColumnType::Array { of, .. } => {
            is_deeper(of, levels - 1)
        }
        _ => false,
    }
}

fn check_fields(row: &RowSchema, reasons: &mut Vec<String>) {
    if row.size == 0 || !row.align.is_power_of_two() || row.align > 16 || !row.size.is_multiple_of(row.align.max(1)) {
        reasons.push(format!("{}: {} bytes aligned to {} are no layout", row.name, row.size, row.align));
    }
    reasons.extend(check_name("a row", &row.name));
    reasons.extend(row.fields.iter().find_map(|field| check_name(&format!("a field of {}", row.name), &field.name)));
    let mut names = BTreeSet::new();
    if let Some(field) = row.fields.iter().find(|field| !names.insert(&*field.name)) {
        reasons.push(format!("{}: two fields are called `{}`", row.name, field.name));
    }
    let mut end = 0;
    let mut fields: Vec<_> = row.fields.iter().collect();
    fields.sort_by_key(|field| field.offset);
    for field in fields {
        let what = check_column(&field.column, reasons);
        reasons.extend(what.map(|what| format!("{}.{}: {what}", row.name, field.name)));
        let last = field.offset.saturating_add(field.column.size());
        if field.offset < end || last > row.size || !field.offset.is_multiple_of(field.column.align().max(1)) {
            reasons.push(format!("{}.{}: at {} it does not fit the row", row.name, field.name, field.offset));
        }
        end = last;
    }
}

/// What is wrong with a column itself; what is wrong with rows in it goes to the reasons.
fn check_column(column: &ColumnType, reasons: &mut Vec<String>) -> Option<String> {
    match column {
        ColumnType::Row(row) => {
            check_fields(row, reasons);
            None
        }
        ColumnType::List { of, .. } | ColumnType::Opt { of } | ColumnType::Array { of, .. } => {
            if let Some(what) = check_column(of, reasons) {
                return Some(what);
            }
            if of.size() == 0 {
                return Some(format!("a {column} holds what has no bytes"));
            }
            let is_array = matches!(column, ColumnType::Array { .. });
            (!is_array && has_heap(of)).then(|| format!("a {column} cannot hold a Text or a Blob"))
        }
        ColumnType::Str { capacity } if *capacity > STR_BYTES_MAX => {
            Some(format!("a {column} holds more than {STR_BYTES_MAX} bytes"))
        }
        ColumnType::Enum(of) => check_enum(of),
        _ => None,
    }
}

fn check_enum(of: &EnumSchema) -> Option<String> {
    if !matches!(of.size, 1 | 2 | 4 | 8) {
        return Some(format!("the enum {} has {} bytes, not 1, 2, 4 or 8", of.name, of.size));
    }
    if of.variants.is_empty() {
        return Some(format!("the enum {} has no variant", of.name));
    }
    if of.variants.len() > VARIANTS_MAX {
        let count = of.variants.len();
        return Some(format!("the enum {} has {count} variants, at most {VARIANTS_MAX} are possible", of.name));
    }
    let named = of.variants.iter().map(|(name, _)| ("a variant", name)).chain([("an enum", &of.name)]);
    if let Some(what) = named.into_iter().find_map(|(of, name)| check_name(of, name)) {
        return Some(what);
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    // What is not in its bytes does not tell a number from another.
    let mask = i64::MAX >> (64 - 8 * of.size) << 1 | 1;
    for (name, number) in &of.variants {
        if !names.insert(name) {
            return Some(format!("the enum {} has two variants called `{name}`", of.name));
        }
        if !numbers.insert(number & mask) {
            return Some(format!("the enum {} has two variants with the number {number}", of.name));
        }
    }
    None
}

/// Refuses changes that do not fit the row types that they are about. They come from a plugin, so nothing is believed.
pub(crate) fn check_changes(changes: &Changes) -> Result<(), String> {
    let mut reasons = Vec::new();
    let count = changes.migrations.len();
    let is_there = |number: Option<u32>| number.is_none_or(|number| (number as usize) < count);
    for migration in &changes.migrations {
        let old = &migration.old;
        check_row(old, &mut reasons);
        if old.size as usize > ROW_BYTES_MAX {
            let size = old.size;
            reasons.push(format!(
                "a migration of {}: rows of {size} bytes, at most {ROW_BYTES_MAX} are possible",
                old.name
            ));
        }
        if migration.size == 0 || !migration.align.is_power_of_two() || migration.align > 16 {
            reasons.push(format!("a migration of {}: {} bytes are no value", old.name, migration.size));
        }
    }
    for row in &changes.rows {
        let before = reasons.len();
        check_row(&row.row, &mut reasons);
        if row.fields.len() != row.row.fields.len() || !is_there(row.migrate) {
            reasons.push(format!("{}: {} fields are described", row.row.name, row.fields.len()));
        }
        // Of a row that is none, no value can be one.
        if reasons.len() == before {
            let fields = row.row.fields.iter().zip(&row.fields);
            let wrong = fields.filter(|(field, said)| !is_there(said.migrate) || !is_value_of(field, said));
            let wrong = wrong.map(|(field, _)| &field.name);
            reasons.extend(
                wrong.map(|name| format!("{}.{name}: its default or migration is of another type", row.row.name)),
            );
        }
    }
    if changes.tables.iter().any(|table| !is_there(table.migrate)) {
        reasons.push("a table's migration is not there".to_owned());
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
}

/// What is said of a field has values of its type, and no texts: there is no world yet that could have them.
fn is_value_of(field: &FieldSchema, said: &FieldChanges) -> bool {
    [&said.default, &said.blank].into_iter().flatten().all(|bytes| {
        bytes.len() == field.column.size() as usize
            && check_value(&field.column, bytes).is_ok()
            && heap_offsets(&field.column).iter().all(|at| bytes[*at..at + 8] == [0; 8])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use logic_api::changes::{MigrationSchema, RowChanges, TableChanges};

    fn schema(fields: &[(&str, ColumnType, Unique)]) -> Schema {
        let mut offset = 0;
        let fields = fields.iter().map(|(name, column, unique)| {
            let at: u32 = offset;
            offset += column.size();
            FieldSchema { name: (*name).into(), offset: at, column: column.clone(), unique: *unique }
        });
        let fields: Vec<_> = fields.collect();
        let row = RowSchema { name: "Avatar".into(), size: offset.max(1), align: 1, fields };
        Schema { tables: vec![TableSchema { name: "avatars".into(), single: false, row }] }
    }

    /// What is said of a schema of one table with this row.
    #[track_caller]
    fn check_lie(row: RowSchema, expected: &[&str]) {
        let single = row.name == "Game";
        let lying = Schema { tables: vec![TableSchema { name: "avatars".into(), single, row }] };
        assert_eq!(check(&lying).unwrap_err(), expected);
    }

    fn row(fields: &[(&str, ColumnType, Unique)]) -> RowSchema {
        schema(fields).tables.remove(0).row
    }

    /// A row with one column.
    #[track_caller]
    fn check_column_lie(column: ColumnType, expected: &str) {
        check_lie(
            row(&[("hp", column), ("end", ColumnType::U8)].map(|(name, of)| (name, of, Unique::No))),
            &[expected],
        );
    }

    fn list(of: ColumnType, capacity: u32) -> ColumnType {
        ColumnType::List { of: Box::new(of), capacity }
    }

    fn array(of: ColumnType, len: u32) -> ColumnType {
        ColumnType::Array { of: Box::new(of), len }
    }

    fn team(size: u32, variants: &[(&str, i64)]) -> ColumnType {
        let variants = variants.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect();
        ColumnType::Enum(EnumSchema { name: "Team".into(), size, variants })
    }

    #[test]
    fn a_schema_that_lies_is_refused() {
        use ColumnType::{Blob, Str, Text, U8};
        let i32 = || row(&[("hp", ColumnType::I32, Unique::No)]);
        let mut lying = i32();
        lying.fields[0].offset = 3;
        check_lie(lying, &["Avatar.hp: at 3 it does not fit the row"]);
        for (size, align) in [(0, 1), (4, 0), (4, 3), (4, 32), (6, 4)] {
            let layout = format!("Avatar: {size} bytes aligned to {align} are no layout");
            let lying = RowSchema { size, align, fields: Vec::new(), ..i32() };
            check_lie(lying, &[&layout]);
        }
        let advice = "keep long texts in `Text` columns and lists in tables of their own";
        let reason = format!("Avatar: rows of 20000 bytes, at most 16384 are possible; {advice}");
        check_lie(row(&[("map", array(U8, 20_000), Unique::No)]), &[&reason]);
        let twice = row(&[("hp", U8, Unique::No), ("hp", U8, Unique::No)]);
        check_lie(twice, &["Avatar: two fields are called `hp`"]);

        check_column_lie(team(3, &[("Red", 1)]), "Avatar.hp: the enum Team has 3 bytes, not 1, 2, 4 or 8");
        check_column_lie(team(16, &[("Red", 1)]), "Avatar.hp: the enum Team has 16 bytes, not 1, 2, 4 or 8");
        check_column_lie(team(1, &[]), "Avatar.hp: the enum Team has no variant");
        let twice = "Avatar.hp: the enum Team has two variants called `Red`";
        check_column_lie(team(1, &[("Red", 1), ("Red", 2)]), twice);
        let twice = "Avatar.hp: the enum Team has two variants with the number 257";
        check_column_lie(team(1, &[("Red", 1), ("Blue", 257)]), twice);
        check_column_lie(
            array(array(U8, 0), 4_000_000_000),
            "Avatar.hp: a [[u8; 0]; 4000000000] holds what has no bytes",
        );
        check_column_lie(list(array(U8, 0), 3), "Avatar.hp: a List<[u8; 0], 3> holds what has no bytes");
        check_column_lie(list(Text, 3), "Avatar.hp: a List<Text, 3> cannot hold a Text or a Blob");
        check_column_lie(
            ColumnType::Opt { of: Box::new(array(Blob, 2)) },
            "Avatar.hp: a Opt<[Blob; 2]> cannot hold a Text or a Blob",
        );
        check_column_lie(Str { capacity: 256 }, "Avatar.hp: a Str<256> holds more than 255 bytes");
        let deep = |levels| (1..levels).fold(U8, |of, _| array(of, 1));
        check_column_lie(deep(33), "Avatar.hp: more than 32 columns in each other");
        assert_eq!(check(&schema(&[("hp", deep(32), Unique::No)])), Ok(()));

        let columns: Vec<String> = (0..20).map(|number| format!("hp{number}")).collect();
        let columns: Vec<_> = columns.iter().map(|name| (name.as_str(), U8, Unique::Unique)).collect();
        let most = format!("Avatar: 20 unique columns, at most {INDEXES_PER_TABLE_MAX} are possible");
        check_lie(row(&columns), &[&most]);
        check_lie(row(&[("a", U8, Unique::Key), ("b", U8, Unique::Key)]), &["Avatar: two keys"]);
        let game = RowSchema { name: "Game".into(), ..row(&[("a", U8, Unique::Key)]) };
        check_lie(game, &["Game: the row of a One has no key and no unique column: there is only one row"]);
    }

    #[test]
    fn tables_have_names_of_their_own_and_are_not_too_many() {
        let one = schema(&[("hp", ColumnType::U8, Unique::No)]);
        let two = Schema { tables: vec![one.tables[0].clone(), one.tables[0].clone()] };
        assert_eq!(check(&two), Err(vec!["two tables are called `avatars`".into()]));
        let table = |number: usize| TableSchema { name: format!("t{number}"), ..one.tables[0].clone() };
        let many = Schema { tables: (0..=TABLES_MAX).map(table).collect() };
        assert_eq!(check(&many), Err(vec!["257 tables, at most 256 are possible".into()]));
        for (lie, expected) in [
            ("", "a table is called \"\", which is no name"),
            ("a\nb", "a table is called \"a\\nb\", which is no name"),
            (&"n".repeat(129), "a table has a name of 129 bytes, at most 128 are possible"),
        ] {
            let lying = Schema { tables: vec![TableSchema { name: lie.into(), ..one.tables[0].clone() }] };
            assert_eq!(check(&lying), Err(vec![expected.into()]));
        }
        let blank = RowSchema { name: String::new(), ..one.tables[0].row.clone() };
        check_lie(blank, &["a row is called \"\", which is no name"]);
        check_lie(
            row(&[("a\tb", ColumnType::U8, Unique::No)]),
            &["a field of Avatar is called \"a\\tb\", which is no name"],
        );
        check_column_lie(team(1, &[("", 1)]), "Avatar.hp: a variant is called \"\", which is no name");
    }

    /// As many as there may be pass, and one more does not: of a row, with the rows in it, and of all tables.
    #[test]
    fn fields_are_not_too_many() {
        let wide = |fields: usize| {
            let names: Vec<String> = (0..fields).map(|number| format!("f{number}")).collect();
            row(&names.iter().map(|name| (name.as_str(), ColumnType::U8, Unique::No)).collect::<Vec<_>>())
        };
        let of = |row: RowSchema| Schema { tables: vec![TableSchema { name: "avatars".into(), single: false, row }] };
        assert_eq!(check(&of(wide(FIELDS_PER_TABLE_MAX))), Ok(()));
        let most = "at most 1024 are possible; those of rows in it count too; an array is one field";
        check_lie(wide(10_000), &[&format!("Avatar: 10000 fields, {most}")]);
        let inner = |fields| array(ColumnType::Row(wide(fields)), 2);
        assert_eq!(check(&of(row(&[("parts", inner(1023), Unique::No)]))), Ok(()));
        check_lie(row(&[("parts", inner(1024), Unique::No)]), &[&format!("Avatar: 1025 fields, {most}")]);

        let tables = |fields: usize| {
            let table = |number| TableSchema { name: format!("t{number}"), ..of(wide(fields)).tables.remove(0) };
            Schema { tables: (0..TABLES_MAX).map(table).collect() }
        };
        assert_eq!(check(&tables(FIELDS_MAX / TABLES_MAX)), Ok(()));
        let many = check(&tables(FIELDS_MAX / TABLES_MAX + 1)).unwrap_err();
        assert_eq!(many, ["16640 fields in all tables, at most 16384 are possible"]);
        let names: Vec<String> = (0..=VARIANTS_MAX).map(|number| format!("V{number}")).collect();
        let variants: Vec<(&str, i64)> = names.iter().map(String::as_str).zip(0..).collect();
        assert_eq!(check(&of(row(&[("hp", team(2, &variants[1..]), Unique::No)]))), Ok(()));
        check_column_lie(team(2, &variants), "Avatar.hp: the enum Team has 4097 variants, at most 4096 are possible");
    }

    #[test]
    fn changes_that_lie_are_refused() {
        use ColumnType::{Text, U8};
        let of = row(&[("bio", Text, Unique::No), ("team", team(1, &[("Red", 1)]), Unique::No)]);
        let nothing = FieldChanges::default();
        let said = RowChanges { row: of.clone(), dropped: Vec::new(), migrate: None, fields: vec![nothing; 2] };
        let changes = Changes { rows: vec![said], ..Changes::default() };
        assert_eq!(check_changes(&changes), Ok(()));
        let check_lie = |lie: &dyn Fn(&mut Changes), expected: &str| {
            let mut lying = changes.clone();
            lie(&mut lying);
            assert_eq!(check_changes(&lying).unwrap_err(), expected);
        };
        let team_is = "Avatar.team: its default or migration is of another type";
        check_lie(&|lie| lie.rows[0].fields[1].default = Some(vec![1, 0]), team_is);
        check_lie(&|lie| lie.rows[0].fields[1].default = Some(vec![7]), team_is);
        check_lie(&|lie| lie.rows[0].fields[1].blank = Some(vec![0]), team_is);
        check_lie(&|lie| lie.rows[0].fields[1].migrate = Some(0), team_is);
        let text = "Avatar.bio: its default or migration is of another type";
        check_lie(&|lie| lie.rows[0].fields[0].default = Some(vec![1; 8]), text);
        check_lie(&|lie| lie.rows[0].fields.truncate(1), "Avatar: 1 fields are described");
        check_lie(&|lie| lie.rows[0].migrate = Some(0), "Avatar: 2 fields are described");
        let table = TableChanges { name: "avatars".into(), was: Vec::new(), migrate: Some(1) };
        check_lie(&|lie| lie.tables.push(table.clone()), "a table's migration is not there");
        let large = row(&[("map", array(U8, 20_000), Unique::No)]);
        for (old, size, align, expected) in [
            (&of, 0, 1, "a migration of Avatar: 0 bytes are no value"),
            (&of, 4, 3, "a migration of Avatar: 4 bytes are no value"),
            (&large, 4, 1, "a migration of Avatar: rows of 20000 bytes, at most 16384 are possible"),
        ] {
            let migration = MigrationSchema { old: old.clone(), size, align, has_heap: false, whole: false };
            check_lie(&|lie| lie.migrations.push(migration.clone()), expected);
        }
    }
}
