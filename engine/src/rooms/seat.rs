//! A room on its thread: what is done with it, and how that is measured and told.

mod swapping;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use logic_api::PlayerId;
use room::{Input, LogicFault, Outbox, Pool, Reply, Request, Room, StepError, encode_input};
use tokio::sync::oneshot;
use wire::CloseCode;

use crate::beat::Beat;
use crate::journal::black_box::Occasion;
use crate::journal::recorder::Recorder;
use crate::points::{self, Point};
use crate::rooms::board::Board;
use crate::rooms::clock::Clock;
use crate::rooms::command::{Answer, Ask, NewSeat};
use crate::rooms::error::RoomError;
use crate::rooms::name::RoomId;
use crate::rooms::outlet::{Batch, Outlet};
use crate::rooms::pace::Pace;
use crate::rooms::players::Players;
use crate::rooms::seat::swapping::SeatTrial;
use crate::rooms::trial::{FailureKind, Overruns};
use crate::sessions::Bad;

/// How often sizes are counted, at most.
const SHOW_PERIOD: Duration = Duration::from_secs(1);
/// The same fault again is logged after this time, at the earliest: a route that panics must not fill the disk.
const SAME_FAULT_PERIOD: Duration = Duration::from_secs(10);

/// How often an empty room looks again for whoever is on the way in, when its time has come.
const ON_THE_WAY_PERIOD: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) room: Room,
    pub(super) board: Arc<Board>,
    /// Of its thread.
    pub(super) beat: Arc<Beat>,
    pub(super) clock: Clock,
    /// `None` for a room that does not tick.
    pace: Option<Pace>,
    /// Of the running version, for it is asked with every request.
    has_query: bool,
    /// Kept for its memory; empty between two inputs.
    pub(super) outbox: Outbox,
    /// `None` where nothing is kept.
    pub(super) recorder: Option<Recorder>,
    /// The engine ends, and this room does not: it is there again when the engine is.
    goes_on: bool,
    pub(super) players: Players,
    pub(super) outlet: Outlet,
    /// Whom the logic has kicked, until they are put out.
    pub(super) kicked: VecDeque<(PlayerId, String)>,
    /// The swap found the room frozen, and it is not known as yet whether every room takes the version: taken back, the
    /// room would be frozen again, and take none of the inputs since.
    pub(super) thaws_when_all_swapped: bool,
    /// When the board is to be brought up to date; `None` while it is.
    show_at: Option<Instant>,
    shown_at: Instant,
    logged: Option<(LogicFault, Instant)>,
    /// How long it stays when nobody is in it; `None` for ever.
    linger: Option<Duration>,
    end: End,
    /// Of the version that runs it.
    overruns: Overruns,
    /// The swap that may still be taken back.
    trial: Option<SeatTrial>,
    /// What the thread knows of [`Seat::due`].
    scheduled: Option<Instant>,
    /// What those are told who are in the room at its end.
    farewell: Bad,
}

/// Those who wait until the room is gone. They are told by the drop of these, which must therefore come after that of
/// the room from the registry: when its thread lets go of the seat.
type Gone = Vec<oneshot::Sender<()>>;

/// How near a room is to its end.
#[derive(Debug)]
enum End {
    /// Nobody thinks of it: there are players, or it stays without.
    Far,
    /// Nobody is in the room; at this time it goes.
    Empty {
        until: Instant,
    },
    /// Terminated; it is disposed of at this time.
    Terminated {
        until: Instant,
        gone: Gone,
    },
    Disposed {
        _gone: Gone,
    },
}

impl Seat {
    /// A new room, in which `create` has run; or one that is brought back.
    pub(super) fn create(mut new: NewSeat, pool: &Pool, beat: &Arc<Beat>) -> Result<Self, StepError> {
        let is_confirmed = new.recovered.as_ref().is_some_and(|recovered| recovered.is_confirmed);
        let is_back = new.recovered.is_some();
        let mut leaving = BTreeMap::new();
        let (room, recorder, clock) = match new.recovered.take() {
            Some(recovered) => {
                leaving.clone_from(&recovered.leaving);
                let keeper = new.house.keeper.as_ref().expect("what is brought back was kept");
                let (room, recorder) = keeper.record_on(*recovered, pool);
                let clock = Clock::after(room.now_us());
                (room, Some(recorder), clock)
            }
            None => Self::create_room(&new, pool, beat)?,
        };
        let NewSeat { place, linger, house, .. } = new;
        let (board, outbox, now) = (Arc::clone(&place.board), Outbox::new(), Instant::now());
        let mut seat = Self {
            pace: Pace::new(board.tick_hz, now),
            has_query: room.has_query(),
            room,
            board,
            beat: Arc::clone(beat),
            clock,
            outbox,
            recorder,
            goes_on: false,
            players: Players::new(house),
            outlet: Outlet::default(),
            kicked: VecDeque::new(),
            thaws_when_all_swapped: false,
            show_at: None,
            shown_at: now,
            logged: None,
            linger,
            end: End::Far,
            overruns: Overruns::default(),
            trial: None,
            scheduled: None,
            farewell: Bad::new(CloseCode::NoSuchRoom, "room-closed", "the room is closed"),
        };
        seat.show();
        seat.end_lost_trial(is_confirmed);
        if let (true, Some(fault), None) = (is_back, seat.room.frozen(), seat.room.logic().gone_because()) {
            tracing::error!(room = %seat.board.name, "the room is frozen: {fault}; load a fix");
        }
        seat.go_on_leaving(leaving);
        seat.match_world();
        seat.release();
        Ok(seat)
    }

    fn create_room(new: &NewSeat, pool: &Pool, beat: &Beat) -> Result<(Room, Option<Recorder>, Clock), StepError> {
        let (name, logic) = (new.place.board.name.as_str(), Arc::clone(&new.logic));
        let (mut clock, mut outbox) = (Clock::new(), Outbox::new());
        let stamp = clock.stamp();
        let input = Input::Create { config: Arc::clone(&new.config) };
        let keeper = new.house.keeper.as_ref();
        let unborn = keeper.and_then(|keeper| keeper.unborn(new.place.thread));
        if let Some(unborn) = &unborn {
            let mut payload = Vec::new();
            let kind = encode_input(stamp, &input, &logic, &mut payload);
            let begun = unborn.lock().begin(Occasion::New, kind, 0, &payload, &logic);
            begun.map_err(|fault| StepError::Fault(*fault))?;
        }
        let busy = beat.step(new.place.id().0, &input);
        let created = Room::create(name, logic, pool, stamp, &new.config, &mut outbox);
        drop(busy);
        unborn.iter().for_each(|unborn| unborn.lock().end());
        let room = created?;
        // What it said is for nobody: no player is there.
        let recorder = keeper.map(|keeper| {
            let mut recorder = keeper.record_new(name, pool, new.settings.encode(), unborn);
            recorder.created(&room, stamp, &input);
            recorder
        });
        Ok((room, recorder, clock))
    }

    /// Lets out what may leave, once all that caused it is kept.
    pub(super) fn release(&mut self) {
        let batch = self.outlet.take_batch();
        let Some(recorder) = &mut self.recorder else {
            batch.into_iter().for_each(Batch::release);
            return;
        };
        if batch.is_some() || recorder.has_records() {
            recorder.release(move || batch.into_iter().for_each(Batch::release));
        }
        recorder.snapshot_if_due(&mut self.room, Instant::now());
    }

    /// As [`Seat::release`], with what is a step of something that all rooms do.
    fn release_at(&mut self, [applied, recorded]: [Point; 2]) {
        points::reached(applied);
        self.release();
        points::reached_after(recorded, || {
            if let Some(keeper) = &self.players.house.keeper {
                keeper.journal().written();
            }
        });
    }

    /// The thread lets go of the room: what is kept of it goes, unless it goes on when the engine starts again.
    pub(super) fn finish(&mut self) {
        self.release();
        match (self.recorder.take(), self.goes_on) {
            (Some(mut recorder), true) => recorder.end(&mut self.room),
            (Some(recorder), false) => recorder.remove(),
            (None, _) => {}
        }
    }

    /// The whole engine ends, and the room with it.
    pub(super) fn end_with_engine(&mut self, grace: Duration) {
        self.farewell = Bad::new(CloseCode::EngineEnds, "engine-ends", "the engine ends");
        self.goes_on = self.recorder.is_some() && !self.is_terminated();
        self.terminate(grace, None);
    }

    /// Whether the room has been disposed of, and is to be let go.
    pub(super) fn is_disposed(&self) -> bool {
        matches!(self.end, End::Disposed { .. })
    }

    /// Does what is asked. The time is that when it was done.
    pub(super) fn carry_out(&mut self, ask: Ask) -> Instant {
        match ask {
            Ask::Request { reply, .. } if reply.is_closed() => {}
            Ask::Request { request, reply } => {
                let (answer, now) = self.request(request);
                self.outlet.answer(reply, answer);
                self.settle();
                return now;
            }
            Ask::FromPlayer { player, link, what } => self.hear(player, link, what),
            Ask::Join { reply, .. } if reply.is_closed() => {}
            Ask::Join { newcomer, reply } => self.join(*newcomer, reply),
            Ask::Resume { reply, .. } if reply.is_closed() => {}
            Ask::Resume { player, entry, reply } => self.resume(player, &entry, reply),
            Ask::Leave { player, reason, reply } => {
                let left = match self.room.world().player(player) {
                    None => Err(RoomError::Step(StepError::NotIn(player))),
                    Some(_) => {
                        let bad = Bad::new(CloseCode::Kicked, "taken-out", reason.to_string());
                        self.take_leave(player, reason, bad).map_err(|error| {
                            let (house, player) = (&self.players.house, player.0);
                            RoomError::LeaveFailed { player, again: house.grace, error: house.told_error(&error) }
                        })
                    }
                };
                self.settle();
                self.outlet.entered(reply, left);
            }
            Ask::Players { reply } => {
                let _ = reply.send(self.player_statuses());
            }
            Ask::Notice => self.tell_notice(),
            Ask::Twin { reply } => {
                if !reply.is_closed() {
                    let _ = reply.send((self.room.twin(), self.clock.stamp()));
                }
            }
            Ask::Swap { reply, .. } if reply.is_closed() => {}
            // What is told of a swap is on its way to the disk first: whoever hears of it can wait for it to be there.
            Ask::Swap { swap, reply } => {
                let swapped = self.swap(&swap);
                self.release_at([Point::SwapApplied, Point::SwapRecorded]);
                if reply.send(swapped).is_err() {
                    self.rewind_swap();
                }
            }
            Ask::AllSwapped { reply } => {
                self.all_swapped();
                self.outlet.signal(reply);
            }
            Ask::KeepSwap { reply } => {
                let spent = self.keep_swap();
                self.release_at([Point::ConfirmApplied, Point::ConfirmRecorded]);
                let _ = reply.send(spent);
            }
            Ask::RewindSwap { reply } => {
                let rewound = self.rewind_swap();
                self.release_at([Point::RewindApplied, Point::RewindRecorded]);
                let _ = reply.send(rewound);
            }
            Ask::End { grace, gone } => self.terminate(grace, Some(gone)),
        }
        Instant::now()
    }

    /// Notes in `dues` when [`Seat::run_due`] has something to do. To be called after whatever may have changed it.
    pub(super) fn schedule(&mut self, dues: &mut BTreeSet<(Instant, RoomId)>) {
        let due = self.due();
        if due != self.scheduled {
            self.unschedule(dues);
            dues.extend(due.map(|at| (at, self.board.id)));
            self.scheduled = due;
        }
    }

    pub(super) fn unschedule(&mut self, dues: &mut BTreeSet<(Instant, RoomId)>) {
        if let Some(at) = self.scheduled.take() {
            dues.remove(&(at, self.board.id));
        }
    }

    fn due(&self) -> Option<Instant> {
        let tick = self.pace.filter(|_| self.room.frozen().is_none()).map(|pace| pace.due());
        let end = match self.end {
            End::Far | End::Disposed { .. } => None,
            End::Empty { until } | End::Terminated { until, .. } => Some(until),
        };
        [tick, self.show_at, self.players.due(), end].into_iter().flatten().min()
    }

    /// Runs the tick that is due, shows what has changed, and ends the room whose time has come.
    pub(super) fn run_due(&mut self, now: Instant) {
        if self.room.frozen().is_none() && self.pace.is_some_and(|pace| pace.due() <= now) {
            self.tick();
        }
        self.take_overdue_out(now);
        self.players.tell_untold(&mut self.outlet, self.room.tick().0, now);
        if self.show_at.is_some_and(|at| at <= now) {
            self.show();
        }
        match self.end {
            End::Empty { until } if until <= now => {
                if self.board.entrance.end_if_empty() {
                    self.terminate(Duration::ZERO, None);
                    self.dispose();
                } else {
                    self.end = End::Empty { until: now + ON_THE_WAY_PERIOD };
                }
            }
            End::Terminated { until, .. } if until <= now => self.dispose(),
            _ => {}
        }
    }

    pub(super) fn is_terminated(&self) -> bool {
        matches!(self.end, End::Terminated { .. })
    }

    /// To be called after whatever may have let a player in or out.
    pub(super) fn players_changed(&mut self) {
        let players = self.room.world().players().len();
        self.board.entrance.set_players(players);
        match &mut self.end {
            End::Far if players == 0 => {
                if let Some(linger) = self.linger {
                    self.end = End::Empty { until: Instant::now() + linger };
                }
            }
            End::Empty { .. } if players > 0 => self.end = End::Far,
            // The grace was for those who were in.
            End::Terminated { until, .. } if players == 0 => *until = Instant::now(),
            _ => {}
        }
    }

    /// Tells the logic that the room ends. There is no grace where nobody can use it: in a room that is empty or
    /// frozen.
    pub(super) fn terminate(&mut self, grace: Duration, gone: Option<oneshot::Sender<()>>) {
        self.board.entrance.end();
        let now = Instant::now();
        if let End::Terminated { until, gone: waiting } = &mut self.end {
            // No later than those who are in were told.
            *until = (*until).min(now + grace);
            waiting.extend(gone);
            return;
        }
        let nobody = self.room.world().players().is_empty() || self.room.frozen().is_some();
        let grace = if nobody { Duration::ZERO } else { grace };
        self.last_step(Input::Terminate { grace });
        self.end = End::Terminated { until: now + grace, gone: gone.into_iter().collect() };
    }

    /// The last input of the room, and the end of the connections of those who are still in it.
    pub(super) fn dispose(&mut self) {
        self.board.entrance.end();
        if !self.goes_on {
            self.last_step(Input::Dispose);
        }
        self.outlet.let_go();
        self.players.close_all(&mut self.outlet, &self.farewell);
        self.release();
        self.show();
        let _gone = match std::mem::replace(&mut self.end, End::Far) {
            End::Terminated { gone, .. } | End::Disposed { _gone: gone } => gone,
            End::Far | End::Empty { .. } => Gone::new(),
        };
        self.end = End::Disposed { _gone };
        tracing::info!(room = self.room.name(), tick = self.room.tick().0, "room closed");
    }

    fn last_step(&mut self, input: Input) {
        match self.step(input) {
            // A frozen room cannot be told that it ends; that it is frozen has been logged.
            Ok(_) | Err(StepError::Frozen(_)) => {}
            Err(error) => self.failed(&error),
        }
        self.settle();
        self.changed();
    }

    fn tick(&mut self) {
        let started = Instant::now();
        let stepped = self.step(Input::Tick);
        let ended = Instant::now();
        let metrics = self.board.metrics();
        metrics.ticks.inc();
        metrics.tick_seconds.observe((ended - started).as_secs_f64());
        if let Some(pace) = &mut self.pace {
            metrics.tick_late_seconds.observe(started.saturating_duration_since(pace.due()).as_secs_f64());
            if pace.ran(started, ended) {
                metrics.overruns.inc();
            }
            let is_overrun = pace.is_overrun(ended - started);
            self.count_overruns(is_overrun);
        }
        self.board.show_tick(&self.room);
        self.changed();
        if let Err(error) = stepped {
            self.failed(&error);
            self.tell_notice();
        }
        self.settle();
    }

    /// The answer to a request, and when it was found.
    fn request(&mut self, request: Arc<Request>) -> (Answer, Instant) {
        let started = Instant::now();
        let answer = self.answer(request);
        let ended = Instant::now();
        self.board.metrics().step_seconds.observe((ended - started).as_secs_f64());
        (answer, ended)
    }

    fn answer(&mut self, request: Arc<Request>) -> Answer {
        // Of a frozen room, too: the page of a game is to be had while players wait for the fix.
        if self.has_query {
            let busy = self.beat.query(self.board.id.0);
            let answered = match &mut self.recorder {
                None => self.room.query(&request),
                Some(recorder) => recorder.query(&mut self.room, &request),
            };
            drop(busy);
            match answered {
                Ok(Some(response)) => return Ok(response),
                Ok(None) => {}
                Err(fault) => {
                    self.note(&fault);
                    return Err(RoomError::Fault(self.players.house.told(&fault)));
                }
            }
        }
        if let Some(fault) = self.room.frozen() {
            let fault = self.players.house.told(fault);
            return Err(RoomError::Frozen { room: self.room.name().to_owned(), fault });
        }
        let stepped = self.step(Input::Request(request));
        if self.show_at.is_none() {
            self.changed();
        }
        match stepped {
            Ok(Reply::Response(response)) => Ok(response),
            Ok(other) => unreachable!("a request was answered with {other:?}"),
            Err(error) => {
                self.failed(&error);
                Err(match error {
                    StepError::Fault(fault) => RoomError::Fault(self.players.house.told(&fault)),
                    error => RoomError::Step(error),
                })
            }
        }
    }

    /// The board is to be brought up to date, though not for every input.
    pub(super) fn changed(&mut self) {
        self.show_at = Some(self.shown_at + SHOW_PERIOD);
    }

    fn show(&mut self) {
        self.tell_if_full();
        self.board.show(&self.room, self.players.connected());
        (self.show_at, self.shown_at) = (None, Instant::now());
    }

    pub(super) fn failed(&mut self, error: &StepError) {
        match error {
            StepError::Fault(fault) => self.note(fault),
            error => tracing::error!(room = self.room.name(), "an input was not applied: {error}"),
        }
        self.show();
    }

    pub(super) fn note(&mut self, fault: &LogicFault) {
        self.board.show_fault(fault);
        self.tell_failure(FailureKind::Fault(fault.clone()));
        let now = Instant::now();
        let is_same = |(logged, _): &(LogicFault, Instant)| {
            (logged.version, logged.callback, &logged.message, &logged.location)
                == (fault.version, fault.callback, &fault.message, &fault.location)
        };
        if self.logged.as_ref().is_some_and(|logged| is_same(logged) && now - logged.1 < SAME_FAULT_PERIOD) {
            return;
        }
        self.logged = Some((fault.clone(), now));
        tracing::error!(
            room = self.room.name(),
            version = fault.version.0,
            callback = fault.callback,
            location = fault.location,
            fault = fault.reference(),
            tick = fault.tick.0,
            frozen = self.room.frozen().is_some(),
            "the logic failed: {}",
            fault.message
        );
    }
}
