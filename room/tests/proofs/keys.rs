//! What a logic may do to keys without bringing an index out of step: even the clumsiest must not end the process.

use crate::support::{Driver, ON_PURPOSE};
use crate::zoo::{Facts, Kind, Pair, Zoo, on, try_on};
use logic_api::prelude::*;
use logic_api::{RejectedReason, RowMut};
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};

fn pair(key: u64, code: u64) -> Pair {
    Pair::build(Facts { key, code, value: key % 20 })
}

fn fill(zoo: &mut Zoo, rows: u64) -> Vec<Id<Pair>> {
    (0..rows).map(|key| zoo.pairs.insert(pair(key, key))).collect()
}

#[track_caller]
fn all_found(zoo: &Zoo, keys: impl Iterator<Item = u64>) {
    for key in keys {
        assert_eq!(Pair::by_key(&zoo.pairs, key).map(|(_, row)| row.read().key), Some(key));
    }
}

/// Rows enough to make an index grow from its smallest page to several of the largest.
const MANY: u64 = if cfg!(miri) { 200 } else { 6000 };

#[test]
fn an_insert_that_fails_in_one_index_may_have_grown_another() {
    let mut room = Driver::new::<Zoo>();
    on(&mut room, |zoo, _| {
        zoo.pairs.insert(pair(0, 0));
        for key in 1..MANY {
            let rejected = zoo.pairs.try_insert(pair(MANY + key, 0)).unwrap_err();
            assert_eq!(rejected.reason, RejectedReason::Duplicate { column: "code".into() });
            all_found(zoo, [0, key / 2, key - 1].into_iter());
            zoo.pairs.insert(pair(key, key));
        }
        all_found(zoo, 0..MANY);
    });
}

#[test]
fn keys_of_all_rows_change_while_all_guards_live() {
    let mut room = Driver::new::<Zoo>();
    on(&mut room, |zoo, _| {
        for rows in [1, 156, 157, 2496, 2497, 5000].into_iter().filter(|rows| *rows <= MANY) {
            zoo.pairs.clear();
            fill(zoo, rows);
            let mut guards: Vec<RowMut<'_, Pair>> = zoo.pairs.iter_mut().collect();
            for guard in &mut guards {
                let Facts { key, code, value } = guard.read();
                guard.write(Facts { key: key + 100_000, code: code + 100_000, value });
            }
            drop(guards);
            all_found(zoo, 100_000..100_000 + rows);
            assert!(zoo.pairs.find(0).is_none());
        }
        zoo.pairs.clear();
    });
}

#[test]
fn two_rows_exchange_their_keys() {
    let mut room = Driver::new::<Zoo>();
    on(&mut room, |zoo, _| {
        fill(zoo, 2);
        let mut rows = zoo.pairs.iter_mut();
        let (mut one, mut two) = (rows.next().unwrap(), rows.next().unwrap());
        std::mem::swap(&mut *one, &mut *two);
        drop((one, two));
        let order: Vec<u64> = zoo.pairs.iter().map(|row| row.read().key).collect();
        assert_eq!(order, [1, 0]);
        all_found(zoo, 0..2);
    });
}

#[test]
fn a_leaked_guard_costs_no_more_than_an_index_made_anew() {
    let mut room = Driver::new::<Zoo>();
    on(&mut room, |zoo, _| {
        let ids = fill(zoo, MANY);
        let mut leaked = zoo.pairs.get_mut(ids[7]).unwrap();
        leaked.write(Facts { key: 1_000_000, code: 7, value: 1 });
        forget(leaked);
        // Its old value is no row's, and its new one is not known.
        assert!(zoo.pairs.find(7).is_none() && zoo.pairs.find(1_000_000).is_none());
        let twin = zoo.pairs.insert(pair(1_000_000, 1_000_000));
        assert_eq!(zoo.pairs.remove(ids[7]).map(|row| row.read().key), Some(1_000_000));
        all_found(zoo, (0..MANY).filter(|key| *key != 7).chain([1_000_000]));
        assert_eq!(zoo.pairs.remove(twin).map(|row| row.read().key), Some(1_000_000));
        // And where the key is written once more, and told this time.
        let mut leaked = zoo.pairs.get_mut(ids[9]).unwrap();
        leaked.write(Facts { key: 2_000_000, code: 9, value: 1 });
        forget(leaked);
        zoo.pairs.get_mut(ids[9]).unwrap().write(Facts { key: 9, code: 9, value: 9 });
        all_found(zoo, (0..MANY).filter(|key| *key != 7));
        zoo.pairs.clear();
        assert_eq!(zoo.pairs.len(), 0);
    });
}

#[test]
fn a_caught_panic_leaves_the_index_up_to_date() {
    let mut room = Driver::new::<Zoo>();
    on(&mut room, |zoo, _| {
        fill(zoo, 10);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let mut row = zoo.pairs.find_mut(3).unwrap();
            row.write(Facts { key: 33, code: 33, value: 0 });
            panic!("{ON_PURPOSE}");
        }));
        assert!(caught.is_err());
        assert!(zoo.pairs.find(3).is_none());
        all_found(zoo, [33].into_iter());
        // A duplicate that nobody hears of.
        let caught = catch_unwind(AssertUnwindSafe(|| zoo.pairs.find_mut(4).unwrap().write(pair(5, 44).read())));
        assert!(caught.is_err());
        zoo.pairs.retain(|row| row.read().key != 5);
        assert_eq!(zoo.pairs.len(), 8);
        zoo.pairs.clear();
    });
}

#[test]
fn a_key_that_another_row_has_is_a_fault_and_nothing_else() {
    let mut room = Driver::new::<Zoo>();
    on(&mut room, |zoo, _| drop(fill(zoo, 10)));
    let before = room.hash();
    let error = try_on(&mut room.room.twin(), 9, |zoo, _| zoo.pairs.find_mut(4).unwrap().write(pair(5, 4).read()));
    let text = error.unwrap_err().to_string();
    assert!(text.ends_with("Pair: another row has this value of the unique column number 0"), "{text}");
    assert_eq!(room.hash(), before);
}

#[test]
fn inserting_a_key_twice_says_which_column() {
    let mut room = Driver::new::<Zoo>();
    let error = try_on(&mut room.room, 9, |zoo, _| {
        fill(zoo, 1);
        zoo.pairs.insert(pair(1, 0));
    });
    let text = error.unwrap_err().to_string();
    assert!(text.ends_with("Pair not inserted: another row has this value of the unique column `code`"), "{text}");
}
