//! Cron: `cron:list`, `cron:run`, `cron:runs`, `cron:logs`, `cron:suspend`, `cron:resume`, `cron:set`, `cron:report`.

use std::time::Duration;

use autostack_domain::{
    AppName, Exit, Line, UnixMillis,
    cron::{CronOutcome, CronRun, CronTaskId},
    permission::{Action, Actor},
    screen::Printable,
};
use autostack_logs::{Entry, LogError, Offset, Origin, Reader};
use autostack_platform::{Platform, PlatformError, cron::CronView};
use tokio::time::sleep;

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
    report::{Report, Table},
};

pub(crate) const COMMANDS: &[&Command] = &[&LIST, &RUN, &RUNS, &LOGS, &SUSPEND, &RESUME, &SET, &REPORT];

/// How often it is looked whether a run that somebody watches has ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The longest list of runs.
const RUNS_SHOWN: usize = 20;

const DETACH: Flag = Flag {
    long: "--detach",
    short: None,
    value: None,
    summary: "do not wait for its end; its lines are in the app's log",
};
const ALL: Flag = Flag { long: "--all", short: None, value: None, summary: "every task of the app" };
const NUM: Flag =
    Flag { long: "--num", short: Some("-n"), value: Some("NUMBER"), summary: "so many of the last runs" };

const LIST: Command = Command {
    name: "cron:list",
    arguments: "APP [--format json]",
    summary: "show the tasks that app.json has done at set times",
    details: &[
        "\"cron\": [{\"command\": \"npm run mail\", \"schedule\": \"@daily\"}] in app.json; a schedule may begin with seconds.",
    ],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation)),
};

const RUN: Command = Command {
    name: "cron:run",
    arguments: "APP ID [--detach]",
    summary: "run a task now; the exit code is its own",
    details: &[],
    options: &[DETACH],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(run(invocation)),
};

const RUNS: Command = Command {
    name: "cron:runs",
    arguments: "APP [ID] [-n NUMBER] [--format json]",
    summary: "show the last runs and how they ended",
    details: &["A run that was due while no agent ran is not made up for."],
    options: &[NUM, FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(runs(invocation)),
};

const LOGS: Command = Command {
    name: "cron:logs",
    arguments: "APP ID",
    summary: "show what the last run of a task wrote",
    details: &[],
    options: &[],
    needs: Needs::App(Action::ReadLogs),
    words: Words::Mixed,
    run: |invocation| Box::pin(logs(invocation)),
};

const SUSPEND: Command = Command {
    name: "cron:suspend",
    arguments: "APP ID|--all",
    summary: "let a task run no more when it is due",
    details: &["What is under way goes on. A new release changes nothing about it."],
    options: &[ALL],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(suspend(invocation, true)),
};

const RESUME: Command = Command {
    name: "cron:resume",
    arguments: "APP ID|--all",
    summary: "let a task run again when it is due",
    details: &["What was due meanwhile is not made up for."],
    options: &[ALL],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(suspend(invocation, false)),
};

const SET: Command = Command {
    name: "cron:set",
    arguments: "APP maintenance|timezone [VALUE]",
    summary: "set how tasks run; without a value it is as before",
    details: &[
        "maintenance true: none of the app's tasks runs",
        "timezone Europe/Berlin: the schedules are meant so; else the host's setting counts",
    ],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(set(invocation)),
};

const REPORT: Command = Command {
    name: "cron:report",
    arguments: "[APP] [--cron-task-count] [--format json]",
    summary: "show how many tasks apps have, and how they are set",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

async fn list(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let view = invocation.platform.cron(&invocation.actor, &app).await?;
    if invocation.json()? {
        let tasks = view.tasks.iter().map(|view| {
            serde_json::json!({
                "id": view.task.id.as_str(), "app": app.as_str(), "command": view.task.command,
                "schedule": view.task.schedule.as_str(), "concurrency_policy": view.task.concurrency.name(),
                "maintenance": !view.runs, "next": view.next,
            })
        });
        return invocation.print_json(&tasks.collect::<Vec<_>>()).await;
    }
    let mut table = Table::new(
        format!("Cron tasks of {app}"),
        &["id", "schedule", "concurrency", "maintenance", "next", "command"],
    );
    for view in &view.tasks {
        let task = &view.task;
        table.push([
            task.id.to_string(),
            task.schedule.to_string(),
            task.concurrency.name().to_owned(),
            (!view.runs).to_string(),
            view.next.clone().unwrap_or_else(|| "-".to_owned()),
            task.command.clone(),
        ]);
    }
    invocation.table(&table).await
}

async fn run(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let id: CronTaskId = id(&mut invocation)?;
    invocation.end()?;
    let run = invocation.platform.run_cron(&invocation.actor, &app, &id).await?;
    if invocation.has(DETACH.long) {
        invocation.done(format!("Running cron task {id} of {app}")).await?;
        return invocation.detail(format!("Next: cron:logs {app} {id}")).await;
    }
    match watch(&invocation, &app, run).await? {
        CronOutcome::Ended(exit) if exit.is_success() => Ok(()),
        CronOutcome::Ended(Exit::Code(code)) => {
            let exit_code = u8::try_from(code).unwrap_or(1);
            Err(Refusal::Said { lines: vec![format!("The cron task exited with code {code}.")], exit_code })
        }
        other => Err(Refusal::failed(format!("The cron task {other}."))),
    }
}

/// Shows the lines of a run as they come, until it has ended; how it did.
async fn watch(invocation: &Invocation, app: &AppName, begun: CronRun) -> Result<CronOutcome, Refusal> {
    let (task, due_at) = (begun.task.clone(), Some(begun.due_at));
    let look = async || {
        let found = invocation.platform.cron_run(&invocation.actor, app, &task, due_at).await?;
        Ok::<_, Refusal>(found)
    };
    let (run, log) = look().await?;
    let mut reader = log.reader(Offset(run.log.0));
    loop {
        // In this order: what a run that has ended wrote is in the log by then.
        let (run, _) = look().await?;
        show(invocation, &mut reader, &run, run.ended_at.and(run.log.1)).await?;
        if run.ended_at.is_some() {
            return Ok(run.outcome);
        }
        tokio::select! {
            () = invocation.gone.cancelled() => return Err(Refusal::Gone),
            () = invocation.stopping.cancelled() => {
                return Err(Refusal::failed("The agent is stopping; the run goes on: cron:logs shows it."));
            }
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

/// Shows the lines of a run that are there now, up to an offset.
async fn show(
    invocation: &Invocation,
    reader: &mut Reader,
    run: &CronRun,
    until: Option<u64>,
) -> Result<(), Refusal> {
    let mut text = String::new();
    while until.is_none_or(|until| reader.offset().0 < until) {
        let Some((_, entry)) = reader.next_ready().map_err(unreadable)? else { break };
        if is_of(run, &entry) {
            text.push_str(&format!("{}\n", Printable(&entry.text_lossy())));
        }
    }
    Ok(invocation.output.text(&text).await?)
}

fn is_of(run: &CronRun, entry: &Entry) -> bool {
    matches!(&entry.origin, Origin::Instance { instance, .. } if run.instance.as_ref() == Some(instance))
}

fn unreadable(error: LogError) -> Refusal {
    Refusal::from(PlatformError::from(error))
}

async fn logs(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let id: CronTaskId = id(&mut invocation)?;
    invocation.end()?;
    let (run, log) = invocation.platform.cron_run(&invocation.actor, &app, &id, None).await?;
    let mut reader = log.reader(Offset(run.log.0));
    show(&invocation, &mut reader, &run, run.log.1).await?;
    if run.ended_at.is_none() || invocation.has("--quiet") {
        return Ok(());
    }
    invocation.output.line(&Line::detail(format!("The run {}", run.outcome))).await?;
    Ok(())
}

async fn runs(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let id = invocation.arguments.next().map(|id| id.parse::<CronTaskId>()).transpose()?;
    invocation.end()?;
    let shown = match invocation.value(NUM.long) {
        None => RUNS_SHOWN,
        Some(given) => given
            .parse::<usize>()
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| invocation.usage(format!("{} is not a number of runs.", Printable(given))))?,
    };
    let runs = invocation.platform.cron_runs(&invocation.actor, &app, id.as_ref()).await?;
    let columns = &["due", "id", "outcome", "seconds", "release", "by", "command"];
    let mut table = Table::new(format!("Cron runs of {app}"), columns);
    for run in &runs[runs.len().saturating_sub(shown)..] {
        let seconds = run.ended_at.map(|end| format!("{:.1}", millis(end.since(run.started_at)) / 1_000.0));
        table.push([
            moment(run.due_at),
            run.task.to_string(),
            run.outcome.to_string(),
            seconds.unwrap_or_else(|| "-".to_owned()),
            run.release.to_string(),
            run.by.clone().unwrap_or_else(|| "schedule".to_owned()),
            run.command.clone(),
        ]);
    }
    invocation.table(&table).await
}

/// For people: beyond nine quadrillion milliseconds nobody counts.
#[expect(clippy::cast_precision_loss, reason = "a duration in tenths of a second, for people")]
fn millis(millis: u64) -> f64 {
    millis as f64
}

fn moment(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |at| format!("{at:.0}"))
}

async fn suspend(mut invocation: Invocation, suspend: bool) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let id = if invocation.has(ALL.long) { None } else { Some(id(&mut invocation)?) };
    invocation.end()?;
    let ids = invocation.platform.suspend_cron(&invocation.actor, &app, id, suspend).await?;
    let verb = if suspend { "Suspended" } else { "Resumed" };
    for id in ids {
        invocation.done(format!("{verb} cron task {id} of {app}")).await?;
    }
    Ok(())
}

async fn set(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let property = invocation.word("maintenance or timezone")?;
    let value = invocation.arguments.next().unwrap_or_default();
    invocation.end()?;
    match property.as_str() {
        "maintenance" => {
            let on = match value.as_str() {
                "true" => true,
                "false" | "" => false,
                _ => return Err(invocation.usage("maintenance is true or false.")),
            };
            invocation.platform.set_cron_maintenance(&invocation.actor, &app, on).await?;
        }
        "timezone" => {
            let zone = (!value.is_empty()).then(|| value.parse()).transpose()?;
            invocation.platform.set_cron_time_zone(&invocation.actor, &app, zone).await?;
        }
        other => {
            return Err(invocation.usage(format!(
                "There is no property {}, only maintenance and timezone.",
                Printable(other)
            )));
        }
    }
    let done = if value.is_empty() {
        format!("Unsetting {property}")
    } else {
        format!("Setting {property} to {value}")
    };
    invocation.done(done).await
}

async fn report(invocation: Invocation) -> Result<(), Refusal> {
    let of = async |platform: &Platform, actor: &Actor, app: &AppName| {
        Ok(report_of(&platform.cron(actor, app).await?))
    };
    invocation.report_each(of).await
}

fn report_of(view: &CronView) -> Report {
    let zone = |zone: Option<&autostack_domain::cron::TimeZoneName>, none: &str| {
        zone.map_or_else(|| none.to_owned(), ToString::to_string)
    };
    let suspended = view.tasks.iter().filter(|task| view.settings.suspended.contains(&task.task.id)).count();
    Report::new("cron", &view.app)
        .row("task-count", view.tasks.len())
        .row("suspended-count", suspended)
        .row("running-count", view.running)
        .row("maintenance", view.settings.maintenance)
        .row("timezone", zone(view.settings.time_zone.as_ref(), ""))
        .row("computed-timezone", zone(view.time_zone.as_ref(), "host"))
}

fn id(invocation: &mut Invocation) -> Result<CronTaskId, Refusal> {
    Ok(invocation.word("the id of a cron task, which cron:list shows")?.parse()?)
}
