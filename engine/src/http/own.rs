//! The engine's own routes: `/load`, `/healthz`, `/metrics` and the status under `/api/v1/`; those of rooms are in `rooms`.
//!
//! No request gets here without having passed the guard, `/healthz` alone excepted.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::routing::{any, get, post};
use axum::{Router, body::Body};
use serde::Serialize;

use crate::http::notice;
use crate::http::query::parameter;
use crate::http::refusal::{JSON, TEXT, wants_json};
use crate::http::{Backend, Health, Kind, Refusal, Requester, rooms};
use crate::loader::name::PluginName;
use crate::status::Loaded;

pub(super) const LOAD: &str = "/load";
pub(super) const HEALTHZ: &str = "/healthz";
pub(super) const METRICS: &str = "/metrics";
/// Everything below it is the engine's, whether a route or not, so that later routes take no path from a game.
pub(super) const API: &str = "/api/v1";

/// The text format's own content type.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router<B: Backend>(backend: Arc<B>) -> Router {
    let status = || get(status::<B>).fallback(method_not_allowed);
    Router::new()
        .route(LOAD, any(load::<B>))
        .route(HEALTHZ, get(healthz::<B>).fallback(method_not_allowed))
        .route(METRICS, get(metrics::<B>).fallback(method_not_allowed))
        .route("/api/v1", status())
        .route("/api/v1/", status())
        .route("/api/v1/status", status())
        .route(rooms::ALL, rooms::of_all::<B>().fallback(method_not_allowed))
        .route(rooms::ONE, rooms::of_one::<B>().fallback(method_not_allowed))
        .route(rooms::PLAYERS, rooms::players_of_one::<B>().fallback(method_not_allowed))
        .route("/api/v1/notice", post(notice::give::<B>).fallback(method_not_allowed))
        .fallback(not_found)
        .with_state(backend)
}

async fn load<B: Backend>(
    State(backend): State<Arc<B>>,
    Extension(who): Extension<Requester>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    // HEAD is not GET without a body here: what is asked to change nothing must not swap the logic.
    if method != Method::GET && method != Method::POST {
        let mut response = method_not_allowed(method, headers).await;
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,POST"));
        return response;
    }
    match try_load(backend, who, &uri, &headers).await {
        Ok(loaded) if wants_json(&headers) => json(&loaded),
        Ok(_) => text(StatusCode::OK, TEXT, "done\n".to_owned()),
        Err(refusal) => refusal.response(&headers),
    }
}

async fn try_load<B: Backend>(
    backend: Arc<B>,
    who: Requester,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Loaded, Refusal> {
    if is_prefetch(headers) {
        let reason = "a browser asked for this before its user did; press Enter to load";
        return Err(Refusal::new(Kind::Forbidden, "load-prefetch", reason));
    }
    let malformed = |reason: String| Refusal::new(Kind::BadRequest, "name-malformed", reason);
    let name = parameter(uri.query().unwrap_or(""), "name").map_err(|error| malformed(error.to_string()))?;
    let Some(name) = name else {
        let reason = "no plugin name is given; say /load?name=plugin2.so";
        return Err(Refusal::new(Kind::BadRequest, "name-missing", reason));
    };
    let name = PluginName::parse(&name).map_err(|error| malformed(error.to_string()))?;
    // A task of its own: a caller who hangs up must not leave rooms half swapped.
    let loading = tokio::spawn(async move { backend.load(name, who).await });
    loading.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a load ended without an answer");
        let reason = "the load ended without an answer; see the engine's log";
        Err(Refusal::new(Kind::Internal, "load-broken", reason))
    })
}

/// Browsers fetch what they guess will be typed next; a guess must not swap the logic.
fn is_prefetch(headers: &HeaderMap) -> bool {
    const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
    headers.get_all(SEC_PURPOSE).iter().any(|purpose| purpose.as_bytes().starts_with(b"prefetch"))
}

async fn healthz<B: Backend>(State(backend): State<Arc<B>>) -> Response<Body> {
    match backend.health() {
        Health::Ready => text(StatusCode::OK, TEXT, "ready\n".to_owned()),
        Health::Stopping => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, "stopping\n".to_owned()),
    }
}

async fn metrics<B: Backend>(State(backend): State<Arc<B>>) -> Response<Body> {
    text(StatusCode::OK, PROMETHEUS, backend.metrics())
}

async fn status<B: Backend>(State(backend): State<Arc<B>>) -> Response<Body> {
    json(&backend.status())
}

async fn not_found(uri: Uri, headers: HeaderMap) -> Response<Body> {
    let reason = format!("there is no {} here; there are {API}/status, {API}/rooms and {API}/rooms/NAME", uri.path());
    Refusal::new(Kind::NotFound, "route-unknown", reason).response(&headers)
}

/// The router adds `Allow`.
async fn method_not_allowed(method: Method, headers: HeaderMap) -> Response<Body> {
    let reason = format!("{method} is not a method of this route; see the Allow header");
    Refusal::new(Kind::MethodNotAllowed, "method-not-allowed", reason).response(&headers)
}

pub(super) fn json<T: Serialize>(value: &T) -> Response<Body> {
    let mut json = serde_json::to_string_pretty(value).expect("the status types have string keys only");
    json.push('\n');
    text(StatusCode::OK, JSON, json)
}

pub(super) fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // A cached "done" would be a load that never happened.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
