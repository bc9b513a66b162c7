//! What operators set for one app beyond its formation; one field a topic, each with its type in a file of its own.

use serde::{Deserialize, Serialize};

/// The settings of an app. What is as it was in the beginning is not written down, so that a new topic changes no
/// record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppSettings {}

impl AppSettings {
    /// Whether nobody has set anything.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
