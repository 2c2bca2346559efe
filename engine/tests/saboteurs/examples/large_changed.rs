//! The large one with every field of every table wider.

#[path = "../src/made_up.rs"]
pub mod made_up;

use logic_api::schema::{ColumnType, Schema};

made_up_world!(made_up::schema_of(256, 64, &ColumnType::U64));
