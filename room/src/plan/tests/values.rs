//! What becomes of the values of live rows.

use super::property::value;
use super::*;
use logic_api::changes::{EnumChanges, MigrationSchema};

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

/// A side with one enum, whose variants were these.
fn team(variants: &[(&str, i64)], was: &[(&str, &str)]) -> (Arc<Schema>, Changes) {
    let column = enumeration(variants, 1);
    let ColumnType::Enum(of) = column.clone() else { unreachable!() };
    let (schema, mut changes) = side(&[field("team", column)], &[]);
    let was = was.iter().map(|(new, old)| ((*new).to_owned(), (*old).to_owned())).collect();
    changes.enums.push(EnumChanges { enumeration: of, was });
    (schema, changes)
}

/// Two variants never become one: nobody could tell them apart again.
#[test]
fn a_variant_becomes_one_and_is_one() {
    let rows = |numbers: &[u8]| numbers.iter().map(|number| Some(vec![*number])).collect::<Vec<_>>();
    let carried = |from: &(Arc<Schema>, Changes), to: &(Arc<Schema>, Changes), numbers: &[u8]| {
        let mut world = world(&from.0, &Pool::new(), &rows(numbers), Heap::default());
        carry_over(&mut world, &from.1, to, &[])?;
        Ok::<_, String>(world.rows("avatars").map(|row| row[0]).collect::<Vec<_>>())
    };
    let (one, two) = (team(&[("A", 1)], &[]), team(&[("A", 1), ("C", 3)], &[("C", "A")]));
    let claimed = "Avatar.team: Team::C was `A`, which `A` comes from too; take one of them out";
    assert_eq!(carried(&one, &two, &[1]), Err(claimed.into()));
    // Back, what was given to the new one since has no place.
    assert_eq!(carried(&two, &one, &[1]), Ok(vec![1]));
    let gone = "Avatar.team: row 1 (slot 0:1) has C, which is gone";
    assert_eq!(carried(&two, &one, &[1, 3]), Err(gone.into()));
    // Over several versions, there and back, whether each was loaded or not.
    let versions =
        [team(&[("A", 1)], &[]), team(&[("B", 2)], &[("B", "A")]), team(&[("C", 3)], &[("C", "B"), ("C", "A")])];
    for (from, to) in (0..3u8).flat_map(|from| (0..3u8).map(move |to| (from, to))) {
        let (one, two) = (&versions[usize::from(from)], &versions[usize::from(to)]);
        assert_eq!(carried(one, two, &[from + 1]), Ok(vec![to + 1]));
    }
    // Each side says of its own what it was: the new one comes first.
    let (old, new) = (team(&[("A", 1), ("Y", 2)], &[("Y", "X")]), team(&[("X", 7)], &[("X", "A")]));
    assert_eq!(carried(&old, &new, &[1]), Ok(vec![7]));
    let gone = "Avatar.team: row 0 (slot 0:0) has Y, which is gone";
    assert_eq!(carried(&old, &new, &[2]), Err(gone.into()));
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

/// What a row's only field becomes when its loss is acknowledged, and that it is refused otherwise.
#[track_caller]
fn check_lost(old: ColumnType, value: &[u8], new: Field, expected: &str) {
    let (one, two) = (whole_side(&[field("hp", old)]), whole_side(std::slice::from_ref(&new)));
    let mut world = world(&one.0, &Pool::new(), &[Some(value.to_vec())], Heap::default());
    carry_over(&mut world.fork(), &one.1, &two, &[]).unwrap_err();
    let drops = ["Avatar.hp".to_owned()];
    assert_eq!(Plan::new(&one.0, &one.1, &two.0, &two.1, &drops).unused_drops(), [""; 0]);
    carry_over(&mut world, &one.1, &two, &drops).unwrap();
    let shown: Vec<String> = world.rows("avatars").map(|row| show(&new.column, &row)).collect();
    assert_eq!(shown, [expected]);
}

/// Nothing stands between a version and the one before it, if somebody says that what is lost may be.
#[test]
fn every_loss_can_be_acknowledged() {
    use ColumnType::{Blob, F32, Str, Text, U8, U16, U32};
    let team = |variants: &[(&str, i64)]| enumeration(variants, 1);
    let (three, two) = (team(&[("Red", 1), ("Blue", 2), ("Green", 3)]), team(&[("Red", 1), ("Blue", 2)]));
    let hp = |column: ColumnType| field("hp", column);
    let by_default = |column: ColumnType, default: &[u8]| Field { default: Some(default.to_vec()), ..hp(column) };

    // A variant that is gone becomes the default, or the first.
    check_lost(three.clone(), &[3], hp(two.clone()), "Red");
    check_lost(three.clone(), &[3], by_default(two.clone(), &[2]), "Blue");
    check_lost(opt(three.clone()), &[1, 3], hp(opt(two.clone())), "Red");
    check_lost(list(three.clone(), 2), &[2, 0, 0, 0, 2, 3, 0, 0], hp(list(two.clone(), 2)), "[Blue, Red]");
    check_lost(array(three.clone(), 2), &[3, 2], hp(array(two.clone(), 2)), "[Red, Blue]");

    // Where there was none: the default, or what is empty; what there was stays.
    for (value, expected) in [([0, 0], "100"), ([0, 9], "100"), ([1, 9], "9")] {
        check_lost(opt(U8), &value, by_default(U8, &[100]), expected);
        check_lost(opt(U8), &value, by_default(U16, &[100, 0]), expected);
    }
    check_lost(opt(U8), &[0, 0], hp(U8), "0");
    check_lost(opt(three.clone()), &[0, 0], hp(three.clone()), "Red");

    // Another type: the default, what is empty, zero, or the first variant.
    let str3 = || Str { capacity: 3 };
    check_lost(str3(), b"\x02ab\0", hp(U16), "0");
    check_lost(str3(), b"\x02ab\0", by_default(U16, &[7, 0]), "7");
    check_lost(U8, &[1], hp(two.clone()), "Red");
    check_lost(U8, &[1], hp(str3()), "\"\"");
    check_lost(U8, &[1], hp(opt(str3())), "none");
    check_lost(opt(U8), &[1, 7], hp(opt(str3())), "none");
    check_lost(opt(U8), &[1, 7], hp(str3()), "\"\"");
    check_lost(list(U8, 1), &[1, 0, 0, 0, 7, 0, 0, 0], hp(list(str3(), 1)), "[]");
    check_lost(list(U8, 1), &[1, 0, 0, 0, 7, 0, 0, 0], hp(F32), "0");
    check_lost(array(U8, 1), &[7], hp(array(two.clone(), 2)), "[Red, Red]");
    check_lost(array(three, 1), &[1], hp(array(two.clone(), 3)), "[Red, Red, Red]");
    check_lost(nested(&[U8]), &[7], hp(U32), "0");
    check_lost(U8, &[7], hp(nested(&[U8, two.clone(), opt(two)])), "{n0: 0, n1: Red, n2: none}");
    check_lost(
        ColumnType::Id { row: "Orb".into() },
        &[1; 8],
        hp(ColumnType::Id { row: "Ball".into() }),
        "Id<Ball>(0:0)",
    );
    check_lost(U8, &[7], hp(Text), "Text(0:0)");

    // A text that goes is freed, and bytes that become a text stay where they are.
    let carried = |old: ColumnType, new: ColumnType| {
        let (one, two) = (whole_side(&[hp(old.clone())]), whole_side(&[hp(new)]));
        let mut heap = Heap::default();
        let row = value(&old, &mut || 5, &mut heap);
        let mut world = world(&one.0, &Pool::new(), &[Some(row)], heap);
        carry_over(&mut world, &one.1, &two, &["Avatar.hp".into()]).unwrap();
        world.heap().bytes()
    };
    assert_eq!((carried(Text, U8), carried(Blob, Text)), (0, "text 5".len()));
}

#[test]
fn a_field_that_is_not_there_any_more_comes_back_empty() {
    let (hp, bio) = (field("hp", ColumnType::U8), field("bio", ColumnType::Text));
    let team = field("team", enumeration(&[("Red", 1)], 1));
    let (one, two) = (whole_side(std::slice::from_ref(&hp)), whole_side(&[hp, bio, team]));
    let mut world = world(&one.0, &Pool::new(), &[Some(vec![7])], Heap::default());
    let drops = ["Avatar.bio".to_owned(), "avatars.team".to_owned()];
    carry_over(&mut world.fork(), &one.1, &two, &drops[..1]).unwrap_err();
    carry_over(&mut world, &one.1, &two, &drops).unwrap();
    let row = ColumnType::Row(two.0.tables[0].row.clone());
    let shown: Vec<String> = world.rows("avatars").map(|bytes| show(&row, &bytes)).collect();
    assert_eq!(shown, ["{hp: 7, bio: Text(0:0), team: Red}"]);
}

/// A view may be narrower than the column, as long as every row fits it.
#[test]
fn what_a_migration_reads_must_fit_what_it_declares() {
    let text = |capacity| field("name", ColumnType::Str { capacity });
    let name =
        |text: &str| Some([&[u8::try_from(text.len()).unwrap()], text.as_bytes(), &[0; 5][text.len()..]].concat());
    let (one, mut two) = (side(&[text(5)], &[]), side(&[field("len", ColumnType::U8)], &[]));
    let old = row_schema("Old", &[text(3)]);
    two.1.migrations.push(MigrationSchema { old, size: 1, align: 1, has_heap: false, whole: false });
    two.1.rows[0].fields[0].migrate = Some(0);
    let rows = [name("ann"), None, name("bob"), name("cleo")];
    let mut world = world(&one.0, &Pool::new(), &rows, Heap::default());
    let text = "Avatar.len: what its migration reads of row 2: Old.name: has \"cleo\", 4 bytes long; 3 fit";
    assert_eq!(carry_over(&mut world, &one.1, &two, &[]).unwrap_err(), text);
}

#[test]
fn what_is_no_value_says_why() {
    let check = |of: ColumnType, bytes: &[u8], expected: &str| {
        assert_eq!(check_value(&of, bytes).err().unwrap_or_default(), expected);
    };
    let team = || enumeration(&[("Red", -1), ("Blue", 2)], 1);
    check(ColumnType::Bool, &[2], "2 is no bool");
    check(opt(ColumnType::U8), &[2, 0], "2 is no bool");
    check(team(), &[7], "7 is no variant of Team");
    check(team(), &[0xFF], "");
    check(opt(team()), &[0, 7], "7 is no variant of Team");
    check(array(team(), 2), &[2, 3], "3 is no variant of Team");
    check(ColumnType::Str { capacity: 3 }, &[4, 0, 0, 0], "a length of 4 is more than a Str<3> has");
    check(list(ColumnType::U8, 2), &[3, 0, 0, 0, 0, 0, 0, 0], "a length of 3 is more than a List<u8, 2> has");
    check(list(team(), 1), &[0, 0, 0, 0, 9, 0, 0, 0], "9 is no variant of Team");
    check(nested(&[ColumnType::Bool, nested(&[team()])]), &[1, 5], "n1: n0: 5 is no variant of Team");
}
