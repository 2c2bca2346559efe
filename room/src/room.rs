//! A room: a world, the logic that runs it, and the way back when that fails.

use crate::input::{Input, LogicFault, Reply, Seq, Stamp, StepError, TrialId};
use crate::limits::{OUTPUT_BYTES_MAX, PLAYERS_MAX, REPLAY_INPUTS_MAX};
use crate::outbox::Outbox;
use crate::plan::{Leftover, Plan, Rewrite, RewriteError};
use crate::raw::{Arguments, Callback, Frame, LOAD, MIGRATE, Pool};
use crate::snapshot::{Image, Parts, SnapshotError};
use crate::trial::{Trial, Watch};
use crate::world::World;
use crate::{LogicVersion, Request, Response, VersionMark};
use logic_api::abi::status;
use logic_api::{PlayerId, Tick, Version};
use std::io;
use std::sync::Arc;

/// How often a room makes the fork that a fault goes back to.
///
/// Between two forks a fault costs the replay of what came since; each fork costs the copy of every page written after it.
pub const FORK_TICKS: u64 = 20;

/// A world, the logic that runs it, and the way back when that fails.
///
/// Contract: one thread at a time; `step` and `query` in any order. What fails leaves the world as if it had not been tried.
#[derive(Debug)]
pub struct Room {
    pub(crate) name: Arc<str>,
    pub(crate) logic: Arc<LogicVersion>,
    world: World,
    pub(crate) tick: Tick,
    seq: Seq,
    /// The time of the last input that was applied.
    now_us: u64,
    pub(crate) frozen: Option<LogicFault>,
    pub(crate) back: Back,
    /// The last swap, until it is confirmed or rewound.
    pub(crate) trial: Option<Trial>,
    pub(crate) spent: Spent,
    /// What has been done for the next swap, or for the one under way.
    prepared: Option<Rewrite>,
    forks: u64,
}

/// A fork to go back to, and what came since.
#[derive(Debug)]
pub(crate) struct Back {
    world: World,
    logic: Arc<LogicVersion>,
    tick: Tick,
    pub(crate) inputs: Vec<(Stamp, Input)>,
}

/// Worlds and inputs that nobody goes back to any more. Dropping them takes time, and the room stands still during a swap: who
/// runs the room takes them away by [`Room::take_spent`].
#[derive(Debug, Default)]
pub struct Spent {
    pub(crate) backs: Vec<Back>,
    /// Pages that were rewritten.
    leftovers: Vec<Leftover>,
}

impl Room {
    /// A new room, in which `create` has run.
    ///
    /// # Errors
    /// `create` failed.
    pub fn create(
        name: &str,
        logic: Arc<LogicVersion>,
        pool: &Pool,
        stamp: Stamp,
        config: &[u8],
        outbox: &mut Outbox,
    ) -> Result<Self, StepError> {
        let mut world = World::new(logic.schema().clone(), pool, stamp.seed);
        let back = Back { world: world.fork(), logic: logic.clone(), tick: Tick(0), inputs: Vec::new() };
        let mut room = Self {
            name: name.into(),
            logic,
            world,
            tick: Tick(0),
            seq: Seq(0),
            now_us: 0,
            frozen: None,
            back,
            trial: None,
            spent: Spent::default(),
            prepared: None,
            forks: 1,
        };
        room.step(stamp, Input::Create { config: config.into() }, outbox)?;
        Ok(room)
    }

    /// The name that it was created with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version that runs it.
    #[inline]
    pub fn logic(&self) -> &Arc<LogicVersion> {
        &self.logic
    }

    /// Its world, to look at.
    pub fn world(&self) -> &World {
        &self.world
    }

    pub(crate) fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// A hash of all state; see [`World::state_hash`].
    pub fn state_hash(&mut self) -> u64 {
        self.world.state_hash()
    }

    /// A fork of the world as it is, for whoever wants to read it elsewhere.
    pub fn fork_world(&mut self) -> World {
        self.forks += 1;
        self.world.fork()
    }

    /// A room of its own that goes on from here: the same world, logic and tick. What is tried on it does not happen to this one.
    pub fn twin(&mut self) -> Self {
        Self::of_parts(Parts {
            name: self.name.clone(),
            logic: self.logic.clone(),
            world: self.fork_world(),
            tick: self.tick,
            seq: self.seq,
            now_us: self.now_us,
            frozen: self.frozen.clone(),
        })
    }

    /// The room as it is, for a snapshot; none while a swap may still be taken back, for that needs what came before it.
    pub fn image(&mut self) -> Option<Image> {
        if self.trial.is_some() {
            return None;
        }
        // The fork to go back to is made anew, so that the pages written from here on are copied for both at once.
        let spent = Spent { backs: vec![self.fork()], ..Spent::default() };
        Some(Image {
            name: self.name.clone(),
            logic: self.logic.clone(),
            world: self.back.world.fork(),
            tick: self.tick,
            seq: self.seq,
            now_us: self.now_us,
            frozen: self.frozen.clone(),
            _spent: spent,
        })
    }

    /// The room that [`Image::write`] wrote. `find` gives the version that ran it, or says why not: without its code the room
    /// stands still, as after a fault, until it is swapped to a version that takes its tables over.
    ///
    /// # Errors
    /// [`SnapshotError`]: what was read is damaged, or `find` gave a version with other tables.
    pub fn from_snapshot(
        from: &mut impl io::Read,
        pool: &Pool,
        find: impl FnOnce(&VersionMark) -> Result<Arc<LogicVersion>, String>,
    ) -> Result<Self, SnapshotError> {
        Ok(Self::of_parts(Parts::read(from, pool, find)?))
    }

    pub(crate) fn of_parts(parts: Parts) -> Self {
        let Parts { name, logic, mut world, tick, seq, now_us, frozen } = parts;
        let gone = |reason: &str| LogicFault {
            version: logic.version(),
            callback: LOAD,
            message: reason.into(),
            location: String::new(),
            tick,
        };
        let frozen = frozen.or_else(|| logic.gone_because().map(gone));
        let back = Back { world: world.fork(), logic: logic.clone(), tick, inputs: Vec::new() };
        let spent = Spent::default();
        Self { name, logic, world, tick, seq, now_us, frozen, back, trial: None, spent, prepared: None, forks: 1 }
    }

    /// How often the room has forked its world.
    pub fn forks(&self) -> u64 {
        self.forks
    }

    /// Ticks since the room was created.
    #[inline]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// The last input that was applied.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The time of the last input that was applied, in microseconds since the Unix epoch.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// The version that a rewind would go back to; `None` while no version is on trial.
    pub fn logic_before_trial(&self) -> Option<&Arc<LogicVersion>> {
        let before = self.trial.as_ref()?.before().unwrap_or(&self.back);
        Some(&before.logic)
    }

    /// The trial that the room is in: the last swap may still be taken back.
    pub fn trial(&self) -> Option<TrialId> {
        self.trial.as_ref().map(Trial::id)
    }

    /// Freezes the room, as a fault in a tick would have.
    pub fn freeze(&mut self, fault: LogicFault) {
        self.frozen.get_or_insert(fault);
    }

    /// The fault that froze the room, if one did.
    #[inline]
    pub fn frozen(&self) -> Option<&LogicFault> {
        self.frozen.as_ref()
    }

    /// Applies an input. Its outputs are in `outbox`, which is empty after an error.
    ///
    /// # Errors
    /// The input was not applied, and the world is as if it had never come. A fault in a tick freezes the room: nothing but
    /// `Input::Swap`, `Confirm` and `Rewind` is applied until a version comes that works.
    pub fn step(&mut self, stamp: Stamp, input: Input, outbox: &mut Outbox) -> Result<Reply, StepError> {
        self.step_watched(stamp, input, outbox, &mut ())
    }

    /// As [`Room::step`]; `watch` is told of each input that a rewind applies once more.
    ///
    /// # Errors
    /// As for [`Room::step`].
    pub fn step_watched(
        &mut self,
        stamp: Stamp,
        input: Input,
        outbox: &mut Outbox,
        watch: &mut dyn Watch,
    ) -> Result<Reply, StepError> {
        let result = match (&self.frozen, input) {
            (_, Input::Swap { to, drops, trial }) => self.swap(stamp, (to, drops, trial), outbox).map(|()| Reply::Done),
            (_, Input::Confirm) => self.confirm().map(|()| Reply::Done),
            (_, Input::Rewind { without }) => self.rewind(&without, outbox, watch).map(Reply::Rewound),
            (Some(fault), input) if !matches!(input, Input::Dispose) => Err(StepError::Frozen(fault.clone())),
            (_, input) => self.check_trial().and_then(|()| {
                self.fork_if_due(&input);
                self.attempt(stamp, input, outbox)
            }),
        };
        match &result {
            Ok(_) => {
                self.seq.0 += 1;
                self.now_us = stamp.now_us;
            }
            Err(_) => outbox.clear(),
        }
        result
    }

    /// Applies an input, or goes back to before it.
    pub(crate) fn attempt(&mut self, stamp: Stamp, input: Input, outbox: &mut Outbox) -> Result<Reply, StepError> {
        let result = self.apply(stamp, &input, outbox);
        match &result {
            Ok(_) => self.back.inputs.push((stamp, input)),
            Err(StepError::Fault(fault)) => {
                tracing::debug!(room = %self.name, inputs = self.back.inputs.len(), "going back after a fault: {fault}");
                self.replay();
                if matches!(input, Input::Tick) {
                    self.frozen.get_or_insert_with(|| fault.clone());
                }
            }
            // Refused before anything was done.
            Err(_) => {}
        }
        result
    }

    /// Asks the logic's `query`, which cannot change the world; `None` if it leaves the request to `Input::Request`.
    ///
    /// # Errors
    /// It panicked.
    pub fn query(&mut self, request: &Request) -> Result<Option<Response>, LogicFault> {
        let arguments = Arguments { request: Some(request), tick: self.tick.0, ..Arguments::default() };
        let mut outbox = Outbox::new();
        let called = self.call(Callback::Query, &arguments, &mut outbox)?;
        Ok(called.response.filter(|_| called.status == status::DONE))
    }

    /// Whether the logic has its own `query`, and is worth asking.
    pub fn has_query(&self) -> bool {
        self.logic.defines("query")
    }

    /// Exchanges the logic. The new version is on trial until [`Input::Confirm`] or [`Input::Rewind`].
    fn swap(
        &mut self,
        stamp: Stamp,
        (to, drops, trial): (Arc<LogicVersion>, Arc<[String]>, TrialId),
        outbox: &mut Outbox,
    ) -> Result<(), StepError> {
        if self.trial.is_some() {
            return Err(StepError::OnTrial(self.logic.version()));
        }
        self.prepared = self.rewrite_for(&to, &drops, stamp.seed)?;
        let changes_tables = self.prepared.is_some();
        let before = self.fork();
        let input = Input::Swap { to, drops, trial };
        if let Err(error) = self.apply(stamp, &input, outbox) {
            self.restore();
            // It has what came before the swap, for the next fault.
            self.back = before;
            return Err(error);
        }
        self.spent.backs.push(before);
        self.back.inputs.push((stamp, input));
        let mut trial = Trial::new(trial, self.frozen.take());
        if changes_tables {
            // A fault must not have every row rewritten again.
            trial.keep(self.fork());
        }
        self.trial = Some(trial);
        Ok(())
    }

    /// What a swap to this version would do to the tables.
    pub fn plan_swap(&self, to: &LogicVersion, drops: &[String]) -> Plan {
        Plan::between(&self.logic, to, drops)
    }

    /// Hands over what has been done for the next swap already, in the background. It is used if it is for just that swap, and saves
    /// time then; what comes out is the same.
    pub fn prepare_swap(&mut self, rewrite: Rewrite) {
        self.prepared = Some(rewrite);
    }

    /// The rewrite that a swap needs; none where the tables stay as they are.
    fn rewrite_for(
        &mut self,
        to: &Arc<LogicVersion>,
        drops: &Arc<[String]>,
        seed: u64,
    ) -> Result<Option<Rewrite>, StepError> {
        let prepared = self.prepared.take();
        if **self.world.schema() == **to.schema() {
            return Ok(None);
        }
        if let Some(prepared) = prepared.filter(|prepared| prepared.is_for(&self.world, to, drops)) {
            return Ok(Some(prepared));
        }
        let plan = self.plan_swap(to, drops);
        if !plan.refusals().is_empty() {
            return Err(StepError::SchemaDiffers(plan.refusals().to_vec()));
        }
        // Whether there is memory was asked before the swap; a replay has no say in it.
        Ok(Some(Rewrite::new(Arc::new(plan), to.clone(), drops.clone(), seed, usize::MAX)))
    }

    /// Makes the tables those of the next version.
    fn rewrite(&mut self, to: &Arc<LogicVersion>, drops: &Arc<[String]>, seed: u64) -> Result<(), StepError> {
        let Some(rewrite) = self.rewrite_for(to, drops, seed)? else { return Ok(()) };
        let leftover = rewrite.finish(&mut self.world).map_err(|error| match error {
            RewriteError::Fault { path, row, message, location } => StepError::Fault(LogicFault {
                version: to.version(),
                callback: MIGRATE,
                message: format!("{path} at row {row}: {message}"),
                location,
                tick: self.tick,
            }),
            RewriteError::Memory { .. }
            | RewriteError::Table { .. }
            | RewriteError::Texts { .. }
            | RewriteError::TextPages { .. } => StepError::TooLarge(error),
            RewriteError::Unfit(_) | RewriteError::Cancelled => StepError::Unfit(error.to_string()),
        })?;
        self.spent.leftovers.push(leftover);
        Ok(())
    }

    /// What swaps, confirms and rewinds have left over, to drop where that may take its time.
    pub fn take_spent(&mut self) -> Spent {
        std::mem::take(&mut self.spent)
    }

    /// Makes a new fork to go back to, if it is time.
    pub(crate) fn fork_if_due(&mut self, input: &Input) {
        let ticks = self.tick.0 - self.back.tick.0;
        let is_full = self.back.inputs.len() >= REPLAY_INPUTS_MAX;
        let is_due = matches!(input, Input::Tick) && ticks >= FORK_TICKS;
        if is_full || is_due {
            let before = self.fork();
            match &mut self.trial {
                Some(trial) => trial.keep(before),
                None => drop(before),
            }
        }
    }

    /// Makes the fork to go back to, and returns what there was before.
    fn fork(&mut self) -> Back {
        let world = self.fork_world();
        let back = Back { world, logic: self.logic.clone(), tick: self.tick, inputs: Vec::new() };
        std::mem::replace(&mut self.back, back)
    }

    pub(crate) fn restore(&mut self) {
        self.world = self.back.world.fork();
        self.logic = self.back.logic.clone();
        self.tick = self.back.tick;
    }

    /// Back to the last fork, and the inputs since once more. Their outputs have left already.
    fn replay(&mut self) {
        let mut inputs = std::mem::take(&mut self.back.inputs);
        while let Err((number, error)) = self.replay_all(&inputs) {
            // The same inputs gave no error before: the logic is not deterministic. The room stands still before the one that
            // failed, which may have left the world half changed, rather than going on without its players' inputs.
            let message = format!("a replay of its own inputs failed: {error}; the logic is not deterministic");
            let (version, location) = (self.logic.version(), String::new());
            self.frozen = Some(LogicFault { version, callback: "replay", message, location, tick: self.tick });
            inputs.truncate(number);
        }
        self.back.inputs = inputs;
    }

    /// As `replay`, up to the first input that fails: its number, and why.
    fn replay_all(&mut self, inputs: &[(Stamp, Input)]) -> Result<(), (usize, StepError)> {
        self.restore();
        let mut unheard = Outbox::new();
        let _silence = silence();
        for (number, (stamp, input)) in inputs.iter().enumerate() {
            self.apply(*stamp, input, &mut unheard).map_err(|error| (number, error))?;
            unheard.clear();
        }
        Ok(())
    }

    /// Runs the callbacks of an input on the world. After an error the world may be half changed: the caller goes back.
    fn apply(&mut self, stamp: Stamp, input: &Input, outbox: &mut Outbox) -> Result<Reply, StepError> {
        let base = Arguments { tick: self.tick.0, now_us: stamp.now_us, seed: stamp.seed, ..Arguments::default() };
        match input {
            Input::Create { config } => {
                self.call(Callback::Init, &base, outbox)?;
                self.call(Callback::Create, &Arguments { bytes: config, ..base }, outbox)?;
            }
            Input::Join { player, hello, claims } => {
                return self.join(*player, &Arguments { bytes: hello, text: claims, ..base }, outbox);
            }
            Input::Drop { player } => {
                self.world.set_connected(*player, false)?;
                self.call(Callback::Drop, &Arguments { player: player.0, ..base }, outbox)?;
            }
            Input::Reconnect { player } => {
                self.world.set_connected(*player, true)?;
                self.call(Callback::Reconnect, &Arguments { player: player.0, ..base }, outbox)?;
            }
            Input::Message { player, number, bytes } => {
                self.world.consume(*player, *number)?;
                self.call(Callback::Message, &Arguments { player: player.0, bytes, ..base }, outbox)?;
            }
            Input::Skip { player, number } => self.world.consume(*player, *number)?,
            Input::Presence { player, is_connected } => self.world.set_connected(*player, *is_connected)?,
            Input::Leave { player, reason } => {
                if !self.world.remove_player(*player) {
                    return Err(StepError::NotIn(*player));
                }
                self.call(Callback::Leave, &Arguments { player: player.0, text: reason, ..base }, outbox)?;
            }
            Input::Tick => self.tick_once(base, outbox)?,
            Input::Request(request) => {
                let arguments = Arguments { request: Some(request), ..base };
                let called = self.call(Callback::Request, &arguments, outbox)?;
                let response = called.response.ok_or_else(|| self.fault(Callback::Request, "gave no response"))?;
                return Ok(Reply::Response(response));
            }
            Input::Signal { name, bytes } => {
                self.call(Callback::Signal, &Arguments { text: name, bytes, ..base }, outbox)?;
            }
            Input::Swap { to, drops, .. } => {
                self.rewrite(to, drops, stamp.seed)?;
                let from = std::mem::replace(&mut self.logic, to.clone()).version();
                self.upgrade(from, stamp, outbox)?;
            }
            // Not applied to a world, but to a room: `step` does, and they are never among the inputs of a replay.
            Input::Confirm | Input::Rewind { .. } => return Err(StepError::NoTrial),
            Input::Terminate { grace } => {
                let number = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                self.call(Callback::Terminate, &Arguments { number, ..base }, outbox)?;
            }
            Input::Dispose => {
                self.call(Callback::Dispose, &base, outbox)?;
            }
        }
        Ok(Reply::Done)
    }

    /// Has the version that runs the room take it over.
    pub(crate) fn upgrade(&mut self, from: Version, stamp: Stamp, outbox: &mut Outbox) -> Result<(), LogicFault> {
        let base = Arguments { tick: self.tick.0, now_us: stamp.now_us, seed: stamp.seed, ..Arguments::default() };
        self.call(Callback::Init, &base, outbox)?;
        self.call(Callback::Upgraded, &Arguments { number: from.0.into(), ..base }, outbox)?;
        Ok(())
    }

    fn join(&mut self, player: PlayerId, base: &Arguments<'_>, outbox: &mut Outbox) -> Result<Reply, StepError> {
        if player == PlayerId(0) {
            return Err(StepError::Nobody);
        }
        if self.world.players().binary_search(&player).is_ok() {
            return Err(StepError::AlreadyIn(player));
        }
        if self.world.players().len() == PLAYERS_MAX {
            return Err(StepError::RoomFull);
        }
        let arguments = Arguments { player: player.0, ..*base };
        let called = self.call(Callback::JoinAttempt, &arguments, outbox)?;
        if called.status == status::DECLINED {
            return Err(StepError::Refused(called.refusal.unwrap_or_default()));
        }
        self.world.add_player(player);
        self.call(Callback::Join, &arguments, outbox)?;
        Ok(Reply::Done)
    }

    fn tick_once(&mut self, base: Arguments<'_>, outbox: &mut Outbox) -> Result<(), StepError> {
        self.tick.0 += 1;
        let base = Arguments { tick: self.tick.0, ..base };
        // A timer that sets one for now would go on for ever: what is set from here on waits for the next tick.
        let last = self.world.timers().last();
        while let Some(due) = self.world.timers_mut().take_due(base.now_us, last) {
            // Each timer has random numbers of its own.
            let seed = base.seed ^ due.timer.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let arguments = Arguments { timer: due.timer, number: due.tag, seed, ..base };
            self.call(Callback::Timer, &arguments, outbox)?;
        }
        if self.logic.defines("tick") {
            self.call(Callback::Tick, &base, outbox)?;
        }
        Ok(())
    }

    fn call(
        &mut self,
        callback: Callback,
        arguments: &Arguments<'_>,
        outbox: &mut Outbox,
    ) -> Result<Called, LogicFault> {
        let arguments = Arguments { room: &self.name, ..*arguments };
        let mut frame = Frame::new(&mut self.world, outbox, &arguments, callback.is_read_only());
        let status = self.logic.call(callback, &mut frame, &arguments);
        let Frame { response, refusal, panic, .. } = frame;
        if status == status::FAULT {
            let (message, location) = panic.unwrap_or_default();
            let (version, tick) = (self.logic.version(), self.tick);
            return Err(LogicFault { version, callback: callback.name(), message, location, tick });
        }
        if outbox.is_over_limit() || response.as_ref().is_some_and(|response| response.body.len() > OUTPUT_BYTES_MAX) {
            return Err(self.fault(callback, "made more output than an input may"));
        }
        Ok(Called { status, response, refusal })
    }

    fn fault(&self, callback: Callback, message: &str) -> LogicFault {
        LogicFault {
            version: self.logic.version(),
            callback: callback.name(),
            message: message.into(),
            location: String::new(),
            tick: self.tick,
        }
    }
}

/// Keeps this thread's logs quiet while inputs are applied that have been logged before.
pub(crate) fn silence() -> tracing::subscriber::DefaultGuard {
    tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default())
}

/// What a callback left.
struct Called {
    status: u32,
    response: Option<Response>,
    refusal: Option<String>,
}
