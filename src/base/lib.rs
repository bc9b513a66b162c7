//! Row 1: what every row above stands on: settings, telemetry, the life of tasks, the clock.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`settings`] | what can be set: file and environment → checked, watched |
//! | [`tasks`] | the one place that spawns; shutdown; backoff |
//! | [`clock`] | the one place that asks what time it is |
//!
//! Knows nothing of apps, git, ssh or http: only the domain's words and the host.

pub mod clock;
pub mod settings;
pub mod tasks;

pub use clock::now;
