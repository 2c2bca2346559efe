//! A row of more fields than a row may have, though not of more bytes.

#[path = "../src/made_up.rs"]
pub mod made_up;

use logic_api::schema::{ColumnType, Schema};

made_up_world!(made_up::schema_of(1, 10_000, &ColumnType::U8));
