//! A column added to a million rows of 64 bytes: the pause, and the rewriting beside a copy of memory.

use crate::measure::{Bar, Report, in_turn, median, seconds};
use logic_api::prelude::*;
use room::plan::{Cancel, Rewrite};
use room::{Input, LogicVersion, Outbox, Pool, Room, Stamp};
use std::hint::black_box;
use std::sync::Arc;

const ROWS: u64 = 1_000_000;
const TURNS: usize = 15;
const STAMP: Stamp = Stamp { now_us: 1, seed: 42 };

mod old {
    use super::*;

    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        #[row(key)]
        number: u64,
        cargo: [u64; 7],
    }

    #[derive(World)]
    pub(super) struct Units {
        units: Table<Unit>,
    }

    #[logic(linked, version = 1)]
    impl Logic for Units {
        fn create(&mut self, _ctx: &mut Ctx, _config: &[u8]) {
            for number in 0..ROWS {
                self.units.insert(Unit { number, cargo: [number; 7] });
            }
        }

        /// Writes to one row in each of some pages.
        fn signal(&mut self, _ctx: &mut Ctx, _name: &str, bytes: &[u8]) {
            let rows_per_page = logic_api::abi::PAGE_BYTES / size_of::<Unit>();
            for number in (0..ROWS).step_by(rows_per_page * usize::from(bytes[0])) {
                self.units.find_mut(number).expect("it has all numbers").cargo[0] += 1;
            }
        }
    }
}

mod new {
    use super::*;

    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        #[row(key)]
        number: u64,
        cargo: [u64; 7],
        #[row(default = 100)]
        health: u64,
    }

    #[derive(World)]
    pub(super) struct Units {
        #[expect(dead_code, reason = "nothing runs on it: what counts is how it came about")]
        units: Table<Unit>,
    }

    #[logic(linked, version = 2)]
    impl Logic for Units {}
}

pub(crate) fn measure(report: &mut Report) {
    let version = |logic: Result<Arc<LogicVersion>, room::BadLogic>| logic.expect("a room can hold its tables");
    let (from, to) = (version(LogicVersion::linked::<old::Units>()), version(LogicVersion::linked::<new::Units>()));
    let mut outbox = Outbox::new();
    let mut room = Room::create("bench", from, &Pool::new(), STAMP, b"", &mut outbox).expect("the logic creates");
    let plan = Arc::new(room.plan_swap(&to, &[]));
    let rewrite = |room: &mut Room| {
        let mut rewrite = Rewrite::new(plan.clone(), to.clone(), Arc::default(), 1, usize::MAX);
        rewrite.update(&mut room.fork_world(), &Cancel::default()).expect("every row has its place");
        rewrite
    };

    let bytes = usize::try_from(ROWS).expect("a million") * 64;
    let (source, mut target) = (vec![1u8; bytes], vec![2u8; bytes]);
    let copy = || seconds(|| black_box(&mut target).copy_from_slice(black_box(&source)));
    let (ours, plain) = in_turn(TURNS, || seconds(|| rewrite(&mut room)), copy);
    report.add(
        "rewriting 1000000 rows of 64 B with a column more, throughput against a memcpy of them",
        plain / ours,
        "",
        Bar::AtLeast(0.3),
        format!("{:.1} ms / {:.1} ms, state hashes of the new pages included", plain * 1e3, ours * 1e3),
    );

    let mut pause = |prepared: bool, dirty_one_in: Option<u8>| {
        let pauses: Vec<f64> = (0..TURNS)
            .map(|_| {
                if prepared {
                    let rewrite = rewrite(&mut room);
                    room.prepare_swap(rewrite);
                }
                if let Some(one_in) = dirty_one_in {
                    let signal = Input::Signal { name: "touch".into(), bytes: [one_in].into() };
                    room.step(STAMP, signal, &mut outbox).expect("it writes");
                }
                let input = Input::swap(to.clone());
                let pause = seconds(|| room.step(STAMP, input, &mut outbox).expect("every row has its place"));
                drop(room.take_spent());
                room.step(STAMP, Input::rewind(), &mut outbox).expect("a version is on trial");
                drop(room.take_spent());
                pause
            })
            .collect();
        median(&pauses)
    };
    let (idle, tenth, all) = (pause(true, None), pause(true, Some(10)), pause(false, None));
    report.add(
        "swap pause where a column is added to 1000000 rows of 64 B, nothing written meanwhile",
        idle * 1e3,
        " ms",
        Bar::AtMost(1.0),
        format!("rewriting it all takes {:.1} ms", all * 1e3),
    );
    report.add(
        "the same where every tenth page was written to meanwhile, against rewriting it all",
        tenth / all * 100.0,
        " %",
        Bar::AtMost(15.0),
        format!("{:.2} ms / {:.1} ms", tenth * 1e3, all * 1e3),
    );
}
