//! Logins at image registries: `registry:login`, `registry:logout`, `registry:report`.

use autostack_domain::{AppName, Line, RegistryLogin, RegistryName, limits};

use crate::commands::{
    command::{Command, FORMAT, Flag, Invocation},
    refusal::Refusal,
};

const GLOBAL: Flag =
    Flag { long: "--global", short: None, value: None, summary: "for every app of the host" };
const PASSWORD_STDIN: &str = "--password-stdin";

pub(crate) const LOGIN: Command = Command {
    name: "registry:login",
    arguments: "APP|--global SERVER USERNAME --password-stdin",
    summary: "keep a login at an image registry, sealed",
    details: &[
        "printf %s \"$TOKEN\" | ssh HOST registry:login APP ghcr.io USERNAME --password-stdin",
        "A password may also follow as the last word, where your shell keeps it in its history.",
    ],
    options: &[
        GLOBAL,
        Flag {
            long: PASSWORD_STDIN,
            short: None,
            value: None,
            summary: "read the password from the connection",
        },
    ],
    run: |invocation| Box::pin(login(invocation)),
};

pub(crate) const LOGOUT: Command = Command {
    name: "registry:logout",
    arguments: "APP|--global SERVER",
    summary: "forget a login at an image registry",
    details: &[],
    options: &[GLOBAL],
    run: |invocation| Box::pin(logout(invocation)),
};

pub(crate) const REPORT: Command = Command {
    name: "registry:report",
    arguments: "APP|--global [--format json]",
    summary: "show the logins at image registries, without passwords",
    details: &[],
    options: &[GLOBAL, FORMAT],
    run: |invocation| Box::pin(report(invocation)),
};

async fn login(mut invocation: Invocation) -> Result<(), Refusal> {
    let command = invocation.command;
    let app = app_or_host(&mut invocation)?;
    let registry = registry(&mut invocation)?;
    let Some(username) = invocation.arguments.next() else {
        return Err(Refusal::usage(command, "registry:login needs the name of the user there."));
    };
    let password = if invocation.arguments.has(PASSWORD_STDIN) {
        read_password(&mut invocation).await?
    } else {
        let word = invocation.arguments.next();
        word.ok_or_else(|| {
            Refusal::usage(command, "registry:login needs a password: --password-stdin reads it.")
        })?
    };
    invocation.arguments.end(command)?;
    let login = RegistryLogin::new(registry, &username, &password)?;
    let done = format!("Login of {} at {} kept: {username}", owner(app.as_ref()), login.registry);
    invocation.platform.registry_login(&invocation.actor, app.as_ref(), login).await?;
    Ok(invocation.output.line(&Line::result(done)).await?)
}

async fn logout(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = app_or_host(&mut invocation)?;
    let registry = registry(&mut invocation)?;
    invocation.arguments.end(invocation.command)?;
    invocation.platform.registry_logout(&invocation.actor, app.as_ref(), &registry).await?;
    let done = format!("Login of {} at {registry} forgotten", owner(app.as_ref()));
    Ok(invocation.output.line(&Line::result(done)).await?)
}

async fn report(mut invocation: Invocation) -> Result<(), Refusal> {
    let json = invocation.arguments.json(invocation.command)?;
    let app = app_or_host(&mut invocation)?;
    invocation.arguments.end(invocation.command)?;
    let logins = invocation.platform.registry_logins(&invocation.actor, app.as_ref()).await?;
    if json {
        let text = serde_json::to_string(&logins).map_err(|error| Refusal::failed(error.to_string()))?;
        return Ok(invocation.output.text(&format!("{text}\n")).await?);
    }
    let mut lines = vec![Line::result(format!("Registry logins of {}", owner(app.as_ref())))];
    if logins.is_empty() {
        lines.push(Line::detail("none"));
    }
    lines
        .extend(logins.iter().map(|login| Line::detail(format!("{} as {}", login.registry, login.username))));
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Ok(invocation.output.text(&text).await?)
}

fn app_or_host(invocation: &mut Invocation) -> Result<Option<AppName>, Refusal> {
    if invocation.arguments.has(GLOBAL.long) {
        return Ok(None);
    }
    invocation.arguments.app(invocation.command).map(Some)
}

fn registry(invocation: &mut Invocation) -> Result<RegistryName, Refusal> {
    let Some(server) = invocation.arguments.next() else {
        let sentence = format!("{} needs the host name of a registry.", invocation.command.name);
        return Err(Refusal::usage(invocation.command, sentence));
    };
    Ok(server.parse()?)
}

/// Reads up to the end of the input; one line break at the end is not part of the password.
async fn read_password(invocation: &mut Invocation) -> Result<String, Refusal> {
    let mut bytes = Vec::new();
    while let Some(chunk) = invocation.input.next().await {
        bytes.extend_from_slice(chunk.as_ref());
        if bytes.len() > limits::REGISTRY_LOGIN_BYTES_MAX + 2 {
            return Err(Refusal::failed(format!(
                "A password has {} bytes at most.",
                limits::REGISTRY_LOGIN_BYTES_MAX
            )));
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| Refusal::failed("The password is not UTF-8."))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn owner(app: Option<&AppName>) -> String {
    app.map_or_else(|| "the host".to_owned(), ToString::to_string)
}
