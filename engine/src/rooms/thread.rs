//! A thread that owns rooms: it takes commands in batches, and ticks its rooms on time.

use std::sync::Arc;
use std::time::Instant;

use crate::rooms::command::Command;
use crate::rooms::inbox::Inbox;
use crate::rooms::outlet::Outlet;
use crate::rooms::seat::Seat;

#[derive(Debug)]
pub(super) struct RoomThread {
    pub(super) inbox: Arc<Inbox<Command>>,
    pub(super) seats: Vec<Seat>,
    pub(super) outlet: Outlet,
}

impl RoomThread {
    /// Until [`Command::End`], or until the inbox is closed.
    pub(super) fn run(mut self) {
        let closing = Closing(Arc::clone(&self.inbox));
        let mut batch = Vec::new();
        let mut due = self.due();
        while closing.0.take(&mut batch, due) {
            for command in batch.drain(..) {
                let Some(now) = self.carry_out(command, &mut due) else {
                    self.outlet.release();
                    return;
                };
                // However long the batch is, ticks are on time.
                self.run_due(now, &mut due);
            }
            self.outlet.release();
            self.run_due(Instant::now(), &mut due);
        }
    }

    /// When it was done, `None` for the end.
    fn carry_out(&mut self, command: Command, due: &mut Option<Instant>) -> Option<Instant> {
        let (seats, outlet) = (&mut self.seats, &mut self.outlet);
        let seat = match command {
            Command::Request { reply, .. } if reply.is_closed() => return Some(Instant::now()),
            Command::Request { seat, request, reply } => {
                let (answer, now) = seats[seat].request(request, outlet);
                outlet.reply(reply, answer);
                *due = earlier(*due, seats[seat].due());
                return Some(now);
            }
            Command::Twin { seat, reply } => {
                if !reply.is_closed() {
                    let _ = reply.send(seats[seat].twin());
                }
                seat
            }
            Command::Swap { reply, .. } if reply.is_closed() => return Some(Instant::now()),
            Command::Swap { seat, to, reply } => {
                if reply.send(seats[seat].swap(&to, outlet)).is_err() {
                    seats[seat].rewind_swap();
                }
                seat
            }
            Command::KeepSwap { seat, reply } => {
                let _ = reply.send(seats[seat].keep_swap());
                seat
            }
            Command::RewindSwap { seat, reply } => {
                seats[seat].rewind_swap();
                let _ = reply.send(());
                seat
            }
            Command::End => {
                seats.iter_mut().for_each(|seat| seat.end(outlet));
                return None;
            }
        };
        *due = earlier(*due, self.seats[seat].due());
        Some(Instant::now())
    }

    fn run_due(&mut self, now: Instant, due: &mut Option<Instant>) {
        if due.is_none_or(|due| due > now) {
            return;
        }
        for seat in &mut self.seats {
            if seat.due().is_some_and(|due| due <= now) {
                seat.run_due(now, &mut self.outlet);
            }
        }
        *due = self.due();
    }

    fn due(&self) -> Option<Instant> {
        self.seats.iter().filter_map(Seat::due).min()
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
