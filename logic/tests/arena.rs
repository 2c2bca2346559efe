//! The arena in the test kit.

use logic::Arena;
use room::Request;
use room::testing::TestRoom;

#[test]
fn hello_tells_who_answers_and_who_did_before() {
    let mut room = TestRoom::<Arena>::new();
    let mut hello = || String::from_utf8(room.get("/hello").body).unwrap();
    let greeting = "hello test, this is rust plugin test!, version=1000, name=logic";
    assert_eq!(hello(), format!("{greeting}, oldversion=0, oldName=\n"));
    assert_eq!(hello(), format!("{greeting}, oldversion=1000, oldName=logic\n"));
}

#[test]
fn hello_answers_head_as_get() {
    let ask = |method: &str| {
        let request = Request { method: method.into(), path: "/hello".into(), ..Request::default() };
        TestRoom::<Arena>::new().request(request)
    };
    assert_eq!(ask("HEAD"), ask("GET"));
    assert_eq!((ask("HEAD").status, ask("POST").status), (200, 404));
}

#[test]
fn an_unknown_path_is_not_found() {
    assert_eq!(TestRoom::<Arena>::new().get("/nothing").status, 404);
}

#[test]
fn players_come_steer_and_go() {
    let mut room = TestRoom::<Arena>::new();
    let (ann, bob) = (room.join(b"ann"), room.join(b"bob"));
    let before = room.room().state_hash();
    room.tick();
    assert_eq!(room.room().state_hash(), before, "nobody steers, nothing moves");
    room.send(ann, &[127, 0]);
    room.tick();
    assert_ne!(room.room().state_hash(), before);
    room.leave(ann);
    room.leave(bob);
    assert_eq!(room.room().world().size().rows, 1, "only the greeting is left");
}
