//! An HTTP request and its answer, as a logic sees them.

use std::borrow::Cow;

/// A request that no route of the engine claimed.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// In capitals.
    pub method: &'a str,
    /// As it came: starts with `/`, still percent-encoded, without the query.
    pub path: &'a str,
    /// What followed `?`, still percent-encoded; empty where nothing did.
    pub query: &'a str,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(&'a str, &'a str)>,
    /// As it came; empty where there was none.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    /// The first query parameter of this name, decoded.
    pub fn param(&self, name: &str) -> Option<Cow<'a, str>> {
        form_urlencoded::parse(self.query.as_bytes()).find(|(found, _)| found == name).map(|(_, value)| value)
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599; with anything else the caller gets 500.
    pub status: u16,
    pub content_type: Cow<'static, str>,
    /// Further headers. A content type among them is sent in place of `content_type`.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// 200 with this body.
    pub fn new(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, content_type: content_type.into(), headers: Vec::new(), body: body.into() }
    }

    /// 200 with a body of plain text, UTF-8.
    pub fn text(body: impl Into<String>) -> Self {
        Self::new("text/plain; charset=utf-8", body.into())
    }

    /// 200 with a page, UTF-8.
    pub fn html(body: impl Into<String>) -> Self {
        Self::new("text/html; charset=utf-8", body.into())
    }

    /// 200 with a body that is JSON already.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::new("application/json", body)
    }

    /// 404 with a line that says so.
    pub fn not_found() -> Self {
        Self::text("not found\n").status(404)
    }

    /// The same answer with another status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same answer with one more header, or with another content type.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = value.into();
        } else {
            self.headers.push((name, value));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_one_content_type() {
        let answer =
            Response::text("{}").header("Content-Type", "application/json").header("x-a", "1").header("x-a", "2");
        assert_eq!(answer.content_type, "application/json");
        assert_eq!(answer.headers, [("x-a".into(), "1".into()), ("x-a".into(), "2".into())]);
    }
}
