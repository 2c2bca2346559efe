//! Changes of tables that fail: the old version goes on, and its world is what it was, to the last bit.

use crate::support::{hush, linked, signal, test_room, try_linked, version};
use logic_api::prelude::*;
use room::plan::{Cancel, Rewrite, RewriteError};
use room::testing::TestRoom;
use room::{BadLogic, Input, LogicVersion, StepError};
use std::sync::Arc;

/// Rows of the world that nobody succeeds in changing.
const ROWS: u32 = 600_000;
const PANICS_AT: u32 = 500_000;

#[derive(Debug, Row, Clone, Copy)]
#[repr(C)]
struct Orb {
    number: u32,
}

#[derive(Debug, World)]
struct Old {
    orbs: Table<Orb>,
}

#[logic(linked, version = 1)]
impl Logic for Old {
    fn create(&mut self, _ctx: &mut Ctx, config: &[u8]) {
        let count = std::str::from_utf8(config).unwrap().parse().unwrap();
        for number in 0..count {
            self.orbs.insert(Orb { number });
        }
    }

    fn signal(&mut self, _ctx: &mut Ctx, name: &str, _bytes: &[u8]) {
        match name {
            // Two that are the same, and what they were.
            "same" => self.orbs.iter_mut().take(2).for_each(|mut orb| orb.number = 7_000_000),
            "apart" => (0..2).zip(&mut self.orbs).for_each(|(number, mut orb)| orb.number = 8_000_000 + number),
            "more" => (0..5_000).for_each(|number| _ = self.orbs.insert(Orb { number: 9_000_000 + number })),
            "fewer" => {
                let ids: Vec<Id<Orb>> = self.orbs.entries().step_by(3).map(|(id, _)| id).collect();
                ids.into_iter().for_each(|id| _ = self.orbs.remove(id));
            }
            _ => self.orbs.iter_mut().for_each(|mut orb| orb.number += 1),
        }
    }
}

version!(panics, 2, orbs: Orb, {
    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Orb {
        number: u32,
        #[row(migrate = half)]
        half: f32,
    }

    fn half(old: &super::Orb) -> f32 {
        assert!(old.number != PANICS_AT, "on purpose");
        old.number as f32 / 2.0
    }
});

version!(no_variant, 3, orbs: Orb, {
    #[derive(Debug, Row, Clone, Copy, PartialEq)]
    #[repr(u8)]
    enum Color {
        Red = 1,
        Green = 2,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Orb {
        number: u32,
        #[row(migrate = color)]
        color: Color,
    }

    /// As a careless author would, with a number that is no variant.
    #[allow(unsafe_code, reason = "what is tested is that the engine does not believe it")]
    fn color(old: &super::Orb) -> Color {
        if old.number < 5 {
            return [Color::Red, Color::Green][old.number as usize % 2];
        }
        let bytes = std::mem::MaybeUninit::new(77u8);
        // SAFETY: none: this is what must not be done, through a pointer so that the compiler does not see it.
        unsafe { std::ptr::read(std::hint::black_box(bytes.as_ptr()).cast()) }
    }
});

version!(unique, 4, orbs: Orb, {
    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Orb {
        #[row(unique, migrate = tens)]
        tens: u64,
        #[row(was = "number")]
        count: u32,
    }

    fn tens(old: &super::Orb) -> u64 {
        u64::from(old.number / 10)
    }
});

version!(
    whole,
    5,
    #[world(migrate = ranked)]
    orbs: Orb,
    {
        #[derive(Debug, Row)]
        #[repr(C)]
        pub(super) struct Orb {
            rank: u64,
        }

        fn ranked(old: &[super::Orb]) -> Vec<Orb> {
            let last = old.len() as u64 - 1;
            (0..old.len() as u64).map(|rank| Orb { rank: last - rank }).collect()
        }
    }
);

version!(
    too_few,
    6,
    #[world(migrate = ranked)]
    orbs: Orb,
    {
        #[derive(Debug, Row)]
        #[repr(C)]
        pub(super) struct Orb {
            rank: u64,
        }

        fn ranked(old: &[super::Orb]) -> Vec<Orb> {
            // Hushed by its first word.
            assert!(old.len() != 77, "on purpose");
            Vec::new()
        }
    }
);

version!(default_panics, 7, orbs: Orb, {
    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Orb {
        number: u32,
        #[row(default = u8::try_from(std::hint::black_box(300)).expect("on purpose"))]
        level: u8,
    }
});

version!(upgraded_panics, 8, orbs: Orb, {
    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Orb {
        number: u64,
        #[row(default = 3)]
        level: u8,
    }
} fn upgraded(&mut self, _ctx: &mut Ctx, _from: Version) {
    panic!("on purpose");
});

version!(text, 9, orbs: Orb, {
    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Orb {
        number: u32,
        #[row(migrate = |old: &super::Orb| Text::new(&format!("orb {}", old.number)))]
        name: Text,
    }
});

version!(stale, 10, orbs: Orb, {
    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Orb {
        number: u32,
        #[row(migrate = |old: &Older| old.weight)]
        weight: f32,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    struct Older {
        weight: f32,
    }
});

version!(unique_number, 11, orbs: Orb, {
    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Orb {
        #[row(unique)]
        number: u32,
    }
});

version!(wider, 12, orbs: Orb, {
    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Orb {
        number: u64,
    }
});

fn room_of(count: u32) -> TestRoom<Old> {
    test_room(count.to_string().as_bytes())
}

/// A swap that fails, and leaves no trace.
#[track_caller]
fn check(count: u32, to: Arc<LogicVersion>, expected: &str) {
    let mut room = room_of(count);
    let before = room.room().state_hash();
    let error = room.step(Input::swap(to)).unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert_eq!((room.room().state_hash(), room.room().logic().version()), (before, Version(1)));
    room.read(|world| assert_eq!(world.orbs.len(), count as usize));
    room.signal("on", b"");
    room.tick();
}

#[test]
fn a_migration_that_panics_is_told_with_its_row() {
    let mut room = room_of(ROWS);
    let before = room.room().state_hash();
    let Err(StepError::Fault(fault)) = room.step(Input::swap(linked::<panics::New>())) else { panic!("applied") };
    assert_eq!((fault.callback, &*fault.message), ("migrate", "Orb.half at row 500000: on purpose"));
    assert!(fault.location.contains("schema_refused.rs"), "{}", fault.location);
    assert_eq!(room.room().state_hash(), before);
    room.signal("on", b"");
}

#[test]
fn a_value_that_is_none_is_refused() {
    let text = "the tables cannot be carried over: Orb.color: the migration gave row 5 what is no value: 77 is no variant of Color";
    check(9, linked::<no_variant::New>(), text);
    assert!(room_of(5).swap::<no_variant::New>().is_ok());
}

#[test]
fn a_unique_column_with_duplicates_names_the_first() {
    let text =
        "the tables cannot be carried over: Orb.tens: is to be unique, and the rows in slots 0:0 and 0:1 both have 0";
    check(50, linked::<unique::New>(), text);
    assert!(room_of(1).swap::<unique::New>().is_ok());
}

#[test]
fn a_migration_of_all_rows_gives_each_its_own() {
    let mut room = room_of(700).swap::<whole::New>().unwrap();
    let rows: Vec<Vec<u8>> = room.room().world().rows("orbs").map(|row| row.into_owned()).collect();
    assert!(rows.iter().eq((0..700u64).rev().map(|rank| rank.to_le_bytes().to_vec()).collect::<Vec<_>>().iter()));
    let mut room = room_of(700);
    let before = room.room().state_hash();
    let Err(StepError::Fault(fault)) = room.step(Input::swap(linked::<too_few::New>())) else { panic!("applied") };
    assert_eq!(fault.message, "Orb at row 0: 0 rows were made of 700: each row needs its own");
    assert_eq!(room.room().state_hash(), before);
}

#[test]
fn a_default_that_panics_is_told_when_the_version_is_read() {
    hush();
    let Err(BadLogic::Changes(reason)) = try_linked::<default_panics::New>() else { panic!("read") };
    assert!(reason.starts_with("a default of a field panicked: on purpose"), "{reason}");
}

/// Two row types that the engine could not tell apart, and of which the source says different things.
mod twins {
    use super::*;

    mod left {
        use super::*;

        #[derive(Debug, Row)]
        #[repr(C)]
        pub(super) struct Pair {
            #[row(was = "x")]
            pub(super) number: u32,
        }
    }

    mod right {
        use super::*;

        #[derive(Debug, Row)]
        #[repr(C)]
        pub(super) struct Pair {
            #[row(was = "y")]
            pub(super) number: u32,
        }
    }

    #[derive(Debug, World)]
    pub(super) struct Twins {
        left: Table<left::Pair>,
        right: Table<right::Pair>,
    }

    #[logic(linked, version = 11)]
    impl Logic for Twins {
        fn create(&mut self, _ctx: &mut Ctx, _config: &[u8]) {
            self.left.insert(left::Pair { number: 1 });
            self.right.insert(right::Pair { number: 2 });
        }
    }
}

#[test]
fn two_row_types_of_one_name_are_told_when_the_version_is_read() {
    let Err(BadLogic::Changes(reason)) = try_linked::<twins::Twins>() else { panic!("read") };
    assert_eq!(reason, "two row types are called `Pair` and have the same fields: rename one");
}

#[test]
fn a_change_whose_upgraded_panics_is_taken_back() {
    check(300, linked::<upgraded_panics::New>(), &{
        let mut room = room_of(300);
        let error = room.step(Input::swap(linked::<upgraded_panics::New>())).unwrap_err();
        assert!(error.to_string().contains("on purpose"), "{error}");
        error.to_string()
    });
}

#[test]
fn a_migration_may_make_texts() {
    let mut room = room_of(20);
    let heap = room.room().world().size().heap_bytes;
    let mut room = room.swap::<text::New>().unwrap();
    let expected: usize = (0..20).map(|number| format!("orb {number}").len()).sum();
    assert_eq!(room.room().world().size().heap_bytes - heap, expected as u64);
}

#[test]
fn a_migration_from_yet_another_version_does_not_fit() {
    let text = "the tables cannot be carried over: Orb.weight: f32 is new; give it `#[row(default = …)]` or a migration; its migration \
                does not fit: Older.weight: f32 is not there";
    check(5, linked::<stale::New>(), text);
}

#[test]
fn a_rewrite_keeps_to_its_memory_and_its_time() {
    let mut room = room_of(50_000);
    let before = room.room().state_hash();
    let to = linked::<whole::New>();
    let rewrite = |room: &mut TestRoom<Old>, bytes_max| {
        let plan = Arc::new(room.room().plan_swap(&to, &[]));
        Rewrite::new(plan, to.clone(), Arc::default(), 1, bytes_max)
    };
    let mut world = room.room().fork_world();
    let error = rewrite(&mut room, 100_000).update(&mut world, &Cancel::default()).unwrap_err();
    assert_eq!(error.to_string(), "the rewritten tables take more than the 100000 bytes that they may");
    let cancel = Cancel::default();
    cancel.cancel();
    let error = rewrite(&mut room, usize::MAX).update(&mut world, &cancel).unwrap_err();
    assert_eq!(error, RewriteError::Cancelled);
    assert_eq!(error.to_string(), "the rewrite was given up: its time is over");
    assert_eq!((world.state_hash(), room.room().state_hash()), (before, before));
}

/// A rewrite that was begun for one version is of no use for a swap to another one, or after one, and does no harm.
#[test]
fn a_swap_while_a_rewrite_runs_makes_it_useless_and_harmless() {
    let mut room = room_of(3_000);
    let (to, other) = (linked::<whole::New>(), linked::<text::New>());
    let plan = Arc::new(room.room().plan_swap(&to, &[]));
    let mut rewrite = Rewrite::new(plan, to.clone(), Arc::default(), 1, usize::MAX);
    rewrite.update(&mut room.room().fork_world(), &Cancel::default()).unwrap();
    room.room().prepare_swap(rewrite);
    room.step(Input::swap(other.clone())).unwrap();
    let mut plain = room_of(3_000);
    plain.step(Input::swap(other)).unwrap();
    assert_eq!(room.room().state_hash(), plain.room().state_hash());
    room.step(signal("on")).unwrap();
}

/// What was prepared is brought up to date in the swap: a row that no longer fits and pages that are too many are told as what they
/// are.
#[test]
fn what_no_longer_fits_in_the_swap_itself_is_told_as_what_it_is() {
    let swap = |signal: &'static str, to: Arc<LogicVersion>, bytes_max: usize| {
        let mut room = room_of(9);
        let plan = Arc::new(room.room().plan_swap(&to, &[]));
        let mut rewrite = Rewrite::new(plan, to.clone(), Arc::default(), 1, bytes_max);
        rewrite.update(&mut room.room().fork_world(), &Cancel::default()).unwrap();
        room.room().prepare_swap(rewrite);
        room.signal(signal, b"");
        let before = room.room().state_hash();
        let error = room.step(Input::swap(to)).unwrap_err();
        assert_eq!((room.room().state_hash(), room.room().logic().version()), (before, Version(1)));
        error
    };
    let StepError::Unfit(line) = swap("same", linked::<unique_number::New>(), usize::MAX) else {
        panic!("another error")
    };
    assert_eq!(line, "Orb.number: is to be unique, and the rows in slots 0:0 and 0:1 both have 7000000");
    let StepError::TooLarge(error) = swap("more", linked::<wider::New>(), 50_000) else { panic!("another error") };
    assert_eq!(error, RewriteError::Memory { bytes_max: 50_000 });
}

/// A duplicate that is there when the load begins is gone at the swap, or the other way round.
#[test]
fn an_index_that_was_prepared_follows_every_change() {
    let to = linked::<unique_number::New>();
    let mut room = room_of(3_000);
    let plan = Arc::new(room.room().plan_swap(&to, &[]));
    let mut rewrite = Rewrite::new(plan.clone(), to.clone(), Arc::default(), 1, usize::MAX);
    rewrite.update(&mut room.room().fork_world(), &Cancel::default()).unwrap();
    for name in ["same", "on", "apart", "more", "fewer", "on"] {
        room.signal(name, b"");
    }
    room.room().prepare_swap(rewrite);
    room.step(Input::swap(to.clone())).unwrap();
    assert!(room.room().world().has_sound_indexes());
    room.step(Input::rewind()).unwrap();
    room.signal("same", b"");
    let mut rewrite = Rewrite::new(plan, to, Arc::default(), 1, usize::MAX);
    let error = rewrite.update(&mut room.room().fork_world(), &Cancel::default()).unwrap_err();
    assert!(matches!(error, RewriteError::Unfit(_)), "{error}");
}
