//! What runs of an app: `ps:scale`, `ps:report`, `ps:restart`, `ps:rebuild`, `ps:stop`, `ps:start`, `ps:inspect`,
//! `ps:restore`.

use std::collections::{BTreeMap, BTreeSet};

use autostack_domain::{
    AppName, Line, ProcessType,
    permission::{Action, Actor},
    screen::Printable,
};
use autostack_platform::{Platform, ProcessesView};

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

const ALL: Flag = Flag {
    long: "--all",
    short: None,
    value: None,
    summary: "of every app that you may operate, one after the other",
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
    arguments: "APP|--all [PROCESS …]",
    summary: "start new instances beside the old ones, then switch: no request is lost",
    details: &["When a new instance does not get ready, the old ones stay."],
    options: &[ALL],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(restart(invocation)),
};

const REBUILD: Command = Command {
    name: "ps:rebuild",
    arguments: "APP|--all",
    summary: "build and deploy what the app's branch holds once more",
    details: &["An app that came as an image is not built: the same image gets new instances."],
    options: &[ALL],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(rebuild(invocation)),
};

const STOP: Command = Command {
    name: "ps:stop",
    arguments: "APP|--all",
    summary: "end everything of an app; visitors get a 503 until it is started",
    details: &[
        "It stays stopped over restarts of the agent and changes of its config. A push starts it again.",
    ],
    options: &[ALL],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(stop(invocation)),
};

const START: Command = Command {
    name: "ps:start",
    arguments: "APP|--all",
    summary: "start an app that was stopped",
    details: &[],
    options: &[ALL],
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
    let mut screen = invocation.screen();
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

async fn report(invocation: Invocation) -> Result<(), Refusal> {
    let of = async |platform: &Platform, actor: &Actor, app: &AppName| {
        Ok(report_of(&platform.processes(actor, app).await?))
    };
    invocation.report_each(of).await
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

/// What is done to an app.
#[derive(Debug, Clone)]
enum Act {
    /// To these process types alone, or to all.
    Restart(Option<BTreeSet<ProcessType>>),
    Rebuild,
    Stop,
    Start,
}

impl Act {
    async fn act(&self, invocation: &Invocation, app: &AppName) -> Result<(), Refusal> {
        let Invocation { platform, actor, gone, .. } = invocation;
        let screen = &mut invocation.screen();
        let done = match self {
            Act::Restart(only) => {
                platform.restart(actor, app, only.clone(), screen, gone).await?;
                let of = |only: &BTreeSet<ProcessType>| {
                    only.iter().map(|one| format!(" {one}")).collect::<String>()
                };
                format!(
                    "Restarted {app}{}",
                    only.as_ref().map(|only| format!(":{}", of(only))).unwrap_or_default()
                )
            }
            Act::Rebuild => return ended(platform.rebuild(actor, app, screen, gone).await),
            Act::Stop => {
                platform.stop_app(actor, app, screen, gone).await?;
                format!("Stopped {app}")
            }
            Act::Start => {
                platform.start_app(actor, app, screen, gone).await?;
                format!("{app} runs")
            }
        };
        invocation.done(done).await
    }

    /// Does it to every app that the caller may do it to and that has been deployed. One that fails does not keep it from
    /// the others; all that failed are named at the end.
    async fn act_on_all(&self, invocation: &Invocation) -> Result<(), Refusal> {
        let mut failed = Vec::new();
        for app in invocation.platform.apps(&invocation.actor).await? {
            let Invocation { platform, actor, .. } = invocation;
            let may = platform.check_right(actor, &app.name, Action::Operate, "operate").await;
            if app.release.is_none() || may.is_err() {
                continue;
            }
            invocation.step(app.name.to_string()).await?;
            match self.act(invocation, &app.name).await {
                Ok(()) => {}
                Err(Refusal::Gone) => return Err(Refusal::Gone),
                Err(refusal) => {
                    for line in refusal.lines() {
                        invocation.output.line(&line).await?;
                    }
                    failed.push(app.name.to_string());
                }
            }
        }
        match failed.as_slice() {
            [] => invocation.done("All done").await,
            failed => Err(Refusal::failed(format!("Not done for {}.", failed.join(", ")))),
        }
    }
}

async fn restart(mut invocation: Invocation) -> Result<(), Refusal> {
    if invocation.has(ALL.long) {
        return all(invocation, Act::Restart(None)).await;
    }
    let app = invocation.app()?;
    let named =
        invocation.rest().iter().map(|word| word.parse()).collect::<Result<BTreeSet<ProcessType>, _>>()?;
    invocation.end()?;
    Act::Restart((!named.is_empty()).then_some(named)).act(&invocation, &app).await
}

async fn rebuild(invocation: Invocation) -> Result<(), Refusal> {
    one_or_all(invocation, Act::Rebuild).await
}

async fn stop(invocation: Invocation) -> Result<(), Refusal> {
    one_or_all(invocation, Act::Stop).await
}

async fn start(invocation: Invocation) -> Result<(), Refusal> {
    one_or_all(invocation, Act::Start).await
}

async fn one_or_all(mut invocation: Invocation, act: Act) -> Result<(), Refusal> {
    if invocation.has(ALL.long) {
        return all(invocation, act).await;
    }
    let app = invocation.app()?;
    invocation.end()?;
    act.act(&invocation, &app).await
}

async fn all(mut invocation: Invocation, act: Act) -> Result<(), Refusal> {
    if invocation.arguments.names_app() {
        return Err(invocation.usage("--all is about every app: give it, or one app."));
    }
    invocation.end()?;
    act.act_on_all(&invocation).await
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
