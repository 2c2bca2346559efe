//! Which number fits into which, what a narrower one would lose, and the conversions.

use super::steps::Strided;
use logic_api::schema::ColumnType;

/// A column that holds a number. A `PlayerId` counts as the `u64` that it is, a `bool` as 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
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
}

/// A value on its way from a wider number to a narrower one.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Whole(i128),
    /// Above what an `i128` holds.
    Large(u128),
    Real(f64),
}

/// What sort of number it is, and how many bits of a whole number it holds exactly, beside the sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unsigned(u32),
    Signed(u32),
    Real(u32),
}

impl Number {
    pub(crate) fn of(column: &ColumnType) -> Option<Self> {
        Some(match column {
            ColumnType::Bool => Self::Bool,
            ColumnType::U8 => Self::U8,
            ColumnType::U16 => Self::U16,
            ColumnType::U32 => Self::U32,
            ColumnType::U64 | ColumnType::Player => Self::U64,
            ColumnType::U128 => Self::U128,
            ColumnType::I8 => Self::I8,
            ColumnType::I16 => Self::I16,
            ColumnType::I32 => Self::I32,
            ColumnType::I64 => Self::I64,
            ColumnType::I128 => Self::I128,
            ColumnType::F32 => Self::F32,
            ColumnType::F64 => Self::F64,
            _ => return None,
        })
    }

    pub(crate) fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
            Self::U128 | Self::I128 => 16,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Bool => Kind::Unsigned(1),
            Self::U8 => Kind::Unsigned(8),
            Self::U16 => Kind::Unsigned(16),
            Self::U32 => Kind::Unsigned(32),
            Self::U64 => Kind::Unsigned(64),
            Self::U128 => Kind::Unsigned(128),
            Self::I8 => Kind::Signed(7),
            Self::I16 => Kind::Signed(15),
            Self::I32 => Kind::Signed(31),
            Self::I64 => Kind::Signed(63),
            Self::I128 => Kind::Signed(127),
            Self::F32 => Kind::Real(24),
            Self::F64 => Kind::Real(53),
        }
    }

    /// What of this number another one cannot hold: `None` if that holds every value exactly.
    pub(crate) fn lost_in(self, to: Self) -> Option<String> {
        match (self.kind(), to.kind()) {
            (Kind::Unsigned(from), Kind::Unsigned(to) | Kind::Signed(to)) => (from > to).then(|| above(to)),
            (Kind::Signed(from), Kind::Signed(to)) => {
                (from > to).then(|| format!("values below -{} and above {}", power(to), less_one(to)))
            }
            (Kind::Signed(from), Kind::Unsigned(to)) => {
                let negative = "negative values".to_owned();
                Some(if from > to { format!("{negative} and {}", above(to)) } else { negative })
            }
            (Kind::Unsigned(from), Kind::Real(to)) => (from > to).then(|| format!("values above 2^{to}")),
            (Kind::Signed(from), Kind::Real(to)) => (from > to).then(|| format!("values above 2^{to}")),
            (Kind::Real(from), Kind::Real(to)) => (from > to).then(|| "digits".to_owned()),
            (Kind::Real(_), _) => Some("fractions".to_owned()),
        }
    }

    fn read(self, bytes: &[u8]) -> Value {
        macro_rules! number {
            ($of:ty) => {
                <$of>::from_le_bytes(bytes.try_into().expect("as many bytes as the number has"))
            };
        }
        match self {
            Self::Bool | Self::U8 => Value::Whole(bytes[0].into()),
            Self::U16 => Value::Whole(number!(u16).into()),
            Self::U32 => Value::Whole(number!(u32).into()),
            Self::U64 => Value::Whole(number!(u64).into()),
            Self::U128 => {
                let value = number!(u128);
                i128::try_from(value).map_or(Value::Large(value), Value::Whole)
            }
            Self::I8 => Value::Whole(number!(i8).into()),
            Self::I16 => Value::Whole(number!(i16).into()),
            Self::I32 => Value::Whole(number!(i32).into()),
            Self::I64 => Value::Whole(number!(i64).into()),
            Self::I128 => Value::Whole(number!(i128)),
            Self::F32 => {
                let value = number!(f32);
                Value::Real(if value.is_nan() { f64::from_bits(widen_nan(value.to_bits())) } else { value.into() })
            }
            Self::F64 => Value::Real(number!(f64)),
        }
    }

    /// The nearest value that this number has; of two as near, the even one. Of NaN, a whole number has none: 0.
    #[expect(clippy::cast_precision_loss, reason = "the nearest is what is asked for")]
    #[expect(clippy::cast_possible_truncation, reason = "as above; casts of floats saturate")]
    fn write_nearest(self, value: Value, bytes: &mut [u8]) {
        macro_rules! whole {
            ($of:ty) => {{
                let nearest: $of = match value {
                    Value::Whole(whole) => {
                        <$of>::try_from(whole).unwrap_or(if whole < 0 { <$of>::MIN } else { <$of>::MAX })
                    }
                    Value::Large(large) => <$of>::try_from(large).unwrap_or(<$of>::MAX),
                    Value::Real(real) => real.round_ties_even() as $of,
                };
                bytes.copy_from_slice(&nearest.to_le_bytes());
            }};
        }
        // Through an `f64`, a large whole number would be rounded twice on its way to an `f32`.
        macro_rules! real {
            ($of:ty, $nan:expr) => {{
                let nearest: $of = match value {
                    Value::Whole(whole) => whole as $of,
                    Value::Large(large) => large as $of,
                    Value::Real(real) if real.is_nan() => <$of>::from_bits($nan(real.to_bits())),
                    Value::Real(real) => real as $of,
                };
                bytes.copy_from_slice(&nearest.to_le_bytes());
            }};
        }
        match self {
            Self::Bool => {
                bytes[0] = u8::from(match value {
                    Value::Whole(whole) => whole > 0,
                    Value::Large(_) => true,
                    Value::Real(real) => real > 0.5,
                });
            }
            Self::U8 => whole!(u8),
            Self::U16 => whole!(u16),
            Self::U32 => whole!(u32),
            Self::U64 => whole!(u64),
            Self::U128 => whole!(u128),
            Self::I8 => whole!(i8),
            Self::I16 => whole!(i16),
            Self::I32 => whole!(i32),
            Self::I64 => whole!(i64),
            Self::I128 => whole!(i128),
            Self::F32 => real!(f32, narrow_nan),
            Self::F64 => real!(f64, |bits| bits),
        }
    }
}

fn power(bits: u32) -> u128 {
    1 << bits
}

fn less_one(bits: u32) -> u128 {
    u128::MAX >> (128 - bits)
}

fn above(bits: u32) -> String {
    format!("values above {}", less_one(bits))
}

/// A NaN keeps its payload both ways: what it does in a cast is the processor's business, and a replay may run on another one.
fn widen_nan(bits: u32) -> u64 {
    u64::from(bits >> 31) << 63 | 0x7FF << 52 | u64::from(bits & 0x7F_FFFF) << 29
}

#[expect(clippy::cast_possible_truncation, reason = "masked to 23 bits")]
fn narrow_nan(bits: u64) -> u32 {
    let payload = (bits >> 29) as u32 & 0x7F_FFFF;
    ((bits >> 63) as u32) << 31 | 0xFF << 23 | if payload == 0 { 1 << 22 } else { payload }
}

macro_rules! conversions {
    ($($from:ident $from_type:ty => $($to:ident $to_type:ty),+;)+) => {
        /// Copies a column of numbers from rows to rows, as another number that holds all of them.
        pub(crate) fn widen(from: Number, to: Number, rows: &mut Strided<'_>) {
            match (from, to) {
                $($((Number::$from, Number::$to) => {
                    rows.each::<{ size_of::<$from_type>() }, { size_of::<$to_type>() }>(|old, new| {
                        *new = <$to_type>::from(<$from_type>::from_le_bytes(*old)).to_le_bytes();
                    });
                })+)+
                (Number::F32, Number::F64) => rows.each::<4, 8>(|old, new| {
                    let value = f32::from_le_bytes(*old);
                    let bits = if value.is_nan() { widen_nan(value.to_bits()) } else { f64::from(value).to_bits() };
                    *new = bits.to_le_bytes();
                }),
                // The byte of a bool is that of a `u8`; what is left are numbers whose bytes are the same.
                (Number::Bool, to) if to != Number::U8 => widen(Number::U8, to, rows),
                (from, _) => rows.copy(from.size()),
            }
        }

        #[cfg(test)]
        const WRITTEN: &[(Number, Number)] = &[$($((Number::$from, Number::$to),)+)+ (Number::F32, Number::F64)];
    };
}

conversions! {
    U8 u8 => U16 u16, U32 u32, U64 u64, U128 u128, I16 i16, I32 i32, I64 i64, I128 i128, F32 f32, F64 f64;
    U16 u16 => U32 u32, U64 u64, U128 u128, I32 i32, I64 i64, I128 i128, F32 f32, F64 f64;
    U32 u32 => U64 u64, U128 u128, I64 i64, I128 i128, F64 f64;
    U64 u64 => U128 u128, I128 i128;
    I8 i8 => I16 i16, I32 i32, I64 i64, I128 i128, F32 f32, F64 f64;
    I16 i16 => I32 i32, I64 i64, I128 i128, F32 f32, F64 f64;
    I32 i32 => I64 i64, I128 i128, F64 f64;
    I64 i64 => I128 i128;
}

/// Copies a column of numbers as narrower ones: each becomes the nearest that there is.
pub(crate) fn narrow(from: Number, to: Number, rows: &mut Strided<'_>) {
    rows.each_slice(from.size(), to.size(), |old, new| to.write_nearest(from.read(old), new));
}

#[cfg(test)]
mod tests {
    use super::*;
    use Number::{Bool, F32, F64, I8, I16, I32, I64, I128, U8, U16, U32, U64, U128};

    const ALL: [Number; 13] = [Bool, U8, U16, U32, U64, U128, I8, I16, I32, I64, I128, F32, F64];

    /// Values that a number may stumble over, as its bytes.
    fn corners(of: Number) -> Vec<Vec<u8>> {
        let wholes = [0, 1, 2, 127, 128, 255, 256, 1 << 24, (1 << 24) + 1, 1 << 53, (1 << 53) + 1, i128::MAX];
        let wholes = wholes.into_iter().flat_map(|whole| [whole, -whole, -whole - 1]).map(Value::Whole);
        let reals = [0.5, -0.5, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE].map(Value::Real);
        let bytes = |value: Value| {
            let mut bytes = vec![0; of.size()];
            of.write_nearest(value, &mut bytes);
            bytes
        };
        let mut all: Vec<_> = wholes.chain(reals).chain([Value::Large(u128::MAX)]).map(bytes).collect();
        match of {
            F32 => all.extend([0x7F80_0001u32, 0xFFC0_1234, 1].map(|bits| bits.to_le_bytes().to_vec())),
            F64 => {
                all.extend([0x7FF0_0000_2000_0000u64, 0xFFF8_0000_0000_0001, 1].map(|bits| bits.to_le_bytes().to_vec()))
            }
            _ => {}
        }
        all
    }

    fn converted(from: Number, to: Number, value: &[u8]) -> Vec<u8> {
        let mut new = vec![0; to.size()];
        let convert = if from.lost_in(to).is_none() { widen } else { narrow };
        convert(from, to, &mut Strided::new(value, from.size(), &mut new, to.size()));
        new
    }

    /// Every cell of the matrix: what is called lossless comes back as it was, and means the same.
    #[test]
    fn what_fits_comes_back_as_it_was() {
        for (from, to) in ALL.into_iter().flat_map(|from| ALL.map(|to| (from, to))) {
            if from.lost_in(to).is_some() {
                continue;
            }
            for value in corners(from) {
                let there = converted(from, to, &value);
                let mut back = vec![0; from.size()];
                narrow(to, from, &mut Strided::new(&there, to.size(), &mut back, from.size()));
                assert_eq!(back, value, "{from:?} -> {to:?}");
                match (from.read(&value), to.read(&there)) {
                    #[expect(clippy::cast_precision_loss, reason = "what is tested is that there is none")]
                    (Value::Whole(old), Value::Real(new)) => assert_eq!(old as f64, new, "{from:?} -> {to:?}"),
                    (Value::Real(old), Value::Real(new)) if old.is_nan() => assert!(new.is_nan()),
                    (old, new) => assert_eq!(old, new, "{from:?} -> {to:?}"),
                }
            }
        }
    }

    /// Of each pair that is called lossy there is a value that does not come back.
    #[test]
    fn what_is_refused_would_lose_something() {
        for (from, to) in ALL.into_iter().flat_map(|from| ALL.map(|to| (from, to))) {
            if from.lost_in(to).is_none() {
                continue;
            }
            let comes_back = |value: &Vec<u8>| converted(to, from, &converted(from, to, value)) == *value;
            assert!(!corners(from).iter().all(comes_back), "{from:?} -> {to:?} loses nothing");
        }
    }

    #[test]
    fn every_conversion_is_written_out() {
        let bytes_are_the_same = |from: Number, to: Number| from == to || from == Bool;
        for (from, to) in ALL.into_iter().flat_map(|from| ALL.map(|to| (from, to))) {
            let is_lossless = from.lost_in(to).is_none() && !bytes_are_the_same(from, to);
            assert_eq!(WRITTEN.contains(&(from, to)), is_lossless, "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn what_would_be_lost_is_told() {
        let lost = |from: Number, to| from.lost_in(to).unwrap();
        assert_eq!(lost(I32, F32), "values above 2^24");
        assert_eq!(lost(U64, F64), "values above 2^53");
        assert_eq!(lost(U32, U8), "values above 255");
        assert_eq!(lost(U64, I64), "values above 9223372036854775807");
        assert_eq!(lost(U128, U64), "values above 18446744073709551615");
        assert_eq!(lost(I32, I8), "values below -128 and above 127");
        assert_eq!(lost(I8, U64), "negative values");
        assert_eq!(lost(I32, U8), "negative values and values above 255");
        assert_eq!(lost(U8, Bool), "values above 1");
        assert_eq!(lost(F64, F32), "digits");
        assert_eq!(lost(F32, I128), "fractions");
    }

    #[test]
    fn the_nearest_is_taken() {
        #[track_caller]
        fn check(from: Number, value: &[u8], to: Number, expected: &[u8]) {
            assert_eq!(converted(from, to, value), expected);
        }
        check(I32, &(-5i32).to_le_bytes(), U8, &[0]);
        check(I32, &300i32.to_le_bytes(), U8, &[255]);
        check(I32, &300i32.to_le_bytes(), Bool, &[1]);
        check(I32, &(-5i32).to_le_bytes(), Bool, &[0]);
        check(U128, &u128::MAX.to_le_bytes(), Bool, &[1]);
        check(U128, &u128::MAX.to_le_bytes(), I128, &i128::MAX.to_le_bytes());
        for (real, whole, truth) in [
            (2.7, 3, 1),
            (2.5, 2, 1),
            (3.5, 4, 1),
            (0.6, 1, 1),
            (0.5, 0, 0),
            (0.3, 0, 0),
            (-0.3, 0, 0),
            (-2.7, -3, 0),
            (1e300, i8::MAX, 1),
            (f64::NEG_INFINITY, i8::MIN, 0),
            (f64::NAN, 0, 0),
        ] {
            check(F64, &f64::to_le_bytes(real), I8, &whole.to_le_bytes());
            check(F64, &f64::to_le_bytes(real), Bool, &[truth]);
        }
        check(F64, &1e300f64.to_le_bytes(), F32, &f32::INFINITY.to_le_bytes());
        // Just above the middle of two: an `f64` holds the middle only, and the even one of the two is the lower.
        let (middle, upper) = ((1u64 << 60) + (1 << 36), ((1u64 << 60) + (1 << 37)) as f32);
        check(U64, &(middle + 1).to_le_bytes(), F32, &upper.to_le_bytes());
        check(I64, &(middle + 1).to_le_bytes(), F32, &upper.to_le_bytes());
        check(U128, &(u128::from(middle + 1) << 67).to_le_bytes(), F32, &(upper * 2f32.powi(67)).to_le_bytes());
        check(U64, &u64::MAX.to_le_bytes(), F32, &(u64::MAX as f32).to_le_bytes());
    }
}
