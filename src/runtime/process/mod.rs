//! Instances as plain processes: the runtime that needs no engine.
//!
//! Each instance has a folder (`layout`) and a parent of its own, `autostack shim` (`shim`), that
//! lives as long as the instance, owns its output and records its end. So the agent may stop, crash and
//! come back: it finds the folders, verifies who runs, and reads on.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `backend` | [`ProcessBackend`]: the contract in terms of the parts below |
//! | `commands`, `wires` | what ends with the agent; its input, output and terminal |
//! | `instance` | one instance as the agent holds it |
//! | `follow` | the task beside each shim: moves its output, sees its end |
//! | `launch` | from a spec to a running shim |
//! | `adopt` | what an agent finds when it comes back |
//! | `tail` | output → log, every line once |
//! | `wake` | who is told when a shim has written something |
//! | `leftovers` | the end of processes whose shim was killed |
//! | `sockets` | what an instance listens on |
//! | `usage` | what an instance uses |
//! | `groups` | what holds it to its limits |
//! | `links` | folders of the host in its own |
//! | `layout`, `output` | the files between shim and agent |
//! | `procfs`, `pidfd` | identity of processes, and signals that cannot go astray |
//! | `handover`, `terminal` | descriptors that a shim is handed; a terminal among them |
//! | `shim` | the other side: the body of `autostack shim` |
//!
//! Agent and shim share files, one signal (SIGTERM with the grace in milliseconds as its value) and, at
//! the start, one pipe; what ends with the agent has a socket besides, by which it learns of that end.

mod adopt;
mod backend;
mod commands;
mod follow;
mod groups;
mod handover;
mod instance;
mod launch;
mod layout;
mod leftovers;
mod links;
mod output;
pub(crate) mod pidfd;
pub(crate) mod procfs;
mod shim;
mod shim_command;
pub(crate) mod sockets;
mod tail;
mod terminal;
mod usage;
mod wake;
mod wires;

use std::time::Duration;

pub use backend::ProcessBackend;
pub(crate) use groups::shares;
pub use shim::shim_main;
pub use shim_command::ShimCommand;

/// How long a one-off may take to end once it was cancelled or its agent has ended.
const ONE_OFF_GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
