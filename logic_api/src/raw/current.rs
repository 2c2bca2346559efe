//! Which call is under way on this thread: what lets `Text` read, grow and free itself without being handed one.

use crate::abi::{Call, Host};
use std::{cell::Cell, ptr};

thread_local! {
    // `const` and without `Drop`: a destructor would pin the plugin to the thread.
    static CURRENT: Cell<*const Call> = const { Cell::new(ptr::null()) };
}

/// Restores the previous call when the callback ends, panicking or not.
pub(crate) struct Entered(*const Call);

impl Entered {
    /// # Safety
    /// `call` is valid until the result is dropped, and this thread is the one that may call it.
    #[inline]
    pub(crate) unsafe fn new(call: *const Call) -> Self {
        Self(CURRENT.replace(call))
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// The host of the callback under way on this thread, and what to give it first; none outside of one.
#[inline]
pub(super) fn host<'a>() -> Option<(&'a Host, *mut ())> {
    // SAFETY: `Entered` keeps the call valid for as long as it is set, and whoever holds the reference runs inside the callback:
    // the users in this module never let it escape the function that asked.
    unsafe { CURRENT.get().as_ref().map(|call| (&*call.host, call.context)) }
}
