//! Values of rows as people read them.

use super::columns::{round_up, value_offset};
use logic_api::schema::ColumnType;
use std::fmt::{self, Write as _};

/// A value by the type of its column: `7`, `"ann"`, `Red`, `[1, 2]`, `{x: 1.5, y: 2}`. Texts and blobs are in the heap, and shown as
/// their handles.
pub(crate) fn show(of: &ColumnType, bytes: &[u8]) -> String {
    let mut shown = String::new();
    // Writing to a string does not fail.
    let _ = put(&mut shown, of, bytes);
    shown
}

fn put(out: &mut String, of: &ColumnType, bytes: &[u8]) -> fmt::Result {
    macro_rules! number {
        ($of:ty) => {{
            const BYTES: usize = size_of::<$of>();
            write!(out, "{}", <$of>::from_le_bytes(bytes[..BYTES].try_into().expect("as many bytes")))
        }};
    }
    match of {
        ColumnType::Bool => write!(out, "{}", bytes[0] != 0),
        ColumnType::U8 => number!(u8),
        ColumnType::U16 => number!(u16),
        ColumnType::U32 => number!(u32),
        ColumnType::U64 | ColumnType::Player => number!(u64),
        ColumnType::U128 => number!(u128),
        ColumnType::I8 => number!(i8),
        ColumnType::I16 => number!(i16),
        ColumnType::I32 => number!(i32),
        ColumnType::I64 => number!(i64),
        ColumnType::I128 => number!(i128),
        ColumnType::F32 => number!(f32),
        ColumnType::F64 => number!(f64),
        ColumnType::Id { .. } | ColumnType::Text | ColumnType::Blob => {
            let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
            write!(out, "{of}({}:{})", number(0), number(4))
        }
        ColumnType::Str { capacity } => {
            let len = usize::from(bytes[0]).min(*capacity as usize);
            write!(out, "{:?}", String::from_utf8_lossy(&bytes[1..][..len]))
        }
        ColumnType::Enum(of) => {
            let size = of.size as usize;
            let is = |number: i64| number.to_le_bytes()[..size] == bytes[..size];
            let name = of.variants.iter().find(|(_, number)| is(*number)).map_or("?", |(name, _)| name.as_str());
            out.write_str(name)
        }
        ColumnType::Opt { .. } if bytes[0] == 0 => out.write_str("none"),
        ColumnType::Opt { of } => put(out, of, &bytes[value_offset(of)..]),
        ColumnType::List { of, capacity } => {
            let len = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")).min(*capacity);
            put_items(out, of, &bytes[round_up(4, of.align())..], len)
        }
        ColumnType::Array { of, len } => put_items(out, of, bytes, *len),
        ColumnType::Row(row) => {
            out.write_char('{')?;
            for (number, field) in row.fields.iter().enumerate() {
                write!(out, "{}{}: ", if number == 0 { "" } else { ", " }, field.name)?;
                put(out, &field.column, &bytes[field.offset as usize..])?;
            }
            out.write_char('}')
        }
    }
}

fn put_items(out: &mut String, of: &ColumnType, bytes: &[u8], count: u32) -> fmt::Result {
    let stride = of.size() as usize;
    out.write_char('[')?;
    for item in 0..count as usize {
        out.write_str(if item == 0 { "" } else { ", " })?;
        put(out, of, &bytes[item * stride..])?;
    }
    out.write_char(']')
}
