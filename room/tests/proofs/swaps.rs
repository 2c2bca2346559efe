//! Swaps that are refused, that fail, and that are taken back.

use crate::game::{Different, Forgetful, New, Old, PanicsWhenUpgraded, order};
use crate::support::{self, Driver, get, join, linked};
use logic_api::prelude::{Ctx, Logic, One, PlayerId, Row, World, logic};
use room::{Again, FORK_TICKS, Input, LogicVersion, Lost, Output, Pool, Reply, StepError, TrialId, Watch, limits};
use std::sync::Arc;

fn message(what: u8) -> Input {
    support::message(1, &[what, 1, 0])
}

fn room() -> Driver {
    let mut room = Driver::new::<Old>();
    room.must(join(1));
    room
}

fn rewind(room: &mut Driver) -> Vec<Lost> {
    match room.must(Input::rewind()) {
        Reply::Rewound(lost) => lost,
        other => panic!("{other:?}"),
    }
}

fn version(room: &Driver) -> u32 {
    room.room.logic().version().0
}

#[test]
fn other_tables_are_refused_with_a_line_each() {
    let mut room = room();
    let before = room.hash();
    let Err(StepError::SchemaDiffers(lines)) = room.step(Input::swap(linked::<Different>())) else { panic!("applied") };
    assert_eq!(
        lines,
        [
            "avatars: the table would be dropped with its rows; say `#[world(dropped(\"avatars\"))]`, or acknowledge it with drop=avatars"
        ]
    );
    assert_eq!((room.hash(), version(&room)), (before, 1001));
    room.tick();
}

#[test]
fn a_swap_that_fails_leaves_no_trace() {
    let mut room = room();
    let (before, seq) = (room.hash(), room.room.seq());
    let fault = room.fault(Input::swap(linked::<PanicsWhenUpgraded>()));
    assert_eq!((fault.version.0, fault.callback), (1003, "upgraded"));
    assert_eq!((room.hash(), room.room.seq(), version(&room)), (before, seq, 1001));
    // What came before the swap is still there to go back over.
    assert_eq!(room.fault(message(order::CHANGE_ALL_THEN_PANIC)).callback, "message");
    assert_eq!(room.hash(), before);
}

#[test]
fn a_second_swap_waits_for_the_verdict_on_the_first() {
    let mut room = room();
    let before = room.hash();
    room.must(Input::swap(linked::<New>()));
    room.must(message(order::ADD));
    let error = room.step(Input::swap(linked::<PanicsWhenUpgraded>())).unwrap_err();
    assert_eq!(error.to_string(), "version 1002 is on trial; confirm or rewind it first");
    assert_eq!(version(&room), 1002);
    assert_eq!(rewind(&mut room), []);
    assert_eq!(version(&room), 1001);
    assert_ne!(room.hash(), before, "what came after the swap is not lost");
    let mut never = self::room();
    never.inputs += 1;
    never.must(message(order::ADD));
    assert_eq!(room.hash(), never.hash());
    assert_eq!(room.fault(Input::swap(linked::<PanicsWhenUpgraded>())).callback, "upgraded");
}

#[test]
fn taking_a_swap_back_thaws_a_room_that_the_new_version_froze() {
    let mut room = Driver::new::<New>();
    room.must(join(1));
    room.must(message(order::BOMB));
    room.must(Input::swap(linked::<Old>()));
    assert_eq!(room.fault(Input::Tick).callback, "tick");
    assert!(room.room.frozen().is_some());
    assert_eq!(rewind(&mut room), []);
    assert!(room.room.frozen().is_none());
    room.tick();
}

#[test]
fn taking_a_swap_back_freezes_a_room_that_was_frozen() {
    let mut room = room();
    room.must(message(order::BOMB));
    room.fault(Input::Tick);
    room.must(Input::swap(linked::<New>()));
    room.tick();
    room.must(Input::Leave { player: PlayerId(1), reason: "home".into() });
    let lost = rewind(&mut room);
    let [
        Lost { callback: "tick", error: StepError::Frozen(_), leave: None, .. },
        Lost { player: PlayerId(1), callback: "leave", leave: Some(reason), .. },
    ] = &lost[..]
    else {
        panic!("{lost:?}")
    };
    assert_eq!(&**reason, "home");
    assert_eq!(room.room.frozen().map(|fault| fault.callback), Some("tick"));
    assert_eq!((room.room.tick().0, version(&room)), (0, 1001));
}

#[test]
fn what_only_the_new_version_takes_is_told_when_its_swap_is_taken_back() {
    let mut room = room();
    room.must(Input::swap(linked::<New>()));
    for what in [order::ADD, order::NEW, order::ADD] {
        room.must(message(what));
    }
    let lost = rewind(&mut room);
    let [Lost { player: PlayerId(1), number: 2, callback: "message", error: StepError::Fault(_), .. }] = lost[..]
    else {
        panic!("{lost:?}")
    };
    assert_eq!(room.room.world().player(PlayerId(1)).map(|player| player.consumed), Some(3));
    assert!(room.room.frozen().is_none());
    let dump = String::from_utf8(room.room.query(&get("/dump")).unwrap().unwrap().body).unwrap();
    assert!(dump.ends_with("\n1 1 2  None\n"), "{dump}");
}

#[test]
fn a_swap_that_was_confirmed_is_not_taken_back() {
    let mut room = room();
    room.must(Input::Swap { to: linked::<New>(), drops: [].into(), trial: TrialId(7) });
    assert_eq!((room.room.trial(), room.room.trial_inputs()), (Some(TrialId(7)), Some(0)));
    room.must(Input::Confirm);
    assert_eq!((room.room.trial(), room.room.trial_inputs()), (None, None));
    for verdict in [Input::rewind(), Input::Confirm] {
        assert_eq!(room.step(verdict), Err(StepError::NoTrial));
    }
    assert_eq!(version(&room), 1002);
}

#[test]
fn a_trial_may_be_longer_than_the_time_between_two_forks() {
    let mut room = room();
    room.must(Input::swap(linked::<New>()));
    let mut inputs = Vec::new();
    for round in 0..4 {
        inputs.extend((0..FORK_TICKS).map(|_| Input::Tick));
        inputs.push(message(order::ADD));
        inputs.push(if round == 2 { join(7) } else { message(order::NOTE) });
    }
    for input in &inputs {
        room.must(input.clone());
        room.fault(message(order::CHANGE_ALL_THEN_PANIC));
    }
    assert_eq!(room.room.trial_inputs(), Some(inputs.len()));
    assert_eq!(rewind(&mut room), []);
    let mut never = self::room();
    never.inputs += 1;
    for input in inputs {
        never.must(input);
        never.inputs += 1;
    }
    assert_eq!((room.hash(), version(&room)), (never.hash(), 1001));
    // And there is a fork to go back to.
    let before = room.hash();
    room.fault(message(order::CHANGE_ALL_THEN_PANIC));
    assert_eq!(room.hash(), before);
}

#[test]
fn of_the_past_once_more_only_kicks_are_heard() {
    let mut room = room();
    room.must(Input::swap(linked::<New>()));
    for what in [order::ADD, order::KICK, order::ADD] {
        room.must(message(what));
    }
    assert_eq!(rewind(&mut room), []);
    assert_eq!(room.outputs(), [Output::Kick { player: PlayerId(1), reason: "enough".into() }]);
}

#[test]
fn a_trial_ends_where_no_more_can_be_kept() {
    if cfg!(miri) {
        return;
    }
    let mut room = room();
    room.must(Input::swap(linked::<New>()));
    for _ in 0..limits::TRIAL_INPUTS_MAX {
        room.must(message(order::ADD));
    }
    let full = StepError::TrialFull { version: logic_api::Version(1002), inputs: limits::TRIAL_INPUTS_MAX };
    for _ in 0..2 {
        assert_eq!(room.step(Input::Tick), Err(full.clone()));
    }
    room.must(Input::Confirm);
    room.tick();
}

#[test]
fn a_logic_with_a_memory_of_its_own_is_found_out() {
    let mut room = Driver::new::<Forgetful>();
    room.must(join(1));
    (0..2).for_each(|_| drop(room.must(message(0))));
    // The third fails on purpose, and the replay of the second by its count of messages.
    assert_eq!(room.fault(support::message(1, b"panic")).callback, "message");
    let fault = room.room.frozen().unwrap().clone();
    assert_eq!(fault.callback, "replay");
    assert!(fault.message.ends_with("on purpose; the logic is not deterministic"), "{fault}");
    // It stands before the input whose replay failed, not halfway into it.
    let counts = room.room.query(&get("/")).unwrap().unwrap().body;
    assert_eq!(String::from_utf8(counts).unwrap(), "0 0");
    assert!(matches!(room.step(message(0)), Err(StepError::Frozen(_))));
    room.must(Input::swap(linked::<Old>()));
    room.tick();
}

/// What a rewind applies once more, as it is told.
#[derive(Default)]
struct Told {
    begun: Vec<(u32, &'static str, u64)>,
    ended: usize,
}

impl Watch for Told {
    fn begins(&mut self, again: Again<'_>) {
        let Again { trial, number, input, tick, running, .. } = again;
        assert_eq!((trial, running.version().0, self.ended), (TrialId(7), 1001, self.begun.len()));
        self.begun.push((number, input.callback(), tick.0));
    }

    fn ended(&mut self) {
        self.ended += 1;
    }
}

#[test]
fn a_rewind_tells_of_each_input_and_leaves_out_what_ends_the_process() {
    for ticks in [0, 3 * FORK_TICKS] {
        let mut room = room();
        room.must(Input::Swap { to: linked::<New>(), drops: [].into(), trial: TrialId(7) });
        (0..ticks).for_each(|_| room.tick());
        for what in [order::ADD, order::ADD, order::NOTE] {
            room.must(message(what));
        }
        let first = u32::try_from(ticks).unwrap() + 1;
        let known: Vec<_> = room.room.inputs_on_trial().map(|(number, _, input)| (number, input.callback())).collect();
        assert_eq!(known[known.len() - 3..], [(first, "message"), (first + 1, "message"), (first + 2, "message")]);
        let mut told = Told::default();
        let input = Input::Rewind { without: [first + 1].into() };
        let rewound = room.room.step_watched(support::stamp(1), input, &mut room.outbox, &mut told);
        let Ok(Reply::Rewound(lost)) = rewound else { panic!("{rewound:?}") };
        let [Lost { player: PlayerId(1), number: 2, callback: "message", error: StepError::Fault(fault), .. }] =
            &lost[..]
        else {
            panic!("{lost:?}")
        };
        assert_eq!((fault.callback, fault.version.0), ("process", 1001));
        let (last, ended) = (told.begun[told.begun.len() - 2..].to_vec(), told.ended);
        assert_eq!(last, [(first, "message", ticks), (first + 2, "message", ticks)]);
        assert_eq!((told.begun.len(), ended), (known.len() - 1, known.len() - 1));
        assert_eq!(room.room.world().player(PlayerId(1)).map(|player| player.consumed), Some(3));
        assert!(room.room.frozen().is_none());
    }
}

/// A recovery that goes without one does not have a rewind that is in the journal already mean another.
#[test]
fn what_is_passed_over_on_trial_keeps_its_number() {
    for ticks in [0, 3 * FORK_TICKS] {
        let mut room = room();
        room.room.pass_over_on_trial();
        room.must(Input::Swap { to: linked::<New>(), drops: [].into(), trial: TrialId(7) });
        room.must(message(order::ADD));
        room.room.pass_over_on_trial();
        (0..ticks).for_each(|_| room.tick());
        room.room.pass_over_on_trial();
        (0..2).for_each(|_| drop(room.must(message(order::ADD))));
        let last = u32::try_from(ticks).unwrap() + 5;
        let numbers: Vec<u32> = room.room.inputs_on_trial().map(|(number, ..)| number).collect();
        assert_eq!((numbers[0], &numbers[numbers.len() - 2..]), (1, &[last - 1, last][..]));
        assert!(!numbers.contains(&2) && !numbers.contains(&(last - 2)) && numbers.is_sorted());
        let mut told = Told::default();
        let input = Input::Rewind { without: [2, last - 1].into() };
        let rewound = room.room.step_watched(support::stamp(1), input, &mut room.outbox, &mut told);
        let Ok(Reply::Rewound(lost)) = rewound else { panic!("{rewound:?}") };
        assert!(matches!(lost[..], [Lost { player: PlayerId(1), number: 2, .. }]), "{lost:?}");
        let told: Vec<u32> = told.begun.iter().map(|(number, ..)| *number).collect();
        assert_eq!(told, numbers.into_iter().filter(|number| *number != last - 1).collect::<Vec<_>>());
    }
}

/// Counts goings and comings; on another version it fails on all of them.
#[derive(Row, Debug, Default)]
#[repr(C)]
struct Heard {
    drops: u32,
    reconnects: u32,
}

macro_rules! doors {
    ($($name:ident: $is_deaf:literal;)+) => {$(
        #[derive(World, Debug)]
        struct $name {
            heard: One<Heard>,
        }

        #[logic(linked)]
        impl Logic for $name {
            fn drop(&mut self, ctx: &mut Ctx, _player: PlayerId) {
                self.heard.drops += 1;
                ctx.broadcast(b"gone");
                assert!(!$is_deaf, "on purpose");
            }

            fn reconnect(&mut self, _ctx: &mut Ctx, _player: PlayerId) {
                self.heard.reconnects += 1;
                assert!(!$is_deaf, "on purpose");
            }

            fn query(&self, _request: &logic_api::Request) -> Option<logic_api::Response> {
                let Heard { drops, reconnects } = *self.heard;
                Some(logic_api::Response::text(format!("{drops} drops, {reconnects} reconnects")))
            }
        }
    )+};
}

doors! {
    Hears: false;
    Deaf: true;
    DeafToo: true;
}

/// As an engine does: what the logic fails on is true without it.
fn come_and_go(room: &mut Driver) {
    let player = PlayerId(1);
    for (input, is_connected) in [(Input::Drop { player }, false), (Input::Reconnect { player }, true)] {
        assert_eq!(room.fault(input).message, "on purpose");
        room.must(Input::Presence { player, is_connected });
    }
    room.fault(Input::Drop { player });
    room.must(Input::Presence { player, is_connected: false });
}

#[track_caller]
fn check_heard(from: &Arc<LogicVersion>, without: &[u32], told: &str, lost: usize) {
    let mut room = Driver::with(from, &Pool::new(), b"");
    room.must(join(1));
    room.must(Input::swap(linked::<Deaf>()));
    come_and_go(&mut room);
    let Reply::Rewound(found) = room.must(Input::Rewind { without: without.into() }) else { panic!("it is a rewind") };
    assert_eq!((found.len(), room.outputs().len()), (lost, 0), "{found:?}");
    let answer = room.room.query(&get("/")).unwrap().unwrap().body;
    assert_eq!(String::from_utf8(answer).unwrap(), told);
    assert_eq!(room.room.world().player(PlayerId(1)).map(|player| player.is_connected), Some(false));
    assert!(room.room.frozen().is_none());
}

#[test]
fn the_version_from_before_hears_the_goings_that_the_one_on_trial_failed_on() {
    check_heard(&linked::<Hears>(), &[], "2 drops, 1 reconnects", 0);
    // Neither does, and it is true all the same.
    check_heard(&linked::<DeafToo>(), &[], "0 drops, 0 reconnects", 0);
    // One ends the process.
    check_heard(&linked::<Hears>(), &[3], "1 drops, 1 reconnects", 1);
}

#[test]
fn a_tick_that_ends_the_process_in_a_rewind_freezes_the_room() {
    let mut room = room();
    room.must(Input::swap(linked::<New>()));
    (0..2).for_each(|_| room.tick());
    room.must(message(order::ADD));
    let Reply::Rewound(lost) = room.must(Input::Rewind { without: [2].into() }) else { panic!("it is a rewind") };
    assert!(matches!(lost[..], [Lost { callback: "tick", .. }, Lost { error: StepError::Frozen(_), .. }]), "{lost:?}");
    assert_eq!(room.room.frozen().map(|fault| fault.callback), Some("process"));
    assert_eq!((room.room.tick().0, version(&room)), (1, 1001));
    room.must(Input::swap(linked::<New>()));
    room.tick();
}
