//! Worlds that no derive would make.

/// A world with this schema, whose tables nobody touches, and its logic.
#[macro_export]
macro_rules! made_up_world {
    ($schema:expr) => {
        use logic_api::{Binder, World, prelude::*};

        #[derive(Debug)]
        pub struct Game;

        impl World for Game {
            const HAS_HEAP: bool = false;

            fn schema() -> Schema {
                $schema
            }

            #[expect(unsafe_code, reason = "as the derive writes it")]
            unsafe fn bind(_binder: &Binder<'_>) -> Self {
                Self
            }

            fn init(&mut self) {}
        }

        #[logic]
        impl Logic for Game {
            fn request(&mut self, _ctx: &mut Ctx, _request: &Request) -> Response {
                Response::text("made up\n")
            }
        }
    };
}

use logic_api::schema::{ColumnType, FieldSchema, RowSchema, Schema, TableSchema, Unique};

/// So many tables, each of so many fields of this type.
pub fn schema_of(tables: usize, fields: usize, column: &ColumnType) -> Schema {
    let (size, align) = (column.size(), column.align());
    let field = |number: usize| FieldSchema {
        name: format!("field{number}"),
        offset: u32::try_from(number).expect("no more than a schema has") * size,
        column: column.clone(),
        unique: Unique::No,
    };
    let table = |number: usize| {
        let fields: Vec<_> = (0..fields).map(field).collect();
        let size = size * u32::try_from(fields.len()).expect("as above");
        let row = RowSchema { name: format!("Row{number}"), size, align, fields };
        TableSchema { name: format!("table{number}"), single: false, row }
    };
    Schema { tables: (0..tables).map(table).collect() }
}
