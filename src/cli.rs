//! The grammar of the command line. `autostack shim` is no part of it: `main` takes it before anything is parsed.

use std::path::PathBuf;

use autostack_domain::account::Scope;
use autostack_git::HookName;
use clap::{Parser, Subcommand};

/// One Linux host as a platform: `git push`, and the app is live.
#[derive(Debug, Parser)]
#[command(name = "autostack", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent in the foreground
    Serve {
        /// Settings file (TOML); environment variables such as AUTOSTACK_SSH__LISTEN win over it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// See a real `git push` go live: a fresh agent on loopback, a sample app, its URL and its answer
    Demo {
        /// Exit after the check: 0 when the app answered, else 1
        #[arg(long)]
        once: bool,
        /// Build the app into an image and run it as a container, with the container engine of this host
        #[arg(long)]
        docker: bool,
    },
    /// Say what is wrong in a settings file; exit 0 or 2
    CheckConfig {
        /// The file
        #[arg(value_name = "FILE", default_value = "/etc/autostack/autostack.toml")]
        file: PathBuf,
    },
    /// Talk to the running agent as the operator of this host
    Admin {
        /// Settings file of the agent, to find its data directory
        #[arg(long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
        /// What to ask for
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// What git's hooks call
    #[command(hide = true)]
    Hook {
        /// Which hook
        name: HookName,
    },
}

/// What the operator may ask for.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Users
    User {
        /// What to do
        #[command(subcommand)]
        command: UserCommand,
    },
    /// SSH keys
    Key {
        /// What to do
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// API keys
    Token {
        /// What to do
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Show how the agent is
    Status,
}

/// What can be done with API keys.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make an API key, and show it this once
    Create {
        /// What to call it
        name: String,
        /// Whose key it is; without it, it belongs to an admin made for it
        #[arg(long, value_name = "EMAIL")]
        user: Option<String>,
        /// What it is good for: read, deploy, config, manage; without it, everything that its owner may
        #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
        scopes: Vec<Scope>,
        /// Days that it is good for; without it, until it is removed
        #[arg(long)]
        days: Option<u32>,
    },
}

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user; the password comes on standard input, and is made and shown where nothing comes
    Add {
        /// The address
        email: String,
        /// Let the user run the whole platform
        #[arg(long)]
        admin: bool,
    },
    /// Give a user another password; it comes on standard input, and is made and shown where nothing comes
    Password {
        /// The address
        email: String,
    },
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Show every key: fingerprint, user, name
    List,
    /// Let a key in no more
    Remove {
        /// The key's fingerprint, SHA256:…, as `key list` shows it
        fingerprint: String,
    },
    /// Let an SSH key in; the public key comes on standard input
    Add {
        /// What to call it
        name: String,
        /// Whose key it is; without it, it belongs to an admin made for it
        #[arg(long, value_name = "EMAIL")]
        user: Option<String>,
    },
}
