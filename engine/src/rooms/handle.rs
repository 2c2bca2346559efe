//! The rooms as the rest of the engine sees them.

use std::collections::HashSet;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use logic_api::Version;
use parking_lot::Mutex;
use room::{LogicVersion, Pool, Request, Response};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::beat::Beat;
use crate::config::Config;
use crate::journal::Journal;
use crate::journal::keeper::Keeper;
use crate::kept::{KeptRoom, KeptRooms};
use crate::metrics::Metrics;
use crate::rooms::command::{Ask, Command, NewSeat};
use crate::rooms::entrance::Terms;
use crate::rooms::error::{RoomError, StartError};
use crate::rooms::helper::Helper;
use crate::rooms::inbox::Inbox;
use crate::rooms::name::RoomName;
use crate::rooms::opening::{RoomSettings, Wishes};
use crate::rooms::players::House;
use crate::rooms::registry::{Opening, Place, Registry, Taken};
use crate::rooms::thread::{self, RoomThread};
use crate::rooms::trial::Swap;
use crate::rooms::watched::Watched;
use crate::status::RoomStatus;

/// The room of requests and players that name none, if it is among those that are made at start; else it is the first of them.
const DEFAULT_ROOM: &str = "main";
/// How long a load waits for a room to get to it, and an ending engine for its rooms once their grace is over: far more than
/// a healthy callback takes.
pub(super) const ROOM_TIMEOUT: Duration = Duration::from_secs(10);

/// Which rooms there are at start, and how rooms are where nothing else is said.
#[derive(Debug, Clone)]
pub struct RoomOptions {
    /// At least one.
    pub names: Vec<RoomName>,
    pub threads: usize,
    pub tick_hz: u32,
    pub players_max: usize,
    /// Whether a player who finds no room gets one of their own.
    pub on_demand: bool,
    /// How long a room that goes when it is empty stays so.
    pub linger: Duration,
    /// How long a room that is told to end goes on for those who are in.
    pub terminate_grace: Duration,
    /// How long a player who has lost the connection is awaited back.
    pub away_grace: Duration,
    /// Whether players and visitors see the text and the place of a logic's fault.
    pub show_faults: bool,
}

impl From<&Config> for RoomOptions {
    fn from(config: &Config) -> RoomOptions {
        RoomOptions {
            names: config.rooms.clone(),
            threads: config.room_threads,
            tick_hz: config.tick_hz,
            players_max: config.players_max,
            on_demand: config.rooms_on_demand,
            linger: config.room_linger,
            terminate_grace: config.terminate_grace,
            away_grace: config.away_grace,
            show_faults: config.show_faults,
        }
    }
}

/// A cheap handle on all rooms. Every method may be called from any thread.
#[derive(Debug, Clone)]
pub struct Rooms(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) registry: Arc<Registry>,
    pub(super) options: RoomOptions,
    pub(super) house: Arc<House>,
    default_room: RoomName,
    /// By thread.
    pub(super) inboxes: Vec<Arc<Inbox<Command>>>,
    pub(super) pools: Vec<Pool>,
    pub(super) helpers: Vec<Helper>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The names of rooms that are kept and could not be brought back.
    refused: Mutex<Vec<Opening>>,
    /// The version that rooms are opened on: the last that was confirmed.
    pub(super) current: Mutex<Arc<LogicVersion>>,
    /// What rooms that are opened are swapped to then, so that they can be rewound as the others can.
    pub(super) on_trial: Mutex<Option<Arc<Swap>>>,
    /// Shared by openings, alone for a swap and for the verdict on it: a room that opens between the first room and the last would
    /// be left out. Fair, so neither waits for ever.
    pub(super) turn: tokio::sync::RwLock<()>,
}

impl Rooms {
    /// Starts the threads, and returns once every room has been created.
    ///
    /// # Errors
    /// [`StartError`] at the first room whose `create` fails.
    ///
    /// # Panics
    /// If `options` name no room, or no thread.
    pub fn start(
        options: &RoomOptions,
        logic: &Arc<LogicVersion>,
        metrics: &Arc<Metrics>,
        (kept, pools, watched): (KeptRooms, Vec<Pool>, &Watched),
    ) -> Result<Rooms, StartError> {
        assert_eq!(pools.len(), options.threads, "each thread has a pool");
        let is_default = |name: &&RoomName| name.as_str() == DEFAULT_ROOM;
        let default_room = options.names.iter().find(is_default).or(options.names.first());
        let rooms = Rooms(Arc::new(Shared {
            registry: Registry::new(options.threads, Arc::clone(metrics)),
            options: options.clone(),
            house: Arc::new(House {
                grace: options.away_grace,
                shows_faults: options.show_faults,
                notice: Mutex::default(),
                metrics: metrics.sessions(),
                keeper: kept.keeper.clone(),
            }),
            default_room: default_room.expect("there is a room").clone(),
            inboxes: (0..options.threads).map(|_| Arc::new(Inbox::new())).collect(),
            pools,
            helpers: (0..options.threads).map(Helper::start).collect::<Result<_, _>>().map_err(StartError::Thread)?,
            threads: Mutex::default(),
            refused: Mutex::default(),
            current: Mutex::new(Arc::clone(logic)),
            on_trial: Mutex::default(),
            turn: tokio::sync::RwLock::new(()),
        }));
        watched.set_registry(&rooms.0.registry);
        let mut of_thread: Vec<Vec<_>> = (0..options.threads).map(|_| Vec::new()).collect();
        let mut openings = Vec::with_capacity(options.names.len());
        let mut brought_back = HashSet::new();
        for KeptRoom { name, settings, recovered } in kept.rooms {
            let is_configured = options.names.contains(&name);
            let wishes = if is_configured { rooms.as_configured(settings) } else { rooms.as_before(settings) };
            let (opening, mut new) = rooms.at_start(&name, wishes, recovered.logic())?;
            new.recovered = Some(Box::new(recovered));
            of_thread[new.place.thread].push(new);
            openings.push(opening);
            brought_back.insert(name);
        }
        // Nobody is to have these names: what is kept of their rooms would be lost.
        let refused = kept.refused.iter().filter_map(|name| rooms.0.registry.begin(Some(name), None).ok());
        rooms.0.refused.lock().extend(refused.map(|to_open| to_open.opening));
        let is_new = |name: &&RoomName| !brought_back.contains(*name) && !kept.refused.contains(*name);
        for name in options.names.iter().filter(is_new) {
            let (opening, new) = rooms.at_start(name, rooms.as_configured(RoomSettings::default()), logic)?;
            of_thread[new.place.thread].push(new);
            openings.push(opening);
        }
        for (number, new) in of_thread.into_iter().enumerate() {
            // Dropping the handle after an error closes the inboxes, which ends the threads.
            let thread = rooms.start_thread(number, new, Arc::clone(watched.beat(number)))?;
            rooms.0.threads.lock().push(thread);
        }
        Ok(rooms)
    }

    /// How a room of the config is to be: it stays when it is empty. What was changed in it while an engine ran stays, too.
    fn as_configured(&self, settings: RoomSettings) -> Wishes {
        let RoomOptions { players_max, tick_hz, .. } = self.0.options;
        let settings = settings.changed_only();
        let (changed_max, label) = settings.accepted();
        Wishes {
            terms: Terms::new(label, changed_max.unwrap_or(players_max), settings.is_locked()),
            tick_hz,
            config: Arc::from([]),
            linger: None,
            keeps_seat: false,
            settings: Some(settings),
        }
    }

    fn at_start(
        &self,
        name: &RoomName,
        wishes: Wishes,
        logic: &Arc<LogicVersion>,
    ) -> Result<(Opening, NewSeat), StartError> {
        let to_open = self.0.registry.begin(Some(name), None).map_err(|taken| match taken {
            Taken::Refused(error) => StartError::Room(error),
            Taken::UnderWay(_) => StartError::Room(RoomError::NameTaken { name: name.to_string() }),
        })?;
        let (_, new) = self.placed(&to_open, wishes, Arc::clone(logic));
        Ok((to_open.opening, new))
    }

    /// Returns once the thread has made its rooms: one thread after the other, so that faults are told in order.
    fn start_thread(&self, number: usize, new: Vec<NewSeat>, beat: Arc<Beat>) -> Result<JoinHandle<()>, StartError> {
        let (inbox, pool) = (Arc::clone(&self.0.inboxes[number]), self.0.pools[number].clone());
        let registry = Arc::clone(&self.0.registry);
        let (created, creation) = mpsc::channel();
        let runtime = self.0.helpers[number].runtime().clone();
        let run = move || {
            let mut rooms = RoomThread::new(Arc::clone(&inbox), pool, registry, beat);
            for new in new {
                let room = new.place.name();
                if let Err(error) = rooms.open(new) {
                    let _ = created.send(Err(StartError::Room(RoomError::NotMade { room, error })));
                    return;
                }
            }
            let rooms = Arc::new(Mutex::new(rooms));
            Helper::help(&runtime, &rooms, &inbox);
            let _ = created.send(Ok(()));
            drop(created);
            thread::run(&rooms, inbox);
        };
        let name = format!("rooms-{number}");
        let thread = std::thread::Builder::new().name(name).spawn(run).map_err(StartError::Thread)?;
        creation.recv().map_err(|_| StartError::Died)??;
        Ok(thread)
    }

    /// Hands a request to the logic of a room; `None` is the default room. Dropping the future before the request's turn takes
    /// it back.
    ///
    /// # Errors
    /// [`RoomError`] if there is no such room, or it gives no answer.
    pub async fn request(&self, room: Option<&str>, request: Request) -> Result<Response, RoomError> {
        let place = self.find(room)?;
        let (reply, answer) = oneshot::channel();
        place.offer(Ask::Request { request: Arc::new(request), reply })?;
        answer.await.map_err(|_| place.ended())?
    }

    /// The version that a room runs, `None` being the default room; `None` if there is no such room.
    #[must_use]
    pub fn logic_of(&self, room: Option<&str>) -> Option<Arc<LogicVersion>> {
        self.find(room).ok().map(|place| place.board.logic())
    }

    fn find(&self, room: Option<&str>) -> Result<Arc<Place>, RoomError> {
        self.0.registry.find(room.unwrap_or(self.default_room().as_str()))
    }

    /// The room of those who name none.
    #[must_use]
    pub fn default_room(&self) -> &RoomName {
        &self.0.default_room
    }

    /// The versions that rooms run, with the rooms' names, in the rooms' order.
    #[must_use]
    pub fn logics(&self) -> Vec<(RoomName, Arc<LogicVersion>)> {
        let places = self.0.registry.places();
        places.iter().map(|place| (place.board.name.clone(), place.board.logic())).collect()
    }

    /// The version that rooms are opened on: the last that was confirmed.
    #[must_use]
    pub fn current(&self) -> Version {
        self.0.current.lock().version()
    }

    /// As they were shown last, without waiting for a room; in the order in which they were opened.
    #[must_use]
    pub fn statuses(&self) -> Vec<RoomStatus> {
        self.0.registry.places().iter().map(|place| place.board.status()).collect()
    }

    /// Bytes that the rooms' pools have taken from the system.
    #[must_use]
    pub fn pool_bytes(&self) -> usize {
        self.0.pools.iter().map(Pool::held_bytes).sum()
    }

    /// What keeps the rooms; `None` where nothing does.
    #[must_use]
    pub fn keeper(&self) -> Option<&Keeper> {
        self.0.house.keeper.as_ref()
    }

    /// Returns once all that rooms have done so far is as safe as it must be before players hear of it.
    pub(super) async fn written(&self) {
        self.of_journal(Journal::written).await;
    }

    /// Returns once all that rooms have done so far survives the machine.
    pub(crate) async fn settled(&self) {
        self.of_journal(Journal::flushed).await;
    }

    async fn of_journal(&self, wait: impl Fn(&Journal) -> bool + Send + 'static) {
        if let Some(keeper) = self.0.house.keeper.clone() {
            // After a failure the process ends, and nobody is told anything.
            let _ = tokio::task::spawn_blocking(move || wait(keeper.journal())).await;
        }
    }

    /// Ends every room in order, each after its grace, and the threads. False if one did not end in time; it is left behind.
    pub async fn end(&self) -> bool {
        let threads = std::mem::take(&mut *self.0.threads.lock());
        let grace = self.0.options.terminate_grace;
        for inbox in self.0.inboxes.iter().take(threads.len()) {
            // One that has ended already has nothing to be told.
            let _ = inbox.send(Command::End { grace });
        }
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        if timeout(grace + ROOM_TIMEOUT, joined).await.is_err() {
            return false;
        }
        let Some(keeper) = self.0.house.keeper.clone() else { return true };
        tokio::task::spawn_blocking(move || keeper.end()).await.is_ok()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.inboxes.iter().for_each(|inbox| inbox.close());
    }
}
