//! The door of the admin routes: from a browser's address bar on the same machine, and from nowhere else.
//!
//! It stops what a foreign page can make a browser on this machine do (a link, an image, a form, a rebound DNS name),
//! and asks whoever comes from another machine for a token. The logic's routes never pass through here.

use std::net::SocketAddr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::http::{Kind, Refusal};
use crate::token::{TOKEN_FILE, Token};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who may use the admin routes of one listener.
#[derive(Debug)]
pub struct Guard {
    bound: SocketAddr,
    /// Names of this machine as seen from itself, with the port.
    own_hosts: Vec<String>,
    /// `allowed_hosts`: names by which others reach it, so they always need the token.
    allowed_hosts: Vec<String>,
    token: Token,
}

impl Guard {
    #[must_use]
    pub fn new(bound: SocketAddr, allowed_hosts: &[String], token: Token) -> Guard {
        let mut own_hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned(), "[::1]".to_owned()];
        // An IP address cannot be rebound to a foreign page, and without this one `--listen 127.0.0.2:…` would lock its
        // own operator out.
        if !bound.ip().is_unspecified() {
            own_hosts.push(match bound {
                SocketAddr::V4(bound) => bound.ip().to_string(),
                SocketAddr::V6(bound) => format!("[{}]", bound.ip()),
            });
        }
        let with_port = own_hosts.iter().map(|host| format!("{host}:{}", bound.port())).collect();
        // Clients leave the port out where it is the scheme's own.
        let own_hosts = if bound.port() == 80 { [own_hosts, with_port].concat() } else { with_port };
        Guard { bound, own_hosts, allowed_hosts: allowed_hosts.to_vec(), token }
    }

    /// Whether a request for an admin route may pass, whatever its method.
    ///
    /// # Errors
    /// A [`Refusal`] that says what was wrong: 400 for a request that could be read in two ways, 401 for the token,
    /// 403 for the rest.
    pub fn check(&self, request: &Parts) -> Result<(), Refusal> {
        self.check_target(request)?;
        let host = self.check_host(&request.headers)?;
        check_fetch_site(&request.headers)?;
        self.check_origin(&request.headers)?;
        let is_own_host = self.own_hosts.iter().any(|own| own == host);
        if self.bound.ip().to_canonical().is_loopback() && is_own_host {
            return Ok(());
        }
        self.check_token(&request.headers)
    }

    /// `GET http://somewhere/load`: a second host, which would have to be preferred to the `Host` header.
    fn check_target(&self, request: &Parts) -> Result<(), Refusal> {
        if request.uri.authority().is_none() {
            return Ok(());
        }
        let reason = "the request target is a whole URL, as sent to a proxy; send the path alone";
        Err(Refusal::new(Kind::BadRequest, "target-absolute", reason))
    }

    fn check_host<'request>(&self, headers: &'request HeaderMap) -> Result<&'request str, Refusal> {
        let host = match single(headers, &header::HOST) {
            Single::One(host) => host,
            Single::Missing => {
                let reason = format!("the request has no Host header; send \"Host: {}\"", self.own_hosts[0]);
                return Err(Refusal::new(Kind::BadRequest, "host-missing", reason));
            }
            Single::Many => {
                return Err(Refusal::new(
                    Kind::BadRequest,
                    "host-repeated",
                    "the request has more than one Host header",
                ));
            }
        };
        let known = |text: &&str| self.own_hosts.iter().chain(&self.allowed_hosts).any(|allowed| allowed == text);
        host.to_str().ok().filter(known).ok_or_else(|| {
            let reason = format!(
                "the Host {} is not one of this engine's; use http://{}, or add it to allowed_hosts in engine.toml",
                excerpt(host),
                self.own_hosts[0]
            );
            Refusal::new(Kind::Forbidden, "host-foreign", reason)
        })
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let origin = match single(headers, &header::ORIGIN) {
            Single::Missing => return Ok(()),
            Single::One(origin) => origin,
            Single::Many => {
                let reason = "the request has more than one Origin header";
                return Err(Refusal::new(Kind::BadRequest, "origin-repeated", reason));
            }
        };
        let host = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        if host.is_some_and(|host| self.own_hosts.iter().chain(&self.allowed_hosts).any(|allowed| allowed == host)) {
            return Ok(());
        }
        let reason = format!(
            "the request comes from a page of the origin {}; type the address into the address bar, or use curl",
            excerpt(origin)
        );
        Err(Refusal::new(Kind::Forbidden, "origin-foreign", reason))
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let ask = format!(
            "send \"Authorization: Bearer\" and the token from {TOKEN_FILE} in the data folder of this engine, which is \
             reached from other machines"
        );
        let refuse = |code, what: &str| Err(Refusal::new(Kind::Unauthorized, code, format!("{what}; {ask}")));
        match single(headers, &header::AUTHORIZATION) {
            Single::Missing => refuse("token-missing", "a token is needed"),
            Single::Many => refuse("token-repeated", "there is more than one Authorization header"),
            Single::One(value) => match bearer(value.as_bytes()) {
                None => refuse("token-missing", "the Authorization header is not of the kind Bearer"),
                Some(presented) if self.token.matches(presented) => Ok(()),
                Some(_) => refuse("token-wrong", "the token is not this engine's"),
            },
        }
    }
}

/// Browsers say by this who started a request; programs do not send it.
fn check_fetch_site(headers: &HeaderMap) -> Result<(), Refusal> {
    let foreign =
        headers.get_all(SEC_FETCH_SITE).iter().find(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    let Some(site) = foreign else { return Ok(()) };
    let reason = format!(
        "the request was started by another site (Sec-Fetch-Site: {}); type the address into the address bar, or use curl",
        excerpt(site)
    );
    Err(Refusal::new(Kind::Forbidden, "site-foreign", reason))
}

/// Enough of a value to recognise it; the rest of a long one is the sender's business.
pub(crate) fn excerpt(value: &HeaderValue) -> String {
    const SHOWN_BYTES_MAX: usize = 80;
    let bytes = value.as_bytes();
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    format!("\"{}\"", shown.escape_ascii())
}

enum Single<'headers> {
    Missing,
    One(&'headers HeaderValue),
    Many,
}

fn single<'headers>(headers: &'headers HeaderMap, name: &HeaderName) -> Single<'headers> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Single::Missing,
        (Some(value), None) => Single::One(value),
        (Some(_), Some(_)) => Single::Many,
    }
}

/// What follows `Bearer `, whose case does not count (RFC 9110, 11.1).
pub(crate) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a request with this `Host` and no token passes a listener bound there.
    fn check(bound: &str, host: &str, expected: Result<(), &str>) {
        let data = tempfile::tempdir().unwrap();
        let token = Token::load_or_make(data.path(), TOKEN_FILE).unwrap();
        let guard = Guard::new(bound.parse().unwrap(), &["game.example.org".to_owned()], token);
        let request = axum::http::Request::builder().uri("/load").header(header::HOST, host).body(()).unwrap();
        let checked = guard.check(&request.into_parts().0);
        assert_eq!(checked.as_ref().copied().map_err(Refusal::code), expected, "{bound} {host}");
    }

    #[test]
    fn the_port_may_be_left_out_only_where_it_is_the_schemes_own() {
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            check("127.0.0.1:80", host, Ok(()));
            check("127.0.0.1:80", &format!("{host}:80"), Ok(()));
            check("127.0.0.1:8080", &format!("{host}:8080"), Ok(()));
            check("127.0.0.1:8080", host, Err("host-foreign"));
            check("127.0.0.1:8080", &format!("{host}:80"), Err("host-foreign"));
        }
    }

    #[test]
    fn the_bound_address_is_a_name_of_its_own() {
        check("127.0.0.2:8080", "127.0.0.2:8080", Ok(()));
        check("[::1]:8080", "[::1]:8080", Ok(()));
        check("127.0.0.1:8080", "127.0.0.2:8080", Err("host-foreign"));
        check("192.0.2.1:8080", "192.0.2.1:8080", Err("token-missing"));
        check("[2001:db8::1]:8080", "[2001:db8::1]:8080", Err("token-missing"));
        check("0.0.0.0:8080", "0.0.0.0:8080", Err("host-foreign"));
    }

    #[test]
    fn only_loopback_goes_without_a_token() {
        for bound in ["127.0.0.1:8080", "127.255.255.254:8080", "[::1]:8080", "[::ffff:127.0.0.1]:8080"] {
            check(bound, "localhost:8080", Ok(()));
            check(bound, "game.example.org", Err("token-missing"));
        }
        for bound in ["0.0.0.0:8080", "[::]:8080", "10.0.0.5:8080", "[::ffff:10.0.0.5]:8080", "[fe80::1]:8080"] {
            check(bound, "localhost:8080", Err("token-missing"));
        }
    }
}
