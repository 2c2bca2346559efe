//! Padding carries no state: whatever is in it, the world is the same.

use crate::support::{Driver, get};
use logic_api::prelude::*;
use std::cell::Cell;

#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
struct Inner {
    small: u8,
    wide: u32,
}

/// Padding after `small`, inside each of `list` and `opt`, and at the end.
#[derive(Row, Debug)]
#[repr(C)]
struct Padded {
    small: u8,
    wide: u64,
    list: List<Inner, 2>,
    opt: Opt<u16>,
    last: u8,
}

#[derive(World, Debug)]
struct Loose {
    rows: Table<Padded>,
}

thread_local! {
    static DIRT: Cell<u8> = const { Cell::new(0) };
}

/// A row that is made where other bytes were before. Not inlined, so that it has a place in memory.
#[inline(never)]
fn on_dirty_stack<R>(run: impl FnOnce() -> R) -> R {
    let dirt = [DIRT.get(); 4096];
    std::hint::black_box(&dirt);
    run()
}

#[inline(never)]
fn row(number: u8) -> Padded {
    let inner = Inner { small: number, wide: number.into() };
    let list = List::try_from(&[inner][..]).unwrap();
    Padded { small: number, wide: number.into(), list, opt: Some(7).into(), last: number }
}

#[logic(linked)]
impl Logic for Loose {
    fn tick(&mut self, ctx: &mut Ctx) {
        let number = ctx.tick().0 as u8;
        let id = on_dirty_stack(|| self.rows.insert(row(number)));
        on_dirty_stack(|| *self.rows.get_mut(id).unwrap() = row(number));
        if number.is_multiple_of(3) {
            let oldest = self.rows.entries().next().unwrap().0;
            self.rows.remove(oldest);
        }
    }
    fn query(&self, _request: &Request) -> Option<Response> {
        Some(Response::text(format!("{:?}", self.rows)))
    }
}

#[test]
fn what_is_in_padding_changes_no_hash() {
    let mut rooms = [0x00, 0xAA, 0xFF].map(|dirt| {
        DIRT.set(dirt);
        let mut room = Driver::new::<Loose>();
        (0..40).for_each(|_| room.tick());
        room
    });
    let hashes = rooms.each_mut().map(Driver::hash);
    assert_eq!(hashes, [hashes[0]; 3]);
    let contents = rooms.each_mut().map(|room| room.room.query(&get("/")).unwrap().unwrap().body);
    assert_eq!(contents[0], contents[1]);
}

#[test]
fn rows_are_read_without_their_padding() {
    DIRT.set(0xAA);
    let mut room = Driver::new::<Loose>();
    room.tick();
    let rows: Vec<Vec<u8>> = room.room.world().rows("rows").map(|row| row.to_vec()).collect();
    let mut expected = vec![0; size_of::<Padded>()];
    // small, wide, list (length, first item), opt, last
    (expected[0], expected[8], expected[16], expected[20], expected[24]) = (1, 1, 1, 1, 1);
    (expected[36], expected[38], expected[40]) = (1, 7, 1);
    assert_eq!(rows, [expected]);
}
