//! The schema: what the tables of a logic look like, as plain data that crosses the boundary and outlives the plugin.

use serde::{Deserialize, Serialize};
use std::fmt;

/// All tables of a logic, in the order of the fields of its `#[derive(World)]` struct.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    pub tables: Vec<TableSchema>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    pub name: String,
    /// True for `One<T>`: exactly one row, always there.
    pub single: bool,
    pub row: RowSchema,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSchema {
    pub name: String,
    /// Bytes from one row to the next, padding included.
    pub size: u32,
    pub align: u32,
    pub fields: Vec<FieldSchema>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldSchema {
    pub name: String,
    /// Bytes from the start of the row.
    pub offset: u32,
    pub column: ColumnType,
    pub unique: Unique,
}

/// Whether the engine keeps an index over a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unique {
    No,
    /// `#[row(unique)]`
    Unique,
    /// `#[row(key)]`: unique, and what `Table::find` looks up. At most one in a row.
    Key,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColumnType {
    Bool,
    U8,
    U16,
    U32,
    U64,
    U128,
    I8,
    I16,
    I32,
    I64,
    I128,
    F32,
    F64,
    Player,
    /// A reference to a row of type `row`.
    Id {
        row: String,
    },
    /// One length byte, then `capacity` bytes of which those past the length are zero.
    Str {
        capacity: u32,
    },
    /// A `u32` length, then `capacity` items of which those past the length are the default.
    List {
        of: Box<ColumnType>,
        capacity: u32,
    },
    /// One byte, 1 if there is a value, then the value (the default where there is none).
    Opt {
        of: Box<ColumnType>,
    },
    Array {
        of: Box<ColumnType>,
        len: u32,
    },
    Row(RowSchema),
    Enum(EnumSchema),
    Text,
    Blob,
}

/// A fieldless enum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnumSchema {
    pub name: String,
    /// 1, 2, 4 or 8 bytes.
    pub size: u32,
    /// At least one, each with a name and a number of its own.
    pub variants: Vec<(String, i64)>,
}

impl ColumnType {
    /// Bytes that a value takes in a row, its inner padding included; `u32::MAX` for a schema that lies beyond that.
    pub fn size(&self) -> u32 {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::Player => 8,
            Self::Id { .. } | Self::Text | Self::Blob => 8,
            Self::U128 | Self::I128 => 16,
            Self::Str { capacity } => capacity.saturating_add(1),
            Self::List { of, capacity } => {
                let items = of.size().saturating_mul(*capacity);
                round_up(round_up(4, of.align()).saturating_add(items), self.align())
            }
            Self::Opt { of } => round_up(round_up(1, of.align()).saturating_add(of.size()), self.align()),
            Self::Array { of, len } => of.size().saturating_mul(*len),
            Self::Row(row) => row.size,
            Self::Enum(enumeration) => enumeration.size,
        }
    }

    /// The alignment of a value in bytes.
    pub fn align(&self) -> u32 {
        match self {
            Self::Id { .. } | Self::Text | Self::Blob => 4,
            Self::Str { .. } => 1,
            Self::List { of, .. } => of.align().max(4),
            Self::Opt { of } | Self::Array { of, .. } => of.align(),
            Self::Row(row) => row.align,
            other => other.size(),
        }
    }

    /// The stretches `(offset, bytes)` of a value that are not padding, merged and ascending.
    pub fn spans(&self) -> Vec<(u32, u32)> {
        merged(|visit| self.visit_spans(0, visit))
    }

    /// Calls `visit(offset, bytes)` for every stretch of a value at `base` that is not padding, in ascending order.
    fn visit_spans(&self, base: u32, visit: &mut dyn FnMut(u32, u32)) {
        match self {
            Self::List { of, capacity } => {
                visit(base, 4);
                let items = base + round_up(4, of.align());
                visit_items(of, items, *capacity, visit);
            }
            Self::Opt { of } => {
                visit(base, 1);
                of.visit_spans(base + round_up(1, of.align()), visit);
            }
            Self::Array { of, len } => visit_items(of, base, *len, visit),
            Self::Row(row) => row.visit_spans(base, visit),
            plain => visit(base, plain.size()),
        }
    }
}

/// The next multiple of an alignment, of any schema that somebody might make up.
fn round_up(bytes: u32, align: u32) -> u32 {
    bytes.checked_next_multiple_of(align.max(1)).unwrap_or(u32::MAX)
}

fn visit_items(of: &ColumnType, base: u32, count: u32, visit: &mut dyn FnMut(u32, u32)) {
    // What has no bytes may be there four billion times.
    let count = if of.size() == 0 { 0 } else { count };
    for item in 0..count {
        of.visit_spans(base + item * of.size(), visit);
    }
}

fn merged(walk: impl FnOnce(&mut dyn FnMut(u32, u32))) -> Vec<(u32, u32)> {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    walk(&mut |offset, bytes| match spans.last_mut() {
        Some(last) if last.0 + last.1 == offset => last.1 += bytes,
        _ if bytes == 0 => {}
        _ => spans.push((offset, bytes)),
    });
    spans
}

impl RowSchema {
    fn visit_spans(&self, base: u32, visit: &mut dyn FnMut(u32, u32)) {
        let mut fields: Vec<&FieldSchema> = self.fields.iter().collect();
        fields.sort_by_key(|field| field.offset);
        for field in fields {
            field.column.visit_spans(base + field.offset, visit);
        }
    }

    /// The stretches `(offset, bytes)` of a row that are not padding, merged and ascending. Only these carry state.
    pub fn spans(&self) -> Vec<(u32, u32)> {
        merged(|visit| self.visit_spans(0, visit))
    }

    /// The columns with an index, in index order: the key first, then the unique columns as declared.
    pub fn indexes(&self) -> Vec<&FieldSchema> {
        let keys = self.fields.iter().filter(|f| f.unique == Unique::Key);
        keys.chain(self.fields.iter().filter(|f| f.unique == Unique::Unique)).collect()
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::U128 => "u128",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::I128 => "i128",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Player => "PlayerId",
            Self::Text => "Text",
            Self::Blob => "Blob",
            Self::Id { row } => return write!(f, "Id<{row}>"),
            Self::Str { capacity } => return write!(f, "Str<{capacity}>"),
            Self::List { of, capacity } => return write!(f, "List<{of}, {capacity}>"),
            Self::Opt { of } => return write!(f, "Opt<{of}>"),
            Self::Array { of, len } => return write!(f, "[{of}; {len}]"),
            Self::Row(row) => &row.name,
            Self::Enum(enumeration) => &enumeration.name,
        };
        f.write_str(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_that_lies_has_a_size() {
        let row = RowSchema { name: "Odd".into(), size: 3, align: 0, fields: Vec::new() };
        let mut column = ColumnType::Row(row);
        for _ in 0..5 {
            column = ColumnType::List { of: Box::new(ColumnType::Opt { of: Box::new(column) }), capacity: u32::MAX };
        }
        assert_eq!(column.size(), u32::MAX);
    }

    fn field(name: &str, offset: u32, column: ColumnType) -> FieldSchema {
        FieldSchema { name: name.into(), offset, column, unique: Unique::No }
    }

    #[test]
    fn spans_leave_padding_out_and_merge() {
        let inner = RowSchema {
            name: "Inner".into(),
            size: 8,
            align: 4,
            fields: vec![field("a", 0, ColumnType::U32), field("b", 4, ColumnType::U8)],
        };
        let row = RowSchema {
            name: "Outer".into(),
            size: 40,
            align: 8,
            fields: vec![
                field("key", 0, ColumnType::U64),
                field("inner", 8, ColumnType::Row(inner)),
                field("opt", 16, ColumnType::Opt { of: Box::new(ColumnType::U64) }),
                field("name", 32, ColumnType::Str { capacity: 3 }),
            ],
        };
        assert_eq!(row.spans(), vec![(0, 13), (16, 1), (24, 12)]);
    }

    #[test]
    fn sizes_follow_repr_c() {
        let list = ColumnType::List { of: Box::new(ColumnType::U64), capacity: 3 };
        assert_eq!((list.size(), list.align()), (32, 8));
        let opt = ColumnType::Opt { of: Box::new(ColumnType::U16) };
        assert_eq!((opt.size(), opt.align()), (4, 2));
    }
}
