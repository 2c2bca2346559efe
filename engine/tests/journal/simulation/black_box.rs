//! What the end of a process is laid to, and what comes of it: a model of the engine's black box.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use room::TrialId;

use super::process::{DATA, ROOMS};
use crate::disk::MemoryDisk;

/// Ends in a row, by the process's own word and of whatever kind, after which an input is quarantined.
const FAULTS_MAX: u32 = 2;
const ENDS_MAX: u32 = 5;
/// Of the file: up to the payload.
const HEAD_BYTES: usize = 72;

/// What is the same input, though it comes again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Message(Vec<u8>),
    Tick(u64),
    Swap(TrialId),
    /// By its first random number.
    Record(u64),
    Again(TrialId, u64),
    /// Ends no process.
    Other,
}

pub(super) type Quarantine = BTreeSet<Key>;

/// That of one room.
#[derive(Debug, Clone, Default)]
pub(super) struct BlackBox {
    /// What was under way at the last end, and has not been blamed for it as yet.
    busy: Option<Key>,
    /// What was blamed last, for how many ends, and for how many by the process's word.
    suspect: Option<(Key, u32, u32)>,
    pub(super) quarantine: Quarantine,
}

impl BlackBox {
    pub(super) fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// It has nothing to remember.
    pub(super) fn is_clean(&self) -> bool {
        self.busy.is_none() && self.suspect.is_none() && self.quarantine.is_empty()
    }

    /// The process ends in it.
    pub(super) fn ends_in(&mut self, key: Key) {
        self.busy = Some(key);
    }

    /// It went well, or its fault was caught.
    pub(super) fn passed(&mut self, key: &Key) {
        self.suspect.take_if(|(suspect, ..)| suspect == key);
    }

    /// A rewind came through, past the inputs with these first random numbers.
    pub(super) fn passed_again(&mut self, trial: TrialId, numbers: &[u64]) {
        let quarantine = &self.quarantine;
        let is_passed = |key: &Key| {
            let is_of_it = matches!(key, Key::Again(of, number) if *of == trial && numbers.contains(number));
            is_of_it && !quarantine.contains(key)
        };
        self.suspect.take_if(|(suspect, ..)| is_passed(suspect));
    }

    /// A start opens it. What it quarantines by that.
    pub(super) fn blame(&mut self, has_word: bool) -> Option<Key> {
        let key = self.busy.take()?;
        let before = self.suspect.take().filter(|(suspect, ..)| *suspect == key);
        let (ends, faults) = before.map_or((0, 0), |(_, ends, faults)| (ends, faults));
        let (ends, faults) = (ends + 1, faults + u32::from(has_word));
        if faults >= FAULTS_MAX || ends >= ENDS_MAX {
            self.quarantine.insert(key.clone());
            return Some(key);
        }
        self.suspect = Some((key, ends, faults));
        None
    }

    /// The machine has lost it; what was quarantined is in files of its own.
    fn lose(&mut self) {
        (self.busy, self.suspect) = (None, None);
    }

    /// That it says what the file says, at the end of a process; then what is left of it after that.
    pub(super) fn check(&mut self, at: usize, at_end: &MemoryDisk, after: &MemoryDisk) {
        if let Some(head) = head(at_end, at) {
            let found = [8, 20, 68].map(|at| u32::from_le_bytes(head[at..at + 4].try_into().unwrap()));
            let (ends, faults) = self.suspect.as_ref().map_or((0, 0), |(_, ends, faults)| (*ends, *faults));
            let busy = u32::from(self.is_busy());
            assert_eq!((found[0], found[1]), (busy, ends), "{}: {self:?}", ROOMS[at]);
            assert!(ends == 0 || found[2] == faults, "{}: {found:?} is not {self:?}", ROOMS[at]);
        }
        if head(after, at).is_none() {
            self.lose();
        }
    }
}

fn path(at: usize) -> PathBuf {
    Path::new(DATA).join("rooms").join(ROOMS[at]).join("under-way")
}

/// The file's, without what it was that began and ended well.
pub(super) fn head(disk: &MemoryDisk, at: usize) -> Option<Vec<u8>> {
    let path = path(at);
    let mut bytes = if disk.paths().contains(&path) { disk.bytes(&path) } else { Vec::new() };
    bytes.resize(bytes.len().max(HEAD_BYTES), 0);
    bytes.truncate(HEAD_BYTES);
    bytes.starts_with(b"HOTBOX03").then_some(bytes)
}

/// What the process says that it ended by, when it does.
pub(super) fn last_word() -> PathBuf {
    Path::new(DATA).join("last-word")
}

/// Has the process say that it ended by what was under way in this room.
pub(super) fn say(disk: &MemoryDisk, at: usize, cause: u64) {
    let head = head(disk, at).expect("something was under way");
    disk.put(&last_word(), [b"HOTLAST1", &cause.to_le_bytes()[..], &head[24..32]].concat());
}
