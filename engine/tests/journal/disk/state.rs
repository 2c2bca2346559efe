//! What a disk holds, as the process sees it and as it has reached it, and what of that is left when a process or the machine ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::journal::frame::SECTOR_BYTES;
use logic_api::Rng;

use super::{Failure, Gate};

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) files: Vec<Content>,
    /// Which file has which name, as the process sees it, and as the disk has it.
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) names_on_disk: BTreeMap<PathBuf, usize>,
    /// Folders that have another name, which the disk does not have as yet: from which, and to which.
    pub(super) moved: Vec<(PathBuf, PathBuf)>,
    pub(super) calls: u64,
    pub(super) fails_at: Option<Failing>,
    /// The call that failed first, as its method is called, and what it was on.
    pub(super) failed: Option<(&'static str, PathBuf)>,
    /// The call before which another process removes a file.
    pub(super) goes_at: Option<(u64, PathBuf)>,
    /// The state after each call that changes something, if they are kept.
    pub(super) steps: Option<Vec<State>>,
    /// The call during which the machine or the process ends, and how much of it is done, in 256ths.
    pub(super) ends_at: Option<(u64, u64)>,
    pub(super) gate: Option<Gate>,
    /// The threads whose calls are held, and those of them that wait in one.
    pub(super) held: BTreeSet<&'static str>,
    pub(super) waiting: BTreeSet<&'static str>,
    /// What was there when it did. The calls of those who do not know yet go on.
    pub(super) end: Option<Box<State>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Failing {
    pub(super) call: u64,
    pub(super) how: Failure,
    /// The calls after it go well, as they may on a real disk: nobody learns from them what was not told at once.
    pub(super) is_once: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) on_disk: Vec<u8>,
    /// It is mapped, or was by the process before, and all of it is in memory that is never synced.
    pub(super) is_mapped: bool,
    /// What this process sees of that.
    pub(super) map: Option<Arc<File>>,
}

impl State {
    pub(super) fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.files[*self.names.get(path).ok_or_else(not_found)?].seen())
    }

    /// Gives a folder another name, with all that is in it, synced or not.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        for names in [&mut self.names, &mut self.names_on_disk] {
            let moved: Vec<PathBuf> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
            for path in moved {
                let file = names.remove(&path).unwrap();
                names.insert(to.join(path.strip_prefix(from).unwrap()), file);
            }
        }
    }

    /// What is in it is there for good, and whether a folder in it is there; not what is in that.
    pub(super) fn sync_folder(&mut self, folder: &Path) {
        self.moved.retain(|(from, to)| from.parent() != Some(folder) && to.parent() != Some(folder));
        let State { names, names_on_disk, .. } = self;
        let is_in_it = |path: &Path| path.parent() == Some(folder);
        let is_gone = |path: &Path| {
            let inner = path.strip_prefix(folder).ok().and_then(|rest| rest.iter().next()).map(|it| folder.join(it));
            inner.is_some_and(|inner| !names.keys().any(|path| path.starts_with(&inner)))
        };
        names_on_disk.retain(|path, _| !is_in_it(path) && !is_gone(path));
        let now = names.iter().filter(|(path, _)| is_in_it(path));
        names_on_disk.extend(now.map(|(path, file)| (path.clone(), *file)));
    }

    /// What is left of it when the machine loses power; no process has a file of it mapped.
    pub(super) fn after_power_cut(mut self, rng: &mut Rng) -> State {
        while let Some((from, to)) = self.moved.pop() {
            if rng.chance(0.5) {
                self.rename(&to, &from);
            }
        }
        // Names that were not synced are there or not, each by itself.
        let paths: BTreeSet<&PathBuf> = self.names.keys().chain(self.names_on_disk.keys()).collect();
        let mut kept = |path: &PathBuf| {
            let (now, synced) = (self.names.get(path), self.names_on_disk.get(path));
            (if now == synced || rng.chance(0.5) { now } else { synced }).copied()
        };
        let names: BTreeMap<_, _> = paths.into_iter().filter_map(|path| Some((path.clone(), kept(path)?))).collect();
        let files = self.files.iter().map(|file| file.after_power_cut(rng)).collect();
        State { files, names_on_disk: names.clone(), names, ..State::default() }
    }

    /// As another process sees it.
    pub(super) fn unmapped(&self) -> State {
        let mut state = self.clone();
        for file in state.files.iter_mut().filter(|file| file.map.is_some()) {
            (file.bytes, file.map) = (file.seen(), None);
        }
        let named: BTreeSet<usize> = state.names.values().chain(state.names_on_disk.values()).copied().collect();
        let unnamed = state.files.iter_mut().enumerate().filter(|(number, _)| !named.contains(number));
        unnamed.for_each(|(_, file)| *file = Content::default());
        state
    }
}

impl Content {
    /// Without what is behind the last byte that was stored, where it is mapped.
    pub(super) fn seen(&self) -> Vec<u8> {
        let Some(map) = &self.map else { return self.bytes.clone() };
        let mut bytes = vec![0; map.metadata().unwrap().len() as usize];
        map.read_exact_at(&mut bytes, 0).unwrap();
        // Most of it is empty, and byte by byte takes long.
        while bytes.ends_with(&[0; SECTOR_BYTES]) {
            bytes.truncate(bytes.len() - SECTOR_BYTES);
        }
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        bytes
    }

    pub(super) fn after_power_cut(&self, rng: &mut Rng) -> Content {
        if self.is_mapped {
            // Its pages are written whenever the system has time for it, or never.
            let bytes = if rng.chance(0.5) { self.bytes.clone() } else { Vec::new() };
            return Content { on_disk: bytes.clone(), bytes, is_mapped: true, map: None };
        }
        let (from, to) = (self.on_disk.len(), self.bytes.len());
        // A cut, or lost sectors within a length that had been noted already.
        let len =
            if rng.chance(0.5) { from as u64 + rng.below((to.saturating_sub(from) + 1) as u64) } else { to as u64 };
        let mut bytes = self.bytes.clone();
        bytes.truncate(len as usize);
        let first = from / SECTOR_BYTES;
        for sector in first..bytes.len().div_ceil(SECTOR_BYTES) {
            if rng.chance(0.3) {
                let (start, end) = ((sector * SECTOR_BYTES).max(from), ((sector + 1) * SECTOR_BYTES).min(bytes.len()));
                if start < end {
                    bytes[start..end].fill(0);
                }
            }
        }
        Content { on_disk: bytes.clone(), bytes, ..Content::default() }
    }
}

pub(super) fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}
