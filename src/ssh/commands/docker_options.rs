//! What the engine is told of an app's build and containers: `docker-options:*`.

use autostack_domain::{
    AppName,
    docker_options::{DockerOption, DockerOptions, Phase},
    permission::{Action, Actor},
};
use autostack_platform::{DockerChange, Platform};

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
    report::{Report, Table},
    words,
};

pub(crate) const COMMANDS: &[&Command] = &[&ADD, &REMOVE, &CLEAR, &LIST, &REPORT];

const WHAT: &str = "build: --build-arg, --no-cache, --target. deploy (instances) and run (one-offs): --add-host, --cap-drop, \
                    --dns, --dns-search, --hostname, --init, --label, --read-only, --shm-size, --tmpfs, --ulimit, --user. \
                    Whatever else is refused.";
const NO_SECRET: &str = "A build argument is no secret: whoever sees the app sees it, and it stays in the image. Secrets belong to config:set.";
const WHEN: &str = "Those of a build count from the next deployment on, the others for containers that are started from then \
                    on: ps:restart APP applies them now. An app that runs as processes of the host has no use for them.";
const PHASE: Flag = Flag {
    long: "--phase",
    short: None,
    value: Some("PHASE"),
    summary: "only those of build, deploy or run",
};

const ADD: Command = Command {
    name: "docker-options:add",
    arguments: "APP build,deploy,run OPTION...",
    summary: "tell the container engine more about an app",
    details: &[WHAT, WHEN, NO_SECRET],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::CommandLine,
    run: |invocation| Box::pin(change(invocation, true)),
};

const REMOVE: Command = Command {
    name: "docker-options:remove",
    arguments: "APP build,deploy,run OPTION...",
    summary: "take back what the container engine was told",
    details: &[WHEN],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::CommandLine,
    run: |invocation| Box::pin(change(invocation, false)),
};

const CLEAR: Command = Command {
    name: "docker-options:clear",
    arguments: "APP [build,deploy,run]",
    summary: "take everything back that the container engine was told",
    details: &[WHEN],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(clear(invocation)),
};

const LIST: Command = Command {
    name: "docker-options:list",
    arguments: "APP [--phase PHASE] [--format json]",
    summary: "list what the container engine is told, an option a line",
    details: &[],
    options: &[PHASE, FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation)),
};

const REPORT: Command = Command {
    name: "docker-options:report",
    arguments: "[APP] [--docker-options-PHASE] [--format json]",
    summary: "show what the container engine is told",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

fn phases(given: &str) -> Result<Vec<Phase>, Refusal> {
    Ok(given.split(',').map(str::parse).collect::<Result<_, _>>()?)
}

async fn change(mut invocation: Invocation, is_added: bool) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let phases = phases(&invocation.word("when they count: build, deploy or run")?)?;
    let mut given = Vec::new();
    for word in invocation.rest() {
        // Several may stand in one word, as Dokku takes them: "--read-only --tmpfs /tmp".
        given.extend(if word.contains(char::is_whitespace) { words::split(&word)? } else { vec![word] });
    }
    if given.is_empty() {
        return Err(invocation.usage("Give at least one option."));
    }
    let mut options: Vec<DockerOption> = Vec::new();
    for phase in &phases {
        options = DockerOption::read_all(&given, *phase)?;
    }
    let shown = shown(&options);
    let (change, done) = match is_added {
        true => (DockerChange::Add(options), "Added"),
        false => (DockerChange::Remove(options), "Removed"),
    };
    invocation.platform.change_docker_options(&invocation.actor, &app, phases, change).await?;
    invocation.done(format!("{done} {shown} for {app}")).await?;
    tell_when(&invocation, &app).await
}

async fn clear(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let named = invocation.arguments.next();
    invocation.end()?;
    let phases = named.as_deref().map_or_else(|| Ok(Phase::ALL.to_vec()), phases)?;
    let change = DockerChange::Clear;
    invocation.platform.change_docker_options(&invocation.actor, &app, phases, change).await?;
    invocation.done(format!("Cleared the options of {app}")).await?;
    tell_when(&invocation, &app).await
}

async fn tell_when(invocation: &Invocation, app: &AppName) -> Result<(), Refusal> {
    invocation.detail(format!("The next deployment applies it; ps:restart {app} does for containers")).await
}

async fn list(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let only = invocation.value(PHASE.long).map(str::parse::<Phase>).transpose()?;
    invocation.end()?;
    let options = invocation.platform.docker_options(&invocation.actor, &app).await?;
    let mut table = Table::new(format!("{app} docker options"), &["phase", "option"]);
    for phase in Phase::ALL.into_iter().filter(|phase| only.is_none_or(|only| only == *phase)) {
        for option in options.of(phase) {
            table.push([phase.to_string(), option.to_string()]);
        }
    }
    invocation.table(&table).await
}

async fn report(invocation: Invocation) -> Result<(), Refusal> {
    let of = async |platform: &Platform, actor: &Actor, app: &AppName| {
        let DockerOptions { build, deploy, run } = platform.docker_options(actor, app).await?;
        let report = Report::new("docker-options", app).row("build", shown(&build));
        Ok(report.row("deploy", shown(&deploy)).row("run", shown(&run)))
    };
    invocation.report_each(of).await
}

fn shown(options: &[DockerOption]) -> String {
    options.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
