//! The engine behind its door: the loader, the rooms and the loads, put together.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logic_api::changes::Changes;
use logic_api::{Manifest, PlayerId, Version};
use room::{LogicVersion, Pool, Request, Response};
use wire::Severity;

use crate::config::Config;
use crate::http::{Backend, Health, Kind, LoadRequest, Refusal, Requester};
use crate::journal::files::{Disk, Files};
use crate::journal::log::LogError;
use crate::kept::{KeptError, KeptRooms, move_aside};
use crate::loader::digest::Sha256;
use crate::loader::error::LoadError;
use crate::loader::load::Loader;
use crate::loader::name::{NameFault, PluginName};
use crate::loader::source;
use crate::loader::versions::Mapped;
use crate::loads::{Loads, PrepareLimits, version_name};
use crate::lock::{DataFolder, shown};
use crate::logs;
use crate::metrics::Metrics;
use crate::probation::{
    ENGINE, FAILED_BEFORE, Failed, FailedError, FailedVersions, Kept, Trials, Tried, Verdicts, VerdictsError,
};
use crate::rooms::{RoomName, RoomOptions, Rooms, StartError, Watched};
use crate::serve::Door;
use crate::sessions::{Auth, AuthError, Lobby, Tokens};
use crate::status::{
    Decided, EngineStatus, Loaded, NewRoom, PlayerStatus, RoomChange, RoomStatus, Status, VersionName, VersionPlan,
    VersionStatus, resident_bytes,
};
use crate::stop::Stop;
use crate::token::TokenError;

/// How long players have, after their rooms have ended, to read that they did.
const PLAYERS_END_MAX: Duration = Duration::from_secs(3);

/// Everything that runs while the engine serves.
#[derive(Debug)]
pub struct Engine {
    loader: Arc<Loader>,
    rooms: Rooms,
    lobby: Arc<Lobby>,
    loads: Loads,
    trials: Arc<Trials>,
    metrics: Arc<Metrics>,
    stop: Stop,
    listen: SocketAddr,
    started_at: Timestamp,
    started: Instant,
}

/// Why the engine cannot start. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("{plugins} has no logic: build one with scripts/build_so.sh")]
    NoLogic { plugins: String },
    #[error(
        "{plugins} has no game.<N>.so: build one with scripts/build_so.sh, or start on another file with --logic {other}"
    )]
    NoNumberedLogic { plugins: String, other: PluginName },
    #[error("{plugins} has no logic called {wanted:?}; it has {}", .found.join(", "))]
    NoSuchLogic { plugins: String, wanted: String, found: Vec<String> },
    #[error(
        "every version in {plugins} was on trial and failed: build another, or start on one all the same with --logic {newest}"
    )]
    AllFailed { plugins: String, newest: PluginName },
    #[error(
        "the rooms that are kept do not go on on {wanted}: {}; without --logic they go on on the version that ran them",
        [&[refusal.reason().to_owned()], refusal.details()].concat().join("; ")
    )]
    NotTakenOver { wanted: String, refusal: Refusal },
    #[error(transparent)]
    Verdicts(#[from] VerdictsError),
    #[error(transparent)]
    Failed(#[from] FailedError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Name(#[from] NameFault),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Kept(#[from] KeptError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Secret(#[from] TokenError),
}

impl Engine {
    /// Loads the version to start on and makes the rooms. Blocks for as long as that takes. What it does can be watched.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn start(
        config: &Config,
        data: &DataFolder,
        door: &Door,
        metrics: Arc<Metrics>,
        watched: &Watched,
    ) -> Result<Engine, EngineError> {
        let loader = Arc::new(Loader::new(config, data.path()));
        let kept = kept(data.path())?;
        let (auth, tokens) = (Auth::new(config)?, Tokens::load_or_make(data.path())?);
        let anew = config.fresh.then(|| begin_anew(config, data.path(), &loader, &kept.failed)).transpose()?;
        let pools: Vec<Pool> = (0..config.room_threads).map(|_| Pool::new()).collect();
        let kept_rooms = KeptRooms::recover(config, data.path(), &loader, (&pools, watched.start()), &kept.verdicts)?;
        let logic = match kept_rooms.current().or(anew) {
            Some(logic) => logic,
            None => Arc::clone(&first(config, &loader, &kept.failed)?.logic),
        };
        let rooms = Rooms::start(&RoomOptions::from(config), &logic, &metrics, (kept_rooms, pools, watched))?;
        let mapped = loader.versions.list().into_iter().find(|mapped| Arc::ptr_eq(&mapped.logic, &logic));
        tracing::info!(
            file = mapped.as_ref().map(|mapped| mapped.file.to_string()),
            version = logic.version().0,
            logic = logic.name(),
            build_id = mapped.map(|mapped| mapped.build_id.to_string()),
            "started"
        );
        let stop = door.stop();
        let lobby = Lobby::new(config, rooms.clone(), auth, tokens, metrics.sessions(), stop.clone());
        let trials = Trials::new(rooms.clone(), kept, Arc::clone(&metrics), stop.clone(), config.probation);
        let loads = Loads::start(
            Arc::clone(&loader),
            rooms.clone(),
            Arc::clone(&trials),
            Arc::clone(&metrics),
            stop.clone(),
            PrepareLimits {
                rewrite_time_max: config.rewrite_timeout,
                rewrite_bytes_max: config.rewrite_bytes_max,
                rehearsal_bytes_max: config.rehearsal_bytes_max,
            },
        )
        .map_err(StartError::Thread)?;
        let (started_at, started) = (Timestamp::now(), Instant::now());
        let lobby = Arc::new(lobby);
        Ok(Engine { loader, rooms, lobby, loads, trials, metrics, stop, listen: door.address(), started_at, started })
    }

    /// Loads the file that the start names, if the rooms that were brought back ran lower versions; any other they go on without.
    /// To be called before anybody comes in.
    ///
    /// # Errors
    /// [`EngineError::NotTakenOver`] with what its load was refused for; [`EngineError`] if the file cannot be read.
    pub async fn take_over(&self, config: &Config) -> Result<(), EngineError> {
        let Some(wanted) = &config.logic else { return Ok(()) };
        let running: Vec<Version> = self.rooms.logics().iter().map(|(_, logic)| logic.version()).collect();
        let unused = |version: &Version, so: &str| {
            tracing::warn!(version = version.0, "rooms go on on the version that ran them; {wanted} is not used: {so}");
        };
        if !wanted.ends_with(".so") {
            let runs_another = |(_, logic): &&(RoomName, Arc<LogicVersion>)| logic.name() != wanted;
            self.rooms
                .logics()
                .iter()
                .find(runs_another)
                .iter()
                .for_each(|(_, logic)| unused(&logic.version(), "load it"));
            return Ok(());
        }
        let (name, loader) = (PluginName::parse(wanted)?, Arc::clone(&self.loader));
        let looked = tokio::task::spawn_blocking({
            let name = name.clone();
            move || loader.look::<LoadError>(&name)
        });
        let (sha256, summary) = looked.await.expect("looking at a file does not panic")?;
        let version = summary.manifest.version;
        if let Some(higher) = running.iter().find(|running| **running > version) {
            let failed = self.trials.check_failed(&sha256).err();
            unused(higher, failed.as_ref().map_or("load it", Refusal::reason));
        }
        if !running.iter().any(|running| *running < version) || running.iter().any(|running| *running > version) {
            return Ok(());
        }
        let request = LoadRequest { name, confirm: false, force: false, drops: config.drops.clone() };
        match self.loads.load(request, ENGINE.to_owned()).await {
            Ok(_) => Ok(()),
            // It was tried, and this start must not try it again and again.
            Err(refusal) if refusal.code() == FAILED_BEFORE => {
                running.iter().min().into_iter().for_each(|running| unused(running, refusal.reason()));
                Ok(())
            }
            Err(refusal) => Err(EngineError::NotTakenOver { wanted: wanted.clone(), refusal: at_start(&refusal) }),
        }
    }

    /// Ends the rooms in order, after the last load. False if one did not end in time.
    pub async fn end(&self) -> bool {
        self.loads.ended().await;
        self.trials.leave().await;
        let ended = self.rooms.end().await;
        if !self.lobby.ended(PLAYERS_END_MAX).await {
            tracing::warn!(connections = self.lobby.connections(), "connections of players were cut");
        }
        ended
    }

    /// Where players and admins reach it.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The version that plays.
    #[must_use]
    pub fn version(&self) -> Version {
        self.rooms.current()
    }

    /// Has every player told what is wrong with the version that was to come, until one is loaded, whoever loads it.
    pub fn notice_until_loaded(&self, text: &str) {
        self.rooms.notice_until_loaded(text);
    }

    fn versions(&self) -> Vec<VersionStatus> {
        let running = self.rooms.logics();
        let version = |mapped: &Arc<Mapped>| {
            let rooms = running.iter().filter(|(_, logic)| Arc::ptr_eq(logic, &mapped.logic));
            VersionStatus {
                version: mapped.logic.version().0,
                name: mapped.logic.name().to_owned(),
                build_id: mapped.build_id.to_string(),
                sha256: mapped.sha256.to_string(),
                file: mapped.file.to_string(),
                bytes: mapped.bytes,
                mapped_at: mapped.mapped_at,
                failed: self.trials.failure(&mapped.sha256),
                rooms: rooms.map(|(room, _)| room.to_string()).collect(),
            }
        };
        self.loader.versions.list().iter().map(version).collect()
    }
}

impl Backend for Engine {
    async fn request(&self, room: Option<&str>, request: Request) -> Result<Response, Refusal> {
        Ok(self.rooms.request(room, request).await?)
    }

    async fn plan(&self, name: PluginName, drops: Vec<String>) -> Result<Vec<VersionPlan>, Refusal> {
        self.loads.plan(name, drops).await
    }

    async fn load(&self, request: LoadRequest, who: Requester) -> Result<Loaded, Refusal> {
        let loaded = self.loads.load(request, who.to_string()).await;
        if loaded.is_ok() {
            self.rooms.loaded();
        }
        loaded
    }

    async fn confirm(&self, who: Requester) -> Result<Decided, Refusal> {
        self.trials.confirm(&who.to_string()).await
    }

    async fn roll_back(&self, who: Requester, reason: Option<String>) -> Result<Decided, Refusal> {
        self.trials.roll_back(&who.to_string(), reason.as_deref()).await
    }

    async fn open_room(&self, new: NewRoom) -> Result<RoomStatus, Refusal> {
        if self.stop.is_begun() {
            let reason = "the engine is stopping and opens no rooms any more";
            return Err(Refusal::new(Kind::Unavailable, "engine-stopping", reason));
        }
        Ok(self.rooms.open(&new).await?)
    }

    async fn change_room(&self, name: &str, change: &RoomChange) -> Result<RoomStatus, Refusal> {
        let changed = self.rooms.change(name, change)?;
        self.rooms.settled().await;
        Ok(changed)
    }

    async fn close_room(&self, name: &str, grace_ms: Option<u64>) -> Result<(), Refusal> {
        Ok(self.rooms.close(name, grace_ms).await?)
    }

    fn room(&self, name: &str) -> Result<RoomStatus, Refusal> {
        Ok(self.rooms.status(name)?)
    }

    fn logic_of(&self, room: Option<&str>) -> Option<VersionName> {
        self.rooms.logic_of(room).map(|logic| version_name(&logic))
    }

    fn status(&self) -> Status {
        Status {
            engine: EngineStatus {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                started_at: self.started_at,
                uptime_s: self.started.elapsed().as_secs(),
                listen: self.listen,
                rss_bytes: resident_bytes(),
                stopping: self.stop.is_begun(),
                connections: self.lobby.connections() as u64,
            },
            rooms: self.rooms.statuses(),
            versions: self.versions(),
            trial: self.trials.status(),
            swaps: self.trials.history.list(),
        }
    }

    fn metrics(&self) -> String {
        self.metrics.pool_bytes.set(i64::try_from(self.rooms.pool_bytes()).unwrap_or(i64::MAX));
        self.metrics.log_lines_lost.set(i64::try_from(logs::lost()).unwrap_or(i64::MAX));
        self.metrics.render()
    }

    fn lobby(&self) -> Option<Arc<Lobby>> {
        Some(Arc::clone(&self.lobby))
    }

    async fn players(&self, room: &str) -> Result<Vec<PlayerStatus>, Refusal> {
        Ok(self.rooms.players(room).await?)
    }

    async fn kick(&self, room: &str, player: u64, reason: &str) -> Result<(), Refusal> {
        Ok(self.rooms.leave(room, PlayerId(player), reason.into()).await?)
    }

    fn notice(&self, severity: Severity, text: &str) {
        self.rooms.notice(severity, text);
    }

    fn health(&self) -> Health {
        match () {
            () if self.stop.is_begun() => Health::Stopping,
            () if self.rooms.any_stuck() => Health::Stuck,
            () => Health::Ready,
        }
    }
}

/// A load's refusal for whoever has asked for it by a start: what is a parameter of a load is a flag there.
fn at_start(refusal: &Refusal) -> Refusal {
    let by_flag = |line: &str| line.replace("&drop=", "--drop ").replace("drop=", "--drop ");
    let details = refusal.details().iter().map(|line| by_flag(line));
    Refusal::new(refusal.kind(), refusal.code(), by_flag(refusal.reason())).with_details(details)
}

/// The version to start on without the rooms that are kept, which are moved aside once there is one.
fn begin_anew(
    config: &Config,
    data: &Path,
    loader: &Loader,
    failed: &FailedVersions,
) -> Result<Arc<LogicVersion>, EngineError> {
    let first = first(config, loader, failed)?;
    if let Some(aside) = move_aside(data)? {
        tracing::info!("begun anew; what was kept is in {}", aside.display());
    }
    Ok(Arc::clone(&first.logic))
}

/// The version to start on.
fn first(config: &Config, loader: &Loader, failed: &FailedVersions) -> Result<Arc<Mapped>, EngineError> {
    let Some(wanted) = &config.logic else {
        return newest(&config.plugins, loader, failed);
    };
    if wanted.ends_with(".so") {
        // Whoever names a file means it.
        let warn = |sha256: &Sha256, _: &Manifest, _: &Changes| {
            failed.find(sha256).iter().for_each(|failed| warn_of(failed, "it runs because it was asked for by name"));
            Ok(())
        };
        return loader.load(&PluginName::parse(wanted)?, warn);
    }
    // By the name that is compiled in, which nothing but the code can tell.
    let mut found = Vec::new();
    for (_, file) in source::numbered(&config.plugins)? {
        let approve = |sha256: &Sha256, manifest: &Manifest, _: &Changes| {
            named(manifest, wanted)?;
            has_not_failed(failed, sha256)
        };
        match loader.load(&file, approve) {
            Ok(mapped) => return Ok(mapped),
            Err(NotThis::Named(other)) => found.push(format!("{other} in {file}")),
            Err(NotThis::Failed) => found.push(format!("{wanted} in {file}, which failed when it was on trial")),
            Err(NotThis::Broken(error)) => found.push(error.to_string()),
        }
    }
    if found.is_empty() {
        return Err(no_logic(&config.plugins)?);
    }
    Err(EngineError::NoSuchLogic { plugins: shown(&config.plugins), wanted: wanted.clone(), found })
}

/// The highest version, or the highest that has not failed.
fn newest(plugins: &Path, loader: &Loader, failed: &FailedVersions) -> Result<Arc<Mapped>, EngineError> {
    let numbered = source::numbered(plugins)?;
    let Some((_, newest)) = numbered.first() else {
        return Err(no_logic(plugins)?);
    };
    for (_, file) in &numbered {
        match loader.load(file, |sha256, _, _| has_not_failed(failed, sha256)) {
            Ok(mapped) => return Ok(mapped),
            Err(NotThis::Broken(error)) => return Err(error.into()),
            Err(NotThis::Failed | NotThis::Named(_)) => {}
        }
    }
    Err(EngineError::AllFailed { plugins: shown(plugins), newest: newest.clone() })
}

fn has_not_failed(failed: &FailedVersions, sha256: &Sha256) -> Result<(), NotThis> {
    let Some(failed) = failed.find(sha256) else { return Ok(()) };
    warn_of(&failed, "it is passed over");
    Err(NotThis::Failed)
}

fn warn_of(failed: &Failed, so: &str) {
    let Failed { version, name, reason, who, at, .. } = failed;
    tracing::warn!(version, logic = name, who, %at, reason, "this version failed when it was on trial: {so}");
}

/// What the data folder tells of trials. One that was under way when the last engine went without being told to has failed: for all
/// that is known, it is what ended the engine. One that was confirmed after it had failed has not.
fn kept(data: &Path) -> Result<Kept, EngineError> {
    let files: Arc<dyn Files> = Arc::new(Disk);
    let (verdicts, interrupted) = Verdicts::open(Arc::clone(&files), data)?;
    let failed = FailedVersions::open(files, data)?;
    if let Some(Tried { trial, sha256, version, name, .. }) = interrupted {
        // It may have been rolled back, and the engine gone before it could note the end of the trial.
        if failed.find(&sha256).is_none_or(|known| known.trial < trial) {
            let (reason, who) =
                ("the engine ended while it was being loaded or on trial".to_owned(), ENGINE.to_owned());
            tracing::warn!(version, logic = name, "{reason}: it has failed");
            failed.remember(Failed { trial, sha256, version, name, reason, who, at: Timestamp::now() })?;
        }
        verdicts.end()?;
    }
    for Failed { trial, sha256, .. } in failed.list() {
        if trial.0 > 0 && verdicts.confirmed_in(&sha256).is_some_and(|confirmed| confirmed > trial) {
            failed.forget(&sha256)?;
        }
    }
    Ok(Kept { verdicts, failed })
}

/// What to say of a folder without a numbered version: files of other names are passed over unless they are asked for.
fn no_logic(plugins: &Path) -> Result<EngineError, LoadError> {
    let other = source::all(plugins)?.into_iter().next();
    let plugins = shown(plugins);
    Ok(match other {
        None => EngineError::NoLogic { plugins },
        Some(other) => EngineError::NoNumberedLogic { plugins, other },
    })
}

/// Why a file is passed over where a logic is looked for.
enum NotThis {
    Named(String),
    Failed,
    Broken(LoadError),
}

impl From<LoadError> for NotThis {
    fn from(error: LoadError) -> NotThis {
        NotThis::Broken(error)
    }
}

fn named(manifest: &Manifest, wanted: &str) -> Result<(), NotThis> {
    if manifest.name == wanted { Ok(()) } else { Err(NotThis::Named(manifest.name.clone())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room::TrialId;

    fn open(data: &Path) -> (Verdicts, FailedVersions) {
        let files: Arc<dyn Files> = Arc::new(Disk);
        (Verdicts::open(Arc::clone(&files), data).unwrap().0, FailedVersions::open(files, data).unwrap())
    }

    fn sha256() -> Sha256 {
        Sha256::of(b"game2")
    }

    fn tried(trial: u64, at: &str) -> Tried {
        Tried {
            trial: TrialId(trial),
            sha256: sha256(),
            version: 1002,
            name: "game2".to_owned(),
            at: at.parse().unwrap(),
        }
    }

    fn failed(trial: u64, at: &str) -> Failed {
        let Tried { trial, sha256, version, name, at } = tried(trial, at);
        Failed { trial, sha256, version, name, reason: "it was slow".to_owned(), who: ENGINE.to_owned(), at }
    }

    /// The machine's clock may be set back between two trials, and the engine be killed before it has noted all of one.
    #[test]
    fn the_later_trial_has_the_say_whatever_the_clock_was() {
        let (early, late) = ("2026-01-02T03:00:00Z", "2026-01-02T04:00:00Z");
        let check = |confirmed: (u64, &str), failure: (u64, &str), has_failed: bool| {
            let data = tempfile::tempdir().unwrap();
            let (verdicts, failures) = open(data.path());
            verdicts.confirm(tried(confirmed.0, confirmed.1)).unwrap();
            failures.remember(failed(failure.0, failure.1)).unwrap();
            let kept = kept(data.path()).unwrap();
            assert_eq!(kept.failed.find(&sha256()).is_some(), has_failed, "{confirmed:?} {failure:?}");
        };
        check((7, late), (8, early), true);
        check((8, early), (7, late), false);
        check((7, early), (8, late), true);
        // Of an engine that did not note it.
        check((7, late), (0, early), true);
    }

    #[test]
    fn a_trial_that_was_interrupted_has_failed_whatever_the_clock_was() {
        let data = tempfile::tempdir().unwrap();
        let (verdicts, failures) = open(data.path());
        failures.remember(failed(7, "2026-01-02T04:00:00Z")).unwrap();
        verdicts.begin(tried(8, "2026-01-02T03:00:00Z")).unwrap();
        let kept = kept(data.path()).unwrap();
        let failure = kept.failed.find(&sha256()).unwrap();
        assert_eq!(failure.trial, TrialId(8));
        assert!(kept.verdicts.next_trial(kept.failed.last_trial()) > TrialId(8));
    }
}
