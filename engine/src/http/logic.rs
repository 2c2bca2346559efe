//! The logic's routes: a request becomes a plain [`room::Request`], and what the logic answers becomes a response.
//!
//! This is the path that `/hello` is measured on: every copy here is one that [`room::Request`] needs, and the body is
//! read only if there is one.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::http::front::RequestLimits;
use crate::http::query::parameter;
use crate::http::{Backend, Kind, Refusal};

/// The room that a request names none gets is the backend's default.
const ROOM: &str = "room";

pub(super) async fn answer<B: Backend>(
    backend: &B,
    limits: RequestLimits,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    match ask(backend, limits, &head, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(&head.headers),
    }
}

async fn ask<B: Backend>(
    backend: &B,
    limits: RequestLimits,
    head: &Parts,
    body: Incoming,
) -> Result<Response<Full<Bytes>>, Refusal> {
    let path = head.uri.path();
    if head.method == Method::CONNECT || !path.starts_with('/') {
        let reason = "the request target is not a path; this is no proxy";
        return Err(Refusal::new(Kind::BadRequest, "target-not-a-path", reason));
    }
    let deadline = Instant::now() + limits.timeout;
    let body = if body.is_end_stream() { Vec::new() } else { read_body(body, limits, deadline).await? };
    let query = head.uri.query().unwrap_or("");
    let room =
        parameter(query, ROOM).map_err(|error| Refusal::new(Kind::BadRequest, "room-malformed", error.to_string()))?;
    let request = room::Request {
        method: head.method.as_str().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: copy_headers(&head.headers),
        body,
    };
    let answered = timeout_at(deadline, backend.request(room.as_deref(), request)).await;
    let timed_out = |_| {
        let reason = format!("the room did not answer within {} ms", limits.timeout.as_millis());
        Refusal::new(Kind::Timeout, "request-timeout", reason)
    };
    respond(answered.map_err(timed_out)??).inspect_err(|refusal| {
        let (room, reason) = (room.as_deref(), refusal.reason());
        let (version, logic) = backend.logic_of(room).map(|logic| (logic.version, logic.name)).unzip();
        tracing::warn!(room, version, logic, path, reason, "a logic's answer cannot be sent");
    })
}

/// Reads no more than the limit, whatever the headers announce.
async fn read_body(mut body: Incoming, limits: RequestLimits, deadline: Instant) -> Result<Vec<u8>, Refusal> {
    let too_large = || {
        let reason = format!("the body is larger than {} bytes (request_body_bytes_max)", limits.body_bytes_max);
        Refusal::new(Kind::PayloadTooLarge, "body-too-large", reason)
    };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limits.body_bytes_max {
        return Err(too_large());
    }
    // What is announced may never come: memory is taken for what did.
    let mut bytes = Vec::new();
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| {
            let reason = format!("the body did not arrive within {} ms", limits.timeout.as_millis());
            Refusal::new(Kind::RequestTimeout, "body-timeout", reason)
        })?;
        let Some(frame) = frame else { return Ok(bytes) };
        let frame = frame.map_err(|error| {
            Refusal::new(Kind::BadRequest, "body-malformed", format!("the body cannot be read: {error}"))
        })?;
        // Trailers say nothing to a logic.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limits.body_bytes_max - bytes.len() {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
}

fn copy_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut copied = Vec::with_capacity(headers.len());
    copied.extend(headers.iter().filter_map(|(name, value)| {
        let value = str::from_utf8(value.as_bytes()).ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    }));
    copied
}

/// A logic may answer anything; only what HTTP can carry is sent.
fn respond(answer: room::Response) -> Result<Response<Full<Bytes>>, Refusal> {
    let unfit =
        |what: String| Refusal::new(Kind::Internal, "answer-malformed", format!("the logic answered with {what}"));
    // Below 200 are the interim ones, after which a client goes on waiting for the answer.
    let status = StatusCode::from_u16(answer.status)
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or_else(|| unfit(format!("the status {}; accepted are 200 to 599", answer.status)))?;
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(answer.headers.len() + 1);
    if !answer.content_type.is_empty() {
        let value = HeaderValue::try_from(answer.content_type)
            .map_err(|_| unfit("a content type that no header can hold".to_owned()))?;
        headers.insert(header::CONTENT_TYPE, value);
    }
    for (name, value) in answer.headers {
        let bad_name = |_| unfit(format!("the header name {name:?}, which HTTP does not allow"));
        let header_name = HeaderName::from_bytes(name.as_bytes()).map_err(bad_name)?;
        // Two opinions on where the answer ends are how responses get smuggled.
        if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE]
            .contains(&header_name)
        {
            return Err(unfit(format!("the header {name:?}, which the engine sets itself")));
        }
        let bad_value = |_| unfit(format!("a value of the header {name:?} that HTTP does not allow"));
        let value = HeaderValue::try_from(value).map_err(bad_value)?;
        // A client that gets two content types takes either.
        if header_name == header::CONTENT_TYPE {
            headers.insert(header_name, value);
        } else {
            headers.append(header_name, value);
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_with(status: u16, content_type: &str, headers: &[(&str, &str)]) -> room::Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        room::Response { status, content_type: content_type.to_owned(), headers, body: b"body".to_vec() }
    }

    fn check_unfit(answer: room::Response, expected: &str) {
        let refusal = respond(answer).expect_err("HTTP cannot carry it");
        assert_eq!((refusal.kind(), refusal.code()), (Kind::Internal, "answer-malformed"));
        assert_eq!(refusal.reason(), format!("the logic answered with {expected}"));
    }

    #[test]
    fn an_answer_is_passed_on() {
        let response =
            respond(answer_with(201, "text/html", &[("x-a", "1"), ("X-A", "2"), ("set-cookie", "ü")])).unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["content-type"], "text/html");
        let values: Vec<_> = response.headers().get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        let typed = answer_with(200, "text/html", &[("Content-Type", "text/css"), ("content-type", "text/csv")]);
        let response = respond(typed).unwrap();
        assert_eq!(response.headers().get_all("content-type").iter().collect::<Vec<_>>(), ["text/csv"]);
        assert!(!respond(answer_with(200, "", &[])).unwrap().headers().contains_key("content-type"));
    }

    #[test]
    fn an_answer_that_http_cannot_carry_is_told() {
        for status in [0, 99, 100, 101, 199, 600, 999, 1000] {
            check_unfit(answer_with(status, "", &[]), &format!("the status {status}; accepted are 200 to 599"));
        }
        check_unfit(answer_with(200, "a\r\nb", &[]), "a content type that no header can hold");
        check_unfit(answer_with(200, "", &[("a b", "")]), "the header name \"a b\", which HTTP does not allow");
        check_unfit(answer_with(200, "", &[("a", "b\nc")]), "a value of the header \"a\" that HTTP does not allow");
        check_unfit(
            answer_with(200, "", &[("Content-Length", "7")]),
            "the header \"Content-Length\", which the engine sets itself",
        );
    }
}
