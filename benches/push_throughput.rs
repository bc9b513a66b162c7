//! How fast packs come in, beside OpenSSH's sshd with the same checks of git: one pack of 200 MB, then fifty
//! small pushes at once. No deploy has a part in it: all goes to branches that are not deployed.
//!
//! `cargo bench --bench push_throughput`; needs git, ssh, sshd, node, and 2 GB of room for temporary files.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

mod support;

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use support::{
    Result,
    agent::Agent,
    client::{Client, run},
    figures::{Report, conclude, median, megabytes, ratio},
    source::Source,
    sshd::{SAME_CHECKS, Sshd},
};

const ROUNDS: usize = 5;
const BLOBS: usize = 50;
const BLOB_BYTES: u64 = 4_000_000;
const PUSHERS: usize = 50;
const AGENT_BYTES_MAX: u64 = 40_000_000;

/// Three ways to the same repository's data, each timed once a round.
#[derive(Default)]
struct Times {
    agent: Vec<Duration>,
    sshd: Vec<Duration>,
    plain: Vec<Duration>,
}

fn main() -> ExitCode {
    conclude("push throughput, against sshd", bench)
}

fn bench() -> Result<Report> {
    let client = Client::new()?;
    let sshd = Sshd::start(&client)?;
    let mut report = Report::default();
    large(&client, &sshd, &mut report)?;
    many(&client, &sshd, &mut report)?;
    Ok(report)
}

// --- one large pack

fn large(client: &Client, sshd: &Sshd, report: &mut Report) -> Result<()> {
    let source = large_source(client)?;
    // A fresh agent: its highest memory is of this part alone.
    let agent = Agent::start(client)?;
    let mut times = Times::default();
    for round in 0..ROUNDS {
        // The receiver's cache of the disk is as warm for one as for the other: the order changes.
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => times.agent.push(large_to_agent(client, &agent, &source, round)?),
                1 => times.sshd.push(large_to_sshd(client, sshd, &source, &SAME_CHECKS)?),
                _ => times.plain.push(large_to_sshd(client, sshd, &source, &[])?),
            }
        }
    }
    let highest = agent.memory_bytes("VmHWM")?;
    times.show(&format!("{} MB pack", BLOBS as u64 * BLOB_BYTES / 1_000_000), report);
    report.row("  highest memory of the agent", format!("{:>8}", megabytes(highest)));
    times.judge("200 MB pack", report);
    report.goal(format!("agent's memory at most {}", megabytes(AGENT_BYTES_MAX)), highest <= AGENT_BYTES_MAX);
    Ok(())
}

/// Blobs that nothing makes smaller, packed before anything is timed: what the client does is the same.
fn large_source(client: &Client) -> Result<Source> {
    let source = Source::node_app(client)?;
    source.commit_release(client, 0)?;
    run(client.git(source.path()).args(["config", "core.compression", "0"]))?;
    run(client.git(source.path()).args(["config", "core.bigFileThreshold", "1m"]))?;
    run(client.git(source.path()).args(["checkout", "-q", "-b", "data"]))?;
    for number in 0..BLOBS {
        let mut file = File::create(source.path().join(format!("blob-{number}")))?;
        io::copy(&mut File::open("/dev/urandom")?.take(BLOB_BYTES), &mut file)?;
    }
    source.commit(client, "Add data")?;
    run(client.git(source.path()).args(["repack", "-q", "-a", "-d"]))?;
    Ok(source)
}

/// To an app of its own, whose deployed branch is another.
fn large_to_agent(client: &Client, agent: &Agent, source: &Source, round: usize) -> Result<Duration> {
    let app = format!("large-{round}");
    source.push(client, &agent.url(&app), "main")?;
    let took = source.push(client, &agent.url(&app), "data")?;
    run(&mut client.ssh(agent.ssh, &["apps:destroy", &app, "--force"]))?;
    Ok(took)
}

fn large_to_sshd(
    client: &Client,
    sshd: &Sshd,
    source: &Source,
    settings: &[(&str, &str)],
) -> Result<Duration> {
    let url = sshd.repository(client, "large", settings)?;
    source.push(client, &url, "main")?;
    let took = source.push(client, &url, "data")?;
    sshd.remove("large")?;
    Ok(took)
}

// --- many small pushes at once

fn many(client: &Client, sshd: &Sshd, report: &mut Report) -> Result<()> {
    let agent = Agent::start(client)?;
    let first = Source::node_app(client)?;
    first.commit_release(client, 0)?;
    let ours = agent.url("many");
    let theirs = sshd.repository(client, "many", &SAME_CHECKS)?;
    let plain = sshd.repository(client, "many-plain", &[])?;
    for url in [&ours, &theirs, &plain] {
        first.push(client, url, "main")?;
    }
    let crowd = tempfile::Builder::new().prefix("autostack-bench-crowd-").tempdir()?;
    for number in 0..PUSHERS {
        let clone = crowd.path().join(number.to_string());
        run(client.git(crowd.path()).args(["clone", "-q"]).arg(first.path()).arg(&clone))?;
    }
    let mut times = Times::default();
    for round in 0..ROUNDS {
        for turn in 0..3 {
            // A commit for each turn: one that a server had already would not be sent.
            commit_everywhere(client, crowd.path(), round * 3 + turn)?;
            match (round + turn) % 3 {
                0 => times.agent.push(push_at_once(client, crowd.path(), &ours, round)?),
                1 => times.sshd.push(push_at_once(client, crowd.path(), &theirs, round)?),
                _ => times.plain.push(push_at_once(client, crowd.path(), &plain, round)?),
            }
        }
    }
    times.show(&format!("{PUSHERS} pushes at once"), report);
    let highest = agent.memory_bytes("VmHWM")?;
    report.row("  highest memory of the agent", format!("{:>8}", megabytes(highest)));
    times.judge(&format!("{PUSHERS} pushes at once"), report);
    Ok(())
}

fn commit_everywhere(client: &Client, crowd: &Path, turn: usize) -> Result<()> {
    for number in 0..PUSHERS {
        let clone = crowd.join(number.to_string());
        fs::write(clone.join("note"), format!("{number} {turn}\n"))?;
        run(client.git(&clone).args(["add", "note"]))?;
        run(client.git(&clone).args(["commit", "-q", "-m", "Note"]))?;
    }
    Ok(())
}

/// Starts every push and waits for the last.
fn push_at_once(client: &Client, crowd: &Path, url: &str, round: usize) -> Result<Duration> {
    let mut pushes: Vec<Command> = (0..PUSHERS)
        .map(|number| {
            let mut push = client.git(&crowd.join(number.to_string()));
            push.args(["push", "--quiet", url, &format!("main:side-{number}-{round}")]);
            push.stdout(Stdio::null()).stderr(Stdio::piped());
            push
        })
        .collect();
    let begun = Instant::now();
    let children: Vec<Child> = pushes.iter_mut().map(Command::spawn).collect::<io::Result<_>>()?;
    let ends: Vec<_> = children.into_iter().map(Child::wait_with_output).collect::<io::Result<_>>()?;
    let took = begun.elapsed();
    let failed: Vec<_> = ends.iter().filter(|end| !end.status.success()).collect();
    match failed.first() {
        None => Ok(took),
        Some(first) => {
            let words = String::from_utf8_lossy(&first.stderr);
            Err(format!("{} of {PUSHERS} pushes to {url} failed; the first said:\n{words}", failed.len())
                .into())
        }
    }
}

impl Times {
    fn show(&self, what: &str, report: &mut Report) {
        report.times(&format!("{what} to the agent"), &self.agent);
        report.times("  to sshd, same checks", &self.sshd);
        report.times("  to sshd as git comes", &self.plain);
        let times = ratio(median(&self.agent), median(&self.plain));
        report.row("  ratio to sshd as git comes", format!("{times:>8.2}"));
        report.row("  ratio to sshd, same checks", format!("{:>8.2}", self.ratio()));
    }

    fn judge(&self, what: &str, report: &mut Report) {
        report.goal(format!("{what}: at most sshd's time, same checks"), self.ratio() <= 1.0);
    }

    fn ratio(&self) -> f64 {
        ratio(median(&self.agent), median(&self.sshd))
    }
}
