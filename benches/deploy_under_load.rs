//! Twenty deploys under a steady load of new, kept-alive and slow connections: not one request may fail, and none
//! that begins after a push has ended may still see the old version.
//!
//! `cargo bench --bench deploy_under_load`; needs git, ssh and node.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

mod support;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use support::{
    Result,
    agent::Agent,
    client::Client,
    figures::{Report, conclude, shown},
    source::Source,
    visitors::Crowds,
};

const DEPLOYS: u64 = 20;

fn main() -> ExitCode {
    conclude("deploys under load: a Node.js app without dependencies", bench)
}

fn bench() -> Result<Report> {
    let client = Client::new()?;
    let agent = Agent::start(&client)?;
    let source = Source::node_app(&client)?;
    let url = agent.url("hello");
    source.commit_release(&client, 0)?;
    source.push(&client, &url, "main")?;

    let begun = Instant::now();
    let crowds = Crowds::arrive(agent.http);
    let deployed = deploy(&client, &source, &url, &crowds);
    let took = begun.elapsed();
    let mut report = Report::default();
    let trouble = crowds.leave(&mut report)?;
    let durations = deployed?;
    report.times(&format!("{} deploys within {}, each", durations.len(), shown(took)), &durations);
    report.goal(format!("no failed request: {}", trouble.failed), trouble.failed == 0);
    report.goal(format!("no old answer after a push has ended: {}", trouble.stale), trouble.stale == 0);
    Ok(report)
}

fn deploy(client: &Client, source: &Source, url: &str, crowds: &Crowds) -> Result<Vec<Duration>> {
    let mut durations = Vec::new();
    for release in 1..=DEPLOYS {
        source.commit_release(client, release)?;
        durations.push(source.push(client, url, "main")?);
        crowds.is_live(release);
    }
    Ok(durations)
}
