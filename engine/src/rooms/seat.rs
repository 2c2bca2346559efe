//! A room on its thread: what is done with it, and how that is measured and told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use room::{Input, LogicFault, Lost, Outbox, Pool, Reply, Request, Room, Spent, Stamp, StepError};

use crate::loader::elf::BuildId;
use crate::loader::versions::Mapped;
use crate::rooms::board::Board;
use crate::rooms::clock::Clock;
use crate::rooms::command::{Answer, Swapped};
use crate::rooms::error::RoomError;
use crate::rooms::outlet::Outlet;
use crate::rooms::pace::Pace;

/// How often sizes are counted, at most.
const SHOW_PERIOD: Duration = Duration::from_secs(1);
/// The same fault again is logged after this time, at the earliest: a route that panics must not fill the disk.
const SAME_FAULT_PERIOD: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Seat {
    room: Room,
    board: Arc<Board>,
    clock: Clock,
    /// `None` for a room that does not tick.
    pace: Option<Pace>,
    /// Of the running version, for it is asked with every request.
    has_query: bool,
    /// Kept for its memory; empty between two inputs.
    outbox: Outbox,
    /// When the board is to be brought up to date; `None` while it is.
    show_at: Option<Instant>,
    shown_at: Instant,
    logged: Option<(LogicFault, Instant)>,
}

impl Seat {
    /// A new room, in which `create` has run.
    pub(super) fn create(board: Arc<Board>, tick_hz: u32, pool: &Pool, outlet: &mut Outlet) -> Result<Self, StepError> {
        let (mut clock, mut outbox) = (Clock::new(), Outbox::new());
        let room = Room::create(&board.name, board.logic(), pool, clock.stamp(), b"", &mut outbox)?;
        outlet.outputs(&mut outbox);
        board.show(&room);
        let (has_query, now) = (room.has_query(), Instant::now());
        let pace = Pace::new(tick_hz, now);
        Ok(Self { room, board, clock, pace, has_query, outbox, show_at: None, shown_at: now, logged: None })
    }

    /// When [`Seat::run_due`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let tick = self.pace.filter(|_| self.room.frozen().is_none()).map(|pace| pace.due());
        [tick, self.show_at].into_iter().flatten().min()
    }

    /// Runs the tick that is due, and shows what has changed.
    pub(super) fn run_due(&mut self, now: Instant, outlet: &mut Outlet) {
        if self.room.frozen().is_none() && self.pace.is_some_and(|pace| pace.due() <= now) {
            self.tick(outlet);
        }
        if self.show_at.is_some_and(|at| at <= now) {
            self.show();
        }
    }

    fn tick(&mut self, outlet: &mut Outlet) {
        let started = Instant::now();
        let stepped = self.room.step(self.clock.stamp(), Input::Tick, &mut self.outbox);
        let ended = Instant::now();
        let metrics = self.board.metrics();
        metrics.ticks.inc();
        metrics.tick_seconds.observe((ended - started).as_secs_f64());
        if self.pace.as_mut().is_some_and(|pace| pace.ran(started, ended)) {
            metrics.overruns.inc();
        }
        outlet.outputs(&mut self.outbox);
        self.board.show_tick(&self.room);
        self.changed();
        if let Err(error) = stepped {
            self.failed(&error);
        }
    }

    /// The answer to a request, and when it was found.
    pub(super) fn request(&mut self, request: Arc<Request>, outlet: &mut Outlet) -> (Answer, Instant) {
        let started = Instant::now();
        let answer = self.answer(request, outlet);
        let ended = Instant::now();
        self.board.metrics().step_seconds.observe((ended - started).as_secs_f64());
        (answer, ended)
    }

    fn answer(&mut self, request: Arc<Request>, outlet: &mut Outlet) -> Answer {
        if let Some(fault) = self.room.frozen() {
            return Err(RoomError::Frozen { room: self.room.name().to_owned(), fault: fault.clone() });
        }
        if self.has_query {
            match self.room.query(&request) {
                Ok(Some(response)) => return Ok(response),
                Ok(None) => {}
                Err(fault) => {
                    self.note(&fault);
                    return Err(RoomError::Fault(fault));
                }
            }
        }
        let stepped = self.room.step(self.clock.stamp(), Input::Request(request), &mut self.outbox);
        outlet.outputs(&mut self.outbox);
        if self.show_at.is_none() {
            self.changed();
        }
        match stepped {
            Ok(Reply::Response(response)) => Ok(response),
            Ok(other) => unreachable!("a request was answered with {other:?}"),
            Err(error) => {
                self.failed(&error);
                Err(match error {
                    StepError::Fault(fault) => RoomError::Fault(fault),
                    error => RoomError::Step(error),
                })
            }
        }
    }

    pub(super) fn twin(&mut self) -> (Room, Stamp) {
        (self.room.twin(), self.clock.stamp())
    }

    /// Exchanges the logic, and has the new code say its build id from inside the room.
    pub(super) fn swap(&mut self, to: &Mapped, outlet: &mut Outlet) -> Result<Swapped, StepError> {
        let (stamp, input) = (self.clock.stamp(), Input::Swap(Arc::clone(&to.logic)));
        let started = Instant::now();
        let stepped = self.room.step(stamp, input, &mut self.outbox);
        let found = BuildId::from(self.room.logic().build_id());
        let pause = started.elapsed();
        self.board.metrics().swap_pause_seconds.observe(pause.as_secs_f64());
        outlet.outputs(&mut self.outbox);
        let swapped = stepped.and_then(|_| {
            if found == to.build_id {
                return Ok(Swapped { pause });
            }
            self.rewind_room();
            Err(StepError::WrongCode { expected: to.build_id.to_string(), found: found.to_string() })
        });
        if let Err(error) = &swapped {
            self.failed(error);
        }
        self.logic_changed();
        swapped
    }

    /// Confirms the swap on trial, if there is one.
    pub(super) fn keep_swap(&mut self) -> Spent {
        let _no_trial = self.room.step(self.clock.stamp(), Input::Confirm, &mut self.outbox);
        self.room.take_spent()
    }

    /// Rewinds the swap on trial, if there is one.
    pub(super) fn rewind_swap(&mut self) {
        self.rewind_room();
        drop(self.room.take_spent());
        self.logic_changed();
    }

    fn rewind_room(&mut self) {
        let Ok(Reply::Rewound(lost)) = self.room.step(self.clock.stamp(), Input::Rewind, &mut self.outbox) else {
            return;
        };
        for Lost { player, number, callback, error } in lost {
            tracing::warn!(
                room = self.room.name(),
                player = player.0,
                number,
                callback,
                "an input is lost, which the version from before does not take: {error}"
            );
        }
    }

    /// The last two inputs of a room.
    pub(super) fn end(&mut self, outlet: &mut Outlet) {
        for input in [Input::Terminate { grace: Duration::ZERO }, Input::Dispose] {
            match self.room.step(self.clock.stamp(), input, &mut self.outbox) {
                // A frozen room cannot be told that it ends; that it is frozen has been logged.
                Ok(_) | Err(StepError::Frozen(_)) => outlet.outputs(&mut self.outbox),
                Err(error) => self.failed(&error),
            }
        }
        self.show();
    }

    fn logic_changed(&mut self) {
        self.has_query = self.room.has_query();
        // A room that was frozen has missed ticks.
        if let Some(pace) = &mut self.pace {
            pace.skip_to(Instant::now());
        }
        self.show();
    }

    /// The board is to be brought up to date, though not for every input.
    fn changed(&mut self) {
        self.show_at = Some(self.shown_at + SHOW_PERIOD);
    }

    fn show(&mut self) {
        self.board.show(&self.room);
        (self.show_at, self.shown_at) = (None, Instant::now());
    }

    fn failed(&mut self, error: &StepError) {
        match error {
            StepError::Fault(fault) => self.note(fault),
            error => tracing::error!(room = self.room.name(), "an input was not applied: {error}"),
        }
        self.show();
    }

    fn note(&mut self, fault: &LogicFault) {
        self.board.show_fault(fault);
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
            tick = fault.tick.0,
            frozen = self.room.frozen().is_some(),
            "the logic failed: {}",
            fault.message
        );
    }
}
