//! Row 6: the SSH door. It translates keys into actors, command lines into calls of the platform, and
//! answers into lines and exit codes; it decides nothing about apps.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`host_key`], [`limits`], `algorithms` | the host's identity, every bound, what is spoken |
//! | [`server`] | accepts, ends what takes too long, stops in order |
//! | `lobby`, `welcome` | who may stand here without a name; the first words of a connection |
//! | `wire` | the TCP connection, which can be cut |
//! | `handler` | what russh tells, handed on: callbacks only |
//! | `login` | who a connection is |
//! | `session`, `environment`, `terminal` | one session, from its opening to its command |
//! | `pump`, `overflow`, `output` | bytes in, bytes out, each with its bound |
//! | `service` | the seam: this side of it nobody knows of apps |
//! | `commands` | the commands, git's two services among them |
//! | `prompt` | for who comes with a terminal and without a command |
//!
//! Invariants:
//!
//! - Identity is the key whose signature was verified; no user name, no offered key, no environment decides.
//! - A slow or silent client costs its own connection only: nothing waits inside the connection's task but
//!   for a bounded queue, and every wait has a limit.
//! - What is not offered is refused in so many words; no shell runs here.
//! - A session ends in this order: output drained, child waited for, exit code, end of file, close.
//! - A panic in a session ends that session.

mod algorithms;
mod commands;
mod door;
mod environment;
mod handler;
pub mod host_key;
pub mod limits;
mod lobby;
mod login;
mod output;
mod overflow;
mod prompt;
mod pump;
pub mod server;
mod service;
mod session;
mod terminal;
mod welcome;
mod wire;

#[cfg(test)]
mod stories;
#[cfg(test)]
mod testing;

pub use host_key::{HostKey, HostKeyError};
pub use limits::Limits;
pub use server::Server;
