//! Loads while something else happens: to the file, to the engine, or another load.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use engine::status::Outcome;
use rustix::process::Signal;

use super::{
    client,
    plugins::{good, sealed},
    refusals::start,
};
use crate::support::Engine;

const LOADS: usize = 60;

/// Loads again and again while `write` goes on, and checks that each load is done with a version that there is, or is refused
/// for one of these reasons. Some of both must have happened, or the test shows nothing.
fn check_while(write: impl Fn(&Engine, &[Vec<u8>; 2]) + Sync, codes: &[&str]) {
    let contents = [sealed(&good(1002, "game2")), sealed(&good(1003, "game3"))];
    let engine = start(&good(1001, "game1"));
    engine.put("plugin.so", &contents[0]);
    let ended = AtomicBool::new(false);
    let (mut done, mut refused) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                write(&engine, &contents);
            }
        });
        let mut running = engine.hello();
        while done + refused < LOADS || ((done == 0 || refused == 0) && done + refused < 100 * LOADS) {
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
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert!(done > 0 && refused > 0, "{done} were done, {refused} refused");
    assert!(engine.whole_status().versions.len() <= 3, "nothing but whole contents was mapped");
    engine.end();
}

#[test]
fn a_file_replaced_while_it_is_read_is_one_content_or_the_other() {
    let replace =
        |engine: &Engine, contents: &[Vec<u8>; 2]| contents.iter().for_each(|content| engine.put("plugin.so", content));
    check_while(replace, &["changed-while-read"]);
}

/// As `cp` does. A copy that stands still for as long as a load reads it cannot be told from one that was cut.
#[test]
fn a_file_rewritten_while_it_is_read_is_never_half_loaded() {
    let rewrite = |engine: &Engine, contents: &[Vec<u8>; 2]| {
        for content in contents {
            let mut file = File::create(engine.setup.plugins().join("plugin.so")).unwrap();
            content.chunks(content.len() / 8).for_each(|chunk| file.write_all(chunk).unwrap());
        }
    };
    check_while(rewrite, &["changed-while-read", "empty", "not-elf", "cut-short", "damaged"]);
}

/// As a linker does that writes into the file that is there: its size never changes.
#[test]
fn a_file_overwritten_while_it_is_read_is_never_half_loaded() {
    let overwrite = |engine: &Engine, contents: &[Vec<u8>; 2]| {
        assert_eq!(contents[0].len(), contents[1].len());
        for content in contents {
            let file = File::options().write(true).open(engine.setup.plugins().join("plugin.so")).unwrap();
            let chunk_bytes = content.len() / 8;
            for (number, chunk) in content.chunks(chunk_bytes).enumerate() {
                file.write_all_at(chunk, (number * chunk_bytes) as u64).unwrap();
            }
        }
    };
    check_while(overwrite, &["changed-while-read", "damaged"]);
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
