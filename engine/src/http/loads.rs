//! `/load`, the end of the trial that it begins, `/api/v1/confirm` and `/api/v1/rollback`, and what it would do to the tables,
//! `/api/v1/plan`.
//!
//! What changes something works from a browser's address bar, so they are asked for by GET as well as by POST.

use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::routing::{MethodRouter, any, get};
use serde::Serialize;

use crate::http::own::{json, method_not_allowed, text};
use crate::http::query::{check_known, parameter, parameters};
use crate::http::refusal::{TEXT, wants_json};
use crate::http::{Backend, Kind, LoadRequest, Refusal, Requester};
use crate::loader::name::PluginName;
use crate::logs::one_line;
use crate::status::VersionPlan;

pub(super) const LOAD: &str = "/load";
pub(super) const PLAN: &str = "/api/v1/plan";
pub(super) const CONFIRM: &str = "/api/v1/confirm";
pub(super) const ROLLBACK: &str = "/api/v1/rollback";

/// Names of what may be lost, in one request.
const DROPS_MAX: usize = 1024;
/// Of the reason for a rollback.
const REASON_CHARS_MAX: usize = 200;

pub(super) fn of_load<B: Backend>() -> MethodRouter<Arc<B>> {
    any(load::<B>)
}

pub(super) fn of_plan<B: Backend>() -> MethodRouter<Arc<B>> {
    get(plan::<B>)
}

pub(super) fn of_confirm<B: Backend>() -> MethodRouter<Arc<B>> {
    any(confirm::<B>)
}

pub(super) fn of_rollback<B: Backend>() -> MethodRouter<Arc<B>> {
    any(roll_back::<B>)
}

async fn load<B: Backend>(
    State(backend): State<Arc<B>>,
    Extension(who): Extension<Requester>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let request = || load_request(uri.query().unwrap_or(""));
    change(method, &headers, "done\n", request, async move |request| backend.load(request, who).await).await
}

async fn confirm<B: Backend>(
    State(backend): State<Arc<B>>,
    Extension(who): Extension<Requester>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let nothing = || check_known(uri.query().unwrap_or(""), CONFIRM, &[]);
    change(method, &headers, "confirmed\n", nothing, async move |()| backend.confirm(who).await).await
}

async fn roll_back<B: Backend>(
    State(backend): State<Arc<B>>,
    Extension(who): Extension<Requester>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let reason = || reason(uri.query().unwrap_or(""));
    change(method, &headers, "rewound\n", reason, async move |reason| backend.roll_back(who, reason).await).await
}

/// Answers a request that is to change what runs, once it is known that its sender means it.
async fn change<P, T, C, F>(
    method: Method,
    headers: &HeaderMap,
    done: &str,
    parse: impl FnOnce() -> Result<P, Refusal>,
    carry_out: C,
) -> Response<Body>
where
    T: Serialize + Send + 'static,
    C: FnOnce(P) -> F,
    F: Future<Output = Result<T, Refusal>> + Send + 'static,
{
    // HEAD is not GET without a body here: what is asked to change nothing must not swap the logic.
    if method != Method::GET && method != Method::POST {
        let mut response = method_not_allowed(method, headers.clone()).await;
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,POST"));
        return response;
    }
    let outcome = match check_meant(headers).and_then(|()| parse()) {
        // A task of its own: a caller who hangs up must not leave rooms half swapped.
        Ok(parsed) => tokio::spawn(carry_out(parsed)).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a load or a verdict ended without an answer");
            let reason = "it ended without an answer; see the engine's log";
            Err(Refusal::new(Kind::Internal, "load-broken", reason))
        }),
        Err(refusal) => Err(refusal),
    };
    answer(headers, outcome, |_| done.to_owned())
}

/// As JSON for programs, and as a person reads it.
fn answer<T: Serialize>(
    headers: &HeaderMap,
    outcome: Result<T, Refusal>,
    shown: impl FnOnce(&T) -> String,
) -> Response<Body> {
    match outcome {
        Ok(value) if wants_json(headers) => json(&value),
        Ok(value) => text(StatusCode::OK, TEXT, shown(&value)),
        Err(refusal) => refusal.response(headers),
    }
}

/// Browsers fetch what they guess will be typed next; a guess must not swap the logic.
fn check_meant(headers: &HeaderMap) -> Result<(), Refusal> {
    const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
    if headers.get_all(SEC_PURPOSE).iter().any(|purpose| purpose.as_bytes().starts_with(b"prefetch")) {
        let reason = "a browser asked for this before its user did; press Enter to have it done";
        return Err(Refusal::new(Kind::Forbidden, "load-prefetch", reason));
    }
    Ok(())
}

fn load_request(query: &str) -> Result<LoadRequest, Refusal> {
    check_known(query, LOAD, &["name", "confirm", "force", "drop"])?;
    let (name, drops) = (plugin_name(query, LOAD)?, drops(query)?);
    Ok(LoadRequest { name, confirm: flag(query, "confirm")?, force: flag(query, "force")?, drops })
}

fn plugin_name(query: &str, route: &str) -> Result<PluginName, Refusal> {
    let malformed = |reason: String| Refusal::new(Kind::BadRequest, "name-malformed", reason);
    let name = parameter(query, "name").map_err(|error| malformed(error.to_string()))?;
    let Some(name) = name else {
        let reason = format!("no plugin name is given; say {route}?name=plugin2.so");
        return Err(Refusal::new(Kind::BadRequest, "name-missing", reason));
    };
    PluginName::parse(&name).map_err(|error| malformed(error.to_string()))
}

/// What may be lost: `drop=Avatar.hp&drop=orbs`.
fn drops(query: &str) -> Result<Vec<String>, Refusal> {
    let malformed = |reason: String| Refusal::new(Kind::BadRequest, "drop-malformed", reason);
    let drops = parameters(query, "drop").map_err(|error| malformed(error.to_string()))?;
    if drops.len() > DROPS_MAX {
        return Err(malformed(format!("{} times drop; at most {DROPS_MAX} are accepted", drops.len())));
    }
    Ok(drops)
}

async fn plan<B: Backend>(State(backend): State<Arc<B>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let query = uri.query().unwrap_or("");
    let plans = match plan_request(query) {
        Ok((name, drops)) => backend.plan(name, drops).await,
        Err(refusal) => Err(refusal),
    };
    answer(&headers, plans, |plans| {
        if plans.is_empty() {
            return "the tables stay as they are\n".to_owned();
        }
        plans.iter().map(|VersionPlan { from, plan }| format!("from {} {}:\n{plan}", from.name, from.version)).collect()
    })
}

fn plan_request(query: &str) -> Result<(PluginName, Vec<String>), Refusal> {
    check_known(query, PLAN, &["name", "drop"])?;
    Ok((plugin_name(query, PLAN)?, drops(query)?))
}

/// Whether it says `key=1`.
fn flag(query: &str, key: &'static str) -> Result<bool, Refusal> {
    let malformed = |reason: String| Refusal::new(Kind::BadRequest, "flag-malformed", reason);
    match parameter(query, key).map_err(|error| malformed(error.to_string()))?.as_deref() {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(other) => Err(malformed(format!("{key} is {other:?}; accepted are 0 and 1"))),
    }
}

fn reason(query: &str) -> Result<Option<String>, Refusal> {
    check_known(query, ROLLBACK, &["reason"])?;
    let malformed = |reason: String| Refusal::new(Kind::BadRequest, "reason-malformed", reason);
    let reason = parameter(query, "reason").map_err(|error| malformed(error.to_string()))?;
    let Some(reason) = reason.filter(|reason| !reason.trim().is_empty()) else { return Ok(None) };
    let chars = reason.chars().count();
    if chars > REASON_CHARS_MAX {
        return Err(malformed(format!("the reason has {chars} characters; at most {REASON_CHARS_MAX} are accepted")));
    }
    Ok(Some(one_line(&reason).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_one_or_nothing() {
        let flags = |query: &str| load_request(query).map(|request| (request.confirm, request.force));
        assert_eq!(flags("name=a.so").unwrap(), (false, false));
        assert_eq!(flags("name=a.so&confirm=1&force=0").unwrap(), (true, false));
        assert_eq!(flags("force=1&name=a.so").unwrap(), (false, true));
        for query in ["name=a.so&force=yes", "name=a.so&force", "name=a.so&force=1&force=1"] {
            assert_eq!(flags(query).unwrap_err().code(), "flag-malformed", "{query}");
        }
        let error = flags("name=a.so&confirm=true").unwrap_err();
        assert_eq!(error.reason(), "confirm is \"true\"; accepted are 0 and 1");
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(reason("").unwrap(), None);
        assert_eq!(reason("reason=+").unwrap(), None);
        assert_eq!(reason("reason=too+slow%0Aby+far").unwrap().as_deref(), Some("too slow by far"));
        let long = format!("reason={}", "x".repeat(REASON_CHARS_MAX + 1));
        assert_eq!(reason(&long).unwrap_err().reason(), "the reason has 201 characters; at most 200 are accepted");
    }
}
