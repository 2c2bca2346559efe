//! Where the engine's log lines go: to standard error, for a human or as JSON. Standard output is for what a caller asked for.
//!
//! Rooms log on their own threads: none waits for a reader that has stopped reading, and nothing fails because there is none.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
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
    STANDARD_ERROR.0.lock().put(rustix::stdio::stderr(), format!("{line}\n").as_bytes());
}

/// How many lines had to be left out since the start, because nobody took them.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

static STANDARD_ERROR: Lines = Lines(Mutex::new(State { is_json: false, is_stalled: false, is_cut: false, untold: 0 }));
static LOST: AtomicU64 = AtomicU64::new(0);

/// How long a line waits for its reader at most; and not at all while one before it waits in vain.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
const NO_PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Lines on their way out, one after the other.
#[derive(Debug)]
struct Lines(Mutex<State>);

#[derive(Debug)]
struct State {
    is_json: bool,
    /// Whether the line before this one was not taken.
    is_stalled: bool,
    /// Whether it was taken in part.
    is_cut: bool,
    /// Lost, and nobody knows.
    untold: u64,
}

/// Each write is a line.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().put(rustix::stdio::stderr(), &unbroken(line));
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
    fn put(&mut self, to: impl AsFd, line: &[u8]) {
        let to = to.as_fd();
        if self.is_cut && self.write(to, b"\n") {
            self.is_cut = false;
        }
        if self.untold > 0 && !self.is_cut && self.write(to, self.told().as_bytes()) {
            self.untold = 0;
        }
        if self.untold > 0 || self.is_cut || !self.write(to, line) {
            self.untold += 1;
            LOST.fetch_add(1, Ordering::Relaxed);
        }
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
    fn write(&mut self, to: BorrowedFd<'_>, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let patience = if self.is_stalled { NO_PATIENCE } else { PATIENCE };
            let mut ready = [PollFd::new(&to, PollFlags::OUT)];
            let written = match poll(&mut ready, Some(&patience)) {
                Ok(0) => Err(Errno::AGAIN),
                // So much fits into a pipe that takes anything.
                Ok(_) => rustix::io::write(to, &rest[..rest.len().min(PIPE_BUF)]),
                Err(error) => Err(error),
            };
            match written {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.is_stalled = error == Errno::AGAIN;
                    self.is_cut |= rest.len() < bytes.len();
                    return false;
                }
            }
        }
        self.is_stalled = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn state(is_json: bool) -> State {
        State { is_json, is_stalled: false, is_cut: false, untold: 0 }
    }

    /// All that is in the pipe now.
    fn taken(from: &mut io::PipeReader) -> String {
        let mut bytes = vec![0; 1 << 20];
        let count = io::Read::read(from, &mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_reader_that_stops_reading_costs_lines_and_is_told_how_many() {
        for is_json in [false, true] {
            let (mut reader, writer) = io::pipe().unwrap();
            let mut state = state(is_json);
            let line = format!("{}\n", "x".repeat(2 * PIPE_BUF));
            let mut put = 0_u64;
            while state.untold < 3 {
                state.put(&writer, line.as_bytes());
                put += 1;
            }
            let read = taken(&mut reader);
            let whole = read.matches(&line).count() as u64;
            assert_eq!(whole, put - 3);
            state.put(&writer, b"again\n");
            assert_eq!(state.untold, 0);
            let read = taken(&mut reader);
            let lines: Vec<_> = read.trim_start().lines().collect();
            let [told, "again"] = lines[..] else { panic!("{read}") };
            assert!(told.contains("3 lines of the log were lost"), "{told}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(told).is_ok(), is_json, "{told}");
        }
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
        drop(reader);
        let mut state = state(false);
        state.put(&writer, b"one\n");
        state.put(&writer, b"two\n");
        assert_eq!(state.untold, 2);
        state.put(std::fs::File::options().write(true).open("/dev/full").unwrap(), b"three\n");
        assert_eq!(state.untold, 3);
    }
}
