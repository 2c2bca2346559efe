//! A version on trial in rooms on their threads.

use super::*;
use crate::rooms::{Failure, FailureKind, Full, Told};
use crate::status::NewRoom;

/// As `Second`, but that it fails where it is told to, and that its ticks may take long.
#[derive(World, Debug)]
struct OnTrial {
    state: One<State>,
}

#[logic(linked)]
impl Logic for OnTrial {
    fn request(&mut self, _ctx: &mut Ctx, request: &logic_api::Request) -> logic_api::Response {
        self.state.count += 1;
        assert!(request.path != "/fail", "told to fail");
        logic_api::Response::text(format!("OnTrial {}", self.state.count))
    }

    fn tick(&mut self, ctx: &mut Ctx) {
        // Longer than the period of a room of a hundred ticks a second.
        if ctx.room() == "slow" {
            let begun = std::time::Instant::now();
            while begun.elapsed() < Duration::from_millis(15) {}
        }
    }

    fn upgraded(&mut self, ctx: &mut Ctx, _from: Version) {
        assert!(ctx.room() != "unfit", "not in here");
        self.state.count += 100;
    }
}

async fn on_trial<L: Logic>(rooms: &Rooms) -> Arc<Swap> {
    let swap = swap_all::<L>(rooms).await;
    assert_eq!(swap.told(), None);
    swap
}

async fn swap_all<L: Logic>(rooms: &Rooms) -> Arc<Swap> {
    let swap = Swap::new(version::<L>(), TrialId(7), Default::default());
    rooms.swap_all(&swap).await.unwrap();
    swap
}

#[tokio::test]
async fn a_fault_is_told_and_every_room_goes_back_with_what_came_since() {
    let rooms = start::<First>(0).unwrap();
    assert_eq!(all(&rooms).await, ["First 1", "First 1", "First 1"]);
    let swap = on_trial::<OnTrial>(&rooms).await;
    assert_eq!(all(&rooms).await, ["OnTrial 102", "OnTrial 102", "OnTrial 102"]);
    get(&rooms, "b", "/fail").await;
    let told = swap.until_told().await;
    let Told::Failure(Failure { room, kind: FailureKind::Fault(fault) }) = &told else { panic!("{told:?}") };
    assert_eq!((room.as_str(), fault.callback, fault.message.as_str()), ("b", "request", "told to fail"));
    // The first is what counts.
    get(&rooms, "c", "/fail").await;
    assert_eq!(swap.told(), Some(told));

    let rewound = rooms.rewind_all().await;
    let rewound: Vec<_> = rewound.iter().map(|(room, of)| (room.as_str(), of.inputs, of.lost)).collect();
    assert_eq!(rewound, [("main", 1, 0), ("b", 1, 0), ("c", 1, 0)]);
    assert_eq!(all(&rooms).await, ["First 3", "First 3", "First 3"]);
    swap_for_good(&rooms, &version::<Second>()).await.unwrap();
}

#[tokio::test]
async fn what_is_confirmed_has_nothing_to_tell_any_more() {
    let rooms = start::<First>(0).unwrap();
    let swap = on_trial::<OnTrial>(&rooms).await;
    rooms.confirm_all().await;
    get(&rooms, "main", "/fail").await;
    assert_eq!((swap.told(), all(&rooms).await), (None, ["OnTrial 101"; 3].map(str::to_owned)));
}

#[tokio::test]
async fn a_room_that_is_opened_during_a_trial_goes_back_like_the_others() {
    let rooms = start::<First>(0).unwrap();
    let swap = on_trial::<OnTrial>(&rooms).await;
    rooms.open(&named("late")).await.unwrap();
    assert_eq!(get(&rooms, "late", "/").await, "OnTrial 101");
    assert_eq!((swap.told(), rooms.rewind_all().await.len()), (None, 4));
    assert_eq!(get(&rooms, "late", "/").await, "First 2");

    on_trial::<OnTrial>(&rooms).await;
    rooms.open(&named("later")).await.unwrap();
    rooms.confirm_all().await;
    rooms.open(&named("last")).await.unwrap();
    assert_eq!(get(&rooms, "later", "/").await, "OnTrial 101");
    assert_eq!(get(&rooms, "last", "/").await, "OnTrial 1", "created on what was confirmed");
}

#[tokio::test]
async fn a_version_that_does_not_take_a_room_that_is_opened_has_failed() {
    let rooms = start::<First>(0).unwrap();
    let swap = on_trial::<OnTrial>(&rooms).await;
    rooms.open(&named("unfit")).await.unwrap();
    assert_eq!(get(&rooms, "unfit", "/").await, "First 1");
    let Some(Told::Failure(failure)) = swap.told() else { panic!("it was told") };
    let expected =
        "in the room unfit: it was opened, and could not be swapped: version 1000 failed in upgraded at tick 0, ";
    assert!(failure.to_string().starts_with(expected), "{failure}");
    assert_eq!(rooms.rewind_all().await.len(), 3, "there was nothing to rewind in that room");
}

#[tokio::test]
async fn a_room_that_is_closed_during_a_trial_stays_closed() {
    let rooms = start::<First>(0).unwrap();
    on_trial::<OnTrial>(&rooms).await;
    rooms.close("b", None).await.unwrap();
    let rewound = rooms.rewind_all().await;
    assert_eq!(rewound.iter().map(|(room, _)| room.as_str()).collect::<Vec<_>>(), ["main", "c"]);
    assert_eq!(get(&rooms, "main", "/").await, "First 1");
}

#[tokio::test]
async fn a_version_that_is_too_slow_for_its_ticks_has_failed() {
    let rooms = start::<First>(0).unwrap();
    rooms.open(&NewRoom { tick_hz: Some(100), ..named("slow") }).await.unwrap();
    // What it tells may be there as soon as it is swapped.
    let swap = swap_all::<OnTrial>(&rooms).await;
    let Told::Failure(failure) = swap.until_told().await else { panic!("nothing else is wrong") };
    assert_eq!(
        failure.to_string(),
        "in the room slow: 10 ticks in a row took longer than their period, as none had before"
    );
    rooms.rewind_all().await;
}

#[tokio::test]
async fn a_version_that_is_as_slow_as_the_one_before_has_not_failed() {
    let rooms = start::<OnTrial>(0).unwrap();
    rooms.open(&NewRoom { tick_hz: Some(1000), ..named("slow") }).await.unwrap();
    let ticks = || rooms.status("slow").unwrap().tick;
    while ticks() < 50 {
        tokio::task::yield_now().await;
    }
    let swap = on_trial::<OnTrial>(&rooms).await;
    let before = ticks();
    while ticks() < before + 50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(swap.told(), None);
}

#[tokio::test]
async fn a_failure_counts_before_a_full_room_and_the_first_of_each() {
    let swap = Swap::new(version::<OnTrial>(), TrialId(7), Default::default());
    swap.is_full("a", 7);
    assert_eq!(swap.until_told().await, Told::Full(Full { room: "a".to_owned(), inputs: 7 }));
    for room in ["b", "c"] {
        swap.failed(room, FailureKind::Overruns(10));
    }
    let failure = Failure { room: "b".to_owned(), kind: FailureKind::Overruns(10) };
    assert_eq!(swap.told(), Some(Told::Failure(failure)));
}
