//! The files that a logic is made of, and when they change: by content, not by every touch of an editor.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// An editor that saves several files, or one in several steps, is waited for until it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(30);
/// And at most so long.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// Of a crate and its path dependencies.
const FILES_MAX: usize = 20_000;
/// Longer files are compared by their time and length alone.
const HASHED_BYTES_MAX: u64 = 16 << 20;
/// Folders of a crate that go into no library.
const FOLDERS_PASSED_OVER: [&str; 5] = ["target", "tests", "benches", "examples", "node_modules"];

/// Why nothing can be watched. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("{folder} cannot be watched: {reason}")]
    Watch { folder: String, reason: String },
    #[error("more than {FILES_MAX} files in {folder}: is it the folder of a crate?")]
    TooMany { folder: String },
}

/// Watched folders, and what their files held when last looked at.
#[derive(Debug)]
pub(super) struct Sources {
    watcher: RecommendedWatcher,
    /// Something has happened somewhere below the watched folders.
    events: mpsc::UnboundedReceiver<()>,
    roots: Vec<PathBuf>,
    /// Files that are looked at wherever they lie and whatever they are called.
    single: BTreeSet<PathBuf>,
    passed_over: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Content>,
    /// An event has come and was not looked into yet: since when.
    stirred: Option<Instant>,
    manifests_changed: bool,
}

/// Equal where nothing changed.
#[derive(Debug, Clone, Copy)]
struct Content {
    modified: Option<SystemTime>,
    bytes: u64,
    hash: u64,
}

impl Sources {
    /// Watches the crates in these folders, without what lies in the others.
    pub(super) fn watch<'a>(
        roots: &[PathBuf],
        passed_over: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Result<Sources, WatchError> {
        let (sender, events) = mpsc::unbounded_channel();
        let shown = || roots.first().map(|root| root.display().to_string()).unwrap_or_default();
        let tell = move |event: notify::Result<notify::Event>| {
            // Reading is no change; an error may have swallowed one.
            if event.is_ok_and(|event| event.kind.is_access() && !is_written(&event)) {
                return;
            }
            let _ended = sender.send(());
        };
        let watcher = notify::recommended_watcher(tell)
            .map_err(|error| WatchError::Watch { folder: shown(), reason: error.to_string() })?;
        let passed_over = passed_over.into_iter().filter_map(|folder| folder.canonicalize().ok()).collect();
        let mut sources = Sources {
            watcher,
            events,
            roots: Vec::new(),
            single: BTreeSet::new(),
            passed_over,
            folders: Vec::new(),
            files: BTreeMap::new(),
            stirred: None,
            manifests_changed: false,
        };
        sources.also(roots)?;
        Ok(sources)
    }

    /// Watches these too.
    pub(super) fn also(&mut self, roots: &[PathBuf]) -> Result<(), WatchError> {
        let new: Vec<_> = roots.iter().filter(|root| !self.roots.contains(root)).cloned().collect();
        self.roots.extend(new);
        self.files = self.look()?;
        Ok(())
    }

    /// Watches these files too, which a build that began at this time has read. Gives those that were not watched before.
    pub(super) fn also_files(
        &mut self,
        files: impl IntoIterator<Item = PathBuf>,
        read_since: SystemTime,
    ) -> Result<Vec<PathBuf>, WatchError> {
        let is_new = |file: &PathBuf| {
            let is_made = self.passed_over.iter().any(|folder| file.starts_with(folder));
            !is_made && !self.files.contains_key(file) && !self.single.contains(file) && file.is_file()
        };
        let new: BTreeSet<_> = files.into_iter().filter(is_new).collect();
        self.single.extend(new.iter().cloned());
        let now = self.look()?;
        for file in &new {
            let Some(content) = now.get(file) else { continue };
            // What was written since the build began, the build may not have seen.
            if content.modified.is_some_and(|modified| modified >= read_since) {
                self.stirred.get_or_insert(Instant::now());
            } else {
                self.files.insert(file.clone(), *content);
            }
        }
        Ok(new.into_iter().collect())
    }

    /// Waits until files have changed; gives them. Dropping it before that loses nothing.
    pub(super) async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            let since = match self.stirred {
                Some(since) => since,
                None => {
                    self.events.recv().await.expect("the watcher keeps the other end");
                    *self.stirred.insert(Instant::now())
                }
            };
            let latest = since + QUIET_MAX;
            loop {
                let quiet_at = (Instant::now() + QUIET).min(latest);
                tokio::select! {
                    biased;
                    () = sleep_until(quiet_at) => break,
                    _ = self.events.recv() => {}
                }
                if Instant::now() >= latest {
                    break;
                }
            }
            self.stirred = None;
            let changed = self.compare();
            if !changed.is_empty() {
                return changed;
            }
        }
    }

    /// Whether a Cargo.toml was among what changed since this was asked last.
    pub(super) fn manifests_changed(&mut self) -> bool {
        std::mem::take(&mut self.manifests_changed)
    }

    fn compare(&mut self) -> Vec<PathBuf> {
        let now = match self.look() {
            Ok(now) => now,
            Err(error) => {
                tracing::warn!(%error, "the sources cannot be looked at");
                return Vec::new();
            }
        };
        let is_same = |path: &PathBuf, content: &Content| {
            self.files.get(path).is_some_and(|before| (before.bytes, before.hash) == (content.bytes, content.hash))
        };
        let new = now.iter().filter(|(path, content)| !is_same(path, content)).map(|(path, _)| path);
        let gone = self.files.keys().filter(|path| !now.contains_key(*path));
        let changed: Vec<_> = new.chain(gone).cloned().collect();
        self.manifests_changed |= changed.iter().any(|path| path.file_name() == Some(OsStr::new("Cargo.toml")));
        self.files = now;
        changed
    }

    /// All files as they are now; folders that are new are watched from here on.
    fn look(&mut self) -> Result<BTreeMap<PathBuf, Content>, WatchError> {
        let mut files = BTreeMap::new();
        let mut folders = self.roots.clone();
        let mut watched = Vec::new();
        while let Some(folder) = folders.pop() {
            if !self.folders.contains(&folder) {
                begin_to_watch(&mut self.watcher, &self.roots, &folder)?;
            }
            // It may be gone by now; then the folder above tells.
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && self.is_wanted_folder(&folder, &path) => folders.push(path),
                    Ok(kind) if kind.is_file() && is_wanted_file(&path) => {
                        if let Some(content) = self.content(&path) {
                            files.insert(path, content);
                        }
                    }
                    _ => {}
                }
            }
            if files.len() > FILES_MAX {
                return Err(WatchError::TooMany { folder: folder.display().to_string() });
            }
            watched.push(folder);
        }
        for file in &self.single {
            let folder = file.parent().expect("a file lies in a folder");
            if !watched.iter().any(|watched| watched == folder) {
                if !self.folders.iter().any(|watched| watched == folder) {
                    begin_to_watch(&mut self.watcher, &self.roots, folder)?;
                }
                watched.push(folder.to_owned());
            }
            if !files.contains_key(file)
                && let Some(content) = self.content(file)
            {
                files.insert(file.clone(), content);
            }
        }
        self.folders = watched;
        Ok(files)
    }

    fn is_wanted_folder(&self, parent: &Path, path: &Path) -> bool {
        let Some(name) = path.file_name().and_then(OsStr::to_str) else { return false };
        let is_at_root = self.roots.iter().any(|root| root == parent);
        let is_passed_over =
            is_at_root && FOLDERS_PASSED_OVER.contains(&name) || self.passed_over.iter().any(|folder| folder == path);
        !name.starts_with('.') && !is_passed_over
            // Another crate within this one is watched as a root of its own, if it is built in.
            && !path.join("Cargo.toml").exists()
    }

    /// `None` if it cannot be read, as a file that is gone again.
    fn content(&self, path: &Path) -> Option<Content> {
        let metadata = path.metadata().ok()?;
        let (modified, bytes) = (metadata.modified().ok(), metadata.len());
        if let Some(known) = self.files.get(path)
            && known.modified == modified
            && known.bytes == bytes
            // A file may change twice within what a file system's clock can tell.
            && modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > QUIET_MAX)
        {
            return Some(*known);
        }
        let mut hasher = DefaultHasher::new();
        if bytes <= HASHED_BYTES_MAX {
            hasher.write(&std::fs::read(path).ok()?);
        } else {
            let since = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
            hasher.write_u128(since.map_or(0, |since| since.as_nanos()));
        }
        Some(Content { modified, bytes, hash: hasher.finish() })
    }
}

fn begin_to_watch(watcher: &mut RecommendedWatcher, roots: &[PathBuf], folder: &Path) -> Result<(), WatchError> {
    match watcher.watch(folder, RecursiveMode::NonRecursive) {
        Ok(()) => Ok(()),
        Err(_) if !folder.exists() && !roots.iter().any(|root| root == folder) => Ok(()),
        Err(error) => Err(WatchError::Watch { folder: folder.display().to_string(), reason: error.to_string() }),
    }
}

fn is_written(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    matches!(event.kind, EventKind::Access(AccessKind::Close(AccessMode::Write)))
}

/// What may go into a library. Editors leave all sorts of files beside those.
fn is_wanted_file(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return false };
    let is_of_an_editor = name.starts_with(['.', '#']) || name.ends_with('~') || name == "4913";
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    !is_of_an_editor && name != "Cargo.lock" && !matches!(extension, "md" | "so" | "swp" | "tmp" | "log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    async fn check(sources: &mut Sources, root: &Path, expected: &[&str]) {
        let changed = sources.changed().await;
        let names: Vec<_> = changed.iter().map(|path| path.strip_prefix(root).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, expected);
    }

    #[tokio::test]
    async fn a_change_is_told_once_and_a_touch_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("src")).unwrap();
        fs::create_dir_all(root.join("target/debug")).unwrap();
        fs::write(root.join("Cargo.toml"), "[package]").unwrap();
        fs::write(root.join("src/lib.rs"), "one").unwrap();
        let mut sources = Sources::watch(std::slice::from_ref(&root), [&root.join("target")]).unwrap();

        // None of these counts, only the last.
        fs::write(root.join("src/lib.rs"), "one").unwrap();
        fs::write(root.join("target/debug/lib.rs"), "x").unwrap();
        fs::write(root.join("src/.lib.rs.swp"), "x").unwrap();
        fs::write(root.join("README.md"), "x").unwrap();
        fs::write(root.join("src/lib.rs"), "two").unwrap();
        check(&mut sources, &root, &["src/lib.rs"]).await;
        assert!(!sources.manifests_changed());

        // A new folder is watched from then on.
        fs::create_dir_all(root.join("src/units")).unwrap();
        fs::write(root.join("src/units/mod.rs"), "new").unwrap();
        check(&mut sources, &root, &["src/units/mod.rs"]).await;
        fs::write(root.join("src/units/mod.rs"), "newer").unwrap();
        check(&mut sources, &root, &["src/units/mod.rs"]).await;

        // As editors save: a new file takes the old one's place.
        fs::write(root.join("src/lib.rs~"), "three").unwrap();
        fs::rename(root.join("src/lib.rs~"), root.join("src/lib.rs")).unwrap();
        check(&mut sources, &root, &["src/lib.rs"]).await;

        fs::remove_file(root.join("src/units/mod.rs")).unwrap();
        check(&mut sources, &root, &["src/units/mod.rs"]).await;
        fs::write(root.join("Cargo.toml"), "[package] ").unwrap();
        check(&mut sources, &root, &["Cargo.toml"]).await;
        assert!(sources.manifests_changed() && !sources.manifests_changed());
    }

    #[tokio::test]
    async fn single_files_are_watched_wherever_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for made in ["game/src", "game/target", "art"] {
            fs::create_dir_all(root.join(made)).unwrap();
        }
        for file in ["game/src/lib.rs", "game/words.md", "game/target/made.rs", "art/map.txt", "art/other.txt"] {
            fs::write(root.join(file), "one").unwrap();
        }
        let mut sources = Sources::watch(&[root.join("game")], [&root.join("game/target")]).unwrap();
        let later = SystemTime::now() + Duration::from_secs(3600);
        let named =
            || ["game/src/lib.rs", "game/words.md", "game/target/made.rs", "art/map.txt"].map(|file| root.join(file));
        let new = sources.also_files(named(), later).unwrap();
        assert_eq!(new, [root.join("art/map.txt"), root.join("game/words.md")], "what is neither watched nor built");
        assert!(sources.also_files(named(), later).unwrap().is_empty());

        fs::write(root.join("art/other.txt"), "two").unwrap();
        fs::write(root.join("art/map.txt"), "two").unwrap();
        check(&mut sources, &root, &["art/map.txt"]).await;
        fs::write(root.join("game/words.md"), "two").unwrap();
        check(&mut sources, &root, &["game/words.md"]).await;
        // As editors save, and then as somebody tidies up.
        fs::write(root.join("art/new"), "three").unwrap();
        fs::rename(root.join("art/new"), root.join("art/map.txt")).unwrap();
        check(&mut sources, &root, &["art/map.txt"]).await;
        fs::remove_file(root.join("art/map.txt")).unwrap();
        check(&mut sources, &root, &["art/map.txt"]).await;

        // Written while a build was under way that may have read it before.
        sources.also_files([root.join("art/other.txt")], SystemTime::UNIX_EPOCH).unwrap();
        check(&mut sources, &root, &["art/other.txt"]).await;
    }
}
