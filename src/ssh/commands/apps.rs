//! Apps: `apps:*`, and where one is reached.

use std::time::Duration;

use autostack_domain::{AppName, Line, origin::Origin, permission::Action};
use autostack_platform::AppFacts;
use tokio::time::timeout;

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    refusal::{EXIT_FAILED, Refusal},
    report::Report,
};

/// How long somebody may take to confirm.
const CONFIRM: Duration = Duration::from_secs(120);

pub(crate) const COMMANDS: &[&Command] =
    &[&CREATE, &LIST, &REPORT, &EXISTS, &SET, &LOCK, &UNLOCK, &LOCKED, &RENAME, &CLONE, &DESTROY, &URL];

const CREATE: Command = Command {
    name: "apps:create",
    arguments: "APP",
    summary: "make an app that belongs to you",
    details: &["A first git push to a free name does the same."],
    options: &[],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(create(invocation)),
};

const LIST: Command = Command {
    name: "apps:list",
    arguments: "[--format json]",
    summary: "show the names of the apps that you may see",
    details: &["With --quiet nothing but names, a line each. apps:report says more of them."],
    options: &[FORMAT],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation)),
};

const REPORT: Command = Command {
    name: "apps:report",
    arguments: "[APP] [--format json]",
    summary: "show what is known of an app, or of all",
    details: &["One value: apps:report APP --apps-locked"],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

const EXISTS: Command = Command {
    name: "apps:exists",
    arguments: "APP",
    summary: "say by the exit code whether there is such an app",
    details: &["0: there is. 20: there is none that you may see."],
    options: &[],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(exists(invocation)),
};

const SET: Command = Command {
    name: "apps:set",
    arguments: "APP PROPERTY [VALUE]",
    summary: "note where an app's code comes from",
    details: &["PROPERTY is deploy-source or deploy-source-metadata. Without VALUE the note is taken away."],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(set(invocation)),
};

const LOCK: Command = Command {
    name: "apps:lock",
    arguments: "APP",
    summary: "let nothing be deployed to an app",
    details: &["What runs goes on. Pushes are refused before anything is sent."],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(lock(invocation)),
};

const UNLOCK: Command = Command {
    name: "apps:unlock",
    arguments: "APP",
    summary: "let an app be deployed to again",
    details: &[],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(unlock(invocation)),
};

const LOCKED: Command = Command {
    name: "apps:locked",
    arguments: "APP",
    summary: "say by the exit code whether an app is locked",
    details: &["0: it is. 1: it is not."],
    options: &[],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(locked(invocation)),
};

const RENAME: Command = Command {
    name: "apps:rename",
    arguments: "APP NEW_NAME",
    summary: "give an app another name",
    details: &[
        "Everything of it moves along: domains of its own, certificate, logs. Instances that know the new name start",
        "beside the others, which answer until then; afterwards the old name is free. Remotes of git keep the old one:",
        "git remote set-url.",
    ],
    options: &[],
    needs: Needs::App(Action::DestroyApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(rename(invocation)),
};

const CLONE: Command = Command {
    name: "apps:clone",
    arguments: "OLD_APP NEW_APP [--skip-deploy] [--ignore-existing]",
    summary: "make an app that is like another one",
    details: &[
        "It belongs to you, and has the code, config, settings and registry logins of the old one, but not its domains,",
        "redirects, certificate, members, mounted storage and logs. It runs the same build at once, unless told not to;",
        "ps:rebuild deploys it later. The old one is not touched. Tasks at set times are done in both: cron:suspend.",
    ],
    options: &[
        Flag { long: "--skip-deploy", short: None, value: None, summary: "start nothing" },
        Flag {
            long: "--ignore-existing",
            short: None,
            value: None,
            summary: "do nothing, and succeed, if you can see an app of the new name",
        },
    ],
    needs: Needs::App(Action::ManageConfig),
    words: Words::Mixed,
    run: |invocation| Box::pin(clone(invocation)),
};

const DESTROY: Command = Command {
    name: "apps:destroy",
    arguments: "APP [--force]",
    summary: "remove an app and everything of it, for good",
    details: &["Asks for the name of the app on standard input, unless --force is there."],
    options: &[],
    needs: Needs::App(Action::DestroyApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(destroy(invocation)),
};

const URL: Command = Command {
    name: "url",
    arguments: "APP",
    summary: "show where visitors reach an app",
    details: &[],
    options: &[],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(url(invocation)),
};

async fn create(mut invocation: Invocation) -> Result<(), Refusal> {
    let name = invocation.app()?;
    invocation.end()?;
    let app = invocation.platform.create_app(&invocation.actor, &name).await?;
    invocation.done(format!("Created {name}")).await?;
    invocation.detail(format!("After its first push it is at {}", app.url)).await
}

async fn list(mut invocation: Invocation) -> Result<(), Refusal> {
    invocation.end()?;
    let apps = invocation.platform.apps(&invocation.actor).await?;
    let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
    if invocation.json()? {
        return invocation.print_json(&names).await;
    }
    // Names stand at the very left, where scripts look for them.
    invocation.done("My Apps").await?;
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    Ok(invocation.output.text(&text).await?)
}

async fn report(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.maybe_app()?;
    invocation.end()?;
    let facts = invocation.platform.app_facts(&invocation.actor, app.as_ref()).await?;
    let reports: Vec<Report> = facts.iter().map(report_of).collect();
    match (app, reports.as_slice()) {
        (Some(_), [only]) => invocation.report(only).await,
        _ => invocation.reports(&reports).await,
    }
}

fn report_of(facts: &AppFacts) -> Report {
    let app = &facts.app;
    let or_empty = |value: &Option<String>| value.clone().unwrap_or_default();
    Report::new("apps", &app.name)
        .row("created-at", app.created_at.0 / 1000)
        .row("deploy-source", or_empty(&facts.source))
        .row("deploy-source-metadata", or_empty(&facts.source_metadata))
        .row("locked", app.settings.lock.is_some())
        .row("locked-by", app.settings.lock.as_ref().map_or("", |lock| lock.by.as_str()))
        .row("owner", &facts.owner)
        .row("release", app.current_release.map(|number| number.to_string()).unwrap_or_default())
}

async fn exists(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    invocation.platform.app_facts(&invocation.actor, Some(&app)).await?;
    invocation.done(format!("App {app} exists")).await
}

async fn set(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let key = invocation.word(&format!("a property: {}", Origin::KEYS.join(" or ")))?;
    let value = invocation.arguments.next().unwrap_or_default();
    invocation.end()?;
    let done = if value.is_empty() { format!("Unset {key} of {app}") } else { format!("Set {key} of {app}") };
    invocation.platform.note_origin(&invocation.actor, &app, key, value).await?;
    invocation.done(done).await
}

async fn lock(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let is_new = invocation.platform.lock_app(&invocation.actor, &app).await?;
    invocation.done(if is_new { "Deploy lock created" } else { "Deploy lock exists already" }).await
}

async fn unlock(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    if invocation.platform.unlock_app(&invocation.actor, &app).await? {
        invocation.done("Deploy lock removed").await
    } else {
        invocation.done("There was no deploy lock").await
    }
}

async fn locked(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    match invocation.platform.lock_of(&invocation.actor, &app).await? {
        Some(_) => invocation.done("Deploy lock exists").await,
        None => Err(Refusal::failed("Deploy lock does not exist")),
    }
}

async fn rename(mut invocation: Invocation) -> Result<(), Refusal> {
    let old = invocation.app()?;
    let new: AppName = invocation.word("the new name")?.parse()?;
    invocation.end()?;
    invocation.step(format!("Renaming {old} to {new}")).await?;
    let mut screen = invocation.screen();
    invocation.platform.rename_app(&invocation.actor, &old, &new, &mut screen).await?;
    invocation.done(format!("{old} is {new} now")).await
}

async fn clone(mut invocation: Invocation) -> Result<(), Refusal> {
    let old = invocation.app()?;
    let new: AppName = invocation.word("the name of the new app")?.parse()?;
    invocation.end()?;
    let (platform, actor) = (&invocation.platform, &invocation.actor);
    platform.check_right(actor, &old, Action::ManageConfig, "clone").await?;
    if invocation.has("--ignore-existing") && platform.app_facts(actor, Some(&new)).await.is_ok() {
        return invocation.done(format!("App {new} exists already")).await;
    }
    invocation.step(format!("Cloning {old} to {new}")).await?;
    let (mut screen, deploy) = (invocation.screen(), !invocation.has("--skip-deploy"));
    platform.clone_app(actor, &old, &new, deploy, &mut screen, &invocation.gone).await?;
    invocation.done(format!("{new} is a clone of {old}")).await
}

async fn destroy(mut invocation: Invocation) -> Result<(), Refusal> {
    let name = invocation.app()?;
    invocation.end()?;
    if !invocation.has("--force") {
        // Who may not even see the app learns nothing here.
        invocation.platform.url(&invocation.actor, &name).await?;
        confirm(&mut invocation, &name).await?;
    }
    invocation.platform.destroy_app(&invocation.actor, &name).await?;
    invocation.done(format!("Destroyed {name}")).await
}

/// Waits for the name of the app on a line of its own.
async fn confirm(invocation: &mut Invocation, name: &AppName) -> Result<(), Refusal> {
    let warning =
        format!("This removes {name} for good: its code, releases, config and logs, and what runs.");
    invocation.output.line(&Line::trouble(warning)).await?;
    invocation.output.line(&Line::trouble(format!("To proceed, type \"{name}\", or say --force."))).await?;
    let gone = invocation.gone.clone();
    let typed = tokio::select! {
        biased;
        () = gone.cancelled() => return Err(Refusal::Gone),
        typed = timeout(CONFIRM, first_line(invocation)) => typed.unwrap_or_default(),
    };
    if typed.trim() == name.as_str() {
        return Ok(());
    }
    let lines = vec!["Nothing was removed.".to_owned(), format!("Next: apps:destroy {name} --force")];
    Err(Refusal::Said { lines, exit_code: EXIT_FAILED })
}

/// What comes before the first line end, or before the end of the input; longer than any name it is of no use.
async fn first_line(invocation: &mut Invocation) -> String {
    const BYTES_MAX: usize = 1024;
    let mut typed = Vec::new();
    while let Some(chunk) = invocation.input.next().await {
        typed.extend_from_slice(chunk.as_ref());
        if typed.iter().any(|byte| matches!(byte, b'\n' | b'\r')) || typed.len() > BYTES_MAX {
            break;
        }
    }
    let line = typed.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

async fn url(mut invocation: Invocation) -> Result<(), Refusal> {
    let name = invocation.app()?;
    invocation.end()?;
    let url = invocation.platform.url(&invocation.actor, &name).await?;
    invocation.print(&url).await
}
