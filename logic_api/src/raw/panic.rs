//! Message and place of a panic, kept for the fault report.

use crate::abi::{Call, RawBytes};
use std::{cell::RefCell, io::Write, panic, sync::Once};

const MESSAGE_BYTES_MAX: usize = 1024;
const LOCATION_BYTES_MAX: usize = 256;
const NO_MESSAGE: &str = "a panic without a message";

struct Report {
    message: [u8; MESSAGE_BYTES_MAX],
    message_bytes: usize,
    location: [u8; LOCATION_BYTES_MAX],
    location_bytes: usize,
}

thread_local! {
    // Fixed buffers, `const`: no destructor that would pin the plugin to the thread.
    static REPORT: RefCell<Report> = const { RefCell::new(Report {
        message: [0; MESSAGE_BYTES_MAX], message_bytes: 0,
        location: [0; LOCATION_BYTES_MAX], location_bytes: 0,
    }) };
}

/// Sets the hook that takes the report. `chain`: also call the hook that was there, for a logic that is linked into a
/// process with panics of its own; a plugin has a standard library to itself, where every panic is the logic's.
pub(crate) fn set_hook(chain: bool) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            REPORT.with(|report| {
                // A panic while formatting a panic's message would come here again.
                if let Ok(mut report) = report.try_borrow_mut() {
                    report.take(info);
                }
            });
            if chain {
                previous(info);
            }
        }));
    });
}

impl Report {
    fn take(&mut self, info: &panic::PanicHookInfo<'_>) {
        let payload = info.payload_as_str().unwrap_or(NO_MESSAGE);
        self.message_bytes = fill(&mut self.message, format_args!("{payload}"));
        self.location_bytes = match info.location() {
            Some(place) => {
                fill(&mut self.location, format_args!("{}:{}:{}", place.file(), place.line(), place.column()))
            }
            None => 0,
        };
    }
}

/// Writes as much as fits and gives the number of bytes.
fn fill(buffer: &mut [u8], text: std::fmt::Arguments<'_>) -> usize {
    let size = buffer.len();
    let mut rest = buffer;
    // A full buffer is an error of `write`, and what we want: the start of the text.
    let _full = rest.write_fmt(text);
    let left = rest.len();
    size - left
}

/// Hands the report of the panic that was just caught to the host.
///
/// # Safety
/// `call` is the call under way on this thread.
pub(crate) unsafe fn report(call: &Call) {
    REPORT.with(|report| {
        let mut report = report.borrow_mut();
        let message = match report.message_bytes {
            // The hook hears nothing of `resume_unwind`.
            0 => RawBytes::of(NO_MESSAGE.as_bytes()),
            bytes => RawBytes::of(&report.message[..bytes]),
        };
        let location = RawBytes::of(&report.location[..report.location_bytes]);
        // SAFETY: the caller's promise; the bytes are valid for the call.
        unsafe {
            let host = &*call.host;
            (host.fault)(call.context, message, location);
        }
        // The next one must not be told as this one.
        (report.message_bytes, report.location_bytes) = (0, 0);
    });
}
