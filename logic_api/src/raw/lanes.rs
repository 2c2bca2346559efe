//! Many comparisons at once, which a search cannot leave to the compiler.

use crate::abi::{Bucket, Hash};

/// The bits that stand for entries of a bucket.
#[cfg(target_arch = "x86_64")]
const ENTRIES: u32 = (1 << Bucket::ENTRIES) - 1;

/// For each tag's worth of bits of a hash, the tag sixteen times over. Reading it is two instructions, making it is eight.
#[cfg(target_arch = "x86_64")]
#[repr(C, align(64))]
struct Spread([[u8; 16]; 256]);

#[cfg(target_arch = "x86_64")]
const SPREAD: Spread = {
    let mut spread = [[0; 16]; 256];
    let mut bits = 0u32;
    while bits < 256 {
        spread[bits as usize] = [Bucket::tag(Hash { page: 0, entry: bits << 4 }); 16];
        bits += 1;
    }
    Spread(spread)
};

/// A bit for each entry of the bucket with the tag of this hash: nothing else of a bucket is equal to a tag. For the bucket that a
/// search starts with: for others, reading the table would have the compiler keep what it read.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn with_tag_at_home(bucket: &Bucket, hash: Hash) -> u32 {
    use std::arch::x86_64::{__m128i, _mm_load_si128};
    // Not a static: a plugin would have to look up where that is, in each search.
    const TAGS: &Spread = &SPREAD;
    // SAFETY: at most 255 times the sixteen bytes of a tag, which are aligned to their size.
    let tag = unsafe { _mm_load_si128(TAGS.0.as_ptr().cast::<__m128i>().byte_add((hash.entry & 0xFF0) as usize)) };
    equal(bucket, tag)
}

/// A bit for each entry of the bucket with this tag; 0 is that of the free ones.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn with_tag(bucket: &Bucket, tag: u8) -> u32 {
    // SAFETY: SSE2 is part of x86-64.
    equal(bucket, unsafe { std::arch::x86_64::_mm_set1_epi8(tag.cast_signed()) }) & ENTRIES
}

/// A bit for each of the bucket's first sixteen bytes that is equal to its lane.
///
/// Without a branch: a search that guesses wrong waits for memory before it can go on with the next one.
#[cfg(target_arch = "x86_64")]
#[inline]
fn equal(bucket: &Bucket, tag: std::arch::x86_64::__m128i) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_load_si128, _mm_movemask_epi8};
    // SAFETY: a bucket starts with its tags, has more than 16 bytes, and is aligned to 64. SSE2 is part of x86-64.
    let mask = unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128(std::ptr::from_ref(bucket).cast()), tag)) };
    mask.cast_unsigned()
}

/// A bit for each entry of the bucket with the tag of this hash.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn with_tag_at_home(bucket: &Bucket, hash: Hash) -> u32 {
    with_tag(bucket, Bucket::tag(hash))
}

/// A bit for each entry of the bucket with this tag; 0 is that of the free ones.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn with_tag(bucket: &Bucket, tag: u8) -> u32 {
    let bits = bucket.tags.iter().enumerate().map(|(entry, found)| u32::from(*found == tag) << entry);
    bits.fold(0, |mask, bit| mask | bit)
}

/// The bucket, whose address the compiler computes once: it would add its parts up in each access instead.
#[inline]
#[cfg_attr(
    all(target_arch = "x86_64", not(miri)),
    expect(clippy::pointers_in_nomem_asm_block, reason = "there is nothing in the block")
)]
pub(super) fn in_one_register(bucket: &Bucket) -> &Bucket {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let mut address = std::ptr::from_ref(bucket);
        // SAFETY: no instruction at all.
        unsafe { std::arch::asm!("/* {0} */", inout(reg) address, options(pure, nomem, nostack, preserves_flags)) };
        // SAFETY: it is the bucket's, still.
        unsafe { &*address }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Count;

    #[test]
    fn each_entry_has_its_bit() {
        let tags = [71, 64, 71, 255, 0, 71, 128, 71, 0, 99, 71, 127];
        let bits = |tag: u8| (0..12).fold(0, |mask, entry| mask | u32::from(tags[entry] == tag) << entry);
        for count in [0, 63, 64, 1000, Count::MAX] {
            let count = (0..count).fold(Count::default(), |count, _| count.up());
            let bucket = Bucket { tags, passed: count, page_rows: count, ..Bucket::default() };
            for tag in [0, 64, 71, 99, 127, 128, 255, 70] {
                assert_eq!(with_tag(&bucket, tag), bits(tag), "{tag}");
            }
            for hash in 0..=255u8 {
                let tag = if hash < 64 { hash + 64 } else { hash };
                let hash = Hash { page: 0, entry: u32::from(hash) << 4 | 0xFFFF_F00F };
                assert_eq!(with_tag_at_home(&bucket, hash), bits(tag), "no entry has the tag of a free one: {tag}");
            }
        }
    }
}
