//! Everything that can be said of older versions.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct OldAvatar {
    hp: i32,
    first: Str<8>,
    bio: Text,
}

#[derive(Row, Clone, Copy, PartialEq, Default)]
#[repr(u8)]
enum Team {
    #[default]
    #[row(was("Rouge", "Rosso"))]
    Red,
    Blue,
}

#[derive(Row)]
#[repr(C)]
#[row(dropped("mana", "r#type"))]
#[row(dropped("speed"))]
struct Avatar {
    #[row(key, was("id", "number"))]
    player: PlayerId,
    #[row(migrate = halves)]
    hp: f32,
    #[row(default = 7)]
    level: u64,
    #[row(default)]
    tags: List<Team, 3>,
    #[row(default = Opt::some(3))]
    rank: Opt<u16>,
    #[row(default = [Team::Blue; 2])]
    teams: [Team; 2],
    #[row(default = Str::truncated("newcomer"))]
    name: Str<16>,
    #[row(default)]
    bio: Text,
    #[row(migrate = |old: &OldAvatar| Text::new(&old.first))]
    first: Text,
}

fn halves(old: &OldAvatar) -> f32 {
    old.hp as f32 / 2.0
}

#[derive(Row, Default)]
#[repr(C)]
#[row(migrate = Orb::of)]
struct Orb {
    x: f64,
}

impl Orb {
    fn of(old: &OldOrb) -> Self {
        Self { x: old.x.into() }
    }
}

#[derive(Row)]
#[repr(C)]
struct OldOrb {
    x: f32,
}

#[derive(World)]
#[world(dropped("sparks"))]
struct Arena {
    #[world(was = "players")]
    avatars: Table<Avatar>,
    #[world(was = "balls", migrate = ranked)]
    orbs: Table<Orb>,
    last: One<Orb>,
}

fn ranked(old: &[OldOrb]) -> Vec<Orb> {
    old.iter().map(|orb| Orb { x: orb.x.into() }).collect()
}

fn main() {
    let _ = <Arena as World>::schema();
}
