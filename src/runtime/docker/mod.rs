//! Instances as containers of an engine: Docker, or Podman by the same API.
//!
//! The engine keeps the instances while no agent runs, and their output until it is in the log. What the agent must
//! know of one stands in its container's name, labels and environment, so a new agent finds all of it there.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `backend` | [`DockerBackend`]: the contract in terms of the parts below |
//! | `options` | what is chosen for all containers; how they are reached |
//! | `labels` | from a spec to names and labels, and back |
//! | `create`, `launch` | from a spec to a container that runs; undone where it cannot |
//! | `wished` | what an operator wishes of a container beyond what all have |
//! | `refusal` | why it cannot, for people |
//! | `network` | the bridge network of each app |
//! | `held`, `instance` | which instances there are; one of them |
//! | `container` | what the engine says of one container |
//! | `link`, `reconcile` | whether the engine is there; one look at everything of ours |
//! | `follow`, `output` | the task beside each instance: its output, every line once, and its end |
//! | `one_off` | a command that runs once |
//! | `exec` | a command beside an instance that somebody talks to |
//! | `attach` | one in a container of its own |
//! | `talk`, `hijack` | what both have: input, size of the terminal, raw streams |
//! | `sockets`, `stats`, `host` | what an instance listens on and uses, by what this host shows |
//!
//! Invariants: a container is touched only if its name and its labels say that this agent made it; whoever makes one
//! removes it again or finds it at the next look; events only ever ask for a look, so one that is lost does no harm;
//! what is said of an instance's end is said after its last line is in the log.

mod attach;
mod backend;
mod container;
mod create;
mod exec;
mod follow;
mod held;
mod hijack;
mod host;
mod instance;
mod labels;
mod launch;
mod link;
mod network;
mod one_off;
mod options;
mod output;
mod reconcile;
mod refusal;
mod sockets;
mod stats;
mod talk;
mod wished;

pub use backend::DockerBackend;
pub use options::{ContainerLimits, DockerOptions};

#[cfg(test)]
mod tests;
