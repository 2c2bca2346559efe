//! The text of every refusal, and which changes are none.

use super::*;
use expect_test::expect;
use logic_api::changes::MigrationSchema;

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
    let shorter = "Avatar.hp: [u8; 3] -> [u8; 2] would lose the items from the 3rd on; give a migration";
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
                // The matrix of numbers has a test of its own.
                ("number", "number" | "opt") => {}
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

/// Every number into every other, and into an option of it: what fits, and what would be lost otherwise.
#[test]
fn every_number_goes_where_it_fits() {
    use ColumnType::{Bool, F32, F64, I8, I16, I32, I64, I128, Player, U8, U16, U32, U64, U128};
    let numbers = [Bool, U8, U16, U32, U64, U128, I8, I16, I32, I64, I128, F32, F64, Player];
    let refusals = |from: &ColumnType, to: ColumnType| {
        let (old, new) = (side(&[field("hp", from.clone())], &[]), side(&[field("hp", to)], &[]));
        Plan::new(&old.0, &old.1, &new.0, &new.1, &[]).refusals().to_vec()
    };
    let mut table = String::new();
    for from in &numbers {
        let (mut fits, mut lost) = (String::new(), String::new());
        for to in &numbers {
            let refused = refusals(from, to.clone());
            assert_eq!(refused, refusals(from, opt(to.clone())), "into an option goes what goes into its value");
            match refused.as_slice() {
                [] => fits += &format!(" {to}"),
                [line] => {
                    let start = format!("Avatar.hp: {from} -> {to} would lose ");
                    let what = line.strip_prefix(&start).and_then(|rest| rest.strip_suffix("; give a migration"));
                    lost += &format!("  {to}: {}\n", what.unwrap_or_else(|| panic!("{line}")));
                }
                more => panic!("{more:?}"),
            }
        }
        table += &format!("{from} fits{fits}\n{lost}");
    }
    expect![[r#"
        bool fits bool u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 PlayerId
        u8 fits u8 u16 u32 u64 u128 i16 i32 i64 i128 f32 f64 PlayerId
          bool: values above 1
          i8: values above 127
        u16 fits u16 u32 u64 u128 i32 i64 i128 f32 f64 PlayerId
          bool: values above 1
          u8: values above 255
          i8: values above 127
          i16: values above 32767
        u32 fits u32 u64 u128 i64 i128 f64 PlayerId
          bool: values above 1
          u8: values above 255
          u16: values above 65535
          i8: values above 127
          i16: values above 32767
          i32: values above 2147483647
          f32: values above 2^24
        u64 fits u64 u128 i128 PlayerId
          bool: values above 1
          u8: values above 255
          u16: values above 65535
          u32: values above 4294967295
          i8: values above 127
          i16: values above 32767
          i32: values above 2147483647
          i64: values above 9223372036854775807
          f32: values above 2^24
          f64: values above 2^53
        u128 fits u128
          bool: values above 1
          u8: values above 255
          u16: values above 65535
          u32: values above 4294967295
          u64: values above 18446744073709551615
          i8: values above 127
          i16: values above 32767
          i32: values above 2147483647
          i64: values above 9223372036854775807
          i128: values above 170141183460469231731687303715884105727
          f32: values above 2^24
          f64: values above 2^53
          PlayerId: values above 18446744073709551615
        i8 fits i8 i16 i32 i64 i128 f32 f64
          bool: negative values and values above 1
          u8: negative values
          u16: negative values
          u32: negative values
          u64: negative values
          u128: negative values
          PlayerId: negative values
        i16 fits i16 i32 i64 i128 f32 f64
          bool: negative values and values above 1
          u8: negative values and values above 255
          u16: negative values
          u32: negative values
          u64: negative values
          u128: negative values
          i8: values below -128 and above 127
          PlayerId: negative values
        i32 fits i32 i64 i128 f64
          bool: negative values and values above 1
          u8: negative values and values above 255
          u16: negative values and values above 65535
          u32: negative values
          u64: negative values
          u128: negative values
          i8: values below -128 and above 127
          i16: values below -32768 and above 32767
          f32: values above 2^24
          PlayerId: negative values
        i64 fits i64 i128
          bool: negative values and values above 1
          u8: negative values and values above 255
          u16: negative values and values above 65535
          u32: negative values and values above 4294967295
          u64: negative values
          u128: negative values
          i8: values below -128 and above 127
          i16: values below -32768 and above 32767
          i32: values below -2147483648 and above 2147483647
          f32: values above 2^24
          f64: values above 2^53
          PlayerId: negative values
        i128 fits i128
          bool: negative values and values above 1
          u8: negative values and values above 255
          u16: negative values and values above 65535
          u32: negative values and values above 4294967295
          u64: negative values and values above 18446744073709551615
          u128: negative values
          i8: values below -128 and above 127
          i16: values below -32768 and above 32767
          i32: values below -2147483648 and above 2147483647
          i64: values below -9223372036854775808 and above 9223372036854775807
          f32: values above 2^24
          f64: values above 2^53
          PlayerId: negative values and values above 18446744073709551615
        f32 fits f32 f64
          bool: fractions
          u8: fractions
          u16: fractions
          u32: fractions
          u64: fractions
          u128: fractions
          i8: fractions
          i16: fractions
          i32: fractions
          i64: fractions
          i128: fractions
          PlayerId: fractions
        f64 fits f64
          bool: fractions
          u8: fractions
          u16: fractions
          u32: fractions
          u64: fractions
          u128: fractions
          i8: fractions
          i16: fractions
          i32: fractions
          i64: fractions
          i128: fractions
          f32: digits
          PlayerId: fractions
        PlayerId fits u64 u128 i128 PlayerId
          bool: values above 1
          u8: values above 255
          u16: values above 65535
          u32: values above 4294967295
          i8: values above 127
          i16: values above 32767
          i32: values above 2147483647
          i64: values above 9223372036854775807
          f32: values above 2^24
          f64: values above 2^53
    "#]]
    .assert_eq(&table);
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
    let was = |name: &str, was: &str| Field { was: vec![was.into()], ..field(name, I32) };
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
    // What may go is not what comes back under an old name.
    let (later, (back, mut said)) = (side(&[was("life", "hp")], &[]), side(&one, &[]));
    said.rows[0].dropped = vec!["life".into()];
    assert_eq!(
        Plan::new(&later.0, &later.1, &back, &said, &[]).refusals(),
        ["Avatar.hp: i32 is new; give it `#[row(default = …)]` or a migration"]
    );
}

/// A version need not have seen the one before it.
#[test]
fn names_are_followed_over_several_versions() {
    let named = |name: &str, was: &[&str]| {
        [Field { was: was.iter().map(|was| (*was).to_owned()).collect(), ..field(name, ColumnType::I32) }]
    };
    let versions = [named("hp", &[]), named("life", &["hp"]), named("health", &["life", "hp"])];
    let table = |name: &str, was: &[&str]| {
        let (schema, changes) = side(&named("hp", &[]), &[]);
        let mut schema = (*schema).clone();
        schema.tables[0].name = name.into();
        let was = was.iter().map(|was| (*was).to_owned()).collect();
        let said = TableChanges { name: name.into(), was, migrate: None };
        (Arc::new(schema), Changes { tables: vec![said], ..changes })
    };
    let worlds = [table("avatars", &[]), table("heroes", &["avatars"]), table("players", &["heroes", "avatars"])];
    for (from, to) in (0..3).flat_map(|from| (0..3).map(move |to| (from, to))) {
        check(&versions[from], &versions[to], &[], &[]);
        let plan = Plan::new(&worlds[from].0, &worlds[from].1, &worlds[to].0, &worlds[to].1, &[]);
        assert_eq!((plan.refusals(), plan.report(None).tables.len()), (&[][..], 1), "{from} -> {to}");
    }
    // Of several that are there, it is the newest.
    let both = [named("hp", &[]), named("life", &[])].concat();
    let gone = "Avatar.hp: i32 would be dropped; say `#[row(dropped(\"hp\"))]`, or acknowledge it with drop=Avatar.hp";
    check(&both, &versions[2], &[], &[gone]);
    let new = "Avatar.hp: i32 is new; give it `#[row(default = …)]` or a migration";
    check(&versions[2], &both, &[], &[new]);
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
    let was = TableChanges { name: "heroes".into(), was: vec!["avatars".into()], migrate: None };
    let said = Changes { tables: vec![was], ..changes.clone() };
    assert_eq!(refusals(&renamed("heroes"), &said, &[]), (vec![], vec![]));
    let dropped = Changes { dropped: vec!["avatars".into()], ..changes.clone() };
    assert_eq!(refusals(&renamed("heroes"), &dropped, &[]), (vec![], vec![]));
    // The old one is there too, and counts before the new one's claim.
    let mut both = (*renamed("heroes")).clone();
    both.tables.push(one.tables[0].clone());
    let claimed = "heroes: was `avatars`, which `avatars` comes from too; take one of them out";
    assert_eq!(refusals(&Arc::new(both), &said, &[]), (vec![claimed.into()], vec![]));
    // On the way back the old name is found, unless the table may go.
    let back = |back: &Changes| Plan::new(&renamed("heroes"), &said, &one, back, &[]).report(None).tables.len();
    assert_eq!(back(&changes), 1);
    assert_eq!(back(&Changes { dropped: vec!["heroes".into()], ..changes.clone() }), 2);
}

/// A schema of tables, each with the name of its row and the fields of that.
fn tables(of: &[(&str, &str, &[Field])]) -> Arc<Schema> {
    let table = |(name, row, fields): &(&str, &str, &[Field])| {
        let row = row_schema(row, fields);
        TableSchema { name: (*name).into(), single: false, row }
    };
    Arc::new(Schema { tables: of.iter().map(table).collect() })
}

/// An id is the number of a slot: in another table it would name a row that it never meant.
#[test]
fn ids_go_over_with_their_table_only() {
    #[track_caller]
    fn check(old: &Arc<Schema>, new: &Arc<Schema>, said: &Changes, expected: &[&str]) {
        let plan = Plan::new(old, &Changes::default(), new, said, &[]);
        assert_eq!(plan.refusals(), expected);
        let plan = Plan::new(old, &Changes::default(), new, said, &["avatars.target".into()]);
        assert_eq!((plan.refusals(), plan.unused_drops().len()), (&[][..], usize::from(expected.is_empty())));
    }
    let target = |row: &str| [field("target", ColumnType::Id { row: row.into() })];
    let x = [field("x", ColumnType::U8)];
    let was = |name: &str, was: &str| TableChanges { name: name.into(), was: vec![was.into()], migrate: None };
    let dropped = |table: &str| Changes { dropped: vec![table.into()], ..Changes::default() };
    let (avatars, orbs) = (("avatars", "Avatar"), ("orbs", "Orb"));
    let both = tables(&[(avatars.0, avatars.1, &target("Orb")), (orbs.0, orbs.1, &x)]);

    // Row types may exchange names; ids follow their table.
    let exchanged = |of: &str| tables(&[("avatars", "Orb", &target(of)), ("orbs", "Avatar", &x)]);
    check(&both, &exchanged("Avatar"), &Changes::default(), &[]);
    let other = "Orb.target: Id<Orb> -> Id<Orb> names rows of another table; give a migration";
    check(&both, &exchanged("Orb"), &Changes::default(), &[other]);

    // The row type stays, its table does not.
    let balls = tables(&[("avatars", "Avatar", &target("Orb")), ("balls", "Orb", &x)]);
    let gone = "Avatar.target: Id<Orb> -> Id<Orb> names rows of a table that is dropped; give a migration";
    check(&both, &balls, &dropped("orbs"), &[gone]);
    check(&both, &balls, &Changes { tables: vec![was("balls", "orbs")], ..Changes::default() }, &[]);

    // Two tables of one row type part: which of them an id is of, only the logic knows.
    let two = |of: &str, second: &str| {
        tables(&[("avatars", "Avatar", &target(of)), ("orbs", "Orb", &x), ("balls", second, &x)])
    };
    for of in ["Orb", "Ball"] {
        let either = format!(
            "Avatar.target: Id<Orb> -> Id<{of}> may name rows of two tables, which are of two row types now; give a migration"
        );
        check(&two("Orb", "Orb"), &two(of, "Ball"), &Changes::default(), &[&either]);
    }
    check(&two("Orb", "Orb"), &two("Orb", "Orb"), &Changes::default(), &[]);
    check(&two("Ball", "Ball"), &two("Orb", "Orb"), &Changes::default(), &[]);

    // It goes, and comes back in a later version.
    let without = tables(&[("avatars", "Avatar", &target("Orb"))]);
    check(&both, &without, &dropped("orbs"), &[gone]);
    let new = "Avatar.target: Id<Orb> -> Id<Orb> names rows of a table that is new; give a migration";
    check(&without, &both, &Changes::default(), &[new]);
    // Of no table, before and after.
    check(&without, &without, &Changes::default(), &[]);
}

/// What is refused for want of a migration says why the one that there is does not do.
#[test]
fn a_migration_that_does_not_fit_says_why() {
    use ColumnType::{F32, I32, I64, U8};
    let told = |read: &[Field], size: u32, old: &[Field], new: &[Field], is_of_row: bool| {
        let (old, mut new) = (side(old, &[]), side(new, &[]));
        let migration = MigrationSchema { old: row_schema("Old", read), size, align: 1, has_heap: false, whole: false };
        new.1.migrations.push(migration);
        let said = &mut new.1.rows[0];
        match is_of_row {
            true => said.migrate = Some(0),
            false => said.fields.last_mut().unwrap().migrate = Some(0),
        }
        let plan = Plan::new(&old.0, &old.1, &new.0, &new.1, &[]);
        plan.notes.iter().map(|note| format!("note: {note}")).chain(plan.refusals).collect::<Vec<_>>()
    };
    let field_told = |read: &[Field], size, old: &[Field], new: &[Field]| told(read, size, old, new, false);
    let row_told = |read: &[Field], size, old: &[Field], new: &[Field]| told(read, size, old, new, true);
    let hp = |column| [field("hp", column)];
    let lossy = "Avatar.hp: i32 -> f32 would lose values above 2^24; give a migration";

    // Of a field: in the line of what is refused, else in a note.
    assert_eq!(field_told(&hp(I64), 4, &hp(I32), &hp(F32)), [""; 0]);
    let size = "; its migration does not fit: it gives values of another size";
    assert_eq!(field_told(&hp(I64), 8, &hp(I32), &hp(F32)), [format!("{lossy}{size}")]);
    let narrow = "; its migration does not fit: Old.hp: i32 -> u8 would lose negative values and values above 255";
    assert_eq!(field_told(&hp(U8), 4, &hp(I32), &hp(F32)), [format!("{lossy}{narrow}")]);
    let not_there = "Avatar.hp: its migration does not fit, and is left out: Old.mana: u8 is not there";
    assert_eq!(field_told(&[field("mana", U8)], 8, &hp(I32), &hp(I64)), [format!("note: {not_there}")]);
    // An option may hold what has no zero: nobody reads what is there in place of none.
    let team = |number| [field("hp", opt(enumeration(&[("Red", number)], 1)))];
    assert_eq!(field_told(&team(2), 4, &team(1), &hp(F32)), [""; 0]);
    // Where the value is there as it is, none is asked for.
    assert_eq!(field_told(&hp(U8), 4, &hp(I32), &hp(I32)), [""; 0]);

    // Of a row: in a line of its own.
    assert_eq!(row_told(&hp(I64), 4, &hp(I32), &hp(F32)), [""; 0]);
    let fields = "Avatar: its migration does not fit: Old has other fields than Avatar";
    let both = [hp(I32), [field("mana", U8)]].concat();
    let gone =
        "Avatar.mana: u8 would be dropped; say `#[row(dropped(\"mana\"))]`, or acknowledge it with drop=Avatar.mana";
    assert_eq!(row_told(&hp(I64), 4, &both, &hp(F32)), [lossy, gone, fields]);
    let size = "Avatar: its migration does not fit: it gives values of another size";
    assert_eq!(row_told(&hp(I64), 8, &hp(I32), &hp(F32)), [lossy, size]);
    let left_out = "note: Avatar: its migration does not fit, and is left out: it gives values of another size";
    assert_eq!(row_told(&hp(I64), 4, &hp(I32), &hp(I64)), [left_out]);
}
