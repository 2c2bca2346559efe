//! What can come out of a probe but a good plugin.

use std::{fmt, io, time::Duration};

use serde::{Deserialize, Serialize};

/// Each names the plugin's doing as an operator can act on it. `printed` is the end of what it printed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFault {
    #[error("{}", end.tell("while being loaded", "finish loading", "a constructor"))]
    WhileLoading { end: ProbeEnd, printed: String },
    #[error("{}", end.tell("after being loaded, when its process ended", "end", "a destructor"))]
    AfterLoading { end: ProbeEnd, printed: String },
    #[error("starts a thread of its own: logic has no threads (it has {} after loading)", count - 1)]
    Threads { count: usize, printed: String },
    #[error("{change}")]
    Changed { change: Change, printed: String },
    #[error("{reason}")]
    Refused { reason: String, printed: String },
    #[error("the probe did not get as far as loading it: its process {}", end.bare())]
    NotReady { end: ProbeEnd, printed: String },
    #[error("the probe's process could not be {doing}: {source}")]
    Child { doing: &'static str, source: io::Error },
}

/// What a plugin has changed of the process that mapped it: in the engine, that would be the engine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    #[error("starts a process of its own: logic has none")]
    Processes,
    #[error("opens or closes files while being loaded: logic has none")]
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
        matches!(self, Self::NotReady { .. } | Self::Child { .. })
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
