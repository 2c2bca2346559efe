//! `/load`: from a plugin's name to the new code's answer from inside every room, or to one line of why not.
//!
//! One at a time. Everything that can fail is done before a room is touched; what then fails is taken back in every room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logic_api::Manifest;
use prometheus::IntGauge;
use room::{Input, LogicVersion, Outbox, Room, Stamp, StepError, TrialId, differences};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::http::{Kind, LoadRequest, Refusal};
use crate::loader::digest::Sha256;
use crate::loader::error::{Class, LoadError};
use crate::loader::load::Loader;
use crate::loader::versions::Mapped;
use crate::metrics::Metrics;
use crate::probation::{NotOnTrial, Trials, Turn};
use crate::rooms::{NotSwapped, Rooms, Swapped};
use crate::status::{Loaded, Outcome, RoomPause, SwapRecord, VersionName};
use crate::stop::Stop;

/// Loads under way and waiting, at most.
const LOADS_MAX: usize = 16;
/// Lines of what a refused plugin printed that its caller gets to see.
const PRINTED_LINES_MAX: usize = 8;

/// Carries loads out, and remembers them.
#[derive(Debug)]
pub struct Loads {
    loader: Arc<Loader>,
    rooms: Rooms,
    metrics: Arc<Metrics>,
    stop: Stop,
    /// How long `upgraded` may take where it is rehearsed.
    rehearsal_time_max: Duration,
    places: Semaphore,
    trials: Arc<Trials>,
}

/// Why a load changed nothing, and what would have been loaded as far as that is known.
#[derive(Debug)]
struct Refused {
    refusal: Refusal,
    to: Option<VersionName>,
}

/// Who asked for which load, and when.
#[derive(Debug)]
struct About {
    at: Timestamp,
    who: String,
    name: String,
    started: Instant,
}

/// A load that has been carried out.
#[derive(Debug)]
struct Done {
    trial: TrialId,
    from: Option<VersionName>,
    loaded: Loaded,
}

/// The trial, and what swapping took in each room.
type InRooms = (TrialId, Vec<(String, Swapped)>);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused { refusal, to: None }
    }
}

impl From<LoadError> for Refused {
    fn from(error: LoadError) -> Refused {
        Refusal::from(error).into()
    }
}

impl Loads {
    #[must_use]
    pub fn new(
        loader: Arc<Loader>,
        rooms: Rooms,
        trials: Arc<Trials>,
        metrics: Arc<Metrics>,
        stop: Stop,
        time_max: Duration,
    ) -> Loads {
        metrics.versions_mapped.set(i64::try_from(loader.versions.count()).unwrap_or(i64::MAX));
        let places = Semaphore::new(LOADS_MAX);
        Loads { loader, rooms, metrics, stop, rehearsal_time_max: time_max, places, trials }
    }

    /// Swaps every room to the plugin that is asked for. Must be polled to its end: a caller who goes away must not drop it.
    ///
    /// # Errors
    /// A [`Refusal`]; every room runs what it ran before.
    pub async fn load(&self, request: LoadRequest, who: String) -> Result<Loaded, Refusal> {
        let (at, started) = (Timestamp::now(), Instant::now());
        let about = About { at, who, name: request.name.to_string(), started };
        let Ok(_place) = self.places.try_acquire() else {
            let reason = format!("{LOADS_MAX} loads are under way or waiting; try again when they are done");
            return self.remember(about, Err(Refusal::new(Kind::Conflict, "load-busy", reason).into()));
        };
        self.metrics.loads_under_way.inc();
        let turn = self.trials.turn().await;
        let outcome = self.alone(&turn, &request, &about).await;
        // Before the turn is over: the verdict on its trial is noted after it.
        let outcome = self.remember(about, outcome);
        drop(turn);
        self.metrics.loads_under_way.dec();
        outcome
    }

    /// Returns once no load is under way; none begins any more, because the stop has.
    pub async fn ended(&self) {
        assert!(self.stop.is_begun(), "loads end after the stop has begun");
        drop(self.trials.turn().await);
    }

    async fn alone(&self, turn: &Turn<'_>, request: &LoadRequest, about: &About) -> Result<Done, Refused> {
        self.check_stop()?;
        self.trials.make_way(turn, request.confirm, &about.who).await?;
        let to = self.prepare(request).await?;
        let previous: Vec<_> = self.rooms.logics().iter().map(|(_, logic)| version_name(logic)).collect();
        let swapped = self.swap(turn, &to, &about.who).await;
        let (trial, swapped) = swapped.map_err(|refusal| Refused { refusal, to: Some(version_name(&to.logic)) })?;
        let from = previous.first().cloned();
        let mut loaded = loaded(&to, previous, swapped, about.started);
        loaded.on_trial_for_ms = u64::try_from(self.trials.probation().as_millis()).unwrap_or(u64::MAX);
        Ok(Done { trial, from, loaded })
    }

    fn check_stop(&self) -> Result<(), Refusal> {
        if !self.stop.is_begun() {
            return Ok(());
        }
        Err(Refusal::new(Kind::Unavailable, "engine-stopping", "the engine is stopping and loads nothing any more"))
    }

    /// Maps the plugin, away from the threads that answer.
    async fn prepare(&self, request: &LoadRequest) -> Result<Arc<Mapped>, Refused> {
        let LoadRequest { name, force, .. } = request.clone();
        let (loader, rooms, trials) = (Arc::clone(&self.loader), self.rooms.clone(), Arc::clone(&self.trials));
        let approve = move |sha256: &Sha256, manifest: &Manifest| {
            if !force {
                let to = Some(VersionName { version: manifest.version.0, name: manifest.name.clone() });
                trials.check_failed(sha256).map_err(|refusal| Refused { refusal, to })?;
            }
            check_schema(&rooms, manifest)
        };
        let prepare = move || loader.load(&name, approve);
        let prepared = tokio::task::spawn_blocking(prepare).await;
        self.metrics.versions_mapped.set(i64::try_from(self.loader.versions.count()).unwrap_or(i64::MAX));
        prepared.unwrap_or_else(|error| {
            tracing::error!(%error, "a load ended without a result");
            Err(Refusal::new(Kind::Internal, "load-broken", "the load ended without a result; see the log").into())
        })
    }

    async fn swap(&self, turn: &Turn<'_>, to: &Arc<Mapped>, who: &str) -> Result<InRooms, Refusal> {
        self.rehearse(Arc::clone(to)).await?;
        let rooms = self.rooms.clone();
        let reserved = tokio::task::spawn_blocking(move || rooms.reserve_pages()).await;
        assert!(reserved.is_ok(), "pages can be reserved: {reserved:?}");
        self.check_stop()?;
        self.trials.swap(turn, to, who).await.map_err(|error| match error {
            NotOnTrial::NotSwapped(error) => not_swapped(error),
            NotOnTrial::NotWritten(_) => Refusal::new(Kind::Unavailable, "trial-not-kept", error.to_string()),
        })
    }

    /// Runs the new version's `upgraded` on a twin of every room, on a thread of its own.
    async fn rehearse(&self, to: Arc<Mapped>) -> Result<(), Refusal> {
        // Loads come one after the other: one that runs now was left behind. Each more would cost another core.
        if self.metrics.rehearsals.get() > 0 {
            let reason = "the rehearsal of an earlier version has not returned from `upgraded` and holds a core; \
                          nothing is loaded until it does: restart the engine";
            return Err(Refusal::new(Kind::Unavailable, "rehearsal-stuck", reason));
        }
        let twins = self.rooms.twins().await?;
        let (done, outcome) = oneshot::channel();
        let running = Running::new(&self.metrics.rehearsals);
        let rehearse = move || {
            // The logic's own log lines come when it is the rooms' turn.
            let _silence = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
            let outcome = twins.into_iter().try_for_each(|twin| rehearse(twin, &to));
            // Before the outcome is known: the next load must not find this one still counted.
            drop(running);
            let _ = done.send(outcome);
        };
        let thread = std::thread::Builder::new().name("rehearsal".to_owned()).spawn(rehearse);
        if let Err(error) = thread {
            let reason = format!("no thread can be started to rehearse on: {error}");
            return Err(Refusal::new(Kind::Unavailable, "rehearsal-impossible", reason));
        }
        let refuse = |reason: String| Err(Refusal::new(Kind::Unprocessable, "upgraded-failed", reason));
        match timeout(self.rehearsal_time_max, outcome).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => refuse(error.to_string()),
            Ok(Err(_)) => refuse("its rehearsal ended without a result; see the log".to_owned()),
            // The thread cannot be stopped, and is left behind with its twins.
            Err(_) => refuse(format!("upgraded did not return within {} s", self.rehearsal_time_max.as_secs_f32())),
        }
    }

    fn remember(&self, about: About, outcome: Result<Done, Refused>) -> Result<Loaded, Refusal> {
        let About { at, who, name, started } = about;
        let total_us = micros(started.elapsed());
        let outcome = match outcome {
            Ok(Done { trial, from, loaded }) => {
                let pause_us_max = loaded.pauses.iter().map(|pause| pause.pause_us).max().unwrap_or(0);
                let to = VersionName { version: loaded.version, name: loaded.name.clone() };
                tracing::info!(who, name, version = to.version, logic = to.name, pause_us_max, total_us, "loaded");
                let outcome = if loaded.on_trial_for_ms > 0 { Outcome::OnTrial } else { Outcome::Confirmed };
                let (to, reason, verdict) = (Some(to), None, None);
                let record = SwapRecord { at, who, name, from, to, outcome, reason, verdict, pause_us_max, total_us };
                self.trials.history.push(record, Some(trial));
                Ok(loaded)
            }
            Err(Refused { refusal, to }) => {
                let (code, reason) = (refusal.code(), refusal.reason());
                tracing::warn!(who, name, code, reason, total_us, "load refused");
                let from = self.rooms.logics().first().map(|(_, logic)| version_name(logic));
                let (outcome, reason, pause_us_max) = (Outcome::Refused, Some(reason.to_owned()), 0);
                let verdict = None;
                let record = SwapRecord { at, who, name, from, to, outcome, reason, verdict, pause_us_max, total_us };
                self.trials.history.push(record, None);
                Err(refusal)
            }
        };
        self.metrics.count_load(&outcome);
        outcome
    }
}

/// Counts a rehearsal for as long as its thread lives.
struct Running(IntGauge);

impl Running {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn rehearse((mut room, stamp): (Room, Stamp), to: &Mapped) -> Result<(), StepError> {
    room.step(stamp, Input::swap(Arc::clone(&to.logic)), &mut Outbox::new()).map(drop)
}

/// Refuses a version whose tables differ from those of any room.
fn check_schema(rooms: &Rooms, manifest: &Manifest) -> Result<(), Refused> {
    let mut lines = Vec::new();
    let mut running = None;
    for (_, logic) in rooms.logics() {
        for line in differences(logic.schema(), &manifest.schema) {
            // The same version runs in most rooms.
            if !lines.contains(&line) {
                lines.push(line);
            }
            running.get_or_insert_with(|| Arc::clone(&logic));
        }
    }
    let Some(running) = running else { return Ok(()) };
    let reason = format!(
        "the tables of {} {} differ from those of {} {}, which is running; put them back as they were",
        manifest.name,
        manifest.version,
        running.name(),
        running.version()
    );
    let to = VersionName { version: manifest.version.0, name: manifest.name.clone() };
    let refusal = Refusal::new(Kind::Conflict, "schema-differs", reason).with_details(lines);
    Err(Refused { refusal, to: Some(to) })
}

fn not_swapped(error: NotSwapped) -> Refusal {
    let reason = error.to_string();
    match error {
        NotSwapped::Room(error) => error.into(),
        NotSwapped::Refused { error: StepError::SchemaDiffers(lines), .. } => {
            Refusal::new(Kind::Conflict, "schema-differs", "its tables differ from those of a room").with_details(lines)
        }
        NotSwapped::Refused { error: StepError::WrongCode { .. }, .. } => {
            Refusal::new(Kind::Unprocessable, "wrong-code", reason)
        }
        NotSwapped::Refused { .. } => Refusal::new(Kind::Unprocessable, "upgraded-failed", reason),
    }
}

fn loaded(to: &Mapped, previous: Vec<VersionName>, swapped: Vec<(String, Swapped)>, started: Instant) -> Loaded {
    let mut distinct: Vec<VersionName> = Vec::new();
    for version in previous {
        if !distinct.contains(&version) {
            distinct.push(version);
        }
    }
    let pause = |(room, swapped): (String, Swapped)| RoomPause { room, pause_us: micros(swapped.pause) };
    Loaded {
        version: to.logic.version().0,
        name: to.logic.name().to_owned(),
        build_id: to.build_id.to_string(),
        sha256: to.sha256.to_string(),
        previous: distinct,
        pauses: swapped.into_iter().map(pause).collect(),
        total_us: micros(started.elapsed()),
        on_trial_for_ms: 0,
    }
}

fn version_name(logic: &LogicVersion) -> VersionName {
    VersionName { version: logic.version().0, name: logic.name().to_owned() }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Refusal {
        let kind = match error.class() {
            Class::BadName => Kind::BadRequest,
            Class::NotFound => Kind::NotFound,
            Class::Conflict => Kind::Conflict,
            Class::Unloadable => Kind::Unprocessable,
            Class::Unavailable => Kind::Unavailable,
        };
        let printed = error.printed().unwrap_or_default().lines().rev().take(PRINTED_LINES_MAX);
        let printed: Vec<_> = printed.map(|line| format!("it printed: {line}")).collect();
        Refusal::new(kind, error.code(), error.to_string()).with_details(printed.into_iter().rev())
    }
}
