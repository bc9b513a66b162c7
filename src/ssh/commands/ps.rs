//! What runs of an app: `ps:scale`, `ps:report`, `ps:restart`, `ps:rebuild`, `ps:stop`, `ps:start`, `ps:inspect`,
//! `ps:restore`.

use std::collections::{BTreeMap, BTreeSet};

use autostack_domain::{AppName, Line, ProcessType, permission::Action, screen::Printable};
use autostack_platform::ProcessesView;

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
    releases::ended,
    report::Report,
};

pub(crate) const COMMANDS: &[&Command] =
    &[&SCALE, &REPORT, &RESTART, &REBUILD, &STOP, &START, &INSPECT, &RESTORE];

const SKIP_DEPLOY: Flag = Flag {
    long: "--skip-deploy",
    short: None,
    value: None,
    summary: "only record it: nothing starts or ends before the next release or change of the app",
};

const SCALE: Command = Command {
    name: "ps:scale",
    arguments: "APP [PROCESS=COUNT …] [--skip-deploy]",
    summary: "show or set how many instances of each process type run",
    details: &[
        "ps:scale shop web=2 worker=0",
        "Only the difference starts and ends. When a new instance does not get ready, nothing has changed.",
        "What is set here wins over app.json, and stays over pushes and rollbacks.",
    ],
    options: &[SKIP_DEPLOY, FORMAT],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(scale(invocation)),
};

const REPORT: Command = Command {
    name: "ps:report",
    arguments: "[APP] [--format json]",
    summary: "show what of an app runs; without an app, of all",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

const RESTART: Command = Command {
    name: "ps:restart",
    arguments: "APP [PROCESS …]",
    summary: "start new instances beside the old ones, then switch: no request is lost",
    details: &["When a new instance does not get ready, the old ones stay."],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(restart(invocation)),
};

const REBUILD: Command = Command {
    name: "ps:rebuild",
    arguments: "APP",
    summary: "build and deploy what the app's branch holds once more",
    details: &["An app that came as an image is not built: the same image gets new instances."],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(rebuild(invocation)),
};

const STOP: Command = Command {
    name: "ps:stop",
    arguments: "APP",
    summary: "end everything of an app; visitors get a 503 until it is started",
    details: &[
        "It stays stopped over restarts of the agent and changes of its config. A push starts it again.",
    ],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(stop(invocation)),
};

const START: Command = Command {
    name: "ps:start",
    arguments: "APP",
    summary: "start an app that was stopped",
    details: &[],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(start(invocation)),
};

const INSPECT: Command = Command {
    name: "ps:inspect",
    arguments: "APP",
    summary: "show what is known of each instance, as JSON without its environment",
    details: &[],
    options: &[],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(inspect(invocation)),
};

const RESTORE: Command = Command {
    name: "ps:restore",
    arguments: "APP",
    summary: "bring what runs in line with what should; the agent does so by itself",
    details: &[],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(restore(invocation)),
};

async fn scale(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let mut counts = BTreeMap::new();
    for word in invocation.rest() {
        let (process, count) = count_of(&invocation, &word)?;
        if counts.insert(process, count).is_some() {
            return Err(invocation.usage(format!("{} is there twice.", Printable(&word))));
        }
    }
    invocation.end()?;
    if counts.is_empty() {
        return show_scale(&invocation, &app).await;
    }
    let skip = invocation.has(SKIP_DEPLOY.long);
    let shown: Vec<String> = counts.iter().map(|(process, count)| format!("{process}={count}")).collect();
    let mut screen = invocation.output.clone();
    invocation.platform.scale(&invocation.actor, &app, counts, skip, &mut screen, &invocation.gone).await?;
    let when = if skip { "Set for the next release of" } else { "Scaled" };
    invocation.done(format!("{when} {app}: {}", shown.join(" "))).await
}

/// `web=2`.
fn count_of(invocation: &Invocation, word: &str) -> Result<(ProcessType, u32), Refusal> {
    let parsed = word.split_once('=').and_then(|(process, count)| {
        let digits = count.bytes().all(|b| b.is_ascii_digit());
        Some((process, count.parse::<u32>().ok().filter(|_| digits)?))
    });
    let Some((process, count)) = parsed else {
        return Err(invocation.usage(format!("{} is not of the form PROCESS=COUNT.", Printable(word))));
    };
    Ok((process.parse()?, count))
}

async fn show_scale(invocation: &Invocation, app: &AppName) -> Result<(), Refusal> {
    let view = invocation.platform.processes(&invocation.actor, app).await?;
    if invocation.json()? {
        return invocation.print_json(&view.formation).await;
    }
    let mut lines = Vec::new();
    if !invocation.has("--quiet") {
        lines.push(Line::step(format!("Scaling for {app}")).to_string());
        lines.extend(["proctype: qty".to_owned(), "--------: ---".to_owned()]);
    }
    lines.extend(view.formation.0.iter().map(|(process, count)| format!("{process}: {count}")));
    Ok(invocation.output.text(&lines.iter().map(|line| format!("{line}\n")).collect::<String>()).await?)
}

async fn report(mut invocation: Invocation) -> Result<(), Refusal> {
    let named = invocation.maybe_app()?;
    invocation.end()?;
    if let Some(app) = named {
        let view = invocation.platform.processes(&invocation.actor, &app).await?;
        return invocation.report(&report_of(&view)).await;
    }
    let mut reports = Vec::new();
    for app in invocation.platform.apps(&invocation.actor).await? {
        reports.push(report_of(&invocation.platform.processes(&invocation.actor, &app.name).await?));
    }
    invocation.reports(&reports).await
}

fn report_of(view: &ProcessesView) -> Report {
    let wanted = if view.is_stopped { 0 } else { view.formation.total() };
    let runs = view.instances.iter().filter(|instance| instance.runs).count();
    let running = match u32::try_from(runs).unwrap_or(u32::MAX) {
        0 => "false",
        some if some < wanted => "mixed",
        _ => "true",
    };
    let mut report = Report::new("ps", &view.app)
        .row("deployed", view.release.is_some())
        .row("processes", runs)
        .row("release", view.release.map(|release| release.to_string()).unwrap_or_default())
        .row("restore", !view.is_stopped)
        .row("running", running)
        .row("scale", &view.formation)
        .row("stopped", view.is_stopped);
    for instance in &view.instances {
        let text = format!("{} (CID: {}, {})", instance.state, instance.id, instance.release);
        report = report.row(format!("status-{}", instance.name), text);
    }
    report
}

async fn restart(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let words = invocation.rest();
    invocation.end()?;
    let named = words.iter().map(|word| word.parse()).collect::<Result<BTreeSet<ProcessType>, _>>()?;
    let only = (!named.is_empty()).then_some(named);
    let mut screen = invocation.output.clone();
    invocation.platform.restart(&invocation.actor, &app, only, &mut screen, &invocation.gone).await?;
    let what = if words.is_empty() { app.to_string() } else { format!("{app}: {}", words.join(" ")) };
    invocation.done(format!("Restarted {what}")).await
}

async fn rebuild(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let mut screen = invocation.output.clone();
    ended(invocation.platform.rebuild(&invocation.actor, &app, &mut screen, &invocation.gone).await)
}

async fn stop(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let mut screen = invocation.output.clone();
    invocation.platform.stop_app(&invocation.actor, &app, &mut screen, &invocation.gone).await?;
    invocation.done(format!("Stopped {app}")).await
}

async fn start(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let mut screen = invocation.output.clone();
    invocation.platform.start_app(&invocation.actor, &app, &mut screen, &invocation.gone).await?;
    invocation.done(format!("{app} runs")).await
}

async fn inspect(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let view = invocation.platform.processes(&invocation.actor, &app).await?;
    invocation.print_json(&view.instances).await
}

async fn restore(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    invocation.platform.restore(&invocation.actor, &app).await?;
    invocation.done(format!("{app} runs as it should")).await
}
