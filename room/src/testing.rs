//! The test kit: a logic in a room of its own, on a virtual clock, with mock players. No sockets, no waiting.
//!
//! ```
//! use logic_api::prelude::*;
//! use room::testing::TestRoom;
//!
//! #[derive(Row)]
//! #[repr(C)]
//! struct Avatar {
//!     #[row(key)]
//!     player: PlayerId,
//!     x: i32,
//! }
//!
//! #[derive(World)]
//! struct Arena {
//!     avatars: Table<Avatar>,
//! }
//!
//! #[logic(linked)]
//! impl Logic for Arena {
//!     fn join(&mut self, _ctx: &mut Ctx, player: PlayerId, _join: &Join) {
//!         self.avatars.insert(Avatar { player, x: 0 });
//!     }
//!     fn message(&mut self, ctx: &mut Ctx, player: PlayerId, bytes: &[u8]) {
//!         self.avatars.find_mut(player).expect("joined").x += bytes.len() as i32;
//!         ctx.broadcast(bytes);
//!     }
//! }
//!
//! let mut room = TestRoom::<Arena>::new();
//! let (ann, bob) = (room.join(b""), room.join(b""));
//! room.send(ann, b"abc");
//! assert_eq!(room.received(bob), [b"abc"]);
//! room.read(|arena| assert_eq!(arena.avatars.find(ann).map(|avatar| avatar.x), Some(3)));
//! ```

use crate::{Input, LogicVersion, Outbox, Output, Pool, Reply, Request, Response, Room, Stamp, StepError};
use logic_api::{Logic, PlayerId};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// The virtual clock at the start: some day in 2023.
const START_US: u64 = 1_700_000_000_000_000;
const TICK_US: u64 = 50_000;

/// A room that runs the logic `L`, which is linked in.
#[derive(Debug)]
pub struct TestRoom<L> {
    room: Room,
    now_us: u64,
    /// Inputs so far: what their seeds are made of.
    inputs: u64,
    seed: u64,
    last_player: u64,
    received: BTreeMap<PlayerId, Vec<Vec<u8>>>,
    kicked: Vec<(PlayerId, String)>,
    outbox: Outbox,
    logic: PhantomData<fn() -> L>,
}

impl<L: Logic> Default for TestRoom<L> {
    fn default() -> Self {
        Self::new()
    }
}

impl<L: Logic> TestRoom<L> {
    /// A room in which `create` has run, without config.
    ///
    /// # Panics
    /// If `create` fails.
    pub fn new() -> Self {
        Self::with(b"", 1)
    }

    /// A room with a config and a seed for its randomness.
    ///
    /// # Panics
    /// If `create` fails.
    pub fn with(config: &[u8], seed: u64) -> Self {
        let logic = LogicVersion::linked::<L>().unwrap_or_else(|error| panic!("the logic cannot run: {error}"));
        let mut outbox = Outbox::new();
        let stamp = Stamp { now_us: START_US, seed };
        let room = Room::create("test", logic, &Pool::new(), stamp, config, &mut outbox)
            .unwrap_or_else(|error| panic!("{error}"));
        let (received, kicked) = (BTreeMap::new(), Vec::new());
        let mut this = Self {
            room,
            now_us: START_US,
            inputs: 0,
            seed,
            last_player: 0,
            received,
            kicked,
            outbox,
            logic: PhantomData,
        };
        this.deliver();
        this
    }

    /// Applies any input at the present time.
    ///
    /// # Errors
    /// The input was not applied; see [`Room::step`].
    pub fn step(&mut self, input: Input) -> Result<Reply, StepError> {
        self.inputs += 1;
        let seed = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.inputs;
        let reply = self.room.step(Stamp { now_us: self.now_us, seed }, input, &mut self.outbox)?;
        self.deliver();
        Ok(reply)
    }

    /// As `step`, for an input that must not fail.
    #[track_caller]
    fn must(&mut self, input: Input) -> Reply {
        match self.step(input) {
            Ok(reply) => reply,
            Err(error) => panic!("{error}"),
        }
    }

    /// Lets a new player in.
    ///
    /// # Panics
    /// If the logic refuses them, or fails.
    #[track_caller]
    pub fn join(&mut self, hello: &[u8]) -> PlayerId {
        match self.try_join(hello) {
            Ok(player) => player,
            Err(reason) => panic!("the player was refused: {reason}"),
        }
    }

    /// Lets a new player in, or gives the reason why the logic refuses them.
    ///
    /// # Panics
    /// If the logic fails.
    #[track_caller]
    pub fn try_join(&mut self, hello: &[u8]) -> Result<PlayerId, String> {
        self.try_join_with(hello, "")
    }

    /// As [`TestRoom::try_join`], with what the player's credentials say of them, as JSON.
    ///
    /// # Panics
    /// If the logic fails.
    #[track_caller]
    pub fn try_join_with(&mut self, hello: &[u8], claims: &str) -> Result<PlayerId, String> {
        self.last_player += 1;
        let player = PlayerId(self.last_player);
        match self.step(Input::Join { player, hello: hello.into(), claims: claims.into() }) {
            Ok(_) => Ok(player),
            Err(StepError::Refused(reason)) => Err(reason),
            Err(error) => panic!("{error}"),
        }
    }

    /// # Panics
    /// If the logic fails, or the player is not in the room. So do the following.
    #[track_caller]
    pub fn leave(&mut self, player: PlayerId) {
        self.must(Input::Leave { player, reason: "left".into() });
    }

    #[track_caller]
    pub fn drop_connection(&mut self, player: PlayerId) {
        self.must(Input::Drop { player });
    }

    #[track_caller]
    pub fn reconnect(&mut self, player: PlayerId) {
        self.must(Input::Reconnect { player });
    }

    /// Sends a message from a player to the logic.
    #[track_caller]
    pub fn send(&mut self, player: PlayerId, bytes: &[u8]) {
        let number = self.room.world().player(player).map_or(0, |player| player.consumed) + 1;
        self.must(Input::Message { player, number, bytes: bytes.into() });
    }

    /// Lets a twentieth of a second pass, then ticks.
    #[track_caller]
    pub fn tick(&mut self) {
        self.now_us += TICK_US;
        self.must(Input::Tick);
    }

    /// Ticks for as long as this.
    #[track_caller]
    pub fn run(&mut self, time: Duration) {
        for _ in 0..time.as_micros() / u128::from(TICK_US) {
            self.tick();
        }
    }

    #[track_caller]
    pub fn signal(&mut self, name: &str, bytes: &[u8]) {
        self.must(Input::Signal { name: name.into(), bytes: bytes.into() });
    }

    /// Asks as `GET` would: first `query`, then `request`. The target may have a query string.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        self.request(Request { method: "GET".into(), path: path.into(), query: query.into(), ..Request::default() })
    }

    /// Asks as an HTTP client would: first `query`, then `request`.
    #[track_caller]
    pub fn request(&mut self, request: Request) -> Response {
        match self.room.query(&request) {
            Ok(Some(response)) => return response,
            Ok(None) => {}
            Err(fault) => panic!("{fault}"),
        }
        match self.must(Input::Request(Arc::new(request))) {
            Reply::Response(response) => response,
            other => panic!("a request was answered with {other:?}"),
        }
    }

    /// Exchanges the logic for another one, whose tables are made from the old ones.
    ///
    /// # Errors
    /// As for [`Room::step`]; the old logic goes on.
    #[expect(clippy::result_large_err, reason = "the old room goes on")]
    pub fn swap<M: Logic>(self) -> Result<TestRoom<M>, (Self, StepError)> {
        self.swap_dropping(&[])
    }

    /// As `swap`, where what is named may be lost: `Avatar.hp`, `orbs`.
    ///
    /// # Errors
    /// As for `swap`.
    #[expect(clippy::result_large_err, reason = "the old room goes on")]
    pub fn swap_dropping<M: Logic>(mut self, drops: &[&str]) -> Result<TestRoom<M>, (Self, StepError)> {
        let logic = LogicVersion::linked::<M>().unwrap_or_else(|error| panic!("the logic cannot run: {error}"));
        if let Err(error) = self.step(Input::swap_dropping(logic, drops)) {
            return Err((self, error));
        }
        self.must(Input::Confirm);
        let Self { room, now_us, inputs, seed, last_player, received, kicked, outbox, .. } = self;
        Ok(TestRoom { room, now_us, inputs, seed, last_player, received, kicked, outbox, logic: PhantomData })
    }

    /// Takes what a player was sent since the last time.
    pub fn received(&mut self, player: PlayerId) -> Vec<Vec<u8>> {
        self.received.remove(&player).unwrap_or_default()
    }

    /// Takes who was put out of the room since the last time, and why.
    pub fn kicked(&mut self) -> Vec<(PlayerId, String)> {
        std::mem::take(&mut self.kicked)
    }

    /// Lends the world to look at.
    pub fn read<R>(&mut self, read: impl FnOnce(&L) -> R) -> R {
        crate::raw::inspect(self.room.world_mut(), read)
    }

    pub fn room(&mut self) -> &mut Room {
        &mut self.room
    }

    /// The virtual time since the Unix epoch.
    pub fn now(&self) -> Duration {
        Duration::from_micros(self.now_us)
    }

    fn is_connected(&self, player: PlayerId) -> bool {
        self.room.world().player(player).is_some_and(|player| player.is_connected)
    }

    /// Carries the outputs out, to those who have a connection; who is kicked leaves.
    fn deliver(&mut self) {
        let outputs: Vec<Output> = self.outbox.drain().collect();
        for output in outputs {
            match output {
                Output::Send { to, bytes } => {
                    if self.is_connected(to) {
                        self.received.entry(to).or_default().push(bytes.to_vec());
                    }
                }
                Output::Broadcast { except, bytes } => {
                    for player in self.room.world().players().iter().filter(|player| **player != except) {
                        if self.is_connected(*player) {
                            self.received.entry(*player).or_default().push(bytes.to_vec());
                        }
                    }
                }
                Output::Kick { player, reason } => {
                    self.kicked.push((player, reason.clone()));
                    // Who has left already cannot be put out.
                    let _not_in = self.step(Input::Leave { player, reason: reason.into() });
                }
            }
        }
    }
}
