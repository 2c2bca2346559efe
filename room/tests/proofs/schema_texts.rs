//! Migrations that make texts: done in the background page by page, and what comes out is what doing all of it at once comes to, to
//! the last handle.

use crate::snapshots::restored;
use crate::support::{for_seeds, linked, signal_bytes, stamp, test_room};
use logic_api::Rng;
use logic_api::prelude::*;
use raw::{forged_text, handle_of};
use room::plan::{Cancel, Rewrite};
use room::testing::TestRoom;
use room::{Input, LogicVersion, Outbox, Pool, Room, StepError};
use std::cell::Cell;
use std::sync::Arc;

/// Handles of texts, which the API keeps to itself.
#[expect(unsafe_code, reason = "what is tested is that the engine does not believe them")]
mod raw {
    use logic_api::Text;

    pub(super) fn handle_of(text: &Text) -> [u32; 2] {
        // SAFETY: a text is nothing but a handle of two `u32` (docs/abi.md, "Table"), each of which may have any value, and the
        // reference is valid and aligned for it.
        unsafe { std::ptr::from_ref(text).cast::<[u32; 2]>().read() }
    }

    /// What must not be done: nobody owns this text.
    pub(super) fn forged_text(handle: [u32; 2]) -> Text {
        // SAFETY: a text is nothing but a handle of two `u32`, so both have one size, and any value of them is one of a text. The
        // engine ignores a handle that names nothing; one that names another's text lets that be freed, no more.
        unsafe { std::mem::transmute::<[u32; 2], Text>(handle) }
    }
}

thread_local! {
    /// Rows that were migrated to units, and calls of the migration of all notes.
    static MIGRATED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Of 24 bytes.
const UNITS_PER_PAGE: u64 = (64 << 10) / 24;

pub(crate) mod one {
    use super::*;

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(crate) struct Unit {
        pub(super) number: u64,
        pub(super) name: Text,
        pub(super) hits: u32,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(crate) struct Note {
        pub(super) number: u64,
        pub(super) text: Text,
    }

    #[derive(Debug, World)]
    pub(crate) struct World {
        pub(super) units: Table<Unit>,
        pub(super) notes: Table<Note>,
    }

    #[logic(linked, version = 1)]
    impl Logic for World {
        fn create(&mut self, _ctx: &mut Ctx, config: &[u8]) {
            let count = std::str::from_utf8(config).unwrap().parse().unwrap();
            (0..count).for_each(|number| self.add(number));
        }

        fn signal(&mut self, _ctx: &mut Ctx, name: &str, bytes: &[u8]) {
            let number = u64::from_le_bytes(bytes.try_into().unwrap());
            match name {
                // The unit in that place.
                "hit" => {
                    let id = self.units.entries().nth(number as usize).unwrap().0;
                    self.units.get_mut(id).unwrap().hits += 1;
                }
                // And so that each text is another.
                "all" => self.units.iter_mut().for_each(|mut unit| {
                    unit.hits += 1;
                    unit.number += 1_000_000;
                    let name = Text::new(&unit.name);
                    unit.name = name;
                }),
                // Handles that only unsafe code makes: of no page, of no text, of another row's text.
                "forge" => {
                    let ids: Vec<Id<Unit>> = self.units.entries().map(|(id, _)| id).take(5).collect();
                    let other = handle_of(&self.units.get(ids[4]).unwrap().name);
                    for (id, handle) in ids.iter().zip([[u32::MAX, 7], [1 << 30, 1], [2, 99], other]) {
                        self.units.get_mut(*id).unwrap().name = forged_text(handle);
                    }
                }
                // What that unit names it names no more, and it is not freed.
                "forget" => {
                    let id = self.units.entries().nth(number as usize).unwrap().0;
                    std::mem::forget(std::mem::take(&mut self.units.get_mut(id).unwrap().name));
                }
                "add" => (0..number).for_each(|number| self.add(1_000_000 + number)),
                "random" => self.change(&mut Rng::new(number)),
                other => panic!("on purpose: {other}"),
            }
        }

        fn upgraded(&mut self, _ctx: &mut Ctx, _from: Version) {
            self.add(77);
        }
    }

    impl World {
        fn add(&mut self, number: u64) {
            self.units.insert(Unit { number, name: Text::new(&format!("unit {number}")), hits: 0 });
            if number.is_multiple_of(4) {
                self.notes.insert(Note { number, text: Text::new(&format!("note {number}")) });
            }
        }

        /// Rows come and go in some pages, and texts change.
        fn change(&mut self, rng: &mut Rng) {
            let ids: Vec<Id<Unit>> = self.units.entries().map(|(id, _)| id).collect();
            let from = rng.next_u64() as usize % ids.len();
            for (place, id) in ids[from..].iter().take(rng.next_u64() as usize % 300).enumerate() {
                match rng.next_u64() % 5 {
                    0 => drop(self.units.remove(*id)),
                    1 => self.units.get_mut(*id).unwrap().name = Text::new(&format!("changed {place}")),
                    2 => self.units.get_mut(*id).unwrap().name = Text::default(),
                    3 => self.units.get_mut(*id).unwrap().number += 1,
                    _ => {}
                }
            }
            (0..rng.next_u64() % 400).for_each(|number| self.add(2_000_000 + number));
            if rng.next_u64().is_multiple_of(2)
                && let Some(mut note) = self.notes.iter_mut().next()
            {
                note.text = Text::new("another note");
            }
        }
    }
}

pub(crate) mod two {
    use super::*;

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct OldUnit {
        number: u64,
        name: Text,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(crate) struct Unit {
        pub(super) number: u64,
        pub(super) name: Text,
        #[row(migrate = motto)]
        pub(super) motto: Text,
        pub(super) hits: u32,
        #[row(migrate = |old: &OldUnit| [Text::new(&old.name), Text::new("second")])]
        pub(super) pair: [Text; 2],
    }

    /// With texts that do not stay, and none for some.
    fn motto(old: &OldUnit) -> Text {
        let (units, notes) = MIGRATED.get();
        MIGRATED.set((units + 1, notes));
        if old.number.is_multiple_of(10) {
            return Text::default();
        }
        let first = Text::new(&format!("{} says", &*old.name));
        let mut motto = first.clone();
        motto.push_str(&format!(" {}", old.number));
        motto
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(crate) struct Note {
        pub(super) number: u64,
        pub(super) text: Text,
        pub(super) place: Text,
    }

    /// Each has its place among all.
    fn placed(old: &[one::Note]) -> Vec<Note> {
        let (units, notes) = MIGRATED.get();
        MIGRATED.set((units, notes + 1));
        let note = |(place, old): (usize, &one::Note)| {
            let text = Text::new(&format!("{}!", &*old.text));
            Note { number: old.number, text, place: Text::new(&format!("{place} of {}", old.number)) }
        };
        old.iter().enumerate().map(note).collect()
    }

    #[derive(Debug, World)]
    pub(crate) struct World {
        pub(super) units: Table<Unit>,
        #[world(migrate = placed)]
        pub(super) notes: Table<Note>,
    }

    #[logic(linked, version = 2)]
    impl Logic for World {
        fn signal(&mut self, _ctx: &mut Ctx, name: &str, bytes: &[u8]) {
            assert!(name == "change", "on purpose: {name}");
            let mut rng = Rng::new(u64::from_le_bytes(bytes.try_into().unwrap()));
            let ids: Vec<Id<Unit>> = self.units.entries().map(|(id, _)| id).collect();
            for id in ids {
                match rng.next_u64() % 27 {
                    0 => drop(self.units.remove(id)),
                    1 => self.units.get_mut(id).unwrap().motto = Text::new("a new motto"),
                    2 => self.units.get_mut(id).unwrap().pair[0] = Text::default(),
                    _ => {}
                }
            }
            (0..rng.next_u64() % 400).for_each(|number| {
                let [name, motto, other] = ["name", "motto", "other"].map(Text::new);
                let pair = [other, Text::default()];
                self.units.insert(Unit { number: 3_000_000 + number, name, motto, hits: 0, pair });
            });
        }
    }
}

/// What the way back loses.
const DROPS: [&str; 3] = ["Unit.motto", "Unit.pair", "Note.place"];

fn room_of(count: u64) -> TestRoom<one::World> {
    test_room(count.to_string().as_bytes())
}

fn rewrite_of(room: &mut Room, to: &Arc<LogicVersion>) -> Rewrite {
    let plan = room.plan_swap(to, &[]);
    assert_eq!(plan.refusals(), <[String; 0]>::default());
    Rewrite::new(Arc::new(plan), to.clone(), Arc::default(), 9, usize::MAX)
}

/// How often migrations run meanwhile.
fn migrated(run: impl FnOnce()) -> (u64, u64) {
    MIGRATED.set((0, 0));
    run();
    MIGRATED.get()
}

fn swap_back() -> Input {
    let drops = DROPS.map(String::from).into();
    Input::Swap { to: linked::<one::World>(), drops, trial: room::TrialId::default() }
}

/// The same in all of these rooms, which then have the same state; nor is it another after a snapshot.
fn same(rooms: &mut [&mut Room], number: u64, input: impl Fn() -> Input) {
    for room in rooms.iter_mut() {
        room.step(stamp(number), input(), &mut Outbox::new()).unwrap();
        assert!(room.world().has_sound_indexes());
    }
    let hash = rooms[0].state_hash();
    for room in rooms.iter_mut() {
        assert_eq!((room.state_hash(), room.fork_world().state_hash()), (hash, hash));
    }
}

#[test]
fn only_pages_that_have_changed_are_migrated_in_the_swap() {
    let count = 8 * UNITS_PER_PAGE;
    let to = linked::<two::World>();
    for dirty in [&[][..], &[5], &[2, 0, 7]] {
        let (mut room, mut plain) = (room_of(count), room_of(count));
        let mut rewrite = rewrite_of(room.room(), &to);
        let all = migrated(|| rewrite.update(&mut room.room().fork_world(), &Cancel::default()).unwrap());
        assert_eq!(all, (count, 1));
        for page in dirty {
            let unit = (page * UNITS_PER_PAGE + 9).to_le_bytes();
            room.signal("hit", &unit);
            plain.signal("hit", &unit);
        }
        room.room().prepare_swap(rewrite);
        let swap = || Input::swap(to.clone());
        let (room, plain) = (room.room(), plain.room());
        let in_swap = migrated(|| _ = room.step(stamp(50), swap(), &mut Outbox::new()).unwrap());
        assert_eq!(in_swap, (dirty.len() as u64 * UNITS_PER_PAGE, 0), "{dirty:?}");
        assert_eq!(migrated(|| _ = plain.step(stamp(50), swap(), &mut Outbox::new()).unwrap()), (count, 1));
        assert_eq!(room.state_hash(), plain.state_hash());
        same(&mut [room, plain], 51, || signal_bytes("change", &9u64.to_le_bytes()));
        // A fault has nothing migrated again; a rewind, and the swap once more.
        assert_eq!(
            migrated(|| drop(room.step(stamp(52), signal_bytes("", b""), &mut Outbox::new()).unwrap_err())),
            (0, 0)
        );
        same(&mut [room, plain], 53, Input::rewind);
        same(&mut [room, plain], 54, swap);
        same(&mut [room, plain], 55, || Input::Confirm);
        let mut again = restored(room, &Pool::new());
        same(&mut [room, plain, &mut again], 56, || signal_bytes("change", &10u64.to_le_bytes()));
        same(&mut [room, plain, &mut again], 57, swap_back);
    }
}

#[test]
fn texts_that_a_migration_has_made_are_there() {
    let mut room = room_of(5_000).swap::<two::World>().unwrap();
    let heap_bytes = room.read(|world| {
        let mut bytes = 0;
        for (number, unit) in (0..).zip(world.units.iter()) {
            let motto = format!("unit {number} says {number}");
            assert_eq!(unit.motto, if number % 10 == 0 { "" } else { &motto });
            assert!(unit.number == number && unit.pair[0] == unit.name && unit.pair[1] == "second");
            bytes +=
                [&unit.name, &unit.motto, &unit.pair[0], &unit.pair[1]].map(|text| text.len()).iter().sum::<usize>();
        }
        for (place, note) in world.notes.iter().enumerate() {
            assert!(
                note.text == *format!("note {}!", note.number) && note.place == *format!("{place} of {}", note.number)
            );
            bytes += note.text.len() + note.place.len();
        }
        bytes
    });
    // Nothing is left of those that did not stay.
    assert_eq!(room.room().world().size().heap_bytes, heap_bytes as u64);
}

/// A whole table is done again where one of its rows has changed, and only then. The other one is not, and names the same texts as
/// if the heap had not grown meanwhile.
#[test]
fn a_migration_of_all_rows_runs_in_the_swap_only_if_one_has_changed() {
    let to = linked::<two::World>();
    let (mut room, mut plain) = (room_of(4_000), room_of(4_000));
    let mut rewrite = rewrite_of(room.room(), &to);
    rewrite.update(&mut room.room().fork_world(), &Cancel::default()).unwrap();
    let pages = room.room().world().size().pages;
    for room in [&mut room, &mut plain] {
        room.signal("add", &200u64.to_le_bytes());
    }
    assert_eq!(room.room().world().size().pages, pages + 1);
    room.room().prepare_swap(rewrite);
    let swap = |room: &mut Room| _ = room.step(stamp(50), Input::swap(to.clone()), &mut Outbox::new()).unwrap();
    assert_eq!(migrated(|| swap(room.room())), (4_200 - UNITS_PER_PAGE, 1));
    swap(plain.room());
    assert_eq!(room.room().state_hash(), plain.room().state_hash());
}

/// Whatever was done beforehand, and whatever has changed since, there and back as often as you like.
#[test]
fn what_was_prepared_comes_to_the_same_to_the_last_handle() {
    for_seeds(if cfg!(miri) { 1 } else { 6 }, |seed| {
        let mut rng = Rng::new(seed);
        let count = [3, 700, 3_000][seed as usize % 3];
        let (mut room, mut plain) = (room_of(count), room_of(count));
        let (room, plain) = (room.room(), plain.room());
        let mut again = restored(room, &Pool::new());
        let to = linked::<two::World>();
        for round in (0..400).step_by(100) {
            let mut rewrite = rewrite_of(room, &to);
            for step in 0..rng.next_u64() % 4 {
                let bytes = rng.next_u64().to_le_bytes();
                same(&mut [room, plain, &mut again], round + step, || signal_bytes("random", &bytes));
                if rng.next_u64().is_multiple_of(2) {
                    rewrite.update(&mut room.fork_world(), &Cancel::default()).unwrap();
                }
            }
            room.prepare_swap(rewrite);
            same(&mut [room, plain, &mut again], round + 10, || Input::swap(to.clone()));
            if rng.next_u64().is_multiple_of(2) {
                same(&mut [room, plain, &mut again], round + 11, Input::rewind);
                same(&mut [room, plain, &mut again], round + 12, || signal_bytes("random", &7u64.to_le_bytes()));
                same(&mut [room, plain, &mut again], round + 13, || Input::swap(to.clone()));
            }
            same(&mut [room, plain, &mut again], round + 14, || Input::Confirm);
            for step in 15..15 + rng.next_u64() % 3 {
                let bytes = rng.next_u64().to_le_bytes();
                same(&mut [room, plain, &mut again], round + step, || signal_bytes("change", &bytes));
            }
            again = restored(plain, &Pool::new());
            same(&mut [room, plain, &mut again], round + 20, swap_back);
            same(&mut [room, plain, &mut again], round + 21, || Input::Confirm);
            again = restored(plain, &Pool::new());
        }
    });
}

/// The numbers of pages in which nothing is left are given again.
#[test]
fn pages_do_not_pile_up_with_changes_to_and_fro() {
    let mut room = room_of(3_000);
    let room = room.room();
    let sizes: Vec<_> = (0..12)
        .map(|round| {
            same(&mut [room], 10 * round + 1, || Input::swap(linked::<two::World>()));
            same(&mut [room], 10 * round + 2, || Input::Confirm);
            let there = room.world().size().pages;
            same(&mut [room], 10 * round + 3, swap_back);
            same(&mut [room], 10 * round + 4, || Input::Confirm);
            (there, room.world().size().pages)
        })
        .collect();
    assert!(sizes[1..].iter().all(|size| *size == sizes[1]), "{sizes:?}");
}

/// What was prepared while the texts of an earlier change were still to go is of no use after that.
#[test]
fn what_was_prepared_for_other_pages_of_texts_is_not_taken() {
    let (mut room, mut plain) = (room_of(900), room_of(900));
    let (room, plain) = (room.room(), plain.room());
    let to = linked::<two::World>();
    let mut rewrite = rewrite_of(room, &to);
    rewrite.update(&mut room.fork_world(), &Cancel::default()).unwrap();
    same(&mut [room, plain], 1, || Input::swap(to.clone()));
    same(&mut [room, plain], 2, || Input::Confirm);
    same(&mut [room, plain], 3, swap_back);
    same(&mut [room, plain], 4, || Input::Confirm);
    room.prepare_swap(rewrite);
    same(&mut [room, plain], 5, || Input::swap(to.clone()));
}

/// A room that was closed and created again has the name of the one before; one that went back has fewer pages than it had.
#[test]
fn what_was_prepared_of_a_world_with_more_pages_is_not_taken() {
    let (mut small, mut other) = (room_of(3), room_of(3_000));
    let mut grown = small.room().twin();
    same(&mut [&mut grown], 1, || signal_bytes("add", &3_000u64.to_le_bytes()));
    for to in [linked::<two::World>(), linked::<unnamed::World>()] {
        for larger in [&mut grown, other.room()] {
            let (mut room, mut plain) = (small.room().twin(), small.room().twin());
            let mut rewrite = rewrite_of(larger, &to);
            rewrite.update(&mut larger.fork_world(), &Cancel::default()).unwrap();
            assert!(rewrite.is_of(larger.world()) && !rewrite.is_of(room.world()));
            room.prepare_swap(rewrite);
            same(&mut [&mut room, &mut plain], 1, || Input::swap(to.clone()));
        }
    }
}

/// A version whose migration gives texts that are not its own.
macro_rules! forged {
    ($name:ident, $version:literal, $forge:expr) => {
        #[expect(dead_code, reason = "what counts is what the engine does with the tables")]
        mod $name {
            use super::*;

            #[derive(Debug, Row)]
            #[repr(C)]
            struct OldUnit {
                name: Text,
            }

            #[derive(Debug, Row)]
            #[repr(C)]
            struct Unit {
                number: u64,
                name: Text,
                hits: u32,
                #[row(migrate = forge)]
                motto: Text,
            }

            fn forge(old: &OldUnit) -> Text {
                let forge: fn(&Text) -> Text = $forge;
                forge(&old.name)
            }

            #[derive(Debug, World)]
            pub(super) struct World {
                units: Table<Unit>,
                notes: Table<one::Note>,
            }

            #[logic(linked, version = $version)]
            impl Logic for World {}
        }
    };
}

// One that its owner keeps, some that nobody ever gave, and one that is gone.
forged!(stolen, 3, |name| forged_text(handle_of(name)));
forged!(invented, 4, |_| forged_text([u32::MAX, 7]));
forged!(as_if_pending, 5, |_| forged_text([9, 2]));
forged!(given_back, 6, |_| {
    let text = Text::new("gone");
    let handle = handle_of(&text);
    drop(text);
    forged_text(handle)
});

#[test]
fn a_text_that_a_migration_has_not_made_is_no_value() {
    for to in [
        linked::<stolen::World>(),
        linked::<invented::World>(),
        linked::<as_if_pending::World>(),
        linked::<given_back::World>(),
    ] {
        let mut room = room_of(50);
        let before = room.room().state_hash();
        let StepError::Unfit(line) = room.step(Input::swap(to.clone())).unwrap_err() else { panic!("another error") };
        assert_eq!(line, "Unit.motto: the migration gave row 0 what is no value: a text that it has not made");
        let error = rewrite_of(room.room(), &to).update(&mut room.room().fork_world(), &Cancel::default());
        assert_eq!(error.unwrap_err().to_string(), line);
        assert_eq!(room.room().state_hash(), before);
    }
}

mod unnamed {
    use super::*;

    #[derive(Debug, Row)]
    #[repr(C)]
    #[row(dropped("name"))]
    struct Unit {
        number: u64,
        hits: u32,
    }

    #[derive(Debug, World)]
    #[expect(dead_code, reason = "nothing runs on it")]
    pub(super) struct World {
        units: Table<Unit>,
        notes: Table<one::Note>,
    }

    #[logic(linked, version = 7)]
    impl Logic for World {}
}

/// It reads as empty everywhere, and there is nothing to free.
#[test]
fn a_handle_that_names_nothing_is_no_reason_to_refuse() {
    let to = linked::<unnamed::World>();
    for is_forged_before in [true, false] {
        let (mut room, mut plain) = (room_of(3_000), room_of(3_000));
        let (room, plain) = (room.room(), plain.room());
        let notes: usize = (0..3_000).step_by(4).map(|number| format!("note {number}").len()).sum();
        let forge = || signal_bytes("forge", &0u64.to_le_bytes());
        if is_forged_before {
            same(&mut [room, plain], 1, forge);
        }
        let mut rewrite = rewrite_of(room, &to);
        rewrite.update(&mut room.fork_world(), &Cancel::default()).unwrap();
        if !is_forged_before {
            same(&mut [room, plain], 2, forge);
        }
        // So that there are pages of the heap that there were not.
        same(&mut [room, plain], 3, || signal_bytes("add", &2_000u64.to_le_bytes()));
        let added: usize = (0..2_000).step_by(4).map(|number| format!("note {}", 1_000_000 + number).len()).sum();
        room.prepare_swap(rewrite);
        same(&mut [room, plain], 4, || Input::swap(to.clone()));
        assert_eq!(room.world().size().heap_bytes, (notes + added) as u64);
    }
}

/// As unsafe code has it: the fourth row and the fifth name one.
#[test]
fn a_text_that_two_rows_name_goes_as_long_as_one_of_them_is_left() {
    let to = linked::<unnamed::World>();
    for forgotten in [&[3u64][..], &[4], &[3, 4]] {
        let (mut room, mut plain) = (room_of(50), room_of(50));
        let (room, plain) = (room.room(), plain.room());
        same(&mut [room, plain], 1, || signal_bytes("forge", &0u64.to_le_bytes()));
        let mut rewrite = rewrite_of(room, &to);
        rewrite.update(&mut room.fork_world(), &Cancel::default()).unwrap();
        for (number, unit) in (2..).zip(forgotten) {
            same(&mut [room, plain], number, || signal_bytes("forget", &unit.to_le_bytes()));
        }
        room.prepare_swap(rewrite);
        same(&mut [room, plain], 9, || Input::swap(to.clone()));
    }
}
