//! The binary: parse the command line, call.

use std::process::ExitCode;

use autostack::{
    admin, agent, check_config,
    cli::{Cli, Command},
    demo, hook,
};
use clap::Parser;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve { config } => agent::serve(config),
        Command::Demo { once } => demo::run(once),
        Command::CheckConfig { file } => check_config::run(&file),
        Command::Admin { config, command } => admin::run(config, command),
        Command::Hook { name } => hook::run(name),
        Command::Shim { args } => autostack_runtime::shim_main(args),
    }
}
