//! The versions that failed, on disk: `failed-versions.json` in the data folder.
//!
//! A version is its file's content: a new build of it is another one, and not in here.

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
const FAILED_FILE: &str = "failed-versions.json";
/// Versions that are kept; the oldest go.
const FAILED_KEPT_MAX: usize = 256;

/// A version that was on trial and did not stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// The trial that it failed in; 0 where an engine of before did not note it. Trials are compared by this, for the machine's clock
    /// may have been set back since.
    #[serde(default)]
    pub trial: TrialId,
    pub sha256: Sha256,
    pub version: u32,
    pub name: String,
    /// In one line.
    pub reason: String,
    /// Who rolled it back: an operator, or the engine.
    pub who: String,
    pub at: Timestamp,
}

/// The failed versions of one data folder.
#[derive(Debug)]
pub struct FailedVersions {
    files: Arc<dyn Files>,
    path: PathBuf,
    /// Oldest first. Held while the file is written: it is written whole.
    known: Mutex<Vec<Failed>>,
}

/// Why failed versions cannot be read. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum FailedError {
    #[error("{file} cannot be read: {source}")]
    Read { file: String, source: io::Error },
    #[error("{file} is damaged: {reason}; remove it, and no version is known to have failed")]
    Damaged { file: String, reason: String },
}

impl FailedVersions {
    /// Reads what the data folder has.
    ///
    /// # Errors
    /// [`FailedError`].
    pub fn open(files: Arc<dyn Files>, data: &Path) -> Result<FailedVersions, FailedError> {
        let path = data.join(FAILED_FILE);
        let file = || path.display().to_string();
        let read = checked::read(&*files, &path).map_err(|error| match error {
            CheckedError::Read(source) => FailedError::Read { file: file(), source },
            CheckedError::Damaged(reason) => FailedError::Damaged { file: file(), reason },
        })?;
        Ok(FailedVersions { files, path, known: Mutex::new(read.unwrap_or_default()) })
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Failed> {
        self.known.lock().clone()
    }

    /// The highest number of a trial that one of them failed in; 0 if there is none.
    #[must_use]
    pub fn last_trial(&self) -> TrialId {
        self.known.lock().iter().map(|failed| failed.trial).max().unwrap_or_default()
    }

    #[must_use]
    pub fn find(&self, sha256: &Sha256) -> Option<Failed> {
        self.known.lock().iter().find(|failed| failed.sha256 == *sha256).cloned()
    }

    /// Remembers a failure, in place of an earlier one of the same version. Blocks until it is on disk; it is remembered until
    /// the engine ends even if it cannot be written.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn remember(&self, failed: Failed) -> Result<(), LogError> {
        let mut known = self.known.lock();
        known.retain(|other| other.sha256 != failed.sha256);
        known.push(failed);
        let more = known.len().saturating_sub(FAILED_KEPT_MAX);
        known.drain(..more);
        self.write(&known)
    }

    /// Forgets a version that has stayed after all. Blocks until that is on disk.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn forget(&self, sha256: &Sha256) -> Result<(), LogError> {
        let mut known = self.known.lock();
        let before = known.len();
        known.retain(|failed| failed.sha256 != *sha256);
        if known.len() == before { Ok(()) } else { self.write(&known) }
    }

    fn write(&self, known: &[Failed]) -> Result<(), LogError> {
        let bytes = checked::encode(&known);
        let points = Some(&Placing::FAILED);
        place(&*self.files, &self.path, |file| file.append(&bytes), |_| Ok(()), points).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::checked::tests::check_damage;
    use crate::journal::files::Disk;

    fn open(data: &Path) -> Result<FailedVersions, FailedError> {
        FailedVersions::open(Arc::new(Disk), data)
    }

    fn failed(content: u64, reason: &str) -> Failed {
        let (who, at) = ("the engine".to_owned(), "2026-01-02T03:04:05Z".parse().unwrap());
        let sha256 = Sha256::of(&content.to_le_bytes());
        Failed {
            trial: TrialId(content),
            sha256,
            version: 1002,
            name: "game2".to_owned(),
            reason: reason.to_owned(),
            who,
            at,
        }
    }

    #[test]
    fn a_version_is_remembered_by_its_content_until_it_is_forgotten() {
        let data = tempfile::tempdir().unwrap();
        let versions = open(data.path()).unwrap();
        versions.remember(failed(1, "it was slow")).unwrap();
        versions.remember(failed(2, "it was wrong")).unwrap();
        versions.remember(failed(1, "it was slow again")).unwrap();
        let versions = open(data.path()).unwrap();
        assert_eq!(versions.find(&failed(1, "").sha256), Some(failed(1, "it was slow again")));
        assert_eq!(versions.find(&failed(3, "").sha256), None);
        versions.forget(&failed(1, "").sha256).unwrap();
        versions.forget(&failed(3, "").sha256).unwrap();
        let versions = open(data.path()).unwrap();
        assert_eq!((versions.find(&failed(1, "").sha256), versions.known.lock().len()), (None, 1));
    }

    #[test]
    fn the_oldest_failures_go() {
        let data = tempfile::tempdir().unwrap();
        let versions = open(data.path()).unwrap();
        let contents = 0..FAILED_KEPT_MAX as u64 + 2;
        contents.clone().for_each(|content| versions.remember(failed(content, "")).unwrap());
        let kept: Vec<_> = contents.filter(|content| versions.find(&failed(*content, "").sha256).is_some()).collect();
        assert_eq!((kept[0], kept.len()), (2, FAILED_KEPT_MAX));
    }

    #[test]
    fn a_bit_that_flipped_and_an_end_that_is_missing_are_told() {
        let data = tempfile::tempdir().unwrap();
        let versions = open(data.path()).unwrap();
        versions.remember(failed(1, "it was slow")).unwrap();
        check_damage::<Vec<Failed>>(&std::fs::read(data.path().join(FAILED_FILE)).unwrap());
    }

    #[test]
    fn a_damaged_file_is_told_with_what_to_do() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(FAILED_FILE), "[{}]").unwrap();
        let error = open(data.path()).unwrap_err().to_string();
        assert_eq!(
            error.replace(&data.path().display().to_string(), "FOLDER"),
            "FOLDER/failed-versions.json is damaged: missing field `sha256` at line 1 column 3; remove it, and no version \
             is known to have failed"
        );
    }

    #[test]
    fn what_cannot_be_written_is_remembered_all_the_same() {
        let data = tempfile::tempdir().unwrap();
        let versions = open(data.path()).unwrap();
        std::fs::create_dir(data.path().join("failed-versions.json.tmp")).unwrap();
        let error = versions.remember(failed(1, "")).unwrap_err().to_string();
        assert!(error.contains("failed-versions.json.tmp failed: "), "{error}");
        assert!(versions.find(&failed(1, "").sha256).is_some());
    }
}
