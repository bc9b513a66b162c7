//! Builds: which there were, what they said, and the end of one under way.

use std::sync::Arc;

use autostack_domain::{AppName, DeploymentId, DeploymentState, permission::Action, screen::Printable};
use autostack_logs::{Offset, Reader, Stream};
use autostack_platform::{BuildView, Which, builds::state_name};
use serde_json::{Value, json};

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    log_page::unreadable,
    log_style::{duration, time},
    refusal::Refusal,
    report::{Report, Table},
};

/// Builds that are listed where nobody says how many.
const BUILDS_DEFAULT: usize = 20;
/// Builds that are listed at once.
const BUILDS_MAX: usize = 1_000;
/// Text that is gathered before it is sent, in bytes, while more is there at once.
const BATCH_BYTES: usize = 32 * 1024;

pub(crate) const COMMANDS: &[&Command] = &[&LIST, &INFO, &OUTPUT, &CANCEL];

const LIST: Command = Command {
    name: "builds:list",
    arguments: "[APP] [-n N] [--format json]",
    summary: "show the last builds of an app, or of all that you may see",
    details: &["A build is an attempt to make something live, from its queue to its end."],
    options: &[
        Flag {
            long: "--num",
            short: Some("-n"),
            value: Some("N"),
            summary: "so many; 20 unless told otherwise",
        },
        FORMAT,
    ],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation)),
};

const INFO: Command = Command {
    name: "builds:info",
    arguments: "[APP] ID [--format json]",
    summary: "show all about one build: its stages, and why it failed",
    details: &["ID is the id of a build; with APP also v1, v2 … for the build of a release, and current."],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(info(invocation)),
};

const OUTPUT: Command = Command {
    name: "builds:output",
    arguments: "[APP] [ID | current]",
    summary: "show the log of a build, and follow one under way to its end",
    details: &["Without an ID it is the build under way, or else the last one."],
    options: &[],
    needs: Needs::App(Action::ReadLogs),
    words: Words::Mixed,
    run: |invocation| Box::pin(output(invocation)),
};

const CANCEL: Command = Command {
    name: "builds:cancel",
    arguments: "APP [ID]",
    summary: "end a build under way, from anywhere",
    details: &["Without an ID it is the oldest one that has not ended. What it has made is undone."],
    options: &[],
    needs: Needs::App(Action::Push),
    words: Words::Mixed,
    run: |invocation| Box::pin(cancel(invocation)),
};

async fn list(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.maybe_app()?;
    let limit = match invocation.value("--num") {
        None => BUILDS_DEFAULT,
        Some(given) => given.parse().ok().filter(|number| *number <= BUILDS_MAX).ok_or_else(|| {
            let given = Printable(given);
            invocation.usage(format!("--num needs a number of builds, {BUILDS_MAX} at most, not {given}."))
        })?,
    };
    invocation.end()?;
    let builds = invocation.platform.builds(&invocation.actor, app.as_ref(), limit).await?;
    if invocation.json()? {
        return invocation.print_json(&builds.iter().map(object).collect::<Vec<_>>()).await;
    }
    let title = app.map_or_else(|| "Builds".to_owned(), |app| format!("Builds of {app}"));
    let columns = &["id", "app", "state", "source", "started", "duration", "who"];
    let mut table = Table::new(title, columns);
    for build in &builds {
        table.push([
            build.id.to_string(),
            build.app.to_string(),
            state_name(build.state).to_owned(),
            build.source.clone(),
            time(build.started_at),
            took(build).map(duration).unwrap_or_default(),
            build.who.clone(),
        ]);
    }
    invocation.table(&table).await
}

/// A build for scripts.
fn object(build: &BuildView) -> Value {
    let stages: Vec<Value> = build
        .stages
        .iter()
        .map(|record| {
            let took = record.ended_at.map(|ended| seconds(ended.since(record.started_at)));
            json!({ "stage": record.stage, "started": time(record.started_at), "duration": took })
        })
        .collect();
    json!({
        "id": build.id,
        "app": build.app,
        "state": build.state,
        "source": build.source,
        "ref": build.git_ref,
        "release": build.release.map(|release| release.to_string()),
        "started": time(build.started_at),
        "ended": build.ended_at.map(time),
        "duration": took(build).map(seconds),
        "who": build.who,
        "stages": stages,
        "failure": build.failure,
    })
}

/// Milliseconds from its beginning to its end.
fn took(build: &BuildView) -> Option<u64> {
    build.ended_at.map(|ended| ended.since(build.started_at))
}

#[expect(clippy::cast_precision_loss, reason = "a build takes less than a thousand years")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

async fn info(mut invocation: Invocation) -> Result<(), Refusal> {
    let (app, which) = named(&mut invocation)?;
    let which = which.ok_or_else(|| invocation.usage("builds:info needs the id of a build."))?;
    invocation.end()?;
    let build = invocation.platform.build(&invocation.actor, app.as_ref(), &which).await?;
    if invocation.json()? {
        return invocation.print_json(&object(&build)).await;
    }
    let mut report = Report::new("builds", &build.app)
        .row("id", &build.id)
        .row("state", state_name(build.state))
        .row("source", &build.source)
        .row("who", &build.who)
        .row("started", time(build.started_at));
    if let Some(git_ref) = &build.git_ref {
        report = report.row("ref", git_ref);
    }
    if let Some(millis) = took(&build) {
        report = report.row("duration", duration(millis));
    }
    if let Some(release) = build.release {
        report = report.row("release", release);
    }
    for record in &build.stages {
        let took = record.ended_at.map(|ended| ended.since(record.started_at));
        report = report.row(format!("stage-{}", record.stage), took.map_or("under way".to_owned(), duration));
    }
    if let Some(failure) = &build.failure {
        report = report.row("ended-at", failure.stage).row("cause", &failure.cause);
        report = failure.evidence.iter().fold(report, |report, line| report.row("evidence", line));
        report = report.row("next", &failure.hint);
    }
    invocation.report(&report).await
}

async fn output(mut invocation: Invocation) -> Result<(), Refusal> {
    let (app, which) = named(&mut invocation)?;
    invocation.end()?;
    let which = which.unwrap_or(Which::Current);
    let (build, log) = invocation.platform.build_log(&invocation.actor, app.as_ref(), &which).await?;
    let is_ended = build.state.is_final();
    if is_ended {
        if show(&invocation, &log).await? {
            return Ok(());
        }
        return Err(Refusal::failed(format!("The log of build {} was removed by age.", build.id)));
    }
    follow(&invocation, log.reader(Offset::START)).await
}

/// Shows all that a build log holds; `false` where that is nothing.
pub(crate) async fn show(invocation: &Invocation, log: &Arc<Stream>) -> Result<bool, Refusal> {
    let mut reader = log.reader(Offset::START);
    let mut shown = false;
    loop {
        let text = ready(&mut reader)?;
        if text.is_empty() {
            return Ok(shown);
        }
        shown = true;
        invocation.output.text(&text).await?;
    }
}

/// Shows a build log as it grows, to its end.
async fn follow(invocation: &Invocation, mut reader: Reader) -> Result<(), Refusal> {
    loop {
        let next = tokio::select! {
            biased;
            () = invocation.gone.cancelled() => return Err(Refusal::Gone),
            () = invocation.stopping.cancelled() => return Err(Refusal::failed("The agent is stopping.")),
            next = reader.next() => next.map_err(unreadable)?,
        };
        let Some((_, entry)) = next else { return Ok(()) };
        let text = format!("{}\n", entry.to_line()) + &ready(&mut reader)?;
        invocation.output.text(&text).await?;
    }
}

/// The lines that are there now, up to what is sent at once.
fn ready(reader: &mut Reader) -> Result<String, Refusal> {
    let mut text = String::new();
    while text.len() < BATCH_BYTES
        && let Some((_, entry)) = reader.next_ready().map_err(unreadable)?
    {
        text.push_str(&format!("{}\n", entry.to_line()));
    }
    Ok(text)
}

async fn cancel(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let id: Option<DeploymentId> = invocation.arguments.next().map(|id| id.parse()).transpose()?;
    invocation.end()?;
    let ended = invocation.platform.cancel_build(&invocation.actor, &app, id.as_ref()).await?;
    match ended.state {
        DeploymentState::Cancelled => invocation.done(format!("Cancelled build {} of {app}", ended.id)).await,
        state if state.is_final() => {
            let state = state_name(state);
            Err(Refusal::failed(format!("Build {} of {app} was faster: {state}.", ended.id)))
        }
        _ => Err(Refusal::failed(format!("Build {} of {app} has not ended yet; it was told to.", ended.id))),
    }
}

/// `ID`, `APP` or `APP ID`.
fn named(invocation: &mut Invocation) -> Result<(Option<AppName>, Option<Which>), Refusal> {
    let mut words = invocation.rest();
    if let [only] = words.as_slice()
        && let Ok(id) = only.parse::<DeploymentId>()
        && !invocation.arguments.names_app()
    {
        return Ok((None, Some(Which::Id(id))));
    }
    let app = if invocation.arguments.names_app() || words.is_empty() {
        invocation.app()?
    } else {
        words.remove(0).parse()?
    };
    let which = if words.is_empty() { None } else { Some(words.remove(0).parse()?) };
    match words.first() {
        Some(extra) => {
            let name = invocation.command.name;
            Err(invocation.usage(format!("{name} does not know what {} is.", Printable(extra))))
        }
        None => Ok((Some(app), which)),
    }
}
