//! `/api/v1/rooms`: list, open, change and close rooms, and take players out of them. Bodies are JSON, and so are the answers.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use axum::routing::{MethodRouter, delete, get};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use wire::limits::TEXT_BYTES_MAX;

use crate::config::ROOM_CONFIG_BYTES_MAX;
use crate::http::own::json;
use crate::http::query::{check_known, parameter};
use crate::http::{Backend, Kind, Refusal};
use crate::status::RoomStatus;

pub(super) const ALL: &str = "/api/v1/rooms";
pub(super) const ONE: &str = "/api/v1/rooms/{name}";
pub(super) const PLAYERS: &str = "/api/v1/rooms/{name}/players";
pub(super) const PLAYER: &str = "/api/v1/rooms/{name}/players/{player}";

/// A config whose every byte is escaped in JSON, and the other keys.
const BODY_BYTES_MAX: usize = 6 * ROOM_CONFIG_BYTES_MAX + 4096;
/// What a player who is taken out is told, where nothing is said.
const KICK_REASON: &str = "taken out by an operator";
/// For a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn of_all<B: Backend>() -> MethodRouter<Arc<B>> {
    get(list::<B>).post(open::<B>)
}

pub(super) fn of_one<B: Backend>() -> MethodRouter<Arc<B>> {
    get(show::<B>).patch(change::<B>).delete(close::<B>)
}

pub(super) fn players_of_one<B: Backend>() -> MethodRouter<Arc<B>> {
    get(players::<B>)
}

pub(super) fn player_of_one<B: Backend>() -> MethodRouter<Arc<B>> {
    delete(kick::<B>)
}

async fn list<B: Backend>(State(backend): State<Arc<B>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    answer(
        &headers,
        Filter::of(&uri).map(|filter| {
            let mut rooms = backend.status().rooms;
            rooms.retain(|room| filter.lets_through(room));
            json(&rooms)
        }),
    )
}

async fn open<B: Backend>(State(backend): State<Arc<B>>, uri: Uri, headers: HeaderMap, body: Body) -> Response<Body> {
    let opened = async {
        check_query(&uri, &[])?;
        backend.open_room(read(body).await?).await
    };
    answer(
        &headers,
        opened.await.map(|room| {
            let mut response = json(&room);
            *response.status_mut() = StatusCode::CREATED;
            let location = HeaderValue::try_from(format!("{ALL}/{}", room.name)).expect("a room's name fits a URL");
            response.headers_mut().insert(header::LOCATION, location);
            response
        }),
    )
}

async fn show<B: Backend>(State(backend): State<Arc<B>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    answer(&headers, backend.room(name(&uri)).map(|room| json(&room)))
}

async fn change<B: Backend>(State(backend): State<Arc<B>>, uri: Uri, headers: HeaderMap, body: Body) -> Response<Body> {
    let changed = async {
        check_query(&uri, &[])?;
        backend.change_room(name(&uri), &read(body).await?).await
    };
    answer(&headers, changed.await.map(|room| json(&room)))
}

async fn close<B: Backend>(State(backend): State<Arc<B>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let closed = async {
        check_query(&uri, &["grace_ms"])?;
        let grace_ms = query(&uri, "grace_ms", "a number of milliseconds", |text| u64::from_str(text).ok())?;
        backend.close_room(name(&uri), grace_ms).await
    };
    answer(&headers, closed.await.map(|()| done()))
}

async fn players<B: Backend>(
    State(backend): State<Arc<B>>,
    Path(room): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    answer(&headers, backend.players(&room).await.map(|players| json(&players)))
}

async fn kick<B: Backend>(
    State(backend): State<Arc<B>>,
    Path((room, player)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let kicked = async {
        check_query(&uri, &["reason"])?;
        let unknown = || Refusal::new(Kind::NotFound, "player-unknown", format!("{player:?} is no number of a player"));
        let player = player.parse().map_err(|_| unknown())?;
        let accepted = format!("a text of at most {TEXT_BYTES_MAX} bytes");
        let is_accepted = |text: &str| (text.len() <= TEXT_BYTES_MAX).then(|| text.to_owned());
        let reason = query(&uri, "reason", &accepted, is_accepted)?;
        backend.kick(&room, player, reason.as_deref().unwrap_or(KICK_REASON)).await
    };
    answer(&headers, kicked.await.map(|()| done()))
}

fn done() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn answer(request: &HeaderMap, answer: Result<Response<Body>, Refusal>) -> Response<Body> {
    answer.unwrap_or_else(|refusal| refusal.response(request))
}

/// As it came: no character of a room's name is ever escaped.
fn name(uri: &Uri) -> &str {
    uri.path().strip_prefix(ALL).and_then(|below| below.strip_prefix('/')).unwrap_or("")
}

/// Which rooms are listed.
struct Filter {
    free: Option<bool>,
    locked: Option<bool>,
    label: Option<String>,
}

impl Filter {
    fn of(uri: &Uri) -> Result<Filter, Refusal> {
        let bit = |text: &str| match text {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        };
        check_query(uri, &["free", "locked", "label"])?;
        Ok(Filter {
            free: query(uri, "free", "1 or 0", bit)?,
            locked: query(uri, "locked", "1 or 0", bit)?,
            label: query(uri, "label", "a label", |text| Some(text.to_owned()))?,
        })
    }

    fn lets_through(&self, room: &RoomStatus) -> bool {
        self.free.is_none_or(|free| room.has_free_seat() == free)
            && self.locked.is_none_or(|locked| room.locked == locked)
            && self.label.as_ref().is_none_or(|label| room.label.as_deref().unwrap_or("") == label)
    }
}

pub(super) fn check_query(uri: &Uri, accepted: &[&'static str]) -> Result<(), Refusal> {
    check_known(uri.query().unwrap_or(""), uri.path(), accepted)
}

fn query<T>(
    uri: &Uri,
    key: &'static str,
    accepted: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    let malformed = |reason: String| Refusal::new(Kind::BadRequest, "query-malformed", reason);
    let value = parameter(uri.query().unwrap_or(""), key).map_err(|error| malformed(error.to_string()))?;
    let Some(value) = value else { return Ok(None) };
    let refuse = || malformed(format!("{key}={value} in the query is not accepted; accepted is {accepted}"));
    read(&value).map(Some).ok_or_else(refuse)
}

/// An object in JSON. An empty body says nothing, as `{}` does.
pub(super) async fn read<T: DeserializeOwned + Default>(body: Body) -> Result<T, Refusal> {
    let bytes = timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await.map_err(|_| {
        let reason = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
        Refusal::new(Kind::RequestTimeout, "body-timeout", reason)
    })?;
    let bytes = bytes.map_err(|error| {
        if std::error::Error::source(&error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
            let reason = format!("the body is larger than {BODY_BYTES_MAX} bytes");
            return Refusal::new(Kind::PayloadTooLarge, "body-too-large", reason);
        }
        Refusal::new(Kind::BadRequest, "body-malformed", format!("the body cannot be read: {error}"))
    })?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    let malformed = |what: String| {
        Refusal::new(Kind::BadRequest, "body-malformed", format!("the body is not the JSON that is expected: {what}"))
    };
    // Else an array would do, as the values of the keys in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(malformed("send an object, {…}".to_owned()));
    }
    serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))
}
