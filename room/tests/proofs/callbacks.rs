//! What a callback can ask of its `Ctx`.

use crate::support::{Driver, for_seeds, get, join, message, signal, stamp, test_room};
use logic_api::prelude::*;
use room::{Input, Output, Reply, StepError};
use std::time::Duration;

#[derive(Row, Debug, Default)]
#[repr(C)]
struct Seen {
    room: Str<16>,
    now_us: u64,
    tick: u64,
    players: List<PlayerId, 8>,
    numbers: [u64; 3],
    last: Str<16>,
}

#[derive(World, Debug)]
struct Witness {
    seen: One<Seen>,
}

impl Witness {
    fn see(&mut self, ctx: &mut Ctx, callback: &str) {
        self.seen.room = Str::truncated(ctx.room());
        self.seen.now_us = u64::try_from(ctx.now().as_micros()).unwrap();
        self.seen.tick = ctx.tick().0;
        self.seen.players = List::try_from(ctx.players()).unwrap();
        self.seen.numbers = std::array::from_fn(|_| ctx.rng().next_u64());
        self.seen.last = Str::truncated(callback);
    }
}

#[logic(linked)]
impl Logic for Witness {
    fn create(&mut self, ctx: &mut Ctx, config: &[u8]) {
        assert!(config.is_empty());
        self.see(ctx, "create");
    }
    fn join_attempt(&self, ctx: &Ctx, player: PlayerId, join: &Join) -> Admission {
        assert!(!ctx.players().contains(&player) && !ctx.is_connected(player), "they are not in yet");
        if join.claims.contains("banned") {
            return Admission::Refuse(join.claims.into());
        }
        Admission::Accept
    }
    fn join(&mut self, ctx: &mut Ctx, player: PlayerId, _join: &Join) {
        assert!(ctx.players().contains(&player) && ctx.is_connected(player));
        self.see(ctx, "join");
    }
    fn drop(&mut self, ctx: &mut Ctx, player: PlayerId) {
        assert!(ctx.players().contains(&player) && !ctx.is_connected(player), "they may be back");
        self.see(ctx, "drop");
    }
    fn reconnect(&mut self, ctx: &mut Ctx, player: PlayerId) {
        assert!(ctx.is_connected(player));
        self.see(ctx, "reconnect");
    }
    fn leave(&mut self, ctx: &mut Ctx, player: PlayerId, reason: &str) {
        assert!(!ctx.players().contains(&player) && reason == "bored");
        self.see(ctx, "leave");
    }
    fn message(&mut self, ctx: &mut Ctx, player: PlayerId, bytes: &[u8]) {
        self.see(ctx, "message");
        ctx.reply(b"reply");
        ctx.send(player, bytes);
        ctx.send(PlayerId(99), b"nobody");
        ctx.broadcast(b"all");
        ctx.broadcast_except(player, b"others");
        ctx.kick(player, "enough");
        ctx.log("a line");
    }
    fn tick(&mut self, ctx: &mut Ctx) {
        self.see(ctx, "tick");
    }
    fn request(&mut self, ctx: &mut Ctx, request: &Request) -> Response {
        self.see(ctx, "request");
        let text = format!("{} {} {:?}", request.method, request.path, request.param("a b"));
        let status = request.header("x-status").and_then(|text| text.parse().ok()).unwrap_or(200);
        Response::text(text).status(status).header("x-more", "1")
    }
    fn signal(&mut self, ctx: &mut Ctx, name: &str, _bytes: &[u8]) {
        self.see(ctx, name);
    }
    fn terminate(&mut self, ctx: &mut Ctx, grace: Duration) {
        assert_eq!(grace, Duration::from_millis(1500));
        self.see(ctx, "terminate");
    }
    fn dispose(&mut self, ctx: &mut Ctx) {
        self.see(ctx, "dispose");
    }
    fn query(&self, _request: &Request) -> Option<Response> {
        let Seen { room, now_us, tick, players, numbers, last } = &*self.seen;
        Some(Response::text(format!("{room} {now_us} {tick} {players:?} {numbers:?} {last}")))
    }
}

fn seen(driver: &mut Driver) -> String {
    String::from_utf8(driver.room.query(&get("/")).unwrap().unwrap().body).unwrap()
}

#[test]
fn every_callback_sees_its_input_and_nothing_else() {
    let player = PlayerId(4);
    let mut room = Driver::new::<Witness>();
    let reason = "bored".into();
    let inputs = [
        (join(9), "join", "[PlayerId(9)]"),
        (join(4), "join", "[PlayerId(4), PlayerId(9)]"),
        (Input::Drop { player }, "drop", "[PlayerId(4), PlayerId(9)]"),
        (Input::Reconnect { player }, "reconnect", "[PlayerId(4), PlayerId(9)]"),
        (message(4, b""), "message", "[PlayerId(4), PlayerId(9)]"),
        (Input::Tick, "tick", "[PlayerId(4), PlayerId(9)]"),
        (Input::Leave { player, reason }, "leave", "[PlayerId(9)]"),
        (signal("hi"), "hi", "[PlayerId(9)]"),
        (Input::Terminate { grace: Duration::from_millis(1500) }, "terminate", "[PlayerId(9)]"),
        (Input::Dispose, "dispose", "[PlayerId(9)]"),
    ];
    for (input, callback, players) in inputs {
        room.must(input);
        let stamp = stamp(room.inputs);
        let mut rng = Rng::new(stamp.seed);
        let numbers: [u64; 3] = std::array::from_fn(|_| rng.next_u64());
        let tick = room.room.tick();
        assert_eq!(seen(&mut room), format!("proof {} {tick} {players} {numbers:?} {callback}", stamp.now_us));
    }
    assert_eq!(room.room.tick(), Tick(1));
}

#[test]
fn outputs_come_in_the_order_they_were_made() {
    let mut room = Driver::new::<Witness>();
    let player = PlayerId(4);
    room.must(join(4));
    room.must(message(4, b"echo"));
    let send = |to: u64, bytes: &[u8]| Output::Send { to: PlayerId(to), bytes: bytes.into() };
    let broadcast = |except: u64, bytes: &[u8]| Output::Broadcast { except: PlayerId(except), bytes: bytes.into() };
    let kick = Output::Kick { player, reason: "enough".into() };
    let expected =
        [send(4, b"reply"), send(4, b"echo"), send(99, b"nobody"), broadcast(0, b"all"), broadcast(4, b"others"), kick];
    assert_eq!(room.outputs(), expected);
    assert!(room.room.world().players().contains(&player), "who is kicked leaves by an input of its own");
}

#[test]
fn a_request_is_answered_with_what_the_logic_says() {
    let mut room = Driver::new::<Witness>();
    for (asked, status) in [("200", 200), ("99", 99), ("1000", 1000), ("404", 404)] {
        let headers = vec![("x-status".into(), asked.into())];
        let request = room::Request { query: "x=1&a+b=%20c".into(), headers, ..get("/path") };
        let Reply::Response(response) = room.must(Input::Request(request.into())) else { panic!("no response") };
        assert_eq!((response.status, response.body), (status, br#"GET /path Some(" c")"#.to_vec()));
        assert_eq!(response.headers, [("x-more".into(), "1".into())]);
        assert_eq!(response.content_type, "text/plain; charset=utf-8");
    }
}

#[test]
fn what_comes_out_of_order_is_refused() {
    let mut room = Driver::new::<Witness>();
    let player = PlayerId(4);
    let refusal = |room: &mut Driver, input: Input| room.step(input).unwrap_err().to_string();
    assert_eq!(refusal(&mut room, Input::Drop { player }), "player 4 is not in the room");
    assert_eq!(refusal(&mut room, message(4, b"")), "player 4 is not in the room");
    assert_eq!(refusal(&mut room, Input::Skip { player, number: 1 }), "player 4 is not in the room");
    room.must(join(4));
    assert_eq!(refusal(&mut room, join(4)), "player 4 is in the room already");
    assert_eq!(refusal(&mut room, Input::Reconnect { player }), "player 4 has a connection already");
    room.must(Input::Drop { player });
    assert_eq!(refusal(&mut room, Input::Drop { player }), "player 4 has no connection that could be lost");
    let lost = Input::Presence { player, is_connected: false };
    assert_eq!(refusal(&mut room, lost), "player 4 has no connection that could be lost");
}

#[test]
fn a_presence_that_is_only_noted_calls_nothing() {
    let mut room = Driver::new::<Witness>();
    let player = PlayerId(4);
    room.must(join(4));
    let before = seen(&mut room);
    for is_connected in [false, true] {
        room.must(Input::Presence { player, is_connected });
        assert_eq!(room.room.world().player(player).map(|player| player.is_connected), Some(is_connected));
        assert_eq!((seen(&mut room), room.outputs().len()), (before.clone(), 0));
    }
}

#[test]
fn a_number_is_consumed_once() {
    let mut room = Driver::new::<Witness>();
    let player = PlayerId(4);
    room.must(join(4));
    let numbered = |number: u32| Input::Message { player, number, bytes: [].into() };
    for number in [1, 2, 5] {
        room.must(numbered(number));
    }
    room.must(Input::Skip { player, number: 6 });
    let before = (room.hash(), room.room.seq());
    for input in [numbered(5), numbered(6), Input::Skip { player, number: 6 }] {
        let error = room.step(input).unwrap_err();
        assert!(matches!(error, StepError::Consumed { consumed: 6, .. }), "{error}");
    }
    assert_eq!((room.hash(), room.room.seq()), before);
    room.must(numbered(7));
    assert_eq!(room.room.world().player(player), Some(room::Player { id: player, is_connected: true, consumed: 7 }));
}

#[test]
fn presence_and_consumed_numbers_are_state() {
    let mut room = Driver::new::<Witness>();
    let player = PlayerId(4);
    room.must(join(4));
    let hashes = [room.hash(), {
        room.must(Input::Skip { player, number: 1 });
        room.hash()
    }];
    assert_ne!(hashes[0], hashes[1]);
    let mut fork = room.room.fork_world();
    room.must(Input::Drop { player });
    assert_ne!(room.hash(), hashes[1]);
    assert_eq!(fork.state_hash(), hashes[1]);
    assert!(fork.player(player).is_some_and(|player| player.is_connected));
}

#[test]
fn claims_reach_whoever_decides_on_a_join() {
    let mut room = test_room::<Witness>(b"");
    let claims = r#"{"sub":"eve","banned":true}"#;
    assert_eq!(room.try_join_with(b"", claims), Err(claims.to_owned()));
    let ann = room.try_join_with(b"", r#"{"sub":"ann"}"#).unwrap();
    room.drop_connection(ann);
    room.send(ann, b"sent before the connection was lost");
    assert_eq!(room.received(ann), [[0; 0]; 0], "nobody is there to hear");
}

#[test]
fn randomness_is_that_of_the_stamp() {
    for_seeds(3, |seed| {
        let mut rooms = [Driver::new::<Witness>(), Driver::new::<Witness>()];
        for room in &mut rooms {
            room.inputs = seed * 100;
            (0..30).for_each(|_| room.tick());
        }
        let [one, two] = &mut rooms;
        assert_eq!((one.hash(), seen(one)), (two.hash(), seen(two)));
        let before = seen(one);
        one.tick();
        assert_ne!(seen(one), before);
    });
}

#[derive(World, Debug)]
struct Open;

#[logic(linked)]
impl Logic for Open {}

#[test]
fn a_room_takes_as_many_players_as_it_may_and_nobody_is_none() {
    let mut open = test_room::<Open>(b"");
    assert_eq!(open.step(join(0)), Err(StepError::Nobody));
    let most = room::limits::PLAYERS_MAX as u64;
    for player in 1..=most {
        assert_eq!(open.step(join(player)), Ok(Reply::Done));
    }
    assert_eq!(open.step(join(most + 1)), Err(StepError::RoomFull));
    assert_eq!(open.step(join(most)), Err(StepError::AlreadyIn(PlayerId(most))));
    open.leave(PlayerId(1));
    assert_eq!(open.step(join(most + 1)), Ok(Reply::Done));
}
