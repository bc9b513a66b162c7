//! Git: bare repositories, the children that receive and send packs, the words of the receive hooks, and
//! the way from a pushed commit to a source tree on disk.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`repository`] | where the bare repositories are; made, found, removed, swept |
//! | [`exec`] | the command line that an SSH client sends: exactly one service and one app |
//! | [`service`] | `git receive-pack` and `git upload-pack` as children with an empty environment |
//! | [`hooks`] | the scripts in `hooks/`, and the words that a hook and the agent exchange |
//! | [`quarantine`] | the folder in which git keeps a pack until `pre-receive` has answered |
//! | [`incoming`] | objects that the agent itself brings, kept apart until they stay |
//! | [`archive`] | an archive of source as a commit |
//! | [`remote`] | archives and commits that are fetched from elsewhere, and from whom |
//! | [`gc`] | a repository that is packed anew |
//! | [`source`] | a commit, checked against what git itself lets pass, and exported |
//!
//! Invariants:
//!
//! - Only [`AppName`](autostack_domain::AppName) becomes a folder name, so no path leaves the repositories.
//! - A git child sees an allow-list of variables and no configuration file but the repository's own.
//! - No file of a tenant is ever executed, checked out by git, or reached through a symbolic link.
//! - An export is bounded before its first byte is written; a commit that was not inspected cannot be
//!   exported.
//!
//! This crate knows neither deployments nor SSH. It spawns no task; what [`service`] does to the disk, it gives
//! to the runtime's pool for blocking calls, each call short and with an end of its own.

pub mod archive;
pub mod copy;
pub mod exec;
pub mod gc;
pub mod hooks;
pub mod incoming;
pub mod quarantine;
pub mod remote;
pub mod repository;
pub mod service;
pub mod source;

mod command;
mod libgit;
#[cfg(test)]
mod pushes;
#[cfg(test)]
mod testing;

pub use archive::{ArchiveError, ArchiveKind, CommitWords, Imported, import};
pub use command::GitMissing;
pub use exec::parse_exec;
pub use hooks::{HookName, HookReply, HookRequest, install_hooks};
pub use incoming::Incoming;
pub use remote::{Access, Fetched, RemoteError, RemoteLogin, RemoteRef};
pub use repository::{Repositories, RepositoryError};
pub use service::{GitChild, GitProtocol, Service, SpawnError, SpawnOptions};
pub use source::{Source, SourceError, SourceLimits, SourceReport, Submodule};
