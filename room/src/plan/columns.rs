//! How a value of one type becomes one of another: the matrix of what is lossless, and the lines for what is not.

use super::maker::{Made, Maker, Path};
use super::names::{Names, match_names};
use super::numbers::Number;
use super::steps::{EnumStep, ListStep, OptStep, Step, StrStep};
use logic_api::changes::EnumChanges;
use logic_api::schema::{ColumnType, EnumSchema};
use std::sync::Arc;

/// What a column is filled up with where the old one was shorter: bytes of a whole new value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Filling<'a> {
    /// Of an empty list or option.
    pub(super) blank: Option<&'a [u8]>,
    /// `#[row(default = …)]`
    pub(super) default: Option<&'a [u8]>,
}

impl<'a> Filling<'a> {
    /// Of a part of the value.
    fn part(self, offset: usize, bytes: usize) -> Self {
        let part = |whole: Option<&'a [u8]>| whole.and_then(|whole| whole.get(offset..offset + bytes));
        Self { blank: part(self.blank), default: part(self.default) }
    }

    /// What stands there without an old value.
    pub(super) fn value(self, of: &ColumnType) -> Vec<u8> {
        self.default.or(self.blank).map_or_else(|| some_value(of), <[u8]>::to_vec)
    }

    /// What stands where there is no item.
    fn blank(self, of: &ColumnType) -> Arc<[u8]> {
        self.blank.map_or_else(|| some_value(of).into(), Arc::from)
    }
}

impl Maker<'_> {
    /// The steps from a value to one of the new type, both at offset 0; none if there are none, which has been said then.
    pub(super) fn column(
        &mut self,
        path: &Path,
        old: &ColumnType,
        new: &ColumnType,
        filling: Filling<'_>,
    ) -> Option<Made> {
        use ColumnType::{Array, Blob, Enum, Id, List, Opt, Row, Str, Text};
        if let (Some(from), Some(to)) = (Number::of(old), Number::of(new)) {
            return self.number(path, (old, from), (new, to));
        }
        match (old, new) {
            (Text, Text | Blob) | (Blob, Blob) => Some(Made::heap()),
            // What is no UTF-8 reads as an empty text.
            (Blob, Text) => self.may_lose(path, (old, new), "bytes that are no UTF-8").then(Made::heap),
            (Id { row: one }, Id { row: two }) => match self.lost_id(one, two) {
                None => Some(Made::copy(8)),
                Some(lost) => self.lost(path, &format!("{old} -> {new} {lost}"), new, filling),
            },
            (Str { capacity: from }, Str { capacity: to }) => self.text(path, *from, *to),
            (Enum(from), Enum(to)) => self.enumeration(path, from, to, filling),
            (Row(from), Row(to)) => self.nested(path, from, to),
            (Array { of: from, len }, Array { of: to, len: new_len }) => {
                self.array(path, (old, from, *len), (new, to, *new_len), filling)
            }
            (List { of: from, capacity }, List { of: to, capacity: new_capacity }) => {
                self.list(path, (from, *capacity), (new, to, *new_capacity), filling)
            }
            (Opt { of: from }, Opt { of: to }) => self.option(path, from, (new, to), filling),
            (from, Opt { of: to }) => self.wrapped(path, from, (new, to), filling),
            (Opt { of: from }, to) if self.may_lose(path, (old, new), "that there is none") => {
                self.unwrapped(path, from, to, filling)
            }
            (Opt { .. }, _) => None,
            _ => self.lost(path, &format!("{old} -> {new} is no change that keeps the value"), new, filling),
        }
    }

    /// Acknowledged, the new value has nothing of the old one.
    fn lost(&mut self, path: &Path, what: &str, new: &ColumnType, filling: Filling<'_>) -> Option<Made> {
        let is_allowed = self.is_lossy_allowed(path, what);
        is_allowed.then(|| Made::lost(new, filling))
    }

    fn number(&mut self, path: &Path, old: (&ColumnType, Number), new: (&ColumnType, Number)) -> Option<Made> {
        let (from, to) = (old.1, new.1);
        if from == to || (from, to) == (Number::Bool, Number::U8) {
            return Some(Made::copy(from.size()));
        }
        let numbers = (from, to);
        let step = match from.lost_in(to) {
            None => Step::Widen { from: 0, to: 0, numbers },
            Some(lost) => {
                if !self.may_lose(path, (old.0, new.0), &lost) {
                    return None;
                }
                Step::Narrow { from: 0, to: 0, numbers }
            }
        };
        Some(Made::of(vec![step]))
    }

    fn text(&mut self, path: &Path, from: u32, to: u32) -> Option<Made> {
        let copy = Made::copy(1 + from as usize);
        // What a longer one has more of is zero, as is a new row.
        Some(match from.cmp(&to) {
            std::cmp::Ordering::Equal => copy,
            std::cmp::Ordering::Less => Made { is_same: false, ..copy },
            std::cmp::Ordering::Greater => {
                let capacities = (from as usize, to as usize);
                let cut = self.may_cut(path, || format!("what is longer than {to} bytes"));
                Made::of(vec![Step::Str(StrStep { from: 0, to: 0, capacities, cut, path: path.shown() })])
            }
        })
    }

    fn enumeration(&mut self, path: &Path, old: &EnumSchema, new: &EnumSchema, filling: Filling<'_>) -> Option<Made> {
        let sources = self.variants(path, old, new)?;
        let number = |of: usize| old.variants[of].1;
        let mut map: Vec<(i64, i64)> = sources
            .iter()
            .zip(&new.variants)
            .filter_map(|(source, (_, new))| Some((number((*source)?), *new)))
            .collect();
        let mut gone = old.variants.iter().map(|(name, number)| Some((*number, name.clone()))).collect::<Vec<_>>();
        sources.iter().flatten().for_each(|source| gone[*source] = None);
        let mut gone: Vec<(i64, String)> = gone.into_iter().flatten().collect();
        let names = || gone.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
        if !gone.is_empty() && self.may_cut(path, || format!("the variants {}", names())) {
            let value = filling.value(&ColumnType::Enum(new.clone()));
            let is_it = |number: i64| number.to_le_bytes()[..value.len()] == value;
            let (_, number) = new.variants.iter().find(|(_, number)| is_it(*number)).or(new.variants.first())?;
            map.extend(gone.drain(..).map(|(old, _)| (old, *number)));
        }
        if gone.is_empty() && old.size == new.size && map.iter().all(|(old, new)| old == new) {
            return Some(Made::copy(old.size as usize));
        }
        map.sort_unstable();
        let sizes = (old.size as usize, new.size as usize);
        Some(Made::of(vec![Step::Enum(EnumStep { from: 0, to: 0, sizes, map, gone, path: path.shown() })]))
    }

    /// For each new variant the old one, by number. None if two claim one, which has been said then.
    fn variants(&mut self, path: &Path, old: &EnumSchema, new: &EnumSchema) -> Option<Vec<Option<usize>>> {
        fn was<'a>(changes: Option<&'a EnumChanges>, name: &str) -> Vec<&'a str> {
            let all = changes.into_iter().flat_map(|changes| &changes.was);
            all.filter(|(of, _)| of == name).map(|(_, was)| was.as_str()).collect()
        }
        fn names(of: &EnumSchema) -> Vec<&str> {
            of.variants.iter().map(|(name, _)| name.as_str()).collect()
        }
        let (names, new_names) = (names(old), names(new));
        let (old_said, said) = (self.old.changes.enumeration(old), self.new.changes.enumeration(new));
        let (old_was, was) = (|of: usize| was(old_said, names[of]), |of: usize| was(said, new_names[of]));
        let matched = match_names(Names { of: &names, was: &old_was }, Names { of: &new_names, was: &was }, &[]);
        let is_sound = matched.claims.is_empty();
        for (number, claim) in matched.claims {
            self.say(path, &format!("{}::{} {claim}", new.name, new_names[number]));
        }
        is_sound.then_some(matched.sources)
    }

    fn array(
        &mut self,
        path: &Path,
        (old, from, len): (&ColumnType, &ColumnType, u32),
        (new, to, new_len): (&ColumnType, &ColumnType, u32),
        filling: Filling<'_>,
    ) -> Option<Made> {
        let (len, new_len) = (len as usize, new_len as usize);
        let strides = (from.size() as usize, to.size() as usize);
        if new_len < len && !self.may_lose(path, (old, new), &format!("the items from the {} on", nth(new_len + 1))) {
            return None;
        }
        let item = self.column(path, from, to, filling.part(0, strides.1))?;
        if item.is_lost {
            return Some(Made::lost(new, filling));
        }
        let mut made = item.repeated(len.min(new_len), strides);
        made.is_same &= len == new_len;
        if new_len > len {
            let rest = len * strides.1..new_len * strides.1;
            match filling.default.or(filling.blank).and_then(|whole| whole.get(rest.clone())) {
                Some(bytes) => made.steps.push(Step::Fill { to: rest.start, bytes: bytes.into() }),
                None if is_zero_valid(to) => {}
                None if self.is_acknowledged(path) => {
                    let (item, count) = (some_value(to), new_len - len);
                    made.steps.push(Step::Fill { to: rest.start, bytes: item.repeat(count).into() });
                }
                None => {
                    let what =
                        "has no value for the new items; give it `#[row(default = …)]`, whose last items they become";
                    self.say(path, &format!("{old} -> {new} {what}"));
                    return None;
                }
            }
        }
        Some(made)
    }

    fn list(
        &mut self,
        path: &Path,
        (from, capacity): (&ColumnType, u32),
        (new, to, new_capacity): (&ColumnType, &ColumnType, u32),
        filling: Filling<'_>,
    ) -> Option<Made> {
        let strides = (from.size() as usize, to.size() as usize);
        let items = (round_up(4, from.align()), round_up(4, to.align()));
        let capacities = (capacity as usize, new_capacity as usize);
        let part = filling.part(items.1, strides.1);
        let item = self.column(path, from, to, part)?;
        if item.is_lost {
            return Some(Made::lost(new, filling));
        }
        if item.is_copy_of(strides) && capacities.0 == capacities.1 {
            let mut made = item.repeated(capacities.0, strides).moved(items);
            made.steps.push(Step::Copy { from: 0, to: 0, bytes: 4 });
            return Some(made);
        }
        let is_shorter = capacities.1 < capacities.0;
        let cut = is_shorter && self.may_cut(path, || format!("the items from the {} on", nth(capacities.1 + 1)));
        let (steps, path) = (item.steps, path.shown());
        let blank = part.blank(to);
        let step = ListStep { from: 0, to: 0, items, strides, capacities, steps, blank, cut, path };
        Some(Made { is_same: item.is_same && capacities.0 == capacities.1, ..Made::of(vec![Step::List(step)]) })
    }

    fn option(
        &mut self,
        path: &Path,
        from: &ColumnType,
        (new, to): (&ColumnType, &ColumnType),
        filling: Filling<'_>,
    ) -> Option<Made> {
        let sizes = (from.size() as usize, to.size() as usize);
        let values = (value_offset(from), value_offset(to));
        let part = filling.part(values.1, sizes.1);
        let value = self.column(path, from, to, part)?;
        if value.is_lost {
            return Some(Made::lost(new, filling));
        }
        if value.is_copy_of(sizes) {
            let mut made = value.moved(values);
            made.steps.push(Step::Copy { from: 0, to: 0, bytes: 1 });
            return Some(made);
        }
        let blank = part.blank(to);
        let step = OptStep { from: 0, to: 0, has_flag: true, values, sizes, steps: value.steps, blank };
        Some(Made { is_same: value.is_same, ..Made::of(vec![Step::Opt(step)]) })
    }

    /// What an option was around, and where there is none, the default.
    fn unwrapped(&mut self, path: &Path, from: &ColumnType, to: &ColumnType, filling: Filling<'_>) -> Option<Made> {
        let value = self.column(path, from, to, filling)?;
        if value.is_lost {
            return Some(Made::lost(to, filling));
        }
        let (values, sizes) = ((value_offset(from), 0), (from.size() as usize, to.size() as usize));
        let blank = filling.value(to).into();
        let step = OptStep { from: 0, to: 0, has_flag: false, values, sizes, steps: value.steps, blank };
        Some(Made::of(vec![Step::Opt(step)]))
    }

    /// An option around what was there.
    fn wrapped(
        &mut self,
        path: &Path,
        from: &ColumnType,
        (new, to): (&ColumnType, &ColumnType),
        filling: Filling<'_>,
    ) -> Option<Made> {
        let offset = value_offset(to);
        let value = self.column(path, from, to, filling.part(offset, to.size() as usize))?;
        if value.is_lost {
            return Some(Made::lost(new, filling));
        }
        let mut made = value.moved((0, offset));
        made.steps.push(Step::Fill { to: 0, bytes: [1].into() });
        Some(Made { is_same: false, ..made })
    }
}

fn nth(number: usize) -> String {
    let suffix = match (number % 10, number % 100) {
        (_, 10..20) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

/// From the flag of an option to its value.
pub(super) fn value_offset(of: &ColumnType) -> usize {
    round_up(1, of.align())
}

pub(super) fn round_up(bytes: usize, align: u32) -> usize {
    bytes.next_multiple_of(align.max(1) as usize)
}

/// Whether all bytes zero are a value.
fn is_zero_valid(of: &ColumnType) -> bool {
    match of {
        ColumnType::Enum(of) => of.variants.iter().any(|(_, number)| *number == 0),
        ColumnType::Array { of, .. } | ColumnType::List { of, .. } | ColumnType::Opt { of } => is_zero_valid(of),
        ColumnType::Row(row) => row.fields.iter().all(|field| is_zero_valid(&field.column)),
        _ => true,
    }
}

/// A value of which nothing is known: zero, or the first variant of an enum that has no zero.
fn some_value(of: &ColumnType) -> Vec<u8> {
    fn put(of: &ColumnType, bytes: &mut [u8]) {
        let items = |of: &ColumnType, bytes: &mut [u8]| {
            bytes.chunks_exact_mut(of.size() as usize).for_each(|item| put(of, item));
        };
        match of {
            _ if is_zero_valid(of) => {}
            ColumnType::Enum(of) => {
                let first = of.variants.first().map_or(0, |(_, number)| *number);
                bytes.copy_from_slice(&first.to_le_bytes()[..bytes.len()]);
            }
            ColumnType::List { of: item, .. } => items(item, &mut bytes[round_up(4, item.align())..]),
            ColumnType::Opt { of: value } => put(value, &mut bytes[value_offset(value)..][..value.size() as usize]),
            ColumnType::Array { of, .. } => items(of, bytes),
            ColumnType::Row(row) => row.fields.iter().for_each(|field| {
                put(&field.column, &mut bytes[field.offset as usize..][..field.column.size() as usize]);
            }),
            _ => {}
        }
    }
    let mut bytes = vec![0; of.size() as usize];
    put(of, &mut bytes);
    bytes
}

/// Whether bytes are a value: what a plugin wrote is not believed.
///
/// # Errors
/// What is wrong, with the part of the value that it is about.
pub(crate) fn check_value(of: &ColumnType, bytes: &[u8]) -> Result<(), String> {
    let items = |of: &ColumnType, offset: usize, count: usize| {
        let stride = of.size() as usize;
        (0..count).try_for_each(|item| check_value(of, &bytes[offset + item * stride..][..stride]))
    };
    match of {
        ColumnType::Bool if bytes[0] > 1 => Err(format!("{} is no bool", bytes[0])),
        ColumnType::Enum(of) => {
            let mut wide = [0; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            let found = u64::from_le_bytes(wide);
            let is = |number: i64| number.to_le_bytes()[..bytes.len()] == *bytes;
            match of.variants.iter().any(|(_, number)| is(*number)) {
                true => Ok(()),
                false => Err(format!("{found} is no variant of {}", of.name)),
            }
        }
        ColumnType::Str { capacity } if u32::from(bytes[0]) > *capacity => {
            Err(format!("a length of {} is more than a {of} has", bytes[0]))
        }
        ColumnType::List { of: item, capacity } => {
            let len = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
            if len > *capacity {
                return Err(format!("a length of {len} is more than a {of} has"));
            }
            items(item, round_up(4, item.align()), *capacity as usize)
        }
        ColumnType::Opt { of } => {
            check_value(&ColumnType::Bool, &bytes[..1])?;
            items(of, value_offset(of), 1)
        }
        ColumnType::Array { of, len } => items(of, 0, *len as usize),
        ColumnType::Row(row) => row.fields.iter().try_for_each(|field| {
            let bytes = &bytes[field.offset as usize..][..field.column.size() as usize];
            check_value(&field.column, bytes).map_err(|what| format!("{}: {what}", field.name))
        }),
        _ => Ok(()),
    }
}
