//! A room on its thread: what is done with it, and how that is measured and told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use room::{Input, LogicFault, Lost, Outbox, Pool, Reply, Request, Room, Spent, StepError};
use tokio::sync::oneshot;

use crate::loader::elf::BuildId;
use crate::loader::versions::Mapped;
use crate::rooms::board::Board;
use crate::rooms::clock::Clock;
use crate::rooms::command::{Answer, Ask, NewSeat, Swapped};
use crate::rooms::error::RoomError;
use crate::rooms::name::RoomId;
use crate::rooms::outlet::Outlet;
use crate::rooms::pace::Pace;

/// How often sizes are counted, at most.
const SHOW_PERIOD: Duration = Duration::from_secs(1);
/// The same fault again is logged after this time, at the earliest: a route that panics must not fill the disk.
const SAME_FAULT_PERIOD: Duration = Duration::from_secs(10);

/// How often an empty room looks again for whoever is on the way in, when its time has come.
const ON_THE_WAY_PERIOD: Duration = Duration::from_millis(100);

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
    /// How long it stays when nobody is in it; `None` for ever.
    linger: Option<Duration>,
    end: End,
    /// What the thread knows of [`Seat::due`].
    scheduled: Option<Instant>,
}

/// Those who wait until the room is gone. They are told by the drop of these, which must therefore come after that of the room
/// from the registry: when its thread lets go of the seat.
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
    /// A new room, in which `create` has run.
    pub(super) fn create(new: NewSeat, pool: &Pool, outlet: &mut Outlet) -> Result<Self, StepError> {
        let NewSeat { place, logic, config, linger } = new;
        let board = Arc::clone(&place.board);
        let (mut clock, mut outbox) = (Clock::new(), Outbox::new());
        let room = Room::create(board.name.as_str(), logic, pool, clock.stamp(), &config, &mut outbox)?;
        outlet.outputs(&mut outbox);
        board.show(&room);
        let (has_query, now) = (room.has_query(), Instant::now());
        let (pace, end) = (Pace::new(board.tick_hz, now), End::Far);
        let (show_at, logged, scheduled) = (None, None, None);
        let mut seat = Self {
            room,
            board,
            clock,
            pace,
            has_query,
            outbox,
            show_at,
            shown_at: now,
            logged,
            linger,
            end,
            scheduled,
        };
        seat.players_changed();
        Ok(seat)
    }

    /// Whether the room has been disposed of, and is to be let go.
    pub(super) fn is_disposed(&self) -> bool {
        matches!(self.end, End::Disposed { .. })
    }

    /// Does what is asked. The time is that when it was done.
    pub(super) fn carry_out(&mut self, ask: Ask, outlet: &mut Outlet) -> Instant {
        match ask {
            Ask::Request { reply, .. } if reply.is_closed() => {}
            Ask::Request { request, reply } => {
                let (answer, now) = self.request(request, outlet);
                outlet.reply(reply, answer);
                return now;
            }
            Ask::Join { reply, .. } if reply.is_closed() => {}
            Ask::Join { player, hello, claims, reservation, reply } => {
                let joined = match self.end {
                    // The seat was kept before the end began.
                    End::Terminated { .. } => Err(RoomError::Ending { room: self.room.name().to_owned() }),
                    _ => self.step_of_player(Input::Join { player, hello, claims }, outlet),
                };
                reservation.settle(self.room.world().players().len());
                self.players_changed();
                let _ = reply.send(joined);
            }
            Ask::Leave { player, reason, reply } => {
                let left = self.step_of_player(Input::Leave { player, reason }, outlet);
                self.players_changed();
                let _ = reply.send(left);
            }
            Ask::Twin { reply } => {
                if !reply.is_closed() {
                    let _ = reply.send((self.room.twin(), self.clock.stamp()));
                }
            }
            Ask::Swap { reply, .. } if reply.is_closed() => {}
            Ask::Swap { to, reply } => {
                if reply.send(self.swap(&to, outlet)).is_err() {
                    self.rewind_swap();
                }
            }
            Ask::KeepSwap { reply } => {
                let _ = reply.send(self.keep_swap());
            }
            Ask::RewindSwap { reply } => {
                self.rewind_swap();
                let _ = reply.send(());
            }
            Ask::End { grace, gone } => self.terminate(grace, Some(gone), outlet),
        }
        Instant::now()
    }

    fn step_of_player(&mut self, input: Input, outlet: &mut Outlet) -> Result<(), RoomError> {
        let stepped = self.room.step(self.clock.stamp(), input, &mut self.outbox);
        outlet.outputs(&mut self.outbox);
        self.changed();
        stepped.map(drop).map_err(|error| match error {
            StepError::Fault(fault) => {
                self.note(&fault);
                RoomError::Fault(fault)
            }
            StepError::Frozen(fault) => RoomError::Frozen { room: self.room.name().to_owned(), fault },
            error => RoomError::Step(error),
        })
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
        [tick, self.show_at, end].into_iter().flatten().min()
    }

    /// Runs the tick that is due, shows what has changed, and ends the room whose time has come.
    pub(super) fn run_due(&mut self, now: Instant, outlet: &mut Outlet) {
        if self.room.frozen().is_none() && self.pace.is_some_and(|pace| pace.due() <= now) {
            self.tick(outlet);
        }
        if self.show_at.is_some_and(|at| at <= now) {
            self.show();
        }
        match self.end {
            End::Empty { until } if until <= now => {
                if self.board.entrance.end_if_empty() {
                    self.terminate(Duration::ZERO, None, outlet);
                    self.dispose(outlet);
                } else {
                    self.end = End::Empty { until: now + ON_THE_WAY_PERIOD };
                }
            }
            End::Terminated { until, .. } if until <= now => self.dispose(outlet),
            _ => {}
        }
    }

    /// To be called after whatever may have let a player in or out.
    fn players_changed(&mut self) {
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

    /// Tells the logic that the room ends. There is no grace where nobody can use it: in a room that is empty or frozen.
    pub(super) fn terminate(&mut self, grace: Duration, gone: Option<oneshot::Sender<()>>, outlet: &mut Outlet) {
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
        self.last_step(Input::Terminate { grace }, outlet);
        self.end = End::Terminated { until: now + grace, gone: gone.into_iter().collect() };
    }

    /// The last input of the room. The sessions of those who are still in it are to be closed when the thread lets go of it.
    pub(super) fn dispose(&mut self, outlet: &mut Outlet) {
        self.board.entrance.end();
        self.last_step(Input::Dispose, outlet);
        self.show();
        let _gone = match std::mem::replace(&mut self.end, End::Far) {
            End::Terminated { gone, .. } | End::Disposed { _gone: gone } => gone,
            End::Far | End::Empty { .. } => Gone::new(),
        };
        self.end = End::Disposed { _gone };
        tracing::info!(room = self.room.name(), tick = self.room.tick().0, "room closed");
    }

    fn last_step(&mut self, input: Input, outlet: &mut Outlet) {
        match self.room.step(self.clock.stamp(), input, &mut self.outbox) {
            // A frozen room cannot be told that it ends; that it is frozen has been logged.
            Ok(_) | Err(StepError::Frozen(_)) => outlet.outputs(&mut self.outbox),
            Err(error) => self.failed(&error),
        }
        self.changed();
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
    fn request(&mut self, request: Arc<Request>, outlet: &mut Outlet) -> (Answer, Instant) {
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

    /// Exchanges the logic, and has the new code say its build id from inside the room.
    fn swap(&mut self, to: &Mapped, outlet: &mut Outlet) -> Result<Swapped, StepError> {
        let (stamp, input) = (self.clock.stamp(), Input::swap(Arc::clone(&to.logic)));
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
    fn keep_swap(&mut self) -> Spent {
        let _no_trial = self.room.step(self.clock.stamp(), Input::Confirm, &mut self.outbox);
        self.room.take_spent()
    }

    /// Rewinds the swap on trial, if there is one.
    fn rewind_swap(&mut self) {
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

    fn logic_changed(&mut self) {
        self.has_query = self.room.has_query();
        // A room that was frozen has missed ticks.
        if let Some(pace) = &mut self.pace {
            pace.skip_to(Instant::now());
        }
        // What is taken back may have let a player in or out.
        self.players_changed();
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
