//! `autostack admin`: the operator's words to the running agent.

use std::{
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use autostack_base::{error_chain, settings::Sources};
use autostack_local::{
    client::{self, ClientError},
    protocol::{AdminReply, AdminRequest},
};

use crate::{
    agent::Layout,
    cli::{AdminCommand, KeyCommand, TokenCommand, UserCommand},
    terminal,
};

/// Bytes that are read from standard input for a key.
const STDIN_BYTES_MAX: u64 = 64 * 1024;

/// Asks the agent and shows its answer.
pub fn run(config: Option<PathBuf>, command: AdminCommand) -> ExitCode {
    let settings = match Sources::of_process(config).load() {
        Ok(settings) => settings,
        Err(errors) => {
            errors.iter().for_each(|error| terminal::trouble(&error_chain(error), None));
            return ExitCode::from(2);
        }
    };
    let request = match request(command) {
        Ok(request) => request,
        Err(error) => {
            terminal::trouble(&format!("standard input cannot be read: {error}"), None);
            return ExitCode::from(2);
        }
    };
    let socket = Layout::new(&settings.data_dir).socket();
    match client::ask(&socket, request) {
        Ok(reply) => show(reply),
        Err(error) => {
            terminal::trouble(&error_chain(&error), Some(&hint(&error, &socket)));
            ExitCode::FAILURE
        }
    }
}

fn request(command: AdminCommand) -> std::io::Result<AdminRequest> {
    Ok(match command {
        AdminCommand::User { command: UserCommand::Add { email, admin } } => {
            AdminRequest::UserAdd { email, admin, password: password()? }
        }
        AdminCommand::User { command: UserCommand::Password { email } } => {
            AdminRequest::UserPassword { email, password: password()? }
        }
        AdminCommand::Key { command: KeyCommand::Add { name, user } } => {
            if std::io::stdin().is_terminal() {
                terminal::say(&autostack_domain::Line::detail("Paste the public key, then press Ctrl-D:"));
            }
            let public_key = standard_input()?;
            AdminRequest::KeyAdd { name, user, public_key }
        }
        AdminCommand::Key { command: KeyCommand::List } => AdminRequest::KeyList,
        AdminCommand::Key { command: KeyCommand::Remove { fingerprint } } => {
            AdminRequest::KeyRemove { fingerprint }
        }
        AdminCommand::Token { command: TokenCommand::Create { name, user, scopes, days } } => {
            AdminRequest::TokenCreate { name, user, scopes, days }
        }
        AdminCommand::Status => AdminRequest::Status,
    })
}

/// The first line of standard input; none at a terminal, where it would be seen.
fn password() -> std::io::Result<Option<String>> {
    if std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let given = standard_input()?;
    Ok(given.lines().next().filter(|line| !line.is_empty()).map(str::to_owned))
}

fn standard_input() -> std::io::Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().take(STDIN_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn show(reply: AdminReply) -> ExitCode {
    match reply {
        AdminReply::Done(text) => {
            terminal::data(&text);
            ExitCode::SUCCESS
        }
        AdminReply::Status(status) => {
            // A value that was just parsed prints.
            terminal::data(&serde_json::to_string_pretty(&status).unwrap_or_default());
            ExitCode::SUCCESS
        }
        AdminReply::Refused { message, hint, exit_code } => {
            terminal::trouble(&format!("{message}."), hint.as_deref());
            ExitCode::from(exit_code)
        }
    }
}

fn hint(error: &ClientError, socket: &Path) -> String {
    match error {
        ClientError::Connect { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            "run this as the agent's own user, or as root".into()
        }
        ClientError::Connect { .. } => format!(
            "start the agent (autostack serve), or name its settings with --config, or its folder with \
             AUTOSTACK_DATA_DIR; {} is looked for now",
            socket.display()
        ),
        ClientError::Broken(_) | ClientError::Words(_) | ClientError::Json(_) => {
            "look at the agent's log; agent and command must be of the same version".into()
        }
    }
}
