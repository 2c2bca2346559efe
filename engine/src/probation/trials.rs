//! The one version that may be on trial: begun by a load, ended by one verdict for all rooms.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use room::TrialId;
use tokio::sync::{MutexGuard, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::http::{Kind, Refusal};
use crate::journal::log::LogError;
use crate::loader::digest::Sha256;
use crate::loader::versions::Mapped;
use crate::metrics::Metrics;
use crate::points::{self, Point};
use crate::probation::decision::Decision;
use crate::probation::{Failed, FailedVersions, History, Tried, Verdict, Verdicts};
use crate::rooms::{NotSwapped, Rewound, Rooms, Swap, Swapped, TableRewrites, Told};
use crate::status::{Decided, Outcome, RoomRewind, TrialStatus, VerdictRecord, VersionName};
use crate::stop::Stop;

/// What a load of a version that failed on trial is refused with.
pub(crate) const FAILED_BEFORE: &str = "version-failed";

/// Begins trials and ends them.
#[derive(Debug)]
pub struct Trials {
    rooms: Rooms,
    verdicts: Verdicts,
    failed: FailedVersions,
    pub history: History,
    metrics: Arc<Metrics>,
    stop: Stop,
    probation: Duration,
    /// Fair: loads and verdicts are carried out in the order they came.
    turn: tokio::sync::Mutex<()>,
    on_trial: Mutex<Option<OnTrial>>,
}

/// Whoever has it is the only one who swaps rooms.
#[derive(Debug)]
pub struct Turn<'a> {
    _guard: MutexGuard<'a, ()>,
}

#[derive(Debug)]
struct OnTrial {
    swap: Arc<Swap>,
    from: Vec<VersionName>,
    who: String,
    since: Timestamp,
    until: Timestamp,
    ends_at: Instant,
    /// Dropped with the trial, for the task that watches it.
    _over: oneshot::Sender<()>,
}

/// What is kept on disk of trials.
#[derive(Debug)]
pub struct Kept {
    pub verdicts: Verdicts,
    pub failed: FailedVersions,
}

/// Why no room was swapped.
#[derive(Debug, thiserror::Error)]
pub enum NotOnTrial {
    #[error(transparent)]
    NotSwapped(#[from] NotSwapped),
    #[error("the trial cannot be kept on disk, and without that it would not survive a crash: {0}")]
    NotWritten(#[from] LogError),
}

impl Trials {
    /// `probation` zero: versions are confirmed at once.
    #[must_use]
    pub fn new(rooms: Rooms, kept: Kept, metrics: Arc<Metrics>, stop: Stop, probation: Duration) -> Arc<Trials> {
        let Kept { verdicts, failed } = kept;
        let (history, turn, on_trial) = Default::default();
        Arc::new(Trials { rooms, verdicts, failed, history, metrics, stop, probation, turn, on_trial })
    }

    /// Waits until no load and no verdict is under way.
    pub async fn turn(&self) -> Turn<'_> {
        Turn { _guard: self.turn.lock().await }
    }

    /// Refuses a load while a version is on trial, unless it says that this one is to be confirmed.
    ///
    /// # Errors
    /// The [`Refusal`] of the load.
    pub fn check_way(&self, confirms: bool) -> Result<(), Refusal> {
        let Some(TrialStatus { version, name, seconds_left, .. }) = self.status().filter(|_| !confirms) else {
            return Ok(());
        };
        let reason = format!(
            "{name} {version} is on trial for {seconds_left} s more; wait, or end it by /api/v1/confirm or \
             /api/v1/rollback, or say &confirm=1 to confirm it and load the next"
        );
        Err(Refusal::new(Kind::Conflict, "on-trial", reason))
    }

    /// Confirms the version on trial, if one is, for the next load.
    ///
    /// # Errors
    /// The [`Refusal`] of the load: it has failed just now.
    pub async fn make_way(&self, turn: &Turn<'_>, who: &str) -> Result<Option<Decided>, Refusal> {
        if self.on_trial.lock().is_none() {
            return Ok(None);
        }
        self.confirm_in_turn(turn, Decision::next_load(who)).await.map(Some)
    }

    /// Refuses a version that has failed before.
    ///
    /// # Errors
    /// The [`Refusal`] of the load.
    pub fn check_failed(&self, sha256: &Sha256) -> Result<(), Refusal> {
        let Some(Failed { version, name, reason, who, at, .. }) = self.failed.find(sha256) else { return Ok(()) };
        let reason = format!(
            "{name} {version} was on trial and failed at {at:.0}, rolled back by {who}: {reason}; mend it and build it again, \
             or say &force=1 to try it once more"
        );
        Err(Refusal::new(Kind::Conflict, FAILED_BEFORE, reason))
    }

    /// Notes that a version is about to run, before it does: should the engine end by it, the next one knows.
    ///
    /// # Errors
    /// [`LogError`]: it must not run.
    pub fn begin(&self, _turn: &Turn<'_>, to: &Mapped) -> Result<TrialId, LogError> {
        let trial = self.verdicts.next_trial(self.failed.last_trial());
        self.on_disk(|trials| trials.verdicts.begin(tried(to, trial)))?;
        Ok(trial)
    }

    /// The version did not come as far as the rooms, and the engine goes on.
    pub fn refused(&self, _turn: &Turn<'_>) {
        self.trial_over();
    }

    /// Swaps every room, and watches the version from there on. With no time for a trial it is confirmed before this returns.
    ///
    /// # Errors
    /// [`NotOnTrial`]: every room runs what it ran before.
    pub async fn swap(
        self: &Arc<Self>,
        _turn: &Turn<'_>,
        (to, trial): (&Arc<Mapped>, TrialId),
        tables: TableRewrites,
        who: &str,
    ) -> Result<Vec<(String, Swapped)>, NotOnTrial> {
        let from = running(&self.rooms);
        let swap = Swap::new(Arc::clone(to), trial, tables);
        let swapped = self.rooms.swap_all(&swap).await?;
        if self.probation.is_zero() {
            // A version that is confirmed is one that every room remembers.
            self.rooms.settled().await;
            if let Err(error) = self.on_disk(|trials| trials.verdicts.confirm(tried(to, trial))) {
                self.rooms.rewind_all().await;
                return Err(error.into());
            }
            self.rooms.confirm_all().await;
            self.forget_failure(&to.sha256);
        } else {
            self.watch(swap, from, who);
            // Players need not wait for that; whoever loads wants to know that it stands.
            self.rooms.settled().await;
            points::reached(Point::SwapSettled);
        }
        Ok(swapped)
    }

    /// How long a version that is swapped to now is on trial.
    #[must_use]
    pub fn probation(&self) -> Duration {
        self.probation
    }

    /// Confirms the version on trial.
    ///
    /// # Errors
    /// A [`Refusal`]: none is on trial, or it has failed just now.
    pub async fn confirm(&self, who: &str) -> Result<Decided, Refusal> {
        let turn = self.turn().await;
        self.check_on_trial()?;
        self.confirm_in_turn(&turn, Decision::confirmed_by(who)).await
    }

    /// Takes the version on trial back, in every room.
    ///
    /// # Errors
    /// A [`Refusal`]: none is on trial.
    pub async fn roll_back(&self, who: &str, reason: Option<&str>) -> Result<Decided, Refusal> {
        let turn = self.turn().await;
        self.check_on_trial()?;
        Ok(self.decide(&turn, Decision::rolled_back_by(who, reason)).await.1)
    }

    /// The version on trial, if one is.
    #[must_use]
    pub fn status(&self) -> Option<TrialStatus> {
        let on_trial = self.on_trial.lock();
        let OnTrial { swap, from, who, since, until, ends_at, .. } = on_trial.as_ref()?;
        let logic = &swap.to.logic;
        let runs_it = self.rooms.logics().into_iter().filter(|(_, running)| Arc::ptr_eq(running, logic));
        let left = ends_at.saturating_duration_since(Instant::now());
        Some(TrialStatus {
            version: logic.version().0,
            name: logic.name().to_owned(),
            sha256: swap.to.sha256.to_string(),
            from: from.clone(),
            who: who.clone(),
            since: *since,
            until: *until,
            seconds_left: u64::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u64::MAX),
            rooms: runs_it.map(|(room, _)| room.to_string()).collect(),
        })
    }

    /// Why a version failed when it was on trial, if it did.
    #[must_use]
    pub fn failure(&self, sha256: &Sha256) -> Option<String> {
        self.failed.find(sha256).map(|failed| failed.reason)
    }

    /// Leaves the version on trial as it is, for the engine ends, and not by its fault: it has not failed, and it is not confirmed.
    pub async fn leave(&self) {
        let _turn = self.turn().await;
        let Some(trial) = self.status() else { return };
        tracing::warn!(
            version = trial.version,
            logic = trial.name,
            seconds_left = trial.seconds_left,
            "the engine ends during a trial, which leaves the version unconfirmed: a start that recovers these rooms takes them \
             back to before it"
        );
        self.trial_over();
    }

    fn check_on_trial(&self) -> Result<(), Refusal> {
        if self.stop.is_begun() {
            let reason = "the engine is stopping; what is on trial stays unconfirmed";
            return Err(Refusal::new(Kind::Unavailable, "engine-stopping", reason));
        }
        if self.on_trial.lock().is_some() {
            return Ok(());
        }
        let running: Vec<_> = running(&self.rooms).iter().map(|of| format!("{} {}", of.name, of.version)).collect();
        let reason =
            format!("no version is on trial; {} is confirmed, and only another load replaces it", running.join(", "));
        Err(Refusal::new(Kind::Conflict, "not-on-trial", reason))
    }

    async fn confirm_in_turn(&self, turn: &Turn<'_>, decision: Decision) -> Result<Decided, Refusal> {
        let (decision, decided) = self.decide(turn, decision).await;
        match decision.verdict {
            Verdict::Confirm => Ok(decided),
            Verdict::Rewind => {
                let reason =
                    format!("{} {} was not confirmed but rewound: {}", decided.name, decided.version, decision.reason);
                Err(Refusal::new(Kind::Conflict, FAILED_BEFORE, reason))
            }
        }
    }

    /// From here on a task of its own decides, unless somebody does before.
    fn watch(self: &Arc<Self>, swap: Arc<Swap>, from: Vec<VersionName>, who: &str) {
        let (over, is_over) = oneshot::channel::<()>();
        let (since, ends_at) = (Timestamp::now(), Instant::now() + self.probation);
        let (until, who) = (since + self.probation, who.to_owned());
        tracing::info!(
            version = swap.to.logic.version().0,
            logic = swap.to.logic.name(),
            trial = swap.trial.0,
            seconds = self.probation.as_secs_f64(),
            "on trial"
        );
        self.metrics.on_trial.set(1);
        let on_trial = OnTrial { swap: Arc::clone(&swap), from, who, since, until, ends_at, _over: over };
        *self.on_trial.lock() = Some(on_trial);
        let trials = Arc::clone(self);
        tokio::spawn(async move {
            let decision = tokio::select! {
                biased;
                _ = is_over => return,
                () = trials.stop.begun() => return,
                told = swap.until_told() => match told {
                    Told::Failure(failure) => Decision::failed(&failure),
                    Told::Full(full) => Decision::full(&full),
                },
                () = sleep_until(ends_at) => Decision::time_is_over(trials.probation),
            };
            let turn = trials.turn().await;
            // Somebody may have decided meanwhile, and another load may be on trial.
            let is_this = trials.on_trial.lock().as_ref().is_some_and(|other| other.swap.trial == swap.trial);
            if is_this && !trials.stop.is_begun() {
                trials.decide(&turn, decision).await;
            }
        });
    }

    /// Ends the trial in every room. The decision is the one that was taken: one to confirm does not hold against a failure that
    /// was told before it, and not where it cannot be kept.
    async fn decide(&self, _turn: &Turn<'_>, decision: Decision) -> (Decision, Decided) {
        let started = Instant::now();
        let swap = self.on_trial.lock().as_ref().map(|on_trial| Arc::clone(&on_trial.swap));
        let swap = swap.expect("whoever decides has looked, and has the turn");
        if decision.verdict == Verdict::Confirm {
            self.rooms.settled().await;
        }
        let decision = match (decision.verdict, swap.told()) {
            (Verdict::Confirm, Some(Told::Failure(failure))) => Decision::failed(&failure),
            _ => decision,
        };
        points::reached(match decision.verdict {
            Verdict::Confirm => Point::ConfirmDecided,
            Verdict::Rewind => Point::RewindDecided,
        });
        let decision = match decision.verdict {
            // On disk before the first room hears of it: a crash between two rooms must not part them.
            Verdict::Confirm => match self.on_disk(|trials| trials.verdicts.confirm(tried(&swap.to, swap.trial))) {
                Ok(()) => decision,
                Err(error) => Decision::not_kept(&error),
            },
            Verdict::Rewind => decision,
        };
        let rewound = match decision.verdict {
            Verdict::Confirm => {
                self.rooms.confirm_all().await;
                points::reached(Point::ConfirmTold);
                Vec::new()
            }
            Verdict::Rewind => {
                let rewound = self.rooms.rewind_all().await;
                points::reached(Point::RewindTold);
                rewound
            }
        };
        self.rooms.settled().await;
        points::reached(match decision.verdict {
            Verdict::Confirm => Point::ConfirmSettled,
            Verdict::Rewind => Point::RewindSettled,
        });
        let decided = decided(&swap, &decision, running(&self.rooms), &rewound, started);
        self.on_trial.lock().take();
        self.metrics.on_trial.set(0);
        self.keep(&swap, &decision);
        self.tell(&swap, &decision, &decided);
        (decision, decided)
    }

    /// What the next load, and the next engine, have to know of a decision that was carried out.
    fn keep(&self, swap: &Swap, decision: &Decision) {
        match decision.verdict {
            Verdict::Confirm => self.forget_failure(&swap.to.sha256),
            Verdict::Rewind => {
                if decision.is_by_failure {
                    let failed = Failed {
                        trial: swap.trial,
                        sha256: swap.to.sha256,
                        version: swap.to.logic.version().0,
                        name: swap.to.logic.name().to_owned(),
                        reason: decision.reason.clone(),
                        who: decision.who.clone(),
                        at: Timestamp::now(),
                    };
                    if let Err(error) = self.on_disk(|trials| trials.failed.remember(failed)) {
                        tracing::error!(%error, "that the version failed will be forgotten when the engine ends");
                    }
                }
                self.trial_over();
            }
        }
    }

    fn tell(&self, swap: &Swap, decision: &Decision, decided: &Decided) {
        let Decision { verdict, why, who, reason, .. } = decision;
        let (version, logic, trial) = (decided.version, &decided.name, swap.trial.0);
        match verdict {
            Verdict::Confirm => {
                self.metrics.count_verdict("confirmed", why);
                tracing::info!(version, logic, trial, who, "confirmed: {reason}");
            }
            Verdict::Rewind => {
                self.metrics.count_verdict("rewound", why);
                let pause_us_max = decided.rooms.iter().map(|room| room.pause_us).max().unwrap_or(0);
                let lost: u64 = decided.rooms.iter().map(|room| room.lost).sum();
                tracing::error!(
                    version,
                    logic,
                    trial,
                    who,
                    pause_us_max,
                    lost,
                    "rewound, the version from before runs: {reason}"
                );
            }
        }
        let verdict = VerdictRecord { at: Timestamp::now(), who: who.clone(), reason: reason.clone() };
        self.history.settle(swap.trial, decided.outcome, verdict);
    }

    fn trial_over(&self) {
        if let Err(error) = self.on_disk(|trials| trials.verdicts.end()) {
            tracing::error!(%error, "the next start will take the version for one that ended the engine");
        }
    }

    fn forget_failure(&self, sha256: &Sha256) {
        if let Err(error) = self.on_disk(|trials| trials.failed.forget(sha256)) {
            tracing::error!(%error, "the next start will take the version for one that failed");
        }
    }

    /// Files block: the runtime is told, so that what else this thread would have done is done by others. Where rooms are kept, a
    /// call that fails ends the engine as it does in their journals: going on with one thing while the disk may say another could
    /// part them.
    fn on_disk(&self, write: impl FnOnce(&Self) -> Result<(), LogError>) -> Result<(), LogError> {
        let written = tokio::task::block_in_place(|| write(self));
        if let (Err(error), Some(keeper)) = (&written, self.rooms.keeper()) {
            keeper.fail(error);
        }
        written
    }
}

fn tried(to: &Mapped, trial: TrialId) -> Tried {
    let (version, name) = (to.logic.version().0, to.logic.name().to_owned());
    Tried { trial, sha256: to.sha256, version, name, at: Timestamp::now() }
}

/// The versions that rooms run, each once.
fn running(rooms: &Rooms) -> Vec<VersionName> {
    let mut distinct = Vec::new();
    for (_, logic) in rooms.logics() {
        let version = VersionName { version: logic.version().0, name: logic.name().to_owned() };
        if !distinct.contains(&version) {
            distinct.push(version);
        }
    }
    distinct
}

fn decided(
    swap: &Swap,
    decision: &Decision,
    running: Vec<VersionName>,
    rewound: &[(String, Rewound)],
    started: Instant,
) -> Decided {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let rewind = |(room, rewound): &(String, Rewound)| RoomRewind {
        room: room.clone(),
        pause_us: micros(rewound.pause),
        inputs: rewound.inputs as u64,
        lost: rewound.lost as u64,
    };
    Decided {
        version: swap.to.logic.version().0,
        name: swap.to.logic.name().to_owned(),
        sha256: swap.to.sha256.to_string(),
        running,
        outcome: match decision.verdict {
            Verdict::Confirm => Outcome::Confirmed,
            Verdict::Rewind => Outcome::Rewound,
        },
        rooms: rewound.iter().map(rewind).collect(),
        total_us: micros(started.elapsed()),
    }
}
