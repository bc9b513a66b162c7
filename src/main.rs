//! The binary: parse the command line, call.

use std::process::ExitCode;

use autostack::{
    admin, agent, check_config,
    cli::{Cli, Command},
    demo, hook,
};
use clap::Parser;

fn main() -> ExitCode {
    // An instance waits for its shim, so this one is not parsed: it saves milliseconds of each start.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|word| word == "shim") {
        return autostack_runtime::shim_main(args);
    }
    match Cli::parse().command {
        Command::Serve { config } => agent::serve(config),
        Command::Demo { once, docker } => demo::run(once, docker),
        Command::CheckConfig { file } => check_config::run(&file),
        Command::Admin { config, command } => admin::run(config, command),
        Command::Hook { name } => hook::run(name),
    }
}
