//! Builds of images from a Dockerfile, the app's own or one that was generated.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`request`] | [`Build`], [`Built`]: what is asked and what comes of it |
//! | `run` | [`crate::Engine::build`]: choose the builder, watch clock and cancel, inspect the result |
//! | `buildkit` | BuildKit, on a session of ours: `session` (what it may ask), `filesync` (files), `progress` (what it says) |
//! | `classic` | the builder before BuildKit, and Podman's: `context` (the commit as a tar stream) |
//! | `wire` | the one connection that a build needs |
//! | `script` | the Dockerfile and its `.dockerignore` |
//! | `tree`, `dockerignore`, `pattern` | which files are sent |
//! | `budget` | memory and processors |
//! | [`error`], `diagnose` | why it failed, in words that help |
//!
//! Invariants: a build ends with the connection that it runs on, so a cancel leaves nothing running; a secret is
//! given only to a command that mounts it and never becomes part of a layer; links of a commit are never
//! followed; nothing that a build says is kept beyond a bounded tail.

mod budget;
mod buildkit;
mod classic;
mod context;
mod diagnose;
mod dockerignore;
pub mod error;
mod filesync;
mod pattern;
mod progress;
pub mod request;
mod run;
mod script;
mod session;
mod tail;
#[cfg(test)]
mod tests;
mod tree;
pub(crate) mod wire;

pub use error::BuildError;
pub use request::{Budget, Build, BuilderChoice, Built, Dockerfile, Unenforced};
