//! The exported function table: one entry for each callback, each guarded.

use super::migrate::changes_table;
use super::{CallRef, build_id, log, panic};
use crate::abi::{
    Call, EXT_CHANGES, Entries, Entry, Globals, LibHeader, LogicModule, LogicModuleRef, LogicTable, RawBytes, Sink,
    emit, status,
};
use crate::{Admission, Ctx, Join, Logic, Manifest, PlayerId, TimerId, Version};
use abi_stable::library::{CheckTypeLayout, RootModuleResult};
use abi_stable::prefix_type::PrefixTypeTrait;
use std::{panic::AssertUnwindSafe, time::Duration};

/// What `#[logic]` knows of a logic.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no function table",
    label = "`#[logic]` is missing",
    note = "write `#[logic]` above `impl Logic for {Self}`"
)]
pub trait LogicInfo {
    const VERSION: Version;
    const NAME: &'static str;
    /// The callbacks that the `impl` defines, by name.
    const CALLBACKS: &'static [&'static str];
}

/// The version that a build was given; 1000, which `scripts/build_so.sh` never gives, for one that was given none.
///
/// # Panics
/// At compile time, if it is not a number.
pub const fn version_of_build(given: Option<&str>) -> Version {
    let Some(digits) = given else { return Version(1000) };
    match u32::from_str_radix(digits, 10) {
        Ok(number) => Version(number),
        Err(_) => panic!("HOTSEAT_LOGIC_VERSION is not a number"),
    }
}

/// Runs a callback: binds the views, catches a panic, reports it.
///
/// # Safety
/// `call` is valid for the call, its tables have the schema of `L`.
#[inline]
unsafe fn guarded<L: Logic>(call: *const Call, run: impl FnOnce(&mut L, &mut Ctx<'_>, CallRef<'_>) -> u32) -> u32 {
    // SAFETY: the caller's promise.
    let call = unsafe { CallRef::new(call) };
    let _entered = L::HAS_HEAP.then(|| call.enter());
    catch(call, || {
        // SAFETY: the tables have the schema of `L`; the views die with this closure.
        let mut world = unsafe { L::bind(&crate::Binder::new(call)) };
        run(&mut world, &mut Ctx::new(call), call)
    })
}

/// Runs code of the logic; a panic is reported.
#[inline]
pub(super) fn catch(call: CallRef<'_>, run: impl FnOnce() -> u32) -> u32 {
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        call.report_panic();
        // The payload's own destructor might panic; only what that throws is left to leak.
        if let Err(second) = std::panic::catch_unwind(AssertUnwindSafe(|| std::mem::drop(payload))) {
            std::mem::forget(second);
        }
        status::FAULT
    })
}

/// Lends a world to `read` outside of a callback: for tests.
///
/// # Safety
/// As for an entry; the call is read-only.
pub unsafe fn inspect<L: Logic, R>(call: *const Call, read: impl FnOnce(&L) -> R) -> R {
    // SAFETY: the caller's promise.
    let call = unsafe { CallRef::new(call) };
    let _entered = call.enter();
    // SAFETY: the tables have the schema of `L`; the views die with this function.
    let world = unsafe { L::bind(&crate::Binder::new(call)) };
    read(&world)
}

macro_rules! entries {
    ($($name:ident: |$world:ident, $ctx:ident, $call:ident| $body:expr;)+) => {
        $(
            unsafe extern "C" fn $name<L: Logic>(call: *const Call) -> u32 {
                // SAFETY: the engine's promise, docs/abi.md "Calls".
                unsafe {
                    guarded::<L>(call, |$world, $ctx, $call| {
                        $body;
                        #[allow(unreachable_code, reason = "some bodies return a status of their own")]
                        status::DONE
                    })
                }
            }
        )+
        fn entries<L: Logic>() -> Entries {
            Entries { $($name: $name::<L> as Entry),+ }
        }
    };
}

entries! {
    init: |world, _ctx, _call| world.init();
    create: |world, ctx, call| world.create(ctx, call.bytes());
    join_attempt: |world, ctx, call| return match world.join_attempt(ctx, player(call), &join_of(call)) {
        Admission::Accept => status::DONE,
        Admission::Refuse(reason) => {
            call.emit(emit::REFUSE, call.fields().player, reason.as_bytes());
            status::DECLINED
        }
    };
    join: |world, ctx, call| world.join(ctx, player(call), &join_of(call));
    drop: |world, ctx, call| Logic::drop(world, ctx, player(call));
    reconnect: |world, ctx, call| world.reconnect(ctx, player(call));
    leave: |world, ctx, call| world.leave(ctx, player(call), call.text());
    message: |world, ctx, call| world.message(ctx, player(call), call.bytes());
    tick: |world, ctx, _call| world.tick(ctx);
    timer: |world, ctx, call| world.timer(ctx, TimerId(call.fields().timer), call.fields().number);
    query: |world, _ctx, call| return match world.query(&call.request()) {
        Some(response) => {
            call.respond(&response);
            status::DONE
        }
        None => status::DECLINED,
    };
    request: |world, ctx, call| {
        let response = world.request(ctx, &call.request());
        call.respond(&response);
    };
    signal: |world, ctx, call| world.signal(ctx, call.text(), call.bytes());
    upgraded: |world, ctx, call| {
        let from = Version(u32::try_from(call.fields().number).unwrap_or_default());
        world.upgraded(ctx, from);
    };
    terminate: |world, ctx, call| world.terminate(ctx, Duration::from_millis(call.fields().number));
    dispose: |world, ctx, _call| world.dispose(ctx);
}

#[inline]
fn player(call: CallRef<'_>) -> PlayerId {
    PlayerId(call.fields().player)
}

#[inline]
fn join_of<'a>(call: CallRef<'a>) -> Join<'a> {
    Join { hello: call.bytes(), claims: call.text() }
}

unsafe extern "C" fn start<const LINKED: bool>(globals: *const Globals) {
    panic::set_hook(LINKED);
    // SAFETY: the engine's promise, docs/abi.md "Start".
    log::forward(unsafe { &*globals });
}

unsafe extern "C" fn manifest<L: Logic>(sink: *const Sink) {
    let manifest = Manifest::of::<L>();
    let bytes = postcard::to_stdvec(&manifest).unwrap_or_default();
    // SAFETY: the engine's promise: the sink is valid for the call.
    unsafe { write(sink, &bytes) };
}

unsafe extern "C" fn build_id(sink: *const Sink) {
    // SAFETY: the engine's promise: the sink is valid for the call.
    unsafe { write(sink, build_id::own()) };
}

/// # Safety
/// The sink is valid.
pub(super) unsafe fn write(sink: *const Sink, bytes: &[u8]) {
    // SAFETY: the caller's promise.
    unsafe { ((*sink).write)((*sink).context, RawBytes::of(bytes)) };
}

fn table<L: Logic, const LINKED: bool>() -> LogicTable {
    LogicTable { start: start::<LINKED>, manifest: manifest::<L>, build_id, entries: entries::<L>() }
}

/// The function table of a logic that is linked into this program: for tests and benches, which need no plugin then.
pub fn linked<L: Logic>() -> LogicTable {
    table::<L, true>()
}

/// Further entries of a logic that is linked into this program, as `LogicModule::query_ext` gives those of a plugin.
pub fn linked_ext<L: Logic>() -> extern "C" fn(u64) -> *const () {
    query_ext::<L>
}

extern "C" fn query_ext<L: Logic>(id: u64) -> *const () {
    match id {
        EXT_CHANGES => std::ptr::from_ref(changes_table::<L>()).cast(),
        _ => std::ptr::null(),
    }
}

extern "C" fn root_module<L: Logic>() -> RootModuleResult {
    fn build<L: Logic>() -> LogicModuleRef {
        LogicModule { table: table::<L, false>(), query_ext: query_ext::<L> }.leak_into_prefix()
    }
    abi_stable::library::__call_root_module_loader(build::<L>)
}

/// What a plugin exports; `#[logic]` puts it into a static of the name that the loader looks for.
pub const fn lib_header<L: Logic>() -> LibHeader {
    // SAFETY: `root_module` returns a `LogicModuleRef`.
    unsafe { LibHeader::from_constructor::<LogicModuleRef>(root_module::<L>, CheckTypeLayout::Yes) }
}
