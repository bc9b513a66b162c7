//! What an agent without an app keeps in memory once it has come to rest.
//!
//! `cargo bench --bench idle_memory`; needs ssh-keygen.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

mod support;

use std::{process::ExitCode, time::Duration};

use support::{
    Result,
    agent::Agent,
    client::Client,
    figures::{Report, conclude, megabytes},
    process::wait_for,
};

const IDLE_BYTES_MAX: u64 = 25_000_000;
/// At rest is what has not changed over so many looks.
const LOOKS: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    conclude("idle agent without an app", bench)
}

fn bench() -> Result<Report> {
    let agent = Agent::start(&Client::new()?)?;
    let mut looks: Vec<u64> = Vec::new();
    let resident = wait_for("the agent's memory is at rest", Duration::from_secs(60), LOOK_EVERY, || {
        looks.push(agent.memory_bytes("VmRSS").unwrap_or(u64::MAX));
        let last = looks.iter().rev().take(LOOKS);
        let is_at_rest = looks.len() >= LOOKS && last.clone().min() == last.clone().max();
        is_at_rest.then(|| *looks.last().unwrap_or(&u64::MAX))
    })?;
    let mut report = Report::default();
    report.row("resident memory", megabytes(resident));
    report.row("highest since the start", megabytes(agent.memory_bytes("VmHWM")?));
    report.goal(format!("at most {}", megabytes(IDLE_BYTES_MAX)), resident <= IDLE_BYTES_MAX);
    Ok(report)
}
