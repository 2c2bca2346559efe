//! A file system in memory that knows what has reached the disk, that can fail at any call, and that can crash.

mod state;

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use engine::journal::files::{Files, MappedFile, OpenFile};
use logic_api::Rng;
use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::fs::{MemfdFlags, memfd_create};

use self::state::{Content, Failing, State, not_found};
use crate::support::ON_PURPOSE;

/// What goes wrong with the call that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Io,
    NoSpace,
    /// Half of what was to be written is.
    Short,
    /// What it is on is not there.
    Gone,
    /// It is a defect that the call finds.
    Panic,
}

/// A sync that tells that it has begun, and ends when it is told to.
#[derive(Debug, Clone)]
struct Gate {
    suffix: &'static str,
    begun: Sender<()>,
    end: Arc<Mutex<Receiver<()>>>,
}

/// Cheap to clone: the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>, Arc<Condvar>);

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
}

impl MemoryDisk {
    fn of(state: State) -> MemoryDisk {
        MemoryDisk(Arc::new(Mutex::new(state)), Arc::default())
    }

    /// Has calls of threads of this name wait until they are let go.
    pub(crate) fn hold(&self, thread: &'static str) {
        self.0.lock().held.insert(thread);
    }

    /// Lets the calls go that wait, and those that come.
    pub(crate) fn let_go(&self, thread: &str) {
        self.0.lock().held.remove(thread);
        self.1.notify_all();
    }

    /// Returns once a call of a thread that is held waits.
    pub(crate) fn until_waits(&self, thread: &str) {
        let mut state = self.0.lock();
        while !state.waiting.contains(thread) {
            self.1.wait(&mut state);
        }
    }

    fn wait_if_held(&self, state: &mut MutexGuard<'_, State>) {
        let held = |state: &State| state.held.iter().find(|held| std::thread::current().name() == Some(held)).copied();
        while let Some(thread) = held(state) {
            state.waiting.insert(thread);
            self.1.notify_all();
            self.1.wait(state);
            state.waiting.remove(thread);
        }
    }

    /// Lets the call with this number, counted from 0, and all after it fail.
    pub(crate) fn fail_at(&self, call: u64, failure: Failure) {
        self.0.lock().fails_at = Some(Failing { call, how: failure, is_once: false });
    }

    /// Lets the call with this number fail, and none after it.
    pub(crate) fn fail_once_at(&self, call: u64, failure: Failure) {
        self.0.lock().fails_at = Some(Failing { call, how: failure, is_once: true });
    }

    /// Lets the process end during the call with this number, when so many 256ths of it are done.
    pub(crate) fn end_at(&self, call: u64, share: u64) {
        self.0.lock().ends_at = Some((call, share));
    }

    /// Lets the syncs of files of this kind take their time: what tells that one has begun, and what lets it end.
    pub(crate) fn slow_syncs(&self, suffix: &'static str) -> (Receiver<()>, Sender<()>) {
        let ((begun, begins), (ends, end)) = (channel(), channel());
        self.0.lock().gate = Some(Gate { suffix, begun, end: Arc::new(Mutex::new(end)) });
        (begins, ends)
    }

    /// Lets another process remove a file just before the call with this number.
    pub(crate) fn remove_at(&self, call: u64, path: &Path) {
        self.0.lock().goes_at = Some((call, path.to_owned()));
    }

    /// The disk as it was at that end, and the number of that call; as it is now, if it did not come to that.
    pub(crate) fn at_end(&self) -> (MemoryDisk, u64) {
        let state = self.0.lock();
        let end = state.end.as_deref().map_or_else(|| state.unmapped(), Clone::clone);
        let calls = end.calls;
        (MemoryDisk::of(end), calls)
    }

    /// The process ends here and now, unless it has ended before; true if it has not.
    pub(crate) fn end_here(&self) -> bool {
        let mut state = self.0.lock();
        if state.end.is_none() {
            state.end = Some(Box::new(state.unmapped()));
            return true;
        }
        false
    }

    /// Whether the process would not be there any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.lock().end.is_some()
    }

    /// The number of the call that is to fail.
    pub(crate) fn fails_at(&self) -> u64 {
        self.0.lock().fails_at.map_or(u64::MAX, |failing| failing.call)
    }

    /// The call that failed first, as its method is called, and what it was on.
    pub(crate) fn failed(&self) -> Option<(&'static str, PathBuf)> {
        self.0.lock().failed.clone()
    }

    /// Bytes that a power cut may take.
    pub(crate) fn unsynced(&self) -> usize {
        let state = self.0.lock();
        let unsynced = |file: &usize| state.files[*file].bytes.len().saturating_sub(state.files[*file].on_disk.len());
        state.names.values().map(unsynced).sum()
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// Keeps the state after each call from here on.
    pub(crate) fn keep_steps(&self) {
        self.0.lock().steps = Some(Vec::new());
    }

    /// The disks that a process would find that starts after each call since `keep_steps`, the one before it having been killed.
    pub(crate) fn steps(&self) -> Vec<MemoryDisk> {
        let steps = self.0.lock().steps.take().unwrap();
        steps.into_iter().map(MemoryDisk::of).collect()
    }

    /// What the next process finds after this one was killed.
    pub(crate) fn after_kill(&self) -> MemoryDisk {
        let State { files, names, names_on_disk, moved, .. } = self.0.lock().unmapped();
        MemoryDisk::of(State { files, names, names_on_disk, moved, ..State::default() })
    }

    /// What is found after the machine lost power: of what was not synced, any sectors.
    pub(crate) fn after_power_cut(&self, rng: &mut Rng) -> MemoryDisk {
        MemoryDisk::of(self.0.lock().unmapped().after_power_cut(rng))
    }

    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.0.lock();
        state.files[state.names[path]].seen()
    }

    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.0.lock();
        let file = state.files.len();
        state.files.push(Content { on_disk: bytes.clone(), bytes, ..Content::default() });
        state.names.insert(path.to_owned(), file);
        state.names_on_disk.insert(path.to_owned(), file);
    }

    /// Takes a file away, as if it had never been there.
    pub(crate) fn take(&self, path: &Path) {
        let mut state = self.0.lock();
        state.names.remove(path);
        state.names_on_disk.remove(path);
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().names.keys().cloned().collect()
    }

    /// Looks at the disk, unless that fails.
    fn look<R>(&self, what: &'static str, path: &Path, look: impl Fn(&State) -> io::Result<R>) -> io::Result<R> {
        self.change((what, path), 0, |state, _| look(state))
    }

    /// Does something that changes the disk, unless it fails. What is appended is cut short by some failures.
    fn change<R>(
        &self,
        (what, path): (&'static str, &Path),
        bytes: usize,
        change: impl Fn(&mut State, usize) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut state = self.0.lock();
        self.wait_if_held(&mut state);
        let call = state.calls;
        if let Some((_, gone)) = state.goes_at.take_if(|(at, _)| *at == call) {
            state.names.remove(&gone);
        }
        if let Some((_, share)) = state.ends_at.filter(|(at, _)| *at == call) {
            let mut end = Box::new(state.unmapped());
            if bytes > 0 {
                let _ = change(&mut end, bytes * share as usize / 256);
            }
            state.end = Some(end);
        }
        state.calls += 1;
        let result = match state.fails_at {
            Some(failing) if call == failing.call || (call > failing.call && !failing.is_once) => {
                state.failed.get_or_insert_with(|| (what, path.to_owned()));
                if failing.how == Failure::Short && call == failing.call && bytes > 0 {
                    let _ = change(&mut state, bytes / 2);
                }
                let errno = match failing.how {
                    Failure::Io => 5,
                    Failure::Gone => 2,
                    Failure::NoSpace | Failure::Short => 28,
                    Failure::Panic => panic!("{ON_PURPOSE}: {what}"),
                };
                return Err(io::Error::from_raw_os_error(errno));
            }
            _ => change(&mut state, bytes),
        };
        if let Some(mut steps) = state.steps.take() {
            steps.push(State { calls: 0, ..state.unmapped() });
            state.steps = Some(steps);
        }
        result
    }
}

impl Files for MemoryDisk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.change(("make_folder", path), 0, |_, _| Ok(()))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.look("list", folder, |state| {
            let names = state.names.keys().filter_map(|path| path.strip_prefix(folder).ok());
            let mut names: Vec<String> = names
                .filter_map(|rest| rest.components().next())
                .map(|first| first.as_os_str().to_str().unwrap().to_owned())
                .collect();
            names.dedup();
            Ok(names)
        })
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        let file = self.change(("create", path), 0, |state, _| {
            state.files.push(Content::default());
            state.names.insert(path.to_owned(), state.files.len() - 1);
            Ok(state.files.len() - 1)
        })?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        let file = self.look("open", path, |state| state.names.get(path).copied().ok_or_else(not_found))?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), file }))
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        // No call that counts: nothing depends on it but what is told.
        Ok(self.0.lock().bytes(path)?.len() as u64)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.look("read", path, |state| state.bytes(path))
    }

    fn reader(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let bytes = self.look("reader", path, |state| state.bytes(path))?;
        Ok(Box::new(Cursor::new(bytes)))
    }

    fn map(&self, path: &Path, len: usize) -> io::Result<MappedFile> {
        self.change(("map", path), 0, |state, _| {
            let file = state.names.get(path).copied().unwrap_or(state.files.len());
            if file == state.files.len() {
                state.files.push(Content::default());
                state.names.insert(path.to_owned(), file);
            }
            let content = &mut state.files[file];
            let map = File::from(memfd_create("map", MemfdFlags::CLOEXEC)?);
            map.write_all_at(&content.seen(), 0)?;
            let mapped = MappedFile::new(&map, len)?;
            (content.is_mapped, content.map) = (true, Some(Arc::new(map)));
            Ok(mapped)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(("rename", from), 0, |state, _| {
            match state.names.remove(from) {
                Some(file) => _ = state.names.insert(to.to_owned(), file),
                None => {
                    state.rename(from, to);
                    state.moved.push((from.to_owned(), to.to_owned()));
                }
            }
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(("remove", path), 0, |state, _| match state.names.remove(path) {
            Some(_) => Ok(()),
            None if state.names.keys().any(|inner| inner.starts_with(path)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(not_found()),
        })
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.change(("remove_folder", folder), 0, |state, _| {
            state.names.retain(|path, _| !path.starts_with(folder));
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.change(("sync_folder", folder), 0, |state, _| {
            state.sync_folder(folder);
            Ok(())
        })
    }
}

impl MemoryFile {
    /// As it is called now.
    fn path(&self) -> PathBuf {
        let state = self.disk.0.lock();
        state.names.iter().find(|(_, file)| **file == self.file).map(|(path, _)| path.clone()).unwrap_or_default()
    }
}

impl OpenFile for MemoryFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.disk.change(("append", &self.path()), bytes.len(), |state, len| {
            state.files[self.file].bytes.extend_from_slice(&bytes[..len]);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let gate = self.disk.0.lock().gate.clone();
        if let Some(Gate { begun, end, .. }) = gate.filter(|gate| self.path().to_str().unwrap().ends_with(gate.suffix))
        {
            let _ = begun.send(());
            // Nobody to tell it any more: it ends.
            let _ = end.lock().recv();
        }
        self.disk.change(("sync", &self.path()), 0, |state, _| {
            let file = &mut state.files[self.file];
            file.on_disk.clone_from(&file.bytes);
            Ok(())
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.change(("truncate", &self.path()), 0, |state, _| {
            state.files[self.file].bytes.truncate(len as usize);
            Ok(())
        })
    }
}
