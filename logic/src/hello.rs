//! `/hello`: says which version answers, and which one did the time before.

use logic_api::prelude::*;

/// Who answered last. State, so that it survives the version that wrote it.
#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Greeting {
    /// 0 before the first answer.
    version: u32,
    name: Str<32>,
}

impl Greeting {
    pub(crate) fn answer(&mut self, version: Version, name: &str) -> Response {
        let now = Self { version: version.0, name: Str::truncated(name) };
        let before = std::mem::replace(self, now);
        Response::text(format!(
            "hello test, this is rust plugin test!, version={}, name={}, oldversion={}, oldName={}\n",
            now.version, now.name, before.version, before.name
        ))
    }
}
