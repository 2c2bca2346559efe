//! What leaves a thread of rooms: replies and outputs, held until the batch of commands that caused them is worked off.

use room::Outbox;
use tokio::sync::oneshot;

use crate::rooms::command::Answer;

/// Everything on its way out. A reply that leaves wakes a thread of the shell, so they leave together.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    replies: Vec<(oneshot::Sender<Answer>, Answer)>,
}

impl Outlet {
    pub(super) fn reply(&mut self, to: oneshot::Sender<Answer>, answer: Answer) {
        self.replies.push((to, answer));
    }

    /// Takes a step's outputs. There are no sessions yet that they could go to.
    pub(super) fn outputs(&mut self, outbox: &mut Outbox) {
        if !outbox.outputs().is_empty() {
            outbox.drain().for_each(drop);
        }
    }

    /// Lets everything out.
    pub(super) fn release(&mut self) {
        for (to, answer) in self.replies.drain(..) {
            // Whoever asked may have stopped waiting.
            let _ = to.send(answer);
        }
    }
}
