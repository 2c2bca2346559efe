//! No saboteur: as many tables as there may be, and as many fields.

#[path = "../src/made_up.rs"]
pub mod made_up;

use logic_api::schema::{ColumnType, Schema};

made_up_world!(made_up::schema_of(256, 64, &ColumnType::U8));
