//! Row 6, a door: JSON over HTTP.
//!
//! | path | answers |
//! |---|---|
//! | GET `/health` | how the agent is, by part: 200, or 503 while a part is down |
//! | anything else | an error in the one shape that all errors have |
//!
//! In reading order: `server` (connections and their limits), `router` (the paths on one screen), `health`,
//! `error` (the shape of an error).
//!
//! Invariants: a connection that sends its head too slowly, or too much, is closed; a body has a limit; every
//! answer that is not 2xx but `/health`'s is `{"error": {"code", "message", "details"}}`.

mod error;
mod health;
mod router;
mod server;

pub use server::serve;
