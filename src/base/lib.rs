//! Row 1: what every row above stands on: settings, telemetry, the life of tasks, the clock.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`settings`] | what can be set: file and environment → checked, watched |
//! | [`telemetry`] | the agent's own log |
//! | [`tasks`] | the one place that spawns; shutdown; backoff |
//! | [`health`] | the words for how the agent is |
//! | [`clock`] | the one place that asks what time it is |
//! | [`zone`] | wall clock time in a place |
//!
//! Knows nothing of apps, git, ssh or http: only the domain's words and the host.

pub mod clock;
mod error_chain;
pub mod health;
pub mod settings;
pub mod tasks;
pub mod telemetry;
pub mod zone;

pub use clock::now;
pub use error_chain::error_chain;
