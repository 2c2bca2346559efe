//! The call under way, as safe code sees it.

use super::{current, panic};
use crate::PlayerId;
use crate::abi::{Call, RawBytes, RawHeader};
use std::slice;

impl RawBytes {
    #[inline]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), len: bytes.len() }
    }

    /// # Safety
    /// The bytes are valid and unchanging for `'a`.
    #[inline]
    unsafe fn get<'a>(self) -> &'a [u8] {
        // SAFETY: the caller's promise; `data` is never null.
        unsafe { slice::from_raw_parts(self.data, self.len) }
    }
}

/// A [`Call`] that is known to be valid for `'a`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallRef<'a>(&'a Call);

impl<'a> CallRef<'a> {
    /// # Safety
    /// `call` and all that it points to are valid for `'a`, and `'a` ends before the callback returns.
    #[inline]
    pub(crate) unsafe fn new(call: *const Call) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { &*call })
    }

    #[inline]
    pub(crate) fn fields(self) -> &'a Call {
        self.0
    }

    #[inline]
    pub(crate) fn enter(self) -> current::Entered {
        // SAFETY: the call is valid for `'a`; the caller drops the guard before the callback returns.
        unsafe { current::Entered::new(self.0) }
    }

    pub(crate) fn report_panic(self) {
        // SAFETY: the call is the one under way.
        unsafe { panic::report(self.0) };
    }

    #[inline]
    pub(crate) fn room(self) -> &'a str {
        // SAFETY: valid for `'a` by `new`.
        text(unsafe { self.0.room.get() })
    }

    #[inline]
    pub(crate) fn text(self) -> &'a str {
        // SAFETY: valid for `'a` by `new`.
        text(unsafe { self.0.text.get() })
    }

    #[inline]
    pub(crate) fn bytes(self) -> &'a [u8] {
        // SAFETY: valid for `'a` by `new`.
        unsafe { self.0.bytes.get() }
    }

    pub(crate) fn request(self) -> crate::Request<'a> {
        assert!(!self.0.request.is_null(), "the engine gave no request");
        // SAFETY: not null, and valid for `'a` by `new`; so are the bytes and headers that it points to.
        unsafe {
            let raw = &*self.0.request;
            let headers = slice::from_raw_parts(raw.headers, raw.header_count);
            crate::Request {
                method: text(raw.method.get()),
                path: text(raw.path.get()),
                query: text(raw.query.get()),
                body: raw.body.get(),
                headers: headers.iter().map(|h| (text(h.name.get()), text(h.value.get()))).collect(),
            }
        }
    }

    #[inline]
    pub(crate) fn emit(self, kind: u32, player: u64, bytes: &[u8]) {
        // SAFETY: the host is valid for `'a`, and this is its thread and its callback.
        unsafe {
            let host = &*self.0.host;
            (host.emit)(self.0.context, kind, player, RawBytes::of(bytes));
        }
    }

    pub(crate) fn respond(self, response: &crate::Response) {
        let raw = |text: &str| RawBytes::of(text.as_bytes());
        let header = |(name, value): &(String, String)| RawHeader { name: raw(name), value: raw(value) };
        let headers: Vec<RawHeader> = response.headers.iter().map(header).collect();
        let (status, body) = (u32::from(response.status), RawBytes::of(&response.body));
        // SAFETY: as in `emit`; the headers and what they point to are valid for the call.
        unsafe {
            let host = &*self.0.host;
            let kind = raw(&response.content_type);
            (host.respond)(self.0.context, status, kind, headers.as_ptr(), headers.len(), body);
        }
    }

    #[inline]
    pub(crate) fn players(self) -> &'a [PlayerId] {
        let mut len = 0;
        // SAFETY: as in `emit`; the host promises `len` numbers that stay until the callback returns. A `PlayerId` is a
        // transparent `u64`.
        unsafe {
            let host = &*self.0.host;
            let first = (host.players)(self.0.context, &raw mut len);
            slice::from_raw_parts(first.cast::<PlayerId>(), len)
        }
    }

    #[inline]
    pub(crate) fn is_connected(self, player: PlayerId) -> bool {
        // SAFETY: as in `emit`.
        unsafe {
            let host = &*self.0.host;
            (host.is_connected)(self.0.context, player.0) != 0
        }
    }

    #[inline]
    pub(crate) fn timer_set(self, delay_us: u64, tag: u64) -> u64 {
        // SAFETY: as in `emit`.
        unsafe {
            let host = &*self.0.host;
            (host.timer_set)(self.0.context, delay_us, tag)
        }
    }

    pub(crate) fn timer_cancel(self, timer: u64) -> bool {
        // SAFETY: as in `emit`.
        unsafe {
            let host = &*self.0.host;
            (host.timer_cancel)(self.0.context, timer) != 0
        }
    }
}

/// Text from the engine, which checked it; checked again, because it is cheap beside the cost of being wrong.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
