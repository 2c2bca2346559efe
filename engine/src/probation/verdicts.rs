//! What was decided of trials, on disk: `verdicts.json` in the data folder.
//!
//! A trial ends in many rooms, each with a journal of its own. What makes that one step is this file: a trial stays from the
//! moment when it is in here, written and synced, and only then are the rooms told. So a room whose journal ends within a trial
//! is brought to what all rooms come to by asking [`Verdicts::of`] alone. A version without a verdict goes: it gets no second
//! trial.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use room::TrialId;
use serde::{Deserialize, Serialize};

use crate::journal::checked::{self, CheckedError};
use crate::journal::files::Files;
use crate::journal::log::LogError;
use crate::journal::segments::place;
use crate::loader::digest::Sha256;
use crate::points::Placing;

/// The name of the file in the data folder.
const VERDICTS_FILE: &str = "verdicts.json";
/// The version of its format.
const FORMAT: u32 = 1;
/// Confirmed trials that are kept: only that of a room's last swap is ever asked for, and only until the room's journal has it
/// on disk, which takes less than a few swaps.
const CONFIRMED_KEPT_MAX: usize = 256;

/// What becomes of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// `Input::Confirm`, in every room.
    Confirm,
    /// `Input::Rewind`, in every room.
    Rewind,
}

/// The verdicts of one data folder.
#[derive(Debug)]
pub struct Verdicts {
    files: Arc<dyn Files>,
    path: PathBuf,
    /// Held while the file is written: it is written whole.
    known: Mutex<Known>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    format: u32,
    /// Oldest first.
    confirmed: Vec<Tried>,
    /// Without a verdict as yet.
    under_way: Option<Tried>,
}

/// A version on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    pub trial: TrialId,
    pub sha256: Sha256,
    pub version: u32,
    pub name: String,
    /// When the trial began, and once it is confirmed, when that was.
    pub at: Timestamp,
}

/// Why verdicts cannot be read. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum VerdictsError {
    #[error("{file} cannot be read: {source}")]
    Read { file: String, source: io::Error },
    #[error("{file} is damaged: {reason}; remove it, and rooms that are in the middle of a trial go back to before it")]
    Damaged { file: String, reason: String },
}

impl Verdicts {
    /// Reads what the data folder has. The second is the version whose trial had no verdict when the last engine went: it was
    /// killed, or the version killed it.
    ///
    /// # Errors
    /// [`VerdictsError`].
    pub fn open(files: Arc<dyn Files>, data: &Path) -> Result<(Verdicts, Option<Tried>), VerdictsError> {
        let path = data.join(VERDICTS_FILE);
        let damaged = |reason| VerdictsError::Damaged { file: shown(&path), reason };
        let read = checked::read::<Known>(&*files, &path).map_err(|error| match error {
            CheckedError::Read(source) => VerdictsError::Read { file: shown(&path), source },
            CheckedError::Damaged(reason) => damaged(reason),
        })?;
        let known = read.unwrap_or(Known { format: FORMAT, confirmed: Vec::new(), under_way: None });
        if known.format != FORMAT {
            return Err(damaged(format!("its format is {}, this engine reads {FORMAT}", known.format)));
        }
        let interrupted = known.under_way.clone();
        Ok((Verdicts { files, path, known: Mutex::new(known) }, interrupted))
    }

    /// What becomes of a trial whose room has lost sight of it.
    #[must_use]
    pub fn of(&self, trial: TrialId) -> Verdict {
        let is_confirmed = self.known.lock().confirmed.iter().any(|tried| tried.trial == trial);
        if is_confirmed { Verdict::Confirm } else { Verdict::Rewind }
    }

    /// A number above that of every trial of this folder, `failed` the highest of one that failed. It tells the time, for people who
    /// read it.
    #[must_use]
    pub fn next_trial(&self, failed: TrialId) -> TrialId {
        let known = self.known.lock();
        let last =
            known.confirmed.iter().chain(&known.under_way).map(|tried| tried.trial.0).max().unwrap_or(0).max(failed.0);
        let now_us = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0);
        TrialId(now_us.max(last.saturating_add(1)))
    }

    /// Notes that a trial begins, before any room is swapped. Blocks until that is on disk.
    ///
    /// # Errors
    /// [`LogError`]: the trial must not begin.
    pub fn begin(&self, tried: Tried) -> Result<(), LogError> {
        self.change(|known| known.under_way = Some(tried))
    }

    /// Decides that a version stays. Blocks until that is on disk, and only then may a room be told.
    ///
    /// # Errors
    /// [`LogError`]: it is not known what the next start will find, so this engine must not go on as if it were.
    pub fn confirm(&self, tried: Tried) -> Result<(), LogError> {
        self.change(|known| {
            known.under_way = None;
            let more = (known.confirmed.len() + 1).saturating_sub(CONFIRMED_KEPT_MAX);
            known.confirmed.drain(..more);
            known.confirmed.push(tried);
        })
    }

    /// Notes that the trial under way is over without the version having stayed, or that the engine ends in order during it:
    /// either way the version is not to blame for an end of the process.
    ///
    /// # Errors
    /// [`LogError`]: the next start may blame it.
    pub fn end(&self) -> Result<(), LogError> {
        if self.known.lock().under_way.is_none() {
            return Ok(());
        }
        self.change(|known| known.under_way = None)
    }

    /// The last trial in which a version was confirmed, as far as that is kept.
    #[must_use]
    pub fn confirmed_in(&self, sha256: &Sha256) -> Option<TrialId> {
        let known = self.known.lock();
        known.confirmed.iter().filter(|tried| tried.sha256 == *sha256).map(|tried| tried.trial).max()
    }

    /// Changes both what is known and the file; after an error, what is known is as before.
    fn change(&self, change: impl FnOnce(&mut Known)) -> Result<(), LogError> {
        let mut known = self.known.lock();
        let mut changed = known.clone();
        change(&mut changed);
        let bytes = checked::encode(&changed);
        let points = Some(&Placing::VERDICTS);
        place(&*self.files, &self.path, |file| file.append(&bytes), |_| Ok(()), points)?;
        *known = changed;
        Ok(())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::checked::tests::check_damage;
    use crate::journal::files::Disk;

    fn open(data: &Path) -> Result<(Verdicts, Option<Tried>), VerdictsError> {
        Verdicts::open(Arc::new(Disk), data)
    }

    fn tried(trial: TrialId) -> Tried {
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        Tried { trial, sha256: Sha256::of(b"a"), version: 1002, name: "game2".to_owned(), at }
    }

    #[test]
    fn only_what_was_confirmed_stays_also_for_the_next_engine() {
        let data = tempfile::tempdir().unwrap();
        let (verdicts, interrupted) = open(data.path()).unwrap();
        assert_eq!(interrupted, None);
        let first = verdicts.next_trial(TrialId(0));
        assert_eq!(verdicts.of(first), Verdict::Rewind);
        verdicts.begin(tried(first)).unwrap();
        assert_eq!(verdicts.of(first), Verdict::Rewind);
        verdicts.confirm(tried(first)).unwrap();
        let second = verdicts.next_trial(TrialId(0));
        assert!(second > first && verdicts.next_trial(TrialId(u64::MAX - 1)) == TrialId(u64::MAX));
        verdicts.begin(tried(second)).unwrap();
        assert!(verdicts.next_trial(TrialId(0)) > second);

        let (verdicts, interrupted) = open(data.path()).unwrap();
        assert_eq!(interrupted, Some(tried(second)));
        assert_eq!((verdicts.of(first), verdicts.of(second)), (Verdict::Confirm, Verdict::Rewind));
        verdicts.end().unwrap();
        assert_eq!(open(data.path()).unwrap().1, None);
    }

    #[test]
    fn the_oldest_verdicts_go() {
        let data = tempfile::tempdir().unwrap();
        let (verdicts, _) = open(data.path()).unwrap();
        let trials = 1..=CONFIRMED_KEPT_MAX as u64 + 2;
        trials.clone().for_each(|trial| verdicts.confirm(tried(TrialId(trial))).unwrap());
        let kept: Vec<_> = trials.filter(|trial| verdicts.of(TrialId(*trial)) == Verdict::Confirm).collect();
        assert_eq!((kept[0], kept.len()), (3, CONFIRMED_KEPT_MAX));
    }

    #[test]
    fn what_cannot_be_written_is_not_decided() {
        let data = tempfile::tempdir().unwrap();
        let (verdicts, _) = open(data.path()).unwrap();
        std::fs::create_dir(data.path().join("verdicts.json.tmp")).unwrap();
        let error = verdicts.confirm(tried(TrialId(1))).unwrap_err().to_string();
        assert!(error.contains("verdicts.json.tmp failed: "), "{error}");
        assert_eq!(verdicts.of(TrialId(1)), Verdict::Rewind);
    }

    #[test]
    fn a_bit_that_flipped_and_an_end_that_is_missing_are_told() {
        let data = tempfile::tempdir().unwrap();
        let (verdicts, _) = open(data.path()).unwrap();
        verdicts.confirm(tried(TrialId(17))).unwrap();
        verdicts.begin(tried(TrialId(18))).unwrap();
        check_damage::<Known>(&std::fs::read(data.path().join(VERDICTS_FILE)).unwrap());
    }

    #[test]
    fn a_damaged_file_is_told_with_what_to_do() {
        let data = tempfile::tempdir().unwrap();
        let check = |text: &str, expected: &str| {
            std::fs::write(data.path().join(VERDICTS_FILE), text).unwrap();
            let error = open(data.path()).unwrap_err().to_string();
            let advice = "remove it, and rooms that are in the middle of a trial go back to before it";
            let expected = format!("FOLDER/verdicts.json is damaged: {expected}; {advice}");
            assert_eq!(error.replace(&data.path().display().to_string(), "FOLDER"), expected);
        };
        check("", "EOF while parsing a value at line 1 column 0");
        check("[]\ncrc32c 12345678\n", "its checksum is \"crc32c 6ed08531\", its last line says otherwise");
        check("{\"format\":2,\"confirmed\":[],\"under_way\":null}", "its format is 2, this engine reads 1");
    }
}
