//! The commands of this door, in Dokku's grammar: `TOPIC:ACTION ARGUMENTS --option`.
//!
//! In reading order: [`words`] cuts a line without evaluating it, [`command`] says what a command is and
//! finds one by name, [`arguments`] tells options from plain words, [`refusal`] is how a command fails;
//! then one file a group: [`apps`], [`config`], [`images`], [`registry`], [`logs`], [`about`]. [`git`] is the other grammar, which git speaks.
//! [`desk`] decides which of them a call is for.
//!
//! Invariants: what is not understood is refused, never ignored; trouble goes to stderr with an exit code
//! of the contract, data to stdout; nothing that was typed is evaluated or repeated unescaped.

pub(crate) mod about;
pub(crate) mod apps;
pub(crate) mod arguments;
pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod desk;
pub(crate) mod git;
pub(crate) mod images;
pub(crate) mod logs;
pub(crate) mod refusal;
pub(crate) mod registry;
pub(crate) mod words;

use command::Command;

/// Every command, in the order in which `help` lists them.
pub(crate) const COMMANDS: &[&Command] = &[
    &apps::CREATE,
    &apps::LIST,
    &apps::DESTROY,
    &apps::URL,
    &config::SHOW,
    &config::SET,
    &config::UNSET,
    &images::FROM_IMAGE,
    &images::LOAD_IMAGE,
    &registry::LOGIN,
    &registry::LOGOUT,
    &registry::REPORT,
    &logs::LOGS,
    &about::HELP,
    &about::VERSION,
];
