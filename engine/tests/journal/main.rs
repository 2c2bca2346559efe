//! The journal's files under whatever can happen to them: cuts, lost sectors, flipped bits, calls that fail, and crashes between
//! any two calls. No file system is touched.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what cannot be is a failed test, and the numbers of tests are small"
)]

mod crashes;
mod damage;
mod disk;
mod releases;
mod simulation;
mod support;
mod verdicts;
mod writing;
