//! Where the engine is, from one URL.

use std::fmt;
use std::str::FromStr;

/// How to reach an engine's players' door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub transport: Transport,
    /// Name or address, with the port.
    pub host: String,
    /// Of the WebSocket, with its query; empty for TCP.
    pub path: String,
}

/// What carries the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Tcp,
}

/// A URL that leads to no engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("{0:?} does not say how to speak: write ws://HOST:PORT/ws or tcp://HOST:PORT")]
    NoScheme(String),
    #[error(
        "{0}:// is not spoken here: write ws:// or tcp:// (for wss://, run swarm beside the engine, behind its TLS)"
    )]
    UnknownScheme(String),
    #[error("{0:?} names no port: write ws://HOST:PORT/ws or tcp://HOST:PORT")]
    NoPort(String),
    #[error("{0:?} has a path, which a TCP connection has no use for: write tcp://HOST:PORT")]
    PathOverTcp(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| TargetError::NoScheme(url.to_owned()))?;
        let transport = match scheme {
            "ws" => Transport::WebSocket,
            "tcp" => Transport::Tcp,
            other => return Err(TargetError::UnknownScheme(other.to_owned())),
        };
        let (host, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        let port =
            host.rsplit_once(':').and_then(|(name, port)| (!name.is_empty()).then(|| port.parse::<u16>().ok())?);
        if port.is_none() {
            return Err(TargetError::NoPort(url.to_owned()));
        }
        let path = match (transport, path) {
            (Transport::Tcp, "" | "/") => String::new(),
            (Transport::Tcp, _) => return Err(TargetError::PathOverTcp(url.to_owned())),
            (Transport::WebSocket, "" | "/") => wire::WEBSOCKET_PATH.to_owned(),
            (Transport::WebSocket, path) => path.to_owned(),
        };
        Ok(Target { transport, host: host.to_owned(), path })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::WebSocket => "ws",
            Transport::Tcp => "tcp",
        };
        write!(formatter, "{scheme}://{}{}", self.host, self.path)
    }
}

impl Target {
    /// The admin routes of the same engine.
    pub(crate) fn http(&self) -> String {
        format!("http://{}", self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: Result<&str, &str>) {
        let found = url.parse::<Target>().map(|target| target.to_string()).map_err(|error| error.to_string());
        match expected {
            Ok(expected) => assert_eq!(found.as_deref(), Ok(expected)),
            Err(part) => assert!(found.as_ref().is_err_and(|error| error.contains(part)), "{url}: {found:?}"),
        }
    }

    #[test]
    fn a_url_says_how_and_where() {
        check("ws://127.0.0.1:12345/ws", Ok("ws://127.0.0.1:12345/ws"));
        check("ws://localhost:1", Ok("ws://localhost:1/ws"));
        check("ws://[::1]:1/ws?room=a", Ok("ws://[::1]:1/ws?room=a"));
        check("tcp://127.0.0.1:12345", Ok("tcp://127.0.0.1:12345"));
        check("127.0.0.1:1", Err("does not say how to speak"));
        check("wss://a:1/ws", Err("behind its TLS"));
        check("ws://127.0.0.1/ws", Err("names no port"));
        check("ws://:80/ws", Err("names no port"));
        check("tcp://127.0.0.1:1/ws", Err("no use for"));
    }
}
