//! The config of an app, or of the host: reading it, and changing it.

use autostack_domain::{ExportFormat, env_export::single_quoted, permission::Action, screen::Printable};
use bytes::Bytes;

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    config_change::{CLEAR, IMPORT, SET, UNSET},
    invocation::{Invocation, Scope},
    refusal::Refusal,
};

pub(crate) const COMMANDS: &[&Command] =
    &[&SHOW, &GET, &KEYS, &SET, &UNSET, &CLEAR, &EXPORT, &IMPORT, &BUNDLE, &CONFIG];

const MERGED: Flag = Flag {
    long: "--merged",
    short: None,
    value: None,
    summary: "with what the host gives every app beneath it",
};

const SHOW: Command = Command {
    name: "config:show",
    arguments: "APP|--global [--merged] [--format json]",
    summary: "show an environment",
    details: &[
        "What a terminal would obey is shown escaped; config:get and config:export give the very bytes.",
    ],
    options: &[
        MERGED,
        FORMAT,
        Flag { long: "--shell", short: None, value: None, summary: "as config:export --format shell" },
        Flag { long: "--export", short: None, value: None, summary: "as config:export --format exports" },
    ],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(show(invocation)),
};

/// What Dokku called it first, and what many still type.
const CONFIG: Command = Command { name: "config", summary: "the same as config:show", ..SHOW };

const GET: Command = Command {
    name: "config:get",
    arguments: "APP|--global NAME [--quoted]",
    summary: "show the value of one variable, byte for byte",
    details: &["A line end follows. Exit code 1 where it is not set."],
    options: &[
        MERGED,
        Flag { long: "--quoted", short: None, value: None, summary: "in single quotes, for a shell" },
    ],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(get(invocation)),
};

const KEYS: Command = Command {
    name: "config:keys",
    arguments: "APP|--global [--merged]",
    summary: "show the names of the variables, a line each",
    details: &[],
    options: &[MERGED, FORMAT],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(keys(invocation)),
};

const EXPORT: Command = Command {
    name: "config:export",
    arguments: "APP|--global [--merged] [--format FORMAT]",
    summary: "write an environment for other programs",
    details: &[
        "FORMAT: exports (for a shell to source; the default), envfile, docker-args, docker-args-keys, shell,",
        "pretty, json, json-list. config:import reads them back.",
    ],
    options: &[
        MERGED,
        Flag { long: "--format", short: None, value: Some("FORMAT"), summary: "how it is written" },
    ],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(export(invocation)),
};

const BUNDLE: Command = Command {
    name: "config:bundle",
    arguments: "APP|--global [--merged]",
    summary: "write an environment as a tar archive, a file a variable",
    details: &["ssh HOST config:bundle APP > config.tar"],
    options: &[MERGED],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(bundle(invocation)),
};

async fn show(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    invocation.end()?;
    let format = match (invocation.json()?, invocation.has("--shell"), invocation.has("--export")) {
        (false, false, false) => ExportFormat::Pretty,
        (true, false, false) => ExportFormat::Json,
        (false, true, false) => ExportFormat::Shell,
        (false, false, true) => ExportFormat::Exports,
        _ => return Err(invocation.usage("Choose one of --format, --shell and --export.")),
    };
    let text = written(&invocation, &scope, format).await?;
    if format == ExportFormat::Pretty {
        let name = scope.app().map_or("global", |app| app.as_str());
        invocation.done(format!("{name} env vars")).await?;
        return Ok(invocation.output.text(&String::from_utf8_lossy(&text)).await?);
    }
    Ok(invocation.output.stdout(text).await?)
}

async fn get(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    let name = invocation.word("the name of a variable")?;
    invocation.end()?;
    let merged = invocation.has("--merged");
    let config = invocation.platform.config(&invocation.actor, scope.app(), merged).await?;
    let Some(value) = config.get(&name) else {
        return Err(Refusal::failed(format!("{} is not set.", Printable(&name))));
    };
    let mut bytes = if invocation.has("--quoted") { single_quoted(value) } else { value.to_vec() };
    bytes.push(b'\n');
    Ok(invocation.output.stdout(bytes.into()).await?)
}

async fn keys(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    invocation.end()?;
    let merged = invocation.has("--merged");
    let config = invocation.platform.config(&invocation.actor, scope.app(), merged).await?;
    let names: Vec<&str> = config.iter().map(|(name, _)| name).collect();
    if invocation.json()? {
        return invocation.print_json(&names).await;
    }
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    Ok(invocation.output.text(&text).await?)
}

async fn export(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    invocation.end()?;
    let format = invocation.value("--format").unwrap_or("exports").parse()?;
    let text = written(&invocation, &scope, format).await?;
    Ok(invocation.output.stdout(text).await?)
}

async fn written(invocation: &Invocation, scope: &Scope, format: ExportFormat) -> Result<Bytes, Refusal> {
    let merged = invocation.has("--merged");
    let config = invocation.platform.config(&invocation.actor, scope.app(), merged).await?;
    Ok(format.write(&config)?.into())
}

async fn bundle(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    invocation.end()?;
    let merged = invocation.has("--merged");
    let config = invocation.platform.config(&invocation.actor, scope.app(), merged).await?;
    let mut archive = tar::Builder::new(Vec::new());
    let packed = config.iter().try_for_each(|(name, value)| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o600);
        header.set_size(value.len() as u64);
        header.set_cksum();
        archive.append_data(&mut header, name, value)
    });
    let archive = packed.and_then(|()| archive.into_inner());
    let archive =
        archive.map_err(|error| Refusal::failed(format!("The archive cannot be written: {error}.")))?;
    Ok(invocation.output.stdout(archive.into()).await?)
}
