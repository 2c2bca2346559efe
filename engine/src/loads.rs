//! `/load`: from a plugin's name to the new code's answer from inside every room, or to one line of why not.
//!
//! One at a time. Everything that can fail is done before a room is touched; what then fails is taken back in every room.

mod rehearsal;
mod tables;
mod worker;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logic_api::Manifest;
use logic_api::changes::Changes;
use parking_lot::Mutex;
use prometheus::IntGauge;
use room::{LogicVersion, StepError, TrialId};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::http::{Kind, LoadRequest, Refusal};
use crate::loader::digest::Sha256;
use crate::loader::error::{Class, LoadError, printed_lines};
use crate::loader::load::Loader;
use crate::loader::versions::Mapped;
use crate::metrics::Metrics;
use crate::probation::{NotOnTrial, Trials, Turn};
use crate::rooms::{NotSwapped, Rooms, Swapped};
use crate::status::{Decided, Loaded, Outcome, RoomPause, SwapRecord, VersionName, VersionPlan};
use crate::stop::Stop;

pub use rehearsal::PrepareLimits;

use rehearsal::RoomsToTry;
use worker::Worker;

/// Loads under way and waiting, at most.
const LOADS_MAX: usize = 16;
/// Lines of why a load was refused, one for each field, that the history keeps.
const DETAILS_KEPT_MAX: usize = 100;

/// Carries loads out, and remembers them.
#[derive(Debug)]
pub struct Loads {
    loader: Arc<Loader>,
    rooms: Rooms,
    metrics: Arc<Metrics>,
    stop: Stop,
    limits: PrepareLimits,
    places: Semaphore,
    trials: Arc<Trials>,
    /// Tries plugins and maps them.
    loading: Worker,
    /// Runs migrations, of which one may never return.
    rewriting: Worker,
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
    drops: Vec<String>,
    started: Instant,
    planned: Planned,
}

/// What a load does to the tables, as far as it is known: however the load ends, the history tells it.
#[derive(Debug, Clone, Default)]
struct Planned(Arc<Mutex<Vec<VersionPlan>>>);

impl Planned {
    fn set(&self, plans: Vec<VersionPlan>) {
        *self.0.lock() = plans;
    }

    fn get(&self) -> Vec<VersionPlan> {
        self.0.lock().clone()
    }
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
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(
        loader: Arc<Loader>,
        rooms: Rooms,
        trials: Arc<Trials>,
        metrics: Arc<Metrics>,
        stop: Stop,
        limits: PrepareLimits,
    ) -> io::Result<Loads> {
        metrics.versions_mapped.set(i64::try_from(loader.versions.count()).unwrap_or(i64::MAX));
        let places = Semaphore::new(LOADS_MAX);
        let (loading, rewriting) = (Worker::start("load")?, Worker::start("rewrite")?);
        Ok(Loads { loader, rooms, metrics, stop, limits, places, trials, loading, rewriting })
    }

    /// Swaps every room to the plugin that is asked for. Must be polled to its end: a caller who goes away must not drop it.
    ///
    /// # Errors
    /// A [`Refusal`]; every room runs what it ran before.
    pub async fn load(&self, request: LoadRequest, who: String) -> Result<Loaded, Refusal> {
        let (at, started) = (Timestamp::now(), Instant::now());
        let (name, drops) = (request.name.to_string(), request.drops.clone());
        let about = About { at, who, name, drops, started, planned: Planned::default() };
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
        self.trials.check_way(request.confirm)?;
        let to = self.prepare(request, &about.planned).await?;
        let refused = |refusal| Refused { refusal, to: Some(version_name(&to.logic)) };
        // Late: a version that cannot be loaded must not cost the way back from the one on trial.
        self.check_stop().map_err(refused)?;
        let confirmed = self.trials.make_way(turn, &about.who).await.map_err(refused)?;
        let previous: Vec<_> = self.rooms.logics().iter().map(|(_, logic)| version_name(logic)).collect();
        let swapped = self.swap(turn, &to, request, about).await;
        let (trial, swapped) = swapped.map_err(|refusal| {
            let told =
                |it: Decided| format!("{} {}, which was on trial, has been confirmed before that", it.name, it.version);
            refused(refusal.with_details(confirmed.map(told)))
        })?;
        let from = previous.first().cloned();
        let mut loaded = loaded(&to, previous, swapped, about.started);
        loaded.plans = about.planned.get();
        loaded.on_trial_for_ms = u64::try_from(self.trials.probation().as_millis()).unwrap_or(u64::MAX);
        Ok(Done { trial, from, loaded })
    }

    fn check_stop(&self) -> Result<(), Refusal> {
        if !self.stop.is_begun() {
            return Ok(());
        }
        Err(Refusal::new(Kind::Unavailable, "engine-stopping", "the engine is stopping and loads nothing any more"))
    }

    /// Tries the plugin on copies of the rooms in a child process and maps it, away from the threads that answer.
    async fn prepare(&self, request: &LoadRequest, planned: &Planned) -> Result<Arc<Mapped>, Refused> {
        let LoadRequest { name, force, drops, .. } = request.clone();
        let planned = planned.clone();
        let (loader, rooms, trials) = (Arc::clone(&self.loader), self.rooms.clone(), Arc::clone(&self.trials));
        let (runtime, twins, limits, losses) = (Handle::current(), self.rooms.clone(), self.limits, drops.clone());
        let to_try =
            move || Ok(RoomsToTry::choose(runtime.block_on(twins.twins()).map_err(Refusal::from)?, losses, limits));
        let approve = move |sha256: &Sha256, manifest: &Manifest, changes: &Changes| {
            if !force {
                let to = Some(VersionName { version: manifest.version.0, name: manifest.name.clone() });
                trials.check_failed(sha256).map_err(|refusal| Refused { refusal, to })?;
            }
            tables::check(&rooms, manifest, changes, &drops, &planned)
        };
        let prepared = self.loading.run(move || loader.load_for(&name, approve, to_try)).await;
        self.metrics.versions_mapped.set(i64::try_from(self.loader.versions.count()).unwrap_or(i64::MAX));
        prepared.unwrap_or_else(|error| {
            tracing::error!(%error, "a load ended without a result");
            Err(Refusal::new(Kind::Internal, "load-broken", "the load ended without a result; see the log").into())
        })
    }

    async fn swap(
        &self,
        turn: &Turn<'_>,
        to: &Arc<Mapped>,
        request: &LoadRequest,
        about: &About,
    ) -> Result<InRooms, Refusal> {
        let trial = self.trials.begin(turn, to).map_err(|error| not_on_trial(error.into()))?;
        let swapped = self.swap_on_trial(turn, (to, trial), request, about).await;
        if swapped.is_err() {
            self.trials.refused(turn);
        }
        swapped
    }

    async fn swap_on_trial(
        &self,
        turn: &Turn<'_>,
        (to, trial): (&Arc<Mapped>, TrialId),
        request: &LoadRequest,
        about: &About,
    ) -> Result<InRooms, Refusal> {
        let tables = self.prepare_tables(to, &request.drops.as_slice().into(), &about.planned).await?;
        let rooms = self.rooms.clone();
        let reserved = tokio::task::spawn_blocking(move || rooms.reserve_pages()).await;
        assert!(reserved.is_ok(), "pages can be reserved: {reserved:?}");
        self.check_stop()?;
        let swapped = self.trials.swap(turn, (to, trial), tables, &about.who).await.map_err(not_on_trial)?;
        Ok((trial, swapped))
    }

    fn remember(&self, about: About, outcome: Result<Done, Refused>) -> Result<Loaded, Refusal> {
        let About { at, who, name, drops, started, planned } = about;
        let (total_us, plans) = (micros(started.elapsed()), planned.get());
        let mut record = SwapRecord {
            at,
            who,
            name,
            from: None,
            to: None,
            outcome: Outcome::Refused,
            reason: None,
            details: Vec::new(),
            verdict: None,
            drops,
            plans,
            pause_us_max: 0,
            total_us,
        };
        let (who, name) = (&record.who, &record.name);
        let (trial, outcome) = match outcome {
            Ok(Done { trial, from, loaded }) => {
                let pause_us_max = loaded.pauses.iter().map(|pause| pause.pause_us).max().unwrap_or(0);
                let to = VersionName { version: loaded.version, name: loaded.name.clone() };
                tracing::info!(who, name, version = to.version, logic = to.name, pause_us_max, total_us, "loaded");
                record.outcome = if loaded.on_trial_for_ms > 0 { Outcome::OnTrial } else { Outcome::Confirmed };
                (record.from, record.to, record.pause_us_max) = (from, Some(to), pause_us_max);
                (Some(trial), Ok(loaded))
            }
            Err(Refused { refusal, to }) => {
                let (code, reason) = (refusal.code(), refusal.reason());
                tracing::warn!(who, name, code, reason, total_us, "load refused");
                record.from = self.rooms.logics().first().map(|(_, logic)| version_name(logic));
                record.to = to;
                record.reason = Some(reason.to_owned());
                record.details = refusal.details().iter().take(DETAILS_KEPT_MAX).cloned().collect();
                (None, Err(refusal))
            }
        };
        self.trials.history.push(record, trial);
        self.metrics.count_load(&outcome);
        outcome
    }
}

/// Counts a rewrite for as long as its thread lives.
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

fn not_on_trial(error: NotOnTrial) -> Refusal {
    match error {
        NotOnTrial::NotSwapped(error) => not_swapped(error),
        NotOnTrial::NotWritten(_) => Refusal::new(Kind::Unavailable, "trial-not-kept", error.to_string()),
    }
}

fn not_swapped(error: NotSwapped) -> Refusal {
    let reason = error.to_string();
    match error {
        NotSwapped::Room(error) => error.into(),
        NotSwapped::Refused { error: StepError::SchemaDiffers(lines), .. } => {
            Refusal::new(Kind::Conflict, "schema-differs", "the tables of a room cannot be carried over")
                .with_details(lines)
        }
        NotSwapped::Refused { room, error: StepError::Unfit(line) } => {
            tables::unfit(format!("in the room {room}: {line}"))
        }
        NotSwapped::Refused { room, error: StepError::TooLarge(error) } => tables::refused(&room, &error),
        NotSwapped::Refused { room, error: StepError::Fault(fault) } if fault.is_of_migration() => {
            tables::fault(format!("in the room {room}: a migration panicked: {}", fault.message), &fault.location)
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
        plans: Vec::new(),
        on_trial_for_ms: 0,
    }
}

pub(crate) fn version_name(logic: &LogicVersion) -> VersionName {
    VersionName { version: logic.version().0, name: logic.name().to_owned() }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Refusal {
        let printed = printed_lines(error.printed().unwrap_or_default());
        let refusal = match &error {
            LoadError::Probe { fault, .. } => rehearsal::refusal(fault),
            _ => None,
        };
        let refusal = refusal.unwrap_or_else(|| Refusal::new(kind_of(&error), error.code(), error.to_string()));
        refusal.with_details(printed)
    }
}

fn kind_of(error: &LoadError) -> Kind {
    match error.class() {
        Class::BadName => Kind::BadRequest,
        Class::NotFound => Kind::NotFound,
        Class::Conflict => Kind::Conflict,
        Class::Unloadable => Kind::Unprocessable,
        Class::Unavailable => Kind::Unavailable,
    }
}
