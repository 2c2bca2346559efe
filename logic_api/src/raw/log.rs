//! `tracing` events of a plugin, forwarded to the engine: a plugin has a copy of `tracing` to itself, with no subscriber.

use crate::abi::{Globals, RawBytes};
use std::fmt::Write;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

/// Sends this copy's events to the engine. Does nothing where a subscriber is set already: in a logic that is linked in.
pub(crate) fn forward(globals: &Globals) {
    let forward = Forward { globals: *globals };
    let _set_already = tracing::subscriber::set_global_default(forward);
}

struct Forward {
    globals: Globals,
}

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        number(*metadata.level()) <= self.globals.log_level_max
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.globals.log_level_max {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let target = RawBytes::of(event.metadata().target().as_bytes());
        // SAFETY: the function is callable from any thread for as long as the process lives; the bytes are valid for the call.
        unsafe { (self.globals.log)(number(*event.metadata().level()), target, RawBytes::of(line.0.as_bytes())) };
    }

    // A callback is short and alone on its thread: spans of a logic are not followed.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn number(level: Level) -> u32 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// An event as one line: the message, then the other fields.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a `String` cannot fail.
        let _ok = match field.name() {
            "message" if self.0.is_empty() => write!(self.0, "{value:?}"),
            "message" => {
                let fields = std::mem::take(&mut self.0);
                write!(self.0, "{value:?} {}", fields.trim_start())
            }
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
