//! The way to a thread of rooms: many senders, and whoever runs the rooms takes all there is at once.
//!
//! A lock around a vector, for it is emptied with one swap however many have sent, and a sender wakes somebody only if it found
//! the vector empty: who is under load is never woken, and takes the lock once a batch.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// Commands that may wait for one thread: at a microsecond each, some milliseconds' worth.
pub(super) const COMMANDS_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Inbox<T> {
    queue: Mutex<Queue<T>>,
    /// For the thread.
    arrived: Condvar,
    /// For its helper.
    called: Notify,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: Vec<T>,
    is_open: bool,
    /// There is a helper, who is called for what is light.
    is_helped: bool,
    /// The thread is to look after its rooms, whether or not anything waits.
    is_nudged: bool,
}

/// Why something could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotSent {
    Full,
    Closed,
}

impl<T> Inbox<T> {
    pub(super) fn new() -> Self {
        let queue = Queue { waiting: Vec::new(), is_open: true, is_helped: false, is_nudged: false };
        Self { queue: Mutex::new(queue), arrived: Condvar::new(), called: Notify::new() }
    }

    /// For what there may be any number of.
    pub(super) fn offer(&self, item: T) -> Result<(), NotSent> {
        self.push(item, COMMANDS_MAX, false)
    }

    /// For what is bounded by its sender, and must not be turned away.
    pub(super) fn send(&self, item: T) -> Result<(), NotSent> {
        self.push(item, usize::MAX, false)
    }

    /// As [`Inbox::send`], for what the helper may do as well.
    pub(super) fn send_light(&self, item: T) -> Result<(), NotSent> {
        self.push(item, usize::MAX, true)
    }

    fn push(&self, item: T, waiting_max: usize, is_light: bool) -> Result<(), NotSent> {
        let mut queue = self.queue.lock();
        if !queue.is_open {
            return Err(NotSent::Closed);
        }
        if queue.waiting.len() >= waiting_max {
            return Err(NotSent::Full);
        }
        queue.waiting.push(item);
        let was_empty = queue.waiting.len() == 1;
        let is_for_helper = is_light && queue.is_helped;
        drop(queue);
        match (was_empty, is_for_helper) {
            (true, true) => self.called.notify_one(),
            (true, false) => _ = self.arrived.notify_one(),
            // Somebody has been woken, and finds this too.
            (false, _) => {}
        }
        Ok(())
    }

    /// For the thread: until something has arrived, or it is nudged, or the time has come. False once closed.
    pub(super) fn wait(&self, until: Option<Instant>) -> bool {
        let mut queue = self.queue.lock();
        while queue.waiting.is_empty() && queue.is_open && !queue.is_nudged {
            match until {
                None => self.arrived.wait(&mut queue),
                Some(until) => {
                    if self.arrived.wait_until(&mut queue, until).timed_out() {
                        break;
                    }
                }
            }
        }
        queue.is_nudged = false;
        queue.is_open
    }

    /// For the helper: until it is called. False once closed.
    pub(super) async fn called(&self) -> bool {
        self.called.notified().await;
        self.queue.lock().is_open
    }

    /// Takes all there is into the empty `batch`.
    pub(super) fn take(&self, batch: &mut Vec<T>) {
        assert!(batch.is_empty(), "the last batch has been worked off");
        std::mem::swap(&mut self.queue.lock().waiting, batch);
    }

    /// Leaves what was taken to the thread. It comes before all that was sent since. Once closed, it is dropped as what waited was.
    pub(super) fn put_back(&self, items: impl Iterator<Item = T>) {
        let mut queue = self.queue.lock();
        if queue.is_open {
            queue.waiting.splice(0..0, items);
            drop(queue);
            self.nudge();
        }
    }

    /// Wakes the thread.
    pub(super) fn nudge(&self) {
        self.queue.lock().is_nudged = true;
        self.arrived.notify_one();
    }

    /// What is light calls the helper from here on.
    pub(super) fn set_helped(&self) {
        self.queue.lock().is_helped = true;
    }

    /// Nothing can be sent from here on; what waits is dropped, and with it the hope of a reply.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_open = false;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        self.arrived.notify_one();
        self.called.notify_one();
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn taken<T>(inbox: &Inbox<T>) -> Vec<T> {
        let mut batch = Vec::new();
        inbox.take(&mut batch);
        batch
    }

    #[test]
    fn all_that_waits_is_taken_at_once_in_order() {
        let inbox = Inbox::new();
        (0..3).for_each(|item| inbox.offer(item).unwrap());
        assert!(inbox.wait(None));
        assert_eq!(taken(&inbox), [0, 1, 2]);
    }

    #[test]
    fn what_is_put_back_comes_first_and_wakes_the_thread() {
        let inbox = Inbox::new();
        inbox.set_helped();
        (0..4).for_each(|item| inbox.send_light(item).unwrap());
        let batch = taken(&inbox);
        inbox.send_light(4).unwrap();
        inbox.put_back(batch.into_iter().skip(2));
        assert!(inbox.wait(None));
        assert_eq!(taken(&inbox), [2, 3, 4]);
        inbox.nudge();
        assert!(inbox.wait(None), "there is nothing, but it was nudged");
    }

    #[test]
    fn what_is_put_back_too_late_is_dropped() {
        let inbox = Inbox::new();
        let (asker, reply) = std::sync::mpsc::channel::<()>();
        inbox.send(asker).unwrap();
        let batch = taken(&inbox);
        inbox.close();
        inbox.put_back(batch.into_iter());
        assert_eq!(reply.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
    }

    #[tokio::test]
    async fn the_helper_is_called_for_the_first_light_item_and_at_the_end() {
        let inbox = Inbox::new();
        inbox.set_helped();
        (0..2).for_each(|item| inbox.send_light(item).unwrap());
        assert!(inbox.called().await);
        assert_eq!(taken(&inbox), [0, 1]);
        inbox.close();
        assert!(!inbox.called().await);
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
        assert!(inbox.wait(Some(Instant::now())));
    }

    #[test]
    fn whoever_waits_is_woken() {
        let inbox = Inbox::new();
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| {
                let mut all = Vec::new();
                while inbox.wait(Some(Instant::now() + Duration::from_secs(20))) {
                    all.append(&mut taken(&inbox));
                }
                all
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
