//! Counters that only grow, read as one snapshot.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// The counters; increments are relaxed, they order nothing.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) connections: Count,
    pub(crate) refused: Count,
    pub(crate) resent: Count,
    pub(crate) repeated: Count,
    pub(crate) upgrades: Count,
    answers: [Count; 5],
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    pub(crate) fn answered(&self, status: StatusCode) {
        if let Some(count) = self.answers.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            count.add();
        }
    }

    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        let answers = |class: usize| self.answers[class - 1].get();
        MetricsSnapshot {
            connections: self.connections.get(),
            refused: self.refused.get(),
            resent: self.resent.get(),
            repeated: self.repeated.get(),
            upgrades: self.upgrades.get(),
            answers_1xx: answers(1),
            answers_2xx: answers(2),
            answers_3xx: answers(3),
            answers_4xx: answers(4),
            answers_5xx: answers(5),
        }
    }
}

/// What has been counted since the proxy was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetricsSnapshot {
    /// Client connections accepted.
    pub connections: u64,
    /// Heads refused before routing.
    pub refused: u64,
    /// Requests that could not be sent over one connection and were sent over another.
    pub resent: u64,
    /// Idempotent requests that were sent twice because the first connection died without an answer.
    pub repeated: u64,
    /// Connections spliced after an upgrade.
    pub upgrades: u64,
    /// Answers 100–199: only 101.
    pub answers_1xx: u64,
    /// Answers 200–299.
    pub answers_2xx: u64,
    /// Answers 300–399.
    pub answers_3xx: u64,
    /// Answers 400–499.
    pub answers_4xx: u64,
    /// Answers 500–599.
    pub answers_5xx: u64,
}
