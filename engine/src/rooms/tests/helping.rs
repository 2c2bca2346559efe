//! Who does the work of a thread of rooms.

use std::time::Duration;

use logic_api::prelude::{Ctx, Logic, One, PlayerId, World, logic};

use super::hearing::Far;
use super::{State, get, start};

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
