//! `engine dev`: watches the crate of a logic, builds what changed, and swaps it in under the players' hands.
//!
//! One line on standard error for each thing that it does. A build that fails changes nothing: the version before plays on, and the
//! compiler's words go to the terminal and to the players' pages.

mod build;
mod crates;
mod data;
mod plugins;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::config::Config;
use crate::engine::{Engine, EngineError};
use crate::http::{Backend, LoadRequest, Refusal, Requester};
use crate::loader::name::PluginName;
use crate::logs;
use crate::stop::Stop;

use build::{Built, Job};
use crates::LogicCrate;
use plugins::Plugins;
use sources::Sources;

pub use build::{BuildError, need_cargo};
pub use crates::CrateError;
pub use data::{DATA, DataError, empty};
pub use plugins::PluginError;
pub use sources::WatchError;

/// Why `engine dev` cannot go on. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    #[error(transparent)]
    Crate(#[from] CrateError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Data(#[from] DataError),
}

/// A crate that is watched, and where its versions go.
#[derive(Debug)]
pub struct Dev {
    folder: PathBuf,
    logic: LogicCrate,
    sources: Sources,
    plugins: Plugins,
}

/// What a change, or the start, has led to.
enum Step {
    /// A new version lies in the plugins folder.
    Version(u32, PluginName),
    /// Why, for the players' pages.
    Failed(String),
    /// Something changed meanwhile.
    Changed(Vec<PathBuf>),
}

impl Dev {
    /// Looks at the crate in this folder (`None`: the current one, or `logic` in it) and begins to watch it.
    ///
    /// # Errors
    /// [`DevError`] if it is no crate of a logic, or if it cannot be watched.
    pub fn new(folder: Option<PathBuf>, config: &Config) -> Result<Dev, DevError> {
        need_cargo()?;
        let plugins = Plugins::open(&config.plugins)?;
        let folder = crates::find(folder)?;
        let logic = LogicCrate::read(&folder)?;
        let sources = Sources::watch(&logic.folders, [&config.data, &config.plugins, &logic.target])?;
        let names: Vec<_> = logic.names().collect();
        say(&format!("watching {}", names.join(", ")));
        Ok(Dev { folder, logic, sources, plugins })
    }

    /// Builds until there is a version to start on, at each change anew; gives its name, or `None` if the stop came first.
    ///
    /// # Errors
    /// [`DevError`] if cargo cannot be run or the plugins folder cannot be written to.
    pub async fn first(&mut self, stop: &Stop) -> Result<Option<String>, DevError> {
        loop {
            let mut step = self.build(None, stop).await?;
            if let Some(Step::Failed(_)) = step {
                say("nothing to start on; waiting for a change");
                step = self.change(stop).await;
            }
            match step {
                None => return Ok(None),
                Some(Step::Version(_, name)) => return Ok(Some(name.to_string())),
                Some(Step::Changed(files)) => self.say_changed(&files),
                Some(Step::Failed(_)) => unreachable!("a change is waited for above"),
            }
        }
    }

    /// Whether there is something to follow when this is what came of the start: the rooms that are kept go on without the first
    /// version, until a change makes a better one.
    #[must_use]
    pub fn bears(&self, engine: &Engine, error: &EngineError) -> bool {
        let EngineError::NotTakenOver { refusal, .. } = error else { return false };
        tell_refused(engine, refusal);
        say(&format!("version {} plays on; waiting for a change", engine.version()));
        true
    }

    /// Follows the crate until the stop: builds and loads at each change.
    ///
    /// # Errors
    /// As [`first`](Self::first).
    pub async fn follow(mut self, engine: &Arc<Engine>, stop: &Stop) -> Result<(), DevError> {
        let mut step = self.change(stop).await;
        while let Some(Step::Changed(files)) = step {
            self.say_changed(&files);
            step = match self.build(Some(engine), stop).await? {
                Some(Step::Version(version, name)) => {
                    self.load(engine, version, name).await?;
                    self.change(stop).await
                }
                Some(Step::Failed(why)) => {
                    engine.notice_until_loaded(&why);
                    self.change(stop).await
                }
                other => other,
            };
        }
        Ok(())
    }

    async fn change(&mut self, stop: &Stop) -> Option<Step> {
        tokio::select! {
            biased;
            () = stop.begun() => None,
            files = self.sources.changed() => Some(Step::Changed(files)),
        }
    }

    /// Builds; a change meanwhile ends the build, since its outcome is of no use any more. `None`: the stop came.
    async fn build(&mut self, engine: Option<&Engine>, stop: &Stop) -> Result<Option<Step>, DevError> {
        let (begun, begun_at) = (Instant::now(), SystemTime::now());
        if let Err(error) = self.look_again() {
            let why = format!("the build cannot begin: {error}");
            say(&why);
            return Ok(Some(Step::Failed(why)));
        }
        let version = self.plugins.next_version()?;
        say(&format!("building version {version}"));
        let job = Job { manifest: &self.logic.manifest, version };
        let built = tokio::select! {
            biased;
            () = stop.begun() => return Ok(None),
            files = self.sources.changed() => return Ok(Some(Step::Changed(files))),
            built = job.run() => built?,
        };
        let took = seconds(begun.elapsed());
        match built {
            Built::Library(path) => {
                let name = self.plugins.put(version, &path)?;
                self.watch_files_of(&path, begun_at)?;
                say(&format!("built version {version} in {took}"));
                Ok(Some(Step::Version(version, name)))
            }
            Built::Failed { shown, plain } => {
                logs::tell(shown.trim_end());
                let still = engine.map(|engine| format!("; version {} plays on", engine.version())).unwrap_or_default();
                say(&format!("build failed in {took}{still}"));
                Ok(Some(Step::Failed(plain)))
            }
        }
    }

    /// A changed Cargo.toml may name other crates.
    fn look_again(&mut self) -> Result<(), DevError> {
        if self.sources.manifests_changed() {
            self.logic = LogicCrate::read(&self.folder)?;
            self.sources.also(&self.logic.folders)?;
        }
        Ok(())
    }

    /// What the code takes in may lie anywhere.
    fn watch_files_of(&mut self, library: &Path, begun_at: SystemTime) -> Result<(), DevError> {
        let new = self.sources.also_files(build::files_of(library), begun_at)?;
        if let Some(names) = self.shown(&new) {
            say(&format!("watching {names} too"));
        }
        Ok(())
    }

    async fn load(&mut self, engine: &Arc<Engine>, version: u32, name: PluginName) -> Result<(), DevError> {
        let begun = Instant::now();
        let who = Requester { peer: engine.listen(), agent: Some("engine dev".to_owned()) };
        let request = LoadRequest { name, confirm: false, force: false, drops: Vec::new() };
        match engine.load(request, who).await {
            Ok(loaded) => {
                let ms = begun.elapsed().as_secs_f64() * 1e3;
                let slowest = loaded.pauses.iter().map(|pause| pause.pause_us).max().unwrap_or_default();
                let rooms = match loaded.pauses.len() {
                    1 => "1 room".to_owned(),
                    rooms => format!("{rooms} rooms"),
                };
                say(&format!("loaded version {version} in {ms:.1} ms: {rooms}, paused {slowest} us"));
            }
            Err(refusal) => tell_refused(engine, &refusal),
        }
        // Also after a refusal: whoever tries again and again would fill the disk.
        self.plugins.prune(engine.version().0)?;
        Ok(())
    }

    fn say_changed(&self, files: &[PathBuf]) {
        if let Some(names) = self.shown(files) {
            say(&format!("changed {names}"));
        }
    }

    /// The first of some files, and how many more there are.
    fn shown(&self, files: &[PathBuf]) -> Option<String> {
        let (first, others) = files.split_first()?;
        let first = self.logic.shown(first);
        Some(if others.is_empty() { first } else { format!("{first} and {} more", others.len()) })
    }
}

/// To whoever writes the logic, and on the players' pages.
fn tell_refused(engine: &Engine, refusal: &Refusal) {
    let reason = format!("load refused: {}", refusal.reason());
    say(&reason);
    refusal.details().iter().for_each(|line| logs::tell(format_args!("  {line}")));
    engine.notice_until_loaded(&[&[reason], refusal.details()].concat().join("\n"));
}

/// For whoever writes the logic, beside the log.
fn say(line: &str) {
    logs::tell(format_args!("dev: {line}"));
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
