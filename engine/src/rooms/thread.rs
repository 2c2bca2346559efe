//! A thread that owns rooms: it takes commands in batches, and ticks its rooms on time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use room::{Pool, StepError};

use crate::rooms::command::{Command, NewSeat};
use crate::rooms::inbox::Inbox;
use crate::rooms::name::RoomId;
use crate::rooms::outlet::Outlet;
use crate::rooms::registry::Registry;
use crate::rooms::seat::Seat;

#[derive(Debug)]
pub(super) struct RoomThread {
    inbox: Arc<Inbox<Command>>,
    pool: Pool,
    registry: Arc<Registry>,
    /// In the order in which they were opened, which is that in which they tick.
    seats: BTreeMap<RoomId, Seat>,
    outlet: Outlet,
    is_ending: bool,
}

impl RoomThread {
    pub(super) fn new(inbox: Arc<Inbox<Command>>, pool: Pool, registry: Arc<Registry>) -> Self {
        Self { inbox, pool, registry, seats: BTreeMap::new(), outlet: Outlet::default(), is_ending: false }
    }

    /// From here on the room can be asked. Here, and not by whoever wants it: it may be gone again before they hear of it.
    pub(super) fn open(&mut self, new: NewSeat) -> Result<(), StepError> {
        let place = Arc::clone(&new.place);
        let seat = Seat::create(new, &self.pool, &mut self.outlet)?;
        let before = self.seats.insert(place.id(), seat);
        assert!(before.is_none(), "a room's number is given once");
        self.registry.add(&place);
        Ok(())
    }

    /// Until the last room has ended after [`Command::End`], or until the inbox is closed.
    pub(super) fn run(mut self) {
        let closing = Closing(Arc::clone(&self.inbox));
        let mut batch = Vec::new();
        let mut due = self.due();
        while !(self.is_ending && self.seats.is_empty()) && closing.0.take(&mut batch, due) {
            for command in batch.drain(..) {
                let now = self.carry_out(command, &mut due);
                // However long the batch is, ticks are on time.
                self.run_due(now, &mut due);
            }
            self.outlet.release();
            self.run_due(Instant::now(), &mut due);
        }
    }

    /// When it was done.
    fn carry_out(&mut self, command: Command, due: &mut Option<Instant>) -> Instant {
        match command {
            Command::ToRoom { room, ask } => {
                let Some(seat) = self.seats.get_mut(&room) else { return Instant::now() };
                let now = seat.carry_out(ask, &mut self.outlet);
                *due = earlier(*due, seat.due());
                now
            }
            Command::Open { new, reply } => {
                if !self.is_ending && !reply.is_closed() {
                    let id = new.place.id();
                    let opened = self.open(*new);
                    if reply.send(opened).is_err() {
                        self.seats.get_mut(&id).into_iter().for_each(|unwanted| unwanted.dispose(&mut self.outlet));
                        self.let_go();
                    }
                    *due = self.due();
                }
                Instant::now()
            }
            Command::End { grace } => {
                self.is_ending = true;
                self.seats.values_mut().for_each(|seat| seat.terminate(grace, None, &mut self.outlet));
                *due = self.due();
                Instant::now()
            }
        }
    }

    fn run_due(&mut self, now: Instant, due: &mut Option<Instant>) {
        if due.is_none_or(|due| due > now) {
            return;
        }
        let mut any_disposed = false;
        for seat in self.seats.values_mut() {
            if seat.due().is_some_and(|due| due <= now) {
                seat.run_due(now, &mut self.outlet);
                any_disposed |= seat.is_disposed();
            }
        }
        if any_disposed {
            self.let_go();
        }
        *due = self.due();
    }

    /// Forgets the rooms that have been disposed of. The registry first: whoever then finds a reply dropped must not find the
    /// room there still.
    fn let_go(&mut self) {
        let registry = &self.registry;
        self.seats.retain(|id, seat| {
            let stays = !seat.is_disposed();
            if !stays {
                registry.remove(*id);
            }
            stays
        });
    }

    fn due(&self) -> Option<Instant> {
        self.seats.values().filter_map(Seat::due).min()
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
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
