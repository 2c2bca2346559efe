//! A schema that no derive would make: a column outside its row.

use logic_api::{
    Binder, World,
    prelude::*,
    schema::{ColumnType, FieldSchema, RowSchema, Schema, TableSchema, Unique},
};

#[derive(Debug)]
pub struct Game;

impl World for Game {
    const HAS_HEAP: bool = false;

    fn schema() -> Schema {
        let field = |name: &str, offset, column| FieldSchema { name: name.into(), offset, column, unique: Unique::No };
        // So many that their size is 8 again in 32 bits.
        let many = ColumnType::Array { of: Box::new(ColumnType::U64), len: 0x2000_0001 };
        let fields = vec![field("far", 4096, ColumnType::U64), field("many", 0, many)];
        let row = RowSchema { name: "Row".into(), size: 16, align: 8, fields };
        Schema { tables: vec![TableSchema { name: "rows".into(), single: false, row }] }
    }

    #[expect(unsafe_code, reason = "as the derive writes it")]
    unsafe fn bind(_binder: &Binder<'_>) -> Self {
        Self
    }

    fn init(&mut self) {}
}

#[logic]
impl Logic for Game {}
