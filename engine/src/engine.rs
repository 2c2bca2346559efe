//! The engine behind its door: the loader, the rooms and the loads, put together.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logic_api::Manifest;
use room::{Request, Response};
use wire::Severity;

use crate::config::Config;
use crate::http::{Backend, Health, Kind, Refusal, Requester};
use crate::loader::error::LoadError;
use crate::loader::load::Loader;
use crate::loader::name::{NameFault, PluginName};
use crate::loader::source;
use crate::loader::versions::Mapped;
use crate::loads::Loads;
use crate::lock::{DataFolder, shown};
use crate::metrics::Metrics;
use crate::rooms::{RoomOptions, Rooms, StartError};
use crate::serve::Door;
use crate::sessions::{Auth, AuthError, Lobby, Tokens};
use crate::status::{
    EngineStatus, Loaded, NewRoom, PlayerStatus, RoomChange, RoomStatus, Status, VersionStatus, resident_bytes,
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
    #[error(transparent)]
    Name(#[from] NameFault),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Secret(#[from] TokenError),
}

impl Engine {
    /// Loads the version to start on and makes the rooms. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn start(
        config: &Config,
        data: &DataFolder,
        door: &Door,
        metrics: Arc<Metrics>,
    ) -> Result<Engine, EngineError> {
        let loader = Arc::new(Loader::new(config, data.path()));
        let first = first(config, &loader)?;
        let rooms = Rooms::start(&RoomOptions::from(config), &first.logic, &metrics)?;
        let logic = &first.logic;
        tracing::info!(
            file = %first.file,
            version = logic.version().0,
            logic = logic.name(),
            build_id = %first.build_id,
            "started"
        );
        let (stop, time_max) = (door.stop(), config.probe_timeout);
        let (auth, tokens) = (Auth::new(config)?, Tokens::load_or_make(data.path())?);
        let lobby = Lobby::new(config, rooms.clone(), auth, tokens, metrics.sessions(), stop.clone());
        let loads = Loads::new(Arc::clone(&loader), rooms.clone(), Arc::clone(&metrics), stop.clone(), time_max);
        let (started_at, started) = (Timestamp::now(), Instant::now());
        let lobby = Arc::new(lobby);
        Ok(Engine { loader, rooms, lobby, loads, metrics, stop, listen: door.address(), started_at, started })
    }

    /// Ends the rooms in order, after the last load. False if one did not end in time.
    pub async fn end(&self) -> bool {
        self.loads.ended().await;
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

    async fn load(&self, name: PluginName, who: Requester) -> Result<Loaded, Refusal> {
        self.loads.load(name, who.to_string()).await
    }

    async fn open_room(&self, new: NewRoom) -> Result<RoomStatus, Refusal> {
        if self.stop.is_begun() {
            let reason = "the engine is stopping and opens no rooms any more";
            return Err(Refusal::new(Kind::Unavailable, "engine-stopping", reason));
        }
        Ok(self.rooms.open(&new).await?)
    }

    fn change_room(&self, name: &str, change: &RoomChange) -> Result<RoomStatus, Refusal> {
        Ok(self.rooms.change(name, change)?)
    }

    async fn close_room(&self, name: &str, grace_ms: Option<u64>) -> Result<(), Refusal> {
        Ok(self.rooms.close(name, grace_ms).await?)
    }

    fn room(&self, name: &str) -> Result<RoomStatus, Refusal> {
        Ok(self.rooms.status(name)?)
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
            swaps: self.loads.history(),
        }
    }

    fn metrics(&self) -> String {
        self.metrics.pool_bytes.set(i64::try_from(self.rooms.pool_bytes()).unwrap_or(i64::MAX));
        self.metrics.render()
    }

    fn lobby(&self) -> Option<Arc<Lobby>> {
        Some(Arc::clone(&self.lobby))
    }

    async fn players(&self, room: &str) -> Result<Vec<PlayerStatus>, Refusal> {
        Ok(self.rooms.players(room).await?)
    }

    fn notice(&self, severity: Severity, text: &str) {
        self.rooms.notice(severity, text);
    }

    fn health(&self) -> Health {
        if self.stop.is_begun() { Health::Stopping } else { Health::Ready }
    }
}

/// The version to start on.
fn first(config: &Config, loader: &Loader) -> Result<Arc<Mapped>, EngineError> {
    let Some(wanted) = &config.logic else {
        let numbered = source::numbered(&config.plugins)?;
        let Some((_, newest)) = numbered.into_iter().next() else {
            return Err(no_logic(&config.plugins)?);
        };
        return loader.load(&newest, |_| Ok(()));
    };
    if wanted.ends_with(".so") {
        return loader.load(&PluginName::parse(wanted)?, |_| Ok(()));
    }
    // By the name that is compiled in, which nothing but the code can tell.
    let mut found = Vec::new();
    for (_, file) in source::numbered(&config.plugins)? {
        match loader.load(&file, |manifest| named(manifest, wanted)) {
            Ok(mapped) => return Ok(mapped),
            Err(NotThis::Named(other)) => found.push(format!("{other} in {file}")),
            Err(NotThis::Broken(error)) => found.push(error.to_string()),
        }
    }
    if found.is_empty() {
        return Err(no_logic(&config.plugins)?);
    }
    Err(EngineError::NoSuchLogic { plugins: shown(&config.plugins), wanted: wanted.clone(), found })
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

/// Why a file is passed over where a logic is looked for by name.
enum NotThis {
    Named(String),
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
