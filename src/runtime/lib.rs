//! Row 3: what runs instances.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`backend`] | the contract: [`Backend`] and its words |
//! | [`exec`] | a command beside a running instance |
//! | [`process`] | instances as processes, each under a shim of its own: needs no engine |
//! | [`docker`] | instances as containers of an engine |
//! | `cgroups` | which control groups a process is in |
//! | `ports` | which port an instance gets on this host |
//! | [`runtimes`] | both side by side |
//! | [`memory`] | instances without processes, scripted, for the tests of the rows above |
//! | `contract` | the contract as a test suite, with the feature of that name |
//!
//! Invariants: an instance outlives the agent; a signal goes only to a process whose identity was
//! verified; what is stopped leaves no process, port or file behind; a line of output reaches the log
//! once. A runtime decides nothing: what should run, and when it is ready, is for the rows above.

pub mod backend;
mod cgroups;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod docker;
pub mod exec;
pub mod memory;
mod ports;
pub mod process;
pub mod runtimes;

pub use backend::{Backend, InstanceState, LocalBackend, Observed, RuntimeError, Started, Usage};
pub use docker::{ContainerLimits, DockerBackend, DockerOptions};
pub use exec::{ExecEnds, ExecRequest, ExecSession, TerminalSize};
pub use memory::MemoryBackend;
pub use process::{ProcessBackend, ShimCommand, shim_main};
pub use runtimes::{Listing, Runtimes};
