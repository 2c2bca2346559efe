//! Runs a plugin's first steps in a child process, so that whatever they do happens there.
//!
//! The child is this very program (`engine probe PATH NONCE`, see [`super::probe_child`]), started by `posix_spawn`: about two
//! milliseconds. It maps the plugin as the engine would and says what came of it over a pipe that the plugin's code never
//! gets to see as standard output. Its word counts only together with an orderly end of the process.

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionbio},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use super::probe_fault::{Change, ProbeEnd, ProbeFault};

/// The child's first argument; its entry is [`super::probe_child::asked`].
pub const PROBE_COMMAND: &str = "probe";
/// Bytes kept of what the plugin printed: the last ones, where the reason is.
pub const PRINTED_BYTES_MAX: usize = 2 << 10;
/// Bytes of one line that the child writes: a schema of some ten thousand fields, and what the source says of
/// them. Twice as much is read, because there are two lines.
pub(super) const VERDICT_BYTES_MAX: usize = 16 << 20;
/// The dynamic linker's own settings: the child must resolve a plugin's libraries as the engine does. It gets no others.
const ENVIRONMENT: [&str; 2] = ["LD_LIBRARY_PATH", "LD_PRELOAD"];

/// How a plugin is probed.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// The program that is started as the child: this one, whatever has happened to its file since.
    pub program: PathBuf,
    /// From the child's start to its end.
    pub time_max: Duration,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self { program: "/proc/self/exe".into(), time_max: Duration::from_secs(2) }
    }
}

/// A plugin that was mapped in a child process without harm.
#[derive(Clone, Debug)]
pub struct Probed<T> {
    /// What the loader in the child returned.
    pub loaded: T,
    pub took: Duration,
    /// The end of what the plugin printed meanwhile, usually nothing.
    pub printed: String,
}

/// What the child writes, one JSON object a line.
#[derive(Serialize, Deserialize)]
pub(super) struct Line<T> {
    /// The one from the command line: nothing else that gets into the pipe has it.
    pub(super) nonce: String,
    pub(super) message: Message<T>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Message<T> {
    /// The child is set up; all that goes wrong from here on is the plugin's doing.
    Ready,
    Loaded(T),
    Refused(String),
    /// The child has this many threads, one of which is its own.
    Threads(usize),
    Changed(Change),
}

/// Maps the staged plugin in a child process. Blocks until that has ended; call it where blocking is allowed.
///
/// Must be called from a thread that stays: the kernel kills the child when the thread that started it ends.
pub fn probe<T: DeserializeOwned>(staged: &Path, options: &ProbeOptions) -> Result<Probed<T>, ProbeFault> {
    let started = Instant::now();
    let nonce = nonce();
    let mut child = Command::new(&options.program)
        .arg0("engine")
        .arg(PROBE_COMMAND)
        .arg(staged)
        .arg(&nonce)
        .env_clear()
        .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that what a constructor has forked ends with it.
        .process_group(0)
        .spawn()
        .map_err(|source| ProbeFault::Child { doing: "started", source })?;

    let watched = watch(&mut child, started + options.time_max);
    // Reaped whatever happened above; before that, the ids cannot have been given to anybody else.
    end_group(&child);
    let status = child.wait();
    let watched = watched.map_err(|source| ProbeFault::Child { doing: "watched", source })?;
    let status = status.map_err(|source| ProbeFault::Child { doing: "waited for", source })?;
    let printed = printable(&watched.printed);
    match judge(&watched, status, &nonce, options.time_max) {
        Ok(loaded) => Ok(Probed { loaded, took: started.elapsed(), printed }),
        Err(fault) => Err(fault.with_printed(printed)),
    }
}

/// What was seen of a child until it ended or its time was up.
struct Watched {
    verdict: Vec<u8>,
    printed: Vec<u8>,
    timed_out: bool,
}

fn watch(child: &mut Child, deadline: Instant) -> io::Result<Watched> {
    let ended = pidfd_open(pid(child), PidfdFlags::empty())?;
    let mut verdict = Pipe::new(child.stdout.take().map(OwnedFd::from), Keep::Start(2 * VERDICT_BYTES_MAX))?;
    let mut printed = Pipe::new(child.stderr.take().map(OwnedFd::from), Keep::End(PRINTED_BYTES_MAX))?;
    let timed_out = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Before anything else is read: it must not go on writing.
            let _ = pidfd_send_signal(&ended, Signal::KILL);
            break true;
        }
        let has_ended = wait_for_any(&ended, [&verdict, &printed], left)?;
        verdict.drain()?;
        printed.drain()?;
        if has_ended {
            break false;
        }
    };
    Ok(Watched { verdict: verdict.kept, printed: printed.kept, timed_out })
}

/// Sleeps until the child has ended, a pipe has something, or the time is over. Whether it has ended.
fn wait_for_any(ended: &OwnedFd, pipes: [&Pipe; 2], time: Duration) -> io::Result<bool> {
    let timeout =
        Timespec { tv_sec: time.as_secs().try_into().map_err(io::Error::other)?, tv_nsec: time.subsec_nanos().into() };
    let mut fds = vec![PollFd::new(ended, PollFlags::IN)];
    fds.extend(pipes.iter().filter_map(|pipe| pipe.fd()).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(!fds[0].revents().is_empty()),
        Err(errno) => Err(errno.into()),
    }
}

/// What to do with more bytes than are kept.
#[derive(Clone, Copy)]
enum Keep {
    Start(usize),
    End(usize),
}

/// Our end of a child's output, read without blocking and without limit, kept within one.
struct Pipe {
    file: Option<std::fs::File>,
    keep: Keep,
    kept: Vec<u8>,
}

impl Pipe {
    fn new(fd: Option<OwnedFd>, keep: Keep) -> io::Result<Self> {
        if let Some(fd) = &fd {
            ioctl_fionbio(fd, true)?;
        }
        Ok(Self { file: fd.map(Into::into), keep, kept: Vec::new() })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Takes what is there now, though no more than one pipe's worth: a writer without end must not keep us here.
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        for _ in 0..8 {
            let Some(file) = &mut self.file else { return Ok(()) };
            match file.read(&mut buffer) {
                Ok(0) => self.file = None,
                Ok(count) => self.take(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        match self.keep {
            Keep::Start(max) => {
                let room = max.saturating_sub(self.kept.len());
                self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Keep::End(max) => {
                self.kept.extend_from_slice(bytes);
                let excess = self.kept.len().saturating_sub(max);
                self.kept.drain(..excess);
            }
        }
    }
}

/// Decides by the child's word and by how it ended; both must be good.
fn judge<T: DeserializeOwned>(
    watched: &Watched,
    status: ExitStatus,
    nonce: &str,
    time_max: Duration,
) -> Result<T, ProbeFault> {
    let (mut ready, mut verdict) = (false, None);
    for line in watched.verdict.split(|&byte| byte == b'\n') {
        match serde_json::from_slice::<Line<T>>(line) {
            Ok(line) if line.nonce == nonce => match line.message {
                Message::Ready => ready = true,
                word => verdict = Some(word),
            },
            _ => {}
        }
    }
    let end = match (watched.timed_out, status.signal(), status.code()) {
        (true, ..) => ProbeEnd::TimedOut { time_max },
        (_, Some(signal), _) => ProbeEnd::Signal(signal),
        (_, None, code) => ProbeEnd::Exit(code.unwrap_or(-1)),
    };
    let printed = String::new();
    match (ready, verdict) {
        (false, _) => Err(ProbeFault::NotReady { end, printed }),
        (true, None) => Err(ProbeFault::WhileLoading { end, printed }),
        // These have already refused it; how the process ended adds nothing.
        (true, Some(Message::Refused(reason))) => Err(ProbeFault::Refused { reason, printed }),
        (true, Some(Message::Threads(count))) => Err(ProbeFault::Threads { count, printed }),
        (true, Some(Message::Changed(change))) => Err(ProbeFault::Changed { change, printed }),
        (true, Some(Message::Loaded(loaded))) if end == ProbeEnd::Exit(0) => Ok(loaded),
        (true, Some(_)) => Err(ProbeFault::AfterLoading { end, printed }),
    }
}

/// Ends the child if it still runs, and everything that its plugin has forked.
fn end_group(child: &Child) {
    // No such group: it had never become one, or nobody is left in it.
    let _ = kill_process_group(pid(child), Signal::KILL);
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Unlikely to be guessed by what a plugin happens to print.
fn nonce() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:016x}", RandomState::new().hash_one(Instant::now()))
}

/// Fit for a log and a terminal: no control characters but newlines, no broken UTF-8.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end().chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges a child that wrote these lines and ended like this (a raw wait status).
    fn check(verdict: &str, status: i32, timed_out: bool) -> Result<u32, String> {
        let watched = Watched { verdict: verdict.into(), printed: Vec::new(), timed_out };
        let status = ExitStatus::from_raw(status);
        judge(&watched, status, "n1", Duration::from_secs(2)).map_err(|fault| fault.to_string())
    }

    const READY: &str = "{\"nonce\":\"n1\",\"message\":\"ready\"}\n";
    const LOADED: &str = "{\"nonce\":\"n1\",\"message\":{\"loaded\":7}}\n";

    #[test]
    fn a_word_counts_with_an_orderly_end() {
        assert_eq!(check(&format!("{READY}{LOADED}"), 0, false), Ok(7));
        assert_eq!(check(&format!("noise\n{READY}\n{{}}\n{LOADED}more"), 0, false), Ok(7));
    }

    #[test]
    fn no_word_is_no_word_however_it_ends() {
        let exit = |code: i32| format!("called exit({code}) while being loaded");
        assert_eq!(check(READY, 0, false), Err(exit(0)));
        assert_eq!(check(READY, 3 << 8, false), Err(exit(3)));
        assert_eq!(check(READY, 11, false), Err("crashed while being loaded: signal 11 (SIGSEGV)".into()));
        let forged = LOADED.replace("n1", "n2");
        assert_eq!(check(&format!("{READY}{forged}"), 0, false), Err(exit(0)));
        let cut = &LOADED[..LOADED.len() / 2];
        assert_eq!(check(&format!("{READY}{cut}"), 0, false), Err(exit(0)));
    }

    #[test]
    fn a_bad_end_outweighs_a_good_word() {
        let both = format!("{READY}{LOADED}");
        let after = "after being loaded, when its process ended";
        assert_eq!(check(&both, 6, false), Err(format!("crashed {after}: signal 6 (SIGABRT)")));
        assert_eq!(check(&both, 1 << 8, false), Err(format!("called exit(1) {after}")));
        let slow = "did not end within 2 s after being loaded: a destructor that loops?";
        assert_eq!(check(&both, 9, true), Err(slow.into()));
    }

    #[test]
    fn a_child_that_never_got_ready_is_the_engines_own_trouble() {
        let watched = Watched { verdict: Vec::new(), printed: Vec::new(), timed_out: false };
        let fault = judge::<u32>(&watched, ExitStatus::from_raw(127 << 8), "n1", Duration::from_secs(2)).unwrap_err();
        assert!(fault.is_ours());
        assert_eq!(fault.to_string(), "the probe did not get as far as loading it: its process ended with exit(127)");
    }

    #[test]
    fn the_kept_part_of_a_pipe_is_bounded() {
        let mut start = Pipe::new(None, Keep::Start(4)).unwrap();
        let mut end = Pipe::new(None, Keep::End(4)).unwrap();
        for bytes in [&b"abc"[..], b"def", b"ghijklm"] {
            start.take(bytes);
            end.take(bytes);
        }
        assert_eq!((&*start.kept, &*end.kept), (&b"abcd"[..], &b"jklm"[..]));
    }

    #[test]
    fn control_characters_are_not_passed_on() {
        assert_eq!(printable(b"one\ntwo\x1b[31m\xff\r\n"), "one\ntwo\u{fffd}[31m\u{fffd}");
    }
}
