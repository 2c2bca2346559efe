//! The probe's other side: what the child process does. `main` comes here before anything else.
//!
//! The child has no sockets, no threads and no data folder; it may only map one plugin and say what came of it.
//!
//! ```no_run
//! # fn load(path: &std::path::Path) -> Result<(), String> { Ok(()) }
//! if let Some(request) = engine::loader::probe_child::asked() {
//!     request.run(|path| load(path)); // never returns
//! }
//! // … the engine's own command line
//! ```

use std::{
    any::Any,
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process,
};

use rustix::{
    io::fcntl_dupfd_cloexec,
    process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit},
    stdio::dup2_stdout,
};
use serde::Serialize;

use super::footing::Footing;
use super::probe::{Line, Message, PROBE_COMMAND, VERDICT_BYTES_MAX};

/// Address space of the child: many times a plugin's, and too little for one that allocates without end to hurt the machine.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Far above every time limit of a probe.
const CPU_SECONDS_MAX: u64 = 120;
/// The verdict's descriptor, out of the way of plugins that think of 3 as free.
const VERDICT_FD_MIN: i32 = 100;
/// Bytes of a loader's reason, so that the verdict stays within its limit even if every one is escaped (`\u0000`).
const REASON_BYTES_MAX: usize = 4 << 10;
const _: () = assert!(REASON_BYTES_MAX * 6 + 100 <= VERDICT_BYTES_MAX);
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
    /// Loads the plugin with `load`, writes the verdict and ends the process. The library must stay mapped.
    pub fn run<T: Serialize>(self, load: impl FnOnce(&Path) -> Result<T, String>) -> ! {
        let Ok(mut verdict) = set_up().inspect_err(|error| eprintln!("the probe cannot be set up: {error}")) else {
            process::exit(EXIT_NOT_READY)
        };
        let mut write = |message: Message<T>| {
            let mut line = line(&self.nonce, message)?;
            if line.len() > VERDICT_BYTES_MAX {
                let reason = format!("its description has {} bytes, the limit is {VERDICT_BYTES_MAX}", line.len());
                line = self::line(&self.nonce, Message::<T>::Refused(reason))?;
            }
            verdict.write_all(line.as_bytes())
        };
        let written = write(Message::Ready).and_then(|()| write(examine(&self.staged, load)?));
        // An orderly end on purpose: destructors that crash would do so at the engine's end.
        process::exit(if written.is_ok() { 0 } else { EXIT_NOT_READY })
    }
}

fn examine<T>(staged: &Path, load: impl FnOnce(&Path) -> Result<T, String>) -> io::Result<Message<T>> {
    let footing = Footing::now()?;
    let message = match catch_unwind(AssertUnwindSafe(|| load(staged))) {
        Ok(Ok(loaded)) => Message::Loaded(loaded),
        Ok(Err(reason)) => Message::Refused(shortened(reason)),
        Err(panic) => Message::Refused(shortened(format!("the loader panicked: {}", panic_text(&*panic)))),
    };
    if !matches!(message, Message::Loaded(_)) {
        // The reason is what matters, also when a thread was started before it.
        return Ok(message);
    }
    match thread_count()? {
        1 => Ok(footing.change()?.map_or(message, Message::Changed)),
        count => Ok(Message::Threads(count)),
    }
}

fn line<T: Serialize>(nonce: &str, message: Message<T>) -> io::Result<String> {
    let mut line = serde_json::to_string(&Line { nonce: nonce.into(), message })?;
    line.push('\n');
    Ok(line)
}

/// Limits this process and takes standard output away from the plugin. Returns where the verdict goes.
fn set_up() -> io::Result<File> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The files of crashes that are expected here would fill the disk and take longer than the probe.
    limit(Resource::Core, 0)?;
    limit(Resource::As, MEMORY_BYTES_MAX)?;
    // The parent stops a plugin that loops, unless it died before the first line of this function.
    limit(Resource::Cpu, CPU_SECONDS_MAX)?;
    let verdict: OwnedFd = fcntl_dupfd_cloexec(io::stdout(), VERDICT_FD_MIN)?;
    dup2_stdout(io::stderr())?;
    Ok(verdict.into())
}

/// Lowers both the soft and the hard limit, never raises one.
fn limit(resource: Resource, max: u64) -> io::Result<()> {
    let lowered = Some(getrlimit(resource).maximum.map_or(max, |hard| hard.min(max)));
    Ok(setrlimit(resource, Rlimit { current: lowered, maximum: lowered })?)
}

fn thread_count() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn shortened(mut reason: String) -> String {
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
