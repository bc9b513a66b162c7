//! How the agent is: the state of each part, put together by the root and shown by the doors.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// It works.
    Ok,
    /// It works, but somebody should look: a settings file that was rejected, a task that panicked.
    Degraded,
    /// It does not work: nothing should be sent here.
    Down,
}

/// One part of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Part {
    /// How it is.
    pub state: PartState,
    /// Why, for people, where there is something to say. Never a secret: anybody may read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Part {
    /// A part that works.
    pub fn ok() -> Self {
        Self { state: PartState::Ok, detail: None }
    }

    /// A part that works, but about which there is something to say.
    pub fn degraded(detail: impl Into<String>) -> Self {
        Self { state: PartState::Degraded, detail: Some(detail.into()) }
    }

    /// A part that does not work.
    pub fn down(detail: impl Into<String>) -> Self {
        Self { state: PartState::Down, detail: Some(detail.into()) }
    }
}

/// How the agent is, by part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The parts, by name.
    pub parts: BTreeMap<&'static str, Part>,
}

impl Health {
    /// The state of the worst part.
    pub fn worst(&self) -> PartState {
        self.parts.values().map(|part| part.state).max().unwrap_or(PartState::Ok)
    }

    /// Adds a part.
    #[must_use]
    pub fn with(mut self, name: &'static str, part: Part) -> Self {
        self.parts.insert(name, part);
        self
    }
}

/// Asks how the agent is. Called for every question from outside, so it must be quick and not wait.
pub type HealthSource = Arc<dyn Fn() -> Health + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_part_speaks_for_all() {
        let health = Health::default();
        assert_eq!(health.worst(), PartState::Ok);
        let health = health.with("store", Part::ok()).with("settings", Part::degraded("line 1"));
        assert_eq!(health.worst(), PartState::Degraded);
        assert_eq!(health.with("ssh", Part::down("port taken")).worst(), PartState::Down);
    }
}
