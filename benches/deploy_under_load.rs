//! Twenty deploys under a steady load of new, kept-alive and slow connections: not one request may fail, and none
//! that begins after a push has ended may still see the old version.
//!
//! `cargo bench --bench deploy_under_load`; needs git, ssh and node.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

mod support;

use std::{
    io,
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use support::{
    Failure, Result,
    agent::Agent,
    client::Client,
    figures::{Report, conclude, percentile, shown},
    http::{Answer, Connection},
    source::{Source, release_of},
};

const DEPLOYS: u64 = 20;
const HOST: &str = "hello.localhost";
/// Failures that are shown; all are counted.
const SHOWN_MAX: usize = 5;

/// How a visitor connects.
#[derive(Clone, Copy)]
enum Visitor {
    /// A connection for each request.
    New,
    /// One connection for all of them.
    Kept,
    /// A connection for each request, whose answer takes 300 ms: some are in flight at every switch.
    Slow,
}

/// Who comes, and how long each waits between two requests.
const VISITORS: [(Visitor, &str, usize, Duration); 3] = [
    (Visitor::New, "new connections", 4, Duration::from_millis(10)),
    (Visitor::Kept, "kept-alive connections", 8, Duration::from_millis(10)),
    (Visitor::Slow, "slow requests", 4, Duration::from_millis(20)),
];

/// What the visitors are told.
struct Scene {
    proxy: SocketAddr,
    stop: AtomicBool,
    /// The last release whose push has ended.
    live: AtomicU64,
}

/// What a visitor has seen.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    failures: Vec<String>,
    stale: usize,
    reopened: usize,
}

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

    let scene = Arc::new(Scene { proxy: agent.http, stop: AtomicBool::new(false), live: AtomicU64::new(0) });
    let begun = Instant::now();
    let crowds: Vec<_> = VISITORS.iter().map(|crowd| (crowd, arrive(&scene, crowd))).collect();
    let deployed = deploy(&client, &source, &url, &scene);
    scene.stop.store(true, Ordering::SeqCst);
    let took = begun.elapsed();

    let mut report = Report::default();
    let mut failed = 0;
    let mut stale = 0;
    for ((_, name, _, _), threads) in crowds {
        let seen = leave(threads)?;
        failed += seen.failures.len();
        stale += seen.stale;
        report.row(*name, seen.summary());
        for failure in seen.failures.iter().take(SHOWN_MAX) {
            report.row("", failure.as_str());
        }
    }
    let durations = deployed?;
    report.times(&format!("{} deploys within {}, each", durations.len(), shown(took)), &durations);
    report.goal(format!("no failed request: {failed}"), failed == 0);
    report.goal(format!("no old answer after a push has ended: {stale}"), stale == 0);
    Ok(report)
}

fn deploy(client: &Client, source: &Source, url: &str, scene: &Scene) -> Result<Vec<Duration>> {
    let mut durations = Vec::new();
    for release in 1..=DEPLOYS {
        source.commit_release(client, release)?;
        durations.push(source.push(client, url, "main")?);
        scene.live.store(release, Ordering::SeqCst);
    }
    Ok(durations)
}

fn arrive(scene: &Arc<Scene>, crowd: &(Visitor, &str, usize, Duration)) -> Vec<JoinHandle<Seen>> {
    let (visitor, _, count, pause) = *crowd;
    (0..count)
        .map(|_| {
            let scene = Arc::clone(scene);
            thread::spawn(move || visit(&scene, visitor, pause))
        })
        .collect()
}

fn leave(threads: Vec<JoinHandle<Seen>>) -> Result<Seen> {
    let mut all = Seen::default();
    for thread in threads {
        let seen = thread.join().map_err(|_| Failure::from("a visitor panicked"))?;
        all.latencies.extend(seen.latencies);
        all.failures.extend(seen.failures);
        all.stale += seen.stale;
        all.reopened += seen.reopened;
    }
    Ok(all)
}

fn visit(scene: &Scene, visitor: Visitor, pause: Duration) -> Seen {
    let mut seen = Seen::default();
    let mut kept: Option<Connection> = None;
    while !scene.stop.load(Ordering::SeqCst) {
        let least = scene.live.load(Ordering::SeqCst);
        let begun = Instant::now();
        let asked = ask(scene, visitor, &mut kept, &mut seen);
        match asked.and_then(|answer| release(&answer)) {
            Ok(release) => {
                seen.latencies.push(begun.elapsed());
                seen.stale += usize::from(release < least);
            }
            Err(failure) => {
                kept = None;
                seen.failures.push(format!("after release {least}: {failure}"));
            }
        }
        thread::sleep(pause);
    }
    seen
}

fn ask(
    scene: &Scene,
    visitor: Visitor,
    kept: &mut Option<Connection>,
    seen: &mut Seen,
) -> io::Result<Answer> {
    match visitor {
        Visitor::New => Connection::open(scene.proxy)?.get(HOST, "/", false),
        Visitor::Slow => Connection::open(scene.proxy)?.get(HOST, "/slow", false),
        Visitor::Kept => {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => Connection::open(scene.proxy)?,
            };
            let answer = connection.get(HOST, "/", true)?;
            // A server may say that it closes; what it may not is close without a word.
            if answer.stays_open {
                *kept = Some(connection);
            } else {
                seen.reopened += 1;
            }
            Ok(answer)
        }
    }
}

fn release(answer: &Answer) -> io::Result<u64> {
    let release = release_of(&answer.body).filter(|_| answer.status == 200);
    release.ok_or_else(|| {
        let body = String::from_utf8_lossy(&answer.body);
        io::Error::other(format!(
            "status {}: {:?}",
            answer.status,
            body.chars().take(120).collect::<String>()
        ))
    })
}

impl Seen {
    fn summary(&self) -> String {
        let (middle, high) = (percentile(&self.latencies, 50), percentile(&self.latencies, 99));
        format!(
            "{:>8} answered, {} failed, {} old, {} closed by the server; median {}, p99 {}",
            self.latencies.len(),
            self.failures.len(),
            self.stale,
            self.reopened,
            shown(middle),
            shown(high)
        )
    }
}
