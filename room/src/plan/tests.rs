//! Plans against schemas that nobody wrote. Here is what the tests make them of.

mod made_up;
mod property;
mod refusals;
mod told;
mod values;

use super::columns::round_up;
use super::{Cancel, Plan, Rewrite, check_value, show};
use crate::bytes::Reader;
use crate::raw::{Pool, RawTable, Tables};
use crate::timers::Timers;
use crate::world::World;
use crate::{LogicVersion, heap::Heap};
use logic_api::changes::{Changes, FieldChanges, RowChanges, TableChanges};
use logic_api::prelude::*;
use logic_api::schema::{ColumnType, EnumSchema, FieldSchema, RowSchema, Schema, TableSchema, Unique};
use std::sync::Arc;

/// A field as a test writes it.
#[derive(Debug, Clone)]
struct Field {
    name: String,
    column: ColumnType,
    unique: Unique,
    was: Vec<String>,
    default: Option<Vec<u8>>,
}

fn field(name: &str, column: ColumnType) -> Field {
    Field { name: name.into(), column, unique: Unique::No, was: Vec::new(), default: None }
}

/// Lays fields out as `repr(C)` does.
fn row_schema(name: &str, fields: &[Field]) -> RowSchema {
    let (mut end, mut align) = (0, 1);
    let mut schemas = Vec::new();
    for Field { name, column, unique, .. } in fields {
        let offset = u32::try_from(round_up(end, column.align())).unwrap();
        schemas.push(FieldSchema { name: name.clone(), offset, column: column.clone(), unique: *unique });
        end = (offset + column.size()) as usize;
        align = align.max(column.align());
    }
    RowSchema { name: name.into(), size: u32::try_from(round_up(end.max(1), align)).unwrap(), align, fields: schemas }
}

/// A schema with one table of these fields, and what its version says.
fn side(fields: &[Field], nested: &[(&str, &[Field])]) -> (Arc<Schema>, Changes) {
    let row = row_schema("Avatar", fields);
    let mut changes = Changes::default();
    for (name, fields) in nested.iter().copied().chain([("Avatar", fields)]) {
        let said = |field: &Field| FieldChanges {
            was: field.was.clone(),
            default: field.default.clone(),
            blank: blank(&field.column),
            migrate: None,
        };
        let fields_said = fields.iter().map(said).collect();
        let row = row_schema(name, fields);
        changes.rows.push(RowChanges { row, dropped: Vec::new(), migrate: None, fields: fields_said });
    }
    (Arc::new(Schema { tables: vec![TableSchema { name: "avatars".into(), single: false, row }] }), changes)
}

fn blank(column: &ColumnType) -> Option<Vec<u8>> {
    match column {
        ColumnType::List { .. } | ColumnType::Opt { .. } => Some(default_value(column)),
        ColumnType::Array { of, len } => blank(of).map(|item| item.repeat(*len as usize)),
        _ => None,
    }
}

/// What `Default` would give.
fn default_value(column: &ColumnType) -> Vec<u8> {
    let mut bytes = vec![0; column.size() as usize];
    let mut put_items = |of: &ColumnType, offset: usize, count: usize| {
        let size = of.size() as usize;
        for item in 0..count {
            bytes[offset + item * size..][..size].copy_from_slice(&default_value(of));
        }
    };
    match column {
        ColumnType::Enum(of) => {
            let size = of.size as usize;
            bytes.copy_from_slice(&of.variants[0].1.to_le_bytes()[..size]);
        }
        ColumnType::List { of, capacity } => put_items(of, round_up(4, of.align()), *capacity as usize),
        ColumnType::Opt { of } => put_items(of, round_up(1, of.align()), 1),
        ColumnType::Array { of, len } => put_items(of, 0, *len as usize),
        ColumnType::Row(row) => {
            for field in &row.fields {
                put_items(&field.column, field.offset as usize, 1);
            }
        }
        _ => {}
    }
    bytes
}

fn enumeration(variants: &[(&str, i64)], size: u32) -> ColumnType {
    let variants = variants.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect();
    ColumnType::Enum(EnumSchema { name: "Team".into(), size, variants })
}

fn list(of: ColumnType, capacity: u32) -> ColumnType {
    ColumnType::List { of: Box::new(of), capacity }
}

fn opt(of: ColumnType) -> ColumnType {
    ColumnType::Opt { of: Box::new(of) }
}

fn array(of: ColumnType, len: u32) -> ColumnType {
    ColumnType::Array { of: Box::new(of), len }
}

fn nested(columns: &[ColumnType]) -> ColumnType {
    let fields: Vec<Field> =
        columns.iter().enumerate().map(|(n, column)| field(&format!("n{n}"), column.clone())).collect();
    ColumnType::Row(row_schema("Nested", &fields))
}

fn has_text(column: &ColumnType) -> bool {
    match column {
        ColumnType::Text | ColumnType::Blob => true,
        ColumnType::Array { of, .. } => has_text(of),
        ColumnType::Row(row) => row.fields.iter().any(|field| has_text(&field.column)),
        _ => false,
    }
}

/// The rows nested in a column, with what is said of them.
fn nested_rows(column: &ColumnType, rows: &mut Vec<RowChanges>) {
    match column {
        ColumnType::Array { of, .. } | ColumnType::List { of, .. } | ColumnType::Opt { of } => nested_rows(of, rows),
        ColumnType::Row(row) => {
            let said = |field: &FieldSchema| FieldChanges {
                blank: blank(&field.column),
                default: (!has_text(&field.column)).then(|| default_value(&field.column)),
                ..FieldChanges::default()
            };
            let fields = row.fields.iter().map(said).collect();
            rows.push(RowChanges { row: row.clone(), dropped: Vec::new(), migrate: None, fields });
            row.fields.iter().for_each(|field| nested_rows(&field.column, rows));
        }
        _ => {}
    }
}

fn whole_side(fields: &[Field]) -> (Arc<Schema>, Changes) {
    let (schema, mut changes) = side(fields, &[]);
    fields.iter().for_each(|field| nested_rows(&field.column, &mut changes.rows));
    (schema, changes)
}

#[track_caller]
fn check(old: &[Field], new: &[Field], drops: &[&str], expected: &[&str]) {
    let ((old, old_changes), (new, new_changes)) = (side(old, &[]), side(new, &[]));
    let drops: Vec<String> = drops.iter().map(|drop| (*drop).to_owned()).collect();
    assert_eq!(Plan::new(&old, &old_changes, &new, &new_changes, &drops).refusals(), expected);
}

/// From one column to another.
#[track_caller]
fn check_column(old: ColumnType, new: ColumnType, expected: &[&str]) {
    check(&[field("hp", old)], &[field("hp", new)], &[], expected);
}

/// A logic that says nothing: no plan here asks it for a migration.
#[derive(Debug, World)]
struct Nothing;

#[logic(linked)]
impl Logic for Nothing {}

/// A world of one table.
fn world(schema: &Arc<Schema>, pool: &Pool, rows: &[Option<Vec<u8>>], heap: Heap) -> World {
    world_of(schema, pool, &[rows], heap)
}

/// Rows in slots of one page each, some of them free.
fn world_of(schema: &Arc<Schema>, pool: &Pool, rows: &[&[Option<Vec<u8>>]], heap: Heap) -> World {
    let mut of_tables = schema.tables.iter().zip(rows);
    let tables = Tables::read(schema, pool, |layout| -> Result<RawTable, crate::Malformed> {
        let (TableSchema { row, .. }, rows) = of_tables.next().unwrap();
        let row_bytes = row.size;
        let (slots, class) = {
            let fits = (0..=6).find(|class| (1024usize << class) / row_bytes as usize >= rows.len()).unwrap();
            (((1024usize << fits) / row_bytes as usize).min(16 << 10), u8::try_from(fits).unwrap())
        };
        let mut head = vec![class];
        head.extend(row_bytes.to_le_bytes());
        head.extend(1u32.to_le_bytes());
        let indexes = u32::try_from(row.indexes().len()).unwrap();
        head.extend(indexes.to_le_bytes());
        (0..indexes).for_each(|_| head.extend(3u64.to_le_bytes()));
        let (mut table, _) = RawTable::read_head(layout, pool, &mut Reader::new(&head))?;
        let is_live = |slot: usize| rows.get(slot).is_some_and(Option::is_some);
        let mut page = Vec::new();
        for word in 0..slots.div_ceil(64) {
            let bits = (0..64).filter(|bit| is_live(word * 64 + bit)).fold(0u64, |bits, bit| bits | 1 << bit);
            page.extend(bits.to_le_bytes());
        }
        for slot in 0..slots {
            let generation = 2 * u32::try_from(slot % 5).unwrap() + u32::from(is_live(slot));
            page.extend(generation.to_le_bytes());
        }
        rows.iter().flatten().for_each(|row| page.extend(row));
        table.read_page(&mut Reader::new(&page))?;
        table.read_end();
        Ok(table)
    });
    World::of_parts(schema.clone(), tables.unwrap(), heap, Timers::default(), &[])
}

/// Carries a plan out, and gives what it refuses.
fn carry_over(world: &mut World, from: &Changes, to: &(Arc<Schema>, Changes), drops: &[String]) -> Result<(), String> {
    let mut fork = world.fork();
    carry_over_since(&mut fork, world, from, to, drops)
}

/// The same for a world that was this one when the rewrite began.
fn carry_over_since(
    before: &mut World,
    world: &mut World,
    from: &Changes,
    to: &(Arc<Schema>, Changes),
    drops: &[String],
) -> Result<(), String> {
    let plan = Plan::new(&world.schema().clone(), from, &to.0, &to.1, drops);
    if !plan.refusals().is_empty() {
        return Err(plan.refusals().join("\n"));
    }
    let logic = LogicVersion::linked::<Nothing>().unwrap();
    let mut rewrite = Rewrite::new(Arc::new(plan), logic, Arc::default(), 5, usize::MAX);
    rewrite.update(before, &Cancel::default()).map_err(|error| error.to_string())?;
    rewrite.finish(world).map_err(|error| error.to_string())?;
    assert!(world.has_sound_indexes());
    Ok(())
}
