//! The news that a room runs another version, on its way to the players.
//!
//! Told to everybody at once it would be a burst of frames in which everybody's answers wait. So each player hears of it with the
//! next frame that there is for them, before that; and those for whom there is none after a while, a few at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use logic_api::PlayerId;

/// How long a frame is waited for that it can come with: some ticks.
const WAIT: Duration = Duration::from_millis(200);
/// So many are told at a time then …
const TOLD_AT_ONCE: usize = 32;
/// … and after that others have their turn.
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct News {
    /// Of the last news there was.
    number: u64,
    /// `None` if there is nothing to be told.
    payload: Option<Arc<[u8]>>,
    /// When those are told who have not heard it yet; `None` while nothing may leave.
    due: Option<Instant>,
    /// Those, once it is due.
    untold: Vec<PlayerId>,
}

/// Up to which news a player is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heard(u64);

impl News {
    /// What is to be told from here on.
    pub(super) fn set(&mut self, payload: Arc<[u8]>) {
        *self = News { number: self.number + 1, payload: Some(payload), due: None, untold: Vec::new() };
    }

    /// It may leave.
    pub(super) fn let_go(&mut self, now: Instant) {
        self.due = self.payload.as_ref().map(|_| now + WAIT);
    }

    /// It is no longer so, or everybody knows.
    pub(super) fn forget(&mut self) {
        *self = News { number: self.number, ..News::default() };
    }

    /// What somebody who comes in knows.
    pub(super) fn heard(&self) -> Heard {
        Heard(self.number)
    }

    /// What is to be told before anything else, and is told by that.
    pub(super) fn tell(&self, heard: &mut Heard) -> Option<Arc<[u8]>> {
        let payload = self.payload.as_ref().filter(|_| *heard != self.heard())?;
        *heard = self.heard();
        Some(Arc::clone(payload))
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Those who are to be told now. `untold` lists all who have not heard it.
    pub(super) fn take_due(&mut self, now: Instant, untold: impl FnOnce(Heard) -> Vec<PlayerId>) -> Vec<PlayerId> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        if self.untold.is_empty() {
            self.untold = untold(self.heard());
        }
        let told = self.untold.split_off(self.untold.len().saturating_sub(TOLD_AT_ONCE));
        // Without anybody left, what is set next finds nothing of this.
        self.due = (!self.untold.is_empty()).then(|| now + PAUSE);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn everybody_hears_of_it_once_and_most_with_something_else() {
        let (mut news, now) = (News::default(), Instant::now());
        let mut players: BTreeMap<_, _> = (0..100).map(|player| (PlayerId(player), news.heard())).collect();
        let (early, mut heard) = (PlayerId(7), news.heard());
        assert_eq!((news.tell(&mut heard), news.due()), (None, None));
        news.set(b"new"[..].into());
        assert_eq!(news.due(), None, "it is not known yet whether it stays so");
        news.let_go(now);
        assert!(news.tell(&mut heard).is_some() && news.tell(&mut heard).is_none());
        players.insert(early, heard);
        assert!(news.take_due(now, |_| unreachable!("it is not due")).is_empty());
        let mut told = Vec::new();
        while let Some(due) = news.due() {
            let untold = |heard| players.iter().filter(|(_, of)| **of != heard).map(|(player, _)| *player).collect();
            let now = news.take_due(due, untold);
            assert!((1..=TOLD_AT_ONCE).contains(&now.len()));
            for player in now {
                assert!(news.tell(players.get_mut(&player).unwrap()).is_some());
                told.push(player);
            }
        }
        told.sort_unstable();
        assert_eq!(told, players.keys().copied().filter(|player| *player != early).collect::<Vec<_>>());
        assert!(players.values().all(|heard| *heard == news.heard()));
    }

    #[test]
    fn what_is_forgotten_is_told_to_nobody() {
        let mut news = News::default();
        let mut player = news.heard();
        news.set(b"new"[..].into());
        news.forget();
        assert_eq!(news.tell(&mut player), None);
        news.set(b"newer"[..].into());
        assert_eq!(news.tell(&mut player).as_deref(), Some(&b"newer"[..]));
    }
}
