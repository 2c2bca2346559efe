//! What is done to a row: copies, conversions, defaults. A page is gone through step by step, all its rows in each, so that
//! every loop is a simple one; a page fits the processor's cache.

use super::numbers::{Number, narrow, widen};
use crate::bytes::in_pieces;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One stretch of a row. Offsets are in bytes from the start of the old and of the new row, or item.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Copy {
        from: usize,
        to: usize,
        bytes: usize,
    },
    Fill {
        to: usize,
        bytes: Arc<[u8]>,
    },
    Widen {
        from: usize,
        to: usize,
        numbers: (Number, Number),
    },
    /// Acknowledged: what does not fit becomes the nearest number that does.
    Narrow {
        from: usize,
        to: usize,
        numbers: (Number, Number),
    },
    Enum(EnumStep),
    Str(StrStep),
    Each {
        from: usize,
        to: usize,
        count: usize,
        strides: (usize, usize),
        steps: Vec<Step>,
    },
    List(ListStep),
    Opt(OptStep),
}

/// An enum whose variants have other numbers, or are fewer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EnumStep {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Bytes of the old and of the new one.
    pub(crate) sizes: (usize, usize),
    /// Old number, new number; ascending.
    pub(crate) map: Vec<(i64, i64)>,
    /// Old number and name of variants that are gone.
    pub(crate) gone: Vec<(i64, String)>,
    pub(crate) path: Arc<str>,
}

/// A `Str` that becomes shorter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StrStep {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) capacities: (usize, usize),
    /// Acknowledged: longer texts are cut.
    pub(crate) cut: bool,
    pub(crate) path: Arc<str>,
}

/// A `List` whose items change, or that holds fewer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListStep {
    /// Of the lengths.
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// From a length to the first item.
    pub(crate) items: (usize, usize),
    pub(crate) strides: (usize, usize),
    pub(crate) capacities: (usize, usize),
    pub(crate) steps: Vec<Step>,
    /// A new item where there is none.
    pub(crate) blank: Arc<[u8]>,
    /// Acknowledged: longer lists are cut.
    pub(crate) cut: bool,
    pub(crate) path: Arc<str>,
}

/// An `Opt` whose value changes, or that becomes a plain value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OptStep {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// The new value is an `Opt`, too.
    pub(crate) has_flag: bool,
    /// From the flag to the value; without a flag, that is where `to` is.
    pub(crate) values: (usize, usize),
    pub(crate) sizes: (usize, usize),
    pub(crate) steps: Vec<Step>,
    /// A new value where there is none.
    pub(crate) blank: Arc<[u8]>,
}

/// A value that a live row has, and that the new schema has no place for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) path: Arc<str>,
    pub(crate) what: String,
    /// Which of the rows that were gone through.
    pub(crate) row: usize,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// Old rows side by side, and as many new ones; and where in a row to read and write.
#[derive(Debug)]
pub(crate) struct Strided<'a> {
    old: &'a [u8],
    new: &'a mut [u8],
    strides: (usize, usize),
    from: usize,
    to: usize,
}

impl<'a> Strided<'a> {
    pub(crate) fn new(old: &'a [u8], old_stride: usize, new: &'a mut [u8], new_stride: usize) -> Self {
        assert_eq!(old.len() / old_stride, new.len() / new_stride, "as many new rows as old ones");
        Self { old, new, strides: (old_stride, new_stride), from: 0, to: 0 }
    }

    fn at(&mut self, from: usize, to: usize) -> &mut Self {
        (self.from, self.to) = (from, to);
        self
    }

    /// Runs for every row, with as many bytes of each.
    #[inline]
    pub(crate) fn each<const OLD: usize, const NEW: usize>(&mut self, run: impl Fn(&[u8; OLD], &mut [u8; NEW])) {
        let (from, to) = (self.from, self.to);
        let rows = self.old.chunks_exact(self.strides.0).zip(self.new.chunks_exact_mut(self.strides.1));
        for (old, new) in rows {
            let old = old[from..from + OLD].first_chunk().expect("just cut to this length");
            let new = new[to..to + NEW].first_chunk_mut().expect("just cut to this length");
            run(old, new);
        }
    }

    #[inline]
    pub(crate) fn each_slice(&mut self, old_bytes: usize, new_bytes: usize, run: impl Fn(&[u8], &mut [u8])) {
        let (from, to) = (self.from, self.to);
        let rows = self.old.chunks_exact(self.strides.0).zip(self.new.chunks_exact_mut(self.strides.1));
        for (old, new) in rows {
            run(&old[from..from + old_bytes], &mut new[to..to + new_bytes]);
        }
    }

    /// Copies as many bytes of every row. The usual widths are loops of their own: a call to copy eight bytes would take longer
    /// than the copy.
    pub(crate) fn copy(&mut self, bytes: usize) {
        let (from, to) = (self.from, self.to);
        macro_rules! widths {
            ($($width:literal)+) => {
                match bytes {
                    $($width => self.each::<$width, $width>(|old, new| *new = *old),)+
                    _ => in_pieces(bytes, |at, bytes| self.at(from + at, to + at).copy(bytes)),
                }
            };
        }
        widths!(0 1 2 3 4 5 6 7 8 9 12 16 17 20 24 28 32 33 36 40 44 48 52 56 60 64 72 80 96 112 128);
    }

    fn fill(&mut self, bytes: &[u8]) {
        let to = self.to;
        macro_rules! widths {
            ($($width:literal)+) => {
                match bytes.len() {
                    $($width => {
                        let value: [u8; $width] = bytes.try_into().expect("as matched");
                        self.each::<0, $width>(|_, new| *new = value);
                    })+
                    len => in_pieces(len, |at, len| self.at(0, to + at).fill(&bytes[at..at + len])),
                }
            };
        }
        widths!(0 1 2 3 4 5 6 7 8 12 16 24 32 64);
    }
}

/// Does all steps to all rows.
///
/// # Errors
/// The first row that has no place in the new schema; what has been written until then means nothing.
pub(crate) fn run(steps: &[Step], rows: &mut Strided<'_>) -> Result<(), Misfit> {
    steps.iter().try_for_each(|step| step.run(rows))
}

impl Step {
    fn run(&self, rows: &mut Strided<'_>) -> Result<(), Misfit> {
        match self {
            Self::Copy { from, to, bytes } => rows.at(*from, *to).copy(*bytes),
            Self::Fill { to, bytes } => rows.at(0, *to).fill(bytes),
            Self::Widen { from, to, numbers } => widen(numbers.0, numbers.1, rows.at(*from, *to)),
            Self::Narrow { from, to, numbers } => narrow(numbers.0, numbers.1, rows.at(*from, *to)),
            Self::Enum(step) => return step.run(rows),
            Self::Str(step) => return one_by_one(rows, |old, new| step.one(old, new)),
            Self::Each { from, to, count, strides, steps } => {
                return one_by_one(rows, |old, new| {
                    let old = &old[*from..][..count * strides.0];
                    let new = &mut new[*to..][..count * strides.1];
                    run(steps, &mut Strided::new(old, strides.0, new, strides.1))
                });
            }
            Self::List(step) => return one_by_one(rows, |old, new| step.one(old, new)),
            Self::Opt(step) => return one_by_one(rows, |old, new| step.one(old, new)),
        }
        Ok(())
    }

    /// The bytes of a new row that this writes.
    pub(crate) fn written(&self) -> Range<usize> {
        let of = |to: &usize, bytes: usize| *to..to + bytes;
        match self {
            Self::Copy { to, bytes, .. } => of(to, *bytes),
            Self::Fill { to, bytes } => of(to, bytes.len()),
            Self::Widen { to, numbers, .. } | Self::Narrow { to, numbers, .. } => of(to, numbers.1.size()),
            Self::Enum(step) => of(&step.to, step.sizes.1),
            Self::Str(step) => of(&step.to, step.capacities.1 + 1),
            // May leave padding out.
            Self::Each { to, .. } => of(to, 0),
            Self::List(step) => of(&step.to, 0),
            Self::Opt(step) => of(&step.to, 0),
        }
    }

    /// The same for a row that starts elsewhere.
    pub(crate) fn moved(mut self, by: (usize, usize)) -> Self {
        let (from, to) = match &mut self {
            Self::Copy { from, to, .. }
            | Self::Widen { from, to, .. }
            | Self::Narrow { from, to, .. }
            | Self::Each { from, to, .. } => (Some(from), to),
            Self::Fill { to, .. } => (None, to),
            Self::Enum(step) => (Some(&mut step.from), &mut step.to),
            Self::Str(step) => (Some(&mut step.from), &mut step.to),
            Self::List(step) => (Some(&mut step.from), &mut step.to),
            Self::Opt(step) => (Some(&mut step.from), &mut step.to),
        };
        from.into_iter().for_each(|from| *from += by.0);
        *to += by.1;
        self
    }
}

/// Steps in the order of the new row, copies that lie side by side in both made one.
pub(crate) fn merged(mut steps: Vec<Step>) -> Vec<Step> {
    steps.sort_by_key(|step| step.written().start);
    let mut merged: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        if let (Some(Step::Copy { from, to, bytes }), Step::Copy { from: next, to: next_to, bytes: more }) =
            (merged.last_mut(), &step)
            && (*from + *bytes, *to + *bytes) == (*next, *next_to)
        {
            *bytes += more;
            continue;
        }
        merged.push(step);
    }
    merged
}

/// Steps that write every byte of a new row, its padding too, so that a page need not be cleared first.
pub(crate) fn filled(steps: Vec<Step>, row_bytes: usize) -> Vec<Step> {
    let mut written: Vec<Range<usize>> = steps.iter().map(Step::written).collect();
    written.sort_by_key(|range| range.start);
    written.push(row_bytes..row_bytes);
    let (mut fills, others): (Vec<Step>, Vec<Step>) =
        steps.into_iter().partition(|step| matches!(step, Step::Fill { .. }));
    let mut end = 0;
    for range in written {
        if range.start > end {
            fills.push(Step::Fill { to: end, bytes: vec![0; range.start - end].into() });
        }
        end = end.max(range.end);
    }
    fills.sort_by_key(|step| step.written().start);
    // First, because the bytes of a list, say, are only known to be somewhere between others.
    let mut steps: Vec<Step> = Vec::with_capacity(fills.len() + others.len());
    for step in fills {
        if let (Some(Step::Fill { to, bytes }), Step::Fill { to: next, bytes: more }) = (steps.last_mut(), &step)
            && *to + bytes.len() == *next
        {
            *bytes = [&**bytes, &**more].concat().into();
            continue;
        }
        steps.push(step);
    }
    steps.extend(others);
    steps
}

/// Runs for every row, which may have no place.
fn one_by_one(
    rows: &mut Strided<'_>,
    mut run: impl FnMut(&[u8], &mut [u8]) -> Result<(), Misfit>,
) -> Result<(), Misfit> {
    let pairs = rows.old.chunks_exact(rows.strides.0).zip(rows.new.chunks_exact_mut(rows.strides.1));
    for (row, (old, new)) in pairs.enumerate() {
        run(old, new).map_err(|misfit| Misfit { row, ..misfit })?;
    }
    Ok(())
}

fn misfit(path: &Arc<str>, what: String) -> Misfit {
    Misfit { path: path.clone(), what, row: 0 }
}

/// A number of 1, 2, 4 or 8 bytes, with its sign where it has one.
fn read_number(bytes: &[u8], is_signed: bool) -> i64 {
    let fill = if is_signed && bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xFF } else { 0 };
    let mut wide = [fill; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

impl EnumStep {
    fn run(&self, rows: &mut Strided<'_>) -> Result<(), Misfit> {
        match self.sizes {
            (1, 1) => self.bytes::<1>(rows),
            (1, 2) => self.bytes::<2>(rows),
            (1, 4) => self.bytes::<4>(rows),
            (1, 8) => self.bytes::<8>(rows),
            _ => one_by_one(rows, |old, new| {
                let number = self.map[self.find(&old[self.from..][..self.sizes.0])?].1;
                new[self.to..][..self.sizes.1].copy_from_slice(&number.to_le_bytes()[..self.sizes.1]);
                Ok(())
            }),
        }
    }

    /// From one byte, as most enums have: each number that comes up is looked for once.
    fn bytes<const NEW: usize>(&self, rows: &mut Strided<'_>) -> Result<(), Misfit> {
        const UNKNOWN: u16 = u16::MAX;
        let mut found = [UNKNOWN; 256];
        one_by_one(rows, |old, new| {
            let place = &mut found[usize::from(old[self.from])];
            if *place == UNKNOWN {
                *place = u16::try_from(self.find(&old[self.from..=self.from])?).expect("a byte has few values");
            }
            let number = self.map[usize::from(*place)].1.to_le_bytes();
            new[self.to..self.to + NEW].copy_from_slice(&number[..NEW]);
            Ok(())
        })
    }

    /// Where in the map a variant is.
    fn find(&self, bytes: &[u8]) -> Result<usize, Misfit> {
        // The schema does not tell whether numbers have a sign; a variant is found by its number either way.
        let (signed, unsigned) = (read_number(bytes, true), read_number(bytes, false));
        let find = |number| self.map.binary_search_by_key(&number, |(old, _)| *old).ok();
        find(signed).or_else(|| find(unsigned)).ok_or_else(|| {
            let is_it = |(number, _): &&(i64, String)| *number == signed || *number == unsigned;
            let what = match self.gone.iter().find(is_it) {
                Some((_, name)) => format!("has {name}, which is gone"),
                None => format!("has {unsigned}, which is no variant"),
            };
            misfit(&self.path, what)
        })
    }
}

impl StrStep {
    fn one(&self, old: &[u8], new: &mut [u8]) -> Result<(), Misfit> {
        let (capacity, new_capacity) = self.capacities;
        let bytes = &old[self.from..][..1 + capacity];
        let bytes = &bytes[1..][..usize::from(bytes[0]).min(capacity)];
        let mut end = bytes.len();
        if end > new_capacity {
            let text = String::from_utf8_lossy(bytes);
            if !self.cut {
                return Err(misfit(&self.path, format!("has {text:?}, {end} bytes long; {new_capacity} fit")));
            }
            end = (0..=new_capacity).rev().find(|end| bytes[*end] & 0xC0 != 0x80).unwrap_or(0);
        }
        let new = &mut new[self.to..][..1 + new_capacity];
        new.fill(0);
        new[0] = u8::try_from(end).expect("no longer than a length byte says");
        new[1..][..end].copy_from_slice(&bytes[..end]);
        Ok(())
    }
}

impl ListStep {
    fn one(&self, old: &[u8], new: &mut [u8]) -> Result<(), Misfit> {
        let (capacity, new_capacity) = self.capacities;
        let len: [u8; 4] = old[self.from..][..4].try_into().expect("four bytes");
        let mut len = (u32::from_le_bytes(len) as usize).min(capacity);
        if len > new_capacity {
            if !self.cut {
                return Err(misfit(&self.path, format!("has {len} items; {new_capacity} fit")));
            }
            len = new_capacity;
        }
        new[self.to..][..4].copy_from_slice(&u32::try_from(len).expect("a row is short").to_le_bytes());
        let (old_stride, new_stride) = self.strides;
        let old = &old[self.from + self.items.0..][..len * old_stride];
        let (items, rest) = new[self.to + self.items.1..][..new_capacity * new_stride].split_at_mut(len * new_stride);
        run(&self.steps, &mut Strided::new(old, old_stride, items, new_stride))?;
        rest.chunks_exact_mut(new_stride).for_each(|item| item.copy_from_slice(&self.blank));
        Ok(())
    }
}

impl OptStep {
    fn one(&self, old: &[u8], new: &mut [u8]) -> Result<(), Misfit> {
        let is_some = old[self.from] != 0;
        if self.has_flag {
            new[self.to] = u8::from(is_some);
        }
        let value = &mut new[self.to + self.values.1..][..self.sizes.1];
        if is_some {
            let old = &old[self.from + self.values.0..][..self.sizes.0];
            return run(&self.steps, &mut Strided::new(old, self.sizes.0, value, self.sizes.1));
        }
        value.copy_from_slice(&self.blank);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of that many bytes from a pattern in which no two stretches are the same.
    fn rows(row_bytes: usize) -> Vec<u8> {
        (0..251).chain(3..=255).cycle().take(3 * row_bytes).collect()
    }

    #[test]
    fn every_width_is_copied_and_filled() {
        for width in 0..300 {
            let (old_bytes, new_bytes) = (width + 5, width + 7);
            let (old, value) = (rows(old_bytes), &rows(width)[..width]);
            let (mut copied, mut filled) = (vec![0; 3 * new_bytes], vec![0; 3 * new_bytes]);
            Strided::new(&old, old_bytes, &mut copied, new_bytes).at(2, 4).copy(width);
            Strided::new(&old, old_bytes, &mut filled, new_bytes).at(0, 4).fill(value);
            for row in 0..3 {
                let old = &old[row * old_bytes..][..old_bytes];
                let expected = |value: &[u8]| [&[0; 4], value, &[0; 3]].concat();
                assert_eq!(copied[row * new_bytes..][..new_bytes], expected(&old[2..2 + width]), "{width}");
                assert_eq!(filled[row * new_bytes..][..new_bytes], expected(value), "{width}");
            }
        }
    }

    #[test]
    fn what_no_step_writes_is_filled_first() {
        let copy = |to, bytes| Step::Copy { from: 0, to, bytes };
        let fill = |to, bytes: &[u8]| Step::Fill { to, bytes: bytes.into() };
        let each = Step::Each { from: 0, to: 12, count: 1, strides: (4, 4), steps: Vec::new() };
        let steps = vec![copy(0, 4), fill(4, &[7]), each.clone(), copy(16, 8)];
        // One fill for the value and the padding after it.
        assert_eq!(filled(steps, 24), [fill(4, &[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), copy(0, 4), each, copy(16, 8)]);
        assert_eq!(filled(vec![copy(0, 8)], 8), [copy(0, 8)]);
        assert_eq!(filled(vec![copy(0, 8)], 12), [fill(8, &[0; 4]), copy(0, 8)]);
    }
}
