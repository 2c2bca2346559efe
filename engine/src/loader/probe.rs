//! Runs a plugin's first steps in a child process, so that whatever they do happens there: its constructors, then its migrations
//! and its `upgraded` on copies of the rooms.
//!
//! The child is this very program (`engine probe PATH NONCE`, see [`child`]), started by `posix_spawn`: about two milliseconds. It
//! maps the plugin as the engine would and says what came of it over a pipe that the plugin's code never gets to see as standard
//! output; rooms come to it by another. Its word counts only together with an orderly end of the process.

pub mod child;
mod fault;
mod footing;
mod heard;
mod pipe;
mod rehearsal;
mod words;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use logic_api::changes::Changes;
use room::{Image, Stamp};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionbio},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal},
};
use serde::de::DeserializeOwned;

pub use fault::{After, Change, ProbeEnd, ProbeFault};
pub use words::{RehearsalFault, Step};

use crate::allowance::{Allowance, Whose};
use heard::Heard;
use pipe::{Keep, Pipe, printable};
use words::{ChunkWriter, LINES_BYTES_MAX, RoomHead};

/// The child's first argument; its entry is [`child::asked`].
pub const PROBE_COMMAND: &str = "probe";
/// Bytes kept of what the plugin printed: the last ones, where the reason is.
pub const PRINTED_BYTES_MAX: usize = 2 << 10;
/// Address space of the child: many times a plugin's and that of the rooms it is given, and too little for one that allocates
/// without end to hurt the machine.
pub(crate) const CHILD_MEMORY_BYTES_MAX: u64 = 4 << 30;
/// How long the child may take to read a room, and to write one. Nothing of the plugin runs meanwhile, unless it has left something
/// behind.
const TRANSFER_TIME_MAX: Duration = Duration::from_secs(60);
/// Bytes of a room that are written at a time.
const WRITE_BYTES: usize = 64 << 10;
/// The dynamic linker's own settings, and the stacks of threads: the child must resolve a plugin's libraries as the engine does,
/// and end where the engine would. It gets no others.
const ENVIRONMENT: [&str; 3] = ["LD_LIBRARY_PATH", "LD_PRELOAD", "RUST_MIN_STACK"];

/// How a plugin is probed.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// The program that is started as the child: this one, whatever has happened to its file since.
    pub program: PathBuf,
    /// For loading, for `upgraded` in one room, and for the end of the process. What the child waits for a core is not counted,
    /// up to ten times this.
    pub time_max: Duration,
    /// For making the tables of one room those of the version.
    pub rewrite_time_max: Duration,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        let program = "/proc/self/exe".into();
        Self { program, time_max: Duration::from_secs(2), rewrite_time_max: Duration::from_secs(30) }
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

/// A copy of a room, to try the version on.
#[derive(Debug)]
pub struct RoomToTry {
    pub image: Image,
    /// What the version that runs it says of older tables.
    pub changes: Changes,
    pub drops: Vec<String>,
    pub stamp: Stamp,
    pub rewrite_bytes_max: usize,
    /// Where the child writes what the room has become, as a snapshot; to look at, for it stays a copy.
    pub becomes: Option<PathBuf>,
}

/// A child process that has mapped a plugin, and waits for rooms. Dropped, it is ended.
///
/// Lives on the thread that started it: the kernel kills the child when that ends. Its methods block.
#[derive(Debug)]
pub struct Probe<T> {
    child: Child,
    ended: OwnedFd,
    said: Pipe,
    printed: Pipe,
    /// None once there are no more.
    rooms: Option<File>,
    /// The rooms that it was given, by name.
    given: Vec<String>,
    heard: Heard<T>,
    options: ProbeOptions,
    started: Instant,
    /// How long it may take to say the next word.
    allowance: Allowance,
    /// How it ended, once it has.
    end: Option<ProbeEnd>,
}

/// Why a wait is over.
enum Awake {
    Heard,
    Writable,
    Ended,
}

impl<T: DeserializeOwned> Probe<T> {
    /// Maps the staged plugin in a child process, and waits until that has said what came of it: [`Probe::loaded`].
    ///
    /// # Errors
    /// [`ProbeFault`]
    pub fn start(staged: &Path, options: &ProbeOptions) -> Result<Self, ProbeFault> {
        let started = Instant::now();
        let nonce = nonce();
        let child = Command::new(&options.program)
            .arg0("engine")
            .arg(PROBE_COMMAND)
            .arg(staged)
            .arg(&nonce)
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what a constructor has forked ends with it.
            .process_group(0)
            .spawn()
            .map_err(|source| ProbeFault::Child { doing: "started", source })?;
        let mut probe = Self::of(child, nonce, options, started)
            .map_err(|source| ProbeFault::Child { doing: "watched", source })?;
        while probe.heard.loaded.is_none() && !probe.heard.is_refused() && probe.end.is_none() {
            probe.wait(false).map_err(watched)?;
        }
        if probe.heard.loaded.is_some() { Ok(probe) } else { Err(probe.judged()) }
    }

    fn of(mut child: Child, nonce: String, options: &ProbeOptions, started: Instant) -> io::Result<Self> {
        let parts = (|| {
            let said = Pipe::new(child.stdout.take().map(OwnedFd::from), Keep::Start(LINES_BYTES_MAX))?;
            let printed = Pipe::new(child.stderr.take().map(OwnedFd::from), Keep::End(PRINTED_BYTES_MAX))?;
            let rooms = child.stdin.take().map(|stdin| File::from(OwnedFd::from(stdin)));
            rooms.as_ref().map_or(Ok(()), |rooms| ioctl_fionbio(rooms, true))?;
            Ok((pidfd_open(pid(&child), PidfdFlags::empty())?, said, printed, rooms))
        })();
        let (ended, said, printed, rooms) = parts.inspect_err(|_: &io::Error| end(&mut child))?;
        Ok(Self {
            allowance: Allowance::new(Whose::Process(pid(&child)), options.time_max),
            child,
            ended,
            said,
            printed,
            rooms,
            given: Vec::new(),
            heard: Heard::new(nonce),
            options: options.clone(),
            started,
            end: None,
        })
    }

    /// What the loader in the child returned.
    ///
    /// # Panics
    /// Never: a probe that has not loaded is none.
    pub fn loaded(&self) -> &T {
        self.heard.loaded.as_ref().expect("it has loaded")
    }

    /// Tries the version on the rooms, one after the other, and ends the child.
    ///
    /// # Errors
    /// [`ProbeFault`]; the rooms after the one that would not take the version have not been looked at.
    pub fn rehearse(mut self, rooms: impl Iterator<Item = RoomToTry>) -> Result<Probed<T>, ProbeFault> {
        for mut room in rooms {
            self.given.push(room.image.name().to_owned());
            if let Err(source) = self.give(&mut room) {
                self.finish().map_err(watched)?;
                let fault = self.judged();
                // It takes no more rooms because of what it has said, or done.
                return Err(if fault.is_ours() { ProbeFault::Child { doing: "given a room", source } } else { fault });
            }
            // The next one is taken only then, so that whoever gives them knows how long those before took.
            while self.heard.rooms_done < self.given.len() && !self.heard.is_refused() && self.end.is_none() {
                self.wait(false).map_err(watched)?;
            }
            if self.end.is_some() || self.heard.is_refused() {
                break;
            }
        }
        self.finish().map_err(watched)?;
        self.outcome()
    }

    /// Writes a room to the child, however slowly that reads.
    fn give(&mut self, room: &mut RoomToTry) -> io::Result<()> {
        self.allow(TRANSFER_TIME_MAX);
        let Stamp { now_us, seed } = room.stamp;
        let RoomToTry { image, changes, drops, rewrite_bytes_max, becomes, .. } = room;
        let (changes, drops, becomes) = (std::mem::take(changes), std::mem::take(drops), becomes.take());
        let rewrite_bytes_max = *rewrite_bytes_max;
        let head = serde_json::to_vec(&RoomHead { changes, drops, now_us, seed, rewrite_bytes_max, becomes })?;
        let mut out = BufWriter::with_capacity(WRITE_BYTES, ToChild(self));
        let mut chunks = ChunkWriter(&mut out);
        chunks.write_all(&head)?;
        chunks.end()?;
        let mut chunks = ChunkWriter(&mut out);
        image.write(&mut chunks)?;
        chunks.end()?;
        out.flush()
    }

    /// Tells the child that there are no more rooms, and waits for its end.
    fn finish(&mut self) -> io::Result<()> {
        self.rooms = None;
        if self.heard.is_waiting() {
            self.allow(self.options.time_max);
        }
        while self.end.is_none() {
            self.wait(false)?;
        }
        Ok(())
    }

    fn allow(&mut self, time_max: Duration) {
        self.allowance = Allowance::new(Whose::Process(pid(&self.child)), time_max);
    }

    /// Sleeps until the child has said something, takes more bytes of a room, has ended, or has let its time pass.
    fn wait(&mut self, to_write: bool) -> io::Result<Awake> {
        let left = self.allowance.left();
        // With no time left this still looks once at what is there: we may have been elsewhere.
        let (has_ended, is_writable) = self.poll(to_write, left)?;
        self.said.drain()?;
        self.printed.drain()?;
        let has_gone_on = self.heard.look(&self.said.kept);
        if has_ended {
            self.end = Some(self.reap()?);
            return Ok(Awake::Ended);
        }
        if has_gone_on {
            self.allow(self.time_of_step());
            return Ok(Awake::Heard);
        }
        if left.is_zero() {
            let _ = pidfd_send_signal(&self.ended, Signal::KILL);
            self.end = Some(ProbeEnd::TimedOut { time_max: self.allowance.time_max });
            return Ok(Awake::Ended);
        }
        Ok(if is_writable { Awake::Writable } else { Awake::Heard })
    }

    fn poll(&self, to_write: bool, left: Duration) -> io::Result<(bool, bool)> {
        let tv_sec = left.as_secs().try_into().map_err(io::Error::other)?;
        let timeout = Timespec { tv_sec, tv_nsec: left.subsec_nanos().into() };
        let mut fds = vec![PollFd::new(&self.ended, PollFlags::IN)];
        let rooms = self.rooms.as_ref().filter(|_| to_write);
        fds.extend(rooms.map(|rooms| PollFd::from_borrowed_fd(rooms.as_fd(), PollFlags::OUT)));
        let pipes = [&self.said, &self.printed].into_iter().filter_map(Pipe::fd);
        fds.extend(pipes.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {
                let is_up = |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| !fd.revents().is_empty());
                Ok((is_up(fds.first()), rooms.is_some() && is_up(fds.get(1))))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// How long the child may take for what it does now.
    fn time_of_step(&self) -> Duration {
        match self.heard.step {
            None | Some(Step::Wait | Step::Upgrade) => self.options.time_max,
            Some(Step::Read | Step::Write) => TRANSFER_TIME_MAX,
            Some(Step::Migrate) => self.options.rewrite_time_max,
        }
    }

    /// The child is gone, and with it whatever it has forked. Before this, its ids cannot have been given to anybody else.
    fn reap(&mut self) -> io::Result<ProbeEnd> {
        end_group(&self.child);
        Ok(end_of(self.child.wait()?))
    }

    fn outcome(mut self) -> Result<Probed<T>, ProbeFault> {
        let took = self.started.elapsed();
        let printed = printable(&self.printed.kept);
        let end = self.end.expect("it has ended");
        // What is dropped after this is a probe that has said nothing.
        let heard = std::mem::replace(&mut self.heard, Heard::new(String::new()));
        match heard.judge(end, &self.given) {
            Ok(loaded) => Ok(Probed { loaded, took, printed }),
            Err(fault) => Err(fault.with_printed(printed)),
        }
    }

    /// What was wrong, where something was.
    fn judged(mut self) -> ProbeFault {
        if let Err(error) = self.finish() {
            return watched(error);
        }
        let unexplained = || ProbeFault::Child { doing: "understood", source: io::ErrorKind::InvalidData.into() };
        self.outcome().err().unwrap_or_else(unexplained)
    }
}

impl<T> Drop for Probe<T> {
    fn drop(&mut self) {
        if matches!(self.end, None | Some(ProbeEnd::TimedOut { .. })) {
            end(&mut self.child);
        }
    }
}

/// Our end of the pipe by which rooms come to the child.
struct ToChild<'a, T>(&'a mut Probe<T>);

impl<T: DeserializeOwned> Write for ToChild<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let Some(mut rooms) = self.0.rooms.as_ref() else { return Err(io::ErrorKind::BrokenPipe.into()) };
            match rooms.write(bytes) {
                // What the child prints meanwhile must be read, or it would wait for that.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if matches!(self.0.wait(true)?, Awake::Ended) {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn watched(source: io::Error) -> ProbeFault {
    ProbeFault::Child { doing: "watched", source }
}

/// Ends the child if it still runs, and everything that its plugin has forked.
fn end(child: &mut Child) {
    end_group(child);
    // Fails for one that was waited for already.
    let _ = child.wait();
}

fn end_group(child: &Child) {
    // No such group: it had never become one, or nobody is left in it.
    let _ = kill_process_group(pid(child), Signal::KILL);
}

fn end_of(status: ExitStatus) -> ProbeEnd {
    status.signal().map_or_else(|| ProbeEnd::Exit(status.code().unwrap_or(-1)), ProbeEnd::Signal)
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Unlikely to be guessed by what a plugin happens to print.
fn nonce() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:016x}", RandomState::new().hash_one(Instant::now()))
}
