//! Proofs of the room: tables against plain collections, rooms against a model, and what a fault must not leave behind.
//!
//! `HOTSEAT_SEEDS` says how many seeds the simulations try, `HOTSEAT_SEED` which one alone.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::large_stack_arrays,
    clippy::disallowed_methods,
    reason = "what cannot be is a failed test, small numbers are cut to small columns, and the seeds come from outside"
)]

mod callbacks;
mod faults;
mod game;
mod keys;
mod migrations;
mod padding;
mod reads;
mod records;
mod rehearsals;
mod rooms;
mod schema;
mod schema_ids;
mod schema_keys;
mod schema_memory;
mod schema_refused;
mod schema_single;
mod schema_texts;
mod snapshots;
mod support;
mod swaps;
mod tables;
mod timers;
mod zoo;
