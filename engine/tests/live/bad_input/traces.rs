//! What a process holds, by `/proc`.

use std::{collections::BTreeMap, fs, path::PathBuf};

/// The threads of the runtime's pool, which come and go with what there is to do.
const POOL: &str = "tokio-rt-worker";
/// Those that answer, one a core, and those that wait for files and children, of which each load under way needs one.
const POOL_MAX: usize = 32;

/// What must be the same before and after a refused load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Traces {
    /// Descriptors by what they stand for, without sockets.
    files: BTreeMap<String, usize>,
    sockets: usize,
    children: Vec<String>,
    /// By name, without the pool's.
    threads: BTreeMap<String, usize>,
    pool: usize,
}

impl Traces {
    pub(super) fn of(process: u32) -> Self {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let entries = |name: &str| {
            // Descriptors and threads may be gone before they are looked at.
            let entries = fs::read_dir(folder.join(name)).unwrap();
            entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>()
        };
        let mut files = BTreeMap::<String, usize>::new();
        for file in entries("fd") {
            let Ok(target) = fs::read_link(file) else { continue };
            let target = target.display().to_string();
            let kind = target.split_once(":[").map_or(target.as_str(), |(kind, _)| kind);
            *files.entry(kind.to_owned()).or_default() += 1;
        }
        let sockets = files.remove("socket").unwrap_or_default();
        let (mut children, mut threads) = (Vec::new(), BTreeMap::<String, usize>::new());
        for task in entries("task") {
            let Ok(name) = fs::read_to_string(task.join("comm")) else { continue };
            *threads.entry(name.trim_end().to_owned()).or_default() += 1;
            let ids = fs::read_to_string(task.join("children")).unwrap_or_default();
            children.extend(ids.split_whitespace().map(str::to_owned));
        }
        let pool = threads.remove(POOL).unwrap_or_default();
        Self { files, sockets, children, threads, pool }
    }

    /// Whether nothing was added since, and nothing is gone but connections that were being closed.
    pub(super) fn is_as(&self, before: &Self) -> bool {
        self.pool <= POOL_MAX
            && self.sockets <= before.sockets
            && (&self.files, &self.children, &self.threads) == (&before.files, &before.children, &before.threads)
    }
}
