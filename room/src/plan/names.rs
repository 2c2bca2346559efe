//! Which old name each new one comes from.

use std::collections::BTreeMap;

/// The names of fields, tables or variants, and what each was before.
pub(super) struct Names<'a> {
    pub(super) of: &'a [&'a str],
    pub(super) was: &'a dyn Fn(usize) -> Option<&'a str>,
}

/// No two new names come from one old one.
pub(super) struct Matched {
    /// For each new name the old one.
    pub(super) sources: Vec<Option<usize>>,
    /// What new names say that they were, and cannot have been.
    pub(super) claims: Vec<(usize, String)>,
}

/// By name; or by what the new side says it was; or, on the way back, by what the old side says that it had been, unless the
/// new side says that it may go.
pub(super) fn match_names(old: Names<'_>, new: Names<'_>, dropped: &[String]) -> Matched {
    let by_name: BTreeMap<&str, usize> = old.of.iter().enumerate().map(|(number, name)| (*name, number)).collect();
    let mut sources: Vec<Option<usize>> = new.of.iter().map(|name| by_name.get(name).copied()).collect();
    let mut taken: BTreeMap<usize, usize> =
        sources.iter().enumerate().filter_map(|(number, source)| Some(((*source)?, number))).collect();
    let mut claims = Vec::new();
    for (number, place) in sources.iter_mut().enumerate().filter(|(_, place)| place.is_none()) {
        let Some(was) = (new.was)(number) else { continue };
        let Some(source) = by_name.get(was).copied() else { continue };
        match taken.get(&source) {
            Some(other) => {
                let other = new.of[*other];
                claims.push((number, format!("was `{was}`, which `{other}` comes from too; take one of them out")));
            }
            None => {
                *place = Some(source);
                taken.insert(source, number);
            }
        }
    }
    // Back to an older version, which cannot know what became of its names.
    let undone: BTreeMap<&str, usize> = (0..old.of.len())
        .filter(|number| !taken.contains_key(number) && !dropped.iter().any(|name| name == old.of[*number]))
        .filter_map(|number| Some(((old.was)(number)?, number)))
        .collect();
    for (source, name) in sources.iter_mut().zip(new.of).filter(|(source, _)| source.is_none()) {
        *source = undone.get(name).copied();
    }
    Matched { sources, claims }
}
