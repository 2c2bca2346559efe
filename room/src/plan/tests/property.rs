//! Random schemas, random rows, random legal changes, and back.

use super::*;
use crate::plan::heap_offsets;
use logic_api::abi::RawHeapId;
use proptest::prelude::*;

/// What a plan refuses, acknowledged until it refuses nothing any more.
pub(super) fn all_drops(from: &(Arc<Schema>, Changes), to: &(Arc<Schema>, Changes)) -> Vec<String> {
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

/// A value, made of random numbers. NaN has too many forms to be told from its text.
pub(super) fn value(column: &ColumnType, random: &mut dyn FnMut() -> u64, heap: &mut Heap) -> Vec<u8> {
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
        Fate::Renamed => Field { name: format!("new_{}", old.name), was: vec![old.name.clone()], ..old.clone() },
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

/// Whether a value is still the one that it was, in a wider column.
fn is_same(old: &ColumnType, old_bytes: &[u8], new: &ColumnType, new_bytes: &[u8]) -> bool {
    let items = |old: &ColumnType, old_at: usize, new: &ColumnType, new_at: usize, count: usize| {
        let strides = (old.size() as usize, new.size() as usize);
        (0..count).all(|item| {
            is_same(old, &old_bytes[old_at + item * strides.0..], new, &new_bytes[new_at + item * strides.1..])
        })
    };
    match (old, new) {
        (ColumnType::List { of: old, .. }, ColumnType::List { of: new, .. }) => {
            let count = u32::from_le_bytes(*old_bytes.first_chunk().unwrap()) as usize;
            let at = (round_up(4, old.align()), round_up(4, new.align()));
            old_bytes[..4] == new_bytes[..4] && items(old, at.0, new, at.1, count)
        }
        (ColumnType::Opt { of: old }, ColumnType::Opt { of: new }) => {
            let at = (round_up(1, old.align()), round_up(1, new.align()));
            old_bytes[0] == new_bytes[0] && items(old, at.0, new, at.1, usize::from(old_bytes[0]))
        }
        (ColumnType::Array { of: old, len }, ColumnType::Array { of: new, .. }) => items(old, 0, new, 0, *len as usize),
        (ColumnType::Row(old), ColumnType::Row(new)) => old
            .fields
            .iter()
            .zip(&new.fields)
            .all(|(old, new)| items(&old.column, old.offset as usize, &new.column, new.offset as usize, 1)),
        _ => {
            let (old, new) = (show(old, old_bytes), show(new, new_bytes));
            let number = |shown: &str| shown.parse::<f64>().ok().or(shown.parse::<bool>().ok().map(f64::from));
            // A float is shown with as few digits as tell it from others of its width.
            old == new || number(&old).zip(number(&new)).is_some_and(|(old, new)| old as f32 == new as f32)
        }
    }
}

/// Bytes of the texts that the rows of all tables name.
fn named_bytes(world: &World) -> usize {
    let of_table = |table: &TableSchema| {
        let offsets = heap_offsets(&ColumnType::Row(table.row.clone()));
        let of_row = |row: &[u8]| -> usize {
            let number = |at: usize| u32::from_le_bytes(row[at..at + 4].try_into().unwrap());
            let ids = offsets.iter().map(|at| RawHeapId { slot: number(*at), generation: number(at + 4) });
            ids.map(|id| world.heap().get(id).len()).sum()
        };
        world.rows(&table.name).map(|row| of_row(&row)).sum::<usize>()
    };
    world.schema().tables.iter().map(of_table).sum()
}

/// The tables beside that of the avatars: one that is renamed, a `One` that becomes a table, one that is new, and one that goes.
fn beside(side: &mut (Arc<Schema>, Changes), is_old: bool, order: u64) {
    let orb = row_schema("Orb", &[field("x", ColumnType::F32), field("label", ColumnType::Text)]);
    let clan = row_schema("Clan", &[field("motto", ColumnType::Text), field("crest", ColumnType::Blob)]);
    let mut schema = (*side.0).clone();
    let mut add = |name: &str, single, row: &RowSchema| {
        schema.tables.push(TableSchema { name: name.into(), single, row: row.clone() });
    };
    add(if is_old { "orbs" } else { "balls" }, false, &orb);
    add("clan", is_old, &clan);
    if is_old && has_ruins(order) {
        add("ruins", false, &row_schema("Ruin", &[field("name", ColumnType::Text), field("age", ColumnType::U16)]));
    }
    if !is_old {
        side.1.dropped.push("ruins".into());
        add("weather", order.is_multiple_of(2), &row_schema("Weather", &[field("wind", ColumnType::F64)]));
        let len = schema.tables.len();
        schema.tables.rotate_left(order as usize % len);
        side.1.tables.push(TableChanges { name: "balls".into(), was: vec!["orbs".into()], migrate: None });
    }
    side.0 = Arc::new(schema);
}

/// A table that is dropped with its rows is not what it was on the way back.
fn has_ruins(order: u64) -> bool {
    order % 3 == 1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, ..ProptestConfig::default() })]

    /// A random schema, random rows, a random legal change, and back: the same world, to the last bit. The rows have changed
    /// since most of them were rewritten.
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
        // One more that is unique, in both.
        let tag = Field { unique: Unique::Unique, ..field("tag", ColumnType::U16) };
        old.push(tag.clone());
        new.push(tag);
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
        let place = |name: &str| one.0.tables[0].row.fields.iter().find(|field| field.name == name).unwrap().offset as usize;
        let (key_at, tag_at) = (place("key"), place("tag"));
        let mut keyed_row = |key: u32, heap: &mut Heap| {
            let mut row = value(&row_type, &mut random, heap);
            row[key_at..key_at + 4].copy_from_slice(&key.to_le_bytes());
            row[tag_at..tag_at + 2].copy_from_slice(&(99 - key as u16).to_le_bytes());
            row
        };
        let rows: Vec<Option<Vec<u8>>> = live.iter().zip(0..).map(|(is_live, slot)| is_live.then(|| keyed_row(slot, &mut heap))).collect();
        // What they were when the rewrite began: some others, some not there yet, and some that have gone since.
        let mut earlier = rows.clone();
        for (row, slot) in earlier.iter_mut().zip(0..) {
            match (seed >> slot) % 4 {
                0 => *row = None,
                1 => *row = Some(keyed_row(slot + 50, &mut heap)),
                _ => {}
            }
        }
        let mut random_rows = |table: usize, count: usize| -> Vec<Option<Vec<u8>>> {
            let row = ColumnType::Row(one.0.tables[table].row.clone());
            (0..count).map(|_| Some(value(&row, &mut random, &mut heap))).collect()
        };
        let (orbs, clan) = (random_rows(1, live.len() / 2), random_rows(2, 1));
        let ruins = if has_ruins(seed) { random_rows(3, live.len() % 5) } else { Vec::new() };
        let mut at_first = world_of(&one.0, &pool, &[&earlier, &orbs, &clan, &ruins], heap.clone());
        let mut world = world_of(&one.0, &pool, &[&rows, &orbs, &clan, &ruins], heap);
        let before = world.state_hash();
        let unnamed = world.heap().bytes() - named_bytes(&world);
        let shown = |world: &World, schema: &Arc<Schema>, name: &str| {
            let avatars = schema.tables.iter().find(|table| table.name == "avatars").unwrap();
            let field = avatars.row.fields.iter().find(|field| field.name == name).unwrap().clone();
            world.rows("avatars").map(|row| show(&field.column, &row[field.offset as usize..])).collect::<Vec<_>>()
        };
        let old_values: Vec<Vec<String>> = old.iter().map(|field| shown(&world, &one.0, &field.name)).collect();

        carry_over_since(&mut at_first, &mut world, &one.1, &two, &[]).map_err(TestCaseError::fail)?;
        let new_row = &two.0.tables.iter().find(|table| table.name == "avatars").unwrap().row;
        for ((field, (_, fate)), values) in old.iter().zip(&columns).zip(&old_values) {
            let name = changed(field, *fate).name;
            if !matches!(fate, Fate::Wider(_)) {
                prop_assert_eq!(&shown(&world, &two.0, &name), values);
                continue;
            }
            // Wider floats and longer arrays are shown in other words.
            let (old, new) = (&one.0.tables[0].row.fields, &new_row.fields);
            let old = old.iter().find(|old| old.name == field.name).unwrap();
            let new = new.iter().find(|new| new.name == name).unwrap();
            for (old_row, new_row) in rows.iter().flatten().zip(world.rows("avatars")) {
                let (old_bytes, new_bytes) = (&old_row[old.offset as usize..], &new_row[new.offset as usize..]);
                prop_assert!(is_same(&old.column, old_bytes, &new.column, new_bytes), "{} -> {}", old.column, new.column);
            }
        }
        prop_assert_eq!(world.heap().bytes() - named_bytes(&world), unnamed);
        // Read once more from the rows, as after a crash: nothing hangs on how it came about.
        prop_assert_eq!(world.state_hash(), world.fork().state_hash());

        carry_over(&mut world, &two.1, &one, &all_drops(&two, &one)).map_err(TestCaseError::fail)?;
        let back: Vec<Vec<u8>> = world.rows("avatars").map(|row| row.into_owned()).collect();
        prop_assert_eq!(back, rows.into_iter().flatten().collect::<Vec<_>>());
        let of = |table: &str| world.rows(table).map(|row| row.into_owned()).collect::<Vec<_>>();
        prop_assert_eq!((of("orbs"), of("clan")), (orbs.into_iter().flatten().collect(), clan.into_iter().flatten().collect()));
        prop_assert_eq!(world.heap().bytes() - named_bytes(&world), unnamed);
        // What went is gone, and nothing else.
        if !has_ruins(seed) {
            prop_assert_eq!(world.state_hash(), before);
        }
    }

    /// Any row becomes any other if all that is lost may be: each new value is one, and no text is left behind. Where something is
    /// refused, nothing is touched.
    #[test]
    fn whatever_is_acknowledged_goes(
        columns in prop::collection::vec((prop::option::of(column()), prop::option::of(column())), 1..6),
        count in 0..20usize,
        seed in any::<u64>(),
    ) {
        let fields = |columns: Vec<&Option<ColumnType>>| -> Vec<Field> {
            let columns = columns.into_iter().enumerate().filter_map(|(n, column)| Some((n, column.clone()?)));
            let mut fields: Vec<Field> = columns.map(|(n, column)| field(&format!("f{n}"), column)).collect();
            fields.push(field("end", ColumnType::U8));
            fields
        };
        let (old, new): (Vec<_>, Vec<_>) = columns.iter().map(|(old, new)| (old, new)).unzip();
        let (one, two) = (whole_side(&fields(old)), whole_side(&fields(new)));
        let (mut state, mut heap) = (seed, Heap::default());
        let mut random = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            (state >> 33) ^ state
        };
        let row = ColumnType::Row(one.0.tables[0].row.clone());
        let rows: Vec<Option<Vec<u8>>> = (0..count).map(|_| Some(value(&row, &mut random, &mut heap))).collect();
        let mut world = world(&one.0, &Pool::new(), &rows, heap);
        let before = world.state_hash();
        let refused = carry_over(&mut world.fork(), &one.1, &two, &[]).is_err();
        prop_assert_eq!(world.state_hash(), before);
        // Beyond what the plan refuses, what only the rows can tell, which names the first.
        let mut drops = all_drops(&one, &two);
        while let Err(refusal) = carry_over(&mut world.fork(), &one.1, &two, &drops) {
            let path = refusal.split(':').next().unwrap().to_owned();
            prop_assert!(!drops.contains(&path), "{} is acknowledged", refusal);
            drops.push(path);
        }
        carry_over(&mut world, &one.1, &two, &drops).map_err(TestCaseError::fail)?;
        let row = ColumnType::Row(two.0.tables[0].row.clone());
        for bytes in world.rows("avatars") {
            check_value(&row, &bytes).map_err(TestCaseError::fail)?;
        }
        prop_assert_eq!(world.heap().bytes(), named_bytes(&world));
        prop_assert!(refused || one.0 != two.0 || world.state_hash() == before);
    }
}
