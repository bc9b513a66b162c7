//! What the benches share: a whole agent and a real sshd beside it, the same git client for both, and figures
//! that a person can read.
//!
//! - `process`: free ports, waiting for a value, the memory of a process, ending what was started
//! - `client`: a key pair, and `git` and `ssh` with nothing of this user's own settings
//! - `agent`: `autostack serve` of this build, on loopback, with a fresh data directory
//! - `engine`: the container engine through its own client, the peer of image builds
//! - `sshd`: OpenSSH's sshd with bare repositories, the peer
//! - `source`: the repository that is pushed
//! - `http`: a client that shows every fault, where a library would hide some by trying again
//! - `visitors`: a steady load of several kinds
//! - `figures`: medians, the table, the verdict
//!
//! Everything listens on loopback and lives in temporary folders; what a bench has started ends with it.

#![allow(dead_code, reason = "each bench uses its part of this")]

pub(crate) mod agent;
pub(crate) mod client;
pub(crate) mod engine;
pub(crate) mod figures;
pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod source;
pub(crate) mod sshd;
pub(crate) mod visitors;

/// What a bench fails with: a sentence.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The result of a step of a bench.
pub(crate) type Result<T> = std::result::Result<T, Failure>;
