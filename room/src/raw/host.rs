//! The host: what a running callback may ask of the engine. Nothing here panics, since it is called across the boundary.

use super::table::InsertError;
use crate::heap::PendingValues;
use crate::outbox::{Outbox, Output};
use crate::world::World;
use crate::{Request, Response};
use logic_api::PlayerId;
use logic_api::abi::{Host, RawBytes, RawHeader, RawHeapId, RawRequest, TableView, emit, insert};
use std::{marker::PhantomData, slice};

/// What a callback works on, and what it leaves.
pub(crate) struct Frame<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) now_us: u64,
    /// In `query` and in migrations: whatever would change the world is refused, outputs are dropped.
    pub(crate) read_only: bool,
    pub(crate) response: Option<Response>,
    /// Why `join_attempt` refused.
    pub(crate) refusal: Option<String>,
    /// Message and location of a panic.
    pub(crate) panic: Option<(String, String)>,
    /// In a migration that may make texts: where those go, although it is read-only.
    pub(crate) pending: Option<&'a mut PendingValues>,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(
        world: &'a mut World,
        outbox: &'a mut Outbox,
        arguments: &Arguments<'_>,
        read_only: bool,
    ) -> Self {
        let now_us = arguments.now_us;
        Self { world, outbox, now_us, read_only, response: None, refusal: None, panic: None, pending: None }
    }
}

/// The arguments of a callback; those it does not use are zero or empty.
#[derive(Clone, Copy, Default)]
pub(crate) struct Arguments<'a> {
    pub(crate) room: &'a str,
    pub(crate) text: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) request: Option<&'a Request>,
    pub(crate) tick: u64,
    pub(crate) now_us: u64,
    pub(crate) seed: u64,
    pub(crate) player: u64,
    pub(crate) number: u64,
    pub(crate) timer: u64,
}

/// The raw pointers of a call, alive for as long as it is.
pub(super) struct HostCall<'a> {
    context: *mut (),
    tables: *const *mut TableView,
    table_count: u32,
    request: Option<Box<(RawRequest, Vec<RawHeader>)>>,
    frame: PhantomData<&'a mut Frame<'a>>,
}

impl<'a> HostCall<'a> {
    pub(super) fn new<'b>(frame: &'a mut Frame<'b>, arguments: &Arguments<'_>) -> Self {
        let tables = frame.world.tables().views();
        let table_count = u32::try_from(frame.world.tables().len()).unwrap_or(0);
        let context = std::ptr::from_mut(frame).cast();
        Self { context, tables, table_count, request: arguments.request.map(raw_request), frame: PhantomData }
    }

    pub(super) fn context(&self) -> *mut () {
        self.context
    }

    pub(super) fn tables(&self) -> *const *mut TableView {
        self.tables
    }

    pub(super) fn table_count(&self) -> u32 {
        self.table_count
    }

    pub(super) fn request(&self) -> *const RawRequest {
        self.request.as_ref().map_or(std::ptr::null(), |request| &raw const request.0)
    }
}

fn raw(text: &str) -> RawBytes {
    RawBytes { data: text.as_ptr(), len: text.len() }
}

fn raw_request(request: &Request) -> Box<(RawRequest, Vec<RawHeader>)> {
    let headers: Vec<RawHeader> =
        request.headers.iter().map(|(name, value)| RawHeader { name: raw(name), value: raw(value) }).collect();
    let body = RawBytes { data: request.body.as_ptr(), len: request.body.len() };
    let request = RawRequest {
        method: raw(&request.method),
        path: raw(&request.path),
        query: raw(&request.query),
        body,
        headers: headers.as_ptr(),
        header_count: headers.len(),
    };
    // The headers' buffer stays where it is when the vector moves.
    Box::new((request, headers))
}

pub(super) static HOST: Host = Host {
    unshare,
    make_room,
    make_writable,
    rekey,
    heap_put,
    heap_get,
    heap_free,
    emit: emit_output,
    respond,
    players,
    is_connected,
    timer_set,
    timer_cancel,
    fault,
};

/// # Safety
/// `context` is that of the call under way (`HostCall::new`), on its thread, and the result is gone before the next host call.
unsafe fn frame<'a>(context: *mut ()) -> &'a mut Frame<'a> {
    // SAFETY: the caller's promise.
    unsafe { &mut *context.cast::<Frame<'a>>() }
}

/// # Safety
/// The bytes are valid for `'a`.
unsafe fn bytes<'a>(raw: RawBytes) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(raw.data, raw.len) }
}

/// # Safety
/// The bytes are valid for the call.
unsafe fn text(raw: RawBytes) -> String {
    // SAFETY: the caller's promise.
    String::from_utf8_lossy(unsafe { bytes(raw) }).into_owned()
}

unsafe extern "C" fn unshare(context: *mut (), table: u32, page: u32) -> *mut u8 {
    // SAFETY: the contract.
    let frame = unsafe { frame(context) };
    if frame.read_only {
        return std::ptr::null_mut();
    }
    frame.world.tables_mut().unshare(table as usize, page as usize)
}

fn status_of(error: InsertError) -> u32 {
    match error {
        InsertError::Full => insert::FULL,
        InsertError::Duplicate { index } => insert::DUPLICATE + index,
    }
}

unsafe extern "C" fn make_room(context: *mut (), table: u32, row: *const u8) -> u32 {
    // SAFETY: the contract.
    let frame = unsafe { frame(context) };
    if frame.read_only {
        return insert::READ_ONLY;
    }
    // SAFETY: the contract: `row` is a row of that table's type.
    match unsafe { frame.world.tables_mut().make_room(table as usize, row) } {
        Ok(()) => insert::DONE,
        Err(error) => status_of(error),
    }
}

unsafe extern "C" fn make_writable(context: *mut (), table: u32, slot: u32) -> u32 {
    // SAFETY: the contract.
    let frame = unsafe { frame(context) };
    if !frame.read_only && frame.world.tables_mut().make_writable(table as usize, slot) {
        insert::DONE
    } else {
        insert::READ_ONLY
    }
}

unsafe extern "C" fn rekey(context: *mut (), table: u32, slot: u32, index: u32, old: *const u8) -> u32 {
    // SAFETY: the contract.
    let frame = unsafe { frame(context) };
    if frame.read_only {
        return insert::READ_ONLY;
    }
    // SAFETY: the contract: `old` is a value of that column.
    match unsafe { frame.world.tables_mut().rekey(table as usize, slot, index as usize, old) } {
        Ok(()) => insert::DONE,
        Err(error) => status_of(error),
    }
}

unsafe extern "C" fn heap_put(context: *mut (), value: RawBytes) -> RawHeapId {
    // SAFETY: the contract.
    let (frame, value) = unsafe { (frame(context), bytes(value)) };
    if value.is_empty() {
        return RawHeapId::default();
    }
    let id = match &mut frame.pending {
        Some(pending) => pending.put(value),
        None if frame.read_only => None,
        None => frame.world.heap_mut().put(value),
    };
    id.unwrap_or_default()
}

unsafe extern "C" fn heap_get(context: *mut (), id: RawHeapId) -> RawBytes {
    // SAFETY: the contract.
    let frame = unsafe { frame(context) };
    let pending = frame.pending.as_ref().and_then(|pending| pending.get(id));
    let value = pending.unwrap_or_else(|| frame.world.heap().get(id));
    RawBytes { data: value.as_ptr(), len: value.len() }
}

unsafe extern "C" fn heap_free(context: *mut (), id: RawHeapId) {
    // SAFETY: the contract.
    let frame = unsafe { frame(context) };
    match &mut frame.pending {
        Some(pending) => drop(pending.take(id)),
        None if frame.read_only => {}
        None => frame.world.heap_mut().free(id),
    }
}

unsafe extern "C" fn emit_output(context: *mut (), kind: u32, player: u64, content: RawBytes) {
    // SAFETY: the contract.
    let (frame, content) = unsafe { (frame(context), bytes(content)) };
    if frame.read_only && kind != emit::REFUSE {
        return;
    }
    let player = PlayerId(player);
    let reason = || String::from_utf8_lossy(content).into_owned();
    match kind {
        emit::SEND => frame.outbox.push(Output::Send { to: player, bytes: content.into() }),
        emit::BROADCAST => frame.outbox.push(Output::Broadcast { except: player, bytes: content.into() }),
        emit::KICK => frame.outbox.push(Output::Kick { player, reason: reason() }),
        emit::REFUSE => frame.refusal = Some(reason()),
        // A kind of a later contract, which the layout check lets through no plugin for.
        _ => {}
    }
}

unsafe extern "C" fn respond(
    context: *mut (),
    status: u32,
    content_type: RawBytes,
    headers: *const RawHeader,
    header_count: usize,
    body: RawBytes,
) {
    // SAFETY: the contract.
    let (frame, headers) = unsafe { (frame(context), slice::from_raw_parts(headers, header_count)) };
    // SAFETY: the contract: all of it is valid for the call.
    unsafe {
        frame.response = Some(Response {
            status: u16::try_from(status).unwrap_or(u16::MAX),
            content_type: text(content_type),
            headers: headers.iter().map(|header| (text(header.name), text(header.value))).collect(),
            body: bytes(body).to_vec(),
        });
    }
}

unsafe extern "C" fn players(context: *mut (), len: *mut usize) -> *const u64 {
    // SAFETY: the contract.
    let frame = unsafe { frame(context) };
    let players = frame.world.players();
    // SAFETY: the contract: room for a length.
    unsafe { len.write(players.len()) };
    // A `PlayerId` is a transparent `u64`. No callback changes the list, so it stays until the callback returns.
    players.as_ptr().cast()
}

unsafe extern "C" fn is_connected(context: *mut (), player: u64) -> u32 {
    // SAFETY: the contract.
    let frame = unsafe { frame(context) };
    u32::from(frame.world.player(PlayerId(player)).is_some_and(|player| player.is_connected))
}

unsafe extern "C" fn timer_set(context: *mut (), delay_us: u64, tag: u64) -> u64 {
    // SAFETY: the contract.
    let frame = unsafe { frame(context) };
    if frame.read_only {
        return 0;
    }
    frame.world.timers_mut().set(frame.now_us.saturating_add(delay_us), tag).unwrap_or(0)
}

unsafe extern "C" fn timer_cancel(context: *mut (), timer: u64) -> u32 {
    // SAFETY: the contract.
    let frame = unsafe { frame(context) };
    u32::from(!frame.read_only && frame.world.timers_mut().cancel(timer))
}

unsafe extern "C" fn fault(context: *mut (), message: RawBytes, location: RawBytes) {
    // SAFETY: the contract.
    let frame = unsafe { frame(context) };
    // SAFETY: the contract: both are valid for the call.
    frame.panic = Some(unsafe { (text(message), text(location)) });
}

/// Takes a plugin's log lines.
pub(super) unsafe extern "C" fn log(level: u32, target: RawBytes, message: RawBytes) {
    // SAFETY: the contract: both are valid for the call.
    let (logic, message) = unsafe { (text(target), text(message)) };
    match level {
        1 => tracing::error!(target: "logic", logic, "{message}"),
        2 => tracing::warn!(target: "logic", logic, "{message}"),
        3 => tracing::info!(target: "logic", logic, "{message}"),
        4 => tracing::debug!(target: "logic", logic, "{message}"),
        _ => tracing::trace!(target: "logic", logic, "{message}"),
    }
}

/// The most verbose level that anybody listens to, as the contract counts.
pub(super) fn log_level_max() -> u32 {
    use tracing::level_filters::LevelFilter;
    match LevelFilter::current() {
        LevelFilter::OFF => 0,
        LevelFilter::ERROR => 1,
        LevelFilter::WARN => 2,
        LevelFilter::INFO => 3,
        LevelFilter::DEBUG => 4,
        LevelFilter::TRACE => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestRoom;
    use logic_api::prelude::*;

    #[derive(Debug, Row)]
    #[repr(C)]
    struct Unit {
        #[row(unique)]
        number: u64,
        name: Text,
    }

    #[derive(Debug, World)]
    struct Game {
        units: Table<Unit>,
    }

    #[logic(linked, version = 1)]
    impl Logic for Game {
        fn create(&mut self, _ctx: &mut Ctx, _config: &[u8]) {
            self.units.insert(Unit { number: 1, name: Text::new("one") });
        }
    }

    /// Keeps bytes, and what is got back of them.
    fn kept(frame: &mut Frame<'_>, value: &[u8]) -> (RawHeapId, Vec<u8>) {
        let context = std::ptr::from_mut(frame).cast();
        // SAFETY: the frame is nobody else's meanwhile, and the bytes are there for the call.
        let id = unsafe { heap_put(context, RawBytes { data: value.as_ptr(), len: value.len() }) };
        // SAFETY: the frame is nobody else's meanwhile.
        let found = unsafe { heap_get(context, id) };
        // SAFETY: they are there until the next call.
        (id, unsafe { bytes(found) }.to_vec())
    }

    /// As code may that goes past what the API offers.
    fn change_all(frame: &mut Frame<'_>) {
        let context = std::ptr::from_mut(frame).cast();
        let (row, key) = ([2u64, 0], 1u64);
        // SAFETY: the frame is nobody else's meanwhile; so below.
        let page = unsafe { unshare(context, 0, 0) };
        // SAFETY: as above; the row is one of the table's type.
        let made = unsafe { make_room(context, 0, row.as_ptr().cast()) };
        // SAFETY: as above.
        let writable = unsafe { make_writable(context, 0, 0) };
        // SAFETY: as above; the key is a value of the column.
        let keyed = unsafe { rekey(context, 0, 0, 0, (&raw const key).cast()) };
        // SAFETY: as above.
        let timer = unsafe { timer_set(context, 1, 1) };
        // SAFETY: as above.
        unsafe { heap_free(context, RawHeapId { slot: 0, generation: 1 }) };
        assert!(page.is_null());
        assert_eq!((made, writable, keyed), (insert::READ_ONLY, insert::READ_ONLY, insert::READ_ONLY));
        assert_eq!(timer, 0);
    }

    #[test]
    fn no_bytes_are_kept_nowhere() {
        let mut world = TestRoom::<Game>::new().room().fork_world();
        let before = world.state_hash();
        for makes_texts in [false, true] {
            let (mut outbox, mut pending) = (Outbox::new(), PendingValues::default());
            pending.clear(1_000);
            let mut frame = Frame::new(&mut world, &mut outbox, &Arguments::default(), makes_texts);
            frame.pending = makes_texts.then_some(&mut pending);
            assert_eq!(kept(&mut frame, b""), (RawHeapId::default(), Vec::new()));
            assert_eq!((pending.bytes_asked(), world.state_hash()), (0, before));
        }
    }

    #[test]
    fn a_query_and_a_migration_cannot_change_the_world() {
        let mut world = TestRoom::<Game>::new().room().fork_world();
        let (before, heap_bytes) = (world.state_hash(), world.heap().bytes());
        for makes_texts in [false, true] {
            let (mut outbox, mut pending) = (Outbox::new(), PendingValues::default());
            pending.clear(1_000);
            let mut frame = Frame::new(&mut world, &mut outbox, &Arguments::default(), true);
            frame.pending = makes_texts.then_some(&mut pending);
            change_all(&mut frame);
            let (id, found) = kept(&mut frame, b"two");
            assert_eq!(
                (id != RawHeapId::default(), &*found),
                (makes_texts, if makes_texts { &b"two"[..] } else { b"" })
            );
            assert_eq!((world.state_hash(), world.heap().bytes()), (before, heap_bytes));
            assert!(world.has_sound_indexes());
        }
    }
}
