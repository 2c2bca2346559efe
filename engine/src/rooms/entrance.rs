//! Who may come into a room: its lock, its seats, and whether it is ending.
//!
//! A seat is reserved before the room hears of a player, and every reservation is counted, so however many come at once,
//! no more get in than there are seats.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::rooms::name::RoomName;

/// Written by the room's thread and by operators, asked by whoever brings a player. The lock is held to count.
#[derive(Debug)]
pub(super) struct Entrance(Mutex<Terms>);

/// The terms as they are at one moment.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) label: Option<RoomName>,
    pub(super) players_max: usize,
    pub(super) is_locked: bool,
    /// Set once, never cleared.
    pub(super) is_ending: bool,
    /// Players in the world, the dropped ones included: they may come back.
    pub(super) players: usize,
    /// Players on their way in.
    pub(super) reserved: usize,
}

/// Why a room takes nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSeat {
    Full { players_max: usize },
    Locked,
    Ending,
}

impl Terms {
    pub(super) fn new(label: Option<RoomName>, players_max: usize, is_locked: bool) -> Terms {
        assert!(players_max > 0, "a room has a seat");
        Terms { label, players_max, is_locked, is_ending: false, players: 0, reserved: 0 }
    }

    /// Whether a player could come in.
    pub(super) fn check(&self) -> Result<(), NoSeat> {
        match self {
            Terms { is_ending: true, .. } => Err(NoSeat::Ending),
            Terms { is_locked: true, .. } => Err(NoSeat::Locked),
            Terms { players, reserved, players_max, .. } if players + reserved >= *players_max => {
                Err(NoSeat::Full { players_max: *players_max })
            }
            _ => Ok(()),
        }
    }
}

impl Entrance {
    pub(super) fn new(terms: Terms) -> Arc<Entrance> {
        Arc::new(Entrance(Mutex::new(terms)))
    }

    pub(super) fn terms(&self) -> Terms {
        self.0.lock().clone()
    }

    /// Changes label, lock or number of seats. Nobody is sent away for it.
    pub(super) fn change(&self, change: impl FnOnce(&mut Terms)) {
        change(&mut self.0.lock());
    }

    pub(super) fn reserve(self: &Arc<Self>) -> Result<Reservation, NoSeat> {
        let mut terms = self.0.lock();
        terms.check()?;
        terms.reserved += 1;
        Ok(Reservation { entrance: Arc::clone(self), is_open: true })
    }

    /// The room's thread, after anything that may have changed it.
    pub(super) fn set_players(&self, players: usize) {
        self.0.lock().players = players;
    }

    /// Nobody comes in from here on.
    pub(super) fn end(&self) {
        self.0.lock().is_ending = true;
    }

    /// As [`Entrance::end`], but only if nobody is in the room or on the way in. Whether it was done.
    pub(super) fn end_if_empty(&self) -> bool {
        let mut terms = self.0.lock();
        let is_empty = terms.players == 0 && terms.reserved == 0;
        terms.is_ending |= is_empty;
        is_empty
    }
}

/// A seat that is kept for one player. Dropping it gives the seat back.
#[derive(Debug)]
pub(super) struct Reservation {
    entrance: Arc<Entrance>,
    is_open: bool,
}

impl Reservation {
    /// The player has come in or not, and the world has so many now. In one step, so that the seat is at no moment counted
    /// twice, or not at all.
    pub(super) fn settle(mut self, players: usize) {
        let mut terms = self.entrance.0.lock();
        terms.players = players;
        terms.reserved -= 1;
        drop(terms);
        self.is_open = false;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.is_open {
            self.entrance.0.lock().reserved -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrance(players_max: usize) -> Arc<Entrance> {
        Entrance::new(Terms::new(None, players_max, false))
    }

    #[test]
    fn a_seat_is_kept_until_it_is_taken_or_given_back() {
        let entrance = entrance(2);
        let (one, two) = (entrance.reserve().unwrap(), entrance.reserve().unwrap());
        let full = NoSeat::Full { players_max: 2 };
        assert_eq!(entrance.reserve().unwrap_err(), full);
        one.settle(1);
        assert_eq!(entrance.reserve().unwrap_err(), full);
        drop(two);
        entrance.reserve().unwrap().settle(2);
        assert_eq!(entrance.reserve().unwrap_err(), full);
        entrance.set_players(1);
        drop(entrance.reserve().unwrap());
        let terms = entrance.terms();
        assert_eq!((terms.players, terms.reserved), (1, 0));
    }

    #[test]
    fn an_end_comes_before_a_lock_and_a_lock_before_seats() {
        let entrance = entrance(1);
        let reservation = entrance.reserve().unwrap();
        entrance.change(|terms| terms.is_locked = true);
        assert_eq!(entrance.reserve().unwrap_err(), NoSeat::Locked);
        assert!(!entrance.end_if_empty(), "somebody is on the way");
        assert_eq!(entrance.reserve().unwrap_err(), NoSeat::Locked);
        drop(reservation);
        assert!(entrance.end_if_empty());
        assert_eq!(entrance.reserve().unwrap_err(), NoSeat::Ending);
    }

    #[test]
    fn a_storm_gets_as_many_seats_as_there_are() {
        let entrance = entrance(50);
        let storm = || (0..100).filter_map(|_| entrance.reserve().ok()).collect::<Vec<_>>();
        let kept: Vec<_> = std::thread::scope(|scope| {
            let storms: Vec<_> = (0..8).map(|_| scope.spawn(storm)).collect();
            storms.into_iter().flat_map(|storm| storm.join().unwrap()).collect()
        });
        assert_eq!((kept.len(), entrance.terms().reserved), (50, 50));
        drop(kept);
        assert_eq!(entrance.terms().reserved, 0);
    }
}
