//! What the boundary costs: a callback through the table, and the pause of a swap.

use crate::measure::{Bar, Report, in_turn, median, quantile, seconds};
use crate::raw::EmptyCall;
use crate::tables::Driver;
use bench_logic::operation;
use room::{Input, Outbox, Stamp};
use std::hint::black_box;

pub(crate) fn measure(report: &mut Report) {
    measure_callback(report);
    let logic = crate::loads::bench_logic();
    let (mut driver, _) = Driver::filled(logic.clone(), 1_000_000);
    let mut outbox = Outbox::new();
    let pass = Driver::message(operation::PASS, std::iter::empty());
    let mut pauses = Vec::new();
    for turn in 0..1000 {
        // Between swaps a room works, and its pages are unshared again: without this a fork would find nothing to do.
        if turn % 10 == 0 {
            driver.step(&pass);
        }
        let swap = Input::swap(logic.clone());
        let stamp = Stamp { now_us: 1, seed: turn };
        pauses.push(seconds(|| driver.room.step(stamp, swap, &mut outbox).expect("the tables are equal")));
        driver.room.step(stamp, Input::Confirm, &mut outbox).expect("a version is on trial");
        drop(driver.room.take_spent());
    }
    let p99 = quantile(&pauses, 0.99) * 1e6;
    let detail = format!("median {:.1} µs, 1,000 swaps", median(&pauses) * 1e6);
    report.add("swap pause at 1000000 rows, p99", p99, " µs", Bar::AtMost(50.0), detail);
}

/// An empty callback through the function table of the `.so`, with its guard, against a direct call of the same function.
fn measure_callback(report: &mut Report) {
    const CALLS: u32 = 1_000_000;
    let call = EmptyCall::new(&crate::loads::bench_table(), operation::NOTHING);
    let direct: fn(&[u8]) -> u32 = black_box(|bytes| u32::from(bytes.first() == Some(&operation::PASS)));
    let through = || {
        seconds(|| {
            for _ in 0..CALLS {
                black_box(call.run());
            }
        })
    };
    let directly = || {
        seconds(|| {
            for _ in 0..CALLS {
                black_box(direct(black_box(&[operation::NOTHING])));
            }
        })
    };
    let (through, directly) = in_turn(20, through, directly);
    let each = |seconds: f64| seconds * 1e9 / f64::from(CALLS);
    let detail = format!("{:.2} ns - {:.2} ns", each(through), each(directly));
    let more = each(through) - each(directly);
    report.add(
        "a callback through the table with its guard, over a direct call",
        more,
        " ns",
        Bar::AtMost(8.0),
        detail,
    );
}
