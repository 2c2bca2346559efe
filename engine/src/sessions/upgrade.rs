//! The opening handshake of a WebSocket (RFC 6455, 4.2): checked here, so that the socket comes back with all its
//! bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::net::TcpStream;
use wire::SUBPROTOCOL;

use crate::guard::{bearer, excerpt};
use crate::http::{Kind, Refusal, parameter};
use crate::serve::HttpSocket;
use crate::sessions::connection::Opening;
use crate::sessions::link::Framing;
use crate::sessions::lobby::{Lobby, Slot};

/// The code of a refusal of a page from elsewhere.
pub(crate) const ORIGIN_FOREIGN: &str = "origin-foreign";

/// RFC 6455, 1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const WEBSOCKET_VERSION: &str = "13";
const KEY_BYTES: usize = 16;

impl Lobby {
    /// Answers a request for the players' path. On 101 the connection becomes a player's, in a task of its own.
    ///
    /// # Errors
    /// A [`Refusal`]: the request stays one of HTTP.
    pub(crate) fn upgrade<B: Default>(
        self: &Arc<Self>,
        head: &Parts,
        upgrade: OnUpgrade,
        peer: IpAddr,
    ) -> Result<Response<B>, Refusal> {
        let accept = check_handshake(head)?;
        let subprotocol = subprotocol(&head.headers)?;
        self.check_origin(&head.headers)?;
        let room = parameter(head.uri.query().unwrap_or(""), "room")
            .map_err(|error| bad_request("room-malformed", error.to_string()))?;
        let opening = Opening {
            room: room.map(std::borrow::Cow::into_owned),
            bearer: bearer_of(&head.headers),
            unread: Vec::new(),
        };
        let slot = self.take_slot(peer).map_err(|bad| Refusal::new(Kind::Unavailable, bad.cause, bad.reason))?;
        // A task of its own: that of the HTTP connection has more in it than an idle player's needs.
        tokio::spawn(Arc::clone(self).serve_upgraded(upgrade, opening, slot));
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        if subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        }
        Ok(response)
    }

    async fn serve_upgraded(self: Arc<Self>, upgrade: OnUpgrade, opening: Opening, slot: Slot) {
        let Some((stream, unread)) = upgrade.await.ok().and_then(taken_apart) else {
            // The client was gone before the answer was.
            return;
        };
        self.serve(stream, Framing::WebSocket, Opening { unread, ..opening }, slot).await;
    }

    /// A page of another site must not play in the name of whoever looks at it.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        // Programs send none.
        let Some(origin) = origins.next() else { return Ok(()) };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let is_own = |origin: &str| {
            let of_host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            // That both name the same is not enough: a foreign page can have its own name lead here.
            of_host.is_some_and(|of_host| {
                self.allowed_hosts.iter().any(|allowed| allowed == of_host)
                    || (host == Some(of_host) && cannot_be_rebound(of_host))
            })
        };
        let is_accepted = |origin: &str| is_own(origin) || self.allowed_origins.iter().any(|allowed| allowed == origin);
        if origins.next().is_none() && origin.to_str().is_ok_and(is_accepted) {
            return Ok(());
        }
        let reason = format!(
            "a page of the origin {} may not connect; add it to allowed_origins in engine.toml, or its host to \
             allowed_hosts",
            excerpt(origin)
        );
        Err(Refusal::new(Kind::Forbidden, ORIGIN_FOREIGN, reason))
    }
}

/// Whether this `Host` means the same to everybody who asks, whatever a name server says.
fn cannot_be_rebound(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let of_v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name == "localhost"
        || name.parse::<Ipv4Addr>().is_ok()
        || of_v6.is_some_and(|name| name.parse::<Ipv6Addr>().is_ok())
}

/// The socket, and what was read from it behind the request.
fn taken_apart(upgraded: Upgraded) -> Option<(TcpStream, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<HttpSocket>>().ok()?;
    Some((parts.io.into_inner().into_stream(), parts.read_buf.to_vec()))
}

/// The value of `Sec-WebSocket-Accept`.
fn check_handshake(head: &Parts) -> Result<HeaderValue, Refusal> {
    if head.method != Method::GET || head.version != Version::HTTP_11 {
        return Err(bad_request(
            "websocket-expected",
            "this is where players connect: GET of HTTP/1.1 with Upgrade: websocket",
        ));
    }
    if !has_token(&head.headers, &header::UPGRADE, "websocket")
        || !has_token(&head.headers, &header::CONNECTION, "upgrade")
    {
        let reason = "this is where players connect by WebSocket; send Upgrade: websocket and Connection: Upgrade";
        return Err(Refusal::new(Kind::UpgradeRequired, "websocket-expected", reason));
    }
    let version = one(&head.headers, &header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version.as_bytes() != WEBSOCKET_VERSION.as_bytes()) {
        let reason = format!("Sec-WebSocket-Version is missing or not accepted; accepted is {WEBSOCKET_VERSION}");
        return Err(Refusal::new(Kind::UpgradeRequired, "websocket-version", reason));
    }
    let key = one(&head.headers, &header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let is_key = |key: &&[u8]| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES);
    let Some(key) = key.filter(is_key) else {
        return Err(bad_request("websocket-key", "Sec-WebSocket-Key is missing or is not 16 bytes in base64"));
    };
    let digest = Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize();
    Ok(HeaderValue::try_from(STANDARD.encode(digest)).expect("base64 is ASCII"))
}

/// Whether the subprotocol was asked for; a client that asks for others only wants another server.
fn subprotocol(headers: &HeaderMap) -> Result<bool, Refusal> {
    let name = &header::SEC_WEBSOCKET_PROTOCOL;
    if headers.get(name).is_none() {
        return Ok(false);
    }
    if has_token(headers, name, SUBPROTOCOL) {
        return Ok(true);
    }
    Err(bad_request("websocket-protocol", format!("none of the subprotocols is spoken here; {SUBPROTOCOL} is")))
}

fn bearer_of(headers: &HeaderMap) -> Option<String> {
    let token = bearer(one(headers, &header::AUTHORIZATION)?.as_bytes())?;
    String::from_utf8(token.to_vec()).ok()
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a list of tokens, over all headers of this name, has this one.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
}

fn bad_request(code: &'static str, reason: impl Into<String>) -> Refusal {
    Refusal::new(Kind::BadRequest, code, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_rebound_and_an_address_cannot() {
        for host in ["127.0.0.1", "10.0.0.5:8080", "[::1]:7777", "[2001:db8::1]", "localhost", "localhost:7777"] {
            assert!(cannot_be_rebound(host), "{host}");
        }
        let names =
            ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example:7777", "::1", ""];
        for host in names {
            assert!(!cannot_be_rebound(host), "{host}");
        }
    }
}
