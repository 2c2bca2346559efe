//! Many comparisons at once, which a search cannot leave to the compiler.

use crate::abi::Bucket;

/// A bit for each tag of the bucket that equals `tag`.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn equal_tags(bucket: &Bucket, tag: u8) -> u32 {
    use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_set1_epi8};
    let tags = std::ptr::from_ref(bucket).cast::<__m128i>();
    // SAFETY: a bucket starts with its tags, has more than 16 bytes, and is aligned to 64. SSE2 is part of x86-64.
    let mask = unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128(tags), _mm_set1_epi8(tag.cast_signed()))) };
    mask.cast_unsigned() & ((1 << Bucket::ENTRIES) - 1)
}

/// A bit for each tag of the bucket that equals `tag`.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn equal_tags(bucket: &Bucket, tag: u8) -> u32 {
    let bits = bucket.tags.iter().enumerate().map(|(entry, found)| u32::from(*found == tag) << entry);
    bits.fold(0, |mask, bit| mask | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_has_its_bit() {
        let tags = [7, 1, 7, 255, 0, 7, 128, 7, 0, 12, 7, 9];
        let bucket = Bucket { tags, passed: 0x0707_0707, ..Bucket::default() };
        for tag in [7, 1, 255, 0, 128, 12, 9, 2] {
            let bits = (0..12).fold(0, |mask, entry| mask | u32::from(tags[entry] == tag) << entry);
            assert_eq!(bucket.matches(tag), bits, "{tag}");
        }
    }
}
