//! Releases: `releases:list`, `releases:info`, `rollback`.

use autostack_domain::{ReleaseNumber, UnixMillis, permission::Action};
use autostack_platform::{Outcome, PlatformError};

use crate::commands::{
    command::{Command, FORMAT, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
    report::{Report, Table},
};

pub(crate) const COMMANDS: &[&Command] = &[&LIST, &INFO, &ROLLBACK];

const LIST: Command = Command {
    name: "releases:list",
    arguments: "APP [--format json]",
    summary: "list the app's releases, the newest first",
    details: &[
        "Each push, change of the config and rollback that went live is a release.",
        "As many are kept with their artifacts as the setting releases.keep says.",
    ],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation)),
};

const INFO: Command = Command {
    name: "releases:info",
    arguments: "APP [vN] [--format json]",
    summary: "show a release; without a number the live one",
    details: &[
        "Who may read the config sees the names of the variables that differ from the release before.",
    ],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(info(invocation)),
};

const ROLLBACK: Command = Command {
    name: "rollback",
    arguments: "APP [vN]",
    summary: "go back to code and config of an earlier release",
    details: &[
        "Without a number: the release before the live one, so a second rollback undoes the first.",
        "Nothing is built and the release command does not run. Code and config go back; the formation stays.",
        "The git repository stays as it is: the next push deploys what is pushed.",
    ],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(rollback(invocation)),
};

async fn list(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let releases = invocation.platform.releases(&invocation.actor, &app).await?;
    if invocation.json()? {
        return invocation.print_json(&releases).await;
    }
    let columns = &["version", "status", "description", "source", "by", "created-at"];
    let mut table = Table::new(format!("Releases of {app}"), columns);
    for release in releases {
        table.push([
            release.version.to_string(),
            if release.is_live { "live".to_owned() } else { String::new() },
            release.description,
            release.source,
            release.by.unwrap_or_default(),
            at(release.created_at),
        ]);
    }
    invocation.table(&table).await
}

async fn info(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let number = number(&mut invocation)?;
    invocation.end()?;
    let release = invocation.platform.release(&invocation.actor, &app, number).await?;
    if invocation.json()? {
        return invocation.print_json(&release).await;
    }
    let view = &release.view;
    let mut report = Report::new("releases", &app)
        .row("version", view.version)
        .row("live", view.is_live)
        .row("description", &view.description)
        .row("source", &view.source)
        .row("artifact", release.artifact)
        .row("built-by", &release.built_by)
        .row("deployment", &release.deployment)
        .row("by", view.by.as_deref().unwrap_or_default())
        .row("created-at", at(view.created_at))
        .row("formation", &release.formation);
    if let Some(again) = view.again {
        report = report.row("artifact-of", again);
    }
    for (process, command) in &release.processes {
        let command = command.as_deref().unwrap_or("(the command of the image)");
        report = report.row(format!("process-{process}"), command);
    }
    if let Some(changes) = &release.config_changes {
        report = report.row("config-changes", changes.join(" "));
    }
    invocation.report(&report).await
}

async fn rollback(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let number = number(&mut invocation)?;
    invocation.end()?;
    let mut screen = invocation.screen();
    let back =
        invocation.platform.rollback(&invocation.actor, &app, number, &mut screen, &invocation.gone).await;
    ended(back)
}

/// `v3` or `3`, where there is one.
fn number(invocation: &mut Invocation) -> Result<Option<ReleaseNumber>, Refusal> {
    Ok(invocation.arguments.next().map(|word| word.parse()).transpose()?)
}

/// A failure was shown line by line; what is left is the exit code.
pub(crate) fn ended(deployed: Result<Outcome, PlatformError>) -> Result<(), Refusal> {
    match deployed? {
        Outcome::Live(_) => Ok(()),
        Outcome::Failed => Err(Refusal::shown()),
    }
}

/// A moment as people read it.
fn at(moment: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(moment.0).map_or_else(|_| moment.0.to_string(), |at| format!("{at:.0}"))
}
