//! Where an app's code is said to come from: notes of a tool that deploys, shown in reports.

use serde::{Deserialize, Serialize};

use crate::{limits, names::Invalid};

/// What `apps:set` notes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// What kind of place: `git-push`, `docker-image`, a name of the tool's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Which one: a branch, an image, an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

impl Origin {
    /// The names of the notes on a command line.
    pub const KEYS: [&str; 2] = ["deploy-source", "deploy-source-metadata"];

    /// Whether nothing is noted.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Notes a value; an empty one takes the note away.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Invalid> {
        let note = match key {
            "deploy-source" => &mut self.source,
            "deploy-source-metadata" => &mut self.metadata,
            _ => {
                let why = format!("choose one of {}", Self::KEYS.join(", "));
                return Err(Invalid::new("property", key, why));
            }
        };
        if value.len() > limits::NOTE_BYTES_MAX || value.chars().any(char::is_control) {
            let why = format!("at most {} bytes, and no control characters", limits::NOTE_BYTES_MAX);
            return Err(Invalid::new("property value", value, why));
        }
        *note = (!value.is_empty()).then(|| value.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_kept_replaced_and_taken_away() {
        let mut origin = Origin::default();
        origin.set("deploy-source", "git-sync").unwrap();
        origin.set("deploy-source-metadata", "https://example.com/shop#main").unwrap();
        assert_eq!(origin.source.as_deref(), Some("git-sync"));
        origin.set("deploy-source", "").unwrap();
        assert_eq!(origin.source, None);
        assert!(!origin.is_default());
        for (key, value) in
            [("owner", "x"), ("deploy-source", "a\u{1b}"), ("deploy-source", &"x".repeat(2_000))]
        {
            assert!(origin.set(key, value).is_err(), "{key}");
        }
    }
}
