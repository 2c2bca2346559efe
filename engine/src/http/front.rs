//! The first to see a request: it tells the engine's own routes from the logic's and puts the guard before the former.
//!
//! The guard stands here and not in the router, so that no route added later can be without it. The logic's requests
//! take the short way: no router, no middleware, no boxed body.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{HeaderMap, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::Request;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tower_service::Service;

use crate::guard::Guard;
use crate::http::{Backend, Kind, Refusal, Requester, loads, logic, own};
use crate::metrics::RequestMetrics;
use crate::sessions::{Lobby, ORIGIN_FOREIGN};

/// The logic's answers are whole and unboxed; the engine's own come from its router.
type Body = Either<Full<Bytes>, axum::body::Body>;

/// The most of a `User-Agent` that is kept.
const AGENT_BYTES_MAX: usize = 80;

/// Between two lines about pages that may not connect.
const FOREIGN_PAGE_EVERY: Duration = Duration::from_secs(10);

/// What bounds one request of the logic's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    pub(crate) body_bytes_max: usize,
    /// From the end of its head to its answer.
    pub(crate) timeout: Duration,
}

/// Answers every request of one listener.
#[derive(Debug)]
pub(crate) struct Front<B> {
    backend: Arc<B>,
    guard: Guard,
    own: Router,
    limits: RequestLimits,
    requests: RequestMetrics,
    foreign_pages: Mutex<Seldom>,
}

impl<B: Backend> Front<B> {
    pub(crate) fn new(backend: Arc<B>, guard: Guard, limits: RequestLimits, requests: RequestMetrics) -> Front<B> {
        let foreign_pages = Mutex::new(Seldom::default());
        Front { own: own::router(Arc::clone(&backend)), backend, guard, limits, requests, foreign_pages }
    }

    /// Dropping the future gives the request up.
    pub(crate) async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Body> {
        let response = match Route::of(request.uri().path()) {
            Route::Logic => logic::answer(&*self.backend, self.limits, request).await.map(Either::Left),
            Route::Players => self.upgrade(peer, request).map(|body: axum::body::Body| Either::Right(body)),
            Route::Health => self.own(request).await.map(Either::Right),
            Route::Admin => self.admin(peer, request).await.map(Either::Right),
        };
        // A connection that became a player's is counted among those.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            self.requests.count(response.status());
        }
        response
    }

    /// Where players come in.
    pub(crate) fn lobby(&self) -> Option<Arc<Lobby>> {
        self.backend.lobby()
    }

    fn upgrade(&self, peer: SocketAddr, mut request: Request<Incoming>) -> Response<axum::body::Body> {
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, _body) = request.into_parts();
        let upgraded = match self.lobby() {
            Some(lobby) => lobby.upgrade(&head, upgrade, peer.ip()),
            None => Err(Refusal::new(Kind::Unavailable, "nobody-plays", "players cannot connect here")),
        };
        upgraded.unwrap_or_else(|refusal| {
            self.count_refused(refusal.code());
            if refusal.code() == ORIGIN_FOREIGN {
                self.log_foreign_page(peer, &refusal);
            }
            refusal.response(&head.headers)
        })
    }

    /// Browsers show a page nothing of why it may not connect, so whoever runs the engine is told. A page tries again and
    /// again, hence not each time.
    fn log_foreign_page(&self, peer: SocketAddr, refusal: &Refusal) {
        if let Some(untold) = self.foreign_pages.lock().told_at(Instant::now(), FOREIGN_PAGE_EVERY) {
            tracing::warn!(%peer, untold, reason = refusal.reason(), "a page that came to play was refused");
        }
    }

    /// What a client is sent whose request began and did not end in time: nobody will answer it.
    pub(crate) fn head_timeout(&self, waited: Duration) -> Vec<u8> {
        let reason = format!("the head of the request did not arrive within {} ms", waited.as_millis());
        let refusal = Refusal::new(Kind::RequestTimeout, "head-timeout", reason);
        self.count_refused(refusal.code());
        let response = refusal.response::<String>(&HeaderMap::new());
        self.requests.count(response.status());
        let mut text = format!("HTTP/1.1 {}\r\nconnection: close\r\n", response.status());
        for (name, value) in response.headers() {
            text += &format!("{name}: {}\r\n", value.to_str().expect("the headers of a refusal are text"));
        }
        text += &format!("content-length: {}\r\n\r\n{}", response.body().len(), response.body());
        text.into_bytes()
    }

    /// A connection that became no player's, and was to.
    pub(crate) fn count_refused(&self, cause: &'static str) {
        if let Some(lobby) = self.lobby() {
            lobby.count_refused(cause);
        }
    }

    async fn admin(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<axum::body::Body> {
        let (mut head, body) = request.into_parts();
        if let Err(refusal) = self.guard.check(&head) {
            log_refusal(peer, &head.method, head.uri.path(), &refusal);
            return refusal.response(&head.headers);
        }
        let agent = head.headers.get(header::USER_AGENT).map(|agent| {
            let bytes = agent.as_bytes();
            bytes[..bytes.len().min(AGENT_BYTES_MAX)].escape_ascii().to_string()
        });
        head.extensions.insert(Requester { peer, agent });
        self.own(Request::from_parts(head, body)).await
    }

    async fn own(&self, request: Request<Incoming>) -> Response<axum::body::Body> {
        // A router is a handle: cloning it costs a reference count.
        match self.own.clone().call(request).await {
            Ok(response) => response,
            Err(infallible) => match infallible {},
        }
    }
}

/// A foreign page that knocks is worth a line: it is an attack, or a name is missing in `allowed_hosts`.
fn log_refusal(peer: SocketAddr, method: &axum::http::Method, path: &str, refusal: &Refusal) {
    tracing::info!(%peer, %method, path, code = refusal.code(), reason = refusal.reason(), "admin request refused");
}

/// What is told now and then only.
#[derive(Debug, Default)]
struct Seldom {
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// If it is to be told now: how often it has not been since the last time.
    fn told_at(&mut self, now: Instant, every: Duration) -> Option<u64> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < every) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// Whatever is not the engine's, so that a game may have any path.
    Logic,
    /// Where players open a WebSocket; who they are is asked later.
    Players,
    /// Tells one bit that anybody may know: load balancers ask under any `Host`.
    Health,
    Admin,
}

impl Route {
    /// Paths are compared as they came: `/LOAD`, `//load` and `/%6coad` are the logic's, whose routes reach nothing of
    /// the engine's.
    fn of(path: &str) -> Route {
        match path {
            wire::WEBSOCKET_PATH => Route::Players,
            own::HEALTHZ => Route::Health,
            loads::LOAD | own::METRICS => Route::Admin,
            _ => match path.strip_prefix(own::API) {
                Some(below) if below.is_empty() || below.starts_with('/') => Route::Admin,
                _ => Route::Logic,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_often_is_told_seldom() {
        let (mut seldom, begun) = (Seldom::default(), Instant::now());
        let told = [0, 1, 9_999, 10_000, 10_001, 30_000]
            .map(|ms| seldom.told_at(begun + Duration::from_millis(ms), FOREIGN_PAGE_EVERY));
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn only_the_engines_own_paths_are_the_engines() {
        for path in ["/load", "/metrics", "/api/v1", "/api/v1/", "/api/v1/status", "/api/v1/../x", "/api/v1//"] {
            assert_eq!(Route::of(path), Route::Admin, "{path}");
        }
        assert_eq!(Route::of("/healthz"), Route::Health);
        assert_eq!(Route::of("/ws"), Route::Players);
        for path in [
            "/", "/ws/", "/hello", "/load/", "/loader", "/LOAD", "//load", "/%6coad", "/api", "/api/v10", "/api/v1x",
            "*", "",
        ] {
            assert_eq!(Route::of(path), Route::Logic, "{path}");
        }
    }
}
