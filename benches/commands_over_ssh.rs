//! What a command costs beyond its connection, and how long a rollback takes until visitors see it, under load.
//!
//! `cargo bench --bench commands_over_ssh`; needs git, ssh, sshd and node.
//!
//! The cost of a connection is that of `version`, which asks nobody anything; OpenSSH's sshd running `true` stands
//! beside it. A rollback goes back and forth between two releases whose artifacts are there.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

mod support;

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use support::{
    Failure, Result,
    agent::Agent,
    client::{Client, run},
    figures::{Report, conclude, median, shown},
    http,
    process::wait_for,
    source::{Source, release_of},
    sshd::Sshd,
    visitors::Crowds,
};

const CALLS: u64 = 50;
const COST_MAX: Duration = Duration::from_millis(5);
const ROLLBACKS: u64 = 10;
const SWITCH_MAX: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(3);
const HOST: &str = "hello.localhost";

fn main() -> ExitCode {
    conclude("commands over ssh: config:get, rollback", bench)
}

fn bench() -> Result<Report> {
    let client = Client::new()?;
    let agent = Agent::start(&client)?;
    let sshd = Sshd::start(&client)?;
    let source = Source::node_app(&client)?;
    for release in 1..=2 {
        source.commit_release(&client, release)?;
        source.push(&client, &agent.url("hello"), "main")?;
    }
    let mut report = Report::default();
    config_get(&client, &agent, &sshd, &mut report)?;
    rollback(&client, &agent, &mut report)?;
    Ok(report)
}

/// Interleaved, each one first in turn.
fn config_get(client: &Client, agent: &Agent, sshd: &Sshd, report: &mut Report) -> Result<()> {
    run(&mut client.ssh(agent.ssh, &["config:set", "--no-restart", "hello", "KEY=value"]))?;
    let commands: [(&str, SocketAddr, &[&str]); 3] = [
        ("config:get hello KEY", agent.ssh, &["config:get", "hello", "KEY"]),
        ("version: the connection", agent.ssh, &["version"]),
        ("sshd, true", sshd.address, &["true"]),
    ];
    let mut times = [vec![], vec![], vec![]];
    for round in 0..=CALLS {
        for turn in 0..commands.len() {
            let at = (usize::try_from(round)? + turn) % commands.len();
            let (_, server, command) = commands[at];
            let mut ssh = if at == 2 { sshd.ssh(client, command) } else { client.ssh(server, command) };
            let begun = Instant::now();
            let said = run(&mut ssh)?;
            let took = begun.elapsed();
            if at == 0 && said.stdout.trim_ascii() != b"value" {
                return Err(format!("config:get said {:?}", String::from_utf8_lossy(&said.stdout)).into());
            }
            if round > 0 {
                times[at].push(took);
            }
        }
    }
    for ((name, _, _), times) in commands.iter().zip(&times) {
        report.times(name, times);
    }
    let cost = median(&times[0]).saturating_sub(median(&times[1]));
    let goal = format!("config:get costs {} beyond its connection, at most {}", shown(cost), shown(COST_MAX));
    report.goal(goal, cost <= COST_MAX);
    Ok(())
}

fn rollback(client: &Client, agent: &Agent, report: &mut Report) -> Result<()> {
    let crowds = Crowds::arrive(agent.http);
    let (mut switched, mut ended) = (vec![], vec![]);
    for round in 0..ROLLBACKS {
        let (until_switched, until_ended) = roll_back_to(client, agent, 1 + round % 2)?;
        switched.push(until_switched);
        ended.push(until_ended);
    }
    let trouble = crowds.leave(report)?;
    report.times("rollback until the visitor sees it", &switched);
    report.times("  until the command has ended", &ended);
    let slowest = switched.iter().max().copied().unwrap_or_default();
    let goal = format!("every rollback within {}: {}", shown(SWITCH_MAX), shown(slowest));
    report.goal(goal, slowest <= SWITCH_MAX);
    report.goal(format!("no failed request: {}", trouble.failed), trouble.failed == 0);
    Ok(())
}

/// To the release before the live one, whose page says `release`.
fn roll_back_to(client: &Client, agent: &Agent, release: u64) -> Result<(Duration, Duration)> {
    let proxy = agent.http;
    let begun = Instant::now();
    let (tell, told) = mpsc::sync_channel(1);
    let visitor = thread::spawn(move || {
        let seen = wait_for(&format!("release {release} answers"), ANSWER_MAX, ASK_EVERY, || {
            let answer = http::get(proxy, HOST, "/").ok()?;
            (answer.status == 200 && release_of(&answer.body) == Some(release)).then_some(())
        });
        // Nobody waits for it only if the rollback failed.
        let _ = tell.send(seen.map(|()| begun.elapsed()));
    });
    run(&mut client.ssh(agent.ssh, &["rollback", "hello"]))?;
    let ended = begun.elapsed();
    let switched = told.recv()??;
    visitor.join().map_err(|_| Failure::from("the visitor panicked"))?;
    Ok((switched, ended))
}
