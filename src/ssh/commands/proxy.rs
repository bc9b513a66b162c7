//! The proxy in front of apps: `proxy:*`, `ports:*`. One proxy serves all apps on one port, so what Dokku lets people
//! choose is told here, and what cannot be chosen is refused in words.

use autostack_domain::permission::Action;
use autostack_platform::Reached;

use crate::commands::{
    command::{Command, FORMAT, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
    report::{Report, Table},
};

pub(crate) const COMMANDS: &[&Command] = &[
    &ENABLE,
    &DISABLE,
    &BUILD_CONFIG,
    &REPORT,
    &PORTS_LIST,
    &PORTS_REPORT,
    &PORTS_ADD,
    &PORTS_SET,
    &PORTS_REMOVE,
    &PORTS_CLEAR,
];

const ENABLE: Command = Command {
    name: "proxy:enable",
    arguments: "APP",
    summary: "lead visitors to an app",
    details: &[],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(enable(invocation, true)),
};

const DISABLE: Command = Command {
    name: "proxy:disable",
    summary: "lead no visitors to an app, which goes on running",
    run: |invocation| Box::pin(enable(invocation, false)),
    ..ENABLE
};

const BUILD_CONFIG: Command = Command {
    name: "proxy:build-config",
    summary: "tell the proxy anew how an app is reached",
    details: &["Never needed: every change is published at once."],
    run: |invocation| Box::pin(build_config(invocation)),
    ..ENABLE
};

const REPORT: Command = Command {
    name: "proxy:report",
    arguments: "[APP]",
    summary: "show what the proxy does for apps",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

const PORTS_LIST: Command = Command {
    name: "ports:list",
    arguments: "APP",
    summary: "show on which port visitors reach an app",
    run: |invocation| Box::pin(ports_list(invocation)),
    ..REPORT
};

const PORTS_REPORT: Command = Command {
    name: "ports:report",
    summary: "show on which ports visitors reach apps",
    run: |invocation| Box::pin(ports_report(invocation)),
    ..REPORT
};

const PORTS_ADD: Command = Command {
    name: "ports:add",
    arguments: "APP SCHEME:PORT:APP_PORT",
    summary: "refused: every app is reached on the port of the proxy",
    details: &[
        "An app listens on $PORT. A container listens on the PORT of its config, else on what it exposes.",
    ],
    run: |invocation| Box::pin(ports_fixed(invocation)),
    ..ENABLE
};

const PORTS_SET: Command = Command { name: "ports:set", ..PORTS_ADD };
const PORTS_REMOVE: Command = Command { name: "ports:remove", ..PORTS_ADD };
const PORTS_CLEAR: Command = Command { name: "ports:clear", arguments: "APP", ..PORTS_ADD };

async fn enable(mut invocation: Invocation, is_enabled: bool) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    invocation.platform.enable_proxy(&invocation.actor, &app, is_enabled).await?;
    let said = if is_enabled { "enabled" } else { "disabled" };
    invocation.done(format!("Proxy of {app} {said}")).await
}

async fn build_config(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    invocation.platform.publish_again(&invocation.actor, &app).await?;
    invocation.done(format!("Published how {app} is reached")).await
}

async fn report(invocation: Invocation) -> Result<(), Refusal> {
    let port = invocation.platform.http_port();
    let of_app = |reached: &Reached| {
        Report::new("proxy", &reached.app)
            .row("enabled", reached.traffic.proxy_enabled)
            .row("type", "autostack")
            .row("port-map", format!("http:{port}"))
            .row("maintenance", reached.traffic.rules.maintenance)
            .row("http-auth", !reached.traffic.rules.http_auth.is_empty())
            .row("redirects", reached.traffic.rules.redirects.len())
    };
    reports(invocation, of_app).await
}

async fn ports_report(invocation: Invocation) -> Result<(), Refusal> {
    let port = invocation.platform.http_port();
    let of_app = |reached: &Reached| {
        Report::new("ports", &reached.app).row("map", "").row("map-detected", format!("http:{port}:$PORT"))
    };
    reports(invocation, of_app).await
}

/// A report of one app, or of all that somebody may see.
pub(crate) async fn reports(
    mut invocation: Invocation,
    of_app: impl Fn(&Reached) -> Report,
) -> Result<(), Refusal> {
    let app = invocation.maybe_app()?;
    invocation.end()?;
    match app {
        Some(app) => {
            let reached = invocation.platform.reached(&invocation.actor, &app).await?;
            invocation.report(&of_app(&reached)).await
        }
        None => {
            let all = invocation.platform.all_reached(&invocation.actor).await?;
            invocation.reports(&all.iter().map(of_app).collect::<Vec<_>>()).await
        }
    }
}

async fn ports_list(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let _may_see = invocation.platform.reached(&invocation.actor, &app).await?;
    let mut table =
        Table::new(format!("Port mappings for {app}"), &["scheme", "host-port", "container-port"]);
    table.push(["http".to_owned(), invocation.platform.http_port().to_string(), "$PORT".to_owned()]);
    invocation.table(&table).await
}

async fn ports_fixed(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let _mappings = invocation.rest();
    invocation.end()?;
    let what = "change the ports of";
    invocation.platform.check_right(&invocation.actor, &app, Action::Operate, what).await?;
    let port = invocation.platform.http_port();
    Err(Refusal::Said {
        lines: vec![
            format!(
                "The ports of {app} are fixed: visitors come on port {port}, and the app listens on $PORT."
            ),
            format!("Next: config:set {app} PORT=5000 says on which port a container of it listens"),
        ],
        exit_code: crate::commands::refusal::EXIT_FAILED,
    })
}
