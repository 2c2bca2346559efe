//! What can come out of a probe but a good plugin.

use std::{fmt, io, time::Duration};

use room::plan::RewriteError;
use serde::{Deserialize, Serialize};

use super::CHILD_MEMORY_BYTES_MAX;
use super::words::{RehearsalFault, Step};

/// Each names the plugin's doing as an operator can act on it. `printed` is the end of what it printed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFault {
    #[error("{}", end.tell("while being loaded", "finish loading", "a constructor"))]
    WhileLoading { end: ProbeEnd, printed: String },
    #[error("{}", end.tell("after being loaded, when its process ended", "end", "a destructor"))]
    AfterLoading { end: ProbeEnd, printed: String },
    #[error("starts a thread of its own: logic has no threads (it has {count} after {after})")]
    Threads { count: usize, after: After, printed: String },
    #[error("{change}{}", after.seen())]
    Changed { change: Change, after: After, printed: String },
    #[error("{reason}")]
    Refused { reason: String, printed: String },
    /// A room would not take the version.
    #[error("in the room {room}: {fault}")]
    Rehearsal { room: String, fault: Box<RehearsalFault>, printed: String },
    /// The process ended while the version was tried on a room.
    #[error("{}", Cause::of(*end, printed).tell(*step, table, room))]
    Rehearsing { step: Step, table: String, room: String, end: ProbeEnd, printed: String },
    #[error("the probe did not get as far as loading it: its process {}", end.bare())]
    NotReady { end: ProbeEnd, printed: String },
    #[error("the probe's process could not be {doing}: {source}")]
    Child { doing: &'static str, source: io::Error },
}

/// When something was found that a plugin had done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Loading,
    /// `upgraded`, or a migration.
    Rehearsing,
}

impl After {
    fn seen(self) -> &'static str {
        match self {
            Self::Loading => "",
            Self::Rehearsing => " (seen after upgraded)",
        }
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loading => "loading",
            Self::Rehearsing => "upgraded",
        })
    }
}

/// What a plugin has changed of the process that mapped it: in the engine, that would be the engine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    #[error("starts a process of its own: logic has none")]
    Processes,
    #[error("opens or closes files: logic has none")]
    Files,
    #[error("changes what is done on signals: that is the engine's to say")]
    Signals,
}

impl Change {
    fn code(self) -> &'static str {
        match self {
            Self::Processes => "starts-processes",
            Self::Files => "changes-files",
            Self::Signals => "changes-signals",
        }
    }
}

/// How a child process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeEnd {
    Signal(i32),
    Exit(i32),
    TimedOut { time_max: Duration },
}

impl ProbeFault {
    /// Whether the engine, not the plugin, is to blame.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::NotReady { .. } | Self::Child { .. } | Self::Rehearsing { step: Step::Read | Step::Write, .. } => {
                true
            }
            Self::Rehearsal { fault, .. } => {
                matches!(**fault, RehearsalFault::Unreadable(_) | RehearsalFault::Unwritten(_))
            }
            _ => false,
        }
    }

    /// A stable word for programs, in kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::WhileLoading { end, .. } => match end {
                ProbeEnd::Signal(_) => "crashes-on-load",
                ProbeEnd::Exit(_) => "exits-on-load",
                ProbeEnd::TimedOut { .. } => "never-loads",
            },
            Self::AfterLoading { .. } => "fails-at-exit",
            Self::Threads { .. } => "starts-threads",
            Self::Changed { change, .. } => change.code(),
            Self::Refused { .. } => "refused-by-loader",
            Self::Rehearsal { fault, .. } => fault.code(),
            Self::Rehearsing { step, end, printed, .. } => Cause::of(*end, printed).code(*step),
            Self::NotReady { .. } | Self::Child { .. } => "probe-failed",
        }
    }

    /// The end of what the plugin printed, if it printed anything.
    pub fn printed(&self) -> Option<&str> {
        match self {
            Self::WhileLoading { printed, .. }
            | Self::AfterLoading { printed, .. }
            | Self::Threads { printed, .. }
            | Self::Changed { printed, .. }
            | Self::Refused { printed, .. }
            | Self::Rehearsal { printed, .. }
            | Self::Rehearsing { printed, .. }
            | Self::NotReady { printed, .. } => Some(printed.as_str()).filter(|printed| !printed.is_empty()),
            Self::Child { .. } => None,
        }
    }

    pub(super) fn with_printed(mut self, text: String) -> Self {
        match &mut self {
            Self::WhileLoading { printed, .. }
            | Self::AfterLoading { printed, .. }
            | Self::Threads { printed, .. }
            | Self::Changed { printed, .. }
            | Self::Refused { printed, .. }
            | Self::Rehearsal { printed, .. }
            | Self::Rehearsing { printed, .. }
            | Self::NotReady { printed, .. } => *printed = text,
            Self::Child { .. } => {}
        }
        self
    }
}

impl ProbeEnd {
    fn tell(&self, when: &str, what: &str, who: &str) -> String {
        match self {
            Self::Signal(signal) => format!("crashed {when}: {}", SignalName(*signal)),
            Self::Exit(code) => format!("called exit({code}) {when}"),
            Self::TimedOut { time_max } => {
                let after = if what == "end" { " after being loaded" } else { "" };
                format!("did not {what} within {} s{after}: {who} that loops?", time_max.as_secs_f32())
            }
        }
    }

    fn bare(&self) -> String {
        match self {
            Self::Signal(signal) => format!("was killed by {}", SignalName(*signal)),
            Self::Exit(code) => format!("ended with exit({code})"),
            Self::TimedOut { time_max } => format!("took longer than {} s", time_max.as_secs_f32()),
        }
    }
}

impl RehearsalFault {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) | Self::Unwritten(_) => "probe-failed",
            Self::Rewrite(RewriteError::Unfit(_)) => "row-unfit",
            Self::Rewrite(RewriteError::Fault { .. }) => "migration-failed",
            Self::Rewrite(RewriteError::Memory { .. }) => "rewrite-large",
            Self::Rewrite(RewriteError::Table { .. }) => "table-large",
            Self::Rewrite(RewriteError::Texts { .. } | RewriteError::TextPages { .. }) => "texts-large",
            Self::Rewrite(RewriteError::Cancelled) => "rewrite-late",
            Self::Upgrade(_) => "upgraded-failed",
        }
    }
}

/// Why a process ended in the middle of a rehearsal, as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Memory,
    Stack,
    Crash(i32),
    Exit(i32),
    Late(Duration),
}

impl Cause {
    /// What the standard library prints says more than the signal by which it then ends the process.
    fn of(end: ProbeEnd, printed: &str) -> Self {
        match end {
            ProbeEnd::Signal(_) if printed.contains("memory allocation of ") => Self::Memory,
            ProbeEnd::Signal(_) if printed.contains("has overflowed its stack") => Self::Stack,
            ProbeEnd::Signal(signal) => Self::Crash(signal),
            ProbeEnd::Exit(code) => Self::Exit(code),
            ProbeEnd::TimedOut { time_max } => Self::Late(time_max),
        }
    }

    fn tell(self, step: Step, table: &str, room: &str) -> String {
        let of_table = if table.is_empty() { String::new() } else { format!(" of {table}") };
        let in_migration = format!("in a migration{of_table}");
        let (of, into) = match step {
            Step::Read => ("while the engine read the room", "reading the room"),
            Step::Migrate => (&*in_migration, "a migration"),
            Step::Upgrade => ("in upgraded", "upgraded"),
            Step::Write => ("while the engine wrote what the room has become", "writing what the room has become"),
            Step::Wait => ("after upgraded", "what it began in upgraded"),
        };
        match self {
            Self::Memory => {
                let max = CHILD_MEMORY_BYTES_MAX >> 30;
                format!("ran out of memory {of}, in the room {room}: a rehearsal has {max} GiB")
            }
            Self::Stack => format!("overflowed its stack {of}, in the room {room}: recursion without end?"),
            Self::Crash(signal) => format!("crashed {of}, in the room {room}: {}", SignalName(signal)),
            Self::Exit(code) => format!("called exit({code}) {of}, in the room {room}"),
            Self::Late(time) if step == Step::Migrate => format!(
                "the tables of the room {room} were not rewritten within {} s (rewrite_timeout_ms): a migration{of_table} does \
                 not return, or there is too much of them",
                time.as_secs_f32()
            ),
            Self::Late(time) => {
                format!("did not return from {into} within {} s, in the room {room}: a loop?", time.as_secs_f32())
            }
        }
    }

    fn code(self, step: Step) -> &'static str {
        match (step, self) {
            (Step::Read | Step::Write, _) => "probe-failed",
            (Step::Migrate, Self::Memory) => "migration-out-of-memory",
            (Step::Migrate, Self::Stack) => "migration-overflows",
            (Step::Migrate, Self::Crash(_)) => "migration-crashes",
            (Step::Migrate, Self::Exit(_)) => "migration-exits",
            (Step::Migrate, Self::Late(_)) => "rewrite-late",
            (_, Self::Memory) => "upgraded-out-of-memory",
            (_, Self::Stack) => "upgraded-overflows",
            (_, Self::Crash(_)) => "upgraded-crashes",
            (_, Self::Exit(_)) => "upgraded-exits",
            (_, Self::Late(_)) => "upgraded-never-returns",
        }
    }
}

struct SignalName(i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use rustix::process::Signal;
        let named = [
            (Signal::SEGV, "SIGSEGV"),
            (Signal::BUS, "SIGBUS"),
            (Signal::ABORT, "SIGABRT"),
            (Signal::ILL, "SIGILL"),
            (Signal::FPE, "SIGFPE"),
            (Signal::TRAP, "SIGTRAP"),
            (Signal::KILL, "SIGKILL"),
            (Signal::TERM, "SIGTERM"),
            (Signal::SYS, "SIGSYS"),
            (Signal::XCPU, "SIGXCPU"),
            (Signal::XFSZ, "SIGXFSZ"),
        ];
        match named.iter().find(|(signal, _)| signal.as_raw() == self.0) {
            Some((_, name)) => write!(f, "signal {} ({name})", self.0),
            None => write!(f, "signal {}", self.0),
        }
    }
}
