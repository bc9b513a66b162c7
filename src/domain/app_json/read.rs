//! Walks a JSON value and names the place of whatever is wrong: `healthchecks.web[0].path must be text`.

use serde_json::Value;

use crate::names::ProcessType;

/// A value and where it stands.
pub(super) struct Reader<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Reader<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// Where it stands: `formation.web.quantity`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// A refusal of this value: `must be …` after its place.
    pub(super) fn refuse<T>(&self, rule: impl AsRef<str>) -> Result<T, String> {
        let place = if self.path.is_empty() { "it" } else { &self.path };
        Err(format!("{place} {}", rule.as_ref()))
    }

    /// Its entries, by key.
    pub(super) fn object(&self) -> Result<Vec<(&'a str, Reader<'a>)>, String> {
        let Value::Object(entries) = self.value else {
            return self.refuse("must be an object: { … }");
        };
        let dot = if self.path.is_empty() { "" } else { "." };
        Ok(entries
            .iter()
            .map(|(key, value)| (key.as_str(), Reader { value, path: format!("{}{dot}{key}", self.path) }))
            .collect())
    }

    /// Its items.
    pub(super) fn array(&self) -> Result<Vec<Reader<'a>>, String> {
        let Value::Array(items) = self.value else {
            return self.refuse("must be an array: [ … ]");
        };
        Ok(items
            .iter()
            .enumerate()
            .map(|(at, value)| Reader { value, path: format!("{}[{at}]", self.path) })
            .collect())
    }

    /// Text without NUL.
    pub(super) fn text(&self) -> Result<&'a str, String> {
        match self.value {
            Value::String(text) if !text.contains('\0') => Ok(text),
            _ => self.refuse("must be text"),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Result<bool, String> {
        self.value.as_bool().map_or_else(|| self.refuse("must be true or false"), Ok)
    }

    /// A whole number from 0 to `max`.
    pub(super) fn whole_number(&self, max: u32) -> Result<u32, String> {
        self.number_between(0, max)
    }

    /// A whole number from `min` to `max`.
    pub(super) fn number_between(&self, min: u32, max: u32) -> Result<u32, String> {
        match self.value.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(number) if (min..=max).contains(&number) => Ok(number),
            _ => self.refuse(format!("must be a whole number from {min} to {max}")),
        }
    }

    /// The key under which this value stands, as a process type.
    pub(super) fn process_type(&self, key: &str) -> Result<ProcessType, String> {
        let parent = self.path.strip_suffix(key).map_or("", |path| path.trim_end_matches('.'));
        key.parse().map_err(|_| format!("{parent} has a process type {key:?} that is not valid"))
    }
}
