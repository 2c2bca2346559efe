//! The state hash of a page.

use super::TableLayout;
use crate::bytes::in_pieces;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Bytes of rows with padding that go into a state hash at a time.
const PACKED_BYTES: usize = 4096;

/// The state hash of a page: of its generations, live bits and rows, padding left out.
pub(super) fn hash_page(layout: &TableLayout, slots: usize, rows: &[u8], generations: &[u8], live: &[u64]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(generations);
    for word in live {
        hash.update(&word.to_le_bytes());
    }
    if layout.is_dense() {
        hash.update(&xxh3_64(rows).to_le_bytes());
        return hash.digest();
    }
    let mut packed = [0; PACKED_BYTES];
    let packed_bytes: usize = layout.spans.iter().map(|(_, len)| len).sum();
    let count = (PACKED_BYTES / packed_bytes.max(1)).max(1);
    for rows in rows[..slots * layout.row_bytes].chunks(count * layout.row_bytes) {
        if packed_bytes > PACKED_BYTES {
            layout.spans.iter().for_each(|(offset, len)| hash.update(&rows[*offset..][..*len]));
            continue;
        }
        // An update costs more than the bytes of a row, so the rows of one are many.
        let packed = &mut packed[..rows.len() / layout.row_bytes * packed_bytes];
        pack(layout, rows, packed, packed_bytes);
        hash.update(packed);
    }
    hash.digest()
}

/// Puts the spans of each row side by side, without the padding between them.
fn pack(layout: &TableLayout, rows: &[u8], packed: &mut [u8], packed_bytes: usize) {
    fn each<const BYTES: usize>(rows: &[u8], from: (usize, usize), packed: &mut [u8], to: (usize, usize)) {
        for (row, packed) in rows.chunks_exact(from.0).zip(packed.chunks_exact_mut(to.0)) {
            packed[to.1..to.1 + BYTES].copy_from_slice(&row[from.1..from.1 + BYTES]);
        }
    }
    let mut end = 0;
    for &(offset, len) in &layout.spans {
        in_pieces(len, |at, piece| {
            let (from, to) = ((layout.row_bytes, offset + at), (packed_bytes, end + at));
            match piece {
                64 => each::<64>(rows, from, packed, to),
                32 => each::<32>(rows, from, packed, to),
                16 => each::<16>(rows, from, packed, to),
                8 => each::<8>(rows, from, packed, to),
                4 => each::<4>(rows, from, packed, to),
                2 => each::<2>(rows, from, packed, to),
                _ => each::<1>(rows, from, packed, to),
            }
        });
        end += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(spans: &[(usize, usize)], row_bytes: usize) -> TableLayout {
        let (number, slot_bytes, spans, columns) = (0, row_bytes, spans.to_vec(), Vec::new());
        TableLayout { number, row_bytes, slot_bytes, spans, columns }
    }

    proptest! {
        /// Journals of every build have such hashes: what is gathered before is not in them.
        #[test]
        fn a_hash_is_that_of_the_spans_one_after_the_other(
            parts in prop::collection::vec((0..9usize, prop_oneof![1..80usize, 4000..5000usize]), 1..6),
            slots in 1..200usize,
            byte in any::<u8>(),
        ) {
            let (mut spans, mut end) = (Vec::new(), 0);
            for (gap, len) in parts {
                spans.push((end + gap, len));
                end += gap + len;
            }
            let layout = layout(&spans, end + 3);
            let slots = slots.min((64 << 10) / layout.row_bytes).max(1);
            let rows: Vec<u8> = (0..251).map(|at| at ^ byte).cycle().take(slots * layout.row_bytes).collect();
            let (generations, live) = (vec![1; slots * 4], vec![u64::MAX; slots.div_ceil(64)]);
            let mut plain = Xxh3::new();
            plain.update(&generations);
            live.iter().for_each(|word| plain.update(&word.to_le_bytes()));
            for row in rows.chunks_exact(layout.row_bytes) {
                spans.iter().for_each(|(offset, len)| plain.update(&row[*offset..][..*len]));
            }
            prop_assert_eq!(hash_page(&layout, slots, &rows, &generations, &live), plain.digest());
        }
    }
}
