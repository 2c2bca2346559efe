//! What a fault leaves behind: nothing. And the limits, of which each is a fault or an error of its own.

use crate::game::{Old, order};
use crate::support::{Driver, ON_PURPOSE, get, join, join_saying, message, signal_bytes, try_linked};
use crate::zoo::{Zoo, on, try_on};
use logic_api::prelude::*;
use room::{Input, limits};
use std::time::Duration;

fn room() -> Driver {
    let mut room = Driver::new::<Old>();
    room.must(join(1));
    room.must(join(2));
    room.must(message(1, &[order::TIMER, 9, 1]));
    room
}

#[track_caller]
fn check_no_trace(input: Input, callback: &str) {
    let mut room = room();
    let before = (room.hash(), room.room.seq(), room.room.tick(), room.room.world().players().to_vec());
    let size = room.room.world().size();
    let fault = room.fault(input);
    assert_eq!((fault.callback, fault.message.as_str(), fault.version.0), (callback, ON_PURPOSE, 1001));
    assert!(fault.location.starts_with("room/tests/proofs/game.rs:"), "{}", fault.location);
    assert_eq!(room.outputs(), []);
    assert_eq!((room.hash(), room.room.seq(), room.room.tick(), room.room.world().players().to_vec()), before);
    assert_eq!(room.room.world().size(), size);
}

#[test]
fn a_fault_leaves_no_trace() {
    let player = PlayerId(1);
    check_no_trace(message(1, &[order::PANIC, 0, 0]), "message");
    check_no_trace(message(1, &[order::CHANGE_ALL_THEN_PANIC, 0, 0]), "message");
    check_no_trace(join_saying(3, b"panic"), "join");
    check_no_trace(join_saying(3, b"panic early"), "join_attempt");
    check_no_trace(Input::Leave { player, reason: "panic".into() }, "leave");
    check_no_trace(Input::Request(get("/panic").into()), "request");
    check_no_trace(signal_bytes("panic", b""), "signal");
}

#[test]
fn a_panic_of_any_kind_is_told_as_what_it_was() {
    struct Grenade;
    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("{ON_PURPOSE}, and again");
        }
    }
    let mut room = Driver::new::<Zoo>();
    let mut fault = |number: u64, job: fn()| {
        let error = try_on(&mut room.room, number, move |_, _| job()).unwrap_err();
        let room::StepError::Fault(fault) = error else { panic!("{error}") };
        (fault.message, fault.location.is_empty())
    };
    let long: fn() = || panic!("{ON_PURPOSE} {}", "x".repeat(5000));
    let (message, _) = fault(1, long);
    assert_eq!((message.len(), message.starts_with("on purpose xxx")), (1024, true));
    assert_eq!(fault(2, || panic!("{ON_PURPOSE}")), (ON_PURPOSE.into(), false));
    let unheard = ("a panic without a message".to_owned(), true);
    assert_eq!(fault(3, || std::panic::resume_unwind(Box::new(7))), unheard);
    assert_eq!(fault(4, || std::panic::resume_unwind(Box::new(Grenade))), unheard);
    let job = || {
        let _caught = std::panic::catch_unwind(|| panic!("{ON_PURPOSE}, caught"));
        panic!("{ON_PURPOSE}, let go");
    };
    assert_eq!(fault(5, job), ("on purpose, let go".into(), false));
}

#[test]
fn a_fault_in_create_is_no_room() {
    #[derive(World, Debug)]
    struct Stillborn;

    #[logic(linked)]
    impl Logic for Stillborn {
        fn create(&mut self, _ctx: &mut Ctx, _config: &[u8]) {
            panic!("{ON_PURPOSE}");
        }
    }
    let logic = crate::support::linked::<Stillborn>();
    let mut outbox = room::Outbox::new();
    let error = room::Room::create("x", logic, &room::Pool::new(), Default::default(), b"", &mut outbox).unwrap_err();
    assert!(error.to_string().contains("failed in create at tick 0"), "{error}");
}

#[test]
fn more_output_than_an_input_may_make_is_a_fault() {
    let mut room = room();
    let before = room.hash();
    let fault = room.fault(message(1, &[order::FLOOD, 0, 0]));
    assert_eq!(fault.message, "made more output than an input may");
    assert_eq!((room.hash(), room.outputs().len()), (before, 0));
}

#[test]
fn a_text_above_the_limit_is_a_fault() {
    let mut room = Driver::new::<Zoo>();
    let too_long = move |_: &mut Zoo, _: &mut Ctx<'_>| {
        let text = "x".repeat(limits::HEAP_VALUE_BYTES_MAX + 1);
        drop(Text::new(&text));
    };
    let text = try_on(&mut room.room, 9, too_long).unwrap_err().to_string();
    assert!(text.ends_with("the room's heap is full, or the callback is read-only: 16777217 bytes"), "{text}");
    assert!(text.contains("room/tests/proofs/faults.rs:"), "the place is where the logic made it: {text}");
}

#[test]
fn as_many_timers_as_a_room_may_have() {
    if cfg!(miri) {
        return;
    }
    let mut room = Driver::new::<Zoo>();
    let set = |ctx: &mut Ctx<'_>, timers: usize| {
        for _ in 0..timers {
            ctx.after(Duration::from_secs(1), 0);
        }
    };
    on(&mut room, move |_, ctx| set(ctx, limits::TIMERS_MAX));
    let text = try_on(&mut room.room, 9, move |_, ctx| set(ctx, 1)).unwrap_err().to_string();
    assert!(text.ends_with("the room has as many timers as it may"), "{text}");
}

#[test]
fn a_schema_beyond_the_limits_is_refused() {
    #[derive(Row, Debug)]
    #[repr(C)]
    struct Huge {
        map: [u64; 2049],
    }
    #[derive(World, Debug)]
    struct TooMuch {
        #[expect(dead_code, reason = "no room comes to be")]
        huge: Table<Huge>,
    }
    #[logic(linked)]
    impl Logic for TooMuch {}

    let error = try_linked::<TooMuch>().unwrap_err().to_string();
    let advice = "keep long texts in `Text` columns and lists in tables of their own";
    let reason = format!("Huge: rows of 16392 bytes, at most 16384 are possible; {advice}");
    assert_eq!(error, format!("its schema is beyond what a room can hold: {reason}"));
}

#[test]
fn a_world_can_be_empty() {
    #[derive(World, Debug)]
    struct Void {}

    #[logic(linked)]
    impl Logic for Void {}

    let mut room = Driver::new::<Void>();
    room.tick();
    room.must(join(1));
    assert_eq!(room.room.world().size(), room::WorldSize::default());
}
