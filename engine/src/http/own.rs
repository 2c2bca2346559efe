//! The engine's own routes: `/healthz`, `/metrics` and the status under `/api/v1/`; the others are in `loads` and `rooms`.
//!
//! No request gets here without having passed the guard, `/healthz` alone excepted.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::routing::{get, post};
use axum::{Router, body::Body};
use serde::Serialize;

use crate::http::notice;
use crate::http::refusal::{JSON, TEXT};
use crate::http::{Backend, Health, Kind, Refusal, loads, rooms};

pub(super) const HEALTHZ: &str = "/healthz";
pub(super) const METRICS: &str = "/metrics";
/// Everything below it is the engine's, whether a route or not, so that later routes take no path from a game.
pub(super) const API: &str = "/api/v1";

/// The text format's own content type.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router<B: Backend>(backend: Arc<B>) -> Router {
    let status = || get(status::<B>).fallback(method_not_allowed);
    Router::new()
        .route(loads::LOAD, loads::of_load::<B>())
        .route(loads::PLAN, loads::of_plan::<B>().fallback(method_not_allowed))
        .route(loads::CONFIRM, loads::of_confirm::<B>())
        .route(loads::ROLLBACK, loads::of_rollback::<B>())
        .route(HEALTHZ, get(healthz::<B>).fallback(method_not_allowed))
        .route(METRICS, get(metrics::<B>).fallback(method_not_allowed))
        .route("/api/v1", status())
        .route("/api/v1/", status())
        .route("/api/v1/status", status())
        .route(rooms::ALL, rooms::of_all::<B>().fallback(method_not_allowed))
        .route(rooms::ONE, rooms::of_one::<B>().fallback(method_not_allowed))
        .route(rooms::PLAYERS, rooms::players_of_one::<B>().fallback(method_not_allowed))
        .route(rooms::PLAYER, rooms::player_of_one::<B>().fallback(method_not_allowed))
        .route("/api/v1/notice", post(notice::give::<B>).fallback(method_not_allowed))
        .fallback(not_found)
        .with_state(backend)
}

async fn healthz<B: Backend>(State(backend): State<Arc<B>>) -> Response<Body> {
    match backend.health() {
        Health::Ready => text(StatusCode::OK, TEXT, "ready\n".to_owned()),
        Health::Stuck => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, "stuck\n".to_owned()),
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
    let reason = format!(
        "there is no {} here; there are {API}/status, {API}/rooms, {API}/rooms/NAME, {API}/rooms/NAME/players, {API}/plan, \
         {API}/confirm and {API}/rollback",
        uri.path()
    );
    Refusal::new(Kind::NotFound, "route-unknown", reason).response(&headers)
}

/// The router adds `Allow`.
pub(super) async fn method_not_allowed(method: Method, headers: HeaderMap) -> Response<Body> {
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
