//! Rows and rooms as readable values, by their schema: whatever `serde` can write, JSON above all.

use crate::heap::Heap;
use crate::world::World;
use logic_api::abi::RawHeapId;
use logic_api::schema::{ColumnType, EnumSchema, RowSchema};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A row, to be written as a map of its fields.
///
/// Numbers are numbers, 128-bit ones texts; ids are numbers as in `Id::to_bits`; enums are the names of their variants; blobs are
/// hex. What is no value of its type, which only a faulty logic can leave, is told as a text that says so.
pub struct RowView<'a> {
    schema: &'a RowSchema,
    bytes: Cow<'a, [u8]>,
    heap: &'a Heap,
    /// As in `Id::to_bits`.
    pub id: u64,
}

impl fmt::Debug for RowView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowView").field("row", &self.schema.name).field("id", &self.id).finish_non_exhaustive()
    }
}

impl World {
    /// The rows of a table in slot order; none for a table that there is not.
    pub fn row_views(&self, table: &str) -> impl Iterator<Item = RowView<'_>> {
        let number = self.schema().tables.iter().position(|schema| schema.name == table);
        number.into_iter().flat_map(move |number| {
            let schema = &self.schema().tables[number].row;
            let rows = self.tables().table(number).rows_with_ids();
            rows.map(move |(id, bytes)| RowView { schema, bytes, heap: self.heap(), id })
        })
    }
}

impl Serialize for RowView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Fields { schema: self.schema, bytes: &self.bytes, heap: self.heap }.serialize(serializer)
    }
}

struct Fields<'a> {
    schema: &'a RowSchema,
    bytes: &'a [u8],
    heap: &'a Heap,
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.schema.fields.len()))?;
        for field in &self.schema.fields {
            let (start, len) = (field.offset as usize, field.column.size() as usize);
            let bytes = self.bytes.get(start..start.saturating_add(len)).unwrap_or_default();
            map.serialize_entry(&field.name, &Value { column: &field.column, bytes, heap: self.heap })?;
        }
        map.end()
    }
}

struct Value<'a> {
    column: &'a ColumnType,
    bytes: &'a [u8],
    heap: &'a Heap,
}

impl Value<'_> {
    fn array<const N: usize>(&self) -> [u8; N] {
        let mut array = [0; N];
        let len = self.bytes.len().min(N);
        array[..len].copy_from_slice(&self.bytes[..len]);
        array
    }

    /// `count` values of one type from `start` on.
    fn items<S: Serializer>(
        &self,
        of: &ColumnType,
        start: usize,
        count: usize,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let size = of.size() as usize;
        let mut list = serializer.serialize_seq(Some(count))?;
        for bytes in self.bytes.get(start..).unwrap_or_default().chunks(size.max(1)).take(count) {
            list.serialize_element(&Value { column: of, bytes, heap: self.heap })?;
        }
        list.end()
    }

    fn heap_value(&self) -> &[u8] {
        let [slot, generation] = [0, 4].map(|at| self.bytes.get(at..at + 4).unwrap_or(&[0; 4]));
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        self.heap.get(RawHeapId { slot: number(slot), generation: number(generation) })
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.column {
            ColumnType::Bool => match self.bytes.first() {
                Some(0) => serializer.serialize_bool(false),
                Some(1) => serializer.serialize_bool(true),
                other => serializer.collect_str(&format_args!("no bool: {other:?}")),
            },
            ColumnType::U8 => serializer.serialize_u8(u8::from_le_bytes(self.array())),
            ColumnType::U16 => serializer.serialize_u16(u16::from_le_bytes(self.array())),
            ColumnType::U32 => serializer.serialize_u32(u32::from_le_bytes(self.array())),
            ColumnType::U64 | ColumnType::Player | ColumnType::Id { .. } => {
                serializer.serialize_u64(u64::from_le_bytes(self.array()))
            }
            ColumnType::U128 => serializer.collect_str(&u128::from_le_bytes(self.array())),
            ColumnType::I8 => serializer.serialize_i8(i8::from_le_bytes(self.array())),
            ColumnType::I16 => serializer.serialize_i16(i16::from_le_bytes(self.array())),
            ColumnType::I32 => serializer.serialize_i32(i32::from_le_bytes(self.array())),
            ColumnType::I64 => serializer.serialize_i64(i64::from_le_bytes(self.array())),
            ColumnType::I128 => serializer.collect_str(&i128::from_le_bytes(self.array())),
            // A number that is none has bits, too, and they may differ.
            ColumnType::F32 => match f32::from_le_bytes(self.array()) {
                number if number.is_finite() => serializer.serialize_f32(number),
                number => serializer.collect_str(&format_args!("{number} ({:#010x})", number.to_bits())),
            },
            ColumnType::F64 => match f64::from_le_bytes(self.array()) {
                number if number.is_finite() => serializer.serialize_f64(number),
                number => serializer.collect_str(&format_args!("{number} ({:#018x})", number.to_bits())),
            },
            ColumnType::Str { .. } => {
                let len = usize::from(self.bytes.first().copied().unwrap_or(0));
                match self.bytes.get(1..=len).map(std::str::from_utf8) {
                    Some(Ok(text)) => serializer.serialize_str(text),
                    _ => serializer.collect_str(&format_args!("no text: {}", Hex(self.bytes))),
                }
            }
            ColumnType::List { of, capacity } => {
                let len = u32::from_le_bytes(self.array()).min(*capacity);
                let start = 4_u32.next_multiple_of(of.align().max(1));
                self.items(of, start as usize, len as usize, serializer)
            }
            ColumnType::Opt { of } => match self.bytes.first() {
                Some(1) => {
                    let start = 1_u32.next_multiple_of(of.align().max(1)) as usize;
                    let bytes = self.bytes.get(start..).unwrap_or_default();
                    serializer.serialize_some(&Value { column: of, bytes, heap: self.heap })
                }
                _ => serializer.serialize_none(),
            },
            ColumnType::Array { of, len } => self.items(of, 0, *len as usize, serializer),
            ColumnType::Row(schema) => Fields { schema, bytes: self.bytes, heap: self.heap }.serialize(serializer),
            ColumnType::Enum(schema) => match variant(schema, self.array()) {
                Ok(name) => serializer.serialize_str(name),
                Err(number) => serializer.collect_str(&format_args!("no variant: {number}")),
            },
            ColumnType::Text => serializer.serialize_str(&String::from_utf8_lossy(self.heap_value())),
            ColumnType::Blob => serializer.collect_str(&Hex(self.heap_value())),
        }
    }
}

/// The name of the variant with this number, or the number.
fn variant(schema: &EnumSchema, bytes: [u8; 8]) -> Result<&str, i64> {
    let mask = u64::MAX >> (64 - 8 * schema.size.clamp(1, 8));
    let number = u64::from_le_bytes(bytes) & mask;
    let is = |(_, value): &&(String, i64)| value.cast_unsigned() & mask == number;
    schema.variants.iter().find(is).map(|(name, _)| name.as_str()).ok_or(number.cast_signed())
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
