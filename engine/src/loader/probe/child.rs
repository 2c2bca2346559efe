//! The probe's other side: what the child process does. `main` comes here before anything else.
//!
//! The child has no sockets and no data folder; it may only map one plugin, try it on the rooms that it is given, say what came of
//! it, and write what a room has become where it is told to.
//!
//! ```no_run
//! # fn load(path: &std::path::Path) -> Result<((), Option<std::sync::Arc<room::LogicVersion>>), String> { Ok(((), None)) }
//! if let Some(request) = engine::loader::probe::child::asked() {
//!     request.run(|path| load(path)); // never returns
//! }
//! // … the engine's own command line
//! ```

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use room::LogicVersion;
use rustix::{
    io::fcntl_dupfd_cloexec,
    process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit},
    stdio::{dup2_stdin, dup2_stdout},
};
use serde::Serialize;

use super::footing::Footing;
use super::rehearsal::rehearse;
use super::words::{LINE_BYTES_MAX, Line, Message};
use super::{CHILD_MEMORY_BYTES_MAX, PROBE_COMMAND};
use crate::panics::panic_text;

/// Far above every time limit of a probe.
const CPU_SECONDS_MAX: u64 = 600;
/// The descriptors of the engine's pipes, out of the way of plugins that think of 3 as free.
const PIPE_FD_MIN: i32 = 100;
/// The system that runs out of memory ends this process before the engine.
const OOM_SCORE: &str = "1000";
/// Bytes of a loader's reason, so that its line stays within its limit even if every one is escaped (`\u0000`).
const REASON_BYTES_MAX: usize = 4 << 10;
const _: () = assert!(REASON_BYTES_MAX * 6 + 100 <= LINE_BYTES_MAX);
/// The exit code of a child that cannot even be set up (`EX_OSERR` of sysexits.h).
const EXIT_NOT_READY: i32 = 71;

/// A request on the command line to be the probe's child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeRequest {
    staged: PathBuf,
    nonce: String,
}

/// Whether this process was started to be the probe's child. Cheap; `main` asks before it does anything else.
pub fn asked() -> Option<ProbeRequest> {
    parse(std::env::args_os().skip(1))
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<ProbeRequest> {
    if arguments.next()? != PROBE_COMMAND {
        return None;
    }
    let (staged, nonce) = (arguments.next()?, arguments.next()?);
    let request = ProbeRequest { staged: staged.into(), nonce: nonce.into_string().ok()? };
    arguments.next().is_none().then_some(request)
}

impl ProbeRequest {
    /// Loads the plugin with `load`, tries it on the rooms that come in, if that gave a logic, and ends the process. The library
    /// must stay mapped.
    pub fn run<T: Serialize>(self, load: impl FnOnce(&Path) -> Result<(T, Option<Arc<LogicVersion>>), String>) -> ! {
        let Ok(Pipes { verdict, rooms }) =
            set_up().inspect_err(|error| eprintln!("the probe cannot be set up: {error}"))
        else {
            process::exit(EXIT_NOT_READY)
        };
        let verdict = Verdict { file: verdict, nonce: self.nonce };
        let ended = (|| {
            verdict.say(Message::<T>::Ready)?;
            let (message, logic) = examine(&self.staged, load)?;
            let is_good = matches!(message, Message::Loaded(_));
            verdict.say(message)?;
            logic.filter(|_| is_good).map_or(Ok(()), |logic| rehearse(&logic, rooms, &verdict))
        })();
        // An orderly end on purpose: destructors that crash would do so at the engine's end.
        process::exit(if ended.is_ok() { 0 } else { EXIT_NOT_READY })
    }
}

/// Where the child's word goes.
pub(super) struct Verdict {
    file: File,
    nonce: String,
}

impl Verdict {
    pub(super) fn say<T: Serialize>(&self, message: Message<T>) -> io::Result<()> {
        let mut line = self.line(message)?;
        if line.len() > LINE_BYTES_MAX {
            let reason = format!("its description has {} bytes, the limit is {LINE_BYTES_MAX}", line.len());
            line = self.line(Message::<T>::Refused(reason))?;
        }
        (&self.file).write_all(line.as_bytes())
    }

    fn line<T: Serialize>(&self, message: Message<T>) -> io::Result<String> {
        let mut line = serde_json::to_string(&Line { nonce: self.nonce.clone(), message })?;
        line.push('\n');
        Ok(line)
    }
}

/// What `load` came to, and a logic to try if that was good.
type Examined<T> = (Message<T>, Option<Arc<LogicVersion>>);

fn examine<T>(
    staged: &Path,
    load: impl FnOnce(&Path) -> Result<(T, Option<Arc<LogicVersion>>), String>,
) -> io::Result<Examined<T>> {
    let footing = Footing::now()?;
    match catch_unwind(AssertUnwindSafe(|| load(staged))) {
        Ok(Ok((loaded, logic))) => Ok((left_behind(&footing, 1)?.unwrap_or(Message::Loaded(loaded)), logic)),
        // The reason is what matters, also when a thread was started before it.
        Ok(Err(reason)) => Ok((Message::Refused(shortened(reason)), None)),
        Err(panic) => Ok((Message::Refused(shortened(format!("the loader panicked: {}", panic_text(&*panic)))), None)),
    }
}

/// What the plugin has left behind in this process, which has so many threads of its own.
pub(super) fn left_behind<T>(footing: &Footing, threads: usize) -> io::Result<Option<Message<T>>> {
    match fs::read_dir("/proc/self/task")?.count().saturating_sub(threads) {
        0 => Ok(footing.change()?.map(Message::Changed)),
        more => Ok(Some(Message::Threads(more))),
    }
}

/// The engine's pipes, which a plugin does not find where it would look.
struct Pipes {
    verdict: File,
    rooms: File,
}

/// Limits this process, and takes standard input and output away from the plugin.
fn set_up() -> io::Result<Pipes> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The files of crashes that are expected here would fill the disk and take longer than the probe.
    limit(Resource::Core, 0)?;
    limit(Resource::As, CHILD_MEMORY_BYTES_MAX)?;
    // The parent stops a plugin that loops, unless it died before the first line of this function.
    limit(Resource::Cpu, CPU_SECONDS_MAX)?;
    // Not everywhere is there such a file; it is a precaution.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    let verdict: OwnedFd = fcntl_dupfd_cloexec(io::stdout(), PIPE_FD_MIN)?;
    dup2_stdout(io::stderr())?;
    let rooms: OwnedFd = fcntl_dupfd_cloexec(io::stdin(), PIPE_FD_MIN)?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(Pipes { verdict: verdict.into(), rooms: rooms.into() })
}

/// Lowers both the soft and the hard limit, never raises one.
fn limit(resource: Resource, max: u64) -> io::Result<()> {
    let lowered = Some(getrlimit(resource).maximum.map_or(max, |hard| hard.min(max)));
    Ok(setrlimit(resource, Rlimit { current: lowered, maximum: lowered })?)
}

pub(super) fn shortened(mut reason: String) -> String {
    let end = (0..=REASON_BYTES_MAX.min(reason.len())).rev().find(|&at| reason.is_char_boundary(at));
    reason.truncate(end.unwrap_or(0));
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Option<ProbeRequest> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn only_the_whole_command_asks_for_a_probe() {
        let request = ProbeRequest { staged: "versions/a.so".into(), nonce: "n1".into() };
        assert_eq!(parsed(&["probe", "versions/a.so", "n1"]), Some(request));
        for other in [&[][..], &["serve"], &["probe"], &["probe", "a.so"], &["probe", "a.so", "n1", "more"]] {
            assert_eq!(parsed(other), None);
        }
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        assert_eq!(shortened("short".into()), "short");
        let long = shortened(format!("x{}", "ü".repeat(REASON_BYTES_MAX)));
        assert_eq!(long.len(), REASON_BYTES_MAX - 1);
    }
}
