//! `autostack hook NAME`: standard input → the agent's socket → lines on the pusher's screen.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use autostack_base::error_chain;
use autostack_git::HookName;
use autostack_local::client;

use crate::terminal;

/// Runs as git's hook: the exit code is git's answer.
pub fn run(name: HookName) -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    let show = |line: &autostack_domain::Line| writeln!(io::stderr().lock(), "{line}");
    match client::run_hook(name, io::stdin().lock(), variable, show) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            terminal::trouble(
                &error_chain(&error),
                Some("push again; if it happens again, ask the host's operator"),
            );
            ExitCode::FAILURE
        }
    }
}
