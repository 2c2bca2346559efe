//! What the report tells of fields, in words.

use super::*;
use expect_test::{Expect, expect};

/// The rows of avatars: a row of two fields in one, in a list of others, and one that has only itself.
fn avatars(fields: &[Field], pos: &[Field], part: &[Field]) -> (Arc<Schema>, Changes) {
    let of = |name, fields| ColumnType::Row(row_schema(name, fields));
    let columns = [field("pos", of("Pos", pos)), field("parts", list(of("Part", part), 2))];
    side(&[fields, &columns].concat(), &[("Pos", pos), ("Part", part)])
}

#[track_caller]
fn check_told(old: &(Arc<Schema>, Changes), new: &(Arc<Schema>, Changes), drops: &[&str], expected: &Expect) {
    let drops: Vec<String> = drops.iter().map(|drop| (*drop).to_owned()).collect();
    expected.assert_eq(&Plan::new(&old.0, &old.1, &new.0, &new.1, &drops).report(None).to_string());
}

#[test]
fn every_kind_of_change_is_told_with_what_it_loses() {
    use ColumnType::{Blob, F32, F64, I32, Str, Text, U8, U16, U64};
    let was = |name: &str, column| Field { was: vec!["dazed".into()], ..field(name, column) };
    let default = |name: &str, column| Field { default: Some(vec![0]), ..field(name, column) };
    let team = |count| enumeration(&[("Red", 1), ("Blue", 2), ("Green", 3)][..count], 1);
    let old = [
        field("hp", I32),
        field("dazed", U64),
        field("level", U8),
        field("name", Str { capacity: 8 }),
        field("best", list(U16, 5)),
        field("last", array(U8, 3)),
        field("team", team(3)),
        field("mood", team(3)),
        field("bio", Blob),
        field("aim", opt(U16)),
        field("face", Text),
        field("gone", U8),
        field("same", U8),
    ];
    let new = [
        field("hp", U8),
        was("stunned", U64),
        field("level", U64),
        field("name", Str { capacity: 4 }),
        field("best", list(U16, 4)),
        field("last", array(U8, 2)),
        field("team", team(1)),
        field("mood", team(2)),
        field("bio", Text),
        field("aim", U8),
        field("face", U8),
        default("lives", U8),
        field("same", U8),
    ];
    let v_was_y = Field { was: vec!["y".into()], ..field("v", F32) };
    let old = avatars(&old, &[field("x", F32), field("y", F32), field("z", F32)], &[field("size", F64)]);
    let new = avatars(&new, &[field("x", F64), v_was_y, default("w", U8)], &[field("size", F32)]);
    let names = ["hp", "best", "last", "team", "bio", "aim", "face", "gone", "pos.z", "parts.size"];
    let drops = names.map(|name| format!("Avatar.{name}"));
    let drops: Vec<&str> = drops.iter().map(String::as_str).collect();
    check_told(
        &old,
        &new,
        &drops,
        &expect![[r#"
        avatars: rows of 112 bytes become 96
          Avatar.hp: i32 -> u8, converted, loses negative values and values above 255
          Avatar.stunned: was dazed, u64, renamed
          Avatar.level: u8 -> u64, converted
          Avatar.name: Str<8> -> Str<4>, converted if every row fits
          Avatar.best: List<u16, 5> -> List<u16, 4>, converted, loses the items from the 5th on
          Avatar.last: [u8; 3] -> [u8; 2], converted, loses the items from the 3rd on
          Avatar.team: Team, converted, loses the variants Blue, Green
          Avatar.mood: Team, converted if every row fits
          Avatar.bio: Blob -> Text, converted, loses bytes that are no UTF-8
          Avatar.aim: Opt<u16> -> u8, converted, loses that there is none, and values above 255
          Avatar.face: Text -> u8, its values dropped
          Avatar.lives: u8, new, by default
          Avatar.pos.x: f32 -> f64, converted
          Avatar.pos.v: was y, f32, renamed
          Avatar.pos.w: u8, new, by default
          Avatar.pos.z: f32, dropped
          Avatar.parts.size: f64 -> f32, converted, loses digits
          Avatar.gone: u8, dropped
          1 more field, copied
    "#]],
    );
    check_told(
        &old,
        &new,
        &drops[..8],
        &expect![[r#"
        avatars: rows of 112 bytes become 96
          Avatar.hp: i32 -> u8, converted, loses negative values and values above 255
          Avatar.stunned: was dazed, u64, renamed
          Avatar.level: u8 -> u64, converted
          Avatar.name: Str<8> -> Str<4>, converted if every row fits
          Avatar.best: List<u16, 5> -> List<u16, 4>, converted, loses the items from the 5th on
          Avatar.last: [u8; 3] -> [u8; 2], converted, loses the items from the 3rd on
          Avatar.team: Team, converted, loses the variants Blue, Green
          Avatar.mood: Team, converted if every row fits
          Avatar.bio: Blob -> Text, converted, loses bytes that are no UTF-8
          Avatar.aim: Opt<u16> -> u8, converted, loses that there is none, and values above 255
          Avatar.face: Text -> u8, its values dropped
          Avatar.lives: u8, new, by default
          Avatar.pos.x: f32 -> f64, converted
          Avatar.pos.v: was y, f32, renamed
          Avatar.pos.w: u8, new, by default
          Avatar.gone: u8, dropped
          1 more field, copied
        refused: Avatar.pos.z: f32 would be dropped; say `#[row(dropped("z"))]`, or acknowledge it with drop=Avatar.pos.z
        refused: Avatar.parts.size: f64 -> f32 would lose digits; give a migration
    "#]],
    );
    check_told(
        &new,
        &new,
        &[],
        &expect![[r#"
        avatars: stays as it is
    "#]],
    );
}

/// A row in a row is one line as long as nothing becomes of its fields, and none where theirs say all.
#[test]
fn a_row_in_a_row_is_told_by_its_fields() {
    use ColumnType::{F32, F64};
    let (xy, part) = ([field("x", F32), field("y", F32)], [field("size", F32)]);
    let moved = [field("x", F32), field("y", F64)];
    let old = avatars(&[], &xy, &part);
    check_told(
        &old,
        &avatars(&[], &moved, &part),
        &[],
        &expect![[r#"
        avatars: rows of 20 bytes become 32
          Avatar.pos.y: f32 -> f64, converted
          2 more fields, copied
    "#]],
    );
    // What it is in has another name too, and nothing else has changed.
    let place = |fields: &[Field]| {
        let pos = Field { was: vec!["pos".into()], ..field("place", ColumnType::Row(row_schema("Pos", fields))) };
        side(&[pos, field("parts", list(ColumnType::Row(row_schema("Part", &part)), 2))], &[("Pos", fields)])
    };
    check_told(
        &old,
        &place(&xy),
        &[],
        &expect![[r#"
        avatars: stays as it is
          Avatar.place: was pos, Pos, renamed
    "#]],
    );
    check_told(
        &old,
        &place(&moved),
        &[],
        &expect![[r#"
        avatars: rows of 20 bytes become 32
          Avatar.place: was pos, Pos, converted
          Avatar.place.y: f32 -> f64, converted
          2 more fields, copied
    "#]],
    );
}

#[test]
fn what_becomes_a_key_or_unique_is_told() {
    use ColumnType::{U16, U32};
    let of = |unique, name: &str, column| Field { unique, ..field(name, column) };
    let old = [
        of(Unique::Key, "number", U32),
        of(Unique::Unique, "seat", U32),
        of(Unique::Unique, "place", U16),
        of(Unique::No, "name", U16),
        of(Unique::No, "same", U16),
    ];
    let new = [
        of(Unique::Unique, "number", U32),
        of(Unique::Key, "seat", U32),
        of(Unique::No, "place", U32),
        of(Unique::Unique, "name", U16),
        of(Unique::No, "same", U16),
    ];
    check_told(
        &side(&old, &[]),
        &side(&new, &[]),
        &[],
        &expect![[r#"
        avatars: rows of 16 bytes become 16, an index made anew
          Avatar.number: u32, copied, becomes unique
          Avatar.seat: u32, copied, becomes the key
          Avatar.place: u16 -> u32, converted, unique no more
          Avatar.name: u16, copied, becomes unique
          1 more field, copied
    "#]],
    );
    // With no bytes moved at all.
    let old = side(&[of(Unique::No, "number", U32)], &[]);
    check_told(
        &old,
        &side(&[of(Unique::Key, "number", U32)], &[]),
        &[],
        &expect![[r#"
        avatars: stays as it is, an index made anew
          Avatar.number: u32, copied, becomes the key
    "#]],
    );
}
