//! The engine killed, or a call on a file failing, between any two durable effects: what comes back is exactly the old or exactly
//! the new, and a version that was not confirmed gets no second trial.

use std::cell::RefCell;

use engine::points::Point;
use serde_json::Value;

use crate::client::{Reply, try_get};
use crate::players::client::{Client, Transport};
use crate::support::{Engine, Setup, in_time, moody};

const SERVE: &[&str] = &["serve"];
const ROOMS: [&str; 2] = ["main", "b"];
/// What an engine ends with when a call on a file has failed.
const FAILED_DISK: i32 = 74;

/// How the engine comes to a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Rooms are made.
    Create,
    /// Rooms are kept, and snapshots made of them.
    Keep,
    Load,
    Confirm,
    Rollback,
    /// Killed during a trial, and started again.
    Recovery,
}

/// What is found then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    /// 1001 runs, and nothing is known of 1002.
    Untried,
    /// 1001 runs, and 1002 has failed when the engine ended.
    Failed,
    /// 1001 runs, and 1002 has failed because somebody said so.
    RolledBack,
    /// 1002 runs.
    Confirmed,
}

/// Ways to a point, which time of those that the engine comes there it is, and what becomes of it. There is at least one.
fn cases(point: Point) -> Vec<(Way, u32, Becomes)> {
    use Becomes::{Confirmed, Failed, RolledBack, Untried};
    use Point as P;
    let both_rooms = |way, becomes| vec![(way, 1, becomes), (way, 2, becomes)];
    match point {
        P::SegmentCreated | P::SegmentWritten | P::SegmentSynced | P::SegmentRenamed | P::SegmentPlaced => {
            vec![(Way::Create, 1, Untried), (Way::Keep, 1, Untried)]
        }
        P::RotationSynced
        | P::SnapshotBegun
        | P::SnapshotCreated
        | P::SnapshotWritten
        | P::SnapshotSynced
        | P::SnapshotChecked
        | P::SnapshotRenamed
        | P::SnapshotPlaced
        | P::SnapshotPruned
        | P::SegmentRemoved
        | P::SegmentsForgotten => vec![(Way::Keep, 1, Untried)],
        P::VerdictsCreated | P::VerdictsWritten | P::VerdictsSynced => {
            vec![(Way::Load, 1, Untried), (Way::Confirm, 2, Failed), (Way::Rollback, 2, RolledBack)]
        }
        P::VerdictsRenamed | P::VerdictsPlaced => {
            vec![(Way::Load, 1, Failed), (Way::Confirm, 2, Confirmed), (Way::Rollback, 2, RolledBack)]
        }
        P::SwapApplied | P::SwapRecorded => both_rooms(Way::Load, Failed),
        P::SwapWritten | P::SwapTold | P::SwapSettled => vec![(Way::Load, 1, Failed)],
        P::ConfirmDecided => vec![(Way::Confirm, 1, Failed)],
        P::ConfirmApplied | P::ConfirmRecorded => both_rooms(Way::Confirm, Confirmed),
        P::ConfirmTold | P::ConfirmSettled => vec![(Way::Confirm, 1, Confirmed)],
        P::RewindApplied | P::RewindRecorded => both_rooms(Way::Rollback, Failed),
        P::RewindDecided | P::RewindTold | P::RewindSettled => vec![(Way::Rollback, 1, Failed)],
        P::FailedCreated | P::FailedWritten | P::FailedSynced => vec![(Way::Rollback, 1, Failed)],
        P::FailedRenamed | P::FailedPlaced => vec![(Way::Rollback, 1, RolledBack)],
        P::RecoveryReplayed | P::RecoveryEnded => both_rooms(Way::Recovery, Failed),
    }
}

/// Whether a call on a file comes just before the point, which may fail.
fn is_call(point: Point) -> bool {
    let of_files = ["segment", "snapshot", "verdicts", "failed", "rotation"];
    let is_of_file = of_files.iter().any(|file| point.name().starts_with(file));
    is_of_file && point != Point::SnapshotBegun
}

/// What was heard of an engine before it was gone.
#[derive(Debug, Default)]
struct Heard {
    /// For each room.
    asked: [u64; 2],
    answered: [u64; 2],
    token: Option<String>,
}

impl Heard {
    /// Counts in every room; false once the engine is gone.
    fn count(&mut self, engine: &Engine) -> bool {
        ROOMS.iter().enumerate().all(|(at, room)| {
            self.asked[at] += 1;
            let is_counted = is_acknowledged(engine, &format!("/count?room={room}"));
            self.answered[at] += u64::from(is_counted);
            is_counted
        })
    }
}

/// False where there is no answer, or only that the engine has no time for one.
fn is_acknowledged(engine: &Engine, target: &str) -> bool {
    match try_get(engine.address, target) {
        Ok(Reply { status: 200, body, .. }) => body.ends_with('\n'),
        Ok(reply) => {
            assert_eq!(reply.status, 503, "{target}: {reply:?}");
            false
        }
        Err(_gone) => false,
    }
}

fn setup(way: Way) -> Setup {
    let setup = Setup::new(moody(), &["game.1001.so", "plugin2.so"]);
    // On one thread: one room after the other.
    let setup = setup.with("rooms = [\"main\", \"b\"]\nroom_threads = 1\ntick_hz = 20\nprobation = \"10min\"");
    if way == Way::Keep { setup.with("snapshot_interval_ms = 100") } else { setup }
}

/// Up to the point, where the engine ends; what it ended with.
fn ended_at(way: Way, envs: &[(&str, &str)]) -> (Option<i32>, Setup, Heard) {
    let mut heard = Heard::default();
    let begin = |setup: Setup, envs| setup.start_to_die(SERVE, envs);
    if way == Way::Create {
        // The rooms' threads do not wait for their journals: it may have said where it listens.
        let (code, setup) = begin(setup(way), envs).ended();
        return (code, setup, heard);
    }
    let is_later = [Way::Keep, Way::Recovery].contains(&way);
    let engine = begin(setup(way), if is_later { &[] } else { envs });
    heard.token = Some(Client::open(engine.address, Transport::Tcp).join(b"ann").token);
    assert!(heard.count(&engine));
    if ![Way::Keep, Way::Load].contains(&way) {
        assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
        assert!(heard.count(&engine));
    }
    let target = match way {
        Way::Create | Way::Keep | Way::Recovery => None,
        Way::Load => Some("/load?name=plugin2.so"),
        Way::Confirm => Some("/api/v1/confirm"),
        Way::Rollback => Some("/api/v1/rollback?reason=ugly"),
    };
    assert!(!target.is_some_and(|target| is_acknowledged(&engine, target)), "nothing is acknowledged");
    let engine = if is_later { begin(engine.killed(), envs) } else { engine };
    if way == Way::Keep {
        let counting = RefCell::new(&mut heard);
        let is_gone = || !counting.borrow_mut().count(&engine);
        assert!(in_time(is_gone), "it does not come to the point\n{}", engine.log());
    }
    let (code, setup) = engine.ended();
    (code, setup, heard)
}

/// The next engine, and the journals that it leaves.
fn check_found(setup: Setup, heard: &Heard, becomes: Becomes) {
    let engine = setup.start();
    let version: u64 = if becomes == Becomes::Confirmed { 1002 } else { 1001 };
    for (at, room) in ROOMS.iter().enumerate() {
        let text = engine.get(&format!("/peek?room={room}"));
        let count: u64 = text.split(' ').next().unwrap().parse().unwrap();
        // As its `upgraded` counts.
        let upgraded = if version == 1002 { 100 } else { 0 };
        let counts = heard.answered[at] + upgraded..=heard.asked[at] + upgraded;
        assert!(counts.contains(&count), "in {room}: {text} of {heard:?}");
        assert!(text.ends_with(&format!(" in {version}\n")), "in {room}: {text}");
    }
    let status = engine.status();
    assert_eq!(status["trial"], Value::Null);
    for room in status["rooms"].as_array().unwrap() {
        assert_eq!((&room["version"], &room["state"]), (&version.into(), &"running".into()), "{room}");
    }
    if let Some(token) = &heard.token {
        let mut client = Client::open(engine.address, Transport::Tcp);
        assert!(client.resume(token).resumed);
    }
    let refusal = |reason: &str| {
        let (status, code, found) = engine.refusal("/load?name=plugin2.so");
        assert_eq!((status, code.as_str()), (409, "version-failed"), "{found}");
        assert!(found.contains(reason), "{found}");
    };
    match becomes {
        Becomes::Untried | Becomes::Confirmed => assert_eq!(engine.get("/load?name=plugin2.so"), "done\n"),
        Becomes::Failed => refusal(": the engine ended while it was being loaded or on trial; "),
        Becomes::RolledBack => refusal(": ugly; "),
    }
    let setup = engine.killed();
    setup.said(&["journal", "check"]);
    for room in ROOMS {
        setup.said(&["replay", "--verify", "--room", room]);
    }
}

/// Ends the engine at every point to which these ways lead.
fn check(ways: &[Way], variable: &str, ends_with: Option<i32>, is_meant: fn(Point) -> bool) {
    let mut count = 0;
    for point in Point::ALL.iter().copied().filter(|point| is_meant(*point)) {
        let all = cases(point);
        assert!(!all.is_empty(), "nothing leads to {}", point.name());
        for (way, time, becomes) in all.into_iter().filter(|(way, ..)| ways.contains(way)) {
            let at = format!("{}:{time}", point.name());
            // Shown if it fails.
            println!("{variable}={at} by {way:?}, which becomes {becomes:?}");
            let (code, setup, heard) = ended_at(way, &[(variable, &at)]);
            assert_eq!(code, ends_with, "{}", std::fs::read_to_string(setup.path("log")).unwrap());
            check_found(setup, &heard, becomes);
            count += 1;
        }
    }
    assert!(count >= 5);
}

#[test]
fn a_kill_at_each_step_of_a_snapshot_leaves_the_room_as_it_was() {
    check(&[Way::Create, Way::Keep], "HOTSEAT_KILL_AT", None, |_| true);
}

#[test]
fn a_kill_at_each_step_of_a_load_leaves_the_version_from_before() {
    check(&[Way::Load, Way::Recovery], "HOTSEAT_KILL_AT", None, |_| true);
}

#[test]
fn a_kill_at_each_step_of_a_verdict_leaves_all_rooms_on_one_side_of_it() {
    check(&[Way::Confirm, Way::Rollback], "HOTSEAT_KILL_AT", None, |_| true);
}

#[test]
fn a_call_that_fails_in_a_snapshot_ends_the_engine_as_a_kill_does() {
    check(&[Way::Create, Way::Keep], "HOTSEAT_FAIL_AT", Some(FAILED_DISK), is_call);
}

#[test]
fn a_call_that_fails_in_a_load_or_a_verdict_ends_the_engine_as_a_kill_does() {
    check(&[Way::Load, Way::Confirm, Way::Rollback], "HOTSEAT_FAIL_AT", Some(FAILED_DISK), is_call);
}
