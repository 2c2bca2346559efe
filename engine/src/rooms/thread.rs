//! A thread that owns rooms: it takes commands in batches, and ticks its rooms on time.
//!
//! What players send is light work as a rule, and then the thread is not woken for it: its helper does it, who has read it
//! (`helper.rs`). Whoever is at it, thread or helper, has the rooms to itself meanwhile. All that may take long is the thread's:
//! ticks, swaps, requests, and the beginnings and ends of rooms.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use room::{Pool, StepError};

use crate::beat::Beat;
use crate::rooms::command::{Command, NewSeat};
use crate::rooms::inbox::Inbox;
use crate::rooms::name::RoomId;
use crate::rooms::registry::Registry;
use crate::rooms::seat::Seat;

#[derive(Debug)]
pub(super) struct RoomThread {
    inbox: Arc<Inbox<Command>>,
    pool: Pool,
    registry: Arc<Registry>,
    beat: Arc<Beat>,
    /// In the order in which they were opened, which is that in which they end.
    seats: BTreeMap<RoomId, Seat>,
    /// When which room has something to do: to look through a thousand rooms for one that is due would take longer than its tick.
    dues: BTreeSet<(Instant, RoomId)>,
    /// Kept for its memory; empty between two batches.
    batch: Vec<Command>,
    /// Kept for its memory; empty but in [`RoomThread::run_due`].
    due_now: Vec<RoomId>,
    /// Those that may have something to let out.
    touched: Vec<RoomId>,
    /// When the thread wakes by itself.
    wakes_at: Option<Instant>,
    is_ending: bool,
}

/// The thread's work: until the last room has ended after [`Command::End`], or until the inbox is closed.
pub(super) fn run(rooms: &Mutex<RoomThread>, inbox: Arc<Inbox<Command>>) {
    let closing = Closing(inbox);
    wake_on_time();
    let mut wakes_at = rooms.lock().goes_to_sleep();
    while closing.0.wait(wakes_at) {
        let mut rooms = rooms.lock();
        rooms.run();
        if rooms.is_ending && rooms.seats.is_empty() {
            break;
        }
        wakes_at = rooms.goes_to_sleep();
    }
}

/// Has the system wake this thread for a tick when it is due, and not up to 50 µs later together with other threads.
fn wake_on_time() {
    if let Err(error) = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN)) {
        tracing::debug!(%error, "ticks begin as late as the system likes");
    }
}

/// As `run`, but only what is light.
pub(super) fn help(rooms: &Mutex<RoomThread>, inbox: &Arc<Inbox<Command>>) {
    // If the thread has the rooms, it looks into the inbox once more before it sleeps.
    if let Some(mut rooms) = rooms.try_lock() {
        let _closing = ClosingIfPanicking(inbox);
        rooms.help();
    }
}

impl RoomThread {
    pub(super) fn new(inbox: Arc<Inbox<Command>>, pool: Pool, registry: Arc<Registry>, beat: Arc<Beat>) -> Self {
        Self {
            inbox,
            pool,
            registry,
            beat,
            seats: BTreeMap::new(),
            dues: BTreeSet::new(),
            batch: Vec::new(),
            due_now: Vec::new(),
            touched: Vec::new(),
            wakes_at: None,
            is_ending: false,
        }
    }

    /// From here on the room can be asked. Here, and not by whoever wants it: it may be gone again before they hear of it.
    pub(super) fn open(&mut self, new: NewSeat) -> Result<(), StepError> {
        let place = Arc::clone(&new.place);
        self.beat.makes(&place.name());
        let created = Seat::create(new, &self.pool, &self.beat);
        self.beat.made();
        let mut seat = created?;
        seat.schedule(&mut self.dues);
        let before = self.seats.insert(place.id(), seat);
        assert!(before.is_none(), "a room's number is given once");
        self.registry.add(&place);
        Ok(())
    }

    /// Does all that waits and all that is due.
    fn run(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        self.inbox.take(&mut batch);
        for command in batch.drain(..) {
            let now = self.carry_out(command);
            // However long the batch is, ticks are on time, and what they say.
            self.run_due(now);
        }
        self.batch = batch;
        self.release();
        self.run_due(Instant::now());
    }

    /// Does what waits, up to where the thread's work begins.
    fn help(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        self.inbox.take(&mut batch);
        let mut commands = batch.drain(..);
        let mut is_due = self.is_due(Instant::now());
        while !is_due && commands.as_slice().first().is_some_and(Command::is_light) {
            let Some(command) = commands.next() else { break };
            let now = self.carry_out(command);
            is_due = self.is_due(now);
        }
        if commands.len() > 0 {
            self.inbox.put_back(commands);
        } else {
            drop(commands);
        }
        self.batch = batch;
        self.release();
        let wakes_too_late = self.due().is_some_and(|due| self.wakes_at.is_none_or(|at| due < at));
        if is_due || wakes_too_late {
            self.inbox.nudge();
        }
    }

    /// The time until which the thread can sleep.
    fn goes_to_sleep(&mut self) -> Option<Instant> {
        self.wakes_at = self.due();
        self.wakes_at
    }

    /// When it was done.
    fn carry_out(&mut self, command: Command) -> Instant {
        match command {
            Command::ToRoom { room, ask } => {
                let Some(seat) = self.seats.get_mut(&room) else { return Instant::now() };
                let now = seat.carry_out(ask);
                if self.touched.last() != Some(&room) {
                    self.touched.push(room);
                }
                seat.schedule(&mut self.dues);
                now
            }
            Command::Open { new, opening, reply } => {
                if !self.is_ending && !reply.is_closed() {
                    let id = new.place.id();
                    let opened = self.open(*new);
                    // What is not heard is kept until the room is gone, and its name with it.
                    if let Err(_unheard) = reply.send((opening, opened))
                        && let Some(unwanted) = self.seats.get_mut(&id)
                    {
                        unwanted.dispose();
                        self.let_go(id);
                    }
                }
                Instant::now()
            }
            Command::End { grace } => {
                self.is_ending = true;
                for (room, seat) in &mut self.seats {
                    self.touched.push(*room);
                    seat.end_with_engine(grace);
                    seat.schedule(&mut self.dues);
                }
                Instant::now()
            }
        }
    }

    /// Each room that is due has one turn, even if it is due again at once: others wait, too. What comes of it is let out.
    fn run_due(&mut self, now: Instant) {
        if !self.is_due(now) {
            return;
        }
        let mut due_now = std::mem::take(&mut self.due_now);
        due_now.extend(self.dues.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id));
        for id in due_now.drain(..) {
            let seat = self.seats.get_mut(&id).expect("a room that is let go is no longer due");
            seat.run_due(now);
            self.touched.push(id);
            seat.schedule(&mut self.dues);
            if seat.is_disposed() {
                self.let_go(id);
            }
        }
        self.due_now = due_now;
        self.release();
    }

    /// Lets everything out that the commands and ticks since the last time have caused.
    fn release(&mut self) {
        self.touched.sort_unstable();
        self.touched.dedup();
        for room in self.touched.drain(..) {
            self.seats.get_mut(&room).into_iter().for_each(Seat::release);
        }
    }

    /// Forgets a room that has been disposed of. First its journal, so that the next room of that name finds no trace of it;
    /// then the registry, for whoever finds a reply dropped must not find the room there still.
    fn let_go(&mut self, id: RoomId) {
        let mut seat = self.seats.remove(&id).expect("a room is let go once");
        seat.unschedule(&mut self.dues);
        seat.finish();
        self.registry.remove(id);
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    fn due(&self) -> Option<Instant> {
        self.dues.first().map(|(at, _)| *at)
    }
}

/// However the thread ends, nobody is left to wait for it.
struct Closing(Arc<Inbox<Command>>);

impl Drop for Closing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a thread of rooms ended by a panic of the engine; its rooms are gone");
        }
        self.0.close();
    }
}

/// The same, where it is not the end as such.
struct ClosingIfPanicking<'a>(&'a Arc<Inbox<Command>>);

impl Drop for ClosingIfPanicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            drop(Closing(Arc::clone(self.0)));
        }
    }
}
