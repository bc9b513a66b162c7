//! The variables that a client may set: four kinds, all others are dropped (threat C3).

use std::collections::BTreeMap;

/// Variables at most.
const COUNT_MAX: usize = 32;
/// Bytes of a value at most.
const VALUE_BYTES_MAX: usize = 256;
/// Bytes of a name at most.
const NAME_BYTES_MAX: usize = 32;

/// What one session was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Keeps the variable if it is one of those that are kept.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> bool {
        let keep = self.0.len() < COUNT_MAX && is_kept(name) && is_plain(value);
        if keep {
            self.0.insert(name.to_owned(), value.to_owned());
        }
        keep
    }

    /// The value of a variable that was kept.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn is_kept(name: &str) -> bool {
    let locale = name.strip_prefix("LC_").is_some_and(|category| {
        !category.is_empty() && category.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    });
    name.len() <= NAME_BYTES_MAX && (locale || matches!(name, "GIT_PROTOCOL" | "LANG" | "TERM"))
}

fn is_plain(value: &str) -> bool {
    value.len() <= VALUE_BYTES_MAX && value.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_only_four_kinds_are_kept() {
        let mut environment = Environment::default();
        for name in ["GIT_PROTOCOL", "LANG", "LC_ALL", "LC_CTYPE", "TERM"] {
            assert!(environment.set(name, "version=2"), "{name}");
        }
        let hostile = [
            "GIT_SSH_COMMAND",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_KEY_0",
            "GIT_EXEC_PATH",
            "GIT_OBJECT_DIRECTORY",
            "LD_PRELOAD",
            "BASH_ENV",
            "PATH",
            "LC_",
            "LC_a",
            "lang",
            "GIT_PROTOCOL2",
            "LANG\0",
            "",
        ];
        for name in hostile {
            assert!(!environment.set(name, "x"), "{name}");
        }
        for value in ["a b", "a\nb", "\u{1b}[2J", "ä", &"x".repeat(257)] {
            assert!(!environment.set("LANG", value), "{value:?}");
        }
        assert_eq!(environment.get("GIT_PROTOCOL"), Some("version=2"));
        assert_eq!(environment.get("PATH"), None);
    }
}
