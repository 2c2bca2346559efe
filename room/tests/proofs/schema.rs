//! Swaps that change the tables: what is kept, what is made, what is refused, and the way back.

use crate::snapshots::restored;
use crate::support::{get, join, linked, signal, stamp, test_room};
use logic_api::prelude::*;
use room::plan::{Cancel, Rewrite};
use room::testing::TestRoom;
use room::{Input, Outbox, Pool, Room, StepError, TrialId};
use std::sync::Arc;

pub(crate) mod one {
    use super::*;

    #[derive(Debug, Row, Clone, Copy, PartialEq, Default)]
    #[repr(u8)]
    pub(crate) enum Team {
        #[default]
        Red = 1,
        Blue = 2,
        Green = 3,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(crate) struct Avatar {
        #[row(key)]
        pub(crate) number: u32,
        pub(crate) hp: i32,
        pub(crate) team: Team,
        pub(crate) name: Str<8>,
        pub(crate) bio: Text,
        pub(crate) notes: [Text; 2],
        pub(crate) best: List<u16, 3>,
        pub(crate) target: Id<Avatar>,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(crate) struct Orb {
        pub(crate) x: f32,
        pub(crate) label: Text,
    }

    #[derive(Debug, Row, Default)]
    #[repr(C)]
    pub(crate) struct Game {
        pub(crate) round: u16,
    }

    #[derive(Debug, World)]
    pub(crate) struct World {
        pub(crate) avatars: Table<Avatar>,
        pub(crate) orbs: Table<Orb>,
        pub(crate) game: One<Game>,
    }

    #[logic(linked, version = 1)]
    impl Logic for World {
        fn create(&mut self, _ctx: &mut Ctx, config: &[u8]) {
            let count = std::str::from_utf8(config).unwrap().parse().unwrap_or(100);
            for number in 0..count {
                self.add(number);
            }
            // Holes, and slots that are used again.
            for number in (0..count).step_by(7) {
                self.avatars.remove_key(number);
            }
            for number in count..count + count / 14 {
                self.add(number);
            }
            self.game.round = 3;
        }

        fn signal(&mut self, _ctx: &mut Ctx, name: &str, _bytes: &[u8]) {
            match name {
                "hurt" => self.avatars.iter_mut().for_each(|mut avatar| avatar.hp -= 1),
                "hurt some" => self.avatars.iter_mut().take(40).for_each(|mut avatar| avatar.hp -= 1),
                "add" => {
                    let next = 1 + self.avatars.iter().map(|avatar| avatar.number).max().unwrap_or(0);
                    self.add(next);
                }
                "remove" => {
                    let first = self.avatars.iter().next().map(|avatar| avatar.number);
                    self.avatars.remove_key(first.unwrap());
                }
                // Texts that are about to go are replaced, and change places with others that go, and with some that stay.
                "rewrite" => self.avatars.iter_mut().step_by(50).for_each(|mut avatar| avatar.bio = Text::new("anew")),
                "shuffle" => {
                    let mut last = Text::default();
                    for mut avatar in self.avatars.iter_mut().step_by(90) {
                        std::mem::swap(&mut avatar.bio, &mut last);
                        let avatar = &mut *avatar;
                        std::mem::swap(&mut avatar.bio, &mut avatar.notes[1]);
                    }
                }
                "label" => self.orbs.iter_mut().step_by(70).for_each(|mut orb| orb.label = Text::default()),
                other => panic!("on purpose: {other}"),
            }
        }
    }

    impl World {
        fn add(&mut self, number: u32) {
            let id = self.avatars.insert(Avatar {
                number,
                hp: 100 - i32::try_from(number).unwrap(),
                team: [Team::Red, Team::Blue, Team::Green][number as usize % 3],
                name: Str::truncated(&format!("n{number}")),
                bio: Text::new(&format!("the life of {number}")),
                notes: [Text::new("first"), Text::new(&format!("second {number}"))],
                best: List::try_from(&[1, 2][..number as usize % 3]).unwrap(),
                target: Id::default(),
            });
            self.avatars.get_mut(id).unwrap().target = id;
            self.orbs.insert(Orb { x: number as f32, label: Text::new("orb") });
        }
    }
}

pub(crate) mod two {
    use super::*;

    #[derive(Debug, Row, Clone, Copy, PartialEq, Default)]
    #[repr(u16)]
    pub(crate) enum Team {
        #[default]
        Green = 30,
        Blue = 20,
        #[row(was("Rosso", "Red"))]
        Rouge = 10,
        Black = 40,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    #[row(dropped("bio"))]
    pub(crate) struct Hero {
        #[row(default = 7)]
        pub(crate) level: u8,
        #[row(key)]
        pub(crate) number: u64,
        #[row(was("life", "hp"))]
        pub(crate) health: f64,
        pub(crate) team: Opt<Team>,
        #[row(unique)]
        pub(crate) name: Str<16>,
        pub(crate) notes: [Text; 2],
        pub(crate) best: List<u32, 5>,
        pub(crate) target: Id<Hero>,
        #[row(migrate = |old: &OldAvatar| f32::from(u8::try_from(old.hp.clamp(0, 255)).unwrap()) / 2.0)]
        pub(crate) half: f32,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(crate) struct OldAvatar {
        hp: i64,
    }

    #[derive(Debug, Row, Default)]
    #[repr(C)]
    pub(crate) struct Game {
        pub(crate) round: u32,
        #[row(default = Str::truncated("hill"))]
        pub(crate) map: Str<4>,
    }

    #[derive(Debug, Row, Default)]
    #[repr(C)]
    pub(crate) struct Weather {
        pub(crate) wind: f32,
    }

    #[derive(Debug, World)]
    #[world(dropped("orbs"))]
    pub(crate) struct World {
        pub(crate) weather: One<Weather>,
        pub(crate) game: One<Game>,
        #[world(was("people", "avatars"))]
        pub(crate) heroes: Table<Hero>,
    }

    #[logic(linked, version = 2)]
    impl Logic for World {
        fn upgraded(&mut self, _ctx: &mut Ctx, from: Version) {
            assert_eq!(from, Version(1));
            self.weather.wind = 1.0;
        }

        fn signal(&mut self, _ctx: &mut Ctx, name: &str, _bytes: &[u8]) {
            match name {
                "heal" => self.heroes.iter_mut().for_each(|mut hero| hero.health += 1.0),
                "add" => (0..500).for_each(|number| self.add(1_000_000 + number)),
                "black" => {
                    let mut heroes = self.heroes.iter_mut();
                    heroes.next().unwrap().team = Opt::some(Team::Black);
                    heroes.next().unwrap().team = Opt::none();
                }
                other => panic!("on purpose: {other}"),
            }
        }
    }

    impl World {
        fn add(&mut self, number: u64) {
            self.heroes.insert(Hero {
                level: 1,
                number,
                health: 1.0,
                team: Opt::none(),
                name: Str::truncated(&format!("h{number}")),
                notes: [Text::new("new"), Text::default()],
                best: List::new(),
                target: Id::default(),
                half: 0.5,
            });
        }
    }
}

/// The same tables with one index more, and none of the one that there was.
mod named {
    use super::*;

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(crate) struct Avatar {
        number: u32,
        hp: i32,
        team: one::Team,
        #[row(unique)]
        name: Str<8>,
        bio: Text,
        notes: [Text; 2],
        best: List<u16, 3>,
        target: Id<Avatar>,
    }

    #[derive(Debug, World)]
    pub(crate) struct World {
        avatars: Table<Avatar>,
        orbs: Table<one::Orb>,
        game: One<one::Game>,
    }

    #[logic(linked, version = 4)]
    impl Logic for World {
        fn query(&self, _request: &Request) -> Option<Response> {
            Some(Response::text(format!("{} {} {}", self.avatars.len(), self.orbs.len(), self.game.round)))
        }
    }
}

/// Another game.
mod other {
    use super::*;

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(crate) struct Pawn {
        pub(crate) square: u8,
    }

    #[derive(Debug, World)]
    pub(crate) struct World {
        pub(crate) pawns: Table<Pawn>,
    }

    #[logic(linked, version = 3)]
    impl Logic for World {
        fn upgraded(&mut self, _ctx: &mut Ctx, _from: Version) {
            self.pawns.insert(Pawn { square: 12 });
        }
    }
}

pub(crate) fn room_of(count: u32) -> TestRoom<one::World> {
    test_room(count.to_string().as_bytes())
}

fn lines(error: StepError) -> Vec<String> {
    match error {
        StepError::SchemaDiffers(lines) => lines,
        other => panic!("{other}"),
    }
}

#[test]
fn everything_that_fits_is_carried_over() {
    let mut room = room_of(100);
    let before = room.read(|world| world.avatars.entries().map(|(id, _)| id.to_bits()).collect::<Vec<_>>());
    let mut room = room.swap::<two::World>().unwrap();
    let kept = (0..107u32).filter(|number| number % 7 != 0 || *number >= 100);
    let texts: usize = kept.map(|number| "first".len() + format!("second {number}").len()).sum();
    assert_eq!(room.room().world().size().heap_bytes, texts as u64, "the texts of what was dropped are freed");
    room.read(|world| {
        assert_eq!((world.weather.wind, world.game.round, world.game.map.as_str()), (1.0, 3, "hill"));
        assert!(world.heroes.entries().map(|(id, _)| id.to_bits()).eq(before));
        for (id, hero) in world.heroes.entries() {
            let number = u32::try_from(hero.number).unwrap();
            let hp = 100 - i32::try_from(number).unwrap();
            assert_eq!((hero.level, hero.health, hero.half), (7, hp.into(), hp.max(0) as f32 / 2.0));
            let team = [two::Team::Rouge, two::Team::Blue, two::Team::Green][number as usize % 3];
            assert!(hero.team.get() == Some(team));
            assert_eq!(hero.name, *format!("n{number}"));
            assert!(hero.notes[0] == "first" && hero.notes[1] == *format!("second {number}"));
            assert_eq!(*hero.best, [1, 2][..number as usize % 3]);
            assert_eq!(hero.target.to_bits(), id.to_bits());
            assert!(std::ptr::eq(world.heroes.find(hero.number).unwrap(), hero));
            assert!(std::ptr::eq(world.heroes.find_by(two::Hero::BY_NAME, hero.name).unwrap(), hero));
        }
    });
    room.signal("heal", b"");
}

#[test]
fn what_was_prepared_comes_to_the_same() {
    let changes: [&[&str]; 8] = [
        &[],
        &["hurt some"],
        &["hurt"],
        &["add", "remove", "add", "hurt some", "remove"],
        &["rewrite"],
        &["shuffle"],
        &["label", "add"],
        &["shuffle", "rewrite", "remove", "label", "add", "shuffle"],
    ];
    for dirty in changes {
        let (mut room, mut plain) = (room_of(5000), room_of(5000));
        let to = linked::<two::World>();
        let plan = room.room().plan_swap(&to, &[]);
        assert_eq!(plan.refusals(), <[String; 0]>::default());
        let mut rewrite = Rewrite::new(Arc::new(plan), to.clone(), Arc::default(), 9, usize::MAX);
        rewrite.update(&mut room.room().fork_world(), &Cancel::default()).unwrap();
        let first = rewrite.pages_done();
        for name in dirty {
            room.signal(name, b"");
            plain.signal(name, b"");
        }
        if dirty.len() != 1 {
            rewrite.update(&mut room.room().fork_world(), &Cancel::default()).unwrap();
            assert_eq!(rewrite.pages_done() > first, dirty.len() > 1);
        }
        room.room().prepare_swap(rewrite);
        for room in [&mut room, &mut plain] {
            room.step(Input::swap(to.clone())).unwrap();
        }
        assert_eq!(room.room().state_hash(), plain.room().state_hash(), "{dirty:?}");
        assert_eq!(room.room().world().size(), plain.room().world().size(), "{dirty:?}");
        assert!(room.room().world().has_sound_indexes() && plain.room().world().has_sound_indexes(), "{dirty:?}");
        let mut again = restored(&mut room.room().twin(), &Pool::new());
        assert_eq!(again.state_hash(), plain.room().state_hash(), "{dirty:?}");
        for room in [&mut room, &mut plain] {
            room.signal("heal", b"");
            // Texts come into the places that are free.
            room.signal("add", b"");
        }
        let before = room.room().state_hash();
        assert_eq!(before, plain.room().state_hash());
        // A fault goes back to before it, and a rewind over the swap.
        room.step(signal("panic")).unwrap_err();
        assert_eq!(room.room().state_hash(), before);
        for room in [&mut room, &mut plain] {
            room.step(Input::rewind()).unwrap();
        }
        assert_eq!(room.room().state_hash(), plain.room().state_hash());
    }
}

/// Pages are followed beforehand too where no row is rewritten: for an index that is made, and for texts that go.
#[test]
fn what_changes_nothing_but_indexes_or_texts_is_followed_beforehand() {
    for to in [linked::<named::World>(), linked::<other::World>()] {
        let mut room = room_of(5_000);
        let drops: Arc<[String]> = ["avatars", "orbs", "game"].map(String::from).into();
        let plan = room.room().plan_swap(&to, &drops);
        assert_eq!(plan.refusals(), <[String; 0]>::default());
        let mut rewrite = Rewrite::new(Arc::new(plan), to.clone(), drops.clone(), 9, usize::MAX);
        let mut done = |room: &mut TestRoom<one::World>| {
            let before = rewrite.pages_done();
            rewrite.update(&mut room.room().fork_world(), &Cancel::default()).unwrap();
            rewrite.pages_done() - before
        };
        let first = done(&mut room);
        assert!(first > 3, "{first}");
        assert_eq!(done(&mut room), 0);
        room.signal("hurt some", b"");
        let again = done(&mut room);
        assert!((1..first).contains(&again), "{again} of {first}");
        for name in ["add", "remove", "hurt", "rewrite"] {
            room.signal(name, b"");
        }
        room.room().prepare_swap(rewrite);
        room.step(Input::Swap { to, drops, trial: TrialId::default() }).unwrap();
        assert!(room.room().world().has_sound_indexes());
        assert_eq!(room.room().world().size().rows > 1, room.room().world().size().heap_bytes > 0);
    }
}

#[test]
fn a_rewind_goes_back_over_a_change_of_tables() {
    let (mut room, mut never) = (room_of(300), room_of(300));
    let before = room.room().state_hash();
    room.step(Input::swap(linked::<two::World>())).unwrap();
    room.step(Input::rewind()).unwrap();
    assert_eq!(room.room().state_hash(), before);
    room.read(|world| assert_eq!(world.avatars.iter().next().unwrap().bio, "the life of 300"));
    for room in [&mut room, &mut never] {
        room.signal("add", b"");
    }
    assert_eq!(room.room().state_hash(), never.room().state_hash());
}

#[test]
fn a_step_back_needs_what_would_be_lost_to_be_acknowledged() {
    let mut room = room_of(50).swap::<two::World>().unwrap();
    let before = room.room().state_hash();
    let (mut room, error) = room.swap::<one::World>().unwrap_err();
    assert_eq!(
        lines(error),
        [
            "Avatar.number: u64 -> u32 would lose values above 4294967295; give a migration",
            "Avatar.hp: f64 -> i32 would lose fractions; give a migration",
            "Avatar.team: Opt<Team> -> Team would lose that there is none; give a migration",
            "Avatar.bio: Text is new; give it `#[row(default = …)]` or a migration",
            "Avatar.best: u32 -> u16 would lose values above 65535; give a migration",
            "Avatar.level: u8 would be dropped; say `#[row(dropped(\"level\"))]`, or acknowledge it with drop=Avatar.level",
            "Avatar.half: f32 would be dropped; say `#[row(dropped(\"half\"))]`, or acknowledge it with drop=Avatar.half",
            "Game.round: u32 -> u16 would lose values above 65535; give a migration",
            "Game.map: Str<4> would be dropped; say `#[row(dropped(\"map\"))]`, or acknowledge it with drop=Game.map",
            "weather: the table would be dropped with its rows; say `#[world(dropped(\"weather\"))]`, or acknowledge it with \
             drop=weather",
        ]
    );
    assert_eq!(room.room().state_hash(), before);

    // All of it acknowledged, the older version goes on: what it knows is there, the rest is empty or nearest.
    room.signal("black", b"");
    let teams = room.read(|world| world.heroes.iter().map(|hero| hero.team.get()).collect::<Vec<_>>());
    let fields = ["number", "hp", "team", "bio", "best", "level", "half"].map(|field| format!("Avatar.{field}"));
    let drops: Vec<&str> = fields.iter().map(String::as_str).chain(["Game.round", "Game.map", "weather"]).collect();
    let mut room = room.swap_dropping::<one::World>(&drops).unwrap();
    room.read(|world| {
        assert_eq!((world.game.round, world.orbs.len(), world.avatars.len()), (3, 0, teams.len()));
        for (avatar, team) in world.avatars.iter().zip(&teams) {
            let was = match team {
                Some(two::Team::Blue) => one::Team::Blue,
                Some(two::Team::Green) => one::Team::Green,
                // Where there is none, and for a variant that is gone, the first.
                Some(two::Team::Rouge | two::Team::Black) | None => one::Team::Red,
            };
            assert_eq!((avatar.team, &*avatar.bio, &*avatar.notes[0]), (was, "", "first"));
        }
    });
    room.signal("hurt", b"");
    room.swap::<two::World>().unwrap();
}

/// A page keeps its number of slots, and a snapshot tells of it: the same rows get the same slots afterwards.
#[test]
fn a_room_whose_tables_were_changed_is_kept_and_read_again() {
    let mut room = room_of(3_000);
    room.step(Input::swap(linked::<two::World>())).unwrap();
    room.step(Input::Confirm).unwrap();
    let mut again = restored(room.room(), &Pool::new());
    for name in ["add", "heal", "panic"] {
        let mut outbox = Outbox::new();
        for room in [room.room(), &mut again] {
            let _ = room.step(stamp(9), signal(name), &mut outbox);
        }
        assert_eq!(room.room().state_hash(), again.state_hash(), "{name}");
    }
}

/// An old snapshot opens under a newer version by the plan, even where nothing but the snapshot is left of the old one.
#[test]
fn a_snapshot_whose_code_is_gone_opens_under_a_newer_version() {
    let (mut room, mut bytes) = (room_of(3_000), Vec::new());
    room.room().image().unwrap().write(&mut bytes).unwrap();
    let before = room.room().state_hash();
    let gone = || Room::from_snapshot(&mut &*bytes, &Pool::new(), |_| Err("it was thrown away".into())).unwrap();
    let mut again = gone();
    assert_eq!(again.state_hash(), before);
    assert_eq!((again.logic().version(), again.logic().gone_because()), (Version(1), Some("it was thrown away")));
    assert_eq!(again.frozen().unwrap().to_string(), "version 1 failed in load at tick 0: it was thrown away");
    let mut outbox = Outbox::new();
    for input in [Input::Tick, signal("add"), join(3)] {
        assert!(matches!(again.step(stamp(5), input, &mut outbox).unwrap_err(), StepError::Frozen(_)));
    }
    assert!(!again.has_query() && again.query(&get("/")).is_err());

    let swap = || Input::swap(linked::<two::World>());
    again.step(stamp(9), swap(), &mut outbox).unwrap();
    room.room().step(stamp(9), swap(), &mut outbox).unwrap();
    assert_eq!(again.state_hash(), room.room().state_hash());
    again.step(stamp(10), signal("heal"), &mut outbox).unwrap();
    // Taken back it stands still once more.
    again.step(stamp(11), Input::rewind(), &mut outbox).unwrap();
    assert_eq!((again.state_hash(), again.frozen().map(|fault| fault.callback)), (before, Some("load")));
    again.step(stamp(12), swap(), &mut outbox).unwrap();
    again.step(stamp(13), Input::Confirm, &mut outbox).unwrap();
    again.step(stamp(14), signal("heal"), &mut outbox).unwrap();

    let lies = Room::from_snapshot(&mut &*bytes, &Pool::new(), |_| Ok(linked::<other::World>())).unwrap_err();
    assert!(lies.to_string().ends_with("are not those of the snapshot"), "{lies}");

    // What has no place in the other version is told, and nothing is touched.
    let mut again = gone();
    let lines = lines(again.step(stamp(9), Input::swap(linked::<other::World>()), &mut outbox).unwrap_err());
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!((again.state_hash(), again.frozen().map(|fault| fault.callback)), (before, Some("load")));
    let drops: Arc<[String]> = ["avatars", "orbs", "game"].map(String::from).into();
    let acknowledged = Input::Swap { to: linked::<other::World>(), drops, trial: TrialId::default() };
    again.step(stamp(10), acknowledged, &mut outbox).unwrap();
    assert_eq!((again.world().size().heap_bytes, again.world().rows("pawns").count()), (0, 1));
}

#[test]
fn the_plan_is_told_in_words() {
    let mut room = room_of(100);
    let report = room.room().plan_swap(&linked::<two::World>(), &[]).report(Some(room.room().world()));
    assert_eq!(
        report.to_string(),
        "\
weather: new
game: rows of 2 bytes become 12, 1 row
  Game.round: u16 -> u32, converted
  Game.map: Str<4>, new, by default
heroes: was avatars, rows of 64 bytes become 104, 92 rows, indexes made anew
  Hero.level: u8, new, by default
  Hero.number: u32 -> u64, converted
  Hero.health: was hp, i32 -> f64, converted
  Hero.team: Team -> Opt<Team>, converted
  Hero.name: Str<8> -> Str<16>, converted, becomes unique
  Hero.best: List<u16, 3> -> List<u32, 5>, converted
  Hero.half: f32, migrated
  Hero.bio: Text, dropped
  2 more fields, copied
orbs: dropped, 107 rows
estimated pause: 100 us, 162 us if every row changes meanwhile
"
    );
}
