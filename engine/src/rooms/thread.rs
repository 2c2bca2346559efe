//! A thread that owns rooms: it takes commands in batches, and ticks its rooms on time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use room::{Pool, StepError};

use crate::rooms::beat::Beat;
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
    /// Kept for its memory; empty but in [`RoomThread::run_due`].
    due_now: Vec<RoomId>,
    /// Those that may have something to let out.
    touched: Vec<RoomId>,
    is_ending: bool,
}

impl RoomThread {
    pub(super) fn new(inbox: Arc<Inbox<Command>>, pool: Pool, registry: Arc<Registry>, beat: Arc<Beat>) -> Self {
        let (seats, dues, due_now) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        Self { inbox, pool, registry, beat, seats, dues, due_now, touched: Vec::new(), is_ending: false }
    }

    /// From here on the room can be asked. Here, and not by whoever wants it: it may be gone again before they hear of it.
    pub(super) fn open(&mut self, new: NewSeat) -> Result<(), StepError> {
        let place = Arc::clone(&new.place);
        let mut seat = Seat::create(new, &self.pool, &self.beat)?;
        seat.schedule(&mut self.dues);
        let before = self.seats.insert(place.id(), seat);
        assert!(before.is_none(), "a room's number is given once");
        self.registry.add(&place);
        Ok(())
    }

    /// Until the last room has ended after [`Command::End`], or until the inbox is closed.
    pub(super) fn run(mut self) {
        let closing = Closing(Arc::clone(&self.inbox));
        let mut batch = Vec::new();
        while !(self.is_ending && self.seats.is_empty()) && closing.0.take(&mut batch, self.due()) {
            for command in batch.drain(..) {
                let now = self.carry_out(command);
                // However long the batch is, ticks are on time.
                self.run_due(now);
            }
            self.release();
            self.run_due(Instant::now());
            self.release();
        }
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
            Command::Open { new, reply } => {
                if !self.is_ending && !reply.is_closed() {
                    let id = new.place.id();
                    let opened = self.open(*new);
                    if reply.send(opened).is_err()
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

    /// Each room that is due has one turn, even if it is due again at once: others wait, too.
    fn run_due(&mut self, now: Instant) {
        if self.due().is_none_or(|due| due > now) {
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
