//! Versions on trial: how long, what ends a trial and how, and what is remembered of it on disk.

mod failed;
mod verdicts;

pub use failed::{Failed, FailedError, FailedVersions};
pub use verdicts::{Tried, Verdict, Verdicts, VerdictsError};
