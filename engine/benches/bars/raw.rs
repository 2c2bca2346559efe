//! A call across the boundary without an engine behind it: what remains is the price of the boundary itself.

use bench_logic::{Unit, Voice};
use logic_api::abi::{Call, Host, LogicTable, RawBytes, RawHeader, RawHeapId, TableView, status};
use std::ptr;

/// A message to the benches' logic, with empty tables.
pub(crate) struct EmptyCall {
    entry: unsafe extern "C" fn(*const Call) -> u32,
    call: Call,
    /// What the call points to.
    _tables: Box<[TableView; 2]>,
    _pointers: Box<[*mut TableView; 2]>,
    _message: Box<[u8; 1]>,
}

impl EmptyCall {
    pub(crate) fn new(logic: &LogicTable, message: u8) -> Self {
        let table = |row_size: usize| TableView {
            pages: ptr::null(),
            writable: ptr::null(),
            generations: ptr::null(),
            writable_generations: ptr::null(),
            live: ptr::null_mut(),
            page_rows: ptr::null_mut(),
            page_free_from: ptr::null_mut(),
            free: ptr::null_mut(),
            free_groups: ptr::null_mut(),
            indexes: ptr::null(),
            rows: 0,
            free_groups_len: 0,
            page_count: 0,
            slots_per_page: 0,
            live_words: 0,
            row_size: row_size as u32,
            number: 0,
            index_count: 1,
        };
        let mut tables = Box::new([table(size_of::<Unit>()), table(size_of::<Voice>())]);
        let (pointers, message) = (Box::new(tables.each_mut().map(|table| &raw mut *table)), Box::new([message]));
        let nothing = RawBytes { data: ptr::dangling(), len: 0 };
        let call = Call {
            host: &raw const HOST,
            context: ptr::null_mut(),
            tables: pointers.as_ptr(),
            request: ptr::null(),
            room: nothing,
            text: nothing,
            bytes: RawBytes { data: message.as_ptr(), len: 1 },
            tick: 1,
            now_us: 1,
            seed: 1,
            player: 1,
            number: 0,
            timer: 0,
            table_count: 2,
            read_only: 0,
        };
        Self { entry: logic.entries.message, call, _tables: tables, _pointers: pointers, _message: message }
    }

    #[inline]
    pub(crate) fn run(&self) -> u32 {
        // SAFETY: the call is valid, its tables are empty and of the logic's row sizes; the message makes the logic ask the host
        // for nothing.
        let status = unsafe { (self.entry)(&raw const self.call) };
        assert!(status == status::DONE);
        status
    }
}

static HOST: Host = Host {
    unshare,
    make_room,
    make_writable,
    rekey,
    heap_put,
    heap_get,
    heap_free,
    emit,
    respond,
    players,
    is_connected,
    timer_set,
    timer_cancel,
    fault,
};

unsafe extern "C" fn unshare(_: *mut (), _: u32, _: u32) -> *mut u8 {
    unasked()
}
unsafe extern "C" fn make_room(_: *mut (), _: u32, _: *const u8) -> u32 {
    unasked()
}
unsafe extern "C" fn make_writable(_: *mut (), _: u32, _: u32) -> u32 {
    unasked()
}
unsafe extern "C" fn rekey(_: *mut (), _: u32, _: u32, _: u32, _: *const u8) -> u32 {
    unasked()
}
unsafe extern "C" fn heap_put(_: *mut (), _: RawBytes) -> RawHeapId {
    unasked()
}
unsafe extern "C" fn heap_get(_: *mut (), _: RawHeapId) -> RawBytes {
    unasked()
}
unsafe extern "C" fn heap_free(_: *mut (), _: RawHeapId) {
    unasked()
}
unsafe extern "C" fn emit(_: *mut (), _: u32, _: u64, _: RawBytes) {
    unasked()
}
unsafe extern "C" fn respond(_: *mut (), _: u32, _: RawBytes, _: *const RawHeader, _: usize, _: RawBytes) {
    unasked()
}
unsafe extern "C" fn players(_: *mut (), _: *mut usize) -> *const u64 {
    unasked()
}
unsafe extern "C" fn is_connected(_: *mut (), _: u64) -> u32 {
    unasked()
}
unsafe extern "C" fn timer_set(_: *mut (), _: u64, _: u64) -> u64 {
    unasked()
}
unsafe extern "C" fn timer_cancel(_: *mut (), _: u64) -> u32 {
    unasked()
}
unsafe extern "C" fn fault(_: *mut (), _: RawBytes, _: RawBytes) {
    unasked()
}

fn unasked() -> ! {
    // A panic would unwind into the logic.
    std::process::abort()
}
