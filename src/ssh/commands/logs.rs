//! `logs`: the last lines of an app, and those that follow; `logs:failed`: why deployments did not go live.

use std::sync::Arc;

use autostack_base::clock;
use autostack_domain::{
    AppName, DeploymentState, Line, Moment, ProcessType, UnixMillis, permission::Action, screen::Printable,
};
use autostack_logs::{Filter, Offset, Stream};
use autostack_platform::{BuildView, Which};

use crate::commands::{
    builds,
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    log_page::{Page, unreadable},
    log_style::{COLOR, Shape, Style, time, wants_colour},
    refusal::Refusal,
};

/// Lines that are shown where nobody says how many.
const LINES_DEFAULT: usize = 100;
/// Deployments of an app that are looked through for one that failed.
const BUILDS_MAX: usize = 200;

pub(crate) const COMMANDS: &[&Command] = &[&LOGS, &FAILED];

/// `--since`, on commands that show what has happened.
pub(crate) const SINCE: Flag = Flag {
    long: "--since",
    short: None,
    value: Some("WHEN"),
    summary: "from then on: 10m, 2h, 2026-11-24T10:00 (UTC), 2026-11-24T10:00:00+01:00",
};
/// `--until` likewise.
pub(crate) const UNTIL: Flag =
    Flag { long: "--until", short: None, value: Some("WHEN"), summary: "up to then, in the same words" };
/// `--tail` likewise.
pub(crate) const TAIL: Flag =
    Flag { long: "--tail", short: Some("-t"), value: None, summary: "go on with new ones" };

const LOGS: Command = Command {
    name: "logs",
    arguments: "APP [-t] [-n N] [-p PROCESS]",
    summary: "show what an app has written, and follow it",
    details: &[
        "Shows the last 100 lines unless told otherwise. Ctrl-C ends following.",
        "What was cut off goes on with --from and the last offset that --offsets has shown.",
    ],
    options: &[
        TAIL,
        Flag { long: "--num", short: Some("-n"), value: Some("N"), summary: "begin with the last N lines" },
        Flag {
            long: "--ps",
            short: Some("-p"),
            value: Some("PROCESS"),
            summary: "only lines of this process type, such as web, or of one instance, such as web.1",
        },
        Flag {
            long: "--release",
            short: None,
            value: Some("vN"),
            summary: "only lines that this release wrote",
        },
        Flag {
            long: "--grep",
            short: None,
            value: Some("RE"),
            summary: "only lines that this regular expression matches; (?i) ignores case",
        },
        SINCE,
        UNTIL,
        Flag { long: "--from", short: None, value: Some("OFFSET"), summary: "go on behind this offset" },
        Flag { long: "--offsets", short: None, value: None, summary: "begin each line with its offset" },
        Flag {
            long: "--quiet",
            short: Some("-q"),
            value: None,
            summary: "the bare lines, without time and name",
        },
        COLOR,
        FORMAT,
    ],
    needs: Needs::App(Action::ReadLogs),
    words: Words::Mixed,
    run: |invocation| Box::pin(logs(invocation)),
};

const FAILED: Command = Command {
    name: "logs:failed",
    arguments: "[APP | --all]",
    summary: "show the build log of the last deployment that failed, of one app or of all",
    details: &[],
    options: &[Flag { long: "--all", short: None, value: None, summary: "of every app that you may see" }],
    needs: Needs::App(Action::ReadLogs),
    words: Words::Mixed,
    run: |invocation| Box::pin(failed(invocation)),
};

async fn logs(mut invocation: Invocation) -> Result<(), Refusal> {
    let name = invocation.app()?;
    let process = invocation.value("--ps").map(str::to_owned);
    invocation.end()?;
    show(invocation, &name, process.as_deref()).await
}

/// Shows the log of an app, or of a process of it, as the options of `logs` say.
pub(crate) async fn show(
    invocation: Invocation,
    name: &AppName,
    process: Option<&str>,
) -> Result<(), Refusal> {
    let range = Range::of(&invocation)?;
    let filter = filter(&invocation, process, range)?;
    let follow = invocation.has("--tail");
    if follow && range.until.is_some() {
        return Err(invocation.usage("--tail goes on for ever and --until does not: give one of them."));
    }
    let style = style(&invocation)?;
    let log = invocation.platform.app_log(&invocation.actor, name).await?;
    let (start, end) = range.find(&invocation, &log, &filter).await?;
    let page = Page { invocation: &invocation, style, again: format!("logs {name} -t") };
    let reader = page.show(&log, filter, start, end).await?;
    if follow { page.follow(reader).await } else { Ok(()) }
}

fn style(invocation: &Invocation) -> Result<Style, Refusal> {
    let shape = match (invocation.json()?, invocation.has("--quiet")) {
        (true, _) => Shape::Json,
        (false, true) => Shape::Bare,
        (false, false) => Shape::Line,
    };
    Ok(Style { shape, colour: wants_colour(invocation)?, offsets: invocation.has("--offsets") })
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    /// The last lines, so many; `None` where a beginning is named.
    last: Option<usize>,
    from: Option<Offset>,
    since: Option<UnixMillis>,
    until: Option<UnixMillis>,
}

impl Range {
    fn of(invocation: &Invocation) -> Result<Self, Refusal> {
        let number = |long: &str| match invocation.value(long) {
            None => Ok(None),
            Some(given) => given
                .parse::<u64>()
                .map(Some)
                .map_err(|_| invocation.usage(format!("{long} needs a number, not {}.", Printable(given)))),
        };
        let num = number("--num")?.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX));
        let from = number("--from")?.map(Offset);
        let (since, until) = (moment(invocation, "--since")?, moment(invocation, "--until")?);
        if from.is_some() && num.is_some() {
            return Err(
                invocation.usage("--num counts from the end and --from names a beginning: give one of them.")
            );
        }
        let is_begun = from.is_some() || since.is_some();
        let last = if is_begun { num } else { Some(num.unwrap_or(LINES_DEFAULT)) };
        Ok(Self { last, from, since, until })
    }

    /// Where it begins and ends in the log.
    async fn find(
        &self,
        invocation: &Invocation,
        log: &Arc<Stream>,
        filter: &Filter,
    ) -> Result<(Offset, Offset), Refusal> {
        let (range, log, filter) = (*self, Arc::clone(log), filter.clone());
        let find = move || match (range.last, range.from, range.since) {
            (Some(lines), _, _) => log.tail_start(lines, &filter),
            (None, Some(from), _) => Ok((from, log.end())),
            (None, None, Some(since)) => Ok((log.start_since(since), log.end())),
            (None, None, None) => Ok((log.start(), log.end())),
        };
        let found = invocation.tasks.blocking("find log lines", find).await;
        found
            .map_err(|panic| Refusal::failed(format!("The log cannot be read: {panic}.")))?
            .map_err(unreadable)
    }
}

/// The moment that an option names.
pub(crate) fn moment(invocation: &Invocation, long: &str) -> Result<Option<UnixMillis>, Refusal> {
    let parse = |given: &str| given.parse().map(|moment: Moment| moment.resolve(clock::now()));
    Ok(invocation.value(long).map(parse).transpose()?)
}

fn filter(invocation: &Invocation, wanted: Option<&str>, range: Range) -> Result<Filter, Refusal> {
    let (process, dyno) = process(wanted)?;
    let release = invocation.value("--release").map(str::parse).transpose()?;
    let pattern = invocation.value("--grep").map(str::parse).transpose()?;
    Ok(Filter { process, dyno, release, pattern, since: range.since, until: range.until, ..Filter::all() })
}

/// `web` is a process type, `web.1` one instance of it.
fn process(given: Option<&str>) -> Result<(Option<ProcessType>, Option<String>), Refusal> {
    let Some(given) = given else { return Ok((None, None)) };
    let type_and_index = given.split_once('.').filter(|(_, index)| index.parse::<u32>().is_ok());
    let process: ProcessType = type_and_index.map_or(given, |(process, _)| process).parse()?;
    Ok(if type_and_index.is_some() { (None, Some(given.to_owned())) } else { (Some(process), None) })
}

async fn failed(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.maybe_app()?;
    if app.is_some() && invocation.has("--all") {
        return Err(invocation.usage("--all is about every app: give it, or one app."));
    }
    invocation.end()?;
    let apps = match app {
        Some(app) => vec![app],
        None => {
            let apps = invocation.platform.apps(&invocation.actor).await?;
            apps.into_iter().map(|app| app.name).collect()
        }
    };
    let mut any = false;
    for app in &apps {
        let known = invocation.platform.builds(&invocation.actor, Some(app), BUILDS_MAX).await?;
        if let Some(build) = known.into_iter().find(|build| build.state == DeploymentState::Failed) {
            any = true;
            show_failed(&invocation, app, build).await?;
        }
    }
    match apps.as_slice() {
        _ if any => Ok(()),
        [app] => invocation.done(format!("No deployment of {app} that is still known has failed")).await,
        _ => invocation.done("No deployment that is still known has failed").await,
    }
}

async fn show_failed(invocation: &Invocation, app: &AppName, build: BuildView) -> Result<(), Refusal> {
    let stage = build.failure.as_ref().map(|failure| format!(" at {}", failure.stage)).unwrap_or_default();
    let title = format!("{app}: {} failed{stage}, {} ({})", build.source, time(build.started_at), build.id);
    invocation.done(title).await?;
    let which = Which::Id(build.id.clone());
    let (_, log) = invocation.platform.build_log(&invocation.actor, Some(app), &which).await?;
    let shown = builds::show(invocation, &log).await?;
    if !shown {
        // Logs of builds are kept for less long than their records.
        let lines = build.failure.map(|failure| failure.lines()).unwrap_or_default();
        let text: String = lines.iter().map(Line::to_string).map(|line| line + "\n").collect();
        invocation.output.text(&text).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_a_type_or_one_of_its_instances() {
        assert_eq!(process(Some("web")).unwrap().0.unwrap().as_str(), "web");
        assert_eq!(process(Some("web.2")).unwrap(), (None, Some("web.2".to_owned())));
        assert_eq!(process(None).unwrap(), (None, None));
        for bad in ["", "web.x", "../x", "a b"] {
            assert!(process(Some(bad)).is_err(), "{bad}");
        }
    }
}
