//! Where the engine's log lines go: to standard error, for a human or as JSON. Standard output is for what a caller asked for.
//!
//! Rooms log on their own threads: none waits for a reader that has stopped reading, and nothing fails because there is none.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::pipe::PIPE_BUF;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `human` on a terminal, `json` elsewhere.
    #[default]
    Auto,
    Human,
    Json,
}

/// Why the log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("RUST_LOG={value:?} is not a filter: {source}; accepted is one such as info or engine=debug")]
    Filter { value: String, source: tracing_subscriber::filter::ParseError },
}

/// What is logged where `RUST_LOG` says nothing.
pub const FILTER: &str = "info";
/// The same beside somebody at work on a logic: what the logic logs, and of the engine what is wrong.
pub const FILTER_DEV: &str = "info,engine=warn";

/// Starts logging for the whole process; a second call changes nothing. `filter` is for where `RUST_LOG` says nothing.
///
/// # Errors
/// [`LogError::Filter`] if `RUST_LOG` cannot be parsed.
pub fn start(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let value = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = if value.is_empty() { filter } else { &value };
    let filter = EnvFilter::try_new(filter).map_err(|source| LogError::Filter { value: value.clone(), source })?;
    let is_terminal = io::stderr().is_terminal();
    let is_json = format == LogFormat::Json || (format == LogFormat::Auto && !is_terminal);
    STANDARD_ERROR.0.lock().is_json = is_json;
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_writer(|| &STANDARD_ERROR);
    let started = match is_json {
        true => lines.json().flatten_event(true).try_init(),
        false => lines.with_ansi(is_terminal).try_init(),
    };
    if started.is_err() {
        // Only a test process, which shares one subscriber, gets here.
        tracing::debug!("logging was started before");
    }
    Ok(())
}

/// A line for a person, whoever reads it.
pub fn tell(line: impl fmt::Display) {
    STANDARD_ERROR.0.lock().put(format!("{line}\n").as_bytes());
}

/// How many lines had to be left out since the start, because nobody took them.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

static STANDARD_ERROR: Lines = Lines(Mutex::new(State::new()));
static LOST: AtomicU64 = AtomicU64::new(0);

/// How long a line waits for its reader at most; and not at all until one has gone out without that.
const PATIENCE: Duration = Duration::from_millis(50);

/// Lines on their way out, one after the other.
#[derive(Debug)]
struct Lines(Mutex<State>);

#[derive(Debug)]
struct State {
    is_json: bool,
    out: Option<Out>,
    /// Whether the line before this one had to wait.
    is_slow: bool,
    /// Whether it was taken in part.
    is_cut: bool,
    /// Lost, and nobody knows.
    untold: u64,
}

/// Each write is a line.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().put(&unbroken(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// With no break but that at its end: what a logic or a player says must not look like a line of its own.
fn unbroken(line: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = line.split_at(line.len() - usize::from(line.ends_with(b"\n")));
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !text.iter().any(is_break) {
        return line.into();
    }
    let text = text.iter().map(|byte| if is_break(byte) { b' ' } else { *byte });
    text.chain(end.iter().copied()).collect()
}

/// A text on one line, without what a terminal would obey.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    let breaks = |char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
    if text.contains(breaks) { text.replace(breaks, " ").into() } else { text.into() }
}

impl State {
    const fn new() -> State {
        State { is_json: false, out: None, is_slow: false, is_cut: false, untold: 0 }
    }

    /// To standard error.
    fn put(&mut self, line: &[u8]) {
        let out = self.out.take().map_or_else(|| Out::to(rustix::stdio::stderr()), Ok);
        match &out {
            Ok(out) => self.put_to(out, line),
            Err(_) => self.lose(),
        }
        self.out = out.ok();
    }

    fn put_to(&mut self, out: &Out, line: &[u8]) {
        let patience = if self.is_slow { Duration::ZERO } else { PATIENCE };
        let mut wait = Wait { until: Instant::now() + patience, has_begun: false };
        if self.is_cut && self.write(out, b"\n", &mut wait) {
            self.is_cut = false;
        }
        if self.untold > 0 && !self.is_cut && self.write(out, self.told().as_bytes(), &mut wait) {
            self.untold = 0;
        }
        if self.untold > 0 || self.is_cut || !self.write(out, line, &mut wait) {
            self.lose();
        }
        self.is_slow = wait.has_begun;
    }

    fn lose(&mut self) {
        self.untold += 1;
        LOST.fetch_add(1, Ordering::Relaxed);
    }

    fn told(&self) -> String {
        let (at, lost) = (Timestamp::now(), self.untold);
        if self.is_json {
            let message = format!("{lost} lines of the log were lost: nobody took them");
            let line =
                serde_json::json!({ "timestamp": at, "level": "WARN", "message": message, "target": module_path!() });
            format!("{line}\n")
        } else {
            format!("{at}  WARN {}: {lost} lines of the log were lost: nobody took them\n", module_path!())
        }
    }

    /// False if it was not taken, or not all of it.
    fn write(&mut self, out: &Out, bytes: &[u8], wait: &mut Wait) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            match out.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if wait.is_worth_it(out) => {}
                Err(_) => {
                    self.is_cut |= rest.len() < bytes.len();
                    return false;
                }
            }
        }
        true
    }
}

/// What one line may wait, with all that goes before it.
struct Wait {
    until: Instant,
    /// Whether there was anything to wait for.
    has_begun: bool,
}

impl Wait {
    /// Returns true once something fits, or false when the time is over.
    fn is_worth_it(&mut self, out: &Out) -> bool {
        self.has_begun = true;
        let left = self.until.saturating_duration_since(Instant::now());
        !left.is_zero() && out.takes_some(left)
    }
}

/// A way to write that does not wait.
#[derive(Debug)]
struct Out {
    fd: OwnedFd,
    way: Way,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    /// A pipe or a terminal, opened once more: that a write may not wait is told of what was opened, and others write to the first,
    /// the shell among them.
    Own,
    Socket,
    /// A file, which takes all at once; or what cannot be opened again.
    Shared,
}

impl Out {
    fn to(fd: impl AsFd) -> io::Result<Out> {
        let fd = fd.as_fd();
        let kind = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
        if matches!(kind, FileType::Fifo | FileType::CharacterDevice) {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            if let Ok(fd) = rustix::fs::open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty()) {
                return Ok(Out { fd, way: Way::Own });
            }
        }
        let way = if kind == FileType::Socket { Way::Socket } else { Way::Shared };
        Ok(Out { fd: fd.try_clone_to_owned()?, way })
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self.way {
            Way::Own => rustix::io::write(&self.fd, bytes),
            Way::Socket => rustix::net::send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Way::Shared if self.takes_some(Duration::ZERO) => {
                // So much fits into a pipe that takes anything.
                rustix::io::write(&self.fd, &bytes[..bytes.len().min(PIPE_BUF)])
            }
            Way::Shared => Err(Errno::AGAIN),
        }
    }

    /// Whether anything fits, at the latest when so much of a second has passed.
    fn takes_some(&self, wait: Duration) -> bool {
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
        // One that a signal ends has waited: that is rare.
        poll(&mut [PollFd::new(&self.fd, PollFlags::OUT)], Some(&wait)).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::net::UnixStream;

    use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

    use super::*;

    /// All that is there now.
    fn taken(from: &mut impl io::Read) -> String {
        let mut bytes = vec![0; 1 << 20];
        let count = from.read(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    fn check_stalled_reader(out: &Out, mut reader: impl io::Read, is_json: bool) {
        let mut state = State { is_json, ..State::new() };
        let line = format!("{}\n", "x".repeat(2 * PIPE_BUF));
        let mut put = 0_u64;
        while state.untold < 3 {
            state.put_to(out, line.as_bytes());
            put += 1;
        }
        let read = taken(&mut reader);
        assert_eq!(read.matches(&line).count() as u64, put - 3);
        state.put_to(out, b"again\n");
        assert_eq!(state.untold, 0);
        let read = taken(&mut reader);
        let lines: Vec<_> = read.trim_start().lines().collect();
        let [told, "again"] = lines[..] else { panic!("{read}") };
        assert!(told.contains("3 lines of the log were lost"), "{told}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(told).is_ok(), is_json, "{told}");
    }

    #[test]
    fn a_reader_that_stops_reading_costs_lines_and_is_told_how_many() {
        for is_json in [false, true] {
            let (reader, writer) = io::pipe().unwrap();
            check_stalled_reader(&Out::to(&writer).unwrap(), reader, is_json);
            let (reader, writer) = io::pipe().unwrap();
            check_stalled_reader(&Out { fd: writer.into(), way: Way::Shared }, reader, is_json);
        }
    }

    #[test]
    fn a_socket_or_a_terminal_that_takes_nothing_more_costs_lines() {
        let (_reader, socket) = UnixStream::pair().unwrap();
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&master).unwrap();
        let terminal = ptsname(&master, Vec::new()).unwrap();
        let terminal = File::options().write(true).open(terminal.to_str().unwrap()).unwrap();
        for out in [Out::to(&socket), Out::to(&terminal)] {
            let (out, mut state) = (out.unwrap(), State::new());
            assert!(!matches!(out.way, Way::Shared));
            while state.untold < 3 {
                state.put_to(&out, &[b'x'; 401]);
            }
        }
    }

    #[test]
    fn a_file_is_written_to_where_its_descriptor_stands() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before\n").unwrap();
        let (out, mut state) = (Out::to(&file).unwrap(), State::new());
        let line = [b'x'; 3 * PIPE_BUF];
        state.put_to(&out, &line);
        assert_eq!((state.untold, file.metadata().unwrap().len()), (0, 7 + line.len() as u64));
    }

    #[test]
    fn no_text_looks_like_a_line_of_its_own() {
        assert_eq!(&*unbroken(b"one\n"), b"one\n");
        assert_eq!(&*unbroken(b"one\r\ntwo\nthree\n"), b"one  two three\n");
        assert_eq!(&*unbroken(b"\nno end"), b" no end");
        assert_eq!(&*unbroken(b""), b"");
        assert_eq!(one_line("\x1b[31mred\none\u{2028}line"), " [31mred one line");
        assert_eq!(one_line("as it is"), "as it is");
    }

    #[test]
    fn nothing_fails_without_a_reader() {
        let (reader, writer) = io::pipe().unwrap();
        let (gone, full) = (Out::to(&writer).unwrap(), File::options().write(true).open("/dev/full").unwrap());
        drop(reader);
        let mut state = State::new();
        for out in [&gone, &gone, &Out::to(full).unwrap()] {
            state.put_to(out, b"line\n");
        }
        assert_eq!((state.untold, state.is_slow), (3, false));
    }
}
