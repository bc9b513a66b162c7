//! The life of tasks: the one place that spawns, the signal that asks tasks to end, the pauses between
//! attempts.
//!
//! In reading order: [`Tasks`] (spawn, count, wait), [`Shutdown`] (the signal), [`Backoff`] (the pauses).
//!
//! Invariants: every task has a name; a panic is logged with that name and counted, and never takes the
//! process down; a stop waits for every task within a budget and names those that did not end.

mod backoff;
mod spawn;

pub use backoff::Backoff;
pub use spawn::{TaskPanicked, Tasks};
/// The signal to stop. A server holds one, selects on `cancelled()`, and hands `child_token()`s down; a
/// child ends with its parent, never the other way.
pub use tokio_util::sync::CancellationToken as Shutdown;
