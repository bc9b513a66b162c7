//! The config of an app: `config:set`, `config:unset`, `config:show`.

use std::collections::BTreeMap;

use autostack_domain::{EnvMap, Line, screen::Printable};

use crate::commands::{
    command::{Command, FORMAT, Invocation},
    refusal::Refusal,
};

pub(crate) const SET: Command = Command {
    name: "config:set",
    arguments: "APP NAME=VALUE …",
    summary: "set variables of the app's environment",
    details: &["They count from the next deployment: git commit --allow-empty, then push."],
    options: &[],
    run: |invocation| Box::pin(set(invocation)),
};

pub(crate) const UNSET: Command = Command {
    name: "config:unset",
    arguments: "APP NAME …",
    summary: "remove variables of the app's environment",
    details: &["It counts from the next deployment."],
    options: &[],
    run: |invocation| Box::pin(unset(invocation)),
};

pub(crate) const SHOW: Command = Command {
    name: "config:show",
    arguments: "APP [--format json]",
    summary: "show the app's environment",
    details: &[],
    options: &[FORMAT],
    run: |invocation| Box::pin(show(invocation)),
};

async fn set(mut invocation: Invocation) -> Result<(), Refusal> {
    let command = invocation.command;
    let app = invocation.arguments.app(command)?;
    let mut variables = EnvMap::new();
    while let Some(word) = invocation.arguments.next() {
        let Some((name, value)) = word.split_once('=') else {
            let sentence = format!("{} is not of the form NAME=VALUE.", Printable(&word));
            return Err(Refusal::usage(command, sentence));
        };
        variables.set(name, value)?;
    }
    if variables.is_empty() {
        return Err(Refusal::usage(command, "config:set needs at least one NAME=VALUE."));
    }
    let names: Vec<String> = variables.iter().map(|(name, _)| name.to_owned()).collect();
    invocation.platform.change_config(&invocation.actor, &app, variables, Vec::new()).await?;
    let done = format!("Set for the next deployment of {app}: {}", names.join(", "));
    Ok(invocation.output.line(&Line::result(done)).await?)
}

async fn unset(mut invocation: Invocation) -> Result<(), Refusal> {
    let command = invocation.command;
    let app = invocation.arguments.app(command)?;
    let mut names = Vec::new();
    while let Some(name) = invocation.arguments.next() {
        names.push(name);
    }
    if names.is_empty() {
        return Err(Refusal::usage(command, "config:unset needs at least one NAME."));
    }
    let shown: Vec<String> = names.iter().map(|name| Printable(name).to_string()).collect();
    invocation.platform.change_config(&invocation.actor, &app, EnvMap::new(), names).await?;
    let done = format!("Removed from the next deployment of {app}: {}", shown.join(", "));
    Ok(invocation.output.line(&Line::result(done)).await?)
}

async fn show(mut invocation: Invocation) -> Result<(), Refusal> {
    let command = invocation.command;
    let json = invocation.arguments.json(command)?;
    let app = invocation.arguments.app(command)?;
    invocation.arguments.end(command)?;
    let config = invocation.platform.config(&invocation.actor, &app).await?;
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    if json {
        let values: BTreeMap<&str, String> = config.iter().map(|(name, value)| (name, text(value))).collect();
        let json = serde_json::to_string(&values).map_err(|error| Refusal::failed(error.to_string()))?;
        return Ok(invocation.output.text(&format!("{json}\n")).await?);
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
