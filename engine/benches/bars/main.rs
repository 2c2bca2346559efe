//! The bars of docs/performance.md: each figure beside its plain counterpart, measured in turn in one run, as a table.
//!
//! A ratio of medians of interleaved runs holds where a machine's speed drifts, which single absolute figures do not; that is
//! why this is a program of its own. `scripts/bench.sh` builds and runs it. With words as arguments it measures only the
//! groups named: `tables`, `callbacks`, `rewind`, `journal`, `loads`, `schema`, `http`, `sockets`, `durability`; or
//! the parts of `sockets`: `echo`, `fan-out`, `idle`, `swaps`, or that of `schema` which needs no server: `rewrites`.

#![allow(clippy::cast_possible_truncation, reason = "figures of a bench, far from any bound")]

mod callbacks;
mod http;
mod journal;
mod loads;
mod measure;
#[expect(unsafe_code, reason = "calls a plugin's entry without a room")]
mod raw;
mod rewind;
mod schema;
mod server;
mod sockets;
mod tables;

use measure::Report;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.first().map(String::as_str) {
        Some(server::BARE) => {
            server::run_bare();
            return ExitCode::SUCCESS;
        }
        Some(server::BARE_ECHO) => {
            server::run_bare_echo();
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let wanted = |group: &str| words.is_empty() || words.iter().any(|word| word == group);
    let mut report = Report::default();
    if wanted("tables") {
        tables::measure(&mut report);
    }
    if wanted("callbacks") {
        callbacks::measure(&mut report);
    }
    if wanted("rewind") {
        rewind::measure(&mut report);
    }
    if wanted("journal") {
        journal::measure(&mut report);
    }
    if wanted("loads") {
        loads::measure(&mut report);
    }
    if wanted("schema") {
        schema::measure(&mut report);
    } else if wanted("rewrites") {
        schema::measure_rewrites(&mut report);
    }
    if wanted("http") {
        http::measure(&mut report);
    }
    for (part, measure) in sockets::PARTS {
        if wanted("sockets") || wanted(part) {
            measure(&mut report);
        }
    }
    if wanted("durability") {
        sockets::measure_durability(&mut report);
    }
    report.print();
    ExitCode::SUCCESS
}
