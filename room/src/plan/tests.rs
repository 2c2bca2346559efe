//! Plans against schemas that nobody wrote: every text of a refusal, and random changes there and back.

use super::columns::round_up;
use super::{Cancel, Plan, Rewrite, show};
use crate::bytes::Reader;
use crate::raw::{Pool, RawTable, Tables};
use crate::timers::Timers;
use crate::world::World;
use crate::{LogicVersion, heap::Heap};
use logic_api::changes::{Changes, EnumChanges, FieldChanges, RowChanges, TableChanges};
use logic_api::prelude::*;
use logic_api::schema::{ColumnType, EnumSchema, FieldSchema, RowSchema, Schema, TableSchema, Unique};
use proptest::prelude::*;
use std::sync::Arc;

/// A field as a test writes it.
#[derive(Debug, Clone)]
struct Field {
    name: String,
    column: ColumnType,
    unique: Unique,
    was: Option<String>,
    default: Option<Vec<u8>>,
}

fn field(name: &str, column: ColumnType) -> Field {
    Field { name: name.into(), column, unique: Unique::No, was: None, default: None }
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

#[test]
fn every_refusal_says_what_is_lost() {
    use ColumnType::{Blob, F32, I32, Str, Text, U8, U32, U64};
    let id = |row: &str| ColumnType::Id { row: row.into() };
    check_column(I32, F32, &["Avatar.hp: i32 -> f32 would lose values above 2^24; give a migration"]);
    check_column(I32, U64, &["Avatar.hp: i32 -> u64 would lose negative values; give a migration"]);
    check_column(F32, I32, &["Avatar.hp: f32 -> i32 would lose fractions; give a migration"]);
    check_column(
        ColumnType::Player,
        U32,
        &["Avatar.hp: PlayerId -> u32 would lose values above 4294967295; give a migration"],
    );
    check_column(opt(U8), U8, &["Avatar.hp: Opt<u8> -> u8 would lose that there is none; give a migration"]);
    check_column(
        Str { capacity: 3 },
        Text,
        &["Avatar.hp: Str<3> -> Text is no change that keeps the value; give a migration"],
    );
    check_column(Blob, Text, &["Avatar.hp: Blob -> Text would lose bytes that are no UTF-8; give a migration"]);
    check_column(
        id("Orb"),
        id("Ball"),
        &["Avatar.hp: Id<Orb> -> Id<Ball> names rows of another table; give a migration"],
    );
    check_column(id("Orb"), U64, &["Avatar.hp: Id<Orb> -> u64 is no change that keeps the value; give a migration"]);
    let shorter = "Avatar.hp: [u8; 3] -> [u8; 2] would lose the items from the 2nd on; give a migration";
    check_column(array(U8, 3), array(U8, 2), &[shorter]);
    let team = enumeration(&[("Red", 1), ("Blue", 2)], 1);
    let filled = "Avatar.hp: [Team; 1] -> [Team; 2] has no value for the new items; give it `#[row(default = …)]`, whose last items \
                  they become";
    check_column(array(team.clone(), 1), array(team.clone(), 2), &[filled]);
    check_column(
        list(I32, 3),
        list(U8, 3),
        &["Avatar.hp: i32 -> u8 would lose negative values and values above 255; give a migration"],
    );
    // What only rows can tell is not refused yet.
    check_column(Str { capacity: 8 }, Str { capacity: 4 }, &[]);
    check_column(list(U8, 8), list(U8, 4), &[]);
    check_column(team, enumeration(&[("Red", 1)], 1), &[]);
    for (lossless, wider) in
        [(U8, U64), (U8, opt(U64)), (Text, Blob), (array(Text, 1), array(Blob, 2)), (id("A"), id("A"))]
    {
        check_column(lossless, wider, &[]);
    }
}

/// Every kind of column against every other: carried over, or refused with one line that names both.
#[test]
fn every_cell_of_the_matrix_is_allowed_or_refused() {
    use ColumnType::{Blob, Bool, F32, F64, I8, I64, Player, Str, Text, U8, U64, U128};
    let id = |row: &str| ColumnType::Id { row: row.into() };
    let numbers = [Bool, U8, U64, U128, I8, I64, F32, F64, Player];
    let others = [
        (id("Orb"), "id"),
        (Str { capacity: 3 }, "str"),
        (list(U8, 3), "list"),
        (array(U8, 3), "array"),
        (opt(U8), "opt"),
        (enumeration(&[("Red", 1)], 1), "enum"),
        (nested(&[U8]), "row"),
        (Text, "text"),
        (Blob, "blob"),
    ];
    let kinds: Vec<(ColumnType, &str)> = numbers.into_iter().map(|number| (number, "number")).chain(others).collect();
    for (from, one) in &kinds {
        for (to, two) in &kinds {
            let (from_side, to_side) =
                (whole_side(&[field("hp", from.clone())]), whole_side(&[field("hp", to.clone())]));
            let plan = Plan::new(&from_side.0, &from_side.1, &to_side.0, &to_side.1, &[]);
            let refusals = plan.refusals();
            match (*one, *two) {
                // The matrix of numbers has tests of its own; into an option goes what goes into its value.
                ("number", "number" | "opt") => assert!(refusals.len() <= 1, "{refusals:?}"),
                (one, two) if one == two || (one, two) == ("text", "blob") => assert_eq!(refusals, [""; 0]),
                _ => {
                    let [line] = refusals else { panic!("{from} -> {to}: {refusals:?}") };
                    let inner = |column: &ColumnType| {
                        if let ColumnType::Opt { of } = column { (**of).clone() } else { column.clone() }
                    };
                    let named = [
                        format!("{from} -> {to} "),
                        format!("{from} -> {} ", inner(to)),
                        format!("{} -> {to} ", inner(from)),
                    ];
                    assert!(named.iter().any(|named| line.contains(named)), "{line}");
                    assert!(line.starts_with("Avatar.hp: ") && line.ends_with("; give a migration"), "{line}");
                }
            }
        }
    }
}

/// The schemas and changes of a plugin that lies: what passes the checks can be planned.
#[test]
fn what_a_version_says_of_itself_may_be_made_up() {
    let fields: Vec<Field> = [
        enumeration(&[("Red", 1), ("Blue", 2)], 2),
        list(nested(&[ColumnType::U16, opt(ColumnType::F32)]), 3),
        array(ColumnType::Text, 2),
        ColumnType::Str { capacity: 5 },
    ]
    .into_iter()
    .enumerate()
    .map(|(number, column)| Field { default: Some(default_value(&column)), ..field(&format!("f{number}"), column) })
    .collect();
    let (old, new) = (whole_side(&fields[..3]), whole_side(&fields));
    let (schema, changes) = (postcard::to_allocvec(&*new.0).unwrap(), postcard::to_allocvec(&new.1).unwrap());
    let mut planned = 0;
    let mut plan = |schema: &[u8], changes: &[u8]| {
        let Ok(schema) = postcard::from_bytes::<Schema>(schema) else { return };
        let Ok(changes) = postcard::from_bytes::<Changes>(changes) else { return };
        if crate::schema_check::check(&schema).is_ok() && crate::schema_check::check_changes(&changes).is_ok() {
            planned += 1;
            let schema = Arc::new(schema);
            drop(Plan::new(&old.0, &old.1, &schema, &changes, &[]).report(None));
            drop(Plan::new(&schema, &changes, &old.0, &old.1, &[]).report(None));
        }
    };
    for (is_schema, bytes) in [(true, &schema), (false, &changes)] {
        for at in 0..bytes.len() {
            for flip in 1..=255u8 {
                let mut made_up = bytes.clone();
                made_up[at] ^= flip;
                if is_schema { plan(&made_up, &changes) } else { plan(&schema, &made_up) }
            }
        }
    }
    assert!(planned > 1000, "{planned}");
}

#[test]
fn new_and_gone_fields_need_a_word() {
    use ColumnType::{I32, U8};
    let (hp, mana) = (field("hp", I32), field("mana", U8));
    let gone = "Avatar.hp: i32 would be dropped; say `#[row(dropped(\"hp\"))]`, or acknowledge it with drop=Avatar.hp";
    let new = "Avatar.mana: u8 is new; give it `#[row(default = …)]` or a migration";
    let (one, two) = ([hp.clone()], [mana.clone()]);
    check(&one, &two, &[], &[new, gone]);
    check(&one, &two, &["Avatar.hp"], &[new]);
    check(&one, &[Field { default: Some(vec![7]), ..mana.clone() }], &["avatars.hp"], &[]);
    let was = |name: &str, was: &str| Field { was: Some(was.into()), ..field(name, I32) };
    check(&one, &[was("life", "hp")], &[], &[]);
    let claimed = "Avatar.life: was `hp`, which `health` comes from too; take one of them out";
    let is_new = "Avatar.life: i32 is new; give it `#[row(default = …)]` or a migration";
    check(&one, &[was("health", "hp"), was("life", "hp")], &[], &[claimed, is_new]);
    // A name that is there counts before one that was.
    check(&[field("life", I32), hp.clone()], &[was("life", "hp"), hp.clone()], &[], &[]);
    let claimed = "Avatar.life: was `hp`, which `hp` comes from too; take one of them out";
    check(&one, &[was("life", "hp"), hp], &[], &[claimed, is_new]);
    // An older version does not know what its field was called later, but the newer one does.
    check(&[was("life", "hp")], &one, &[], &[]);
}

#[test]
fn tables_are_matched_as_fields_are() {
    let (one, changes) = side(&[field("hp", ColumnType::U8)], &[]);
    let renamed = |name: &str| {
        let mut schema = (*one).clone();
        schema.tables[0].name = name.into();
        Arc::new(schema)
    };
    let refusals = |new: &Arc<Schema>, new_changes: &Changes, drops: &[&str]| {
        let drops: Vec<String> = drops.iter().map(|drop| (*drop).to_owned()).collect();
        let plan = Plan::new(&one, &changes, new, new_changes, &drops);
        (plan.refusals().to_vec(), plan.unused_drops().to_vec())
    };
    let gone = "avatars: the table would be dropped with its rows; say `#[world(dropped(\"avatars\"))]`, or acknowledge it with \
                drop=avatars";
    assert_eq!(refusals(&renamed("heroes"), &changes, &["orbs"]), (vec![gone.into()], vec!["orbs".into()]));
    assert_eq!(refusals(&renamed("heroes"), &changes, &["avatars"]), (vec![], vec![]));
    let was = TableChanges { name: "heroes".into(), was: Some("avatars".into()), migrate: None };
    let said = Changes { tables: vec![was], ..changes.clone() };
    assert_eq!(refusals(&renamed("heroes"), &said, &[]), (vec![], vec![]));
    let dropped = Changes { dropped: vec!["avatars".into()], ..changes.clone() };
    assert_eq!(refusals(&renamed("heroes"), &dropped, &[]), (vec![], vec![]));
}

#[test]
fn ten_thousand_fields_are_planned_at_once() {
    let fields = |from: u32| -> Vec<Field> {
        (from..from + 10_000)
            .map(|number| Field { default: Some(vec![1]), ..field(&format!("f{number}"), ColumnType::U8) })
            .collect()
    };
    let ((old, old_changes), (new, new_changes)) = (side(&fields(0), &[]), side(&fields(5_000), &[]));
    let plan = Plan::new(&old, &old_changes, &new, &new_changes, &[]);
    assert_eq!(plan.refusals().len(), 5_000);
    assert_eq!(Plan::new(&old, &old_changes, &old, &old_changes, &[]).refusals(), <[String; 0]>::default());
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
    let plan = Plan::new(&world.schema().clone(), from, &to.0, &to.1, drops);
    if !plan.refusals().is_empty() {
        return Err(plan.refusals().join("\n"));
    }
    let logic = LogicVersion::linked::<Nothing>().unwrap();
    let mut rewrite = Rewrite::new(Arc::new(plan), logic, Arc::default(), 5, usize::MAX);
    rewrite.update(&mut world.fork(), &Cancel::default()).map_err(|error| error.to_string())?;
    rewrite.finish(world).map_err(|error| error.to_string())?;
    assert!(world.has_sound_indexes());
    Ok(())
}

/// What a plan refuses, acknowledged until it refuses nothing any more.
fn all_drops(from: &(Arc<Schema>, Changes), to: &(Arc<Schema>, Changes)) -> Vec<String> {
    let mut drops: Vec<String> = Vec::new();
    loop {
        let plan = Plan::new(&from.0, &from.1, &to.0, &to.1, &drops);
        let before = drops.len();
        drops.extend(plan.refusals().iter().map(|line| line.split(':').next().unwrap().to_owned()));
        drops.sort();
        drops.dedup();
        if drops.len() == before {
            return drops;
        }
    }
}

fn plain() -> impl Strategy<Value = ColumnType> {
    use ColumnType::{Bool, F32, F64, I8, I16, I32, I64, I128, Player, Str, U8, U16, U32, U64, U128};
    let team = |numbers: Vec<i64>, size| {
        let names = ["Red", "Blue", "Green", "Black"];
        enumeration(&names.into_iter().zip(numbers).collect::<Vec<_>>(), size)
    };
    prop_oneof![
        10 => prop::sample::select(vec![
            Bool, U8, U16, U32, U64, U128, I8, I16, I32, I64, I128, F32, F64, Player, ColumnType::Id { row: "Avatar".into() },
        ]),
        3 => (0..9u32).prop_map(|capacity| Str { capacity }),
        3 => (1..4usize).prop_map(move |count| team((3..).take(count).collect(), 1)),
    ]
}

/// Columns without texts, which lists and options may hold.
fn item() -> impl Strategy<Value = ColumnType> {
    plain().prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            (inner.clone(), 1..4u32).prop_map(|(of, capacity)| list(of, capacity)),
            inner.clone().prop_map(opt),
            (inner.clone(), 1..4u32).prop_map(|(of, len)| array(of, len)),
            prop::collection::vec(inner, 1..4).prop_map(|columns| nested(&columns)),
        ]
    })
}

fn nested(columns: &[ColumnType]) -> ColumnType {
    let fields: Vec<Field> =
        columns.iter().enumerate().map(|(n, column)| field(&format!("n{n}"), column.clone())).collect();
    ColumnType::Row(row_schema("Nested", &fields))
}

fn column() -> impl Strategy<Value = ColumnType> {
    prop_oneof![
        8 => item(),
        1 => Just(ColumnType::Text),
        1 => Just(ColumnType::Blob),
        1 => (1..3u32).prop_map(|len| array(ColumnType::Text, len)),
        1 => item().prop_map(|column| nested(&[column, ColumnType::Text])),
    ]
}

/// A wider column that holds every value; `choice` decides among many.
fn wider(column: &ColumnType, choice: u32) -> ColumnType {
    use ColumnType::{Array, Enum, F64, I64, I128, List, Opt, Row, Str, U32, U64, U128};
    match column {
        ColumnType::Bool | ColumnType::U8 => [U32, I64, ColumnType::F32, U128][choice as usize % 4].clone(),
        ColumnType::U16 | ColumnType::U32 => [U64, I64, F64, I128][choice as usize % 4].clone(),
        ColumnType::U64 => [U128, I128, ColumnType::Player][choice as usize % 3].clone(),
        ColumnType::I8 | ColumnType::I16 | ColumnType::I32 => [I64, F64, I128][choice as usize % 3].clone(),
        I64 => I128,
        ColumnType::F32 => F64,
        Str { capacity } => Str { capacity: capacity + choice % 5 },
        Enum(of) => {
            let mut of = of.clone();
            of.size = [1, 2, 4, 8][choice as usize % 4].max(of.size);
            for (_, number) in &mut of.variants {
                *number += i64::from(choice % 3);
            }
            let count = of.variants.len();
            of.variants.rotate_left(choice as usize % count);
            of.variants.push(("White".into(), 99));
            Enum(of)
        }
        List { of, capacity } => list(wider(of, choice / 2), capacity + choice % 3),
        Opt { of } => opt(wider(of, choice)),
        Array { of, len } if has_text(of) => array((**of).clone(), len + choice % 2),
        Array { of, len } => array(wider(of, choice / 2), len + choice % 2),
        Row(row) => {
            let columns: Vec<ColumnType> = row.fields.iter().map(|field| wider(&field.column, choice / 2)).collect();
            nested(&columns)
        }
        other => other.clone(),
    }
}

fn has_text(column: &ColumnType) -> bool {
    match column {
        ColumnType::Text | ColumnType::Blob => true,
        ColumnType::Array { of, .. } => has_text(of),
        ColumnType::Row(row) => row.fields.iter().any(|field| has_text(&field.column)),
        _ => false,
    }
}

/// A value, made of random numbers. NaN has too many forms to be told from its text.
fn value(column: &ColumnType, random: &mut dyn FnMut() -> u64, heap: &mut Heap) -> Vec<u8> {
    let mut bytes = default_value(column);
    let mut put = |of: &ColumnType, offset: usize, count: usize, random: &mut dyn FnMut() -> u64| {
        let size = of.size() as usize;
        for item in 0..count {
            let value = value(of, random, heap);
            bytes[offset + item * size..][..size].copy_from_slice(&value);
        }
    };
    match column {
        ColumnType::Bool => bytes[0] = u8::from(random().is_multiple_of(2)),
        ColumnType::F32 => bytes.copy_from_slice(&((random() as u32 >> 8) as f32 / 3.0).to_le_bytes()),
        ColumnType::F64 => bytes.copy_from_slice(&((random() >> 3) as f64 / 3.0).to_le_bytes()),
        ColumnType::Str { capacity } => {
            let len = random() % u64::from(capacity + 1);
            bytes[0] = len as u8;
            (0..len as usize).for_each(|at| bytes[1 + at] = b'a' + (random() % 26) as u8);
        }
        ColumnType::Enum(of) => {
            let (_, number) = of.variants[random() as usize % of.variants.len()];
            let size = of.size as usize;
            bytes.copy_from_slice(&number.to_le_bytes()[..size]);
        }
        ColumnType::List { of, capacity } => {
            let len = random() as u32 % (capacity + 1);
            put(of, round_up(4, of.align()), len as usize, random);
            bytes[..4].copy_from_slice(&len.to_le_bytes());
        }
        ColumnType::Opt { of } => {
            let is_some = random() % 2;
            put(of, round_up(1, of.align()), is_some as usize, random);
            bytes[0] = is_some as u8;
        }
        ColumnType::Array { of, len } => put(of, 0, *len as usize, random),
        ColumnType::Row(row) => {
            row.fields.iter().for_each(|field| put(&field.column, field.offset as usize, 1, random));
        }
        ColumnType::Text | ColumnType::Blob => {
            let id = heap.put(format!("text {}", random() % 1000).as_bytes()).unwrap();
            bytes[..4].copy_from_slice(&id.slot.to_le_bytes());
            bytes[4..].copy_from_slice(&id.generation.to_le_bytes());
        }
        _ => bytes.iter_mut().for_each(|byte| *byte = random() as u8),
    }
    bytes
}

/// What happens to a field.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Stays,
    Renamed,
    Wider(u32),
    Optional,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Stays), Just(Fate::Renamed), any::<u32>().prop_map(Fate::Wider), Just(Fate::Optional),]
}

fn changed(old: &Field, fate: Fate) -> Field {
    match fate {
        Fate::Stays => old.clone(),
        Fate::Renamed => Field { name: format!("new_{}", old.name), was: Some(old.name.clone()), ..old.clone() },
        Fate::Wider(choice) => {
            let column = wider(&old.column, choice);
            // New items of an array need a value.
            let default = (!has_text(&column)).then(|| default_value(&column));
            Field { column, default, ..old.clone() }
        }
        Fate::Optional if has_text(&old.column) => old.clone(),
        Fate::Optional => Field { column: opt(old.column.clone()), unique: Unique::No, ..old.clone() },
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

/// The tables beside that of the avatars: one that is renamed, a `One` that becomes a table, and one that is new.
fn beside(side: &mut (Arc<Schema>, Changes), is_old: bool, order: u64) {
    let orb = row_schema("Orb", &[field("x", ColumnType::F32), field("label", ColumnType::Text)]);
    let clan = row_schema("Clan", &[field("motto", ColumnType::Text), field("crest", ColumnType::Blob)]);
    let mut schema = (*side.0).clone();
    let mut add = |name: &str, single, row: &RowSchema| {
        schema.tables.push(TableSchema { name: name.into(), single, row: row.clone() });
    };
    add(if is_old { "orbs" } else { "balls" }, false, &orb);
    add("clan", is_old, &clan);
    if !is_old {
        add("weather", order.is_multiple_of(2), &row_schema("Weather", &[field("wind", ColumnType::F64)]));
        let len = schema.tables.len();
        schema.tables.rotate_left(order as usize % len);
        side.1.tables.push(TableChanges { name: "balls".into(), was: Some("orbs".into()), migrate: None });
    }
    side.0 = Arc::new(schema);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, ..ProptestConfig::default() })]

    /// A random schema, random rows, a random legal change, and back: the same world, to the last bit.
    #[test]
    fn there_and_back_is_the_same_world(
        columns in prop::collection::vec((column(), fate()), 1..7),
        rotate in any::<usize>(),
        added in prop::option::of(item()),
        is_keyed in any::<bool>(),
        live in prop::collection::vec(prop::bool::weighted(0.8), 1..40),
        seed in any::<u64>(),
    ) {
        let mut old: Vec<Field> = columns.iter().enumerate().map(|(n, (column, _))| field(&format!("f{n}"), column.clone())).collect();
        let key = Field { unique: if is_keyed { Unique::Key } else { Unique::No }, ..field("key", ColumnType::U32) };
        let mut new: Vec<Field> = old.iter().zip(&columns).map(|(field, (_, fate))| changed(field, *fate)).collect();
        new.extend(added.map(|column| Field { default: Some(default_value(&column)), ..field("added", column) }));
        // The key is widened, made or taken away.
        old.push(key.clone());
        let unique = if seed.is_multiple_of(2) { Unique::Key } else { Unique::No };
        new.push(Field { column: if seed.is_multiple_of(3) { ColumnType::U64 } else { ColumnType::U32 }, unique, ..key });
        let len = new.len();
        new.rotate_left(rotate % len);

        let (mut state, mut heap, pool) = (seed, Heap::default(), Pool::new());
        let mut random = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            (state >> 33) ^ state
        };
        let (mut one, mut two) = (whole_side(&old), whole_side(&new));
        beside(&mut one, true, seed);
        beside(&mut two, false, seed);
        let row_type = ColumnType::Row(one.0.tables[0].row.clone());
        let key_at = one.0.tables[0].row.fields.last().unwrap().offset as usize;
        let rows: Vec<Option<Vec<u8>>> = live.iter().enumerate().map(|(slot, is_live)| is_live.then(|| {
            let mut row = value(&row_type, &mut random, &mut heap);
            row[key_at..key_at + 4].copy_from_slice(&u32::try_from(slot).unwrap().to_le_bytes());
            row
        })).collect();
        let mut random_rows = |table: usize, count: usize| -> Vec<Option<Vec<u8>>> {
            let row = ColumnType::Row(one.0.tables[table].row.clone());
            (0..count).map(|_| Some(value(&row, &mut random, &mut heap))).collect()
        };
        let (orbs, clan) = (random_rows(1, live.len() / 2), random_rows(2, 1));
        let mut world = world_of(&one.0, &pool, &[&rows, &orbs, &clan], heap);
        let before = world.state_hash();
        let shown = |world: &World, schema: &Arc<Schema>, name: &str| {
            let avatars = schema.tables.iter().find(|table| table.name == "avatars").unwrap();
            let field = avatars.row.fields.iter().find(|field| field.name == name).unwrap().clone();
            world.rows("avatars").map(|row| show(&field.column, &row[field.offset as usize..])).collect::<Vec<_>>()
        };
        let old_values: Vec<Vec<String>> = old.iter().map(|field| shown(&world, &one.0, &field.name)).collect();

        carry_over(&mut world, &one.1, &two, &[]).map_err(TestCaseError::fail)?;
        for ((field, (_, fate)), values) in old.iter().zip(&columns).zip(&old_values) {
            // Wider floats and longer arrays are shown in other words.
            if !matches!(fate, Fate::Wider(_)) {
                prop_assert_eq!(&shown(&world, &two.0, &changed(field, *fate).name), values);
            }
        }
        // Read once more from the rows, as after a crash: nothing hangs on how it came about.
        prop_assert_eq!(world.state_hash(), world.fork().state_hash());

        carry_over(&mut world, &two.1, &one, &all_drops(&two, &one)).map_err(TestCaseError::fail)?;
        let back: Vec<Vec<u8>> = world.rows("avatars").map(|row| row.into_owned()).collect();
        prop_assert_eq!(back, rows.into_iter().flatten().collect::<Vec<_>>());
        let of = |table: &str| world.rows(table).map(|row| row.into_owned()).collect::<Vec<_>>();
        prop_assert_eq!((of("orbs"), of("clan")), (orbs.into_iter().flatten().collect(), clan.into_iter().flatten().collect()));
        prop_assert_eq!(world.state_hash(), before);
    }
}

#[test]
fn enums_are_matched_by_name() {
    let old = [field("team", enumeration(&[("Red", -1), ("Blue", 2)], 1))];
    let new = [field("team", enumeration(&[("Black", 7), ("Azure", 300), ("Red", 1)], 2))];
    let (one, mut two) = (side(&old, &[]), side(&new, &[]));
    let ColumnType::Enum(azure) = new[0].column.clone() else { unreachable!() };
    two.1.enums.push(EnumChanges { enumeration: azure, was: vec![("Azure".into(), "Blue".into())] });
    let rows = [Some(vec![0xFF]), None, Some(vec![2])];
    let mut world = world(&one.0, &Pool::new(), &rows, Heap::default());
    let before = world.state_hash();
    carry_over(&mut world, &one.1, &two, &[]).unwrap();
    let shown: Vec<String> = world.rows("avatars").map(|row| show(&new[0].column, &row)).collect();
    assert_eq!(shown, ["Red", "Azure"]);
    carry_over(&mut world, &two.1, &one, &[]).unwrap();
    assert_eq!(world.state_hash(), before);

    let gone = side(&[field("team", enumeration(&[("Red", -1)], 1))], &[]);
    assert_eq!(
        carry_over(&mut world.fork(), &one.1, &gone, &[]).unwrap_err(),
        "Avatar.team: row 1 (slot 0:2) has Blue, which is gone"
    );
    let rows = [Some(vec![0xFF])];
    carry_over(&mut self::world(&one.0, &Pool::new(), &rows, Heap::default()), &one.1, &gone, &[]).unwrap();
}

#[test]
fn what_only_the_rows_tell_names_the_row() {
    let text = |capacity| field("name", ColumnType::Str { capacity });
    let (one, two) = (side(&[text(5)], &[]), side(&[text(3)], &[]));
    let name = |name: &str| {
        let mut bytes = vec![0; 6];
        bytes[0] = u8::try_from(name.len()).unwrap();
        bytes[1..=name.len()].copy_from_slice(name.as_bytes());
        Some(bytes)
    };
    let rows = [name("ann"), None, name("bö"), name("café")];
    let mut old = world(&one.0, &Pool::new(), &rows, Heap::default());
    let before = old.state_hash();
    let error = carry_over(&mut old.fork(), &one.1, &two, &[]).unwrap_err();
    assert_eq!(error, "Avatar.name: row 2 (slot 0:3) has \"café\", 5 bytes long; 3 fit");
    assert_eq!(old.state_hash(), before);
    carry_over(&mut old, &one.1, &two, &["Avatar.name".into()]).unwrap();
    let shown: Vec<String> = old.rows("avatars").map(|row| show(&two.0.tables[0].row.fields[0].column, &row)).collect();
    assert_eq!(shown, ["\"ann\"", "\"bö\"", "\"caf\""]);

    let numbers = |capacity| [field("best", list(ColumnType::U8, capacity))];
    let (one, two) = (side(&numbers(3), &[]), side(&numbers(1), &[]));
    let rows = [Some(vec![1, 0, 0, 0, 7, 0, 0, 0]), Some(vec![3, 0, 0, 0, 7, 8, 9, 0])];
    let mut old = world(&one.0, &Pool::new(), &rows, Heap::default());
    let error = carry_over(&mut old.fork(), &one.1, &two, &[]).unwrap_err();
    assert_eq!(error, "Avatar.best: row 1 (slot 0:1) has 3 items; 1 fit");
    carry_over(&mut old, &one.1, &two, &["avatars.best".into()]).unwrap();

    let unique = |unique| [Field { unique, ..text(5) }];
    let (one, two) = (side(&unique(Unique::No), &[]), side(&unique(Unique::Unique), &[]));
    let rows = [name("ann"), name("bob"), None, name("bob")];
    let mut old = world(&one.0, &Pool::new(), &rows, Heap::default());
    assert_eq!(
        carry_over(&mut old, &one.1, &two, &[]).unwrap_err(),
        "Avatar.name: is to be unique, and the rows in slots 0:1 and 0:3 both have \"bob\""
    );
}
