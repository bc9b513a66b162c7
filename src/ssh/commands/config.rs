//! The config of an app: `config:set`, `config:unset`, `config:show`.

use std::collections::BTreeMap;

use autostack_domain::{EnvMap, Line, permission::Action, screen::Printable};

use crate::commands::{
    command::{Command, FORMAT, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
};

pub(crate) const COMMANDS: &[&Command] = &[&SET, &UNSET, &SHOW];

const SET: Command = Command {
    name: "config:set",
    arguments: "APP NAME=VALUE …",
    summary: "set variables of the app's environment",
    details: &["They count from the next deployment: git commit --allow-empty, then push."],
    options: &[],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(set(invocation)),
};

const UNSET: Command = Command {
    name: "config:unset",
    arguments: "APP NAME …",
    summary: "remove variables of the app's environment",
    details: &["It counts from the next deployment."],
    options: &[],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(unset(invocation)),
};

const SHOW: Command = Command {
    name: "config:show",
    arguments: "APP [--format json]",
    summary: "show the app's environment",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(show(invocation)),
};

async fn set(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let mut variables = EnvMap::new();
    for word in invocation.rest() {
        let Some((name, value)) = word.split_once('=') else {
            return Err(invocation.usage(format!("{} is not of the form NAME=VALUE.", Printable(&word))));
        };
        variables.set(name, value)?;
    }
    invocation.end()?;
    if variables.is_empty() {
        return Err(invocation.usage("config:set needs at least one NAME=VALUE."));
    }
    let names: Vec<String> = variables.iter().map(|(name, _)| name.to_owned()).collect();
    invocation.platform.change_config(&invocation.actor, &app, variables, Vec::new()).await?;
    invocation.done(format!("Set for the next deployment of {app}: {}", names.join(", "))).await
}

async fn unset(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let names = invocation.rest();
    invocation.end()?;
    if names.is_empty() {
        return Err(invocation.usage("config:unset needs at least one NAME."));
    }
    let shown: Vec<String> = names.iter().map(|name| Printable(name).to_string()).collect();
    invocation.platform.change_config(&invocation.actor, &app, EnvMap::new(), names).await?;
    invocation.done(format!("Removed from the next deployment of {app}: {}", shown.join(", "))).await
}

async fn show(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let config = invocation.platform.config(&invocation.actor, &app).await?;
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    if invocation.json()? {
        let values: BTreeMap<&str, String> = config.iter().map(|(name, value)| (name, text(value))).collect();
        return invocation.print_json(&values).await;
    }
    let mut lines = vec![Line::result(format!("Config of {app}"))];
    if config.is_empty() {
        lines.push(Line::detail("none"));
    }
    lines.extend(
        config.iter().map(|(name, value)| Line::detail(format!("{name}: {}", Printable(&text(value))))),
    );
    let page: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Ok(invocation.output.text(&page).await?)
}
