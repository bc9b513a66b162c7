//! Changes of a config: `config:set`, `config:unset`, `config:clear`, `config:import`.

use autostack_domain::{EnvMap, ExportFormat, env_import, limits, permission::Action, screen::Printable};
use autostack_platform::{Applied, ConfigChange};
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::commands::{
    command::{Command, Flag, Needs, Words},
    invocation::{Invocation, Scope},
    refusal::Refusal,
};

/// Bytes of a text that is imported: every byte of a config may be written as two, with its name and quotes.
const IMPORT_BYTES_MAX: usize = 4 * limits::CONFIG_BYTES_MAX;

const NO_RESTART: Flag = Flag {
    long: "--no-restart",
    short: None,
    value: None,
    summary: "what runs goes on as it is; the change counts from the next deployment",
};

const HOW: &str = "Makes a new release of the same artifact and switches to it without a lost request.";

pub(crate) const SET: Command = Command {
    name: "config:set",
    arguments: "APP|--global NAME=VALUE … [--encoded] [--no-restart]",
    summary: "set variables of an environment",
    details: &[HOW, "Values are taken byte for byte; --encoded takes them in base64, past every quoting."],
    options: &[
        NO_RESTART,
        Flag { long: "--encoded", short: None, value: None, summary: "the values are base64" },
    ],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(set(invocation)),
};

pub(crate) const UNSET: Command = Command {
    name: "config:unset",
    arguments: "APP|--global NAME … [--no-restart]",
    summary: "remove variables of an environment",
    details: &[HOW],
    options: &[NO_RESTART],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(unset(invocation)),
};

pub(crate) const CLEAR: Command = Command {
    name: "config:clear",
    arguments: "APP|--global [--no-restart]",
    summary: "remove every variable of an environment",
    details: &[HOW],
    options: &[NO_RESTART],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(clear(invocation)),
};

pub(crate) const IMPORT: Command = Command {
    name: "config:import",
    arguments: "APP|--global [--replace] [--no-restart]",
    summary: "set the variables of a dotenv file, of exports or of JSON that is sent",
    details: &["ssh HOST config:import APP < .env", "The format is recognised. Nothing in it is evaluated."],
    options: &[
        NO_RESTART,
        Flag { long: "--replace", short: None, value: None, summary: "and remove all others" },
        Flag {
            long: "--format",
            short: None,
            value: Some("FORMAT"),
            summary: "what it is, which is seen anyway",
        },
    ],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(import(invocation)),
};

async fn set(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    let is_encoded = invocation.has("--encoded");
    let mut variables = EnvMap::new();
    for word in invocation.rest() {
        let Some((name, value)) = word.split_once('=') else {
            // It may be a secret whose name was forgotten.
            let shown: String = word.chars().take(3).collect();
            let sentence = format!("The word that begins {shown:?} is not of the form NAME=VALUE.");
            return Err(invocation.usage(sentence));
        };
        if is_encoded {
            let decoded = BASE64_STANDARD.decode(value).map_err(|error| {
                invocation.usage(format!("The value of {} is not base64: {error}.", Printable(name)))
            })?;
            variables.set(name, decoded)?;
        } else {
            variables.set(name, value)?;
        }
    }
    invocation.end()?;
    if variables.is_empty() {
        return Err(invocation.usage("config:set needs at least one NAME=VALUE."));
    }
    change(&invocation, &scope, ConfigChange::Set(variables)).await
}

async fn unset(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    let names = invocation.rest();
    invocation.end()?;
    if names.is_empty() {
        return Err(invocation.usage("config:unset needs at least one NAME."));
    }
    change(&invocation, &scope, ConfigChange::unset(names)?).await
}

async fn clear(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    invocation.end()?;
    change(&invocation, &scope, ConfigChange::Replace(EnvMap::new())).await
}

async fn import(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    invocation.end()?;
    if let Some(format) = invocation.value("--format") {
        format.parse::<ExportFormat>()?;
    }
    // Who may not is told so before the text is waited for.
    invocation.platform.config(&invocation.actor, scope.app(), false).await?;
    let text = invocation.read_input(IMPORT_BYTES_MAX, "The text of a config").await?;
    let variables = env_import::parse(&text)?;
    if variables.is_empty() {
        return Err(invocation.usage("config:import found no variable on standard input."));
    }
    let change_to = if invocation.has("--replace") {
        ConfigChange::Replace(variables)
    } else {
        ConfigChange::Set(variables)
    };
    change(&invocation, &scope, change_to).await
}

/// Records a change and, unless it shall wait, makes the releases that have it.
async fn change(invocation: &Invocation, scope: &Scope, change: ConfigChange) -> Result<(), Refusal> {
    let summary = change.summary();
    let is_new = invocation.platform.change_config(&invocation.actor, scope.app(), change).await?;
    if is_new {
        invocation.step(format!("{summary} of {scope}")).await?;
    }
    let can_wait = invocation.has("--no-restart");
    match scope {
        Scope::App(_) | Scope::Global if can_wait => {
            invocation
                .done(if is_new { "It counts from the next deployment" } else { "Nothing to change" })
                .await
        }
        Scope::App(app) => {
            let (platform, actor) = (&invocation.platform, &invocation.actor);
            let mut screen = invocation.screen();
            match platform.apply_config(actor, app, &summary, &mut screen, &invocation.gone).await? {
                Applied::Live(_) => Ok(()),
                Applied::AlreadyLive if is_new => invocation.done("What runs has it already").await,
                Applied::AlreadyLive => invocation.done("Nothing to change").await,
                Applied::NoRelease => invocation.done("The first release gets it").await,
                Applied::Failed => Err(Refusal::failed(format!(
                    "The config is kept, and {app} goes on with the one before; correct it, and it is tried again."
                ))),
                Applied::Locked => {
                    invocation.done(format!("{app} is locked: its next deployment gets it")).await
                }
            }
        }
        Scope::Global => {
            let (platform, actor) = (&invocation.platform, &invocation.actor);
            let mut screen = invocation.screen();
            match platform.apply_host_config(actor, &summary, &mut screen, &invocation.gone).await? {
                0 => invocation.done("Every app has it").await,
                left => Err(Refusal::failed(format!(
                    "The config is kept; {left} apps get it from their next deployment on."
                ))),
            }
        }
    }
}
