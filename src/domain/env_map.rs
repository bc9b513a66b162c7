//! Environment variables of an app, values byte for byte.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{limits, names::Invalid};

/// Where programs are looked for when an app's config sets no `PATH`: what Debian gives a service.
pub const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Names to values. A name is `[A-Za-z_][A-Za-z0-9_]*`; a value is any bytes without NUL, which is all
/// that `execve` can carry. `Debug` shows the names only: values are often secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvMap(BTreeMap<String, Vec<u8>>);

impl EnvMap {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable from outside. Refuses a name or value that no process could be given.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) -> Result<(), Invalid> {
        let value = value.into();
        check_name(name)?;
        if value.contains(&0) {
            return Err(Invalid::new("config value of", name, "a value cannot hold a NUL byte"));
        }
        if value.len() > limits::CONFIG_VALUE_BYTES_MAX {
            let why = format!("{} bytes; the limit is {} bytes", value.len(), limits::CONFIG_VALUE_BYTES_MAX);
            return Err(Invalid::new("config value of", name, why));
        }
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// Sets a variable of the platform's own, whose name and value are known to be good.
    pub fn put(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        debug_assert!(check_name(name).is_ok() && !value.as_ref().contains(&0));
        self.0.insert(name.to_owned(), value.as_ref().to_vec());
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Removes a variable; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Takes over every variable of `other`, whose values win.
    pub fn extend(&mut self, other: &EnvMap) {
        for (name, value) in &other.0 {
            self.0.insert(name.clone(), value.clone());
        }
    }

    /// This map with everything that differs from `before` to `after`: what was set or removed between the two wins.
    #[must_use]
    pub fn with_changes(&self, before: &EnvMap, after: &EnvMap) -> EnvMap {
        let mut changed = self.clone();
        for name in before.0.keys().filter(|name| !after.0.contains_key(*name)) {
            changed.0.remove(name);
        }
        for (name, value) in after.0.iter().filter(|(name, value)| before.0.get(*name) != Some(value)) {
            changed.0.insert(name.clone(), value.clone());
        }
        changed
    }

    /// All variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// How many variables there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for EnvMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Whether a variable can have this name.
pub fn is_name(name: &str) -> bool {
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    starts && rest && name.len() <= limits::CONFIG_NAME_BYTES_MAX
}

fn check_name(name: &str) -> Result<(), Invalid> {
    if is_name(name) {
        Ok(())
    } else {
        Err(Invalid::new("config name", name, "use letters, digits and _, and do not start with a digit"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_value_without_nul_survives_storage(value in proptest::collection::vec(1u8..=255, 0..400)) {
            let mut env = EnvMap::new();
            env.set("KEY", value.clone()).unwrap();
            let stored = serde_json::to_vec(&env).unwrap();
            let read: EnvMap = serde_json::from_slice(&stored).unwrap();
            prop_assert_eq!(read.get("KEY"), Some(value.as_slice()));
        }
    }

    #[test]
    fn what_changed_meanwhile_wins() {
        let env = |pairs: &[(&str, &str)]| {
            let mut env = EnvMap::new();
            for (name, value) in pairs {
                env.set(name, *value).unwrap();
            }
            env
        };
        let taken = env(&[("A", "old"), ("B", "old"), ("GONE", "old")]);
        let before = env(&[("A", "1"), ("B", "1"), ("GONE", "1"), ("KEPT", "1")]);
        let after = env(&[("A", "1"), ("B", "2"), ("NEW", "2"), ("KEPT", "1")]);
        assert_eq!(taken.with_changes(&before, &after), env(&[("A", "old"), ("B", "2"), ("NEW", "2")]));
        assert_eq!(taken.with_changes(&before, &before), taken);
        assert_eq!(before.with_changes(&before, &after), after);
    }

    #[test]
    fn names_and_values_that_no_process_could_get_are_refused() {
        let mut env = EnvMap::new();
        for name in ["", "1A", "A B", "A=B", "A\0", "Ä", "A-B"] {
            assert!(env.set(name, "x").is_err(), "{name:?}");
        }
        assert!(env.set("A", b"x\0y".as_slice()).is_err());
        assert!(env.set("A", vec![b'x'; limits::CONFIG_VALUE_BYTES_MAX + 1]).is_err());
        assert!(env.is_empty());
    }

    #[test]
    fn b7_debug_shows_names_only() {
        let mut env = EnvMap::new();
        env.set("TOKEN", "hunter2").unwrap();
        assert_eq!(format!("{env:?}"), "{\"TOKEN\"}");
    }
}
