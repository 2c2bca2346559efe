//! `query` reads, and that is all it can do.

use crate::game::Old;
use crate::support::{Driver, get, join, message};
use room::Room;

#[test]
fn a_query_cannot_make_text() {
    let mut room = Driver::new::<Old>();
    room.must(join(1));
    room.must(crate::support::signal("long enough to be kept"));
    let before = (room.hash(), room.room.seq());
    for path in ["/query-makes-text", "/query-writes-text", "/query-panics"] {
        let fault = room.room.query(&get(path)).unwrap_err();
        assert_eq!(fault.callback, "query");
    }
    assert_eq!((room.hash(), room.room.seq()), before);
    assert!(room.room.frozen().is_none());
    assert!(room.room.query(&get("/dump")).unwrap().is_some());
    assert!(room.room.query(&get("/else")).unwrap().is_none(), "left to `request`");
}

#[test]
fn a_frozen_room_still_answers_queries() {
    let mut room = Driver::new::<Old>();
    room.must(join(1));
    room.must(message(1, &[crate::game::order::BOMB, 0, 0]));
    room.fault(room::Input::Tick);
    assert!(room.room.query(&get("/dump")).unwrap().is_some());
}

#[test]
fn rooms_and_forks_go_from_thread_to_thread() {
    fn goes<T: Send>() {}
    goes::<Room>();
    goes::<room::World>();
    goes::<room::Pool>();
}
