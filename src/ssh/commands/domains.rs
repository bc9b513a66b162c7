//! Where apps are reached: `domains:*`, `urls`.

use autostack_domain::{Address, AppName, Host, Invalid, permission::Action};
use autostack_platform::Reached;

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::{Invocation, Scope},
    refusal::Refusal,
    report::Report,
};

pub(crate) const COMMANDS: &[&Command] = &[
    &ADD,
    &REMOVE,
    &SET,
    &CLEAR,
    &RESET,
    &ENABLE,
    &DISABLE,
    &REPORT,
    &ADD_GLOBAL,
    &REMOVE_GLOBAL,
    &SET_GLOBAL,
    &CLEAR_GLOBAL,
    &URLS,
];

const STRIP: &str = "--strip-prefix";
const STRIP_PREFIX: Flag =
    Flag { long: STRIP, short: None, value: None, summary: "the app gets paths without the prefix" };

const ADD: Command = Command {
    name: "domains:add",
    arguments: "APP|--global DOMAIN [DOMAIN ...]",
    summary: "lead visitors of more hosts to an app",
    details: &[
        "A domain is a host (shop.example.com), every host below one (*.example.com), or a host with a path",
        "(example.com/api): the longest path wins, and a host before a wildcard.",
        "With --global every app has a name below it.",
    ],
    options: &[STRIP_PREFIX],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(change(invocation, What::Add)),
};

const REMOVE: Command = Command {
    name: "domains:remove",
    arguments: "APP|--global DOMAIN [DOMAIN ...]",
    summary: "lead visitors of hosts to an app no more",
    run: |invocation| Box::pin(change(invocation, What::Remove)),
    details: &[],
    options: &[],
    ..ADD
};

const SET: Command = Command {
    name: "domains:set",
    arguments: "APP|--global DOMAIN [DOMAIN ...]",
    summary: "give an app these domains in place of all that it has",
    details: &[],
    run: |invocation| Box::pin(change(invocation, What::Set)),
    ..ADD
};

const CLEAR: Command = Command {
    name: "domains:clear",
    arguments: "APP|--global",
    summary: "take every domain from an app",
    details: &["With --global the domain of the agent's settings is used again."],
    options: &[],
    run: |invocation| Box::pin(clear(invocation)),
    ..ADD
};

const RESET: Command = Command {
    name: "domains:reset",
    arguments: "APP",
    summary: "take every domain from an app but those below the host's own",
    details: &[],
    options: &[],
    run: |invocation| Box::pin(reset(invocation)),
    ..ADD
};

const ENABLE: Command = Command {
    name: "domains:enable",
    arguments: "APP",
    summary: "let visitors reach an app by its domains",
    details: &[],
    options: &[],
    run: |invocation| Box::pin(enable(invocation, true)),
    ..ADD
};

const DISABLE: Command = Command {
    name: "domains:disable",
    arguments: "APP",
    summary: "keep the domains of an app, and lead nobody there",
    details: &[],
    options: &[],
    run: |invocation| Box::pin(enable(invocation, false)),
    ..ADD
};

const REPORT: Command = Command {
    name: "domains:report",
    arguments: "[APP|--global]",
    summary: "show how apps are reached",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

const ADD_GLOBAL: Command = Command {
    name: "domains:add-global",
    arguments: "DOMAIN [DOMAIN ...]",
    summary: "give every app a name below one more domain",
    details: &[],
    options: &[],
    needs: Needs::Host,
    words: Words::Mixed,
    run: |invocation| Box::pin(change_global(invocation, What::Add)),
};

const REMOVE_GLOBAL: Command = Command {
    name: "domains:remove-global",
    summary: "take the names below a domain from all apps",
    run: |invocation| Box::pin(change_global(invocation, What::Remove)),
    ..ADD_GLOBAL
};

const SET_GLOBAL: Command = Command {
    name: "domains:set-global",
    summary: "give every app a name below these domains, and no others",
    run: |invocation| Box::pin(change_global(invocation, What::Set)),
    ..ADD_GLOBAL
};

const CLEAR_GLOBAL: Command = Command {
    name: "domains:clear-global",
    arguments: "",
    summary: "use the domain of the agent's settings again",
    run: |invocation| Box::pin(clear_global(invocation)),
    ..ADD_GLOBAL
};

const URLS: Command = Command {
    name: "urls",
    arguments: "APP",
    summary: "show every URL of an app",
    details: &[],
    options: &[],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(urls(invocation)),
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Add,
    Remove,
    Set,
}

async fn change(mut invocation: Invocation, what: What) -> Result<(), Refusal> {
    let Scope::App(app) = invocation.scope()? else { return change_global(invocation, what).await };
    let strip_prefix = invocation.has(STRIP);
    let given = invocation.rest();
    if given.is_empty() {
        return Err(invocation.usage(format!("{} needs a domain.", invocation.command.name)));
    }
    invocation.end()?;
    let parse = |word: &String| Ok(Address { strip_prefix, ..word.parse()? });
    let addresses = given.iter().map(parse).collect::<Result<Vec<Address>, Invalid>>()?;
    let (platform, actor) = (&invocation.platform, &invocation.actor);
    match what {
        What::Add => {
            let added = platform.add_domains(actor, &app, addresses.clone()).await?;
            for address in addresses {
                let said = if added.contains(&address) { "Added" } else { "Already there:" };
                say(&invocation, &format!("{said} {address} to {app}")).await?;
            }
        }
        What::Remove => {
            platform.remove_domains(actor, &app, addresses.clone()).await?;
            for address in addresses {
                say(&invocation, &format!("Removed {address} from {app}")).await?;
            }
        }
        What::Set => {
            let names = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            platform.set_domains(actor, &app, addresses).await?;
            say(&invocation, &format!("Set {names} for {app}")).await?;
        }
    }
    show_urls(&invocation, &app).await
}

async fn say(invocation: &Invocation, text: &str) -> Result<(), Refusal> {
    if invocation.has("--quiet") {
        return Ok(());
    }
    Ok(invocation.output.line(&autostack_domain::Line::step(text)).await?)
}

async fn show_urls(invocation: &Invocation, app: &AppName) -> Result<(), Refusal> {
    let urls = invocation.platform.urls(&invocation.actor, app).await?;
    if urls.is_empty() {
        return invocation.detail(format!("{app} is not reached by name now")).await;
    }
    for url in urls {
        invocation.detail(url).await?;
    }
    Ok(())
}

async fn clear(mut invocation: Invocation) -> Result<(), Refusal> {
    let Scope::App(app) = invocation.scope()? else { return clear_global(invocation).await };
    invocation.end()?;
    invocation.platform.clear_domains(&invocation.actor, &app, false).await?;
    invocation.done(format!("Cleared the domains of {app}")).await?;
    show_urls(&invocation, &app).await
}

async fn reset(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    invocation.platform.clear_domains(&invocation.actor, &app, true).await?;
    invocation.done(format!("Reset the domains of {app}")).await?;
    show_urls(&invocation, &app).await
}

async fn enable(mut invocation: Invocation, is_enabled: bool) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    invocation.platform.enable_domains(&invocation.actor, &app, is_enabled).await?;
    let said = if is_enabled { "enabled" } else { "disabled" };
    invocation.done(format!("Domains of {app} {said}")).await?;
    show_urls(&invocation, &app).await
}

async fn change_global(mut invocation: Invocation, what: What) -> Result<(), Refusal> {
    let _about_the_host = invocation.arguments.take_global();
    let given = invocation.rest();
    if given.is_empty() {
        return Err(invocation.usage(format!("{} needs a domain.", invocation.command.name)));
    }
    if invocation.has(STRIP) {
        return Err(invocation.usage("A domain of the host has no path."));
    }
    invocation.end()?;
    let hosts = given.iter().map(|word| word.parse()).collect::<Result<Vec<Host>, Invalid>>()?;
    let (kind, said) = match what {
        What::Add => ("domains:add-global", "Added"),
        What::Remove => ("domains:remove-global", "Removed"),
        What::Set => ("domains:set-global", "Set"),
    };
    let change = move |domains: &mut Vec<Host>| {
        match what {
            What::Add => domains
                .extend(hosts.iter().filter(|host| !domains.contains(host)).cloned().collect::<Vec<_>>()),
            What::Remove => {
                if let Some(unknown) = hosts.iter().find(|host| !domains.contains(host)) {
                    return Err(Invalid::new(
                        "global domain",
                        unknown.as_str(),
                        "the host has no such domain",
                    )
                    .into());
                }
                domains.retain(|domain| !hosts.contains(domain));
            }
            What::Set => *domains = hosts,
        }
        Ok(())
    };
    invocation.platform.change_global_domains(&invocation.actor, kind, change).await?;
    invocation.done(format!("{said} {}", given.join(" "))).await?;
    invocation
        .detail(format!("Every app is reached below {}", shown(&invocation.platform.global_domains())))
        .await
}

async fn clear_global(mut invocation: Invocation) -> Result<(), Refusal> {
    let _about_the_host = invocation.arguments.take_global();
    invocation.end()?;
    let clear = |domains: &mut Vec<Host>| {
        domains.clear();
        Ok(())
    };
    invocation.platform.change_global_domains(&invocation.actor, "domains:clear-global", clear).await?;
    invocation.done("Cleared the domains of the host").await?;
    let now = shown(&invocation.platform.global_domains());
    invocation.detail(format!("Every app is reached below {now}, as the settings say")).await
}

async fn report(mut invocation: Invocation) -> Result<(), Refusal> {
    if invocation.arguments.take_global() {
        invocation.end()?;
        let global = invocation.platform.global_domains();
        return invocation.report(&global_rows(Report::new("domains", "global"), &global)).await;
    }
    let app = invocation.maybe_app()?;
    invocation.end()?;
    match app {
        Some(app) => {
            let reached = invocation.platform.reached(&invocation.actor, &app).await?;
            invocation.report(&report_of(&reached)).await
        }
        None => {
            let all = invocation.platform.all_reached(&invocation.actor).await?;
            invocation.reports(&all.iter().map(report_of).collect::<Vec<_>>()).await
        }
    }
}

fn report_of(reached: &Reached) -> Report {
    let report = Report::new("domains", &reached.app)
        .row("app-enabled", reached.traffic.domains_enabled)
        .row("app-vhosts", shown(&reached.addresses));
    global_rows(report, &reached.global)
}

fn global_rows(report: Report, global: &[Host]) -> Report {
    report.row("global-enabled", !global.is_empty()).row("global-vhosts", shown(global))
}

fn shown(names: &[impl ToString]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

async fn urls(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let urls = invocation.platform.urls(&invocation.actor, &app).await?;
    // A wildcard is no place that a browser could go to.
    for url in urls.iter().filter(|url| !url.contains('*')) {
        invocation.print(url).await?;
    }
    Ok(())
}
