//! What a process stands on, by `/proc`: a plugin that is mapped must leave all of it as it was.
//!
//! Looked at in the probe's child, for the engine to map nothing that closes its sockets or takes its signals away.

use std::{collections::BTreeMap, fs, io, path::PathBuf, thread};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, wait},
};

use super::fault::Change;

/// A process as it was at some time.
#[derive(Debug)]
pub(super) struct Footing {
    files: BTreeMap<PathBuf, PathBuf>,
    signals: Vec<String>,
}

impl Footing {
    /// From here on, whatever is forked stays below this process, however it tries to get away.
    pub(super) fn now() -> io::Result<Self> {
        set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(Self { files: files()?, signals: signals()? })
    }

    /// What is not as it was; the first of what there may be. Children are ended.
    pub(super) fn change(&self) -> io::Result<Option<Change>> {
        if end_children()? {
            return Ok(Some(Change::Processes));
        }
        if files()? != self.files {
            return Ok(Some(Change::Files));
        }
        Ok((signals()? != self.signals).then_some(Change::Signals))
    }
}

/// Open files, by number, and what each stands for.
fn files() -> io::Result<BTreeMap<PathBuf, PathBuf>> {
    let listed: Vec<_> = fs::read_dir("/proc/self/fd")?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    // The one by which they were listed is closed by now, and is left out.
    Ok(listed.into_iter().filter_map(|file| fs::read_link(&file).ok().map(|target| (file, target))).collect())
}

/// Which signals are blocked, ignored and caught. A handler put in another's place is not seen.
fn signals() -> io::Result<Vec<String>> {
    // Of this thread: each has its own that are blocked.
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let is_wanted = |line: &&str| ["SigBlk:", "SigIgn:", "SigCgt:"].iter().any(|name| line.starts_with(name));
    Ok(status.lines().filter(is_wanted).map(str::to_owned).collect())
}

/// Whether there were any. Ends those that are still there, and theirs, which become this process's own.
fn end_children() -> io::Result<bool> {
    let mut found = false;
    loop {
        match wait(WaitOptions::NOHANG) {
            Err(Errno::CHILD) => return Ok(found),
            Err(Errno::INTR) | Ok(Some(_)) => {}
            Ok(None) => {
                let children = children()?;
                for &child in &children {
                    // Fails for one that has ended meanwhile.
                    let _ = kill_process(child, Signal::KILL);
                }
                if children.is_empty() {
                    // One that was on its way from its parent to this process.
                    thread::yield_now();
                } else {
                    wait(WaitOptions::empty())?;
                }
            }
            Err(errno) => return Err(errno.into()),
        }
        found = true;
    }
}

/// Of all threads: what gets away from the one that forked it becomes another's.
fn children() -> io::Result<Vec<Pid>> {
    let mut children = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        // A thread may have ended meanwhile.
        let ids = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        children.extend(ids.split_whitespace().filter_map(|id| id.parse().ok()).filter_map(Pid::from_raw));
    }
    Ok(children)
}
