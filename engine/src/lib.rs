//! The shell around the rooms: command line, config, sockets, the admin door, and what can be seen from outside.
//!
//! It owns files, threads and time so that `room` need not know of them, and never links a logic.

mod allowance;
pub mod cli;
pub mod config;
pub mod serve;

pub mod dev;
pub mod new_game;

pub mod beat;
pub mod engine;
pub mod kept;
pub mod loads;
pub mod points;
pub mod probation;
pub mod progress;
pub mod rooms;
pub mod sessions;
pub mod watchdog;

pub mod journal;
pub mod loader;

pub mod descriptors;
pub mod guard;
pub mod http;
pub mod lock;
mod panics;
pub mod status;
pub mod stop;
pub mod token;

pub mod logs;
pub mod metrics;
