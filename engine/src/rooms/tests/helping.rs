//! Who does the work of a thread of rooms.

use std::time::{Duration, Instant};

use logic_api::prelude::{Ctx, Logic, One, PlayerId, World, logic};

use super::hearing::Far;
use super::{Gate, State, get, poll_once, start};

/// Answers each message and each request with the name of the thread that it is done by.
#[derive(World, Debug)]
struct Tells {
    state: One<State>,
}

#[logic(linked)]
impl Logic for Tells {
    fn message(&mut self, ctx: &mut Ctx, _player: PlayerId, _bytes: &[u8]) {
        self.state.count += 1;
        let thread = std::thread::current();
        ctx.reply(format!("{} by {}", self.state.count, thread.name().unwrap_or_default()).as_bytes());
    }

    fn request(&mut self, _ctx: &mut Ctx, _request: &logic_api::Request) -> logic_api::Response {
        logic_api::Response::text(std::thread::current().name().unwrap_or_default())
    }
}

#[tokio::test]
async fn messages_are_the_helpers_and_requests_the_threads() {
    let rooms = start::<Tells>(0).unwrap();
    let mut player = Far::join(&rooms, "main", 1).await;
    assert!(player.hear().await.starts_with("joined "));
    for _ in 0..3 {
        // The thread does it where it is awake anyhow.
        while !player.ask(b"").await.ends_with("by players-0") {}
        assert_eq!(get(&rooms, "main", "/").await, "rooms-0");
    }
}

#[tokio::test]
async fn order_stays_whoever_does_the_work() {
    const MESSAGES: usize = 2000;
    let rooms = start::<Tells>(1000).unwrap();
    let mut player = Far::join(&rooms, "main", 1).await;
    assert!(player.hear().await.starts_with("joined "));
    let asking = tokio::spawn({
        let rooms = rooms.clone();
        async move {
            for _ in 0..100 {
                get(&rooms, "main", "/").await;
            }
        }
    });
    for _ in 0..MESSAGES {
        player.say(b"");
    }
    for number in 1..=MESSAGES {
        let heard = player.hear().await;
        assert!(heard.starts_with(&format!("{number} by ")), "{heard}; expected {number}");
    }
    asking.await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(60), rooms.end()).await.unwrap());
}

/// Two that hold the room up, and between them one that takes longer than the period of a tick.
static GATES: [Gate; 2] = [Gate::new(), Gate::new()];

/// Tells everybody of each tick, and whether it came after the long request.
#[derive(World, Debug)]
struct Slow {
    state: One<State>,
}

#[logic(linked)]
impl Logic for Slow {
    fn tick(&mut self, ctx: &mut Ctx) {
        ctx.broadcast(if self.state.count == 0 { b"early" } else { b"late" });
    }

    fn request(&mut self, _ctx: &mut Ctx, request: &logic_api::Request) -> logic_api::Response {
        match request.path {
            "/first" => GATES[0].wait(),
            "/long" => {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(5) {}
                self.state.count += 1;
            }
            _ => GATES[1].wait(),
        }
        logic_api::Response::text("done")
    }
}

#[tokio::test]
async fn what_a_tick_says_does_not_wait_for_the_rest_of_the_batch() {
    let rooms = start::<Slow>(1000).unwrap();
    let mut player = Far::join(&rooms, "main", 1).await;
    let asked = ["/first", "/long", "/last"].map(|path| Box::pin(get(&rooms, "main", path)));
    let [mut first, mut long, mut last] = asked;
    assert_eq!(poll_once(&mut first), None);
    tokio::task::spawn_blocking(|| GATES[0].until_held()).await.unwrap();
    // Both in one batch, for the thread is held up.
    assert_eq!((poll_once(&mut long), poll_once(&mut last)), (None, None));
    GATES[0].open();
    tokio::task::spawn_blocking(|| GATES[1].until_held()).await.unwrap();
    let heard = async { while player.hear().await != "late" {} };
    let is_heard = tokio::time::timeout(Duration::from_secs(60), heard).await.is_ok();
    GATES[1].open();
    assert!(is_heard, "the tick between two requests is heard of while the second is under way");
    assert_eq!(last.await, "done");
}
