//! Versions on trial: how long, what ends a trial and how, and what is remembered of it on disk.

mod trials;

mod decision;
mod history;

mod failed;
mod verdicts;

pub use failed::{Failed, FailedError, FailedVersions};
pub use history::History;
pub(crate) use trials::FAILED_BEFORE;
pub use trials::{Kept, NotOnTrial, Trials, Turn};
pub use verdicts::{Tried, Verdict, Verdicts, VerdictsError};

pub(crate) use decision::ENGINE;
