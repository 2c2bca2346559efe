//! Random numbers that a replay repeats.

/// A generator seeded by the input, so that the same input gives the same numbers. SplitMix64 (Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014): part of the contract, since another algorithm would change replays.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator that starts from this seed.
    #[inline]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// All 64 bits are random.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`, every one as likely up to 2^-64.
    ///
    /// # Panics
    /// If `bound` is 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        let product = u128::from(self.next_u64()) * u128::from(bound);
        // The upper half of a product is below its factor.
        (product >> 64) as u64
    }

    /// A number from `low` up to and without `high`.
    ///
    /// # Panics
    /// If `low` is not below `high`.
    #[inline]
    pub fn range(&mut self, low: i64, high: i64) -> i64 {
        assert!(low < high, "an empty range: {low}..{high}");
        low.wrapping_add_unsigned(self.below(high.abs_diff(low)))
    }

    /// A number in `0.0..1.0`, in steps of 2^-24.
    #[inline]
    pub fn unit_f32(&mut self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32 exactly")]
        let steps = (self.next_u64() >> 40) as f32;
        steps / (1u32 << 24) as f32
    }

    /// True with this probability.
    #[inline]
    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit_f32() < probability
    }

    /// One of the items; none of an empty slice.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.below((items.len() as u64).max(1))).ok()?;
        items.get(at)
    }

    /// Brings the items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or(last);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_reference() {
        let mut rng = Rng::new(1_234_567);
        let numbers: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn bounds_hold() {
        let mut rng = Rng::new(7);
        for _ in 0..1000 {
            assert!(rng.below(3) < 3);
            assert!((-2..5).contains(&rng.range(-2, 5)));
            assert!((0.0..1.0).contains(&rng.unit_f32()));
        }
        assert_eq!(rng.pick::<u8>(&[]), None);
    }
}
