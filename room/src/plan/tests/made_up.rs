//! What no compiler wrote: schemas that lie, and huge ones.

use super::property::{all_drops, value};
use super::*;

/// The schemas and changes of a plugin that lies: what passes the checks can be planned, and what is planned carried out.
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
    let (mut planned, mut done) = (0, 0);
    let mut carry_out = |from: &(Arc<Schema>, Changes), to: &(Arc<Schema>, Changes)| {
        let (mut heap, mut random) = (Heap::default(), 0u64);
        let rows: Vec<Vec<Option<Vec<u8>>>> = from
            .0
            .tables
            .iter()
            .map(|table| {
                let row = ColumnType::Row(table.row.clone());
                let mut next = || {
                    random += 1;
                    random.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
                };
                (0..if table.single { 1 } else { 3 }).map(|_| Some(value(&row, &mut next, &mut heap))).collect()
            })
            .collect();
        let rows: Vec<&[Option<Vec<u8>>]> = rows.iter().map(Vec::as_slice).collect();
        let mut world = world_of(&from.0, &Pool::new(), &rows, heap);
        if carry_over(&mut world, &from.1, to, &all_drops(from, to)).is_ok() {
            done += 1;
            let tables = to.0.tables.iter().map(|table| (ColumnType::Row(table.row.clone()), &table.name));
            for (row, name) in tables {
                world.rows(name).for_each(|bytes| check_value(&row, &bytes).unwrap());
            }
        }
    };
    let mut plan = |schema: &[u8], changes: &[u8]| {
        let Ok(schema) = postcard::from_bytes::<Schema>(schema) else { return };
        let Ok(changes) = postcard::from_bytes::<Changes>(changes) else { return };
        if crate::schema_check::check(&schema).is_ok() && crate::schema_check::check_changes(&changes).is_ok() {
            planned += 1;
            let made_up = (Arc::new(schema), changes);
            drop(Plan::new(&old.0, &old.1, &made_up.0, &made_up.1, &[]).report(None));
            drop(Plan::new(&made_up.0, &made_up.1, &old.0, &old.1, &[]).report(None));
            if planned % 32 == 0 {
                carry_out(&old, &made_up);
                carry_out(&made_up, &old);
            }
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
    assert!(planned > 1000 && done > 1000, "{planned} planned, {done} carried out");
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
