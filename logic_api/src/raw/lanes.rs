//! Many comparisons at once, which a search cannot leave to the compiler.

use crate::abi::Bucket;

/// For each tag's worth of bits of a hash, the tag sixteen times over. Reading it is two instructions, making it is eight.
#[cfg(target_arch = "x86_64")]
#[repr(C, align(64))]
struct Spread([[u8; 16]; 256]);

#[cfg(target_arch = "x86_64")]
static SPREAD: Spread = {
    let mut spread = [[0; 16]; 256];
    let mut bits = 0;
    while bits < spread.len() {
        spread[bits] = [Bucket::tag((bits as u64) << 4); 16];
        bits += 1;
    }
    Spread(spread)
};

/// A bit for each entry of the bucket with the tag of this hash. For the bucket that a search starts with: for others, reading
/// the table would have the compiler keep what it read.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn with_tag_at_home(bucket: &Bucket, hash: u64) -> u32 {
    use std::arch::x86_64::{__m128i, _mm_load_si128};
    // SAFETY: at most 255 times the sixteen bytes of a tag, which are aligned to their size.
    let tag = unsafe { _mm_load_si128(SPREAD.0.as_ptr().cast::<__m128i>().byte_add((hash & 0xFF0) as usize)) };
    equal(bucket, tag)
}

/// A bit for each entry of the bucket with this tag; 0 is that of the free ones.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn with_tag(bucket: &Bucket, tag: u8) -> u32 {
    // SAFETY: SSE2 is part of x86-64.
    equal(bucket, unsafe { std::arch::x86_64::_mm_set1_epi8(tag.cast_signed()) })
}

/// A bit for each entry whose tag is equal to its lane.
///
/// Without a branch: a search that guesses wrong waits for memory before it can go on with the next one.
#[cfg(target_arch = "x86_64")]
#[inline]
fn equal(bucket: &Bucket, tag: std::arch::x86_64::__m128i) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_load_si128, _mm_movemask_epi8};
    // SAFETY: a bucket starts with its tags, has more than 16 bytes, and is aligned to 64. SSE2 is part of x86-64.
    let mask = unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128(std::ptr::from_ref(bucket).cast()), tag)) };
    mask.cast_unsigned() & ((1 << Bucket::ENTRIES) - 1)
}

/// A bit for each entry of the bucket with the tag of this hash.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn with_tag_at_home(bucket: &Bucket, hash: u64) -> u32 {
    with_tag(bucket, Bucket::tag(hash))
}

/// A bit for each entry of the bucket with this tag; 0 is that of the free ones.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn with_tag(bucket: &Bucket, tag: u8) -> u32 {
    let bits = bucket.tags.iter().enumerate().map(|(entry, found)| u32::from(*found == tag) << entry);
    bits.fold(0, |mask, bit| mask | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_has_its_bit() {
        let tags = [7, 1, 7, 255, 0, 7, 128, 7, 0, 12, 7, 9];
        let bucket = Bucket { tags, passed: 0x0707, page_rows: 0x0707, ..Bucket::default() };
        let tag_in = |tag: u8| u64::from(tag) << 4 | 0xFFFF_F00F;
        let bits = |tag: u8| (0..12).fold(0, |mask, entry| mask | u32::from(tags[entry] == tag) << entry);
        for tag in [7, 1, 255, 0, 128, 12, 9, 2] {
            assert_eq!(with_tag(&bucket, tag), bits(tag), "{tag}");
        }
        for tag in [7, 1, 255, 128, 12, 9, 2] {
            assert_eq!(with_tag_at_home(&bucket, tag_in(tag)), bits(tag), "{tag}");
        }
        assert_eq!(with_tag_at_home(&bucket, tag_in(0)), bits(1), "no entry has the tag of a free one");
    }
}
