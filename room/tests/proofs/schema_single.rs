//! A table that becomes a `One`, which reads its row in the first slot and generation and nowhere else.

use crate::support::{linked, test_room};
use logic_api::prelude::*;
use room::Input;
use room::testing::TestRoom;

#[derive(Debug, Row, Default)]
#[repr(C)]
struct Game {
    round: u16,
    map: Text,
}

#[derive(Debug, World)]
struct Many {
    games: Table<Game>,
}

#[logic(linked, version = 1)]
impl Logic for Many {
    fn signal(&mut self, _ctx: &mut Ctx, name: &str, _bytes: &[u8]) {
        match name {
            "add" => drop(self.games.insert(Game { round: 3, map: Text::new("hill") })),
            "remove" => {
                let first = self.games.entries().next().map(|(id, _)| id);
                self.games.remove(first.unwrap()).unwrap();
            }
            other => panic!("on purpose: {other}"),
        }
    }
}

#[derive(Debug, World)]
struct Single {
    #[world(was = "games")]
    game: One<Game>,
}

#[logic(linked, version = 2)]
impl Logic for Single {
    fn signal(&mut self, _ctx: &mut Ctx, _name: &str, _bytes: &[u8]) {
        self.game.round += 1;
        self.game.map = Text::new("moor");
    }
}

fn room_after(signals: &[&str]) -> TestRoom<Many> {
    let mut room = test_room(b"");
    signals.iter().for_each(|name| room.signal(name, b""));
    room
}

/// The row that the `One` has then.
#[track_caller]
fn check(signals: &[&str], expected: (u16, &str)) {
    let mut room = room_after(signals);
    let before = room.room().state_hash();
    room.step(Input::swap(linked::<Single>())).unwrap();
    room.step(Input::rewind()).unwrap();
    assert_eq!(room.room().state_hash(), before);
    let mut room = room.swap::<Single>().unwrap();
    room.read(|world| assert_eq!((world.game.round, &*world.game.map), expected));
    room.signal("on", b"");
    room.read(|world| assert_eq!((world.game.round, &*world.game.map), (expected.0 + 1, "moor")));
    assert_eq!(room.room().world().size().heap_bytes, "moor".len() as u64);
}

#[test]
fn a_table_with_one_row_becomes_a_one() {
    check(&["add"], (3, "hill"));
}

#[test]
fn a_table_without_rows_becomes_a_one_with_its_default() {
    check(&[], (0, ""));
}

#[test]
fn a_table_whose_rows_have_gone_becomes_a_one_with_its_default() {
    check(&["add", "remove"], (0, ""));
    check(&["add", "add", "remove", "remove"], (0, ""));
}

#[test]
fn a_table_with_other_rows_is_refused() {
    let refused = |signals: &[&str], rows: &str| {
        let mut room = room_after(signals);
        let before = room.room().state_hash();
        let error = room.step(Input::swap(linked::<Single>())).unwrap_err();
        let what = "a One needs one row, the first that the table ever had";
        assert_eq!(error.to_string(), format!("the tables cannot be carried over: game: the table has {rows}; {what}"));
        assert_eq!(room.room().state_hash(), before);
    };
    refused(&["add", "add"], "2 rows");
    // Only one is left, but ids name it where it is.
    refused(&["add", "add", "remove"], "1 row");
    refused(&["add", "remove", "add"], "1 row");
}
