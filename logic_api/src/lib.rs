//! The contract between Hotseat's engine and the logic of a game: the [`Logic`] trait, the tables it works on, and the types
//! that cross the boundary.
//!
//! State and code live apart. The engine owns every byte of a world in tables; a logic is a function table without state of
//! its own, so that it can be exchanged between two inputs.
//!
//! ```
//! use logic_api::prelude::*;
//!
//! #[derive(Row)]
//! #[repr(C)]
//! pub struct Avatar {
//!     #[row(key)]
//!     player: PlayerId,
//!     x: f32,
//!     y: f32,
//!     name: Str<16>,
//! }
//!
//! #[derive(World)]
//! pub struct Arena {
//!     avatars: Table<Avatar>,
//! }
//!
//! #[logic]
//! impl Logic for Arena {
//!     fn join(&mut self, _ctx: &mut Ctx, player: PlayerId, _join: &Join) {
//!         self.avatars.insert(Avatar { player, x: 0.0, y: 0.0, name: Str::truncated("newcomer") });
//!     }
//!
//!     fn tick(&mut self, ctx: &mut Ctx) {
//!         for mut avatar in &mut self.avatars {
//!             avatar.x += 1.0;
//!         }
//!         ctx.broadcast(b"moved");
//!     }
//! }
//! ```
//!
//! What never lives here: the engine's side of a table (crate `room`), files, sockets, clocks.

pub mod abi;
pub mod changes;
mod column;
mod ctx;
mod fixed;
mod ids;
mod logic;
mod manifest;
mod one;
#[doc(hidden)]
#[expect(unsafe_code, reason = "the one module that touches the engine's pointers")]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a walk over pointers is one step, and its comment lists what it needs"
)]
pub mod raw;
mod request;
mod rng;
mod row;
pub mod schema;
mod table;
mod text;
mod world;

pub use column::{Column, Item, Key};
pub use ctx::Ctx;
pub use fixed::{List, Opt, Str, TooLong};
pub use ids::{Id, PlayerId, Tick, TimerId, Version};
pub use logic::{Admission, Join, Logic};
pub use logic_api_derive::{Row, World, logic};
pub use manifest::Manifest;
pub use one::{One, SingleRow};
pub use request::{Request, Response};
pub use rng::Rng;
pub use row::{NoKey, Row, UniqueColumn};
pub use table::{Rejected, RejectedReason, RowMut, Table};
pub use text::{Blob, Text};
pub use world::{Binder, World};

/// What a logic needs, in one `use`.
pub mod prelude {
    pub use crate::{
        Admission, Blob, Ctx, Id, Join, List, Logic, One, Opt, PlayerId, Request, Response, Rng, Row, Str, Table, Text,
        Tick, TimerId, Version, World, logic,
    };
}
