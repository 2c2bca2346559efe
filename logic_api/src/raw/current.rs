//! Which host the callback on this thread belongs to: what lets `Text` read, grow and free itself without being handed one.

use crate::abi::Host;
use std::{cell::Cell, ptr};

thread_local! {
    // `const` and without `Drop`: a destructor would pin the plugin to the thread.
    static CURRENT: Cell<*const Host> = const { Cell::new(ptr::null()) };
}

/// Restores the previous host when the callback ends, panicking or not.
pub(crate) struct Entered(*const Host);

impl Entered {
    /// # Safety
    /// `host` is valid until the result is dropped, and this thread is the one that may call it.
    pub(crate) unsafe fn new(host: *const Host) -> Self {
        Self(CURRENT.replace(host))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// The host of the callback under way on this thread; none outside of one.
pub(crate) fn host<'a>() -> Option<&'a Host> {
    // SAFETY: `Entered` keeps the pointer valid for as long as it is set, and whoever holds the reference runs inside the
    // callback: the users in this crate never let it escape the function that asked.
    unsafe { CURRENT.get().as_ref() }
}
