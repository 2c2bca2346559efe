//! A crate as strict as can be, with a column of every type.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, missing_debug_implementations, missing_copy_implementations, unreachable_pub)]
#![deny(rust_2018_idioms, single_use_lifetimes, unused_qualifications, unused_results, variant_size_differences)]
#![deny(let_underscore_drop, trivial_casts, trivial_numeric_casts, unused_lifetimes, non_ascii_idents)]

use logic_api::prelude::*;

/// A nested row with padding.
#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Place {
    /// A column.
    pub level: u8,
    /// A column.
    pub at: [f32; 2],
}

/// An enum.
#[derive(Row, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(i16)]
pub enum Mood {
    /// A variant.
    Sad = -1,
    /// A variant.
    #[default]
    Calm,
    /// A variant.
    Glad = 300,
}

/// An enum with one variant.
#[derive(Row, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Only {
    /// A variant.
    #[default]
    One,
}

/// A row.
#[derive(Row, Debug)]
#[repr(C)]
pub struct Everything {
    #[row(key)]
    player: PlayerId,
    #[row(unique)]
    name: Str<255>,
    #[row(unique)]
    mood: Mood,
    #[row(unique)]
    pair: [u16; 2],
    #[row(unique)]
    parent: Id<Everything>,
    #[row(unique)]
    r#type: u128,
    only: Only,
    flag: bool,
    byte: u8,
    numbers: [i8; 3],
    i16: i16,
    i32: i32,
    i64: i64,
    i128: i128,
    u32: u32,
    u64: u64,
    f32: f32,
    f64: f64,
    empty: [u64; 0],
    nothing: Str<0>,
    place: Place,
    places: [Place; 2],
    friends: List<PlayerId, 4>,
    route: List<Place, 2>,
    grid: List<[u8; 3], 2>,
    target: Opt<Id<Everything>>,
    maybe: Opt<Opt<Place>>,
    moods: Opt<List<Mood, 2>>,
    story: Text,
    stories: [Text; 2],
    picture: Blob,
}

/// A row without an index.
#[derive(Row, Debug, Default)]
#[repr(C)]
pub struct State {
    round: u64,
    story: Text,
}

/// A world.
#[derive(World, Debug)]
pub struct Arena {
    all: Table<Everything>,
    r#move: One<State>,
    places: Table<Place>,
}

#[logic(linked, version = 7)]
impl Logic for Arena {
    fn tick(&mut self, ctx: &mut Ctx<'_>) {
        self.r#move.round += 1;
        for mut row in &mut self.all {
            row.place.at[0] += 1.0;
            row.mood = Mood::Glad;
        }
        let everyone = self.all.iter().filter(|row| row.flag).count();
        ctx.log(everyone);
    }

    fn query(&self, _request: &Request<'_>) -> Option<Response> {
        let found = self.all.find_by(Everything::BY_TYPE, 3)?;
        Some(Response::text(format!("{found:?} {:?}", self.all.find(PlayerId(1)))))
    }
}

/// A world without tables.
#[derive(World, Debug, Clone, Copy)]
pub struct Void;

#[logic]
impl Logic for Void {}

fn main() {
    let names: Vec<String> = Arena::schema().tables.into_iter().map(|table| table.name).collect();
    assert_eq!(names, ["all", "move", "places"]);
    let schema = Arena::schema();
    let row = &schema.tables[0].row;
    assert_eq!(row.size as usize, size_of::<Everything>());
    assert_eq!(row.fields[5].name, "type");
    for field in &row.fields {
        assert!(field.offset % field.column.align() == 0, "{}", field.name);
        assert!(field.offset + field.column.size() <= row.size, "{}", field.name);
    }
    for (one, two) in row.fields.iter().zip(&row.fields[1..]) {
        let end = (one.offset + one.column.size()).next_multiple_of(two.column.align());
        assert_eq!(end, two.offset, "{} ends where {} starts", one.name, two.name);
    }
    let manifest = <Arena as logic_api::raw::LogicInfo>::VERSION;
    assert_eq!(manifest, Version(7));
}
