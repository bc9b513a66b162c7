//! Visitors that come in several ways at once, and what each of them has seen.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Failure, Result,
    figures::{Report, percentile, shown},
    http::{Answer, Connection},
    source::release_of,
};

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

/// All who come to one app, until they are told to leave.
pub(crate) struct Crowds {
    scene: Arc<Scene>,
    threads: Vec<(&'static str, Vec<JoinHandle<Seen>>)>,
}

/// What went wrong, all visitors together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Requests without a good answer.
    pub(crate) failed: usize,
    /// Answers of a release older than the one that was said to be live.
    pub(crate) stale: usize,
}

impl Crowds {
    /// Lets them in.
    pub(crate) fn arrive(proxy: SocketAddr) -> Self {
        let scene = Arc::new(Scene { proxy, stop: AtomicBool::new(false), live: AtomicU64::new(0) });
        let threads = VISITORS.iter().map(|crowd| (crowd.1, arrive(&scene, crowd))).collect();
        Self { scene, threads }
    }

    /// From now on, answers of earlier releases are stale.
    pub(crate) fn is_live(&self, release: u64) {
        self.scene.live.store(release, Ordering::SeqCst);
    }

    /// Tells them to leave, and writes down what they have seen.
    pub(crate) fn leave(self, report: &mut Report) -> Result<Trouble> {
        self.scene.stop.store(true, Ordering::SeqCst);
        let mut trouble = Trouble::default();
        for (name, threads) in self.threads {
            let seen = join(threads)?;
            trouble.failed += seen.failures.len();
            trouble.stale += seen.stale;
            report.row(name, seen.summary());
            for failure in seen.failures.iter().take(SHOWN_MAX) {
                report.row("", failure.as_str());
            }
        }
        Ok(trouble)
    }
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

fn join(threads: Vec<JoinHandle<Seen>>) -> Result<Seen> {
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
