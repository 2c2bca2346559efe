//! What a process says of its end, if it has a say in it: by what, and in which input. A process that is killed from outside, or goes
//! with the machine, says nothing, and then the input that was under way may have nothing to do with it.
//!
//! `<data>/last-word` is mapped. `docs/journal.md`, "Black box".

use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use parking_lot::Mutex;
use rustix::process::Signal;

use super::files::Files;
use super::log::LogError;
use super::segments::failed;

#[expect(unsafe_code, reason = "signal handlers")]
mod raw;

/// By these a process ends itself; by any other it is ended, and no input is to blame.
pub const FAULTS: [Signal; 6] = [Signal::ABORT, Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE, Signal::TRAP];

const FILE: &str = "last-word";
const MAGIC: u64 = u64::from_le_bytes(*b"HOTLAST1");
const FILE_BYTES: usize = 24;
const EXIT: u64 = 1 << 8;
const WATCHDOG: u64 = EXIT + 1;

/// What the process before this one ended by, and in which input, as `black_box::Identity` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastWord {
    pub cause: Cause,
    pub input: u64,
}

/// How an input may end the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// One of [`FAULTS`].
    Signal(u8),
    /// A call of `exit`.
    Exit,
    /// It did not return, and the watchdog put another process in place of this one.
    Watchdog,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "by signal {signal}"),
            Self::Exit => f.write_str("by a call of exit"),
            Self::Watchdog => f.write_str("by the watchdog"),
        }
    }
}

impl LastWord {
    /// Of the process that had this data folder last; `None` if it said nothing.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(files: &dyn Files, data: &Path) -> Result<Option<LastWord>, LogError> {
        let path = data.join(FILE);
        let bytes = match files.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("reading", &path)(source)),
        };
        Ok(LastWord::decode(&bytes))
    }

    fn decode(bytes: &[u8]) -> Option<LastWord> {
        let mut words = bytes.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?)));
        let (magic, cause, input) = (words.next()?, words.next()?, words.next()?);
        let cause = match cause {
            EXIT => Cause::Exit,
            WATCHDOG => Cause::Watchdog,
            signal => Cause::Signal(u8::try_from(signal).ok().filter(|signal| *signal > 0)?),
        };
        (magic == MAGIC).then_some(LastWord { cause, input })
    }
}

/// The input that one thread is at. It outlives the thread, for others look at it.
struct Here {
    thread: usize,
    /// 0 for none.
    input: AtomicU64,
}

static WORDS: OnceLock<&'static [AtomicU64]> = OnceLock::new();
static THREADS: Mutex<Vec<&'static Here>> = Mutex::new(Vec::new());

thread_local! {
    /// Without anything to make or to drop, so that a signal handler can look at it.
    static HERE: Cell<Option<&'static Here>> = const { Cell::new(None) };
}

/// From here on this process says what it ends by. What the one before has said is there until [`forget`].
///
/// # Errors
/// The file cannot be mapped, or a signal not be caught.
pub fn arm(files: &dyn Files, data: &Path) -> Result<(), LogError> {
    let path = data.join(FILE);
    let words = files.map(&path, FILE_BYTES).map_err(failed("mapping", &path))?.kept_mapped();
    if words[0].load(Ordering::Relaxed) != MAGIC {
        words[1].store(0, Ordering::Relaxed);
        words[0].store(MAGIC, Ordering::Relaxed);
    }
    // There is one data folder to a process.
    let words = WORDS.get_or_init(|| words);
    assert_eq!(words.len(), FILE_BYTES / 8);
    raw::catch(&FAULTS).map_err(failed("catching signals for", &path))
}

/// From here on a file that may not become longer (`ulimit -f`) is told by the call that writes to it, be it of the journal or of the
/// log, in place of ending this process without a word.
///
/// # Errors
/// The signal that it comes with cannot be caught.
pub fn have_large_files_fail() -> std::io::Result<()> {
    raw::have_large_files_fail()
}

/// What the process before this one said has been heard; and this one has not ended after all.
pub fn forget() {
    if let Some(words) = WORDS.get() {
        words[1].store(0, Ordering::Relaxed);
    }
}

/// This thread is at an input from here on.
#[inline]
pub(super) fn begins(input: u64) {
    here().input.store(input, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
}

#[inline]
pub(super) fn ended() {
    compiler_fence(Ordering::SeqCst);
    here().input.store(0, Ordering::Relaxed);
}

/// Names this thread to [`say_watchdog`].
pub fn this_thread() -> usize {
    here().thread
}

#[inline]
fn here() -> &'static Here {
    HERE.get().unwrap_or_else(register)
}

#[cold]
fn register() -> &'static Here {
    let mut threads = THREADS.lock();
    let here: &'static Here = Box::leak(Box::new(Here { thread: threads.len(), input: AtomicU64::new(0) }));
    threads.push(here);
    HERE.set(Some(here));
    here
}

/// The process ends by what this thread is at, if it is at anything. May be called from a signal handler.
fn say(cause: u64) {
    if let Some(here) = HERE.get() {
        write(here, cause);
    }
}

/// The watchdog ends the process by what another thread is at.
pub fn say_watchdog(thread: usize) {
    THREADS.lock().get(thread).iter().for_each(|here| write(here, WATCHDOG));
}

fn write(here: &Here, cause: u64) {
    let (Some(words), input) = (WORDS.get(), here.input.load(Ordering::Relaxed)) else { return };
    if input == 0 {
        return;
    }
    words[1].store(0, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    words[2].store(input, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    words[1].store(cause, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_word_counts() {
        let bytes = |magic: u64, cause: u64| [magic, cause, 7].map(u64::to_le_bytes).concat();
        let check = |bytes: &[u8], expected: Option<Cause>| {
            let expected = expected.map(|cause| LastWord { cause, input: 7 });
            assert_eq!(LastWord::decode(bytes), expected);
        };
        check(&bytes(MAGIC, 6), Some(Cause::Signal(6)));
        check(&bytes(MAGIC, EXIT), Some(Cause::Exit));
        check(&bytes(MAGIC, WATCHDOG), Some(Cause::Watchdog));
        for cause in [0, WATCHDOG + 1, u64::MAX] {
            check(&bytes(MAGIC, cause), None);
        }
        check(&bytes(MAGIC ^ 1, 6), None);
        (0..FILE_BYTES).for_each(|len| check(&bytes(MAGIC, 6)[..len], None));
    }
}
