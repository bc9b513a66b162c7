//! `report`: the host on one page, or everything that the reports say of one app.

use std::sync::PoisonError;

use autostack_domain::permission::Action;
use serde_json::{Map, Value};

use crate::commands::{
    self,
    command::{Command, FORMAT, Needs, Words},
    invocation::{Collected, Invocation},
    refusal::Refusal,
    report::Report,
};

pub(crate) const COMMANDS: &[&Command] = &[&REPORT];

const REPORT: Command = Command {
    name: "report",
    arguments: "[APP] [--format json]",
    summary: "show everything that is known of an app, or of the host",
    details: &["With an app, all its reports one after the other: apps:report, builder:report and so on."],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

async fn report(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.maybe_app()?;
    invocation.end()?;
    let Some(app) = app else { return host(&invocation).await };
    let collected = Collected::default();
    for command in commands::all().filter(|command| is_report(command)) {
        let about_app = invocation.fork(command, vec![app.to_string()], &collected)?;
        (command.run)(about_app).await?;
    }
    let reports = std::mem::take(&mut *collected.lock().unwrap_or_else(PoisonError::into_inner));
    if invocation.json()? {
        let topics: Map<String, Value> =
            reports.iter().map(|report| (report.topic().to_owned(), report.json())).collect();
        return invocation.print_json(&topics).await;
    }
    for report in &reports {
        invocation.report(report).await?;
    }
    Ok(())
}

/// Whether a command reports on an app to everybody who may see it.
fn is_report(command: &Command) -> bool {
    command.is_report() && command.needs == Needs::App(Action::ViewApp)
}

async fn host(invocation: &Invocation) -> Result<(), Refusal> {
    let facts = invocation.platform.host_facts(&invocation.actor).await?;
    let mut report = Report::new("system", "host")
        .row("version", facts.version)
        .row("domain", facts.domain)
        .row("runtime", facts.runtime)
        .row("apps", facts.apps);
    if let Some(inner) = facts.inner {
        report = report
            .row("engine", inner.engine)
            .row("kernel", inner.kernel)
            .row("cpus", inner.cpus)
            .row("memory-mib", inner.memory_bytes >> 20)
            .row("disk-free-mib", inner.disk_free_bytes >> 20)
            .row("uptime-seconds", inner.uptime_seconds)
            .row("instances", inner.instances)
            .row("pushes", inner.pushes);
    }
    invocation.report(&report).await
}
