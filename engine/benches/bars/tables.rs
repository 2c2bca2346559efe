//! Tables in a loaded plugin, beside `Vec` and `hashbrown::HashMap` linked in.

use crate::measure::{Bar, Report, in_turn, median, seconds};
use bench_logic::{Unit, operation};
use hashbrown::HashMap;
use logic_api::{PlayerId, Rng};
use room::{Input, LogicVersion, Outbox, Output, Pool, Room, Stamp};
use std::{hint::black_box, sync::Arc};

const PLAYER: PlayerId = PlayerId(1);
const STAMP: Stamp = Stamp { now_us: 1, seed: 42 };

/// A room with the bench's logic, driven by messages.
pub(crate) struct Driver {
    pub(crate) room: Room,
    outbox: Outbox,
    number: u32,
}

impl Driver {
    pub(crate) fn new(logic: Arc<LogicVersion>) -> Self {
        let mut outbox = Outbox::new();
        let mut room = Room::create("bench", logic, &Pool::new(), STAMP, b"", &mut outbox).expect("the logic creates");
        room.step(STAMP, Input::Join { player: PLAYER, hello: [].into(), claims: "".into() }, &mut outbox)
            .expect("the logic lets in");
        Self { room, outbox, number: 0 }
    }

    pub(crate) fn message(operation: u8, numbers: impl Iterator<Item = u64>) -> Input {
        let mut bytes = vec![operation];
        numbers.for_each(|number| bytes.extend(number.to_le_bytes()));
        Input::Message { player: PLAYER, number: 0, bytes: bytes.into() }
    }

    /// Gives a message its number.
    pub(crate) fn step(&mut self, input: &Input) {
        let mut input = input.clone();
        if let Input::Message { number, .. } = &mut input {
            self.number += 1;
            *number = self.number;
        }
        self.room.step(STAMP, input, &mut self.outbox).expect("the logic does not fail");
    }

    /// The numbers that the last message was answered with.
    fn answer(&mut self) -> Vec<u64> {
        let bytes = self.outbox.drain().find_map(|output| match output {
            Output::Send { bytes, .. } => Some(bytes),
            _ => None,
        });
        let bytes = bytes.expect("an answer");
        bytes.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number)).collect()
    }

    /// A room with units of these numbers, and their ids.
    pub(crate) fn filled(logic: Arc<LogicVersion>, rows: u64) -> (Self, Vec<u64>) {
        let mut driver = Self::new(logic);
        driver.step(&Self::message(operation::FILL, 0..rows));
        let ids = driver.answer();
        (driver, ids)
    }
}

pub(crate) fn measure(report: &mut Report) {
    let logic = crate::loads::bench_logic();
    for (rows, bar) in [(100_000, 0.92), (1_000_000, 0.95)] {
        let (mut driver, _) = Driver::filled(logic.clone(), rows);
        let mut units: Vec<Unit> = (0..rows).map(Unit::new).collect();
        let pass = Driver::message(operation::PASS, std::iter::empty());
        let ours = || seconds(|| driver.step(&pass));
        let theirs = || seconds(|| black_box(&mut units).iter_mut().for_each(Unit::advance));
        let (ours, theirs) = in_turn(200, ours, theirs);
        let what = format!("writing pass over {rows} rows of 64 B in a `.so`, speed against a `Vec` linked in");
        report.add(&what, theirs / ours, "", Bar::AtLeast(bar), format!("{} / {}", ms(theirs), ms(ours)));
    }
    let rows = 1_000_000;
    let (mut driver, ids) = Driver::filled(logic, rows);
    measure_lookups(report, &mut driver, &ids);
    measure_changes(report, &mut driver, rows);
    measure_fork(report, &mut driver, rows);
}

fn shuffled(numbers: impl Iterator<Item = u64>, seed: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = numbers.collect();
    Rng::new(seed).shuffle(&mut numbers);
    numbers
}

fn measure_lookups(report: &mut Report, driver: &mut Driver, ids: &[u64]) {
    let rows = ids.len() as u64;
    let order = shuffled(0..rows, 7);
    let map: HashMap<u64, Unit> = (0..rows).map(|number| (number, Unit::new(number))).collect();
    let by_id = Driver::message(operation::GET, order.iter().map(|number| ids[*number as usize]));
    let by_key = Driver::message(operation::FIND, order.iter().copied());
    let in_map =
        || seconds(|| order.iter().filter_map(|number| map.get(number)).map(|unit| unit.cargo[3]).sum::<u64>());
    for (what, input, bar) in [("`Id<T>`", by_id, 0.8), ("key", by_key, 1.3)] {
        let ours = || {
            let time = seconds(|| driver.step(&input));
            driver.answer();
            time
        };
        let (ours, theirs) = in_turn(20, ours, in_map);
        let what = format!("random get by {what} among {rows} rows, time against `hashbrown::HashMap<u64, Row>`");
        report.add(&what, ours / theirs, " ×", Bar::AtMost(bar), each(ours, theirs, rows));
    }
}

fn measure_changes(report: &mut Report, driver: &mut Driver, rows: u64) {
    // Rows come and go: each step removes a random one and inserts one with a new key.
    let mut map: HashMap<u64, Unit> = (0..rows).map(|number| (number, Unit::new(number))).collect();
    let mut keys = shuffled(0..rows, 9);
    let mut next = rows;
    let mut pairs = Vec::new();
    for turn in 0..12u64 {
        let mut rng = Rng::new(turn);
        let pairs_of_turn: Vec<(u64, u64)> = (0..rows / 4)
            .map(|_| {
                let at = rng.below(rows) as usize;
                next += 1;
                (std::mem::replace(&mut keys[at], next), next)
            })
            .collect();
        pairs.push(pairs_of_turn);
    }
    let (mut ours_turn, mut theirs_turn) = (pairs.iter(), pairs.iter());
    let ours = || {
        let pairs = ours_turn.next().expect("a turn");
        let input = Driver::message(operation::TURN_OVER, pairs.iter().flat_map(|(old, new)| [*old, *new]));
        seconds(|| driver.step(&input))
    };
    let theirs = || {
        let pairs = theirs_turn.next().expect("a turn");
        seconds(|| {
            for (old, new) in pairs {
                map.remove(old);
                map.insert(*new, Unit::new(*new));
            }
        })
    };
    let (ours, theirs) = in_turn(11, ours, theirs);
    let what = format!("insert + remove among {rows} rows, time against the same map");
    report.add(&what, ours / theirs, " ×", Bar::AtMost(2.0), each(ours, theirs, rows / 4));
}

fn measure_fork(report: &mut Report, driver: &mut Driver, rows: u64) {
    let pass = Driver::message(operation::PASS, std::iter::empty());
    let (from, mut to) = (vec![1u8; 64 * rows as usize], vec![0u8; 64 * rows as usize]);
    let (mut forks, mut without, mut with, mut copies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..30 {
        without.push(seconds(|| driver.step(&pass)));
        let mut fork = None;
        forks.push(seconds(|| fork = Some(driver.room.fork_world())));
        with.push(seconds(|| driver.step(&pass)));
        drop(fork);
        // Once more, so that all pages are unshared again before the next turn's pass.
        driver.step(&pass);
        copies.push(seconds(|| black_box(&mut to).copy_from_slice(black_box(&from))));
    }
    let (without, with, copy) = (median(&without[1..]), median(&with[1..]), median(&copies[1..]));
    let fork = median(&forks[1..]) * 1e6;
    let detail = format!("{} pages", driver.room.world().size().pages);
    report.add(&format!("fork of {rows} rows"), fork, " µs", Bar::AtMost(100.0), detail);
    let what =
        format!("what a writing pass over all {rows} rows costs more after a fork, against a memcpy of the table");
    let detail = format!("({} - {}) / {}", ms(with), ms(without), ms(copy));
    report.add(&what, (with - without) / copy, " ×", Bar::AtMost(1.0), detail);
}

fn ms(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}

fn each(ours: f64, theirs: f64, count: u64) -> String {
    let each = |seconds: f64| seconds * 1e9 / count as f64;
    format!("{:.1} ns / {:.1} ns", each(ours), each(theirs))
}
