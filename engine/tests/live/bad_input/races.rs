//! Loads while something else happens: to the file, to the engine, or another load.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use engine::status::Outcome;
use rustix::process::Signal;

use super::{
    plugins::{good, sealed},
    refusals::start,
};
use crate::client;
use crate::support::Engine;

const LOADS: usize = 60;

/// What a writer of the file asks between two of its writes: whether it shall go on.
struct Turns {
    /// Loads that were answered.
    answered: AtomicUsize,
    /// Times that the writer did all that it does. A disk can be so slow that no load of many meets anything but a file that
    /// is being cut to nothing.
    rounds: AtomicUsize,
    ended: AtomicBool,
}

/// Loads answered while the writer writes without a pause, before it stands still.
const LOADS_IN_THE_RACE: usize = 4;

impl Turns {
    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::SeqCst)
    }

    /// Returns when `count` more loads are answered, or all are.
    fn wait_for(&self, count: usize) {
        let until = self.answered.load(Ordering::SeqCst) + count;
        while self.goes_on() && self.answered.load(Ordering::SeqCst) < until {
            thread::yield_now();
        }
    }

    /// Leaves the file as it is for one load from its beginning to its end: the first answer may be to an earlier one.
    fn stand_still(&self) {
        self.wait_for(2);
    }

    /// Writes without a pause for some loads.
    fn race(&self, mut write: impl FnMut()) {
        let until = self.answered.load(Ordering::SeqCst) + LOADS_IN_THE_RACE;
        while self.goes_on() && self.answered.load(Ordering::SeqCst) < until {
            write();
        }
    }
}

/// Loads again and again while `write` goes on, and checks that each load is done with a version that there is, or is refused
/// for one of these reasons. Says how many were done and refused.
fn check_while(write: impl Fn(&Engine, &[Vec<u8>; 2], &Turns) + Sync, codes: &[&str]) -> (usize, usize) {
    let contents = [sealed(&good(1002, "game2")), sealed(&good(1003, "game3"))];
    let engine = start(&good(1001, "game1"));
    engine.put("plugin.so", &contents[0]);
    let turns = Turns { answered: AtomicUsize::new(0), rounds: AtomicUsize::new(0), ended: AtomicBool::new(false) };
    let (mut done, mut refused) = (0, 0);
    thread::scope(|scope| {
        let _end = EndAtLast(&turns);
        scope.spawn(|| {
            while turns.goes_on() {
                write(&engine, &contents, &turns);
                turns.rounds.fetch_add(1, Ordering::SeqCst);
            }
        });
        let mut running = engine.hello();
        while done + refused < LOADS || turns.rounds.load(Ordering::SeqCst) == 0 {
            let answer = engine.send("GET", "/load?name=plugin.so", &[]);
            if answer.status == 200 {
                done += 1;
                let loaded = answer.json();
                running = format!("{} {}", loaded["name"].as_str().unwrap(), loaded["version"]);
                assert!(["game2 1002", "game3 1003"].contains(&running.as_str()), "{running}");
            } else {
                refused += 1;
                assert!(codes.contains(&answer.code().as_str()), "{answer:?}");
                if answer.code() == "changed-while-read" {
                    let reason = "plugin.so changed while it was being read; load it again";
                    assert_eq!((answer.status, answer.reason().as_str()), (409, reason));
                }
            }
            assert_eq!(engine.hello(), running, "the version that answers is the one that was reported");
            turns.answered.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert!(engine.whole_status().versions.len() <= 3, "nothing but whole contents was mapped");
    engine.end();
    (done, refused)
}

/// Ends the turns when it goes: an assertion that fails must not leave the writer at it for ever.
struct EndAtLast<'a>(&'a Turns);

impl Drop for EndAtLast<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
    }
}

/// How the file is written: all in turns without a pause, then whole for a load, then half for a load.
fn write_in_place(file: impl Fn(&Engine) -> File, contents: &[Vec<u8>; 2], engine: &Engine, turns: &Turns) {
    let write = |content: &[u8], between: &dyn Fn(usize)| {
        let file = file(engine);
        let chunk_bytes = content.len() / 8;
        for (number, chunk) in content.chunks(chunk_bytes).enumerate() {
            file.write_all_at(chunk, (number * chunk_bytes) as u64).unwrap();
            between(number);
        }
    };
    turns.race(|| contents.iter().for_each(|content| write(content, &|_| ())));
    turns.stand_still();
    write(&contents[0], &|number| {
        if number == 4 {
            turns.stand_still()
        }
    });
}

#[test]
fn a_file_replaced_while_it_is_read_is_one_content_or_the_other() {
    let replace = |engine: &Engine, contents: &[Vec<u8>; 2], turns: &Turns| {
        turns.race(|| contents.iter().for_each(|content| engine.put("plugin.so", content)));
        turns.stand_still();
    };
    let (done, _) = check_while(replace, &["changed-while-read"]);
    assert!(done > 0);
}

/// As `cp` does. A copy that stands still for as long as a load reads it cannot be told from one that was cut.
#[test]
fn a_file_rewritten_while_it_is_read_is_never_half_loaded() {
    let file = |engine: &Engine| File::create(engine.setup.plugins().join("plugin.so")).unwrap();
    let rewrite =
        |engine: &Engine, contents: &[Vec<u8>; 2], turns: &Turns| write_in_place(file, contents, engine, turns);
    let (done, refused) = check_while(rewrite, &["changed-while-read", "empty", "not-elf", "cut-short", "damaged"]);
    assert!(done > 0 && refused > 0, "{done} were done, {refused} refused");
}

/// As a linker does that writes into the file that is there: its size never changes.
#[test]
fn a_file_overwritten_while_it_is_read_is_never_half_loaded() {
    let file = |engine: &Engine| File::options().write(true).open(engine.setup.plugins().join("plugin.so")).unwrap();
    let overwrite = |engine: &Engine, contents: &[Vec<u8>; 2], turns: &Turns| {
        assert_eq!(contents[0].len(), contents[1].len());
        write_in_place(file, contents, engine, turns);
    };
    let (done, refused) = check_while(overwrite, &["changed-while-read", "damaged"]);
    assert!(done > 0 && refused > 0, "{done} were done, {refused} refused");
}

#[test]
fn two_loads_at_once_are_carried_out_one_after_the_other() {
    let engine = start(&good(1001, "game1"));
    engine.put("plugin2.so", &good(1002, "game2"));
    engine.put("plugin3.so", &good(1003, "game3"));
    for round in 1..=10 {
        thread::scope(|scope| {
            for name in ["plugin2.so", "plugin3.so"] {
                let engine = &engine;
                scope.spawn(move || engine.must_load(name));
            }
        });
        let swaps = engine.whole_status().swaps;
        assert_eq!(swaps.len(), 2 * round);
        assert!(swaps.iter().all(|swap| swap.outcome == Outcome::Confirmed));
        let to: Vec<_> = swaps.iter().map(|swap| swap.to.clone().unwrap()).collect();
        assert_ne!(to[0], to[1], "both were carried out");
        assert_eq!(engine.hello(), format!("{} {}", to[0].name, to[0].version), "the last one runs");
        for (later, earlier) in swaps.iter().zip(&swaps[1..]) {
            assert_eq!(later.from, earlier.to, "each began where the one before had ended");
        }
    }
    engine.end();
}

#[test]
fn a_load_during_the_end_is_done_or_refused_and_the_end_is_in_order() {
    for after in [0, 1, 3, 8] {
        let engine = start(&good(1001, "game1"));
        engine.put("plugin2.so", &good(1002, "game2"));
        let load = || match client::try_get(engine.address, "/load?name=plugin2.so") {
            Ok(answer) if answer.status == 503 => assert_eq!(answer.code(), "engine-stopping"),
            Ok(answer) => assert_eq!(answer.status, 200, "{answer:?}"),
            // The listener was closed before it was reached.
            Err(_) => {}
        };
        thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(load)));
            (0..after).for_each(|_| load());
            engine.signal(Signal::TERM);
            (0..4).for_each(|_| drop(scope.spawn(load)));
        });
        let (code, setup) = engine.ended();
        assert_eq!(code, Some(0));
        let left = fs::read_dir(setup.data().join("versions")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{left:?}");
    }
}
