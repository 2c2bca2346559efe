//! Why a trial ends, and how.

use std::time::Duration;

use crate::journal::log::LogError;
use crate::probation::Verdict;
use crate::rooms::{Failure, FailureKind, Full};

/// Who decides where nobody asked.
pub(crate) const ENGINE: &str = "the engine";

/// How a trial ends, and what is told of it.
#[derive(Debug, Clone)]
pub(super) struct Decision {
    pub(super) verdict: Verdict,
    /// For the metrics: one of few words.
    pub(super) why: &'static str,
    /// Whether the version is to be remembered as one that failed.
    pub(super) is_by_failure: bool,
    pub(super) who: String,
    /// In one line.
    pub(super) reason: String,
}

impl Decision {
    pub(super) fn time_is_over(probation: Duration) -> Decision {
        confirm("time", ENGINE, format!("nothing failed for {} s", probation.as_secs_f64()))
    }

    pub(super) fn full(full: &Full) -> Decision {
        let Full { room, inputs } = full;
        let reason =
            format!("early, for the room {room} has taken {inputs} inputs and can hardly keep more to go back over");
        confirm("full", ENGINE, reason)
    }

    pub(super) fn confirmed_by(who: &str) -> Decision {
        confirm("asked", who, "it was asked for".to_owned())
    }

    pub(super) fn next_load(who: &str) -> Decision {
        confirm("next-load", who, "the next load asked for it".to_owned())
    }

    pub(super) fn failed(failure: &Failure) -> Decision {
        let why = match failure.kind {
            FailureKind::Fault(_) | FailureKind::NotSwapped(_) => "fault",
            FailureKind::Overruns(_) => "overruns",
        };
        rewind(why, true, ENGINE, failure.to_string())
    }

    pub(super) fn rolled_back_by(who: &str, reason: Option<&str>) -> Decision {
        rewind("asked", true, who, reason.unwrap_or("it was asked for, without a reason").to_owned())
    }

    pub(super) fn not_kept(error: &LogError) -> Decision {
        rewind("not-kept", false, ENGINE, format!("that it is confirmed cannot be kept: {error}"))
    }
}

fn confirm(why: &'static str, who: &str, reason: String) -> Decision {
    Decision { verdict: Verdict::Confirm, why, is_by_failure: false, who: who.to_owned(), reason }
}

fn rewind(why: &'static str, is_by_failure: bool, who: &str, reason: String) -> Decision {
    Decision { verdict: Verdict::Rewind, why, is_by_failure, who: who.to_owned(), reason }
}
