//! Tables against plain collections: random writes on a world and on its forks, which must not see each other.

use crate::snapshots::restored;
use crate::support::{Driver, for_seeds, linked};
use crate::zoo::{Facts, Kind, Zoo, try_on};
use logic_api::prelude::*;
use logic_api::{RejectedReason, RowMut};
use room::{Pool, Room};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What a table must hold.
#[derive(Debug, Clone)]
struct Model<T> {
    /// By slot, which is the order of iteration.
    rows: BTreeMap<u32, (Id<T>, Facts)>,
    keys: BTreeSet<u64>,
    codes: BTreeSet<u64>,
    free: BTreeSet<u32>,
    /// Ids of rows that are gone.
    dead: Vec<Id<T>>,
    key_max: u64,
}

impl<T> Model<T> {
    fn new(key_max: u64) -> Self {
        Self {
            rows: BTreeMap::new(),
            keys: BTreeSet::new(),
            codes: BTreeSet::new(),
            free: BTreeSet::new(),
            dead: Vec::new(),
            key_max,
        }
    }

    fn pick(&self, rng: &mut Rng) -> Option<(Id<T>, Facts)> {
        let at = usize::try_from(rng.below(self.rows.len().max(1) as u64)).unwrap();
        self.rows.values().nth(at).map(|(id, facts)| (*id, *facts))
    }
}

fn slot_of<T>(id: Id<T>) -> u32 {
    id.to_bits() as u32
}

impl<T: Kind> Model<T> {
    fn random_facts(&self, rng: &mut Rng) -> Facts {
        let key = if T::HAS_KEY { rng.below(self.key_max) } else { 0 };
        let code = if T::HAS_CODE { rng.below(self.key_max) } else { 0 };
        Facts { key, code, value: rng.below(20) }
    }

    fn has_key(&self, key: u64) -> bool {
        T::HAS_KEY && self.keys.contains(&key)
    }

    fn has_code(&self, code: u64) -> bool {
        T::HAS_CODE && self.codes.contains(&code)
    }

    fn insert(&mut self, table: &mut Table<T>, facts: Facts) {
        let expected = match (self.has_key(facts.key), self.has_code(facts.code)) {
            (true, _) => Some("key"),
            (false, true) => Some("code"),
            (false, false) => None,
        };
        match table.try_insert(T::build(facts)) {
            Ok(id) => {
                assert_eq!(expected, None);
                let lowest = self.free.pop_first();
                match lowest {
                    Some(lowest) => assert_eq!(slot_of(id), lowest, "a new row takes the lowest free slot"),
                    None => assert!(self.rows.last_key_value().is_none_or(|(last, _)| slot_of(id) > *last)),
                }
                assert!(!self.dead.contains(&id));
                assert!(self.put(id, facts).is_none());
            }
            Err(rejected) => {
                assert_eq!(rejected.row.read(), facts, "the row comes back");
                let RejectedReason::Duplicate { column } = rejected.reason else { panic!("{}", rejected.reason) };
                let column = if column == "name" { "code" } else { column.as_str() };
                assert_eq!(Some(column), expected);
            }
        }
    }

    fn put(&mut self, id: Id<T>, facts: Facts) -> Option<Facts> {
        let old = self.rows.insert(slot_of(id), (id, facts)).map(|(_, old)| old);
        if let Some(old) = old {
            self.keys.remove(&old.key);
            self.codes.remove(&old.code);
        }
        self.keys.insert(facts.key);
        self.codes.insert(facts.code);
        old
    }

    fn forget(&mut self, id: Id<T>) {
        let (_, facts) = self.rows.remove(&slot_of(id)).unwrap();
        self.keys.remove(&facts.key);
        self.codes.remove(&facts.code);
        self.free.insert(slot_of(id));
        self.dead.push(id);
    }

    fn remove(&mut self, table: &mut Table<T>, rng: &mut Rng) {
        if let Some((id, facts)) = self.pick(rng) {
            let removed = match T::HAS_KEY && rng.chance(0.5) {
                true => T::remove_by_key(table, facts.key),
                false => table.remove(id),
            };
            assert_eq!(removed.map(|row| row.read()), Some(facts));
            assert!(table.remove(id).is_none() && table.get(id).is_none() && table.get_mut(id).is_none());
            self.forget(id);
        }
    }

    fn write(&mut self, table: &mut Table<T>, rng: &mut Rng) {
        let Some((id, old)) = self.pick(rng) else { return };
        let new = self.random_facts(rng);
        if (new.key != old.key && self.has_key(new.key)) || (new.code != old.code && self.has_code(new.code)) {
            return;
        }
        let mut row = table.get_mut(id).unwrap();
        assert_eq!(row.id(), id);
        row.write(new);
        assert_eq!(row.read(), new);
        drop(row);
        self.put(id, new);
    }

    /// Shifts every key while the guards of all rows live, and lets them go in a random order.
    fn shift(&mut self, table: &mut Table<T>, rng: &mut Rng) {
        let by = 1 + rng.below(1000);
        let mut rows: Vec<RowMut<'_, T>> = table.iter_mut().collect();
        for (row, (id, facts)) in rows.iter_mut().zip(self.rows.values_mut()) {
            assert_eq!(row.id(), *id);
            if T::HAS_KEY {
                facts.key = facts.key.wrapping_add(by << 20) & 0xFFFF_FFFF;
            }
            facts.value = (facts.value + 1) % 20;
        }
        if T::HAS_CODE {
            for (code, (_, facts)) in self.rows.values_mut().enumerate() {
                facts.code = (by << 14) + code as u64;
            }
        }
        self.keys = self.rows.values().map(|(_, facts)| facts.key).collect();
        self.codes = self.rows.values().map(|(_, facts)| facts.code).collect();
        for (row, (_, facts)) in rows.iter_mut().zip(self.rows.values()) {
            row.write(*facts);
        }
        rng.shuffle(&mut rows);
        rows.into_iter().for_each(drop);
    }

    fn retain(&mut self, table: &mut Table<T>, rng: &mut Rng) {
        let (modulus, rest) = (2 + rng.below(5), rng.below(2));
        table.retain(|row| row.read().value % modulus != rest);
        let gone: Vec<Id<T>> =
            self.rows.values().filter(|(_, facts)| facts.value % modulus == rest).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.forget(id));
    }

    fn clear(&mut self, table: &mut Table<T>) {
        table.clear();
        assert!(table.is_empty() && table.iter().next().is_none());
        let gone: Vec<Id<T>> = self.rows.values().map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.forget(id));
    }

    fn look(&self, table: &Table<T>, rng: &mut Rng) {
        if let Some((id, facts)) = self.pick(rng) {
            assert_eq!(table.get(id).map(Kind::read), Some(facts));
            assert!(!T::HAS_KEY || T::by_key(table, facts.key).map(|(id, row)| (id, row.read())) == Some((id, facts)));
            assert!(
                !T::HAS_CODE || T::by_code(table, facts.code).map(|(id, row)| (id, row.read())) == Some((id, facts))
            );
        }
        let facts = self.random_facts(rng);
        assert_eq!(T::by_key(table, facts.key).is_some(), self.has_key(facts.key));
        assert_eq!(T::by_code(table, facts.code).is_some(), self.has_code(facts.code));
        if let Some(dead) = rng.pick(&self.dead) {
            assert!(!table.contains(*dead));
        }
        let forged = Id::<T>::from_bits(rng.next_u64() & 0xFFFF_0003_FFFF);
        let is_live = self.rows.get(&slot_of(forged)).is_some_and(|(id, _)| *id == forged);
        assert_eq!(table.contains(forged), is_live);
    }

    fn compare(&self, table: &Table<T>) {
        assert_eq!(table.len(), self.rows.len());
        let found: Vec<(Id<T>, Facts)> = table.entries().map(|(id, row)| (id, row.read())).collect();
        let expected: Vec<(Id<T>, Facts)> = self.rows.values().copied().collect();
        assert!(found == expected, "{found:?}\nis not\n{expected:?}");
        assert!(table.iter().map(Kind::read).eq(expected.iter().map(|(_, facts)| *facts)));
        assert!(self.dead.iter().rev().take(50).all(|id| !table.contains(*id)));
    }

    fn step(&mut self, table: &mut Table<T>, rng: &mut Rng, rows_max: u64) {
        match rng.below(100) {
            0..30 if (self.rows.len() as u64) < rows_max => {
                for _ in 0..=rng.below(rows_max / 4 + 1).min(rng.below(400) + 1) {
                    let facts = self.random_facts(rng);
                    self.insert(table, facts);
                }
            }
            30..50 => (0..=rng.below(10)).for_each(|_| self.remove(table, rng)),
            50..75 => (0..=rng.below(10)).for_each(|_| self.write(table, rng)),
            75..79 => self.shift(table, rng),
            79..82 => self.retain(table, rng),
            82 => self.clear(table),
            83..96 => self.look(table, rng),
            _ => self.compare(table),
        }
    }
}

#[derive(Debug, Clone)]
struct Zookeeper {
    tiny: Model<crate::zoo::Tiny>,
    pairs: Model<crate::zoo::Pair>,
    large: Model<crate::zoo::Large>,
    largest: Model<crate::zoo::Largest>,
    padded: Model<crate::zoo::Padded>,
    named: Model<crate::zoo::Named>,
    shelves: Model<crate::zoo::Shelf>,
}

impl Zookeeper {
    fn new() -> Self {
        let (tiny, largest) = (Model::new(1), Model::new(1));
        let (pairs, named, shelves) = (Model::new(9000), Model::new(300), Model::new(90));
        let (large, padded) = (Model::new(300), Model::new(3000));
        Self { tiny, pairs, large, largest, padded, named, shelves }
    }

    fn step(&mut self, zoo: &mut Zoo, rng: &mut Rng) {
        let scale = if cfg!(miri) { 20 } else { 1 };
        match rng.below(7) {
            0 => self.tiny.step(&mut zoo.tiny, rng, 3000 / scale),
            1 => self.pairs.step(&mut zoo.pairs, rng, 4000 / scale),
            2 => self.large.step(&mut zoo.large, rng, 200 / scale),
            3 => self.largest.step(&mut zoo.largest, rng, 12),
            4 => self.padded.step(&mut zoo.padded, rng, 1000 / scale),
            5 => self.named.step(&mut zoo.named, rng, 150 / scale),
            _ => self.shelves.step(&mut zoo.shelves, rng, 60 / scale),
        }
    }

    fn compare(&self, zoo: &Zoo) {
        self.tiny.compare(&zoo.tiny);
        self.pairs.compare(&zoo.pairs);
        self.large.compare(&zoo.large);
        self.largest.compare(&zoo.largest);
        self.padded.compare(&zoo.padded);
        self.named.compare(&zoo.named);
        self.shelves.compare(&zoo.shelves);
    }
}

/// A room, what it must hold, and the seeds that brought it there.
struct World {
    room: Room,
    keeper: Zookeeper,
    history: Vec<u64>,
}

impl World {
    fn new(pool: &Pool) -> Self {
        let room = Driver::with(&linked::<Zoo>(), pool, b"").room;
        Self { room, keeper: Zookeeper::new(), history: Vec::new() }
    }

    fn run(&mut self, seed: u64) {
        self.history.push(seed);
        let keeper = Rc::new(RefCell::new(self.keeper.clone()));
        let shared = keeper.clone();
        let run = move |zoo: &mut Zoo, _: &mut Ctx<'_>| {
            let mut rng = Rng::new(seed);
            for _ in 0..=rng.below(8) {
                shared.borrow_mut().step(zoo, &mut rng);
            }
        };
        if let Err(error) = try_on(&mut self.room, self.history.len() as u64, run) {
            panic!("{error}");
        }
        self.keeper = keeper.take_inner();
    }

    fn compare(&mut self) {
        let keeper = self.keeper.clone();
        let compared = try_on(&mut self.room, 0, move |zoo, _| keeper.compare(zoo));
        compared.unwrap_or_else(|error| panic!("{error}"));
    }

    fn fork(&mut self) -> Self {
        Self { room: self.room.twin(), keeper: self.keeper.clone(), history: self.history.clone() }
    }
}

trait TakeInner<T> {
    fn take_inner(self) -> T;
}

impl<T: Clone> TakeInner<T> for Rc<RefCell<T>> {
    fn take_inner(self) -> T {
        self.borrow().clone()
    }
}

fn simulate(seed: u64, steps: u64) {
    let mut rng = Rng::new(seed);
    let pool = Pool::new();
    let mut worlds = vec![World::new(&pool)];
    let mut droppers = Vec::new();
    for _ in 0..steps {
        let at = usize::try_from(rng.below(worlds.len() as u64)).unwrap();
        match rng.below(100) {
            0..70 => worlds[at].run(rng.next_u64()),
            70..80 if worlds.len() < 5 => {
                let mut fork = worlds[at].fork();
                if rng.chance(0.5) {
                    assert_eq!(fork.room.state_hash(), worlds[at].room.state_hash());
                }
                worlds.push(fork);
            }
            80..86 if worlds.len() > 1 => {
                let world = worlds.swap_remove(at);
                match rng.chance(0.5) {
                    true => drop(world),
                    false => droppers.push(std::thread::spawn(move || drop(world.room))),
                }
            }
            86..90 => {
                // A room may go on on another thread, between two inputs.
                let mut world = worlds.swap_remove(at);
                let seed = rng.next_u64();
                let thread = std::thread::spawn(move || {
                    world.run(seed);
                    world
                });
                worlds.push(thread.join().unwrap());
            }
            90..94 => worlds[at].room = restored(&mut worlds[at].room, &pool),
            94..97 => {
                let hash = worlds[at].room.state_hash();
                assert_eq!(worlds[at].room.state_hash(), hash);
            }
            _ => worlds[at].compare(),
        }
    }
    droppers.into_iter().for_each(|thread| thread.join().unwrap());
    for world in &mut worlds {
        world.compare();
        // The same history in one go, without forks and without a hash in between.
        let mut again = World::new(&pool);
        world.history.iter().for_each(|seed| again.run(*seed));
        assert_eq!(world.room.state_hash(), again.room.state_hash());
        again.run(seed);
        again.compare();
    }
    drop(worlds);
    assert_eq!(pool.used_bytes(), 0, "every page went back");
}

#[test]
fn tables_and_forks_agree_with_plain_collections() {
    let (seeds, steps) = if cfg!(miri) { (1, 20) } else { (24, 100) };
    for_seeds(seeds, |seed| simulate(seed, steps));
}

#[test]
fn a_write_on_one_side_of_a_fork_changes_one_hash() {
    let mut one = World::new(&Pool::new());
    (0..10).for_each(|seed| one.run(seed));
    let mut two = one.fork();
    let before = one.room.state_hash();
    assert_eq!(two.room.state_hash(), before);
    try_on(&mut two.room, 0, |zoo, _| zoo.tiny.insert(Kind::build(Facts { key: 0, code: 0, value: 1 }))).unwrap();
    assert_ne!(two.room.state_hash(), before);
    assert_eq!(one.room.state_hash(), before);
    assert!(one.room.world().pages_shared_with(two.room.world()) > 0);
}
