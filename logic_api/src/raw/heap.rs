//! An owned entry of the engine's heap.

use super::current;
use crate::abi::{RawBytes, RawHeapId};
use std::{marker::PhantomData, slice};

/// Owns an entry of the heap of the world it was made in, and frees it when dropped. The bytes never move or change while
/// the value lives, so they can be borrowed from it.
#[repr(transparent)]
#[derive(Default)]
pub(crate) struct HeapValue(RawHeapId, NotSend);

/// An entry means something inside a callback only: no static may keep it, and no other thread may have it.
type NotSend = PhantomData<*const ()>;

impl HeapValue {
    /// # Panics
    /// Outside a callback, in `query`, or where the room's heap is full.
    #[track_caller]
    pub(crate) fn new(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        let (host, context) =
            current::host().expect("Text and Blob can only be made inside a callback, of a logic with such a column");
        // SAFETY: the host is that of the callback under way; the bytes are valid for the call.
        let id = unsafe { (host.heap_put)(context, RawBytes::of(bytes)) };
        assert!(
            id != RawHeapId::default(),
            "the room's heap is full, or the callback is read-only: {} bytes",
            bytes.len()
        );
        Self(id, PhantomData)
    }

    /// Empty outside a callback, and if its world has no such entry. A world cannot tell a value of another one: it may have an
    /// entry of that number, too, so values are kept in tables and nowhere else.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.0 == RawHeapId::default() {
            return &[];
        }
        let Some((host, context)) = current::host() else {
            return &[];
        };
        // SAFETY: the host is that of the callback under way. It answers with the bytes of the entry or, for an id that names
        // none, with no bytes. They stay where they are until the entry is freed, which needs `self` by value or by `&mut`.
        unsafe {
            let found = (host.heap_get)(context, self.0);
            slice::from_raw_parts(found.data, found.len)
        }
    }
}

impl Drop for HeapValue {
    fn drop(&mut self) {
        if self.0 == RawHeapId::default() {
            return;
        }
        if let Some((host, context)) = current::host() {
            // SAFETY: the host is that of the callback under way; it ignores an id that names
            // nothing, and one of another world is not to be had (`bytes`).
            unsafe { (host.heap_free)(context, self.0) };
        }
    }
}
