//! What inputs cause outside of the world.

use crate::limits::OUTPUT_BYTES_MAX;
use logic_api::PlayerId;
use std::sync::Arc;

/// An effect of an input, for the engine to carry out. The closed list of all there are, beside the answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Send {
        to: PlayerId,
        bytes: Arc<[u8]>,
    },
    /// To every player in the room but `except` (0: nobody).
    Broadcast {
        except: PlayerId,
        bytes: Arc<[u8]>,
    },
    Kick {
        player: PlayerId,
        reason: String,
    },
}

/// The outputs of an input, in the order they were made.
#[derive(Debug, Default)]
pub struct Outbox {
    outputs: Vec<Output>,
    bytes: usize,
}

impl Outbox {
    /// Without outputs.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.bytes += match &output {
            Output::Send { bytes, .. } | Output::Broadcast { bytes, .. } => bytes.len(),
            Output::Kick { reason, .. } => reason.len(),
        };
        // Past the limit nothing is kept: the input is going to be a fault.
        if !self.is_over_limit() {
            self.outputs.push(output);
        }
    }

    pub(crate) fn is_over_limit(&self) -> bool {
        self.bytes > OUTPUT_BYTES_MAX
    }

    pub(crate) fn clear(&mut self) {
        self.outputs.clear();
        self.bytes = 0;
    }

    /// The outputs so far.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Takes the outputs and leaves the outbox empty, with its memory.
    pub fn drain(&mut self) -> impl Iterator<Item = Output> {
        self.bytes = 0;
        self.outputs.drain(..)
    }
}
