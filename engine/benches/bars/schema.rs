//! Columns that are added to a million rows, and taken away: the pause, the rewriting beside a copy of memory; and a crowd that plays
//! on meanwhile.

use crate::measure::{Bar, Report, in_turn, median, seconds};
use crate::server::Engine;
use crate::sockets;
use logic_api::prelude::*;
use room::plan::{Cancel, Plan, Rewrite};
use room::{Input, LogicVersion, Outbox, Pool, Room, Stamp};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use swarm::{Options, Pace, Swaps};

const ROWS: u64 = 1_000_000;
const TURNS: usize = 15;
const STAMP: Stamp = Stamp { now_us: 1, seed: 42 };

const TALLY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tally");
/// Between them a field is renamed, two are wider, and two and a table come and go.
const THERE: &str = "plugin2.so";
const BACK: &str = "plugin1.so?drop=Score.lives&drop=Score.mean&drop=Score.bytes&drop=story";

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

/// Rows with a text each.
mod named {
    use super::*;

    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        number: u64,
        name: Text,
    }

    #[derive(World)]
    pub(super) struct Units {
        units: Table<Unit>,
    }

    #[logic(linked, version = 1)]
    impl Logic for Units {
        fn create(&mut self, _ctx: &mut Ctx, _config: &[u8]) {
            for number in 0..ROWS {
                self.units.insert(Unit { number, name: Text::new(&format!("unit {number}")) });
            }
        }

        /// Gives one unit in some thousand another name.
        fn signal(&mut self, _ctx: &mut Ctx, _name: &str, bytes: &[u8]) {
            for mut unit in self.units.iter_mut().step_by(usize::from(bytes[0]) * 4000) {
                unit.name = Text::new("renamed");
            }
        }
    }
}

mod nameless {
    use super::*;

    #[derive(Row)]
    #[repr(C)]
    #[row(dropped("name"))]
    pub(super) struct Unit {
        number: u64,
    }

    #[derive(World)]
    pub(super) struct Units {
        #[expect(dead_code, reason = "nothing runs on it: what counts is how it came about")]
        units: Table<Unit>,
    }

    #[logic(linked, version = 2)]
    impl Logic for Units {}
}

/// A room that is swapped from one version to another, again and again.
struct Change {
    room: Room,
    to: Arc<LogicVersion>,
    plan: Arc<Plan>,
}

impl Change {
    fn new<From: Logic, To: Logic>() -> Self {
        let version = |logic: Result<Arc<LogicVersion>, room::BadLogic>| logic.expect("a room can hold its tables");
        let (from, to) = (version(LogicVersion::linked::<From>()), version(LogicVersion::linked::<To>()));
        let created = Room::create("bench", from, &Pool::new(), STAMP, b"", &mut Outbox::new());
        let room = created.expect("the logic creates");
        let plan = Arc::new(room.plan_swap(&to, &[]));
        Self { room, to, plan }
    }

    fn rewrite(&mut self) -> Rewrite {
        let mut rewrite = Rewrite::new(self.plan.clone(), self.to.clone(), Arc::default(), 1, usize::MAX);
        rewrite.update(&mut self.room.fork_world(), &Cancel::default()).expect("every row has its place");
        rewrite
    }

    /// Seconds, median; with the rewriting done before, and one page in so many written to after that.
    fn pause(&mut self, is_prepared: bool, dirty_one_in: Option<u8>) -> f64 {
        let mut outbox = Outbox::new();
        let pauses: Vec<f64> = (0..TURNS)
            .map(|_| {
                if is_prepared {
                    let rewrite = self.rewrite();
                    self.room.prepare_swap(rewrite);
                }
                if let Some(one_in) = dirty_one_in {
                    let signal = Input::Signal { name: "touch".into(), bytes: [one_in].into() };
                    self.room.step(STAMP, signal, &mut outbox).expect("it writes");
                }
                let input = Input::swap(self.to.clone());
                let room = &mut self.room;
                let pause = seconds(|| room.step(STAMP, input, &mut outbox).expect("every row has its place"));
                drop(room.take_spent());
                room.step(STAMP, Input::rewind(), &mut outbox).expect("a version is on trial");
                drop(room.take_spent());
                pause
            })
            .collect();
        median(&pauses)
    }
}

pub(crate) fn measure(report: &mut Report) {
    column_added(report);
    text_dropped(report);
    crowd(report);
}

fn column_added(report: &mut Report) {
    let mut change = Change::new::<old::Units, new::Units>();
    let bytes = usize::try_from(ROWS).expect("a million") * 64;
    let (source, mut target) = (vec![1u8; bytes], vec![2u8; bytes]);
    let copy = || seconds(|| black_box(&mut target).copy_from_slice(black_box(&source)));
    let (ours, plain) = in_turn(TURNS, || seconds(|| change.rewrite()), copy);
    report.add(
        "rewriting 1000000 rows of 64 B with a column more, throughput against a memcpy of them",
        plain / ours,
        "",
        Bar::AtLeast(0.3),
        format!("{:.1} ms / {:.1} ms, state hashes of the new pages included", plain * 1e3, ours * 1e3),
    );
    let (idle, tenth, all) = (change.pause(true, None), change.pause(true, Some(10)), change.pause(false, None));
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

/// The texts of a column that goes are freed, too.
fn text_dropped(report: &mut Report) {
    let mut change = Change::new::<named::Units, nameless::Units>();
    let (idle, dirty, all) = (change.pause(true, None), change.pause(true, Some(10)), change.pause(false, None));
    report.add(
        "swap pause where a `Text` goes from 1000000 rows, nothing written meanwhile",
        idle * 1e3,
        " ms",
        Bar::AtMost(1.0),
        format!("{:.2} ms with every tenth page of rows written to; all of it takes {:.0} ms", dirty * 1e3, all * 1e3),
    );
}

/// A thousand players, and their tables change every second.
fn crowd(report: &mut Report) {
    const CHANGES: u64 = 20;
    let builds: [&[&str]; 2] = [&["--crate", TALLY, "1"], &["--crate", TALLY, "2"]];
    let engine = Engine::start_with(&builds, "tick_hz = 20\nplayers_max = 16384\n");
    let run = sockets::run(&Options {
        players: 1000,
        pace: Pace::PerSecond(10.0),
        // The last has time to end.
        duration: Duration::from_secs(CHANGES) + Duration::from_millis(900),
        swaps: Some(Swaps {
            every: Duration::from_secs(1),
            between: [THERE, BACK].map(|text| text.parse().expect("a plugin")).into(),
            margin: Duration::from_millis(100),
            token: None,
        }),
        ..sockets::options(engine.server.address)
    });
    let (swaps, messages) = (run.swaps.as_ref().expect("asked for"), &run.messages);
    assert!(swaps.refused.is_empty() && swaps.done as u64 >= CHANGES, "{run}");
    let told = engine.get("/tally");
    assert!(told.starts_with(&format!("1000 scores, {} hits, ", messages.sent)), "{told} of {run}");
    let wrong = messages.lost + messages.duplicated + messages.out_of_order + messages.damaged + messages.failed;
    report.add(
        &format!(
            "1,000 players, 10 messages/s each, through {} changes of their tables: disconnects, lost",
            swaps.done
        ),
        (wrong + run.disconnects() + run.refused()) as f64,
        "",
        Bar::AtMost(0.0),
        format!(
            "{} disconnects, {} lost, {} duplicated, of {} messages; each is counted in its player's row after it",
            run.disconnects() + run.refused(),
            messages.lost,
            messages.duplicated,
            messages.sent
        ),
    );
}
