//! A request that is not granted: one shape for the door, the routes, the loader and the rooms.
//!
//! Plain text by default, JSON under `Accept: application/json`. Never an engine's bug report: a logic's fault and an
//! operator's mistake both end here, with a reason that says what to do.

use std::fmt;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::logs::one_line;

/// The kinds of refusal, each with its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 400: the request itself is malformed.
    BadRequest,
    /// 401: the bearer token is missing or wrong.
    Unauthorized,
    /// 403: understood, and not granted to this caller.
    Forbidden,
    /// 404: no such room, plugin or route.
    NotFound,
    /// 405: the route exists, the method does not.
    MethodNotAllowed,
    /// 408: the request's body did not arrive in time.
    RequestTimeout,
    /// 409: in conflict with what is going on, such as another load.
    Conflict,
    /// 413: the body is larger than the limit.
    PayloadTooLarge,
    /// 422: the file was read and is not acceptable.
    Unprocessable,
    /// 426: players connect here by WebSocket.
    UpgradeRequired,
    /// 500: the logic's answer cannot be sent.
    Internal,
    /// 503: not now, such as while the engine is stopping or the room is frozen.
    Unavailable,
    /// 504: the room did not answer in time.
    Timeout,
}

impl Kind {
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Kind::BadRequest => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Kind::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    kind: Kind,
    /// Stable and `kebab-case`, for programs: part of the interface, unlike the reason's wording.
    code: &'static str,
    reason: String,
    details: Vec<String>,
}

impl Refusal {
    /// Control characters in the reason become spaces, so that it is one line whatever a plugin put into it.
    ///
    /// # Panics
    /// If `code` is not `kebab-case`.
    #[must_use]
    pub fn new(kind: Kind, code: &'static str, reason: impl Into<String>) -> Refusal {
        assert!(is_kebab_case(code), "a refusal's code is kebab-case: {code:?}");
        Refusal { kind, code, reason: one_line(&reason.into()).into_owned(), details: Vec::new() }
    }

    /// One line each, such as one per field of a schema.
    #[must_use]
    pub fn with_details(mut self, details: impl IntoIterator<Item = String>) -> Refusal {
        self.details.extend(details.into_iter().map(|line| one_line(&line).into_owned()));
        self
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    #[must_use]
    pub fn details(&self) -> &[String] {
        &self.details
    }

    /// The answer to a request with these headers.
    pub(crate) fn response<B: From<String>>(&self, request: &HeaderMap) -> axum::http::Response<B> {
        let (content_type, body) = if wants_json(request) { (JSON, self.json()) } else { (TEXT, format!("{self}\n")) };
        let mut response = axum::http::Response::new(B::from(body));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        match self.kind {
            Kind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Kind::UpgradeRequired => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        response
    }

    fn json(&self) -> String {
        let body = ErrorBody {
            error: ErrorFields {
                code: self.code.to_owned(),
                reason: self.reason.clone(),
                details: self.details.clone(),
            },
        };
        let mut json = serde_json::to_string_pretty(&body).expect("strings always have a JSON form");
        json.push('\n');
        json
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)?;
        self.details.iter().try_for_each(|detail| write!(formatter, "\n{detail}"))
    }
}

impl std::error::Error for Refusal {}

/// The JSON form of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) error: ErrorFields,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorFields {
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) details: Vec<String>,
}

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// Whether `Accept` names `application/json`. A browser's `*/*` is no wish for JSON.
pub(super) fn wants_json(request: &HeaderMap) -> bool {
    request
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|media_type| media_type.trim().eq_ignore_ascii_case(JSON))
}

fn is_kebab_case(code: &str) -> bool {
    !code.is_empty()
        && code
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(accepts: &[&'static str], expected: Expect) {
        let refusal = Refusal::new(Kind::Unprocessable, "schema-differs", "the schema\ndiffers")
            .with_details(["Avatar.hp: i32 -> f32".to_owned(), "Orb.x:\tgone".to_owned()]);
        let answers = accepts.iter().map(|accept| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            let response = refusal.response::<String>(&headers);
            let content_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
            format!("{} {content_type}\n{}", response.status(), response.body())
        });
        let answers: std::collections::BTreeSet<_> = answers.collect();
        expected.assert_eq(&answers.into_iter().collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn text_is_the_reason_then_the_details() {
        check(
            &["", "*/*", "text/html,application/xml;q=0.9,*/*;q=0.8", "application/jsonl"],
            expect![[r#"
                422 Unprocessable Entity text/plain; charset=utf-8
                the schema differs
                Avatar.hp: i32 -> f32
                Orb.x: gone
            "#]],
        );
    }

    #[test]
    fn json_for_those_who_accept_it() {
        check(
            &["application/json", "text/plain, Application/JSON; q=1"],
            expect![[r#"
                422 Unprocessable Entity application/json
                {
                  "error": {
                    "code": "schema-differs",
                    "reason": "the schema differs",
                    "details": [
                      "Avatar.hp: i32 -> f32",
                      "Orb.x: gone"
                    ]
                  }
                }
            "#]],
        );
    }

    #[test]
    fn only_a_missing_token_asks_for_one() {
        let headers = HeaderMap::new();
        let unauthorized = Refusal::new(Kind::Unauthorized, "token-missing", "no").response::<String>(&headers);
        assert_eq!(unauthorized.headers()[header::WWW_AUTHENTICATE], "Bearer");
        let forbidden = Refusal::new(Kind::Forbidden, "host-foreign", "no").response::<String>(&headers);
        assert!(!forbidden.headers().contains_key(header::WWW_AUTHENTICATE));
    }
}
