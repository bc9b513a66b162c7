//! The lock of an app: until it is taken off, nothing is deployed to it.

use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;

/// Who locked an app, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployLock {
    /// As people see them.
    pub by: String,
    /// Since when.
    pub at: UnixMillis,
}
