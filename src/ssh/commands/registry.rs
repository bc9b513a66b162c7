//! Logins at image registries: `registry:login`, `registry:logout`, `registry:report`.

use autostack_domain::{Line, RegistryLogin, RegistryName, limits, permission::Action};

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
};

const PASSWORD_STDIN: &str = "--password-stdin";

pub(crate) const COMMANDS: &[&Command] = &[&LOGIN, &LOGOUT, &REPORT];

const LOGIN: Command = Command {
    name: "registry:login",
    arguments: "APP|--global SERVER USERNAME --password-stdin",
    summary: "keep a login at an image registry, sealed",
    details: &[
        "printf %s \"$TOKEN\" | ssh HOST registry:login APP ghcr.io USERNAME --password-stdin",
        "A password may also follow as the last word, where your shell keeps it in its history.",
    ],
    options: &[Flag {
        long: PASSWORD_STDIN,
        short: None,
        value: None,
        summary: "read the password from the connection",
    }],
    needs: Needs::App(Action::ManageRegistries),
    words: Words::Mixed,
    run: |invocation| Box::pin(login(invocation)),
};

const LOGOUT: Command = Command {
    name: "registry:logout",
    arguments: "APP|--global SERVER",
    summary: "forget a login at an image registry",
    details: &[],
    options: &[],
    needs: Needs::App(Action::ManageRegistries),
    words: Words::Mixed,
    run: |invocation| Box::pin(logout(invocation)),
};

const REPORT: Command = Command {
    name: "registry:report",
    arguments: "APP|--global [--format json]",
    summary: "show the logins at image registries, without passwords",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ManageRegistries),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

async fn login(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    let registry = registry(&mut invocation)?;
    let username = invocation.word("the name of the user there")?;
    let password = if invocation.has(PASSWORD_STDIN) {
        invocation.read_secret(limits::REGISTRY_LOGIN_BYTES_MAX, "A password").await?
    } else {
        invocation.word("a password: --password-stdin reads it")?
    };
    invocation.end()?;
    let login = RegistryLogin::new(registry, &username, &password)?;
    let done = format!("Login of {scope} at {} kept: {username}", login.registry);
    invocation.platform.registry_login(&invocation.actor, scope.app(), login).await?;
    invocation.done(done).await
}

async fn logout(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    let registry = registry(&mut invocation)?;
    invocation.end()?;
    invocation.platform.registry_logout(&invocation.actor, scope.app(), &registry).await?;
    invocation.done(format!("Login of {scope} at {registry} forgotten")).await
}

async fn report(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    invocation.end()?;
    let logins = invocation.platform.registry_logins(&invocation.actor, scope.app()).await?;
    if invocation.json()? {
        return invocation.print_json(&logins).await;
    }
    let mut lines = vec![Line::result(format!("Registry logins of {scope}"))];
    if logins.is_empty() {
        lines.push(Line::detail("none"));
    }
    lines
        .extend(logins.iter().map(|login| Line::detail(format!("{} as {}", login.registry, login.username))));
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Ok(invocation.output.text(&text).await?)
}

fn registry(invocation: &mut Invocation) -> Result<RegistryName, Refusal> {
    Ok(invocation.word("the host name of a registry")?.parse()?)
}
