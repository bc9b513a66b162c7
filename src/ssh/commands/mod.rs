//! The commands of this door, in Dokku's grammar: `TOPIC:ACTION ARGUMENTS --option`.
//!
//! In reading order: [`words`] cuts a line without evaluating it, [`command`] says what a command is and
//! finds one by name, [`arguments`] tells options from plain words, [`invocation`] is one use of a command, [`refusal`]
//! is how one fails, [`report`] is the shape of what one tells, [`log_page`] and [`log_style`] how lines of logs are read and look; then one file a group, listed in [`GROUPS`]. [`git`] is
//! the other grammar, which git speaks. [`desk`] decides which of them a call is for.
//!
//! Invariants: what is not understood is refused, never ignored; trouble goes to stderr with an exit code
//! of the contract, data to stdout; nothing that was typed is evaluated or repeated unescaped.

pub(crate) mod about;
pub(crate) mod access;
pub(crate) mod apps;
pub(crate) mod arguments;
pub(crate) mod builder;
pub(crate) mod builds;
pub(crate) mod certs;
pub(crate) mod checks;
pub(crate) mod command;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod config_change;
pub(crate) mod cron;
pub(crate) mod desk;
pub(crate) mod docker_options;
pub(crate) mod domains;
pub(crate) mod elsewhere;
pub(crate) mod events;
pub(crate) mod everything;
pub(crate) mod git;
pub(crate) mod git_settings;
pub(crate) mod images;
pub(crate) mod invocation;
pub(crate) mod keys;
pub(crate) mod log_page;
pub(crate) mod log_style;
pub(crate) mod logs;
pub(crate) mod plugins;
pub(crate) mod proxy;
pub(crate) mod ps;
pub(crate) mod refusal;
pub(crate) mod registry;
pub(crate) mod releases;
pub(crate) mod report;
pub(crate) mod resource;
pub(crate) mod run;
pub(crate) mod sources;
pub(crate) mod storage;
pub(crate) mod talk;
pub(crate) mod traffic;
pub(crate) mod words;

use command::Command;

/// The commands of one file.
#[derive(Debug)]
pub(crate) struct Group {
    /// What they are for, in the list of `help`.
    pub(crate) title: &'static str,
    /// In the order in which `help` lists them.
    pub(crate) commands: &'static [&'static Command],
}

/// Every command, in the order in which `help` lists them.
pub(crate) const GROUPS: &[Group] = &[
    Group { title: "Apps", commands: apps::COMMANDS },
    Group { title: "Config", commands: config::COMMANDS },
    Group { title: "Releases", commands: releases::COMMANDS },
    Group { title: "Processes", commands: ps::COMMANDS },
    Group { title: "Resources", commands: resource::COMMANDS },
    Group { title: "Checks", commands: checks::COMMANDS },
    Group { title: "Domains", commands: domains::COMMANDS },
    Group { title: "Visitors", commands: traffic::COMMANDS },
    Group { title: "Proxy", commands: proxy::COMMANDS },
    Group { title: "Certificates", commands: certs::COMMANDS },
    Group { title: "Logs", commands: logs::COMMANDS },
    Group { title: "Events", commands: events::COMMANDS },
    Group { title: "Run", commands: run::COMMANDS },
    Group { title: "Cron", commands: cron::COMMANDS },
    Group { title: "Storage", commands: storage::COMMANDS },
    Group { title: "Code", commands: sources::COMMANDS },
    Group { title: "Repositories", commands: git_settings::COMMANDS },
    Group { title: "Builder", commands: builder::COMMANDS },
    Group { title: "Containers", commands: docker_options::COMMANDS },
    Group { title: "Builds", commands: builds::COMMANDS },
    Group { title: "Images", commands: images::COMMANDS },
    Group { title: "Registries", commands: registry::COMMANDS },
    Group { title: "People", commands: access::COMMANDS },
    Group { title: "Keys", commands: keys::COMMANDS },
    Group { title: "All", commands: everything::COMMANDS },
    Group { title: "Plugins", commands: plugins::COMMANDS },
    Group { title: "Shell", commands: completion::COMMANDS },
    Group { title: "Help", commands: about::COMMANDS },
];

/// Every command.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    GROUPS.iter().flat_map(|group| group.commands.iter().copied())
}
