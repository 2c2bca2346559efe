//! Keys and unique columns that change places, types and names, while the rows go on changing; and the way back.

use crate::support::{linked, test_room, version};
use logic_api::prelude::*;
use room::plan::{Cancel, Rewrite};
use room::testing::TestRoom;
use room::{Input, LogicVersion, StepError, TrialId};
use std::sync::Arc;

#[derive(Debug, Row, Clone, Copy, PartialEq)]
#[repr(u8)]
enum Team {
    Red = 1,
    Blue = 2,
    Green = 3,
    Black = 4,
}

#[derive(Debug, Row)]
#[repr(C)]
struct Avatar {
    #[row(key)]
    number: u32,
    /// In the opposite order.
    #[row(unique)]
    seat: u32,
    /// In no order.
    place: u32,
    name: Str<8>,
    pair: [u16; 2],
    team: Team,
}

#[derive(Debug, World)]
struct Old {
    avatars: Table<Avatar>,
}

#[logic(linked, version = 1)]
impl Logic for Old {
    fn create(&mut self, _ctx: &mut Ctx, config: &[u8]) {
        let count = std::str::from_utf8(config).unwrap().parse().unwrap();
        self.add(0..count);
    }

    fn signal(&mut self, _ctx: &mut Ctx, name: &str, _bytes: &[u8]) {
        match name {
            "touch" => self.avatars.iter_mut().step_by(50).for_each(|mut avatar| avatar.team = Team::Blue),
            "move" => self.avatars.iter_mut().step_by(70).for_each(|mut avatar| {
                avatar.place += 1 << 20;
                avatar.seat += 1 << 20;
            }),
            "more" => self.add(10_000..10_700),
            "fewer" => {
                let ids: Vec<Id<Avatar>> = self.avatars.entries().step_by(3).map(|(id, _)| id).collect();
                ids.into_iter().for_each(|id| _ = self.avatars.remove(id));
            }
            "exchange" => self.exchange(),
            // A row of the last page gets values of one of the first; and it gets its own back.
            "same" => self.give_last(3),
            "apart" => self.give_last(9_999),
            other => panic!("on purpose: {other}"),
        }
    }
}

impl Old {
    fn add(&mut self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let [place, name, pair] = values(number);
            self.avatars.insert(Avatar {
                number,
                seat: 50_000 - number,
                place,
                name: Str::truncated(&format!("n{name}")),
                pair: [u16::try_from(pair).unwrap(), 7],
                team: [Team::Red, Team::Green][number as usize % 2],
            });
        }
    }

    /// The first and the last row exchange everything but their numbers.
    fn exchange(&mut self) {
        let ends = [self.avatars.entries().next(), self.avatars.entries().last()];
        let [first, last] = ends.map(|end| end.unwrap().0);
        let seats = [first, last].map(|id| self.avatars.get(id).unwrap().seat);
        self.avatars.get_mut(first).unwrap().seat = 1 << 30;
        self.avatars.get_mut(last).unwrap().seat = seats[0];
        self.avatars.get_mut(first).unwrap().seat = seats[1];
        let places = [first, last].map(|id| self.avatars.get(id).map(|row| (row.place, row.name, row.pair)).unwrap());
        for (id, (place, name, pair)) in [first, last].into_iter().zip([places[1], places[0]]) {
            let mut avatar = self.avatars.get_mut(id).unwrap();
            (avatar.place, avatar.name, avatar.pair) = (place, name, pair);
        }
    }

    fn give_last(&mut self, number: u32) {
        let [place, name, pair] = values(number);
        let id = self.avatars.entries().last().unwrap().0;
        let mut last = self.avatars.get_mut(id).unwrap();
        (last.place, last.name) = (place, Str::truncated(&format!("n{name}")));
        last.pair = [u16::try_from(pair).unwrap(), 7];
    }
}

/// Values that no two numbers have in common, in no order.
fn values(number: u32) -> [u32; 3] {
    [number * 7_919 % 50_021, number * 31 % 40_009, number * 17 % 30_011]
}

/// A version that looks every row up in its indexes before it says that it has taken them over.
macro_rules! indexed {
    ($name:ident, $version:literal, { $($avatar:tt)* }, |$table:ident, $row:ident| [$($found:expr),*]) => {
        version!($name, $version, avatars: Avatar, {
            #[derive(Debug, Row)]
            #[repr(C)]
            pub(super) struct Avatar { $($avatar)* }
        } fn upgraded(&mut self, _ctx: &mut Ctx, _from: Version) {
            let $table = &self.avatars;
            for $row in $table {
                let found: &[Option<&Avatar>] = &[$($found),*];
                assert!(found.iter().all(|found| std::ptr::eq(found.unwrap(), $row)), "{:?}", $row);
            }
        });
    };
}

indexed!(exchanged, 2, {
    #[row(unique)]
    number: u32,
    #[row(key)]
    seat: u32,
    place: u32,
    name: Str<8>,
    pair: [u16; 2],
    team: Team,
}, |table, row| [table.find(row.seat), table.find_by(Avatar::BY_NUMBER, row.number)]);

indexed!(moved, 3, {
    number: u32,
    #[row(unique)]
    seat: u32,
    #[row(key)]
    place: u32,
    name: Str<8>,
    pair: [u16; 2],
    team: Team,
}, |table, row| [table.find(row.place), table.find_by(Avatar::BY_SEAT, row.seat)]);

indexed!(renamed, 4, {
    #[row(unique, was = "place")]
    spot: u32,
    #[row(key, was = "seat")]
    chair: u32,
    number: u32,
    #[row(unique, was = "name")]
    nick: Str<8>,
    pair: [u16; 2],
    team: Team,
}, |table, row| [table.find(row.chair), table.find_by(Avatar::BY_SPOT, row.spot), table.find_by(Avatar::BY_NICK, row.nick)]);

indexed!(widened, 5, {
    #[row(unique, was = "number")]
    count: u64,
    #[row(unique)]
    seat: u32,
    #[row(key)]
    place: u64,
    #[row(unique)]
    name: Str<16>,
    #[row(unique)]
    pair: [u32; 2],
    team: Team,
}, |table, row| [
    table.find(row.place),
    table.find_by(Avatar::BY_COUNT, row.count),
    table.find_by(Avatar::BY_SEAT, row.seat),
    table.find_by(Avatar::BY_NAME, row.name),
    table.find_by(Avatar::BY_PAIR, row.pair)
]);

indexed!(none, 6, {
    number: u32,
    seat: u32,
    place: u32,
    name: Str<8>,
    pair: [u16; 2],
    team: Team,
}, |table, _row| []);

indexed!(teams, 7, {
    #[row(key)]
    number: u32,
    #[row(unique)]
    seat: u32,
    place: u32,
    name: Str<8>,
    pair: [u16; 2],
    #[row(unique)]
    team: Team,
}, |table, row| [table.find(row.number), table.find_by(Avatar::BY_TEAM, row.team)]);

fn room_of(count: u32) -> TestRoom<Old> {
    test_room(count.to_string().as_bytes())
}

/// Made of the room as it is, and carried out once.
fn rewrite(room: &mut TestRoom<Old>, to: &Arc<LogicVersion>) -> Rewrite {
    let plan = room.room().plan_swap(to, &[]);
    assert_eq!(plan.refusals(), <[String; 0]>::default());
    let mut rewrite = Rewrite::new(Arc::new(plan), to.clone(), Arc::default(), 9, usize::MAX);
    rewrite.update(&mut room.room().fork_world(), &Cancel::default()).unwrap();
    rewrite
}

#[test]
fn indexes_follow_their_columns_wherever_these_go() {
    let versions = [
        linked::<exchanged::New>(),
        linked::<moved::New>(),
        linked::<renamed::New>(),
        linked::<widened::New>(),
        linked::<none::New>(),
    ];
    let changes: [&[&str]; 5] =
        [&[], &["touch"], &["exchange", "move"], &["more", "fewer", "exchange", "move"], &["same", "apart", "fewer"]];
    // On the way back: what is narrower again, which all values fit.
    let drops: Arc<[String]> = ["number", "place", "name", "pair"].map(|name| format!("Avatar.{name}")).into();
    for to in versions {
        for dirty in changes {
            let told = format!("{} after {dirty:?}", to.version());
            let (mut room, mut plain) = (room_of(5_000), room_of(5_000));
            let mut prepared = rewrite(&mut room, &to);
            for (number, name) in dirty.iter().enumerate() {
                room.signal(name, b"");
                plain.signal(name, b"");
                // Some of it is followed beforehand, the last is left to the swap.
                if number + 1 < dirty.len() && *name != "same" {
                    prepared.update(&mut room.room().fork_world(), &Cancel::default()).unwrap();
                }
            }
            let before = room.room().state_hash();
            room.room().prepare_swap(prepared);
            for room in [&mut room, &mut plain] {
                room.step(Input::swap(to.clone())).unwrap();
                assert!(room.room().world().has_sound_indexes(), "{told}");
            }
            assert_eq!(room.room().state_hash(), plain.room().state_hash(), "{told}");
            // Back by a swap, and back by a rewind.
            room.step(Input::Confirm).unwrap();
            let back = Input::Swap { to: linked::<Old>(), drops: drops.clone(), trial: TrialId::default() };
            room.step(back).unwrap();
            plain.step(Input::rewind()).unwrap();
            for room in [&mut room, &mut plain] {
                assert_eq!(room.room().state_hash(), before, "{told}");
                room.signal("exchange", b"");
                assert!(room.room().world().has_sound_indexes(), "{told}");
                room.read(|world| {
                    let found =
                        |row: &&Avatar| world.avatars.find(row.number).is_some_and(|found| std::ptr::eq(found, *row));
                    assert!(world.avatars.iter().all(|row| found(&row)), "{told}");
                });
            }
        }
    }
}

/// Two rows far apart get the same values after the rows were gone through: the first column of the new ones is told, in the order of
/// its indexes, and the lower slot first.
#[test]
fn duplicates_that_come_up_meanwhile_are_named() {
    let cases = [
        (linked::<moved::New>(), "Avatar.place: is to be unique, and the rows in slots 0:3 and 2:319 both have 23757"),
        (linked::<renamed::New>(), "Avatar.spot: is to be unique, and the rows in slots 0:3 and 2:319 both have 23757"),
        (
            linked::<widened::New>(),
            "Avatar.place: is to be unique, and the rows in slots 0:3 and 2:319 both have 23757",
        ),
    ];
    for (to, expected) in cases {
        let mut room = room_of(5_000);
        let prepared = rewrite(&mut room, &to);
        room.signal("same", b"");
        let before = room.room().state_hash();
        room.room().prepare_swap(prepared);
        let Err(StepError::Unfit(line)) = room.step(Input::swap(to.clone())) else { panic!("{}", to.version()) };
        assert_eq!((line.as_str(), room.room().state_hash()), (expected, before));
        assert!(room.room().world().has_sound_indexes());
        // Nor does a load that begins now get anywhere; when they are gone, nothing is in the way.
        let plan = Arc::new(room.room().plan_swap(&to, &[]));
        let mut late = Rewrite::new(plan, to.clone(), Arc::default(), 9, usize::MAX);
        let error = late.update(&mut room.room().fork_world(), &Cancel::default()).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
        room.signal("apart", b"");
        let prepared = rewrite(&mut room, &to);
        room.room().prepare_swap(prepared);
        room.step(Input::swap(to)).unwrap();
        assert!(room.room().world().has_sound_indexes());
    }
}

#[test]
fn an_enum_may_be_unique() {
    let to = linked::<teams::New>();
    room_of(2).step(Input::swap(to.clone())).unwrap();
    let Err(StepError::Unfit(line)) = room_of(9).step(Input::swap(to)) else { panic!("taken") };
    assert_eq!(line, "Avatar.team: is to be unique, and the rows in slots 0:0 and 0:2 both have Red");
}
