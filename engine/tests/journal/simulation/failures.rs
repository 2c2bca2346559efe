//! Each of the first calls on files fails in turn: the rooms stop, say why, and acknowledge nothing any more; the next process finds
//! them where they were.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use engine::journal::Durability;
use logic_api::{PlayerId, Rng};
use room::{Input, Request, Stamp};

use super::game::{Versions, message, order};
use super::process::{DATA, Process, ROOMS};
use crate::disk::{Failure, MemoryDisk};
use crate::support::ON_PURPOSE;

/// Calls that fail in turn.
const CALLS: u64 = 500;
const STEPS: u64 = 350;
/// Everything that is asked of a file system.
const KINDS: [&str; 14] = [
    "append",
    "create",
    "list",
    "make_folder",
    "map",
    "open",
    "read",
    "remove",
    "remove_folder",
    "rename",
    "sync",
    "sync_folder",
    "truncate",
    "reader",
];

/// What a run came to: the place that was acknowledged, that which survives the machine, and why it stopped.
#[derive(Debug, Default)]
struct Came {
    acknowledged: u64,
    safe: u64,
    told: Option<String>,
    /// The state hash after each input of this process; none where a call is to fail.
    hashes: Vec<u64>,
}

pub(super) fn stamp(number: u64) -> Stamp {
    Stamp { now_us: 1_000_000 + number * 50_000, seed: number }
}

pub(super) fn input(number: u64) -> Input {
    let player = PlayerId(1 + number % 3);
    match number {
        0..3 => Input::Join { player, hello: b"ann"[..].into(), claims: "".into() },
        _ if number.is_multiple_of(3) => Input::Tick,
        _ if number % 11 == 1 => {
            Input::Request(Request { method: "GET".into(), path: "/count".into(), ..Request::default() }.into())
        }
        _ => {
            let what = [order::ADD, order::NOTE, order::TIMER][number as usize % 3];
            let bytes = message(what, number as u8 % 20, number).into();
            Input::Message { player, number: number as u32, bytes }
        }
    }
}

/// A room that has been going for a while, whose process was killed in the middle of a write; beside it what others have left.
pub(super) fn begun(versions: &Versions) -> MemoryDisk {
    let disk = MemoryDisk::default();
    let mut process = Process::start(disk.clone(), Durability::Tick).unwrap();
    process.create(0, versions, stamp(0), &Input::Create { config: [].into() });
    for number in 0..20 {
        process.step(0, stamp(number), input(number)).unwrap();
        if number == 19 {
            disk.end_at(disk.calls(), 128);
        }
        process.release(0, 0);
        if number % 8 == 7 {
            process.snapshot(0);
        }
    }
    let disk = disk.at_end().0.after_kill();
    let rooms = Path::new(DATA).join("rooms");
    disk.put(&rooms.join(".gone.gone/00000000000000000001.journal"), b"gone".to_vec());
    disk.put(&rooms.join(ROOMS[0]).join("room.json.tmp"), b"half".to_vec());
    disk
}

/// One process, from its start to its end or to the first call that fails.
fn go_on(disk: &MemoryDisk, durability: Durability, versions: &Versions) -> Came {
    let mut came = Came::default();
    let recovered =
        Process::start(disk.clone(), durability).and_then(|process| Ok((process.recover(0, versions)?, process)));
    let (recovered, mut process) = match recovered {
        Ok((recovered, process)) => (recovered.expect("the room is there"), process),
        Err(told) => return Came { told: Some(told), ..came },
    };
    let first = recovered.room.seq().0;
    (came.acknowledged, came.safe) = (first, first);
    process.go_on(0, recovered, first as usize);
    for number in first..first + STEPS {
        process.step(0, stamp(number), input(number)).unwrap();
        if disk.fails_at() == u64::MAX {
            came.hashes.push(process.room(0).state_hash());
        }
        let seq = process.room(0).seq().0;
        process.release(0, seq as usize);
        if number % 8 == 7 {
            process.snapshot(0);
        }
        if number % 5 == 4 && process.flush() {
            came.safe = seq;
        }
        came.told = process.failure();
        if came.told.is_some() {
            break;
        }
    }
    let acknowledged = process.acknowledged.lock();
    came.acknowledged = acknowledged.iter().map(|told| told.place as u64).max().unwrap_or(0);
    if came.told.is_some() {
        let last = acknowledged.iter().map(|told| told.calls).max().unwrap_or(0);
        assert!(last <= disk.fails_at(), "something is acknowledged after the call that failed");
    }
    if durability == Durability::Tick {
        came.safe = came.acknowledged;
    }
    came
}

/// The next process has the room where it was when it had that state hash, and no earlier than `least`.
fn check_next(disk: &MemoryDisk, least: u64, (first, hashes): (u64, &[u64]), versions: &Versions) {
    let next = Process::start(disk.clone(), Durability::Tick).unwrap();
    let mut room = next.recover(0, versions).unwrap().expect("the room is there").room;
    let seq = room.seq().0;
    assert!(seq >= least, "the room is at {seq}, and {least} was acknowledged");
    assert_eq!(room.state_hash(), hashes[(seq - first) as usize], "at {seq}");
}

fn check(durability: Durability) {
    let versions = Versions::linked();
    let begun = begun(&versions);
    // What nothing happens to comes to these.
    let plain = begun.after_kill();
    let start = Process::start(plain.after_kill(), durability).unwrap().recover(0, &versions).unwrap().unwrap();
    let (first, mut room) = (start.room.seq().0, start.room);
    let whole = go_on(&plain, durability, &versions);
    assert_eq!((whole.told, whole.acknowledged), (None, first + STEPS));
    assert!(plain.calls() > CALLS, "{} calls", plain.calls());
    let hashes = [vec![room.state_hash()], whole.hashes].concat();
    let mut kinds = BTreeSet::new();
    for failure in [Failure::Io, Failure::NoSpace, Failure::Short] {
        for call in 0..CALLS {
            let disk = begun.after_kill();
            // Where all calls after it fail, too, the next one tells what this one may not have told.
            match failure {
                Failure::Io => disk.fail_once_at(call, failure),
                _ => disk.fail_at(call, failure),
            }
            let came = go_on(&disk, durability, &versions);
            let (kind, path) = disk.failed().expect("it comes to that call");
            kinds.insert(kind);
            // A snapshot that cannot be read is passed over: there is another, or the journal.
            let is_passed_over = kind == "reader" && path.extension().is_some_and(|kind| kind == "snapshot");
            match came.told {
                Some(told) => {
                    let path = path.to_str().unwrap();
                    let is_it = told.contains(path) || is_passed_over && failure != Failure::Io;
                    assert!(is_it && told.contains("os error"), "call {call} ({kind} {path}): {told}");
                }
                None => assert!(
                    is_passed_over && came.acknowledged == first + STEPS,
                    "call {call} ({kind} {path:?}) fails with {failure:?}; nobody is told"
                ),
            }
            // Within some time, what was acknowledged survives the process; the machine, what was there at the last sync.
            check_next(&disk.after_kill(), came.acknowledged.max(first), (first, &hashes), &versions);
            let cut = disk.after_power_cut(&mut Rng::new(call));
            check_next(&cut, came.safe.max(first), (first, &hashes), &versions);
        }
    }
    assert_eq!(kinds, BTreeSet::from(KINDS));
}

#[test]
fn after_a_call_that_failed_nothing_is_acknowledged_at_tick() {
    check(Durability::Tick);
}

#[test]
fn after_a_call_that_failed_nothing_is_acknowledged_within_some_time() {
    check(Durability::Within(Duration::from_secs(24 * 3600)));
}

/// A room that goes on, at the first place where a snapshot may be made of it.
fn at_snapshot(begun: &MemoryDisk, durability: Durability, versions: &Versions) -> (Process, u64) {
    let mut process = Process::start(begun.after_kill(), durability).unwrap();
    let recovered = process.recover(0, versions).unwrap().unwrap();
    let next = recovered.room.seq().0;
    process.go_on(0, recovered, next as usize);
    (process, next)
}

/// As the room goes on, whatever has happened; what of it is let go.
fn let_go_after(mut process: Process, next: u64) -> usize {
    let before = process.acknowledged.lock().len();
    for number in next..next + 3 {
        process.step(0, stamp(number), input(number)).unwrap();
        process.release(0, number as usize);
    }
    let after = process.acknowledged.lock().len();
    after - before
}

/// Though all other calls go well, and whoever is told does not end the process; and be it a panic.
#[test]
fn after_a_snapshot_that_failed_nothing_is_let_go() {
    let versions = Versions::linked();
    let begun = begun(&versions);
    for durability in [Durability::Tick, Durability::Within(Duration::from_secs(24 * 3600))] {
        let snapshot = |failing: Option<(u64, Failure)>| {
            let (mut process, next) = at_snapshot(&begun, durability, &versions);
            process.step(0, stamp(next), input(next)).unwrap();
            process.release(0, next as usize);
            let first = process.disk.calls();
            failing.iter().for_each(|(call, failure)| process.disk.fail_once_at(*call, *failure));
            process.snapshot(0);
            (first..process.disk.calls(), process, next + 1)
        };
        let (calls, process, next) = snapshot(None);
        assert_eq!((process.failure(), let_go_after(process, next)), (None, 3));
        assert!(calls.end - calls.start > 15);
        for (call, failure) in calls.flat_map(|call| [(call, Failure::Io), (call, Failure::Panic)]) {
            let (_, process, next) = snapshot(Some((call, failure)));
            let (kind, path) = process.disk.failed().unwrap();
            if kind == "reader" && failure == Failure::Io && path.extension().is_some_and(|kind| kind == "snapshot") {
                // One that was there before, and cannot be read now: there is another, and the journal.
                assert!(process.disk.paths().contains(&path), "it is left where it is");
                assert_eq!((process.failure(), let_go_after(process, next)), (None, 3));
                continue;
            }
            let told = process.failure().unwrap_or_else(|| panic!("nobody is told of call {call} ({kind} {path:?})"));
            let expected = if failure == Failure::Panic { ON_PURPOSE } else { path.to_str().unwrap() };
            assert!(told.contains(expected), "call {call} ({kind} {path:?}): {told}");
            let paths = process.disk.paths();
            let is_clean = !paths.iter().any(|path| path.extension().is_some_and(|kind| kind == "tmp"));
            assert!(is_clean || failure == Failure::Panic, "call {call} ({kind} {path:?}) leaves {paths:?}");
            assert_eq!(let_go_after(process, next), 0, "call {call} ({kind} {path:?}, {failure:?})");
        }
    }
}

/// The call that failed was on a file that all rooms depend on.
#[test]
fn after_a_verdict_that_failed_nothing_is_let_go() {
    let versions = Versions::linked();
    let begun = begun(&versions);
    for durability in [Durability::Tick, Durability::Within(Duration::from_secs(24 * 3600))] {
        let (process, next) = at_snapshot(&begun, durability, &versions);
        process.fail("/data/verdicts.json");
        assert!(process.failure().unwrap().starts_with("syncing /data/verdicts.json failed: "));
        assert_eq!(let_go_after(process, next), 0);
    }
}
