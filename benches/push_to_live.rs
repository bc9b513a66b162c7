//! How long from `git push` until the new version answers, beside the least that it could take: the push of the
//! same commit to a bare repository through OpenSSH's sshd, and the app's own start until its first answer.
//!
//! `cargo bench --bench push_to_live`; needs git, ssh, sshd and node.
//!
//! With `-- --docker`: a Dockerfile, beside `docker build` and `docker run` of the same folder until its first answer;
//! meanwhile visitors come, and none may fail. Needs git, ssh, a container engine with its client, and busybox-static.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

#[path = "push_to_live/docker.rs"]
mod docker;
mod support;

use std::{
    net::SocketAddr,
    process::{Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use support::{
    Failure, Result,
    agent::Agent,
    client::Client,
    figures::{Report, conclude, median, ratio},
    http,
    process::{SYSTEM_PATH, end, free_address, wait_for},
    source::{Source, release_of},
    sshd::Sshd,
};

const ROUNDS: u64 = 10;
const RATIO_MAX: f64 = 1.5;
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Often enough to be a small part of the figure, seldom enough to leave the processor to what is measured.
const ASK_EVERY: Duration = Duration::from_millis(3);

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--docker") {
        conclude("push to live: a Dockerfile", docker::bench)
    } else {
        conclude("push to live: a Node.js app without dependencies", bench)
    }
}

fn bench() -> Result<Report> {
    let client = Client::new()?;
    let agent = Agent::start(&client)?;
    let sshd = Sshd::start(&client)?;
    let source = Source::node_app(&client)?;
    let bare = sshd.repository(&client, "hello", &[])?;

    // The first round makes app and caches, on both sides, and is not counted.
    let (mut live, mut pushed, mut plain, mut started) = (vec![], vec![], vec![], vec![]);
    for round in 0..=ROUNDS {
        source.commit_release(&client, round)?;
        let mut ours = None;
        if round % 2 == 0 {
            ours = Some(push_to_agent(&client, &agent, &source, round)?);
        }
        let push = source.push(&client, &bare, "main")?;
        let start = start_to_first_answer(&source, round)?;
        let (until_live, until_pushed) = match ours {
            Some(ours) => ours,
            None => push_to_agent(&client, &agent, &source, round)?,
        };
        if round > 0 {
            live.push(until_live);
            pushed.push(until_pushed);
            plain.push(push);
            started.push(start);
        }
    }

    let floor: Vec<Duration> = plain.iter().zip(&started).map(|(push, start)| *push + *start).collect();
    let times = ratio(median(&live), median(&floor));
    let mut report = Report::default();
    report.times("push until the new version answers", &live);
    report.times("  until git push has ended", &pushed);
    report.times("floor: plain push + start of the app", &floor);
    report.times("  plain push through sshd", &plain);
    report.times("  start of the app to its first answer", &started);
    report.row("ratio of the medians", format!("{times:>8.2}"));
    report.goal(format!("at most {RATIO_MAX} times the floor"), times <= RATIO_MAX);
    Ok(report)
}

/// Until the new version answers through the proxy, and until `git push` has ended.
fn push_to_agent(
    client: &Client,
    agent: &Agent,
    source: &Source,
    release: u64,
) -> Result<(Duration, Duration)> {
    let proxy = agent.http;
    let begun = Instant::now();
    let (tell, told) = mpsc::sync_channel(1);
    let visitor = thread::spawn(move || {
        let seen = wait_for_release(proxy, "hello.localhost", release).map(|()| begun.elapsed());
        // Nobody waits for it only if the push failed.
        let _ = tell.send(seen);
    });
    let pushed = source.push(client, &agent.url("hello"), "main")?;
    let live = told.recv()??;
    visitor.join().map_err(|_| Failure::from("the visitor panicked"))?;
    Ok((live, pushed))
}

/// What the app itself needs, started as the agent would: no shell, no platform.
fn start_to_first_answer(source: &Source, release: u64) -> Result<Duration> {
    let address = free_address()?;
    let begun = Instant::now();
    let mut app = Command::new("node")
        .arg("server.js")
        .current_dir(source.path())
        .env_clear()
        .env("PATH", SYSTEM_PATH)
        .env("NODE_ENV", "production")
        .env("PORT", address.port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("node does not start: {error}"))?;
    let answered = wait_for_release(address, "localhost", release).map(|()| begun.elapsed());
    end(&mut app, Duration::from_secs(5));
    answered
}

fn wait_for_release(server: SocketAddr, host: &str, release: u64) -> Result<()> {
    wait_for(&format!("release {release} answers"), ANSWER_MAX, ASK_EVERY, || {
        let answer = http::get(server, host, "/").ok()?;
        (answer.status == 200 && release_of(&answer.body) == Some(release)).then_some(())
    })
}
