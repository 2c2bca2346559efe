//! `engine replay` in a process of its own: an input that ends it is told, and the next one goes on without it; one that does not
//! return is told, too.

use std::fs::DirBuilder;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use room::Skipped;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::cli::replay::{ReplayCommandError, ReplayFlags};
use crate::journal::black_box::{self, BlackBox, UnderWay};
use crate::journal::files::Disk;
use crate::journal::last_word::FAULTS;
use crate::logs;

/// The file that a child leaves at its end.
const END: &str = "end";
/// Inputs that may end the process before the replay is given up.
const ENDS_MAX: usize = 16;
/// The start of its folder's name in that for temporary files, before the number of the process.
const FOLDER: &str = "hotseat-replay-";
const LEFT_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// How often the child is looked at: what is under way at two looks in a row is told.
const LOOK_PERIOD: Duration = Duration::from_secs(10);

/// Replays in child processes, each without what ended those before it, until one comes to its end.
///
/// # Errors
/// [`ReplayCommandError`]; of a child that came to an end and failed, it has told why.
pub(super) fn replay(flags: &ReplayFlags) -> Result<String, ReplayCommandError> {
    let folder = Folder::make().map_err(ReplayCommandError::Child)?;
    let mut without: Vec<Skipped> = Vec::new();
    loop {
        let mut child = Command::new("/proc/self/exe");
        child.args(std::env::args_os().skip(1)).arg("--watched").arg(&folder.0);
        child.args(without.iter().flat_map(|skipped| ["--ended".to_owned(), written(*skipped)]));
        let status = status(&mut child, &folder.0).map_err(ReplayCommandError::Child)?;
        if status.signal().is_none() && folder.0.join(END).exists() {
            return if status.success() { Ok(String::new()) } else { Err(ReplayCommandError::Told) };
        }
        // Who ends by a signal that comes from outside is not to blame.
        let is_by_itself = status.signal().is_none_or(|signal| FAULTS.iter().any(|fault| fault.as_raw() == signal));
        let how = match status.signal() {
            Some(signal) => format!("by signal {signal}"),
            None => format!("with exit code {}", status.code().unwrap_or_default()),
        };
        let under_way = BlackBox::under_way(&Disk, &folder.0).map_err(ReplayCommandError::Child)?;
        let (skipped, line) = match under_way {
            Some(UnderWay { skipped, line, .. }) if is_by_itself => (skipped, line),
            Some(UnderWay { line, .. }) => {
                return Err(ReplayCommandError::Ended { how, at: format!("while it was at {line}") });
            }
            None => return Err(ReplayCommandError::Ended { how, at: "in none of its inputs".to_owned() }),
        };
        let ends = format!("{line} ends the process {how}");
        if flags.verify {
            let written = written(skipped);
            return Err(ReplayCommandError::NotVerified(format!("{ends}; --without {written} leaves it out")));
        }
        if without.len() == ENDS_MAX || without.contains(&skipped) {
            return Err(ReplayCommandError::TooMany { ends });
        }
        tell(&format!("{ends}; the replay goes on without it"));
        without.push(skipped);
    }
}

/// Waits for the child, and tells of an input that it does not come to the end of. How long that may take is for a person to say.
fn status(child: &mut Command, folder: &Path) -> io::Result<ExitStatus> {
    let (ended, end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut standstill = Standstill::default();
            while end.recv_timeout(LOOK_PERIOD) == Err(RecvTimeoutError::Timeout) {
                // It is told of for convenience: what cannot be read is not.
                let under_way = under_way_now(folder).ok().flatten();
                standstill.look(under_way).iter().for_each(|line| tell(line));
            }
        });
        let status = child.status();
        drop(ended);
        status
    })
}

/// A line in the place of the child's bar.
fn tell(line: &str) {
    let start = if io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
    logs::tell(format_args!("{start}{line}"));
}

/// What the child is at. Of a copy: it writes while this reads.
fn under_way_now(folder: &Path) -> io::Result<Option<UnderWay>> {
    let copy = folder.join("look");
    std::fs::create_dir_all(&copy)?;
    std::fs::copy(folder.join(black_box::FILE), copy.join(black_box::FILE))?;
    BlackBox::under_way(&Disk, &copy)
}

/// What was under way at the last look.
#[derive(Debug, Default)]
struct Standstill {
    last: Option<UnderWay>,
    is_told: bool,
}

impl Standstill {
    /// What there is to tell after another look.
    fn look(&mut self, now: Option<UnderWay>) -> Option<String> {
        if now != self.last {
            (self.last, self.is_told) = (now, false);
            return None;
        }
        let UnderWay { skipped, line, .. } = self.last.as_ref()?;
        if std::mem::replace(&mut self.is_told, true) {
            return None;
        }
        let seconds = LOOK_PERIOD.as_secs();
        let advice = match skipped.record {
            0 => String::new(),
            _ => format!("; Ctrl-C ends the replay, and --without {} leaves it out", written(*skipped)),
        };
        Some(format!("{line} has not returned for {seconds} s{advice}"))
    }
}

/// Such a child does not outlive its parent.
pub(super) fn begin() {
    // It may have gone just now: then nobody reads what comes of this.
    let _ends_with_it = set_parent_process_death_signal(Some(Signal::KILL));
}

/// Notes that this child has come to its end, and has told what it came to: code that it runs may end it with any exit code.
///
/// # Errors
/// The note cannot be written.
pub(super) fn end(folder: &Path) -> io::Result<()> {
    std::fs::write(folder.join(END), "")
}

/// `RECORD`, or `RECORD.INPUT` for an input since the swap that a rewind takes back.
pub(super) fn parse(text: &str) -> Result<Skipped, String> {
    let (record, again) = text.split_once('.').unwrap_or((text, "0"));
    match (record.parse(), again.parse()) {
        (Ok(record), Ok(again)) if record > 0 => Ok(Skipped { record, again }),
        _ => Err("a record's number is expected, or that of a rewind, a dot and the number of an input since the swap"
            .into()),
    }
}

pub(super) fn written(skipped: Skipped) -> String {
    match skipped {
        Skipped { record, again: 0 } => record.to_string(),
        Skipped { record, again } => format!("{record}.{again}"),
    }
}

/// Where a child notes what it is about to do; removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn make() -> io::Result<Folder> {
        Folder::make_in(&std::env::temp_dir())
    }

    fn make_in(folder: &Path) -> io::Result<Folder> {
        sweep(folder);
        let mut number = 0_u32;
        loop {
            let path = folder.join(format!("{FOLDER}{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder(path)),
                // Of a thread of its own, or of somebody else.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Removes what those left behind that were ended by Ctrl-C, or killed: after a day, for a process that is not known here may be one
/// of another container.
fn sweep(folder: &Path) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(FOLDER)?.split('-').next()?.parse::<u32>().ok());
        let made = entry.metadata().and_then(|made| made.modified()).ok();
        let is_old = made.and_then(|made| made.elapsed().ok()).is_some_and(|age| age > LEFT_AFTER);
        if is_old && process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // It may be somebody else's.
            let _left_behind = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing depends on it.
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_processes_that_are_gone_is_removed() {
        let temporary = tempfile::tempdir().unwrap();
        // No process has this number: it is above what Linux gives.
        let [left, new] = [0, 1].map(|number| temporary.path().join(format!("{FOLDER}4294967295-{number}")));
        [&left, &new].into_iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
        let long_ago = std::time::SystemTime::now() - 2 * LEFT_AFTER;
        std::fs::File::open(&left).unwrap().set_modified(long_ago).unwrap();
        let folder = Folder::make_in(temporary.path()).unwrap();
        let another = Folder::make_in(temporary.path()).unwrap();
        assert!(!left.exists() && new.exists());
        assert!(folder.0.exists() && another.0.exists());
        let (first, second) = (folder.0.clone(), another.0.clone());
        drop((folder, another));
        assert!(!first.exists() && !second.exists());
    }

    #[test]
    fn an_input_that_is_under_way_at_two_looks_is_told_once() {
        let at = |record| {
            Some(UnderWay { skipped: Skipped { record, again: 0 }, line: format!("input {record}"), version: 1 })
        };
        let mut standstill = Standstill::default();
        let told: Vec<_> = [None, None, at(3), at(4), at(4), at(4), None, at(4), at(0), at(0)]
            .into_iter()
            .filter_map(|now| standstill.look(now))
            .collect();
        let expected = [
            "input 4 has not returned for 10 s; Ctrl-C ends the replay, and --without 4 leaves it out",
            "input 0 has not returned for 10 s",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_left_out_is_written_as_it_is_read() {
        for (text, record, again) in [("17", 17, 0), ("17.3", 17, 3)] {
            assert_eq!(parse(text), Ok(Skipped { record, again }));
            assert_eq!(written(Skipped { record, again }), text);
        }
        for text in ["", "0", "x", "1.", "1.x", "-1", "1.2.3"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
