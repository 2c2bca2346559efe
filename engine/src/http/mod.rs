//! The engine over HTTP: a front that tells the engine's own routes from the logic's, and the routes themselves.

mod backend;
mod front;
mod loads;
mod logic;
mod notice;
mod own;
mod query;
mod refusal;
mod rooms;

pub use backend::{Backend, Health, LoadRequest, Requester};
pub use refusal::{Kind, Refusal};

pub(crate) use front::{Front, RequestLimits};
pub(crate) use query::parameter;
pub(crate) use refusal::ErrorBody;
