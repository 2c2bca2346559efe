//! Migrations: functions of the logic that make new values of the rows of another version, and the entries that run them.

use super::{CallRef, entry};
use crate::abi::{Batch, Call, ChangesTable, RawMigration, Sink, status};
use crate::changes::Describe;
use crate::{Column, Logic, Row};
use std::panic::AssertUnwindSafe;
use std::{mem, ptr, slice};

/// A function of the logic without its types, and the entry that knows them.
#[derive(Clone, Copy, Debug)]
pub struct Migrate(RawMigration);

impl Migrate {
    /// One row at a time.
    pub(crate) fn each<O: Row, N: Column>(function: fn(&O) -> N) -> Self {
        Self(RawMigration { entry: each::<O, N>, function: function as *const () })
    }

    /// All rows at once.
    pub(crate) fn whole<O: Row, N: Row>(function: fn(&[O]) -> Vec<N>) -> Self {
        Self(RawMigration { entry: whole::<O, N>, function: function as *const () })
    }
}

unsafe extern "C" fn each<O: Row, N: Column>(call: *const Call, batch: *const Batch) -> u32 {
    // SAFETY: the engine's promise, docs/abi.md "Changes"; the function is the one that `Migrate::each` made this entry for.
    let (call, batch, function) = unsafe {
        let batch = &*batch;
        (CallRef::new(call), batch, mem::transmute::<*const (), fn(&O) -> N>(batch.function))
    };
    let _entered = (O::HAS_HEAP || N::HAS_HEAP).then(|| call.enter());
    entry::catch(call, || {
        for row in 0..batch.rows {
            // SAFETY: as many rows of `O`, and room for as many values of `N`.
            unsafe {
                let value = function(&*batch.old.cast::<O>().add(row));
                batch.new.cast::<N>().add(row).write(value);
                *batch.done = row + 1;
            }
        }
        status::DONE
    })
}

unsafe extern "C" fn whole<O: Row, N: Row>(call: *const Call, batch: *const Batch) -> u32 {
    // SAFETY: as in `each`.
    let (call, batch, function) = unsafe {
        let batch = &*batch;
        (CallRef::new(call), batch, mem::transmute::<*const (), fn(&[O]) -> Vec<N>>(batch.function))
    };
    let _entered = (O::HAS_HEAP || N::HAS_HEAP).then(|| call.enter());
    entry::catch(call, || {
        // SAFETY: as many rows of `O`.
        let old = unsafe { slice::from_raw_parts(batch.old.cast::<O>(), batch.rows) };
        let mut new = function(old);
        assert!(new.len() == old.len(), "{} rows were made of {}: each row needs its own", new.len(), old.len());
        // SAFETY: room for as many values of `N`, which belong to the engine from here on.
        unsafe {
            ptr::copy_nonoverlapping(new.as_ptr(), batch.new.cast::<N>(), new.len());
            new.set_len(0);
            *batch.done = batch.rows;
        }
        status::DONE
    })
}

/// The bytes of a value, padding as zeroes.
pub(crate) fn value_bytes<T: Column>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; size_of::<T>()];
    let start = ptr::from_ref(value).cast::<u8>();
    for (offset, len) in T::column_type().spans() {
        let (offset, len) = (offset as usize, len as usize);
        // SAFETY: the column type tells where in a value there is no padding.
        bytes[offset..offset + len].copy_from_slice(unsafe { slice::from_raw_parts(start.add(offset), len) });
    }
    bytes
}

unsafe extern "C" fn describe<L: Logic>(sink: *const Sink) {
    // The defaults are expressions of the logic's source, which may panic.
    let described = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut describe = Describe::default();
        L::describe(&mut describe);
        describe.finish().0
    }));
    let changes = described.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        Err(format!("a default of a field panicked: {}", text.unwrap_or("without a message")))
    });
    let bytes = postcard::to_stdvec(&changes).unwrap_or_default();
    // SAFETY: the engine's promise: the sink is valid for the call.
    unsafe { entry::write(sink, &bytes) };
}

unsafe extern "C" fn migration<L: Logic>(number: u32, out: *mut RawMigration) -> u32 {
    let found = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut describe = Describe::default();
        L::describe(&mut describe);
        describe.finish().1.get(number as usize).copied()
    }));
    let Ok(Some(Migrate(found))) = found else { return status::DECLINED };
    // SAFETY: the engine's promise: room for the answer.
    unsafe { out.write(found) };
    status::DONE
}

/// What `query_ext(EXT_CHANGES)` gives.
pub(super) fn changes_table<L: Logic>() -> &'static ChangesTable {
    struct Of<L>(L);
    impl<L: Logic> Of<L> {
        const TABLE: ChangesTable = ChangesTable { describe: describe::<L>, migration: migration::<L> };
    }
    const { &Of::<L>::TABLE }
}
