//! The name by which a plugin is asked for: looked up in the plugins folder, never used as a path.
//!
//! No file is touched here. The loader takes nothing but a [`PluginName`], so no path can reach it.

use std::fmt;

/// The longest name, in bytes.
pub const PLUGIN_NAME_BYTES_MAX: usize = 64;

/// A well-formed plugin name: `[a-z0-9._-]`, at most [`PLUGIN_NAME_BYTES_MAX`] bytes, ending in `.so`, with no leading dot
/// and no `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginName(String);

/// Why a name is none. The texts are what `/load` answers with 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    #[error("the plugin name is empty; give one such as plugin2.so")]
    Empty,
    #[error("the plugin name is {bytes} bytes long; at most {PLUGIN_NAME_BYTES_MAX} are accepted")]
    TooLong { bytes: usize },
    #[error("the plugin name holds {found:?}, which is not ASCII; accepted are a-z, 0-9, '.', '_' and '-'")]
    NotAscii { found: char },
    #[error("the plugin name starts with '/', but it is looked up in the plugins folder and never used as a path")]
    Absolute,
    #[error("the plugin name holds \"..\", but it is looked up in the plugins folder and never used as a path")]
    DotDot,
    #[error("the plugin name starts with a dot; hidden files are never loaded")]
    LeadingDot,
    #[error("the plugin name holds {found:?}; accepted are a-z, 0-9, '.', '_' and '-'")]
    Character { found: char },
    #[error("the plugin name {name:?} does not end in .so")]
    Suffix { name: String },
}

impl PluginName {
    /// Checks a decoded name; the first rule that it breaks is the one that is told.
    ///
    /// # Errors
    /// One variant of [`NameFault`] per rule.
    pub fn parse(name: &str) -> Result<PluginName, NameFault> {
        if name.is_empty() {
            return Err(NameFault::Empty);
        }
        if name.len() > PLUGIN_NAME_BYTES_MAX {
            return Err(NameFault::TooLong { bytes: name.len() });
        }
        if let Some(found) = name.chars().find(|char| !char.is_ascii()) {
            return Err(NameFault::NotAscii { found });
        }
        if name.starts_with('/') {
            return Err(NameFault::Absolute);
        }
        if name.contains("..") {
            return Err(NameFault::DotDot);
        }
        if name.starts_with('.') {
            return Err(NameFault::LeadingDot);
        }
        if let Some(found) = name.chars().find(|char| !matches!(char, 'a'..='z' | '0'..='9' | '.' | '_' | '-')) {
            return Err(NameFault::Character { found });
        }
        if !name.ends_with(".so") {
            return Err(NameFault::Suffix { name: name.to_owned() });
        }
        Ok(PluginName(name.to_owned()))
    }

    #[cfg(test)]
    pub(super) fn unchecked(name: &str) -> PluginName {
        PluginName(name.to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Result<(), NameFault>) {
        let parsed = PluginName::parse(name);
        if let Ok(parsed) = &parsed {
            assert_eq!(parsed.as_str(), name);
        }
        assert_eq!(parsed.map(|_| ()), expected, "{name:?}");
    }

    #[test]
    fn accepts_what_build_so_writes() {
        for name in ["plugin2.so", "game.1002.so", "a.so", "my_game-2.1.so"] {
            check(name, Ok(()));
        }
        check(&format!("{}.so", "a".repeat(PLUGIN_NAME_BYTES_MAX - 3)), Ok(()));
    }

    #[test]
    fn each_broken_rule_has_its_own_reason() {
        use NameFault::{Absolute, Character, DotDot, Empty, LeadingDot, NotAscii, Suffix, TooLong};
        check("", Err(Empty));
        check(&"a".repeat(65), Err(TooLong { bytes: 65 }));
        check(&format!("{}.so", "a".repeat(297)), Err(TooLong { bytes: 300 }));
        check("plügin.so", Err(NotAscii { found: 'ü' }));
        check("/etc/passwd", Err(Absolute));
        check("../plugin2.so", Err(DotDot));
        check("..", Err(DotDot));
        check("a..so", Err(DotDot));
        check(".so", Err(LeadingDot));
        check(".hidden.so", Err(LeadingDot));
        check("a/b.so", Err(Character { found: '/' }));
        check("a\\b.so", Err(Character { found: '\\' }));
        check("plugin2.so\0", Err(Character { found: '\0' }));
        check("Plugin2.so", Err(Character { found: 'P' }));
        check("a b.so", Err(Character { found: ' ' }));
        check("a.so\n", Err(Character { found: '\n' }));
        check("plugin2", Err(Suffix { name: "plugin2".to_owned() }));
        check("plugin2.so.bak", Err(Suffix { name: "plugin2.so.bak".to_owned() }));
        check("so", Err(Suffix { name: "so".to_owned() }));
    }

    #[test]
    fn every_reason_fits_one_line() {
        for name in ["", "\n.so", "ü", "\u{2028}", "a\r\nb", &"a".repeat(300)] {
            let reason = PluginName::parse(name).expect_err("none of these is a name").to_string();
            assert!(!reason.contains(['\n', '\r', '\u{2028}']), "{reason:?}");
        }
    }
}
