//! Row 2: what *should* be, kept in one redb file so that it outlives every crash.
//!
//! A verb that returned `Ok` is durable: each write is one transaction, synced before the answer. A verb
//! that returned an error changed nothing, with one exception that has its own variant:
//! [`StoreError::OutcomeUnknown`].
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `tables` | every table with its key and record type, on one screen |
//! | `rows` | reading and changing a table of records |
//! | [`record`] | a stored value: its version and its JSON, and how an old one becomes a new one |
//! | [`store`] | [`Store`]: reading and writing transactions, and coming back after an I/O error |
//! | `apps`, `members`, `users`, `keys`, `config`, `registries`, `git_hosts`, `host_defaults`, `releases`, `deployments`, `one_offs`, `cron_runs`, `storage` | the verbs of each table |
//! | `credentials`, `sessions`, `api_keys`, `invitations`, `linked_accounts` | how users come in without an SSH key |
//! | `traffic`, `certificates` | whose a host is; certificates, sealed |
//! | `kept_answers` | what requests came to that may be sent again, sealed |
//! | `rename` | the verbs that give an app another name, or make a twin of it |
//! | `journal` | the verbs that make a release live, or undo it, in one transaction |
//! | `seal`, `key_file` | configuration encrypted at rest, and the key file beside the store |
//! | `open` | the first start, and every way in which a later one is refused |
//! | [`error`] | what can go wrong, in words for the operator |
//!
//! What it does not know: the clock (times are handed in), git, instances, and who may do what.

pub mod error;
pub mod record;
pub mod store;

mod api_keys;
mod apps;
mod certificates;
mod config;
mod credentials;
mod cron_runs;
mod deployments;
mod git_hosts;
mod host_defaults;
mod invitations;
mod journal;
mod kept_answers;
mod key_file;
mod keys;
mod linked_accounts;
mod members;
mod one_offs;
mod open;
mod registries;
mod releases;
mod rename;
mod rows;
mod seal;
mod sessions;
mod storage;
mod tables;
mod traffic;
mod users;

pub use deployments::{DeploymentMark, DeploymentPage, DeploymentQuery};
pub use error::StoreError;
pub use journal::GoingLive;
pub use sessions::Refreshed;
pub use store::Store;

#[cfg(test)]
mod account_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod open_tests;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod rename_tests;
#[cfg(test)]
mod tests;
