//! An HTTP request and its answer as a room sees them: owned, plain, free of any HTTP library.

/// A request that no route of the engine claimed. It is offered to the logic's `query`, then becomes an input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, … in capitals.
    pub method: String,
    /// Percent-decoding is left to the logic: this is the path as it came, starting with `/`.
    pub path: String,
    /// What followed `?`, without it; empty where there was none.
    pub query: String,
    /// Names in lower case, in the order they came; values that are not UTF-8 are left out.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What the logic answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// As the logic gave it, also where it is no status of HTTP.
    pub status: u16,
    pub content_type: String,
    /// Further headers, beside the content type.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}
