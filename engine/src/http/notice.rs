//! `POST /api/v1/notice`: what whoever develops the game has players' clients show, until it is over.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use serde::Deserialize;
use wire::Severity;

use crate::http::refusal::TEXT;
use crate::http::{Backend, Kind, Refusal, own, rooms};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notice {
    severity: Said,
    #[serde(default)]
    text: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Over,
    Information,
    Error,
}

pub(super) async fn give<B: Backend>(
    State(backend): State<Arc<B>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let asked = async {
        rooms::check_query(&uri, &[])?;
        read(body).await
    };
    match asked.await {
        Ok(Notice { severity, text }) => {
            let severity = match severity {
                Said::Over => Severity::Over,
                Said::Information => Severity::Information,
                Said::Error => Severity::Error,
            };
            backend.notice(severity, &text);
            own::text(StatusCode::OK, TEXT, "done\n".to_owned())
        }
        Err(refusal) => refusal.response(&headers),
    }
}

async fn read(body: Body) -> Result<Notice, Refusal> {
    let notice: Option<Notice> = rooms::read(body).await?;
    notice.ok_or_else(|| {
        let reason = r#"the body is empty; send {"severity": "over", "information" or "error", "text": …}"#;
        Refusal::new(Kind::BadRequest, "notice-missing", reason)
    })
}
