//! The names a plugin can be asked for by. A name is looked up in one folder and is never a path.

use std::fmt;

/// Bytes in a plugin's file name, at most.
pub const NAME_BYTES_MAX: usize = 64;

/// A file name that may be looked up in the plugins folder: `[a-z0-9._-]`, 1 to 64 bytes, no leading dot, no `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginName(String);

/// Why a name is refused before anything is looked up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    #[error("no name given: say which file of the plugins folder, as in name=plugin2.so")]
    Empty,
    #[error("the name has {bytes} bytes, a plugin's name has at most {NAME_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("the name {name:?} is a path: give the name of a file in the plugins folder, without any '/'")]
    Path { name: String },
    #[error("the name {name:?} starts with a dot or contains '..': give the name of a file in the plugins folder")]
    Dotted { name: String },
    #[error("the name {name:?} contains {character:?}: a plugin's name is made of a-z, 0-9, '.', '_' and '-'")]
    Character { name: String, character: char },
}

impl PluginName {
    /// Takes a name as it came from the user, percent-decoded but otherwise untouched.
    pub fn parse(name: &str) -> Result<Self, NameFault> {
        if name.is_empty() {
            return Err(NameFault::Empty);
        }
        // Before anything that quotes the name back, so that no error can be longer than this allows.
        if name.len() > NAME_BYTES_MAX {
            return Err(NameFault::TooLong { bytes: name.len() });
        }
        if name.contains(['/', '\\']) {
            return Err(NameFault::Path { name: name.into() });
        }
        if name.starts_with('.') || name.contains("..") {
            return Err(NameFault::Dotted { name: name.into() });
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        match name.chars().find(|&c| !allowed(c)) {
            Some(character) => Err(NameFault::Character { name: name.into(), character }),
            None => Ok(Self(name.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: &str) {
        assert_eq!(PluginName::parse(name).unwrap_err().to_string(), expected);
    }

    #[test]
    fn names_of_files_are_accepted() {
        for name in ["plugin2.so", "game.1002.so", "a", "a_b-c.so", &"x".repeat(64)] {
            assert_eq!(PluginName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        check("", "no name given: say which file of the plugins folder, as in name=plugin2.so");
        check(&"a".repeat(300), "the name has 300 bytes, a plugin's name has at most 64");
        let path = "is a path: give the name of a file in the plugins folder, without any '/'";
        check("/etc/passwd", &format!("the name \"/etc/passwd\" {path}"));
        check("../plugin2.so", &format!("the name \"../plugin2.so\" {path}"));
        check("a\\b", &format!("the name \"a\\\\b\" {path}"));
        let dotted = "starts with a dot or contains '..': give the name of a file in the plugins folder";
        for name in [".", "..", ".hidden.so", "a..so"] {
            check(name, &format!("the name {name:?} {dotted}"));
        }
        let letters = "a plugin's name is made of a-z, 0-9, '.', '_' and '-'";
        check("a\0.so", &format!("the name \"a\\0.so\" contains '\\0': {letters}"));
        check("Plugin2.so", &format!("the name \"Plugin2.so\" contains 'P': {letters}"));
        check("%2e%2e", &format!("the name \"%2e%2e\" contains '%': {letters}"));
        check("plügin.so", &format!("the name \"plügin.so\" contains 'ü': {letters}"));
    }
}
