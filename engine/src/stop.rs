//! The one bit that says "the engine is ending", and who waits for it. Signals set it in [`crate::serve`].

use tokio::sync::watch;

/// A cheap, cloneable handle: set once, never cleared. The backend keeps one to answer `/healthz` and to refuse loads.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    #[must_use]
    pub fn new() -> Stop {
        Stop(watch::Sender::new(false))
    }

    /// Asks the engine to end in order. Asking again changes nothing.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    #[must_use]
    pub fn is_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once [`Stop::begin`] has been called, at once if it was called before.
    pub async fn begun(&self) {
        let mut receiver = self.0.subscribe();
        let waited = receiver.wait_for(|begun| *begun).await;
        assert!(waited.is_ok(), "self holds a sender, so the channel cannot be closed");
    }
}

impl Default for Stop {
    fn default() -> Stop {
        Stop::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wakes_those_who_wait_and_those_who_come_late() {
        let stop = Stop::new();
        assert!(!stop.is_begun());
        let waiting = tokio::spawn({
            let stop = stop.clone();
            async move { stop.begun().await }
        });
        stop.clone().begin();
        waiting.await.unwrap();
        stop.begun().await;
        assert!(stop.is_begun());
    }
}
