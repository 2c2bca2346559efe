//! What leaves a room: answers and frames, held until the batch of commands that caused them is worked off.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::rooms::command::Answer;
use crate::rooms::error::RoomError;
use crate::sessions::{Bad, Link, Out};

/// Everything of one room that is on its way out.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    batch: Batch,
    /// Batches so far: tells a [`Slot`] of this batch from one of an earlier.
    number: u64,
    /// While it is not known whether what caused it stays, nothing leaves.
    is_held: bool,
}

/// What leaves together. It may be released on any thread, once all that caused it is sure to stay.
#[derive(Debug, Default)]
pub(super) struct Batch {
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    entries: Vec<(oneshot::Sender<Entered>, Entered)>,
    deliveries: Vec<Delivery>,
    /// For those who only wait until all before is safe.
    signals: Vec<oneshot::Sender<()>>,
}

/// To a player who wants in.
pub(super) type Entered = Result<(), RoomError>;

/// What one connection gets, by one write if its socket takes it.
#[derive(Debug)]
struct Delivery {
    link: Arc<Link>,
    frames: Vec<Out>,
    ending: Option<Bad>,
}

/// Where a connection's delivery is in the batch: whoever has many frames for it need not search.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slot {
    number: u64,
    delivery: usize,
}

impl Outlet {
    /// An answer that leaves wakes a thread of the shell, so they leave together.
    pub(super) fn answer(&mut self, to: oneshot::Sender<Answer>, answer: Answer) {
        self.batch.answers.push((to, answer));
    }

    pub(super) fn signal(&mut self, to: oneshot::Sender<()>) {
        self.batch.signals.push(to);
    }

    pub(super) fn entered(&mut self, to: oneshot::Sender<Entered>, entered: Entered) {
        self.batch.entries.push((to, entered));
    }

    pub(super) fn push(&mut self, link: &Arc<Link>, slot: &mut Slot, frame: Out) {
        self.delivery(link, slot).frames.push(frame);
    }

    /// The last that the connection gets.
    pub(super) fn close(&mut self, link: &Arc<Link>, slot: &mut Slot, bad: Bad) {
        self.delivery(link, slot).ending.get_or_insert(bad);
    }

    /// Takes back what this batch has for a connection.
    pub(super) fn retract(&mut self, slot: Slot) {
        if slot.number == self.number + 1 {
            self.batch.deliveries[slot.delivery].frames.clear();
        }
    }

    fn delivery(&mut self, link: &Arc<Link>, slot: &mut Slot) -> &mut Delivery {
        // Batches are counted from 1, so a new slot is of none.
        if slot.number != self.number + 1 {
            *slot = Slot { number: self.number + 1, delivery: self.batch.deliveries.len() };
            self.batch.deliveries.push(Delivery { link: Arc::clone(link), frames: Vec::new(), ending: None });
        }
        &mut self.batch.deliveries[slot.delivery]
    }

    /// Nothing leaves until [`Outlet::let_go`].
    pub(super) fn hold(&mut self) {
        self.is_held = true;
    }

    pub(super) fn let_go(&mut self) {
        self.is_held = false;
    }

    /// A version that is taken back, and what it said, never was. What else the engine has to say to players holds all
    /// the same.
    pub(super) fn forget_version(&mut self) {
        for delivery in &mut self.batch.deliveries {
            delivery.frames.retain(|frame| ![wire::kind::VERSION, wire::kind::MESSAGE].contains(&frame.kind()));
        }
    }

    /// What may leave now.
    pub(super) fn take_batch(&mut self) -> Option<Batch> {
        if self.is_held || self.batch.is_empty() {
            return None;
        }
        self.number += 1;
        Some(std::mem::take(&mut self.batch))
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.entries.is_empty() && self.deliveries.is_empty() && self.signals.is_empty()
    }

    /// Lets everything out. Never waits: what a socket does not take at once, its connection's task writes.
    pub(super) fn release(self) {
        for Delivery { link, frames, ending } in self.deliveries {
            link.deliver(frames, ending.as_ref());
        }
        // Whoever asked may have stopped waiting.
        for (to, answer) in self.answers {
            let _ = to.send(answer);
        }
        for to in self.signals {
            let _ = to.send(());
        }
        for (to, entered) in self.entries {
            let _ = to.send(entered);
        }
    }
}
