//! Rooms on their threads, with logics that are linked in.

mod coming_and_going;
mod hearing;
mod helping;
mod trials;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use logic_api::prelude::{Admission, Ctx, Join, Logic, One, PlayerId, Row, Version, World, logic};
use room::{LogicVersion, Pool, Request, TrialId};

use super::{NotSwapped, RoomError, RoomName, RoomOptions, Rooms, StartError, Swap, Swapped};
use crate::kept::KeptRooms;
use crate::loader::digest::Sha256;
use crate::loader::elf::BuildId;
use crate::loader::name::PluginName;
use crate::loader::versions::Mapped;
use crate::metrics::Metrics;
use crate::status::{NewRoom, RoomState};

#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
struct State {
    count: u64,
    spoilt: u64,
}

/// Logics of the same tables, which differ in what they do when they are upgraded to, and in whether they stand a spoilt room.
macro_rules! logics {
    ($($name:ident: $stands:literal, |$ctx:ident| $upgraded:expr;)+) => {$(
        #[derive(World, Debug)]
        struct $name {
            state: One<State>,
        }

        #[logic(linked)]
        impl Logic for $name {
            fn tick(&mut self, _ctx: &mut Ctx) {
                assert!(self.state.spoilt == 0 || $stands, "the room is spoilt");
            }

            fn request(&mut self, _ctx: &mut Ctx, request: &logic_api::Request) -> logic_api::Response {
                self.state.count += 1;
                match request.path {
                    "/spoil" => self.state.spoilt = 1,
                    "/block" => GATE.wait(),
                    "/hold" => SWAP_GATE.wait(),
                    "/late" => LATE_GATE.wait(),
                    _ => {}
                }
                logic_api::Response::text(format!("{} {}", stringify!($name), self.state.count))
            }

            fn create(&mut self, _ctx: &mut Ctx, config: &[u8]) {
                assert!(config != b"no", "this config is not for me");
                if config == b"slowly" {
                    CREATE_GATE.wait();
                }
                self.state.count = config.len() as u64;
            }

            fn join_attempt(&self, _ctx: &Ctx, _player: PlayerId, join: &Join) -> Admission {
                if join.hello == b"no" { Admission::Refuse("not you".to_owned()) } else { Admission::Accept }
            }

            fn terminate(&mut self, ctx: &mut Ctx, grace: Duration) {
                said(ctx.room(), &format!("terminate {}", grace.as_millis()));
            }

            fn dispose(&mut self, ctx: &mut Ctx) {
                said(ctx.room(), "dispose");
            }

            fn upgraded(&mut self, $ctx: &mut Ctx, _from: Version) {
                self.state.count += 100;
                $upgraded
            }
        }
    )+};
}

logics! {
    First: false, |_ctx| ();
    Second: true, |ctx| ctx.broadcast(b"from Second");
    PicksOnB: true, |ctx| {
        ctx.broadcast(b"from PicksOnB");
        assert!(ctx.room() != "b", "not in here");
    };
}

#[derive(World, Debug)]
struct NoRooms {
    _state: One<State>,
}

#[logic(linked)]
impl Logic for NoRooms {
    fn create(&mut self, ctx: &mut Ctx, _config: &[u8]) {
        assert!(ctx.room() != "b", "no such room");
    }
}

/// What rooms said, for tests that give rooms names of their own.
static SAID: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

fn said(room: &str, what: &str) {
    SAID.lock().unwrap().push(format!("{room}: {what}"));
}

/// Holds a room's thread up until a test lets it go on.
struct Gate {
    held: std::sync::Mutex<(bool, bool)>,
    changed: std::sync::Condvar,
}

static GATE: Gate = Gate::new();
/// For the test of an opening that meets a swap.
static SWAP_GATE: Gate = Gate::new();
/// For the test of a room that takes long to make.
static CREATE_GATE: Gate = Gate::new();
/// For the test of players who have waited too long.
static LATE_GATE: Gate = Gate::new();

impl Gate {
    const fn new() -> Gate {
        Gate { held: std::sync::Mutex::new((false, false)), changed: std::sync::Condvar::new() }
    }

    /// In the room: says that it is there, and stays.
    fn wait(&self) {
        let mut held = self.held.lock().unwrap();
        held.0 = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(held, |held| !held.1).unwrap());
    }

    /// In the test: returns once the room is held up.
    fn until_held(&self) {
        drop(self.changed.wait_while(self.held.lock().unwrap(), |held| !held.0).unwrap());
    }

    fn open(&self) {
        self.held.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

fn version<L: Logic>() -> Arc<Mapped> {
    let logic = LogicVersion::linked::<L>().unwrap();
    let build_id = BuildId::from(logic.build_id());
    let file = PluginName::parse("linked.so").unwrap();
    Arc::new(Mapped { logic, sha256: Sha256::of(b""), build_id, file, bytes: 0, mapped_at: Timestamp::now() })
}

fn options(tick_hz: u32) -> RoomOptions {
    let names = ["main", "b", "c"].iter().filter_map(|name| RoomName::parse(name)).collect();
    let (linger, terminate_grace) = (Duration::ZERO, Duration::ZERO);
    RoomOptions {
        names,
        threads: 2,
        tick_hz,
        players_max: 100,
        on_demand: false,
        linger,
        terminate_grace,
        away_grace: linger,
        show_faults: true,
    }
}

fn start<L: Logic>(tick_hz: u32) -> Result<Rooms, StartError> {
    start_with::<L>(&options(tick_hz), &Arc::default())
}

fn start_with<L: Logic>(options: &RoomOptions, metrics: &Arc<Metrics>) -> Result<Rooms, StartError> {
    let pools = (0..options.threads).map(|_| Pool::new()).collect();
    Rooms::start(
        options,
        &version::<L>().logic,
        metrics,
        (KeptRooms::default(), pools, &crate::rooms::Watched::new(options.threads)),
    )
}

async fn get(rooms: &Rooms, room: &str, path: &str) -> String {
    let request = Request { method: "GET".to_owned(), path: path.to_owned(), ..Request::default() };
    match rooms.request(Some(room), request).await {
        Ok(response) => String::from_utf8(response.body).unwrap(),
        Err(error) => error.to_string(),
    }
}

fn named(name: &str) -> NewRoom {
    NewRoom { name: Some(name.to_owned()), ..NewRoom::default() }
}

/// A swap whose version is confirmed at once.
async fn swap_for_good(rooms: &Rooms, to: &Arc<Mapped>) -> Result<Vec<(String, Swapped)>, NotSwapped> {
    let swapped = rooms.swap_all(&Swap::new(Arc::clone(to), TrialId(1), Default::default())).await?;
    rooms.confirm_all().await;
    Ok(swapped)
}

async fn all(rooms: &Rooms) -> [String; 3] {
    [get(rooms, "main", "/").await, get(rooms, "b", "/").await, get(rooms, "c", "/").await]
}

#[tokio::test]
async fn every_room_is_swapped() {
    let rooms = start::<First>(0).unwrap();
    assert_eq!(all(&rooms).await, ["First 1", "First 1", "First 1"]);
    let swapped = swap_for_good(&rooms, &version::<Second>()).await.unwrap();
    assert_eq!(swapped.iter().map(|(room, _)| room.as_str()).collect::<Vec<_>>(), ["main", "b", "c"]);
    assert_eq!(all(&rooms).await, ["Second 102", "Second 102", "Second 102"]);
    assert!(rooms.end().await);
    assert_eq!(get(&rooms, "main", "/").await, "there is no room \"main\"; there are none");
}

#[tokio::test]
async fn if_one_room_cannot_be_swapped_none_is() {
    let rooms = start::<First>(0).unwrap();
    all(&rooms).await;
    let error = swap_for_good(&rooms, &version::<PicksOnB>()).await.unwrap_err();
    assert!(matches!(&error, NotSwapped::Refused { room, .. } if room == "b"), "{error}");
    assert!(error.to_string().ends_with(": not in here"), "{error}");
    assert_eq!(all(&rooms).await, ["First 2", "First 2", "First 2"]);
    // Nothing is left over that would be in the way of the next one.
    swap_for_good(&rooms, &version::<Second>()).await.unwrap();
    assert_eq!(all(&rooms).await, ["Second 103", "Second 103", "Second 103"]);
}

#[tokio::test]
async fn code_that_says_another_build_id_is_taken_back() {
    let rooms = start::<First>(0).unwrap();
    let lying = Arc::into_inner(version::<Second>()).unwrap();
    let lying = Arc::new(Mapped { build_id: BuildId::from(vec![0xab; 20]), ..lying });
    let error = swap_for_good(&rooms, &lying).await.unwrap_err().to_string();
    let expected = format!("the new code answers with another build id: expected {}, found ", "ab".repeat(20));
    assert!(error.starts_with(&format!("the room main could not be swapped: {expected}")), "{error}");
    assert_eq!(all(&rooms).await, ["First 1", "First 1", "First 1"]);
}

#[tokio::test]
async fn a_frozen_room_is_frozen_again_when_a_swap_is_taken_back() {
    let rooms = start::<First>(1000).unwrap();
    get(&rooms, "c", "/spoil").await;
    let is_frozen = || rooms.statuses()[2].state == RoomState::Frozen;
    while !is_frozen() {
        tokio::task::yield_now().await;
    }
    let frozen = get(&rooms, "c", "/").await;
    assert!(frozen.starts_with("the room c is frozen: version 1000 failed in tick at tick "), "{frozen}");
    swap_for_good(&rooms, &version::<PicksOnB>()).await.unwrap_err();
    assert!(is_frozen());
    assert_eq!(get(&rooms, "c", "/").await, frozen);
    swap_for_good(&rooms, &version::<Second>()).await.unwrap();
    assert_eq!(get(&rooms, "c", "/").await, "Second 102");
    assert!(!is_frozen());
}

#[tokio::test]
async fn a_room_that_cannot_be_made_is_told() {
    let error = start::<NoRooms>(0).unwrap_err().to_string();
    assert!(error.starts_with("the room b cannot be made: version 1000 failed in create at tick 0, "), "{error}");
    assert!(error.ends_with(": no such room"), "{error}");
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_begun_and_what_is_too_much_is_refused() {
    let rooms = start::<First>(0).unwrap();
    let blocked = tokio::spawn({
        let rooms = rooms.clone();
        async move { get(&rooms, "main", "/block").await }
    });
    tokio::task::spawn_blocking(|| GATE.until_held()).await.unwrap();
    let mut waiting: Vec<_> =
        (0..super::inbox::COMMANDS_MAX).map(|_| Box::pin(rooms.request(Some("main"), Request::default()))).collect();
    // Polled once, each is in the queue; then all but one are given up.
    for request in &mut waiting {
        assert!(poll_once(request).is_none());
    }
    let busy = rooms.request(Some("main"), Request::default()).await.unwrap_err();
    assert!(matches!(busy, RoomError::Busy { .. }), "{busy}");
    // Players wait, whether they are new or back.
    let (player, admission) = (PlayerId(1), rooms.admit("main").await.unwrap());
    let (entry, other) = (coming_and_going::entry().await, coming_and_going::entry().await);
    let mut joining = Box::pin(admission.join(player, Arc::from([]), Arc::from(""), entry));
    assert!(poll_once(&mut joining).is_none());
    let mut resuming = Box::pin(rooms.resume("main", player, other));
    assert!(poll_once(&mut resuming).is_none());
    let last = waiting.pop().unwrap();
    drop(waiting);
    GATE.open();
    assert_eq!(blocked.await.unwrap(), "First 1");
    assert_eq!(last.await.unwrap().body, b"First 2");
    joining.await.unwrap();
    resuming.await.unwrap();
}

/// Polls a future once.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
