//! [`Api`]: what handlers share.

use autostack_base::{health::HealthSource, tasks::Tasks};
use autostack_platform::Platform;

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// Every operation.
    pub platform: Platform,
    /// How the agent is.
    pub health: HealthSource,
    /// What goes on when a client has gone.
    pub tasks: Tasks,
}
