//! Functions: images made for AWS Lambda, run with its runtime interface emulator. Such an instance serves no
//! HTTP of the app's own; it takes an event as JSON and gives back what the function returned. Here a visitor's
//! request becomes the event that Amazon's API Gateway would make of it (HTTP API, payload format 2.0), and what
//! the function returned becomes the visitor's answer.
//!
//! ```text
//! request ─▶ collect ─ whole body ─▶ event ─ JSON ─▶ invoke ─ turn ─▶ an instance that is free
//! answer  ◀───────────────────────── answer ◀─ JSON ───┘
//! ```
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `event` | request → event; no I/O |
//! | `answer` | what the function returned → response; no I/O |
//! | `turn` | one invocation at a time on an instance, and the line of those who wait |
//! | `collect` | whole bodies, within the memory that all of them share |
//! | `invoke` | one request from its arrival to its answer |
//! | `probe` | what a deployment asks a new instance: [`INVOCATION_PATH`], [`probe_event`], [`judge`] |
//!
//! Invariants:
//! - The emulator ends itself when a second event comes while it works on one. So an instance is taken until its
//!   answer has come, also when the visitor has left or was told that it takes too long; a drain waits for that.
//!   Whoever else sends events to an instance (a health check) does so before it is published, one at a time.
//! - What could not be sent goes to another instance. What was sent is repeated as everywhere: only if the
//!   visitor's method is idempotent, it has no body, and nothing was answered; and then once.
//! - No text of a function's error reaches a visitor; the function's own log has it.

mod answer;
mod collect;
mod event;
mod invoke;
mod probe;
mod turn;

#[cfg(test)]
mod round_trip;

pub use probe::{INVOCATION_PATH, judge, probe_event};

pub(crate) use collect::Memory;
pub(crate) use invoke::answer;
pub(crate) use turn::{AtWork, Function, Turn};
