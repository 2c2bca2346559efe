//! Rooms that are opened, filled, locked and closed while the others run.

use std::sync::Arc;
use std::time::Duration;

use logic_api::PlayerId;
use room::LogicVersion;
use tokio::net::{TcpListener, TcpStream};

use super::{
    CREATE_GATE, First, LATE_GATE, SAID, SWAP_GATE, Second, get, named, options, poll_once, start, start_with,
    swap_for_good, version,
};
use crate::metrics::Metrics;
use crate::rooms::{Admission, Entry, RoomError, RoomName, RoomOptions, Rooms};
use crate::sessions::Link;
use crate::status::{NewRoom, RoomChange, RoomState};

fn names(rooms: &Rooms) -> Vec<String> {
    rooms.statuses().into_iter().map(|status| status.name).collect()
}

/// What the rooms of these names said, in the order in which they did.
fn said(names: &[&str]) -> Vec<String> {
    let said = SAID.lock().unwrap();
    said.iter().filter(|line| names.iter().any(|name| line.starts_with(&format!("{name}: ")))).cloned().collect()
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

/// By a connection to nowhere.
pub(super) async fn entry() -> Entry {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    // Far longer than a test takes.
    let patience = Duration::from_secs(3600);
    Entry { link: Link::to(connected, Metrics::new().sessions()), token: Arc::from(""), patience }
}

async fn join_saying(admission: Admission, player: u64, hello: &[u8]) -> Result<(), RoomError> {
    admission.join(PlayerId(player), hello.into(), Arc::from(""), entry().await).await.map(drop)
}

async fn join(admission: Admission, player: u64) -> Result<(), RoomError> {
    join_saying(admission, player, b"hello").await
}

/// What `admit` says, in the words of its error.
async fn refusal(rooms: &Rooms, wanted: &str) -> String {
    rooms.admit(wanted).await.unwrap_err().to_string()
}

fn on_demand(players_max: usize) -> RoomOptions {
    // Far longer than a test takes.
    RoomOptions { on_demand: true, players_max, linger: Duration::from_secs(3600), ..options(0) }
}

#[tokio::test]
async fn a_room_is_opened_found_and_closed() {
    let metrics = Arc::<Metrics>::default();
    let rooms = start_with::<First>(&options(0), &metrics).unwrap();
    let config = NewRoom { config: Some("12345".to_owned()), tick_hz: Some(7), ..named("duel") };
    let status = rooms.open(&config).await.unwrap();
    assert_eq!((status.name.as_str(), status.id, status.tick_hz, status.players_max), ("duel", 4, 7, 100));
    assert_eq!(get(&rooms, "duel", "/").await, "First 6", "the length of its config, and this request");
    assert_eq!(names(&rooms), ["main", "b", "c", "duel"]);
    let taken = rooms.open(&named("duel")).await.unwrap_err().to_string();
    assert_eq!(taken, "there is a room duel already; give another name, or none for one that is made up");
    let text = metrics.render();
    assert!(text.contains("hotseat_rooms 4\n") && text.contains("room=\"duel\""), "{text}");

    rooms.close("duel", None).await.unwrap();
    assert_eq!(names(&rooms), ["main", "b", "c"]);
    assert_eq!(said(&["duel"]), ["duel: terminate 0", "duel: dispose"]);
    assert_eq!(get(&rooms, "duel", "/").await, "there is no room \"duel\"; there are main, b, c");
    let text = metrics.render();
    assert!(text.contains("hotseat_rooms 3\n") && text.contains("hotseat_rooms_closed_total 1\n"), "{text}");
    assert!(!text.contains("duel"), "{text}");

    // The name is free, the number is not.
    assert_eq!(rooms.open(&named("duel")).await.unwrap().id, 6);
    assert_eq!(get(&rooms, "duel", "/").await, "First 1");
}

#[tokio::test]
async fn a_room_whose_create_fails_was_never_there() {
    let metrics = Arc::<Metrics>::default();
    let rooms = start_with::<First>(&options(0), &metrics).unwrap();
    let refused = NewRoom { config: Some("no".to_owned()), ..named("picky") };
    let error = rooms.open(&refused).await.unwrap_err().to_string();
    assert!(error.starts_with("the room picky cannot be made: version 1000 failed in create at tick 0, "), "{error}");
    assert!(error.ends_with(": this config is not for me"), "{error}");
    assert_eq!(names(&rooms), ["main", "b", "c"]);
    assert!(!metrics.render().contains("picky"));
    rooms.open(&named("picky")).await.unwrap();
}

#[tokio::test]
async fn what_is_not_accepted_is_told() {
    let rooms = start::<First>(0).unwrap();
    let check = async |new: NewRoom, expected: &str| {
        let error = rooms.open(&new).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{expected} is not accepted; accepted is ")), "{error}");
    };
    check(named("A"), "name = \"A\"").await;
    check(named(""), "name = \"\"").await;
    check(NewRoom { label: Some("a b".to_owned()), ..NewRoom::default() }, "label = \"a b\"").await;
    check(NewRoom { label: Some("x".repeat(64)), ..NewRoom::default() }, "label = 64 bytes").await;
    check(NewRoom { players_max: Some(0), ..NewRoom::default() }, "players_max = 0").await;
    check(NewRoom { tick_hz: Some(1001), ..NewRoom::default() }, "tick_hz = 1001").await;
    check(NewRoom { linger_ms: Some(1), ..NewRoom::default() }, "linger_ms = 1").await;
    let config = Some("x".repeat((64 << 10) + 1));
    check(NewRoom { config, ..NewRoom::default() }, "config = 65537 bytes").await;
    let change = RoomChange { players_max: Some(65_537), locked: Some(true), ..RoomChange::default() };
    rooms.change("main", &change).unwrap_err();
    assert!(!rooms.status("main").unwrap().locked, "half a change is none");
    assert_eq!(names(&rooms), ["main", "b", "c"]);
}

#[tokio::test]
async fn rooms_without_a_name_get_one_and_go_to_the_thread_with_the_fewest() {
    let rooms = start::<First>(0).unwrap();
    rooms.open(&named("room-6")).await.unwrap();
    let duel = NewRoom { label: Some("duel".to_owned()), ..NewRoom::default() };
    assert_eq!(rooms.open(&duel).await.unwrap().name, "duel-5");
    assert_eq!(rooms.open(&NewRoom::default()).await.unwrap().name, "room-7", "6 is taken");
    let threads: Vec<_> = rooms.0.registry.places().iter().map(|place| place.thread).collect();
    assert_eq!(threads, [0, 1, 0, 1, 0, 1]);
    rooms.close("b", None).await.unwrap();
    rooms.open(&named("b")).await.unwrap();
    assert_eq!(rooms.0.registry.find("b").unwrap().thread, 1);
}

#[tokio::test]
async fn a_room_that_is_opened_during_a_swap_runs_what_the_swap_leaves() {
    let rooms = start::<First>(0).unwrap();
    let held = tokio::spawn({
        let rooms = rooms.clone();
        async move { get(&rooms, "main", "/hold").await }
    });
    tokio::task::spawn_blocking(|| SWAP_GATE.until_held()).await.unwrap();
    let second = version::<Second>();
    let mut swap = Box::pin(swap_for_good(&rooms, &second));
    assert!(poll_once(&mut swap).is_none(), "main is held up");
    until(|| Arc::ptr_eq(&rooms.logics()[1].1, &second.logic)).await;
    // The other thread is idle, and would have the room at once.
    let late = named("late");
    let mut opening = Box::pin(rooms.open(&late));
    for _ in 0..100 {
        assert!(poll_once(&mut opening).is_none(), "no room is opened while others are swapped");
        tokio::task::yield_now().await;
    }
    SWAP_GATE.open();
    swap.await.unwrap();
    opening.await.unwrap();
    assert_eq!(held.await.unwrap(), "First 1");
    assert_eq!(
        get(&rooms, "late", "/").await,
        "Second 101",
        "created before the verdict, and so on the version from before"
    );
}

#[tokio::test]
async fn a_room_that_is_made_too_late_is_gone_before_its_name_is_free() {
    let rooms = start::<First>(0).unwrap();
    let slow = NewRoom { config: Some("slowly".to_owned()), ..named("slow") };
    let (name, wishes) = rooms.wishes(&slow).unwrap();
    let to_open = rooms.0.registry.begin(name.as_ref(), None).unwrap();
    let mut making = Box::pin(rooms.make_in_turn(to_open, wishes));
    assert!(poll_once(&mut making).is_none());
    tokio::task::spawn_blocking(|| CREATE_GATE.until_held()).await.unwrap();
    // As when it has taken too long.
    drop(making);
    let taken = |error: &RoomError| matches!(error, RoomError::BeingMade { name } if name == "slow");
    let error = rooms.open(&named("slow")).await.unwrap_err();
    assert!(taken(&error), "the thread is still at it: {error}");
    CREATE_GATE.open();
    while let Err(error) = rooms.open(&named("slow")).await {
        assert!(taken(&error), "{error}");
    }
    assert_eq!(get(&rooms, "slow", "/").await, "First 1", "the second one has no config");
    assert!(rooms.end().await);
    let said = SAID.lock().unwrap();
    assert_eq!(said.iter().filter(|line| *line == "slow: dispose").count(), 2, "{said:?}");
}

#[tokio::test]
async fn whoever_has_waited_too_long_is_not_left_in_the_room() {
    let rooms = start::<First>(0).unwrap();
    let held = tokio::spawn({
        let rooms = rooms.clone();
        async move { get(&rooms, "main", "/late").await }
    });
    tokio::task::spawn_blocking(|| LATE_GATE.until_held()).await.unwrap();
    let come = |room: &'static str, player: u64, patience: Duration| {
        let rooms = rooms.clone();
        tokio::spawn(async move {
            let entry = Entry { patience, ..entry().await };
            let admission = rooms.admit(room).await.unwrap();
            admission.join(PlayerId(player), Arc::from([]), Arc::from(""), entry).await.map(drop)
        })
    };
    // One room does not get to it; the other does, but says nothing until all rooms are swapped.
    let error = come("main", 1, Duration::from_millis(1)).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the room main did not get to it within 1 ms");
    let second = version::<Second>();
    let mut swap = Box::pin(swap_for_good(&rooms, &second));
    assert!(poll_once(&mut swap).is_none(), "main is held up");
    until(|| Arc::ptr_eq(&rooms.logics()[1].1, &second.logic)).await;
    // Far longer than that room takes to get to it.
    let late = come("b", 2, Duration::from_secs(3));
    while !late.is_finished() && rooms.players("b").await.unwrap().is_empty() {}
    assert!(!late.is_finished() && rooms.players("b").await.unwrap().len() == 1);
    assert_eq!(late.await.unwrap().unwrap_err().close_code(), wire::CloseCode::Failed);
    while !rooms.players("b").await.unwrap().is_empty() {}
    LATE_GATE.open();
    swap.await.unwrap();
    held.await.unwrap();
    assert!(rooms.players("main").await.unwrap().is_empty());
    join(rooms.admit("main").await.unwrap(), 3).await.unwrap();
    assert_eq!(rooms.status("main").unwrap().players, 1, "no seat is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_room_is_left_on_an_old_version() {
    let rooms = start::<First>(0).unwrap();
    let versions = [version::<First>(), version::<Second>()];
    let comings = (0..8).map(|number| {
        let rooms = rooms.clone();
        tokio::spawn(async move {
            for round in 0..20 {
                let name = format!("{number}-{round}");
                rooms.open(&named(&name)).await.unwrap();
                if round % 2 == 0 {
                    rooms.close(&name, None).await.unwrap();
                }
            }
        })
    });
    let comings: Vec<_> = comings.collect();
    for round in 0..40 {
        swap_for_good(&rooms, &versions[round % 2]).await.unwrap();
        tokio::task::yield_now().await;
    }
    for coming in comings {
        coming.await.unwrap();
    }
    let check = |expected: &Arc<LogicVersion>| {
        let logics = rooms.logics();
        assert_eq!(logics.len(), 3 + 80);
        for (name, logic) in logics {
            assert!(Arc::ptr_eq(&logic, expected), "{name}");
        }
    };
    check(&versions[1].logic);
    swap_for_good(&rooms, &versions[0]).await.unwrap();
    check(&versions[0].logic);
}

#[tokio::test]
async fn players_find_a_room_by_name_by_label_or_any() {
    let rooms = start::<First>(0).unwrap();
    let duel = |name: &str| NewRoom { label: Some("duel".to_owned()), players_max: Some(2), ..named(name) };
    rooms.open(&duel("d1")).await.unwrap();
    rooms.open(&duel("d2")).await.unwrap();
    let found = async |wanted: &str| rooms.admit(wanted).await.map(|admission| admission.room().to_string());
    assert_eq!(found("").await.unwrap(), "main");
    assert_eq!(found("d2").await.unwrap(), "d2");
    assert_eq!(found("*").await.unwrap(), "main", "the oldest");
    assert_eq!(found("*duel").await.unwrap(), "d1");

    join(rooms.admit("*duel").await.unwrap(), 1).await.unwrap();
    let on_the_way = rooms.admit("*duel").await.unwrap();
    assert_eq!(on_the_way.room().as_str(), "d1");
    assert_eq!(found("*duel").await.unwrap(), "d2", "a seat that is kept is not free");
    assert_eq!(refusal(&rooms, "d1").await, "the room d1 is full: it has 2 seats");
    drop(on_the_way);
    assert_eq!(found("d1").await.unwrap(), "d1");

    let locked = |locked| RoomChange { locked: Some(locked), ..RoomChange::default() };
    assert!(rooms.change("d1", &locked(true)).unwrap().locked);
    assert_eq!(refusal(&rooms, "d1").await, "the room d1 is locked");
    rooms.change("d2", &RoomChange { label: Some(String::new()), ..RoomChange::default() }).unwrap();
    assert_eq!(refusal(&rooms, "*duel").await, "no room labelled duel has a free seat");
    rooms.change("d1", &locked(false)).unwrap();
    assert_eq!(found("*duel").await.unwrap(), "d1");

    assert_eq!(refusal(&rooms, "d3").await, "there is no room \"d3\"; there are main, b, c, d1, d2");
    let malformed = refusal(&rooms, "**").await;
    assert!(malformed.starts_with("room = \"**\" is not accepted; accepted is a name of 1 to 64 of "), "{malformed}");
}

#[tokio::test]
async fn who_is_refused_by_the_logic_leaves_the_seat_free() {
    let rooms = start::<First>(0).unwrap();
    rooms.change("main", &RoomChange { players_max: Some(1), ..RoomChange::default() }).unwrap();
    let admission = rooms.admit("main").await.unwrap();
    let refused = join_saying(admission, 1, b"no").await.unwrap_err();
    assert_eq!(refused.to_string(), "the logic refused the player: not you");
    assert_eq!(refused.close_code(), wire::CloseCode::Refused);
    join(rooms.admit("main").await.unwrap(), 1).await.unwrap();
    assert_eq!(rooms.admit("main").await.unwrap_err().close_code(), wire::CloseCode::NoPlace);
    rooms.leave("main", PlayerId(1), "done".into()).await.unwrap();
    join(rooms.admit("main").await.unwrap(), 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_players_does_not_overfill() {
    let rooms = start_with::<First>(&RoomOptions { players_max: 50, ..options(0) }, &Arc::default()).unwrap();
    let storm = (1..=400).map(|player| {
        let rooms = rooms.clone();
        tokio::spawn(async move { join(rooms.admit("*").await?, player).await })
    });
    let storm: Vec<_> = storm.collect();
    let mut joined = 0;
    for player in storm {
        match player.await.unwrap() {
            Ok(()) => joined += 1,
            Err(error) => assert!(matches!(error, RoomError::NoneFree { label: None }), "{error}"),
        }
    }
    assert_eq!(joined, 150);
    assert_eq!(rooms.statuses().iter().map(|room| room.players).collect::<Vec<_>>(), [50, 50, 50]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_on_demand_are_as_many_as_are_needed() {
    let rooms = start_with::<First>(&on_demand(10), &Arc::default()).unwrap();
    let storm = (1..=100).map(|player| {
        let rooms = rooms.clone();
        tokio::spawn(async move {
            let wanted = if player <= 50 { "*duel" } else { "party" };
            join(rooms.admit(wanted).await?, player).await
        })
    });
    let storm: Vec<_> = storm.collect();
    let mut refused = 0;
    for player in storm {
        refused += usize::from(player.await.unwrap().is_err());
    }
    assert_eq!(refused, 40, "one party of 10 seats for 50");
    let statuses = rooms.statuses();
    let of_label = |label: Option<&str>| {
        let rooms = statuses.iter().skip(3).filter(|room| room.label.as_deref() == label);
        rooms.map(|room| room.players).collect::<Vec<_>>()
    };
    assert_eq!(of_label(Some("duel")), [10; 5]);
    assert_eq!(of_label(None), [10], "the party");
    rooms.change("party", &RoomChange { locked: Some(true), ..RoomChange::default() }).unwrap();
    assert_eq!(refusal(&rooms, "party").await, "the room party is locked", "no second one is opened for it");
}

#[tokio::test]
async fn a_room_goes_when_it_is_empty_if_it_was_opened_so() {
    let rooms = start::<First>(0).unwrap();
    let brief = |name: &str| NewRoom { dispose_when_empty: true, ..named(name) };
    let slow = NewRoom { linger_ms: Some(3_600_000), ..brief("slow") };
    rooms.open(&slow).await.unwrap();
    rooms.open(&brief("never-used")).await.unwrap();
    until(|| names(&rooms) == ["main", "b", "c", "slow"]).await;

    rooms.open(&NewRoom { linger_ms: Some(3_600_000), ..brief("used") }).await.unwrap();
    join(rooms.admit("used").await.unwrap(), 1).await.unwrap();
    rooms.leave("used", PlayerId(1), "done".into()).await.unwrap();
    assert_eq!(names(&rooms), ["main", "b", "c", "slow", "used"], "it lingers");
    assert_eq!(said(&["never-used", "used", "slow"]), ["never-used: terminate 0", "never-used: dispose"]);
}

#[tokio::test]
async fn a_room_does_not_go_under_those_who_are_on_the_way() {
    let options = RoomOptions { linger: Duration::ZERO, ..on_demand(10) };
    let rooms = start_with::<First>(&options, &Arc::default()).unwrap();
    let admission = rooms.admit("nest").await.unwrap();
    for _ in 0..100 {
        assert_eq!(get(&rooms, "nest", "/").await.split(' ').next(), Some("First"));
    }
    join(admission, 1).await.unwrap();
    assert_eq!(rooms.status("nest").unwrap().players, 1);
    rooms.leave("nest", PlayerId(1), "done".into()).await.unwrap();
    until(|| rooms.status("nest").is_err()).await;
}

#[tokio::test]
async fn every_room_ticks_at_its_own_rate_while_others_come_and_go() {
    let rooms = start::<First>(1000).unwrap();
    rooms.open(&NewRoom { tick_hz: Some(0), ..named("still") }).await.unwrap();
    let ticks = |name: &str| rooms.status(name).unwrap().tick;
    for round in 0..3 {
        rooms.open(&NewRoom { tick_hz: Some(500), ..named("half") }).await.unwrap();
        let before = ["main", "b", "c"].map(ticks);
        until(|| ticks("half") >= 20).await;
        for (name, before) in ["main", "b", "c"].iter().zip(before) {
            // However late, for what is missed is skipped; but each has had its turns.
            until(|| ticks(name) >= before + 20).await;
        }
        rooms.close("half", None).await.unwrap();
        assert_eq!(ticks("still"), 0, "round {round}");
    }
}

#[tokio::test]
async fn players_have_a_grace_before_their_room_goes() {
    let rooms = start::<First>(1000).unwrap();
    for (name, player) in [("g1", 1), ("g2", 2)] {
        rooms.open(&named(name)).await.unwrap();
        join(rooms.admit(name).await.unwrap(), player).await.unwrap();
        let mut closing = Box::pin(rooms.close(name, Some(60_000)));
        assert!(poll_once(&mut closing).is_none());
        let kept = get(&rooms, name, "/").await;
        assert_eq!(kept, "First 1", "it goes on");
        let status = rooms.status(name).unwrap();
        assert_eq!((status.state, status.players), (RoomState::Ending, 1));
        until(|| rooms.status(name).unwrap().tick > status.tick + 2).await;
        assert_eq!(refusal(&rooms, name).await, format!("the room {name} is ending"));
        assert_eq!(said(&[name]), [format!("{name}: terminate 60000")]);
        // Over early: because nobody is left to wait for, or because somebody wants it so.
        match player {
            1 => rooms.leave(name, PlayerId(1), "done".into()).await.unwrap(),
            _ => rooms.close(name, Some(0)).await.unwrap(),
        }
        closing.await.unwrap();
        assert_eq!(said(&[name]), [format!("{name}: terminate 60000"), format!("{name}: dispose")]);
    }
}

#[tokio::test]
async fn the_end_terminates_and_disposes_of_every_room_after_its_grace() {
    let names = ["e1", "e2", "e3"];
    let all = names.iter().filter_map(|name| RoomName::parse(name)).collect();
    let options = RoomOptions { names: all, terminate_grace: Duration::from_millis(30), ..options(0) };
    let rooms = start_with::<First>(&options, &Arc::default()).unwrap();
    assert_eq!(rooms.default_room().as_str(), "e1", "main is not among them");
    join(rooms.admit("").await.unwrap(), 1).await.unwrap();
    assert!(rooms.end().await);
    let mut said = said(&names);
    assert_eq!(said.pop().unwrap(), "e1: dispose", "the only one with a grace");
    said.sort();
    assert_eq!(said, ["e1: terminate 30", "e2: dispose", "e2: terminate 0", "e3: dispose", "e3: terminate 0"]);
    let error = rooms.open(&named("late")).await.unwrap_err().to_string();
    assert_eq!(error, "the room late has ended");
}
