//! Rooms with their journals on a disk in memory: players come, speak, lose their connection and go; messages and ticks panic;
//! versions are loaded, are bad, are confirmed and taken back; snapshots are made; and the process is killed, the machine loses
//! power or the disk fails, at any call on a file; or an input ends the process, new, found in a journal or applied once more. After
//! each start the rooms are compared with a model in which nothing faulty ever happened, and at the end with rooms that were only
//! ever given what was accepted.

mod black_box;
mod counts;
mod deadly;
mod deeds;
mod ends;
mod failures;
mod found;
mod game;
mod history;
mod model;
mod process;
mod progress;
mod run;
mod starts;
mod verdicts;

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use self::counts::Counts;
use self::game::Versions;
use self::run::simulate;

/// Seeds of every run of the tests; `scripts/simulate.sh` has more.
const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Says how to see it again when a seed fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "seed {seed} failed; run it alone: HOTSEAT_SEED={seed} cargo test -p engine --test journal simulation"
            );
        }
    }
}

#[test]
fn rooms_agree_with_a_model_whatever_happens_to_them_and_their_disk() {
    let alone = number("HOTSEAT_SEED");
    let seeds = alone.map_or(0..number("HOTSEAT_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let (next, total, versions) = (AtomicU64::new(seeds.start), Mutex::new(Counts::default()), Versions::linked());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                break;
            }
            let _named = Named(seed);
            let (hashes, counts) = simulate(seed, &versions);
            assert_eq!(simulate(seed, &versions).0, hashes, "the same seed gives the same worlds");
            total.lock().add(&counts);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let total = total.into_inner();
    println!("{} seeds: {total:?}", seeds.end - seeds.start);
    // A simulation in which something never happens proves nothing of it; few seeds may have few of it.
    if seeds.end - seeds.start >= SEEDS {
        total.check();
    }
}
