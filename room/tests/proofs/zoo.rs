//! Rows of every shape, and a logic that runs any closure on tables of them.

use logic_api::prelude::*;
use room::{Input, Room};
use std::cell::RefCell;

use crate::support::Driver;

/// What the model knows of a row: two values that may be unique, and one that the rest of the row is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) key: u64,
    pub(crate) code: u64,
    pub(crate) value: u64,
}

/// A row type as the model sees it.
pub(crate) trait Kind: Row {
    /// Whether `Facts::key`, `Facts::code` are kept in the row, and unique there.
    const HAS_KEY: bool;
    const HAS_CODE: bool;
    fn build(facts: Facts) -> Self;
    fn read(&self) -> Facts;
    fn write(&mut self, facts: Facts);
    fn by_key(_table: &Table<Self>, _key: u64) -> Option<(Id<Self>, &Self)> {
        None
    }
    fn remove_by_key(_table: &mut Table<Self>, _key: u64) -> Option<Self> {
        None
    }
    fn by_code(_table: &Table<Self>, _code: u64) -> Option<(Id<Self>, &Self)> {
        None
    }
}

fn low<const N: usize>(value: u64) -> [u8; N] {
    std::array::from_fn(|at| value.to_le_bytes()[at % 8])
}

/// 4 bytes, no index.
#[derive(Row, Debug, Clone)]
#[repr(C)]
pub(crate) struct Tiny {
    value: u32,
}

impl Kind for Tiny {
    const HAS_KEY: bool = false;
    const HAS_CODE: bool = false;
    fn build(facts: Facts) -> Self {
        Self { value: facts.value as u32 }
    }
    fn read(&self) -> Facts {
        Facts { key: 0, code: 0, value: self.value.into() }
    }
    fn write(&mut self, facts: Facts) {
        *self = Self::build(facts);
    }
}

/// 64 bytes, two indexes.
#[derive(Row, Debug, Clone)]
#[repr(C)]
pub(crate) struct Pair {
    #[row(unique)]
    code: u32,
    rest: [u32; 13],
    #[row(key)]
    key: u64,
}

impl Kind for Pair {
    const HAS_KEY: bool = true;
    const HAS_CODE: bool = true;
    fn build(facts: Facts) -> Self {
        Self { code: facts.code as u32, rest: [facts.value as u32; 13], key: facts.key }
    }
    fn read(&self) -> Facts {
        assert!(self.rest.iter().all(|item| *item == self.rest[0]));
        Facts { key: self.key, code: self.code.into(), value: self.rest[0].into() }
    }
    fn write(&mut self, facts: Facts) {
        (self.key, self.code, self.rest) = (facts.key, facts.code as u32, [facts.value as u32; 13]);
    }
    fn by_key(table: &Table<Self>, key: u64) -> Option<(Id<Self>, &Self)> {
        Some((table.id_of(key)?, table.find(key)?))
    }
    fn remove_by_key(table: &mut Table<Self>, key: u64) -> Option<Self> {
        table.remove_key(key)
    }
    fn by_code(table: &Table<Self>, code: u64) -> Option<(Id<Self>, &Self)> {
        Some((table.id_by(Self::BY_CODE, code as u32)?, table.find_by(Self::BY_CODE, code as u32)?))
    }
}

/// 1000 bytes.
#[derive(Row, Debug, Clone)]
#[repr(C)]
pub(crate) struct Large {
    #[row(key)]
    key: u32,
    rest: [u8; 996],
}

impl Kind for Large {
    const HAS_KEY: bool = true;
    const HAS_CODE: bool = false;
    fn build(facts: Facts) -> Self {
        Self { key: facts.key as u32, rest: [facts.value as u8; 996] }
    }
    fn read(&self) -> Facts {
        assert!(self.rest.iter().all(|item| *item == self.rest[0]));
        Facts { key: self.key.into(), code: 0, value: self.rest[0].into() }
    }
    fn write(&mut self, facts: Facts) {
        *self = Self::build(facts);
    }
    fn by_key(table: &Table<Self>, key: u64) -> Option<(Id<Self>, &Self)> {
        Some((table.id_of(key as u32)?, table.find(key as u32)?))
    }
    fn remove_by_key(table: &mut Table<Self>, key: u64) -> Option<Self> {
        table.remove_key(key as u32)
    }
}

/// 16 KiB, the largest row there may be.
#[derive(Row, Debug, Clone)]
#[repr(C)]
pub(crate) struct Largest {
    rest: [u64; 2048],
}

impl Kind for Largest {
    const HAS_KEY: bool = false;
    const HAS_CODE: bool = false;
    fn build(facts: Facts) -> Self {
        Self { rest: [facts.value; 2048] }
    }
    fn read(&self) -> Facts {
        assert!(self.rest.iter().all(|item| *item == self.rest[0]));
        Facts { key: 0, code: 0, value: self.rest[0] }
    }
    fn write(&mut self, facts: Facts) {
        self.rest.fill(facts.value);
    }
}

/// Padding in the middle, in a nested row, and at the end.
#[derive(Row, Debug, Clone)]
#[repr(C)]
pub(crate) struct Padded {
    small: u8,
    #[row(key)]
    key: u64,
    inner: [Inner; 2],
    last: u8,
}

#[derive(Row, Debug, Clone, Copy, PartialEq)]
#[repr(C)]
struct Inner {
    wide: u32,
    small: u8,
}

impl Kind for Padded {
    const HAS_KEY: bool = true;
    const HAS_CODE: bool = false;
    fn build(Facts { key, value, .. }: Facts) -> Self {
        let inner = Inner { wide: value as u32, small: value as u8 };
        Self { small: value as u8, key, inner: [inner; 2], last: value as u8 }
    }
    fn read(&self) -> Facts {
        let value = u64::from(self.inner[0].wide);
        assert_eq!(self.inner[0], self.inner[1]);
        assert_eq!((self.small, self.last, self.inner[0].small), (value as u8, value as u8, value as u8));
        Facts { key: self.key, code: 0, value }
    }
    fn write(&mut self, facts: Facts) {
        *self = Self::build(facts);
    }
    fn by_key(table: &Table<Self>, key: u64) -> Option<(Id<Self>, &Self)> {
        Some((table.id_of(key)?, table.find(key)?))
    }
    fn remove_by_key(table: &mut Table<Self>, key: u64) -> Option<Self> {
        table.remove_key(key)
    }
}

/// Text and bytes of any length, a unique name, no key.
#[derive(Row, Debug, Clone)]
#[repr(C)]
pub(crate) struct Named {
    story: Text,
    #[row(unique)]
    name: Str<11>,
    bytes: Blob,
}

fn name(code: u64) -> Str<11> {
    Str::try_new(&format!("n{code}")).unwrap()
}

impl Kind for Named {
    const HAS_KEY: bool = false;
    const HAS_CODE: bool = true;
    fn build(facts: Facts) -> Self {
        let mut story = Text::new(&facts.value.to_string());
        story.push_str("!");
        Self { story, name: name(facts.code), bytes: Blob::new(&low::<9>(facts.value)[..(facts.value % 10) as usize]) }
    }
    fn read(&self) -> Facts {
        let value = self.story.strip_suffix('!').unwrap().parse().unwrap();
        assert_eq!(&*self.bytes, &low::<9>(value)[..(value % 10) as usize]);
        Facts { key: 0, code: self.name[1..].parse().unwrap(), value }
    }
    fn write(&mut self, facts: Facts) {
        self.name = name(facts.code);
        self.story.set(&facts.value.to_string());
        self.story.push_str("!");
        self.bytes.set(&low::<9>(facts.value)[..(facts.value % 10) as usize]);
    }
    fn by_code(table: &Table<Self>, code: u64) -> Option<(Id<Self>, &Self)> {
        Some((table.id_by(Self::BY_NAME, name(code))?, table.find_by(Self::BY_NAME, name(code))?))
    }
}

/// An array of texts, 16-byte alignment, 15 bytes of padding at the end and 8 in the middle.
#[derive(Row, Debug, Clone)]
#[repr(C)]
pub(crate) struct Shelf {
    texts: [Text; 3],
    #[row(key)]
    key: u128,
    value: u8,
}

impl Kind for Shelf {
    const HAS_KEY: bool = true;
    const HAS_CODE: bool = false;
    fn build(facts: Facts) -> Self {
        let texts = std::array::from_fn(|at| Text::new(&"x".repeat((facts.value as usize + at) % 5)));
        Self { texts, key: u128::from(facts.key) << 64, value: facts.value as u8 }
    }
    fn read(&self) -> Facts {
        assert_eq!((&raw const *self).addr() % 16, 0, "a row is aligned");
        let lengths = self.texts.each_ref().map(|text| text.len());
        assert_eq!(lengths, std::array::from_fn(|at| (usize::from(self.value) + at) % 5));
        Facts { key: (self.key >> 64) as u64, code: 0, value: self.value.into() }
    }
    fn write(&mut self, facts: Facts) {
        // Leaves the old texts in `spare` until its end, and some of the new ones as clones.
        let spare = std::mem::replace(self, Self::build(facts));
        self.texts[0] = self.texts[0].clone();
        drop(spare);
    }
    fn by_key(table: &Table<Self>, key: u64) -> Option<(Id<Self>, &Self)> {
        Some((table.id_of(u128::from(key) << 64)?, table.find(u128::from(key) << 64)?))
    }
    fn remove_by_key(table: &mut Table<Self>, key: u64) -> Option<Self> {
        table.remove_key(u128::from(key) << 64)
    }
}

#[derive(World, Debug)]
pub(crate) struct Zoo {
    pub(crate) tiny: Table<Tiny>,
    pub(crate) pairs: Table<Pair>,
    pub(crate) large: Table<Large>,
    pub(crate) largest: Table<Largest>,
    pub(crate) padded: Table<Padded>,
    pub(crate) named: Table<Named>,
    pub(crate) shelves: Table<Shelf>,
}

type Job = Box<dyn FnOnce(&mut Zoo, &mut Ctx<'_>)>;

thread_local! {
    static JOB: RefCell<Option<Job>> = const { RefCell::new(None) };
}

#[logic(linked)]
impl Logic for Zoo {
    fn signal(&mut self, ctx: &mut Ctx, _name: &str, _bytes: &[u8]) {
        let job = JOB.take().expect("a room of closures has no replay");
        job(self, ctx);
    }
}

/// Runs a closure on the tables of a room of the zoo, as an input.
pub(crate) fn try_on<R: 'static>(
    room: &mut Room,
    number: u64,
    job: impl FnOnce(&mut Zoo, &mut Ctx<'_>) -> R + 'static,
) -> Result<R, room::StepError> {
    let result = std::rc::Rc::new(RefCell::new(None));
    let slot = result.clone();
    JOB.set(Some(Box::new(move |zoo, ctx| {
        let done = job(zoo, ctx);
        *slot.borrow_mut() = Some(done);
    })));
    let input = Input::Signal { name: "".into(), bytes: [].into() };
    room.step(crate::support::stamp(number), input, &mut room::Outbox::new())?;
    Ok(result.take().expect("the closure ran"))
}

#[track_caller]
pub(crate) fn on<R: 'static>(driver: &mut Driver, job: impl FnOnce(&mut Zoo, &mut Ctx<'_>) -> R + 'static) -> R {
    driver.inputs += 1;
    match try_on(&mut driver.room, driver.inputs, job) {
        Ok(result) => result,
        Err(error) => panic!("{error}"),
    }
}
