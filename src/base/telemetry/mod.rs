//! The agent's own log: through `tracing`, to stderr, one line an event.
//!
//! [`metrics`] is what is counted for Prometheus. Of the log, in reading order: [`init`] (format and filter, chosen once), `escape` (no byte that a tenant chose
//! commands a terminal or forges a line).
//!
//! Invariants: an event is one line; no control character leaves the process unescaped, whatever a field
//! holds. Logs of apps do not come here.

mod escape;
pub mod metrics;
mod start;

pub use start::{Format, TelemetryError, init, subscriber};
