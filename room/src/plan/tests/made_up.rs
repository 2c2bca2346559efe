//! What no compiler wrote: schemas that lie, and huge ones.

use super::*;

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
