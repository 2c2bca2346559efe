//! A swap tried on the bytes of a room: what comes out is what the swap of the room comes to.

use crate::game::{New, Old, PanicsWhenUpgraded, order};
use crate::schema::{one, room_of, two};
use crate::support::{self, Driver, join, linked, stamp};
use room::plan::RewriteError;
use room::{Input, LogicFault, LogicVersion, Outbox, Pool, Rehearsal, Room};
use std::sync::Arc;

fn rehearsal(room: &mut Room) -> Rehearsal {
    let mut bytes = Vec::new();
    room.image().expect("no swap is on trial").write(&mut bytes).unwrap();
    Rehearsal::read(&mut &*bytes, &Pool::new()).unwrap()
}

fn migrated(room: &mut Room, to: &Arc<LogicVersion>, bytes_max: usize) -> Result<Rehearsal, RewriteError> {
    let (mut tried, changes) = (rehearsal(room), room.logic().changes().clone());
    assert!(tried.changes_tables(to));
    let mut tables = Vec::new();
    tried.migrate(&changes, to, &Arc::default(), stamp(9), bytes_max, &mut |table| tables.push(table.to_owned()))?;
    assert_eq!(tables, ["game", "heroes"], "those that are not rewritten have no migrations");
    Ok(tried)
}

#[test]
fn a_rehearsal_comes_to_what_the_swap_comes_to() {
    let mut room = Driver::new::<Old>();
    room.must(join(1));
    room.must(support::message(1, &[order::NOTE, 40, 1]));
    let to = linked::<New>();
    let tried = rehearsal(&mut room.room);
    assert!(!tried.changes_tables(&to));
    let mut tried = tried.upgrade(&to, stamp(9)).unwrap();
    room.room.step(stamp(9), Input::swap(to), &mut Outbox::new()).unwrap();
    assert_eq!(tried.state_hash(), room.hash());
    let known = |room: &Room| (room.logic().version(), room.tick(), room.seq(), room.now_us());
    assert_eq!(known(&tried), known(&room.room));
}

#[test]
fn so_it_does_where_tables_change() {
    for rows in [0, 100, 3_000] {
        let mut room = room_of(rows);
        let to = linked::<two::World>();
        let mut tried = migrated(room.room(), &to, usize::MAX).unwrap().upgrade(&to, stamp(9)).unwrap();
        room.room().step(stamp(9), Input::swap(to), &mut Outbox::new()).unwrap();
        assert_eq!(tried.state_hash(), room.room().state_hash(), "{rows} rows");
    }
}

#[test]
fn what_is_wrong_is_found_and_the_room_sees_nothing_of_it() {
    let mut room = Driver::new::<Old>();
    room.must(join(1));
    let before = room.hash();
    let fault = rehearsal(&mut room.room).upgrade(&linked::<PanicsWhenUpgraded>(), stamp(9)).unwrap_err();
    let LogicFault { version, callback, .. } = fault;
    assert_eq!((version.0, callback), (1003, "upgraded"));
    assert_eq!(room.hash(), before);

    let mut room = room_of(100);
    let error = migrated(room.room(), &linked::<two::World>(), 10).unwrap_err();
    assert_eq!(error, RewriteError::Memory { bytes_max: 10 });
    let mut room = room_of(100).swap::<two::World>().unwrap();
    let error = migrated(room.room(), &linked::<one::World>(), usize::MAX).unwrap_err();
    assert!(error.to_string().starts_with("Avatar.number: u64 -> u32 would lose values"), "{error}");
}
