//! The load generator beside a server that does wrong on purpose and knows how often.

#![expect(clippy::unwrap_used, reason = "all of it is test code, of which clippy sees only what is marked #[test]")]

mod command;
mod fake;
mod findings;
mod resume;
