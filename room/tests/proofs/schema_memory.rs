//! Rewrites that may not take as much memory as they need: refused half-way, before it is taken, and the world is what it was.

use crate::schema_texts::{one, two};
use crate::support::{Driver, linked, signal_bytes, test_room};
use logic_api::prelude::*;
use room::plan::{Cancel, Rewrite, RewriteError};
use room::testing::TestRoom;
use room::{Input, LogicVersion, Pool, StepError};
use std::sync::Arc;

const ROWS: u64 = if cfg!(miri) { 500 } else { 20_000 };

/// A version with these units, and notes as they are or none.
macro_rules! version {
    ($name:ident, $version:literal, $(#[$world:meta])* { $($fields:tt)* } $($tables:tt)*) => {
        #[expect(dead_code, reason = "what counts is what the engine does with the tables")]
        mod $name {
            use super::*;

            #[derive(Debug, Row)]
            #[repr(C)]
            struct Unit { $($fields)* }

            #[derive(Debug, World)]
            $(#[$world])*
            pub(super) struct World { units: Table<Unit>, $($tables)* }

            #[logic(linked, version = $version)]
            impl Logic for World {}
        }
    };
}

version!(wider, 2, { number: u64, name: Text, hits: u64 } notes: Table<one::Note>,);
version!(unique, 3, { #[row(unique)] number: u64, name: Text, hits: u32 } notes: Table<one::Note>,);
version!(nameless, 4, #[world(dropped("notes"))] { number: u64, name: Text, hits: u32 });

/// At each share of what it would take, up to all but an eighth.
#[track_caller]
fn check(to: &Arc<LogicVersion>, is_index: bool) {
    let pool = Pool::new();
    let mut driver = Driver::with(&linked::<one::World>(), &pool, ROWS.to_string().as_bytes());
    let before = driver.hash();
    let plan = Arc::new(driver.room.plan_swap(to, &[]));
    assert_eq!(plan.refusals(), <[String; 0]>::default());
    let rewrite = |bytes_max| Rewrite::new(plan.clone(), to.clone(), Arc::default(), 9, bytes_max);
    let mut whole = rewrite(usize::MAX);
    whole.update(&mut driver.room.fork_world(), &Cancel::default()).unwrap();
    let bytes = whole.bytes();
    drop(whole);
    for bytes_max in (0..8).map(|eighths| bytes * eighths / 8) {
        let (mut world, used) = (driver.room.fork_world(), pool.used_bytes());
        let mut part = rewrite(bytes_max);
        let error = part.update(&mut world, &Cancel::default()).unwrap_err();
        assert_eq!(error, RewriteError::Memory { bytes_max });
        assert!(part.bytes() <= bytes_max && pool.used_bytes() <= used + bytes_max, "{part:?} of {bytes_max}");
        assert_eq!(part.bytes() > 0, bytes_max >= bytes / 8, "{part:?} of {bytes_max}");
        assert_eq!((world.state_hash(), driver.hash()), (before, before));
    }
    // All of it has changed since, and cannot be there twice. An index takes no more for that.
    if is_index {
        return;
    }
    let mut prepared = rewrite(bytes * 5 / 4);
    prepared.update(&mut driver.room.fork_world(), &Cancel::default()).unwrap();
    driver.room.prepare_swap(prepared);
    driver.must(signal_bytes("all", &0u64.to_le_bytes()));
    let before = driver.hash();
    let error = driver.step(Input::swap(to.clone())).unwrap_err();
    assert!(matches!(error, StepError::TooLarge(RewriteError::Memory { .. })), "{error}");
    assert_eq!(driver.hash(), before);
    driver.must(Input::swap(to.clone()));
}

#[test]
fn pages_of_rows_keep_to_their_memory() {
    check(&linked::<wider::World>(), false);
}

#[test]
fn an_index_that_is_made_keeps_to_its_memory() {
    check(&linked::<unique::World>(), true);
}

#[test]
fn pages_of_the_heap_without_what_goes_keep_to_their_memory() {
    check(&linked::<nameless::World>(), false);
}

#[test]
fn texts_that_migrations_make_keep_to_their_memory() {
    check(&linked::<two::World>(), false);
}

#[derive(Debug, Row)]
#[repr(C)]
struct Small {
    number: u32,
}

#[derive(Debug, World)]
struct Many {
    rows: Table<Small>,
}

#[logic(linked, version = 1)]
impl Logic for Many {
    fn create(&mut self, _ctx: &mut Ctx, config: &[u8]) {
        let count = std::str::from_utf8(config).unwrap().parse().unwrap();
        (0..count).for_each(|number| _ = self.rows.insert(Small { number }));
    }
}

mod large {
    use super::*;

    #[derive(Debug, Row)]
    #[repr(C)]
    struct Small {
        number: u32,
        #[row(default = [0; 16_000])]
        more: [u8; 16_000],
    }

    #[derive(Debug, World)]
    #[expect(dead_code, reason = "nothing runs on it")]
    pub(super) struct Many {
        rows: Table<Small>,
    }

    #[logic(linked, version = 2)]
    impl Logic for Many {}
}

/// Pages keep their number of slots: a few of short rows become more than a table may have. That is no matter of settings, and nothing
/// is taken for it.
#[test]
fn a_table_that_would_be_too_large_is_refused_before_a_page_is_taken() {
    let mut room: TestRoom<Many> = test_room((17 << 14).to_string().as_bytes());
    let before = room.room().state_hash();
    let StepError::TooLarge(error) = room.step(Input::swap(linked::<large::Many>())).unwrap_err() else {
        panic!("another error")
    };
    assert_eq!(
        error.to_string(),
        "rows: its pages would take 4563402752 bytes, and those of a table may take 4294967296: make its rows shorter, or put some of \
         its columns into a table of their own"
    );
    assert_eq!(room.room().state_hash(), before);
}

#[derive(Debug, Row)]
#[repr(C)]
struct Wide {
    words: [u8; 1_000],
}

#[derive(Debug, World)]
struct Words {
    rows: Table<Wide>,
}

#[logic(linked, version = 1)]
impl Logic for Words {
    fn create(&mut self, _ctx: &mut Ctx, _config: &[u8]) {
        (0..1_000).for_each(|_| _ = self.rows.insert(Wide { words: [b'w'; 1_000] }));
    }
}

mod narrow {
    use super::*;

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Wide {
        words: Text,
    }

    #[derive(Debug, World)]
    #[expect(dead_code, reason = "what counts is what the engine does with the tables")]
    pub(super) struct Words {
        #[world(migrate = halved)]
        rows: Table<Wide>,
    }

    fn halved(old: &[super::Wide]) -> Vec<Wide> {
        let half = |old: &super::Wide| Text::new(std::str::from_utf8(&old.words[..500]).unwrap());
        old.iter().map(|old| Wide { words: half(old) }).collect()
    }

    #[logic(linked, version = 2)]
    impl Logic for Words {}
}

/// A migration of all rows has them before it, and the values and texts that it makes, at one time: a megabyte and half of one.
#[test]
fn rows_and_texts_of_a_migration_of_all_rows_keep_to_their_memory_together() {
    let mut room: TestRoom<Words> = test_room(b"");
    let to = linked::<narrow::Words>();
    let mut update = |bytes_max| {
        let plan = Arc::new(room.room().plan_swap(&to, &[]));
        let mut rewrite = Rewrite::new(plan, to.clone(), Arc::default(), 9, bytes_max);
        rewrite.update(&mut room.room().fork_world(), &Cancel::default())
    };
    assert_eq!(update(1_300_000), Err(RewriteError::Memory { bytes_max: 1_300_000 }));
    assert_eq!(update(1_700_000), Ok(()));
}
