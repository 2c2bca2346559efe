//! A schema that no derive would make: a column outside its row.

#[path = "../src/made_up.rs"]
pub mod made_up;

use logic_api::schema::{ColumnType, FieldSchema, RowSchema, Schema, TableSchema, Unique};

fn lie() -> Schema {
    let field = |name: &str, offset, column| FieldSchema { name: name.into(), offset, column, unique: Unique::No };
    // So many that their size is 8 again in 32 bits.
    let many = ColumnType::Array { of: Box::new(ColumnType::U64), len: 0x2000_0001 };
    let fields = vec![field("far", 4096, ColumnType::U64), field("many", 0, many)];
    let row = RowSchema { name: "Row".into(), size: 16, align: 8, fields };
    Schema { tables: vec![TableSchema { name: "rows".into(), single: false, row }] }
}

made_up_world!(lie());
