//! What players do while a room is frozen, held against what it must come to: random comings, goings and messages, and a
//! room that freezes and thaws under them.

use std::sync::Arc;
use std::time::Duration;

use logic_api::prelude::*;
use wire::CloseCode;

use super::coming_and_going::entry;
use super::{Gate, get, options, poll_once, start_with, swap_for_good, version};
use crate::rooms::{FromPlayer, RoomDoor, RoomError, RoomName, RoomOptions, Rooms};
use crate::sessions::Link;
use crate::status::RoomState;

#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
struct Event {
    #[row(key)]
    place: u64,
    player: PlayerId,
    /// The first letter of its callback.
    kind: u8,
    /// Of a message.
    number: u32,
}

#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
struct Mood {
    spoilt: u64,
    events: u64,
}

/// Two versions of one logic: each thaws what the other froze, and writes down what it hears.
macro_rules! recorders {
    ($($name:ident)+) => {$(
        #[derive(World, Debug)]
        struct $name {
            mood: One<Mood>,
            events: Table<Event>,
        }

        #[logic(linked)]
        impl Logic for $name {
            fn tick(&mut self, _ctx: &mut Ctx) {
                assert!(self.mood.spoilt == 0, "the room is spoilt");
            }

            fn join(&mut self, _ctx: &mut Ctx, player: PlayerId, _join: &Join) {
                self.note(player, b'j', 0);
            }

            fn drop(&mut self, _ctx: &mut Ctx, player: PlayerId) {
                self.note(player, b'd', 0);
            }

            fn reconnect(&mut self, _ctx: &mut Ctx, player: PlayerId) {
                self.note(player, b'r', 0);
            }

            fn leave(&mut self, _ctx: &mut Ctx, player: PlayerId, _reason: &str) {
                self.note(player, b'l', 0);
            }

            fn message(&mut self, _ctx: &mut Ctx, player: PlayerId, bytes: &[u8]) {
                self.note(player, b'm', u32::from_le_bytes(bytes.try_into().unwrap()));
            }

            fn request(&mut self, _ctx: &mut Ctx, request: &Request) -> Response {
                if request.path == "/spoil" {
                    self.mood.spoilt = 1;
                }
                let line = |event: &Event| format!("{} {} {}", event.player, char::from(event.kind), event.number);
                Response::text(self.events.iter().map(line).collect::<Vec<_>>().join("\n"))
            }

            fn upgraded(&mut self, ctx: &mut Ctx, _from: Version) {
                self.mood.spoilt = 0;
                if ctx.room() == "held" {
                    UPGRADE_GATE.wait();
                }
            }
        }

        impl $name {
            fn note(&mut self, player: PlayerId, kind: u8, number: u32) {
                self.mood.events += 1;
                self.events.insert(Event { place: self.mood.events, player, kind, number });
            }
        }
    )+};
}

recorders! { Early Late }

/// Holds a swap up in the last of the rooms.
static UPGRADE_GATE: Gate = Gate::new();

/// Somebody who came in, and what must come of what they did.
struct Guest {
    player: PlayerId,
    door: RoomDoor,
    /// `None` while they are away, or after they have left.
    link: Option<Arc<Link>>,
    has_left: bool,
    /// The last number that they have sent.
    sent: u32,
    /// The last number that the room has applied, or will whatever happens.
    sure: u32,
}

impl Guest {
    async fn join(rooms: &Rooms, player: u64) -> Guest {
        let (player, entry) = (PlayerId(player), entry().await);
        let link = Some(Arc::clone(&entry.link));
        let admission = rooms.admit("main").await.unwrap();
        let door = admission.join(player, Arc::from([]), Arc::from(""), entry).await.unwrap();
        Guest { player, door, link, has_left: false, sent: 0, sure: 0 }
    }

    fn say(&mut self) {
        let Some(link) = &self.link else { return };
        self.sent += 1;
        let bytes: Arc<[u8]> = self.sent.to_le_bytes().into();
        link.gave(Link::cost(bytes.len()));
        self.door.tell(self.player, link, FromPlayer::Messages(vec![(self.sent, bytes)]));
    }

    /// What a frozen room had not applied is sent again by nobody here, and must not come.
    fn lose(&mut self) {
        if let Some(link) = self.link.take() {
            self.door.tell(self.player, &link, FromPlayer::Gone);
            self.sent = self.sure;
        }
    }

    fn leave(&mut self) {
        if let Some(link) = self.link.take() {
            self.door.tell(self.player, &link, FromPlayer::Leave);
            // As its connection does in the end; and a client may say more than it should.
            self.door.tell(self.player, &link, FromPlayer::Messages(vec![(self.sent + 1, Arc::from([0; 4]))]));
            self.door.tell(self.player, &link, FromPlayer::Gone);
            (self.has_left, self.sure) = (true, self.sent);
        }
    }

    /// From wherever they are now: the connection before may be open still.
    async fn resume(&mut self, rooms: &Rooms) {
        let entry = entry().await;
        let link = Arc::clone(&entry.link);
        let resumed = rooms.resume("main", self.player, entry).await;
        assert_eq!(resumed.is_ok(), !self.has_left, "{resumed:?}");
        if !self.has_left {
            (self.link, self.sent) = (Some(link), self.sure);
        }
    }

    /// What the logic must have heard of them.
    fn check(&self, log: &str) {
        let own = format!("{} ", self.player);
        let heard: Vec<_> = log.lines().filter_map(|line| line.strip_prefix(&own)?.split_once(' ')).collect();
        let kinds: String = heard.iter().map(|(kind, _)| *kind).collect();
        let numbers: Vec<u32> =
            heard.iter().filter(|(kind, _)| *kind == "m").map(|(_, number)| number.parse().unwrap()).collect();
        assert_eq!(numbers, (1..=self.sure).collect::<Vec<_>>(), "player {}: {kinds}", self.player);
        // In once, out at most once, and each drop answered before anything else.
        let coming: String = kinds.chars().filter(|kind| *kind != 'm').collect();
        let (middle, left) = match coming.strip_suffix('l') {
            Some(middle) => (middle, true),
            None => (&*coming, false),
        };
        let pairs = middle.strip_prefix('j').expect("who is in has joined").replace("dr", "");
        assert!(pairs.is_empty() || pairs == "d", "player {}: {kinds}", self.player);
        assert!(!kinds.contains("dm"), "player {} spoke while away: {kinds}", self.player);
        assert_eq!(left, self.has_left, "player {}: {kinds}", self.player);
        assert!(left || pairs.is_empty() == self.link.is_some(), "player {}: {kinds}", self.player);
    }
}

async fn freeze(rooms: &Rooms) {
    get(rooms, "main", "/spoil").await;
    while rooms.status("main").unwrap().state != RoomState::Frozen {
        tokio::task::yield_now().await;
    }
}

async fn check(seed: u64) {
    // Longer than any test: who is away is awaited.
    let options = RoomOptions { away_grace: Duration::from_secs(3600), ..options(1000) };
    let rooms = start_with::<Early>(&options, &Arc::default()).unwrap();
    let versions = [version::<Late>(), version::<Early>()];
    let (mut rng, mut guests, mut swaps, mut is_frozen) = (Rng::new(seed), Vec::<Guest>::new(), 0, false);
    for step in 0..120 {
        if !is_frozen {
            guests.iter_mut().for_each(|guest| guest.sure = guest.sent);
        }
        let guest = guests.len().checked_sub(1).map(|last| usize::try_from(rng.below(last as u64 + 1)).unwrap());
        match (rng.below(20), guest) {
            (0..3, _) | (_, None) if !is_frozen => guests.push(Guest::join(&rooms, step + 1).await),
            (3, Some(guest)) => guests[guest].leave(),
            (4, Some(guest)) => guests[guest].lose(),
            (5..7, Some(guest)) => guests[guest].resume(&rooms).await,
            (7, _) if is_frozen => {
                swap_for_good(&rooms, &versions[swaps % 2]).await.unwrap();
                (swaps, is_frozen) = (swaps + 1, false);
            }
            (7, _) => {
                freeze(&rooms).await;
                is_frozen = true;
            }
            (_, Some(guest)) => guests[guest].say(),
            (_, None) => {}
        }
    }
    if is_frozen {
        swap_for_good(&rooms, &versions[swaps % 2]).await.unwrap();
    }
    guests.iter_mut().for_each(|guest| guest.sure = guest.sent);
    let log = get(&rooms, "main", "/log").await;
    guests.iter().for_each(|guest| guest.check(&log));
    let shown = rooms.players("main").await.unwrap();
    for guest in &guests {
        let shown = shown.iter().find(|shown| shown.player == guest.player.0);
        let expected = (!guest.has_left).then_some((guest.link.is_some(), guest.sure));
        assert_eq!(shown.map(|shown| (shown.connected, shown.consumed)), expected, "player {}", guest.player);
    }
}

#[tokio::test]
async fn nothing_is_lost_or_out_of_order_however_often_a_room_freezes() {
    for seed in 0..60 {
        println!("seed {seed}");
        check(seed).await;
    }
}

#[tokio::test]
async fn whoever_joins_in_the_middle_of_a_swap_that_thaws_is_told_so() {
    let names = ["main", "held"].iter().filter_map(|name| RoomName::parse(name)).collect();
    let rooms = start_with::<Early>(&RoomOptions { names, ..options(1000) }, &Arc::default()).unwrap();
    freeze(&rooms).await;
    let swapping = tokio::spawn({
        let rooms = rooms.clone();
        async move { swap_for_good(&rooms, &version::<Late>()).await.map(drop).map_err(|error| error.to_string()) }
    });
    tokio::task::spawn_blocking(|| UPGRADE_GATE.until_held()).await.unwrap();
    let admission = rooms.admit("main").await.unwrap();
    let mut joining = Box::pin(admission.join(PlayerId(1), Arc::from([]), Arc::from(""), entry().await));
    // They are told when it is known what becomes of the swap; the room has got to them before.
    assert!(poll_once(&mut joining).is_none());
    assert!(rooms.players("main").await.unwrap().is_empty());
    UPGRADE_GATE.open();
    let refused = joining.await.unwrap_err();
    assert!(matches!(refused, RoomError::Swapping { .. }), "{refused:?}");
    assert_eq!(refused.to_string(), "the room main is taking a new version; try again");
    assert_eq!(refused.close_code(), CloseCode::Failed, "they may come back");
    assert_eq!(swapping.await.unwrap(), Ok(()));
    Guest::join(&rooms, 1).await;
}
