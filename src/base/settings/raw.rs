//! What was given, as text, and where: filled from file and environment without judging the values.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    ops::Range,
    path::Path,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{Place, SettingsError},
    keys::{self, Effect, KeyInfo},
};

/// Characters of a refused value that an error repeats.
const FOUND_CHARS_MAX: usize = 80;
/// A variable with this prefix is a setting, unless it names neither a table nor anything near a key.
const PREFIX: &str = "AUTOSTACK_";
/// A variable with this prefix is for git's hooks.
const HOOK_PREFIX: &str = "AUTOSTACK_HOOK_";

/// A value, not judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub text: String,
    pub place: Place,
}

/// The values that were given, by the name of their key; only known keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Given {
    values: BTreeMap<&'static str, Value>,
}

impl Given {
    /// The value of a key, where one was given.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Takes the keys of a file; its mistakes go to `errors`.
    pub(super) fn add_file(&mut self, path: &Path, text: &str, errors: &mut Vec<SettingsError>) {
        let (document, syntax) = DeTable::parse_recoverable(text);
        let mut reader = FileReader { path, text, given: self, errors };
        if syntax.is_empty() {
            reader.table("", document.get_ref());
        }
        // A file that is not TOML gets no verdict on its keys: what the parser recovered may be invented.
        for error in syntax {
            let place = reader.place(error.span().unwrap_or_default());
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            reader.errors.push(SettingsError::Syntax { place, message });
        }
    }

    /// Takes the variables that are settings; they win over what is there already.
    pub(super) fn add_environment(
        &mut self,
        variables: &[(OsString, OsString)],
        errors: &mut Vec<SettingsError>,
    ) {
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let Some(rest) = name.strip_prefix(PREFIX).filter(|_| !name.starts_with(HOOK_PREFIX)) else {
                continue;
            };
            let key = rest.to_ascii_lowercase().replace("__", ".");
            // The agent has variables that are no settings (the log filter, the mark of an instance), and so
            // may scripts; only a table, or a likely typo, shows that a setting was meant.
            if !key.contains('.') && keys::nearest(&key).is_none() {
                continue;
            }
            let place = Place::Environment { name: name.to_owned() };
            if let Err(error) = self.add_variable(&key, value, place) {
                errors.push(error);
            }
        }
    }

    fn add_variable(&mut self, key: &str, value: &OsStr, place: Place) -> Result<(), SettingsError> {
        let info = known(key, &place)?;
        let Some(text) = value.to_str() else {
            return Err(wrong(info, place, "bytes that are not UTF-8".into()));
        };
        self.values.insert(info.name, Value { text: text.to_owned(), place });
        Ok(())
    }

    /// These values, with those of `running` for every key that waits for a restart.
    pub(super) fn with_restart_keys_of(&self, running: &Given) -> Given {
        let mut merged = self.clone();
        for key in keys::ALL.iter().filter(|key| key.effect == Effect::Restart) {
            match running.values.get(key.name) {
                Some(value) => merged.values.insert(key.name, value.clone()),
                None => merged.values.remove(key.name),
            };
        }
        merged
    }

    /// The keys of one effect whose values here and in `other` differ, defaults counted.
    pub(super) fn differing(&self, other: &Given, effect: Effect) -> Vec<&'static str> {
        let of_effect = keys::ALL.iter().filter(|key| key.effect == effect);
        of_effect.filter(|key| self.effective(key) != other.effective(key)).map(|key| key.name).collect()
    }

    fn effective(&self, key: &KeyInfo) -> &str {
        self.values.get(key.name).map_or(key.default, |value| &value.text)
    }
}

/// Walks a TOML document.
struct FileReader<'a> {
    path: &'a Path,
    text: &'a str,
    given: &'a mut Given,
    errors: &'a mut Vec<SettingsError>,
}

impl FileReader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = match prefix {
                "" => name.get_ref().to_string(),
                table => format!("{table}.{}", name.get_ref()),
            };
            // A dot within quotes would read like a path of tables that it is not.
            if name.get_ref().contains('.') {
                let place = self.place(name.span());
                self.errors.push(SettingsError::UnknownKey { place, key, nearest: None });
            } else if let Err(error) = self.entry(&key, name.span(), value) {
                self.errors.push(error);
            }
        }
    }

    fn entry(
        &mut self,
        key: &str,
        name: Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), SettingsError> {
        let is_known_leaf = keys::find(key).is_some() || keys::missing_feature(key).is_some();
        match value.get_ref() {
            // The keys of an unknown table are named one by one, so that each typo finds its neighbour.
            DeValue::Table(table) if !is_known_leaf && (keys::is_table(key) || !table.is_empty()) => {
                self.table(key, table);
                return Ok(());
            }
            _ if keys::is_table(key) => {
                let (place, found) = (self.place(value.span()), described(value.get_ref()));
                let key = key.to_owned();
                return Err(SettingsError::WrongValue { place, key, expected: "a table", found });
            }
            _ => {}
        }
        let info = known(key, &self.place(name))?;
        let place = self.place(value.span());
        match text_of(value.get_ref()) {
            Some(text) => {
                self.given.values.insert(info.name, Value { text, place });
                Ok(())
            }
            None => Err(wrong(info, place, described(value.get_ref()))),
        }
    }

    fn place(&self, span: Range<usize>) -> Place {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Place::File { path: self.path.to_owned(), line }
    }
}

/// The key of that name, or why there is none.
fn known(key: &str, place: &Place) -> Result<&'static KeyInfo, SettingsError> {
    if let Some(info) = keys::find(key) {
        return Ok(info);
    }
    let (place, key) = (place.clone(), key.to_owned());
    Err(match keys::missing_feature(&key) {
        Some(feature) => {
            SettingsError::NotInThisVersion { place, what: format!("{} ({feature})", key.escape_debug()) }
        }
        None => SettingsError::UnknownKey { place, nearest: keys::nearest(&key), key },
    })
}

fn wrong(info: &KeyInfo, place: Place, found: String) -> SettingsError {
    SettingsError::WrongValue { place, key: info.name.to_owned(), expected: info.expected, found }
}

/// Texts and whole numbers are read by the same parsers, so that file and environment cannot differ.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        _ => None,
    }
}

fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "an array".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// A value as an error shows it: quoted, control characters escaped, cut short.
pub(super) fn quoted(text: &str) -> String {
    let head: String = text.chars().take(FOUND_CHARS_MAX).collect();
    let more = if head.len() < text.len() { "…" } else { "" };
    format!("{head:?}{more}")
}
