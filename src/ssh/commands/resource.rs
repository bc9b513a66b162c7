//! What instances may use: `resource:limit`, `resource:reserve`, their `-clear`, and `resource:report`.

use autostack_domain::{
    AppName, ProcessType,
    permission::{Action, Actor},
    resources::{Bound, Resource},
};
use autostack_platform::{Platform, resources::ResourcesView};

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
    report::Report,
};

pub(crate) const COMMANDS: &[&Command] = &[&LIMIT, &LIMIT_CLEAR, &RESERVE, &RESERVE_CLEAR, &REPORT];

const PROCESS_TYPE: Flag = Flag {
    long: "--process-type",
    short: None,
    value: Some("TYPE"),
    summary: "of this process type alone; else of all that have none of their own",
};

/// Options that Dokku has and nothing here can hold an app to.
const NOT_HERE: [&str; 5] =
    ["--memory-swap", "--network", "--network-ingress", "--network-egress", "--nvidia-gpu"];

const fn amount(long: &'static str, value: &'static str, summary: &'static str) -> Flag {
    Flag { long, short: None, value: Some(value), summary }
}

const AMOUNTS: [Flag; 9] = [
    PROCESS_TYPE,
    amount("--cpu", "CPUS", "CPU time: 1.5, or 500m; clear takes it away"),
    amount("--memory", "MIB", "memory, swap included: 512, 512m or 2g; clear takes it away"),
    amount("--pids", "NUMBER", "processes and threads; clear takes it away"),
    amount("--memory-swap", "MIB", "refused: --memory is memory and swap together"),
    amount("--network", "RATE", "refused: nothing here limits it"),
    amount("--network-ingress", "RATE", "refused: nothing here limits it"),
    amount("--network-egress", "RATE", "refused: nothing here limits it"),
    amount("--nvidia-gpu", "NUMBER", "refused: nothing here gives it out"),
];

const LIMIT: Command = Command {
    name: "resource:limit",
    arguments: "[--process-type TYPE] [--cpu CPUS] [--memory MIB] [--pids NUMBER] APP",
    summary: "set what an instance may use at most, or show it",
    details: &["It counts for instances that are started from then on; ps:restart APP applies it now."],
    options: &AMOUNTS,
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(set(invocation, Bound::Limit)),
};

const LIMIT_CLEAR: Command = Command {
    name: "resource:limit-clear",
    arguments: "[--process-type TYPE] APP",
    summary: "take limits away",
    details: &[],
    options: &[PROCESS_TYPE],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(clear(invocation, Bound::Limit)),
};

const RESERVE: Command = Command {
    name: "resource:reserve",
    arguments: "[--process-type TYPE] [--cpu CPUS] [--memory MIB] APP",
    summary: "set what an instance shall have where others want it too, or show it",
    details: &[
        "Memory is taken from it last, CPU time is shared out by it. It counts for instances that are started from then on.",
    ],
    options: &AMOUNTS,
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(set(invocation, Bound::Reserve)),
};

const RESERVE_CLEAR: Command = Command {
    name: "resource:reserve-clear",
    arguments: "[--process-type TYPE] APP",
    summary: "take reservations away",
    details: &[],
    options: &[PROCESS_TYPE],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(clear(invocation, Bound::Reserve)),
};

const REPORT: Command = Command {
    name: "resource:report",
    arguments: "[APP] [--resource-TYPE.limit.memory] [--format json]",
    summary: "show limits and reservations, and which of them do not hold here",
    details: &["_default_ stands for process types that have none of their own."],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

fn process(invocation: &Invocation) -> Result<Option<ProcessType>, Refusal> {
    Ok(invocation.value(PROCESS_TYPE.long).map(str::parse).transpose()?)
}

async fn set(mut invocation: Invocation, bound: Bound) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let process = process(&invocation)?;
    invocation.end()?;
    if let Some(option) = NOT_HERE.into_iter().find(|option| invocation.has(option)) {
        return Err(
            invocation.usage(format!("{option} is not supported: there are --cpu, --memory and --pids."))
        );
    }
    let given = |resource: Resource| {
        let value = invocation.value(&format!("--{}", resource.name()))?;
        Some((resource, value.to_owned()))
    };
    let amounts: Vec<(Resource, String)> = Resource::ALL.into_iter().filter_map(given).collect();
    if bound == Bound::Reserve && amounts.iter().any(|(resource, _)| *resource == Resource::Pids) {
        return Err(invocation.usage("Processes cannot be reserved, only limited."));
    }
    let whose = process.as_ref().map(|process| format!(" ({process})")).unwrap_or_default();
    if amounts.is_empty() {
        let view = invocation.platform.resources(&invocation.actor, &app).await?;
        let set = view.settings.amounts(process.as_ref(), bound);
        let heading = format!("resource {} {app} information{whose}", noun(bound));
        invocation.done(heading).await?;
        for resource in shown(bound) {
            invocation
                .detail(format!("{}: {}", resource.name(), set.shown(resource)).trim_end().to_owned())
                .await?;
        }
        return Ok(());
    }
    let names: Vec<Resource> = amounts.iter().map(|(resource, _)| *resource).collect();
    let now = invocation.platform.set_resources(&invocation.actor, &app, process, bound, amounts).await?;
    invocation.done(format!("Setting resource {} for {app}{whose}", noun(bound))).await?;
    for resource in names {
        invocation
            .detail(format!("{}: {}", resource.name(), now.shown(resource)).trim_end().to_owned())
            .await?;
    }
    let view = invocation.platform.resources(&invocation.actor, &app).await?;
    for line in &view.unenforced {
        invocation.output.line(&autostack_domain::Line::trouble(line.clone())).await?;
    }
    Ok(())
}

async fn clear(mut invocation: Invocation, bound: Bound) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let process = process(&invocation)?;
    invocation.end()?;
    let whose = process.as_ref().map(|process| format!(" ({process})")).unwrap_or_default();
    invocation.platform.clear_resources(&invocation.actor, &app, process, bound).await?;
    invocation.done(format!("Clearing resource {} for {app}{whose}", noun(bound))).await
}

async fn report(invocation: Invocation) -> Result<(), Refusal> {
    let of = async |platform: &Platform, actor: &Actor, app: &AppName| {
        Ok(report_of(&platform.resources(actor, app).await?))
    };
    invocation.report_each(of).await
}

fn report_of(view: &ResourcesView) -> Report {
    let mut report = Report::new("resource", &view.app);
    let rows = std::iter::once(None).chain(view.processes.iter().map(Some));
    for process in rows {
        let name = process.map_or("_default_", ProcessType::as_str);
        for bound in [Bound::Limit, Bound::Reserve] {
            let set = view.settings.amounts(process, bound);
            for resource in shown(bound) {
                report =
                    report.row(format!("{name}.{}.{}", bound.name(), resource.name()), set.shown(resource));
            }
        }
    }
    report.row("not-enforced", view.unenforced.join("; "))
}

fn shown(bound: Bound) -> impl Iterator<Item = Resource> {
    Resource::ALL.into_iter().filter(move |resource| bound == Bound::Limit || *resource != Resource::Pids)
}

fn noun(bound: Bound) -> &'static str {
    match bound {
        Bound::Limit => "limits",
        Bound::Reserve => "reservation",
    }
}
