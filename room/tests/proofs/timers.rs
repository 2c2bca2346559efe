//! Timers: state of the room, in an order of their own.

use crate::game::{New, Old, TAG_PANICS, TAG_SETS_ANOTHER, order};
use crate::support::{self, Driver, get, join, linked};
use room::{Input, Output};

fn message(what: u8, number: u8, tag: u64) -> Input {
    support::message(1, &[what, number, tag as u8])
}

/// What has fired, as `number:tag@tick`.
fn fired(room: &mut Driver) -> String {
    let dump = String::from_utf8(room.room.query(&get("/dump")).unwrap().unwrap().body).unwrap();
    let log = dump.lines().next().unwrap().splitn(8, ' ').last().unwrap();
    log.trim_end().to_owned()
}

fn room() -> Driver {
    let mut room = Driver::new::<Old>();
    room.must(join(1));
    room
}

#[test]
fn timers_fire_by_time_then_in_the_order_they_were_set() {
    let mut room = room();
    // Each input comes a tick later than the one before, so that these are due at inputs 12, 8, 8 and 6.
    for (ticks, tag) in [(9, 1), (4, 2), (3, 3), (0, 4)] {
        room.must(message(order::TIMER, ticks, tag));
    }
    (0..3).for_each(|_| room.tick());
    assert_eq!(fired(&mut room), "4:4@1 2:2@2 3:3@2");
    (0..2).for_each(|_| room.tick());
    assert_eq!(fired(&mut room), "4:4@1 2:2@2 3:3@2");
    (0..5).for_each(|_| room.tick());
    assert_eq!(fired(&mut room), "4:4@1 2:2@2 3:3@2 1:1@6");
}

#[test]
fn a_timer_set_for_now_waits_for_the_next_tick() {
    let mut room = room();
    room.must(message(order::TIMER, 0, TAG_SETS_ANOTHER));
    room.tick();
    assert_eq!(fired(&mut room), "1:7@1");
    room.tick();
    assert_eq!(fired(&mut room), "1:7@1 2:1@2");
}

#[test]
fn a_cancelled_timer_does_not_fire() {
    let mut room = room();
    room.must(message(order::TIMER, 0, 1));
    for answer in [&b"cancelled"[..], b"no timer"] {
        room.must(message(order::CANCEL, 0, 0));
        assert_eq!(room.outputs()[0], Output::Send { to: logic_api::PlayerId(1), bytes: answer.into() });
    }
    room.tick();
    assert_eq!(fired(&mut room), "");
}

#[test]
fn timers_survive_a_swap_and_its_undoing() {
    let mut room = room();
    room.must(message(order::TIMER, 4, 1));
    room.must(Input::swap(linked::<New>()));
    room.must(message(order::TIMER, 4, 2));
    let mut twin = room.room.twin();
    assert_eq!(room.must(Input::rewind()), room::Reply::Rewound(Vec::new()));
    room.inputs -= 1;
    (0..6).for_each(|_| room.tick());
    assert_eq!(fired(&mut room), "1:1@2 2:2@4");
    std::mem::swap(&mut twin, &mut room.room);
    room.inputs -= 6;
    (0..6).for_each(|_| room.tick());
    assert_eq!(fired(&mut room), "1:1@2 2:2@4");
}

#[test]
fn a_timer_that_panics_freezes_the_room_until_a_version_copes() {
    let mut room = room();
    room.must(message(order::TIMER, 0, TAG_PANICS));
    let before = room.hash();
    assert_eq!(room.fault(Input::Tick).callback, "timer");
    assert_eq!((room.hash(), room.room.tick().0), (before, 0));
    assert!(room.step(Input::Tick).unwrap_err().to_string().ends_with("on purpose; load a fix"));
    room.must(Input::swap(linked::<New>()));
    room.tick();
    assert_eq!(fired(&mut room), "1:13@1");
}
