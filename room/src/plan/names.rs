//! Which old name each new one comes from.

use std::collections::BTreeMap;

/// The names of fields, tables or variants, and what each was before.
pub(super) struct Names<'a> {
    pub(super) of: &'a [&'a str],
    /// The newest first.
    pub(super) was: &'a dyn Fn(usize) -> Vec<&'a str>,
}

pub(super) fn old_names(said: Option<&Vec<String>>) -> Vec<&str> {
    said.into_iter().flatten().map(String::as_str).collect()
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
        let there = (new.was)(number).into_iter().find_map(|was| Some((was, *by_name.get(was)?)));
        let Some((was, source)) = there else { continue };
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
    let mut missing: BTreeMap<&str, usize> = new
        .of
        .iter()
        .enumerate()
        .filter(|(number, _)| sources[*number].is_none())
        .map(|(number, name)| (*name, number))
        .collect();
    let is_left = |number: &usize| !taken.contains_key(number) && !dropped.iter().any(|name| name == old.of[*number]);
    for number in (0..old.of.len()).filter(is_left) {
        if let Some(place) = (old.was)(number).into_iter().find_map(|was| missing.remove(was)) {
            sources[place] = Some(number);
        }
    }
    Matched { sources, claims }
}
