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

/// A change of the rows of a million units. What is told of an old unit: how it is made, and what writing to it is.
macro_rules! change {
    ($name:ident, { $($old:tt)* } => { $($new:tt)* }) => {
        mod $name {
            use super::*;

            pub(super) mod old {
                use super::*;

                $($old)*

                #[derive(World)]
                pub(in super::super) struct Units {
                    units: Table<Unit>,
                }

                #[logic(linked, version = 1)]
                impl Logic for Units {
                    fn create(&mut self, _ctx: &mut Ctx, _config: &[u8]) {
                        (0..ROWS).map(Unit::new).for_each(|unit| _ = self.units.insert(unit));
                    }

                    /// Writes to one row in so many. Not by `iter_mut`, which makes every page its own.
                    fn signal(&mut self, _ctx: &mut Ctx, _name: &str, bytes: &[u8]) {
                        let one_in = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
                        let ids = self.units.entries().step_by(one_in as usize).map(|(id, _)| id);
                        for id in ids.collect::<Vec<_>>() {
                            self.units.get_mut(id).expect("nothing is removed").touch();
                        }
                    }
                }
            }

            pub(super) mod new {
                use super::*;

                $($new)*

                #[derive(World)]
                pub(in super::super) struct Units {
                    #[expect(dead_code, reason = "nothing runs on it: what counts is how it came about")]
                    units: Table<Unit>,
                }

                #[logic(linked, version = 2)]
                impl Logic for Units {}
            }
        }
    };
}

/// The row that most of them start from.
macro_rules! cargo {
    ($(#[$index:meta])*) => {
        #[derive(Row)]
        #[repr(C)]
        pub(super) struct Unit {
            $(#[$index])*
            number: u64,
            cargo: [u64; 7],
        }

        impl Unit {
            #[allow(dead_code, reason = "of the new rows none is made here")]
            fn new(number: u64) -> Self {
                Self { number, cargo: [number; 7] }
            }

            #[allow(dead_code, reason = "nor written to")]
            fn touch(&mut self) {
                self.cargo[0] += 1;
            }
        }
    };
}

change!(added, { cargo!(#[row(key)]); } => {
    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        #[row(key)]
        number: u64,
        cargo: [u64; 7],
        #[row(default = 100)]
        health: u64,
    }
});

change!(text_dropped, {
    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        number: u64,
        name: Text,
    }

    impl Unit {
        fn new(number: u64) -> Self {
            Self { number, name: Text::new(&format!("unit {number}")) }
        }

        fn touch(&mut self) {
            self.name = Text::new("renamed");
        }
    }
} => {
    #[derive(Row)]
    #[repr(C)]
    #[row(dropped("name"))]
    pub(super) struct Unit {
        number: u64,
    }
});

change!(text_made, {
    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        number: u64,
        cargo: [u64; 7],
    }

    impl Unit {
        fn new(number: u64) -> Self {
            Self { number, cargo: [number; 7] }
        }

        fn touch(&mut self) {
            self.cargo[0] += 1;
        }
    }
} => {
    #[derive(Row)]
    #[repr(C)]
    struct OldUnit {
        number: u64,
    }

    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        number: u64,
        cargo: [u64; 7],
        #[row(migrate = |old: &OldUnit| Text::new(&format!("unit {}", old.number)))]
        name: Text,
    }
});

// Seven bytes of padding at the end of a row.
change!(byte_added, { cargo!(#[row(key)]); } => {
    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        #[row(key)]
        number: u64,
        cargo: [u64; 7],
        #[row(default = 100)]
        lives: u8,
    }
});

/// Eight columns that are eight steps, since none has the same neighbours.
macro_rules! eight {
    ($of:ty) => {
        #[derive(Row)]
        #[repr(C)]
        pub(super) struct Unit {
            a: $of,
            b: $of,
            c: $of,
            d: $of,
            e: $of,
            f: $of,
            g: $of,
            h: $of,
        }

        impl Unit {
            #[allow(dead_code, reason = "of the new rows none is made here")]
            fn new(number: u64) -> Self {
                let a = number as $of;
                Self { a, b: a, c: a, d: a, e: a, f: a, g: a, h: a }
            }

            #[allow(dead_code, reason = "nor written to")]
            fn touch(&mut self) {
                self.a += 1;
            }
        }
    };
}

change!(reordered, { eight!(u64); } => {
    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        h: u64,
        g: u64,
        f: u64,
        e: u64,
        d: u64,
        c: u64,
        b: u64,
        a: u64,
    }
});

change!(widened, { eight!(u32); } => { eight!(u64); });

change!(renumbered, {
    #[derive(Row, Clone, Copy, PartialEq)]
    #[repr(u8)]
    enum Team {
        Red = 1,
        Blue = 2,
        Green = 3,
    }

    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        number: u64,
        cargo: [u64; 6],
        team: Team,
    }

    impl Unit {
        fn new(number: u64) -> Self {
            Self { number, cargo: [number; 6], team: [Team::Red, Team::Blue, Team::Green][number as usize % 3] }
        }

        fn touch(&mut self) {
            self.number += 1;
        }
    }
} => {
    #[derive(Row, Clone, Copy, PartialEq)]
    #[repr(u8)]
    enum Team {
        Green = 5,
        Blue = 6,
        Red = 7,
    }

    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        number: u64,
        cargo: [u64; 6],
        team: Team,
    }
});

// The rows stay; an index more is made of them.
change!(unique_added, { cargo!(); } => { cargo!(#[row(unique)]); });

change!(key_widened, {
    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        #[row(key)]
        number: u32,
        hits: u32,
        cargo: [u64; 7],
    }

    impl Unit {
        fn new(number: u64) -> Self {
            Self { number: number as u32, hits: 0, cargo: [number; 7] }
        }

        fn touch(&mut self) {
            self.hits += 1;
        }
    }
} => {
    #[derive(Row)]
    #[repr(C)]
    pub(super) struct Unit {
        #[row(key)]
        number: u64,
        hits: u32,
        cargo: [u64; 7],
    }
});

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

    /// Seconds, median; with the rewriting done before, and one row in so many written to after that.
    fn pause(&mut self, is_prepared: bool, dirty_one_in: Option<u64>) -> f64 {
        let mut outbox = Outbox::new();
        let pauses: Vec<f64> = (0..TURNS)
            .map(|_| {
                if is_prepared {
                    let rewrite = self.rewrite();
                    self.room.prepare_swap(rewrite);
                }
                if let Some(one_in) = dirty_one_in {
                    let signal = Input::Signal { name: "touch".into(), bytes: one_in.to_le_bytes().into() };
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
    measure_rewrites(report);
    crowd(report);
}

/// All of it but the crowd.
pub(crate) fn measure_rewrites(report: &mut Report) {
    let mut estimates = Vec::new();
    let mut added = Change::new::<added::old::Units, added::new::Units>();
    throughput(report, &mut added, "a column more", 64);
    estimates.extend(pauses(report, added, "a column is added to 1000000 rows of 64 B", rows_per_page(64)));
    others(report);
    let unique = Change::new::<unique_added::old::Units, unique_added::new::Units>();
    estimates.extend(pauses(report, unique, "a column of 1000000 rows becomes unique", rows_per_page(64)));
    let widened = Change::new::<key_widened::old::Units, key_widened::new::Units>();
    estimates.extend(pauses(report, widened, "the key of 1000000 rows is widened", rows_per_page(64)));
    // A row in so many that each is in another page of the heap, and every second or third page of rows has some.
    let dropped = Change::new::<text_dropped::old::Units, text_dropped::new::Units>();
    estimates.extend(pauses(report, dropped, "a `Text` goes from 1000000 rows", TEXTS_PER_PAGE));
    let made = Change::new::<text_made::old::Units, text_made::new::Units>();
    estimates.extend(pauses(report, made, "a migration makes a `Text` for each of 1000000 rows", rows_per_page(64)));
    let off = |(estimated, measured): &(f64, f64)| (estimated / measured).max(measured / estimated);
    let told = |(estimated, measured): &(f64, f64)| format!("{:.2}/{:.2}", estimated * 1e3, measured * 1e3);
    report.add(
        "estimated pause against the measured one, how far off at most, of the above",
        estimates.iter().map(off).fold(1.0, f64::max),
        " ×",
        Bar::AtMost(10.0),
        format!("ms: {}", estimates.iter().map(told).collect::<Vec<_>>().join(", ")),
    );
}

/// Texts that lie in one page of the heap.
const TEXTS_PER_PAGE: u64 = 1024;

/// Rows that lie in one page, of this size.
fn rows_per_page(row_bytes: usize) -> u64 {
    (logic_api::abi::PAGE_BYTES / row_bytes) as u64
}

/// Rewriting a million rows, against a memcpy of as many bytes for each.
fn throughput(report: &mut Report, change: &mut Change, what: &str, row_bytes: usize) {
    let bytes = ROWS as usize * row_bytes;
    let (source, mut target) = (vec![1u8; bytes], vec![2u8; bytes]);
    let copy = || seconds(|| black_box(&mut target).copy_from_slice(black_box(&source)));
    let (ours, plain) = in_turn(TURNS, || seconds(|| change.rewrite()), copy);
    report.add(
        &format!("rewriting 1000000 rows of {row_bytes} B with {what}, throughput against a memcpy of them"),
        plain / ours,
        "",
        Bar::AtLeast(0.3),
        format!("{:.1} ms / {:.1} ms, state hashes of the new pages included", plain * 1e3, ours * 1e3),
    );
}

/// Other changes, each the worst of its kind.
fn others(report: &mut Report) {
    let mut change = Change::new::<byte_added::old::Units, byte_added::new::Units>();
    throughput(report, &mut change, "a byte more, and padding after it", 64);
    let mut change = Change::new::<reordered::old::Units, reordered::new::Units>();
    throughput(report, &mut change, "all columns in another order", 64);
    let mut change = Change::new::<widened::old::Units, widened::new::Units>();
    throughput(report, &mut change, "eight columns `u32 -> u64`, which become so many", 64);
    let mut change = Change::new::<renumbered::old::Units, renumbered::new::Units>();
    throughput(report, &mut change, "an enum whose variants have other numbers", 64);
}

/// The pauses of a change with nothing written meanwhile, and with one row of every tenth page of so many; and for both the
/// estimate for nothing written and for everything, beside what is measured.
fn pauses(report: &mut Report, mut change: Change, what: &str, rows_per_page: u64) -> [(f64, f64); 2] {
    let tenth = change.pause(true, Some(rows_per_page * 10));
    let (idle, all) = (change.pause(true, None), change.pause(false, None));
    let estimated = change.plan.report(Some(change.room.world()));
    let [idle_estimated, all_estimated] = [estimated.pause_us, estimated.pause_us_max].map(|us| us as f64 / 1e6);
    report.add(
        &format!("swap pause where {what}, nothing written meanwhile"),
        idle * 1e3,
        " ms",
        Bar::AtMost(1.0),
        format!("{:.2} ms estimated; rewriting it all takes {:.1} ms", idle_estimated * 1e3, all * 1e3),
    );
    report.add(
        "the same where every tenth page was written to meanwhile, against rewriting it all",
        tenth / all * 100.0,
        " %",
        Bar::AtMost(15.0),
        format!("{:.2} ms / {:.1} ms", tenth * 1e3, all * 1e3),
    );
    [(idle_estimated, idle), (all_estimated, all)]
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
