//! The way to a thread of rooms: many senders, one receiver that takes all there is at once.
//!
//! A lock around a vector, for the receiver empties it with one swap however many have sent, and a sender wakes it only if
//! it found the vector empty: a thread under load is never woken, and takes the lock once a batch.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// Commands that may wait for one thread: at a microsecond each, some milliseconds' worth.
pub(super) const COMMANDS_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Inbox<T> {
    queue: Mutex<Queue<T>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: Vec<T>,
    is_open: bool,
}

/// Why something could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotSent {
    Full,
    Closed,
}

impl<T> Inbox<T> {
    pub(super) fn new() -> Self {
        Self { queue: Mutex::new(Queue { waiting: Vec::new(), is_open: true }), arrived: Condvar::new() }
    }

    /// For what there may be any number of.
    pub(super) fn offer(&self, item: T) -> Result<(), NotSent> {
        self.push(item, COMMANDS_MAX)
    }

    /// For what is bounded by its sender, and must not be turned away.
    pub(super) fn send(&self, item: T) -> Result<(), NotSent> {
        self.push(item, usize::MAX)
    }

    fn push(&self, item: T, waiting_max: usize) -> Result<(), NotSent> {
        let mut queue = self.queue.lock();
        if !queue.is_open {
            return Err(NotSent::Closed);
        }
        if queue.waiting.len() >= waiting_max {
            return Err(NotSent::Full);
        }
        queue.waiting.push(item);
        let was_empty = queue.waiting.len() == 1;
        drop(queue);
        if was_empty {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for something to arrive, or for the time, and takes all there is into the empty `batch`. False once closed.
    pub(super) fn take(&self, batch: &mut Vec<T>, until: Option<Instant>) -> bool {
        assert!(batch.is_empty(), "the last batch has been worked off");
        let mut queue = self.queue.lock();
        while queue.waiting.is_empty() && queue.is_open {
            match until {
                None => self.arrived.wait(&mut queue),
                Some(until) => {
                    if self.arrived.wait_until(&mut queue, until).timed_out() {
                        break;
                    }
                }
            }
        }
        std::mem::swap(&mut queue.waiting, batch);
        queue.is_open
    }

    /// Nothing can be sent from here on; what waits is dropped, and with it the hope of a reply.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_open = false;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        self.arrived.notify_one();
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn all_that_waits_is_taken_at_once_in_order() {
        let inbox = Inbox::new();
        (0..3).for_each(|item| inbox.offer(item).unwrap());
        let mut batch = Vec::new();
        assert!(inbox.take(&mut batch, None));
        assert_eq!(batch, [0, 1, 2]);
    }

    #[test]
    fn the_limit_holds_for_offers_only() {
        let inbox = Inbox::new();
        (0..COMMANDS_MAX).for_each(|item| inbox.offer(item).unwrap());
        assert_eq!(inbox.offer(0), Err(NotSent::Full));
        assert_eq!(inbox.send(0), Ok(()));
    }

    #[test]
    fn a_time_in_the_past_is_no_wait() {
        let inbox = Inbox::<u32>::new();
        assert!(inbox.take(&mut Vec::new(), Some(Instant::now())));
    }

    #[test]
    fn whoever_waits_is_woken() {
        let inbox = Inbox::new();
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| {
                let (mut batch, mut taken) = (Vec::new(), Vec::new());
                while inbox.take(&mut batch, Some(Instant::now() + Duration::from_secs(20))) {
                    taken.append(&mut batch);
                }
                taken.append(&mut batch);
                taken
            });
            (0..1000).for_each(|item| while inbox.offer(item).is_err() {});
            // Closing drops what waits, so it is waited for that nothing does.
            while !inbox.queue.lock().waiting.is_empty() {
                std::thread::yield_now();
            }
            inbox.close();
            assert_eq!(taken.join().unwrap(), (0..1000).collect::<Vec<_>>());
        });
        assert_eq!(inbox.offer(1), Err(NotSent::Closed));
    }
}
