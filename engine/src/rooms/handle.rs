//! The rooms as the rest of the engine sees them.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use room::{LogicVersion, PAGE_BYTES, Pool, Request, Response, Room, Spent, Stamp};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::Config;
use crate::loader::versions::Mapped;
use crate::metrics::Metrics;
use crate::rooms::board::Board;
use crate::rooms::command::{Command, Swapped};
use crate::rooms::error::{NotSwapped, RoomError, StartError};
use crate::rooms::inbox::{Inbox, NotSent};
use crate::rooms::outlet::Outlet;
use crate::rooms::seat::Seat;
use crate::rooms::thread::RoomThread;
use crate::status::RoomStatus;

/// The room of requests that name none.
const DEFAULT_ROOM: &str = "main";
/// How long a load waits for a room to get to it, and an ending engine for its rooms: far more than a healthy callback takes.
const ROOM_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages that a pool gets ready at a time: what it takes from the system at once.
const RESERVE_PAGES: usize = (2 << 20) / PAGE_BYTES;
/// The most pages that are got ready for a swap.
const RESERVE_PAGES_MAX: usize = 2048;

/// Which rooms there are, and how they run.
#[derive(Debug, Clone)]
pub struct RoomOptions {
    pub names: Vec<String>,
    pub threads: usize,
    pub tick_hz: u32,
}

impl From<&Config> for RoomOptions {
    fn from(config: &Config) -> RoomOptions {
        RoomOptions { names: config.rooms.clone(), threads: config.room_threads, tick_hz: config.tick_hz }
    }
}

/// A cheap handle on all rooms. Every method may be called from any thread.
#[derive(Debug, Clone)]
pub struct Rooms(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    places: Vec<Place>,
    by_name: HashMap<Arc<str>, usize>,
    pools: Vec<Pool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Where a room is.
#[derive(Debug, Clone)]
struct Place {
    board: Arc<Board>,
    inbox: Arc<Inbox<Command>>,
    /// Its number on its thread.
    seat: usize,
    /// The thread's number, and that of its pool.
    thread: usize,
}

impl Rooms {
    /// Starts the threads, and returns once every room has been created.
    ///
    /// # Errors
    /// [`StartError`] at the first room whose `create` fails.
    pub fn start(options: &RoomOptions, logic: &Arc<LogicVersion>, metrics: &Metrics) -> Result<Rooms, StartError> {
        let thread_count = options.threads.min(options.names.len());
        let pools: Vec<_> = (0..thread_count).map(|_| Pool::new()).collect();
        let inboxes: Vec<_> = (0..thread_count).map(|_| Arc::new(Inbox::new())).collect();
        let place = |(number, name): (usize, &String)| {
            let thread = number % thread_count;
            let board = Board::new(name, Arc::clone(logic), options.tick_hz, metrics.room(name));
            Place { board: Arc::new(board), inbox: Arc::clone(&inboxes[thread]), seat: number / thread_count, thread }
        };
        let places: Vec<_> = options.names.iter().enumerate().map(place).collect();
        let by_name =
            places.iter().enumerate().map(|(number, place)| (Arc::clone(&place.board.name), number)).collect();
        let rooms = Rooms(Arc::new(Shared { places, by_name, pools, threads: Mutex::default() }));
        for number in 0..thread_count {
            // Dropping the handle after an error closes the inboxes, which ends the threads.
            let thread = rooms.start_thread(number, thread_count, options.tick_hz)?;
            rooms.0.threads.lock().push(thread);
        }
        Ok(rooms)
    }

    /// Returns once the thread has made its rooms: one thread after the other, so that faults are told in order.
    fn start_thread(&self, number: usize, count: usize, tick_hz: u32) -> Result<JoinHandle<()>, StartError> {
        let places: Vec<_> = self.0.places.iter().skip(number).step_by(count).cloned().collect();
        let pool = self.0.pools[number].clone();
        let (created, creation) = mpsc::channel();
        let run = move || {
            let mut outlet = Outlet::default();
            let mut seats = Vec::with_capacity(places.len());
            for place in &places {
                match Seat::create(Arc::clone(&place.board), tick_hz, &pool, &mut outlet) {
                    Ok(seat) => seats.push(seat),
                    Err(error) => {
                        let _ = created.send(Err(StartError::Create { room: place.name(), error }));
                        return;
                    }
                }
            }
            let thread = RoomThread { inbox: Arc::clone(&places[0].inbox), seats, outlet };
            let _ = created.send(Ok(()));
            drop((created, places));
            thread.run();
        };
        let name = format!("rooms-{number}");
        let thread = std::thread::Builder::new().name(name).spawn(run).map_err(StartError::Thread)?;
        creation.recv().map_err(|_| StartError::Died)??;
        Ok(thread)
    }

    /// Hands a request to the logic of a room; `None` is the room `main`. Dropping the future before the request's turn takes
    /// it back.
    ///
    /// # Errors
    /// [`RoomError`] if there is no such room, or it gives no answer.
    pub async fn request(&self, room: Option<&str>, request: Request) -> Result<Response, RoomError> {
        let place = self.place(room.unwrap_or(DEFAULT_ROOM))?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Request { seat: place.seat, request: Arc::new(request), reply };
        place.inbox.offer(command).map_err(|not_sent| place.not_sent(not_sent))?;
        answer.await.map_err(|_| place.ended())?
    }

    fn place(&self, name: &str) -> Result<&Place, RoomError> {
        let number = self.0.by_name.get(name);
        number.map(|number| &self.0.places[*number]).ok_or_else(|| RoomError::Unknown {
            name: name.to_owned(),
            known: self.0.places.iter().map(Place::name).collect(),
        })
    }

    /// The versions that rooms run, with the rooms' names, in the rooms' order.
    pub fn logics(&self) -> impl Iterator<Item = (&str, Arc<LogicVersion>)> {
        self.0.places.iter().map(|place| (&*place.board.name, place.board.logic()))
    }

    /// A twin of every room, to try something on away from the rooms, and the stamp to do it with.
    ///
    /// # Errors
    /// [`RoomError`] of the first room that does not answer.
    pub async fn twins(&self) -> Result<Vec<(Room, Stamp)>, RoomError> {
        let twins = self.ask_all(|seat, reply| Command::Twin { seat, reply }).await;
        twins.into_iter().collect()
    }

    /// Gets as many free pages ready as the rooms have, so that the copies after the fork of a swap need not wait for the
    /// system. Takes its time; not for the rooms' threads.
    pub fn reserve_pages(&self) {
        for (thread, pool) in self.0.pools.iter().enumerate() {
            let of_pool = self.0.places.iter().filter(|place| place.thread == thread);
            let pages: u64 = of_pool.map(|place| place.board.size().pages).sum();
            let pages = usize::try_from(pages).map_or(RESERVE_PAGES_MAX, |pages| pages.min(RESERVE_PAGES_MAX));
            (0..pages).step_by(RESERVE_PAGES).for_each(|less| pool.reserve(pages - less));
        }
    }

    /// Swaps every room, or none: where one cannot be, those that were are taken back.
    ///
    /// # Errors
    /// [`NotSwapped`] with the first room that could not be.
    pub async fn swap_all(&self, to: &Arc<Mapped>) -> Result<Vec<(String, Swapped)>, NotSwapped> {
        let asked = self.ask_all(|seat, reply| Command::Swap { seat, to: Arc::clone(to), reply }).await;
        let swapped = asked.into_iter().zip(&self.0.places).map(|(answer, place)| {
            let swapped = answer?.map_err(|error| NotSwapped::Refused { room: place.name(), error })?;
            Ok((place.name(), swapped))
        });
        let swapped: Result<Vec<_>, NotSwapped> = swapped.collect();
        if let Err(error) = swapped {
            // A room that was not swapped has nothing to take back.
            self.ask_all(|seat, reply| Command::RewindSwap { seat, reply }).await;
            return Err(error);
        }
        let spent: Vec<Result<Spent, RoomError>> = self.ask_all(|seat, reply| Command::KeepSwap { seat, reply }).await;
        drop(spent);
        swapped
    }

    /// Sends a command to every room, then waits for the replies, in the rooms' order.
    async fn ask_all<T>(&self, command: impl Fn(usize, oneshot::Sender<T>) -> Command) -> Vec<Result<T, RoomError>> {
        let ask = |place: &Place| {
            let (reply, answer) = oneshot::channel();
            place.inbox.send(command(place.seat, reply)).map_err(|not_sent| place.not_sent(not_sent))?;
            Ok(answer)
        };
        let asked: Vec<_> = self.0.places.iter().map(ask).collect();
        // One for all: many rooms may be stuck behind one.
        let deadline = Instant::now() + ROOM_TIMEOUT;
        let mut answers = Vec::with_capacity(asked.len());
        for (place, answer) in self.0.places.iter().zip(asked) {
            answers.push(match answer {
                Ok(answer) => match timeout_at(deadline, answer).await {
                    Ok(answer) => answer.map_err(|_| place.ended()),
                    Err(_) => Err(RoomError::Stuck { room: place.name(), waited_ms: ROOM_TIMEOUT.as_millis() }),
                },
                Err(error) => Err(error),
            });
        }
        answers
    }

    /// As they were shown last, without waiting for a room.
    pub fn statuses(&self) -> Vec<RoomStatus> {
        self.0.places.iter().map(|place| place.board.status()).collect()
    }

    /// Bytes that the rooms' pools have taken from the system.
    pub fn pool_bytes(&self) -> usize {
        self.0.pools.iter().map(Pool::held_bytes).sum()
    }

    /// Ends every room in order, and its thread. False if one did not end in time; it is left behind.
    pub async fn end(&self) -> bool {
        let threads = std::mem::take(&mut *self.0.threads.lock());
        for place in self.0.places.iter().take(threads.len()) {
            // One that has ended already has nothing to be told.
            let _ = place.inbox.send(Command::End);
        }
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        timeout(ROOM_TIMEOUT, joined).await.is_ok()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.places.iter().for_each(|place| place.inbox.close());
    }
}

impl Place {
    fn name(&self) -> String {
        self.board.name.to_string()
    }

    fn ended(&self) -> RoomError {
        RoomError::Ended { room: self.name() }
    }

    fn not_sent(&self, not_sent: NotSent) -> RoomError {
        match not_sent {
            NotSent::Full => RoomError::Busy { room: self.name() },
            NotSent::Closed => self.ended(),
        }
    }
}
