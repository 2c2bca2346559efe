//! Random schemas, random rows, random legal changes, and back.

use super::*;
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
