//! The body of `autostack shim`: the parent of one instance, which lives as long as the instance does,
//! whatever becomes of the agent.
//!
//! In reading order: [`shim_main`] (set up, say that it is ready, tell the end), [`child`] (how the
//! program of the app is executed; where its confinement belongs), [`supervise`] (the one loop: output,
//! signals, children), [`tree`] (signals to all that descends from it).
//!
//! Invariants: one thread, no async runtime, no descriptor of the agent's; every descendant comes back to
//! the shim when its own parent ends, and the shim ends only when none is left.

mod child;
mod main;
mod supervise;
mod tree;

pub use main::shim_main;
