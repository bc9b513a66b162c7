//! Checks: `checks:report`, `checks:set`, `checks:run`, `checks:enable`, `checks:disable`, `checks:skip`.

use autostack_domain::{
    AppName, Line, ProcessType,
    checks::{CheckMode, CheckProperty},
    permission::{Action, Actor},
};
use autostack_platform::{Platform, checks::ChecksView};

use crate::commands::{
    command::{Command, FORMAT, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
    report::Report,
};

pub(crate) const COMMANDS: &[&Command] = &[&REPORT, &SET, &RUN, &ENABLE, &DISABLE, &SKIP];

const REPORT: Command = Command {
    name: "checks:report",
    arguments: "[APP] [--checks-wait-to-retire] [--format json]",
    summary: "show how releases replace one another",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

const SET: Command = Command {
    name: "checks:set",
    arguments: "APP wait-to-retire|attempts|wait|timeout|path [VALUE]",
    summary: "set a property of the checks; without a value it is as before",
    details: &[
        "wait-to-retire: seconds that old instances get to finish what they were given; those that have, end at once",
        "attempts, wait, timeout: how often, with how many seconds between, and how many seconds an attempt takes",
        "path: what startup checks of web ask for, in place of those in app.json",
    ],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(set(invocation)),
};

const RUN: Command = Command {
    name: "checks:run",
    arguments: "APP [TYPE|TYPE.N]",
    summary: "ask the instances that run now",
    details: &["It fails where one of them does."],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(run(invocation)),
};

const ENABLE: Command = Command {
    name: "checks:enable",
    arguments: "APP [TYPE,TYPE …]",
    summary: "new instances pass their checks before old ones end",
    details: &[],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(mode(invocation, CheckMode::Enabled)),
};

const DISABLE: Command = Command {
    name: "checks:disable",
    arguments: "APP [TYPE,TYPE …]",
    summary: "old instances end before new ones start: nobody answers meanwhile",
    details: &[
        "For what must not run twice at once. Where the new release fails, the old one is started again.",
    ],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(mode(invocation, CheckMode::Disabled)),
};

const SKIP: Command = Command {
    name: "checks:skip",
    arguments: "APP [TYPE,TYPE …]",
    summary: "new instances count as ready as soon as they run",
    details: &[],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(mode(invocation, CheckMode::Skipped)),
};

async fn mode(mut invocation: Invocation, mode: CheckMode) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let words = invocation.rest();
    invocation.end()?;
    let names = words.iter().flat_map(|word| word.split(',')).filter(|name| !name.is_empty());
    let processes: Vec<ProcessType> = names.map(str::parse).collect::<Result<_, _>>()?;
    let whose = match processes.as_slice() {
        [] => "all".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    };
    let now = invocation.platform.set_check_mode(&invocation.actor, &app, mode, processes).await?;
    let verb = match mode {
        CheckMode::Enabled => "Enabling",
        CheckMode::Skipped => "Skipping",
        CheckMode::Disabled => "Disabling",
    };
    invocation.done(format!("{verb} zero downtime checks of {app} ({whose})")).await?;
    invocation.detail(format!("disabled: {}", now.list(CheckMode::Disabled))).await?;
    invocation.detail(format!("skipped: {}", now.list(CheckMode::Skipped))).await
}

async fn set(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let property = CheckProperty::named(&invocation.word("the name of a property")?)?;
    let value = invocation.arguments.next().unwrap_or_default();
    invocation.end()?;
    invocation.platform.set_check_property(&invocation.actor, &app, property, value.clone()).await?;
    let name = property.name();
    let done =
        if value.is_empty() { format!("Unsetting {name}") } else { format!("Setting {name} to {value}") };
    invocation.done(done).await
}

async fn run(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let only = invocation.arguments.next();
    invocation.end()?;
    let results = invocation.platform.run_checks(&invocation.actor, &app, only.as_deref()).await?;
    let mut failed = 0;
    for result in &results {
        invocation.output.line(&Line::step(format!("Running checks for {app}.{}", result.instance))).await?;
        for line in &result.lines {
            invocation.output.line(&Line::detail(line.clone())).await?;
        }
        if let Some(failure) = &result.failure {
            failed += 1;
            invocation.output.line(&Line::trouble(failure.clone())).await?;
        }
    }
    if failed > 0 {
        return Err(Refusal::failed(format!(
            "{failed} of {} instances did not pass their checks.",
            results.len()
        )));
    }
    invocation.done("All checks passed").await
}

async fn report(invocation: Invocation) -> Result<(), Refusal> {
    let of = async |platform: &Platform, actor: &Actor, app: &AppName| {
        Ok(report_of(&platform.checks(actor, app).await?))
    };
    invocation.report_each(of).await
}

fn report_of(view: &ChecksView) -> Report {
    let (settings, host) = (&view.settings, view.host_wait_to_retire);
    let mut report = Report::new("checks", &view.app)
        .row("disabled-list", settings.list(CheckMode::Disabled))
        .row("skipped-list", settings.list(CheckMode::Skipped))
        .row("computed-wait-to-retire", settings.wait_to_retire().unwrap_or(host).as_secs())
        .row("global-wait-to-retire", host.as_secs());
    for property in CheckProperty::ALL {
        report = report.row(property.name(), settings.shown(property));
    }
    report
}
