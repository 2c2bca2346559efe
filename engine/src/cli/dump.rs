//! A room as JSON, for whoever asked for it with `--dump`.

use std::io;
use std::path::Path;

use room::Room;

use crate::journal::compare::to_json;

#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be written: {source}")]
pub struct DumpError {
    path: String,
    source: io::Error,
}

/// Writes the room to a file, or gives it for standard output where the path is `-`. The text says what was done before.
///
/// # Errors
/// [`DumpError`].
pub(super) fn dump(room: &Room, to: &Path, text: String) -> Result<String, DumpError> {
    let json = format!("{:#}\n", to_json(room));
    if to == Path::new("-") {
        return Ok(json);
    }
    std::fs::write(to, json).map_err(|source| DumpError { path: to.display().to_string(), source })?;
    Ok(format!("{text}written to {}\n", to.display()))
}
