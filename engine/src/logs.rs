//! Where the engine's log lines go: to standard error, for a human or as JSON. Standard output is for what a caller asked for.

use std::io::{self, IsTerminal};

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `human` on a terminal, `json` elsewhere.
    #[default]
    Auto,
    Human,
    Json,
}

/// Why the log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("RUST_LOG={value:?} is not a filter: {source}; accepted is one such as info or engine=debug")]
    Filter { value: String, source: tracing_subscriber::filter::ParseError },
}

/// What is logged where `RUST_LOG` says nothing.
pub const FILTER: &str = "info";
/// The same beside somebody at work on a logic: what the logic logs, and of the engine what is wrong.
pub const FILTER_DEV: &str = "info,engine=warn";

/// Starts logging for the whole process; a second call changes nothing. `filter` is for where `RUST_LOG` says nothing.
///
/// # Errors
/// [`LogError::Filter`] if `RUST_LOG` cannot be parsed.
pub fn start(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let value = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = if value.is_empty() { filter } else { &value };
    let filter = EnvFilter::try_new(filter).map_err(|source| LogError::Filter { value: value.clone(), source })?;
    let is_terminal = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Auto if !is_terminal => lines.json().flatten_event(true).try_init(),
        LogFormat::Human | LogFormat::Auto => lines.with_ansi(is_terminal).try_init(),
    };
    if started.is_err() {
        // Only a test process, which shares one subscriber, gets here.
        tracing::debug!("logging was started before");
    }
    Ok(())
}
