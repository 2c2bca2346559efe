//! Which rooms there are: by name for whoever asks, by number in the order in which they were opened.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::config::ROOMS_MAX;
use crate::metrics::Metrics;
use crate::rooms::board::Board;
use crate::rooms::command::{Ask, Command};
use crate::rooms::error::RoomError;
use crate::rooms::inbox::{Inbox, NotSent};
use crate::rooms::name::{RoomId, RoomName};
use crate::rooms::opening::RoomSettings;

/// Names of rooms that are listed where one is not found.
const KNOWN_SHOWN_MAX: usize = 8;

/// The living rooms, and those that are being opened. A room is in here from the moment when it can be asked until it has
/// been disposed of.
#[derive(Debug)]
pub(super) struct Registry {
    /// Held to look up and to note, never across a callback or an await.
    rooms: RwLock<Living>,
    last_id: AtomicU64,
    threads: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Living {
    by_name: HashMap<RoomName, Arc<Place>>,
    by_id: BTreeMap<RoomId, Arc<Place>>,
    /// By the name of the room, or by the criteria that no room met.
    opening: HashMap<String, UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    /// `None` for criteria.
    thread: Option<usize>,
    /// Closed when it is over.
    over: watch::Receiver<()>,
}

/// Where a room is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) board: Arc<Board>,
    pub(super) inbox: Arc<Inbox<Command>>,
    /// Of the thread's helper.
    pub(super) runtime: Handle,
    /// The thread's number, and that of its pool.
    pub(super) thread: usize,
    /// As they are kept. Held while they are changed.
    pub(super) settings: Mutex<RoomSettings>,
}

/// Keeps a name, or criteria, for one opening. Dropping it wakes those who wait for it, however the opening went.
#[derive(Debug)]
pub(super) struct Opening {
    registry: Arc<Registry>,
    key: String,
    _over: watch::Sender<()>,
}

/// What an [`Opening`] of a room is for.
#[derive(Debug)]
pub(super) struct ToOpen {
    pub(super) opening: Opening,
    pub(super) id: RoomId,
    pub(super) name: RoomName,
    pub(super) thread: usize,
}

/// Why a name cannot be had.
#[derive(Debug)]
pub(super) enum Taken {
    Refused(RoomError),
    /// Another opening of it is under way, which closes this when it is over.
    UnderWay(watch::Receiver<()>),
}

impl Registry {
    pub(super) fn new(threads: usize, metrics: Arc<Metrics>) -> Arc<Registry> {
        Arc::new(Registry { rooms: RwLock::default(), last_id: AtomicU64::new(0), threads, metrics })
    }

    pub(super) fn find(&self, name: &str) -> Result<Arc<Place>, RoomError> {
        let rooms = self.rooms.read();
        rooms.by_name.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = rooms.by_id.values().take(KNOWN_SHOWN_MAX).map(|place| place.name()).collect();
            RoomError::Unknown { name: name.to_owned(), more: rooms.by_id.len() - known.len(), known }
        })
    }

    /// In the order in which they were opened.
    pub(super) fn places(&self) -> Vec<Arc<Place>> {
        self.rooms.read().by_id.values().cloned().collect()
    }

    pub(super) fn place(&self, id: RoomId) -> Option<Arc<Place>> {
        self.rooms.read().by_id.get(&id).cloned()
    }

    pub(super) fn has(&self, id: RoomId) -> bool {
        self.rooms.read().by_id.contains_key(&id)
    }

    /// Keeps a name for a room that is to be opened; without a name, one that is free.
    pub(super) fn begin(self: &Arc<Self>, name: Option<&RoomName>, label: Option<&RoomName>) -> Result<ToOpen, Taken> {
        let mut rooms = self.rooms.write();
        if rooms.by_id.len() + rooms.openings() >= ROOMS_MAX {
            return Err(Taken::Refused(RoomError::TooMany));
        }
        let mut id = self.next_id();
        let name = match name {
            Some(name) => name.clone(),
            None => loop {
                let name = RoomName::generated(label, id);
                if !rooms.by_name.contains_key(&name) && !rooms.opening.contains_key(name.as_str()) {
                    break name;
                }
                id = self.next_id();
            },
        };
        if rooms.by_name.contains_key(&name) {
            return Err(Taken::Refused(RoomError::NameTaken { name: name.to_string() }));
        }
        let thread = rooms.least_loaded(self.threads);
        let opening = self.keep(&mut rooms, name.to_string(), Some(thread)).map_err(Taken::UnderWay)?;
        Ok(ToOpen { opening, id, name, thread })
    }

    /// Keeps criteria that no room met, so that of all who come at once one opens a room for them.
    pub(super) fn begin_for(self: &Arc<Self>, criteria: String) -> Result<Opening, watch::Receiver<()>> {
        self.keep(&mut self.rooms.write(), criteria, None)
    }

    fn keep(
        self: &Arc<Self>,
        rooms: &mut Living,
        key: String,
        thread: Option<usize>,
    ) -> Result<Opening, watch::Receiver<()>> {
        if let Some(under_way) = rooms.opening.get(&key) {
            return Err(under_way.over.clone());
        }
        let (sender, over) = watch::channel(());
        rooms.opening.insert(key.clone(), UnderWay { thread, over });
        Ok(Opening { registry: Arc::clone(self), key, _over: sender })
    }

    fn next_id(&self) -> RoomId {
        RoomId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The room can be asked from here on.
    pub(super) fn add(&self, place: &Arc<Place>) {
        let mut rooms = self.rooms.write();
        rooms.by_name.insert(place.board.name.clone(), Arc::clone(place));
        rooms.by_id.insert(place.id(), Arc::clone(place));
        drop(rooms);
        self.metrics.rooms_open.inc();
        self.metrics.rooms_opened.inc();
    }

    /// The room is gone, and its name is free.
    pub(super) fn remove(&self, id: RoomId) {
        let mut rooms = self.rooms.write();
        let place = rooms.by_id.remove(&id).expect("a room is added once and removed once");
        rooms.by_name.remove(&place.board.name);
        // While nobody can have the name, or the numbers of the next room of that name would go.
        self.metrics.forget_room(place.board.name.as_str());
        drop(rooms);
        self.metrics.rooms_open.dec();
        self.metrics.rooms_closed.inc();
    }

    /// Rooms that are being made.
    pub(super) fn openings(&self) -> usize {
        self.rooms.read().openings()
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

impl Living {
    fn openings(&self) -> usize {
        self.opening.values().filter(|opening| opening.thread.is_some()).count()
    }

    fn least_loaded(&self, threads: usize) -> usize {
        let mut rooms = vec![0_usize; threads];
        self.by_id.values().for_each(|place| rooms[place.thread] += 1);
        self.opening.values().filter_map(|opening| opening.thread).for_each(|thread| rooms[thread] += 1);
        let least = rooms.iter().enumerate().min_by_key(|(_, rooms)| **rooms);
        least.expect("there is a thread").0
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.registry.rooms.write().opening.remove(&self.key);
    }
}

impl Place {
    pub(super) fn id(&self) -> RoomId {
        self.board.id
    }

    pub(super) fn name(&self) -> String {
        self.board.name.to_string()
    }

    pub(super) fn ended(&self) -> RoomError {
        RoomError::Ended { room: self.name() }
    }

    /// For what there may be any number of.
    pub(super) fn offer(&self, ask: Ask) -> Result<(), RoomError> {
        self.inbox.offer(Command::ToRoom { room: self.id(), ask }).map_err(|not_sent| self.not_sent(not_sent))
    }

    /// For what is bounded by its sender, and must not be turned away.
    pub(super) fn send(&self, ask: Ask) -> Result<(), RoomError> {
        let command = Command::ToRoom { room: self.id(), ask };
        let sent = if command.is_light() { self.inbox.send_light(command) } else { self.inbox.send(command) };
        sent.map_err(|not_sent| self.not_sent(not_sent))
    }

    fn not_sent(&self, not_sent: NotSent) -> RoomError {
        match not_sent {
            NotSent::Full => RoomError::Busy { room: self.name() },
            NotSent::Closed => self.ended(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_rooms_as_there_may_be() {
        let registry = Registry::new(1, Arc::default());
        let begin = || registry.begin(None, None);
        let mut openings: Vec<_> = (0..ROOMS_MAX).map(|_| begin().unwrap()).collect();
        // Criteria are no rooms.
        let _search = registry.begin_for("*".to_owned()).unwrap();
        assert!(matches!(begin().unwrap_err(), Taken::Refused(RoomError::TooMany)));
        openings.pop();
        openings.push(begin().unwrap());
        assert!(matches!(begin().unwrap_err(), Taken::Refused(RoomError::TooMany)));
    }

    #[test]
    fn an_opening_keeps_its_name_and_wakes_those_who_wait_for_it() {
        let registry = Registry::new(1, Arc::default());
        let name = RoomName::parse("a").unwrap();
        let first = registry.begin(Some(&name), None).unwrap();
        let Err(Taken::UnderWay(over)) = registry.begin(Some(&name), None) else { panic!("the name is taken") };
        assert!(over.has_changed().is_ok());
        drop(first);
        over.has_changed().unwrap_err();
        registry.begin(Some(&name), None).unwrap();
    }
}
