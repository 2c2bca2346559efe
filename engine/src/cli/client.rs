//! `engine load`, `engine confirm`, `engine rollback`, `engine status` and what `engine rooms` needs: find the running engine, ask it, tell what it said.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use ureq::http::{Response, header};
use ureq::{Agent, AsSendBody};

use crate::cli::{ClientFlags, table};
use crate::config::{Config, ConfigError, Flags, PROBE_TIMEOUT_MS, REWRITE_TIMEOUT_MS};
use crate::http::ErrorBody;
use crate::lock::shown;
use crate::serve::ADDRESS_FILE;
use crate::status::{Decided, Loaded, Status};
use crate::token::{TOKEN_FILE, Token, TokenError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the whole answer. A load waits for other loads before it, each with its probe.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);
/// A status grows with the rooms, a few hundred bytes each.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

const _: () = assert!(ANSWER_TIMEOUT.as_millis() >= 2 * PROBE_TIMEOUT_MS.max as u128 + REWRITE_TIMEOUT_MS.max as u128);

/// Why a command got no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no engine is running on data folder {data}: start one with scripts/run.sh")]
    NotRunning { data: String },
    #[error("--url {url} does not say how to speak: write http://{url}")]
    NoScheme { url: String },
    #[error("{url} cannot be reached: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("{file} cannot be read: {source}")]
    AddressFile { file: String, source: io::Error },
    #[error("{file} holds no address but {found:?}; give --url")]
    AddressMalformed { file: String, found: String },
    #[error("what answers at {url} is no engine: {reason}")]
    NotAnEngine { url: String, reason: String },
    /// The engine's own words.
    #[error("{}", [std::slice::from_ref(reason), details].concat().join("\n"))]
    Refused { reason: String, details: Vec<String> },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Swaps the rooms of a running engine to the named plugin; the text says what happened.
///
/// # Errors
/// [`ClientError`] if no engine answers or it refuses.
pub fn load(
    name: &str,
    (confirm, force): (bool, bool),
    drops: &[String],
    flags: &ClientFlags,
) -> Result<String, ClientError> {
    let engine = Engine::find(flags)?;
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
    let mut target = format!("/load?name={name}");
    for (flag, is_set) in [("confirm", confirm), ("force", force)] {
        if is_set {
            target += &format!("&{flag}=1");
        }
    }
    for drop in drops {
        target += &format!("&drop={}", utf8_percent_encode(drop, NON_ALPHANUMERIC));
    }
    let loaded: Loaded = engine.ask("POST", &target, ())?.parse()?;
    Ok(table::loaded(&loaded))
}

/// Confirms the version that is on trial.
///
/// # Errors
/// [`ClientError`] if no engine answers or it refuses.
pub fn confirm(flags: &ClientFlags) -> Result<String, ClientError> {
    let decided: Decided = Engine::find(flags)?.ask("POST", "/api/v1/confirm", ())?.parse()?;
    Ok(table::decided(&decided))
}

/// Takes the version that is on trial back.
///
/// # Errors
/// [`ClientError`] if no engine answers or it refuses.
pub fn roll_back(reason: Option<&str>, flags: &ClientFlags) -> Result<String, ClientError> {
    let query = reason.map(|reason| format!("?reason={}", utf8_percent_encode(reason, NON_ALPHANUMERIC)));
    let target = format!("/api/v1/rollback{}", query.unwrap_or_default());
    let decided: Decided = Engine::find(flags)?.ask("POST", &target, ())?.parse()?;
    Ok(table::decided(&decided))
}

/// Rooms, versions and recent swaps of a running engine, as tables or as the JSON that it sent.
///
/// # Errors
/// [`ClientError`] if no engine answers or it refuses.
pub fn status(json: bool, flags: &ClientFlags) -> Result<String, ClientError> {
    let answer = Engine::find(flags)?.ask("GET", "/api/v1/status", ())?;
    let status: Status = answer.parse()?;
    Ok(if json { answer.body } else { table::status(&status) })
}

/// A running engine, as far as one can tell before asking.
pub(super) struct Engine {
    url: String,
    token: Option<Token>,
    /// The data folder that its address came from.
    data: Option<String>,
}

pub(super) struct Answer {
    url: String,
    pub(super) body: String,
}

impl Engine {
    pub(super) fn find(flags: &ClientFlags) -> Result<Engine, ClientError> {
        if let Some(url) = &flags.url {
            if !url.contains("://") {
                return Err(ClientError::NoScheme { url: url.clone() });
            }
            // The token of another engine, or of one that only happens to be here, is not shown to any address given.
            let token = flags.data.as_deref().map(|data| Token::load(data, TOKEN_FILE)).transpose()?.flatten();
            return Ok(Engine { url: url.strip_suffix('/').unwrap_or(url).to_owned(), token, data: None });
        }
        let flags = Flags { config: flags.config.clone(), data: flags.data.clone(), ..Flags::default() };
        let data = Config::load(flags)?.data;
        let address = read_address(&data)?;
        let token = Token::load(&data, TOKEN_FILE)?;
        Ok(Engine { url: format!("http://{address}"), token, data: Some(shown(&data)) })
    }

    pub(super) fn ask(&self, method: &str, target: &str, body: impl AsSendBody) -> Result<Answer, ClientError> {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // A proxy from the environment is for the outside: the engine is next door, and the token is for it alone.
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(ANSWER_TIMEOUT))
            .user_agent(concat!("hotseat/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.url))
            .header(header::ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let request = request.body(body).map_err(|error| self.unreachable(error.to_string()))?;
        let mut response = agent.run(request).map_err(|error| self.no_answer(error))?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let body = body.map_err(|error| self.no_answer(error))?;
        self.granted(&response, body)
    }

    fn granted<B>(&self, response: &Response<B>, body: String) -> Result<Answer, ClientError> {
        let answer = Answer { url: self.url.clone(), body };
        if response.status().is_success() {
            return Ok(answer);
        }
        let not_an_engine = |_| ClientError::NotAnEngine {
            url: self.url.clone(),
            reason: format!("it answered {} without a reason", response.status()),
        };
        let ErrorBody { error } = serde_json::from_str(&answer.body).map_err(not_an_engine)?;
        Err(ClientError::Refused { reason: error.reason, details: error.details })
    }

    fn no_answer(&self, error: ureq::Error) -> ClientError {
        match (error, &self.data) {
            // The file outlived an engine that was killed.
            (ureq::Error::Io(error), Some(data)) if error.kind() == ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { data: data.clone() }
            }
            (ureq::Error::Io(error), _) => self.unreachable(error.to_string()),
            (error, _) => self.unreachable(error.to_string()),
        }
    }

    fn unreachable(&self, reason: String) -> ClientError {
        ClientError::Unreachable { url: self.url.clone(), reason: reason.replace('\n', " ") }
    }
}

impl Answer {
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_str(&self.body)
            .map_err(|error| ClientError::NotAnEngine { url: self.url.clone(), reason: error.to_string() })
    }
}

fn read_address(data: &Path) -> Result<SocketAddr, ClientError> {
    let path = data.join(ADDRESS_FILE);
    let file = path.display().to_string();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(ClientError::NotRunning { data: shown(data) });
        }
        Err(source) => return Err(ClientError::AddressFile { file, source }),
    };
    text.trim().parse().map_err(|_| ClientError::AddressMalformed { file, found: text.chars().take(80).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: ClientFlags, data: &Path, expected: &str) {
        let error = status(false, &flags).unwrap_err().to_string();
        assert_eq!(error.replace(&data.display().to_string(), "DATA"), expected);
    }

    fn with_data(data: &Path) -> ClientFlags {
        ClientFlags { data: Some(data.to_owned()), ..ClientFlags::default() }
    }

    #[test]
    fn no_engine_is_told_in_one_line() {
        let data = tempfile::tempdir().unwrap();
        let expected = "no engine is running on data folder DATA/: start one with scripts/run.sh";
        check(with_data(data.path()), data.path(), expected);

        // Bound and closed: nobody listens there, as after a kill.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        std::fs::write(data.path().join(ADDRESS_FILE), format!("{address}\n")).unwrap();
        check(with_data(data.path()), data.path(), expected);
    }

    #[test]
    fn a_spoiled_address_file_is_told() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(ADDRESS_FILE), "here\n").unwrap();
        check(with_data(data.path()), data.path(), "DATA/engine.addr holds no address but \"here\\n\"; give --url");
    }

    #[test]
    fn a_bad_url_is_told() {
        let told = |url: &str| {
            let flags = ClientFlags { url: Some(url.to_owned()), ..ClientFlags::default() };
            status(false, &flags).unwrap_err().to_string()
        };
        for url in ["127.0.0.1:12345", "localhost:1", "nonsense"] {
            assert_eq!(told(url), format!("--url {url} does not say how to speak: write http://{url}"));
        }
        for url in ["https://127.0.0.1:1", "ftp://127.0.0.1", "http://127.0.0.1:none"] {
            let error = told(url);
            assert!(error.starts_with(url) && error.contains(" cannot be reached: "), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
