//! When a started instance counts as ready, and why it does not.
//!
//! Transitions: started → listens on `PORT` (the web process) → passes its startup checks, or without checks
//! has answered a first request with whatever it likes → ready. At any
//! point it may exit, and at any point the time limit may end; each is told apart in the failure.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use autostack_domain::{
    Exit, Failure, FailureKind, Program, Stage,
    health::{CheckKind, HealthCheck, Probe},
};
use autostack_runtime::Backend;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    deployer::Parts,
    probe::{self, Started},
};

/// How long a process that serves no port must have run to count as started, where no check says otherwise.
/// Long enough for a wrong path, a missing module or a refused connection to show itself.
pub(crate) const UPTIME_WITHOUT_CHECK: Duration = Duration::from_secs(2);
/// First pause between two looks at `PORT`; it grows to [`LOOK_PAUSE_MAX`].
const LOOK_PAUSE_FIRST: Duration = Duration::from_millis(2);
/// Longest pause between two looks at `PORT`.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(50);
/// How long an instance may listen on another port only, before waiting for `PORT` is given up.
const ELSEWHERE_PATIENCE: Duration = Duration::from_secs(15);
/// How long an instance without checks that listens may take to answer a first request before it counts as ready all
/// the same. Many servers listen before they have loaded the app: who looks at the port only would show visitors an
/// app that is about to end with an import error.
const FIRST_ANSWER_PATIENCE: Duration = Duration::from_secs(3);
/// How often somebody who waits is told what is waited for.
const NOTICE_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked where else an instance listens.
const ELSEWHERE_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the engine may be away while an instance gets ready, before that is given up.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether the engine is there.
const ENGINE_LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a function may take to answer its first event: it is loaded by then.
const FIRST_EVENT_PATIENCE: Duration = Duration::from_secs(60);

/// What the wait needs to know.
pub(crate) struct Wait<'a> {
    /// The checks of the process type.
    pub(crate) checks: &'a [HealthCheck],
    /// Whether it is ready as soon as it runs.
    pub(crate) is_skipped: bool,
    /// Whether it is a function, which answers events and not requests.
    pub(crate) is_lambda: bool,
    /// The host that HTTP checks ask for.
    pub(crate) host: &'a str,
    /// How long the whole may take.
    pub(crate) limit: Duration,
    /// How long one that serves no port and has no checks must have run.
    pub(crate) uptime: Duration,
    /// Told what is waited for.
    pub(crate) say: &'a (dyn Fn(String) + Send + Sync),
}

/// Waits until the instance is ready; gives back the address at which it answers.
pub(crate) async fn wait_until_ready(
    parts: &Parts,
    instance: &Started,
    wait: &Wait<'_>,
) -> Result<SocketAddr, Failure> {
    if wait.is_skipped {
        return Ok(instance.endpoint);
    }
    let is_checking = AtomicBool::new(false);
    let passing = timeout(wait.limit, pass(parts, instance, wait, &is_checking));
    let outcome = tokio::select! {
        biased;
        exit = parts.runtime.wait(&instance.spec.id) => Err(exited(instance, exit.unwrap_or(Exit::Unknown))),
        () = engine_lost(parts, instance) => Err(engine_away(instance)),
        passed = passing => match passed {
            Ok(outcome) => outcome,
            Err(_) if is_checking.load(Ordering::Relaxed) => Err(still_checking(instance, wait)),
            Err(_) => Err(too_slow(parts, instance, wait).await),
        },
    };
    match outcome {
        // Whatever was seen of it, its app is not to blame.
        Err(_) if is_container(instance) && !parts.runtime.is_up() => Err(engine_away(instance)),
        outcome => outcome,
    }
}

/// Resolves when the engine of a container stays away.
async fn engine_lost(parts: &Parts, instance: &Started) {
    if !is_container(instance) {
        return std::future::pending().await;
    }
    let mut away_since = None;
    while away_since.is_none_or(|since: Instant| since.elapsed() < ENGINE_PATIENCE) {
        sleep(ENGINE_LOOK_EVERY).await;
        away_since = (!parts.runtime.is_up()).then(|| away_since.unwrap_or_else(Instant::now));
    }
}

fn is_container(instance: &Started) -> bool {
    matches!(instance.spec.program, Program::Image { .. })
}

fn engine_away(instance: &Started) -> Failure {
    let cause = format!("the container engine went away while {} got ready", instance.spec.dyno());
    Failure::new(Stage::Health, FailureKind::EngineUnavailable, cause)
        .hint("once the engine is back, push again")
}

async fn pass(
    parts: &Parts,
    instance: &Started,
    wait: &Wait<'_>,
    is_checking: &AtomicBool,
) -> Result<SocketAddr, Failure> {
    // A function answers events: its first one tells what a request over HTTP would.
    let is_asked = |check: &&HealthCheck| {
        check.kind == CheckKind::Startup && !(wait.is_lambda && matches!(check.probe, Probe::Http { .. }))
    };
    let startup: Vec<&HealthCheck> = wait.checks.iter().filter(is_asked).collect();
    let mut instance = instance.clone();
    let needs_port = instance.spec.process.is_web()
        || startup.iter().any(|check| matches!(check.probe, Probe::Http { .. } | Probe::Listening));
    if needs_port {
        instance.endpoint = listening(parts, &instance, wait).await?;
        if wait.is_lambda {
            first_event(&instance, wait).await?;
        } else if startup.is_empty() {
            first_answer(&instance, wait).await;
        }
    } else if startup.is_empty() {
        tokio::time::sleep_until(instance.since + wait.uptime).await;
    }
    is_checking.store(true, Ordering::Relaxed);
    for check in startup {
        pass_check(parts, &instance, check, wait).await?;
    }
    Ok(instance.endpoint)
}

/// Looks at `PORT` until something accepts there.
async fn listening(parts: &Parts, instance: &Started, wait: &Wait<'_>) -> Result<SocketAddr, Failure> {
    let dyno = instance.spec.dyno();
    let port = own_port(instance);
    let mut pause = LOOK_PAUSE_FIRST;
    let mut next_notice = instance.since + NOTICE_EVERY;
    let mut next_look = instance.since + ELSEWHERE_LOOK_EVERY;
    let mut elsewhere_since: Option<Instant> = None;
    loop {
        if let Some(endpoint) = accepts(instance.endpoint).await
            && is_its_own(parts, instance).await
        {
            return Ok(endpoint);
        }
        let now = Instant::now();
        if now >= next_look {
            next_look = now + ELSEWHERE_LOOK_EVERY;
            let others = listens_elsewhere(parts, instance).await;
            match (others.is_empty(), elsewhere_since) {
                (true, _) => elsewhere_since = None,
                (false, None) => {
                    elsewhere_since = Some(now);
                    let where_not = if is_shut_in(instance, &others) {
                        "not on an address that is reached from outside of its container".to_owned()
                    } else {
                        format!("not on PORT {port}")
                    };
                    (wait.say)(format!("{dyno} listens on {}, {where_not}", list(&others)));
                }
                (false, Some(since)) if now - since >= ELSEWHERE_PATIENCE => {
                    return Err(elsewhere(instance, &others));
                }
                (false, Some(_)) => {}
            }
        }
        if now >= next_notice {
            next_notice = now + NOTICE_EVERY;
            let waited = (now - instance.since).as_secs();
            (wait.say)(format!(
                "{dyno} does not listen on PORT {port} yet ({waited} s of {} s)",
                wait.limit.as_secs()
            ));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_PAUSE_MAX);
    }
}

/// Waits for any answer to a first request, within bounds.
async fn first_answer(instance: &Started, wait: &Wait<'_>) {
    let answered = async {
        let mut pause = LOOK_PAUSE_FIRST;
        while probe::answers(instance.endpoint, wait.host).await.is_err() {
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_PAUSE_MAX);
        }
    };
    if timeout(FIRST_ANSWER_PATIENCE, answered).await.is_err() {
        let seconds = FIRST_ANSWER_PATIENCE.as_secs();
        (wait.say)(format!(
            "{} listens, but has not answered GET / within {seconds} s; taken as ready (a check in app.json would tell)",
            instance.spec.dyno()
        ));
    }
}

/// Sends a function one event, before any visitor's: what cannot be loaded shows itself now.
async fn first_event(instance: &Started, wait: &Wait<'_>) -> Result<(), Failure> {
    let dyno = instance.spec.dyno();
    let asked = probe::invoke(instance, wait.host);
    let seen = match timeout(FIRST_EVENT_PATIENCE, asked).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(seen)) => seen,
        Err(_) => format!("no answer within {} s", FIRST_EVENT_PATIENCE.as_secs()),
    };
    let cause = format!("{dyno} did not answer a first event: {seen}");
    Err(Failure::new(Stage::Health, FailureKind::CheckFailed, cause)
        .evidence([format!("command: {}", instance.spec.program)])
        .hint("correct the handler that the image names, or what it imports, then push again"))
}

/// The port that the instance was told, as its own programs see it.
fn own_port(instance: &Started) -> u16 {
    match &instance.spec.program {
        Program::Image { port, .. } => *port,
        Program::Folder { .. } => instance.endpoint.port(),
    }
}

/// Where a connection is accepted: the address given, or the same port on the IPv6 loopback, which is what
/// `listen(PORT, "localhost")` means to some runtimes.
async fn accepts(endpoint: SocketAddr) -> Option<SocketAddr> {
    let over_ipv6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), endpoint.port());
    // A container has an address of its own, and no twin on the loopback of this host.
    let twin = endpoint.ip().is_loopback().then_some(over_ipv6);
    for address in std::iter::once(endpoint).chain(twin) {
        if let Ok(stream) = TcpStream::connect(address).await
            // On a port of the ephemeral range that nobody listens on, TCP may connect a socket to itself.
            && stream.local_addr().ok() != stream.peer_addr().ok()
        {
            return Some(address);
        }
    }
    None
}

/// Whether it is the instance that listens on its port, and not a stranger who was faster.
async fn is_its_own(parts: &Parts, instance: &Started) -> bool {
    match parts.runtime.listening(&instance.spec.id).await {
        Ok(addresses) => addresses.iter().any(|address| is_at(instance, *address)),
        // A runtime that cannot look leaves it at what was seen.
        Err(_) => true,
    }
}

/// Whether what listens at `address` is reached through the instance's endpoint. A process listens there on any
/// address of the host; a container only on its own, which its runtime has translated.
fn is_at(instance: &Started, address: SocketAddr) -> bool {
    let endpoint = instance.endpoint;
    let same_host = match instance.spec.program {
        Program::Folder { .. } => true,
        Program::Image { .. } => address.ip() == endpoint.ip() || address.ip().is_unspecified(),
    };
    address.port() == endpoint.port() && same_host
}

/// Waits until the address, or its twin on the IPv6 loopback, accepts a connection; no limit of its own.
pub(crate) async fn accepting(endpoint: SocketAddr) -> SocketAddr {
    let mut pause = LOOK_PAUSE_FIRST;
    loop {
        if let Some(found) = accepts(endpoint).await {
            return found;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_PAUSE_MAX);
    }
}

async fn pass_check(
    parts: &Parts,
    instance: &Started,
    check: &HealthCheck,
    wait: &Wait<'_>,
) -> Result<(), Failure> {
    let dyno = instance.spec.dyno();
    sleep(check.initial_delay).await;
    let mut seen = String::new();
    for attempt in 1..=check.attempts.max(1) {
        // An uptime check lasts as long as it asks for.
        let limit = match check.probe {
            Probe::Uptime { seconds } => check.timeout + Duration::from_secs(u64::from(seconds)),
            Probe::Http { .. } | Probe::Command(_) | Probe::Listening => check.timeout,
        };
        match timeout(limit, probe::ask(parts, instance, &check.probe, wait.host)).await {
            Ok(Ok(())) => {
                (wait.say)(format!("{dyno} passed check \"{}\"", check.name));
                return Ok(());
            }
            Ok(Err(saw)) => seen = saw,
            Err(_) => seen = format!("no answer within {} ms", check.timeout.as_millis()),
        }
        (wait.say)(format!(
            "{dyno} check \"{}\", attempt {attempt} of {}: {seen}",
            check.name, check.attempts
        ));
        if attempt < check.attempts {
            sleep(check.wait).await;
        }
    }
    let cause = format!("{dyno} did not pass check \"{}\": {seen} ({} attempts)", check.name, check.attempts);
    Err(Failure::new(Stage::Health, FailureKind::CheckFailed, cause)
        .hint("correct what the app answers, or the check in app.json, then push again"))
}

fn exited(instance: &Started, exit: Exit) -> Failure {
    let dyno = instance.spec.dyno();
    let before = if instance.spec.process.is_web() {
        "before it was ready for requests"
    } else {
        "right after its start"
    };
    let cause = format!("{dyno} {exit} {before}");
    let kind = match exit {
        Exit::OutOfMemory { .. } => FailureKind::OutOfMemory,
        Exit::Code(_) | Exit::Signal(_) | Exit::Unknown => FailureKind::InstanceExited,
    };
    let failure =
        Failure::new(Stage::Health, kind, cause).evidence([format!("command: {}", instance.spec.program)]);
    match exit {
        Exit::Code(0) => failure.hint(
            "the command ended by itself: start it in the foreground, not as a daemon or in the background, then push again",
        ),
        Exit::Code(126 | 127) => {
            failure.hint("the command was not found or cannot be run: correct the Procfile or the start script, then push again")
        }
        Exit::OutOfMemory { .. } => failure.hint("make the app use less memory, or raise runtime.memory_bytes_max, then push again"),
        Exit::Code(_) | Exit::Signal(_) | Exit::Unknown => {
            failure.hint("run the same command on your machine, correct what it shows, then push again")
        }
    }
}

fn still_checking(instance: &Started, wait: &Wait<'_>) -> Failure {
    let names: Vec<_> = wait.checks.iter().map(|check| format!("\"{}\"", check.name)).collect();
    let cause = format!(
        "{} had not passed its checks ({}) within {} s",
        instance.spec.dyno(),
        names.join(", "),
        wait.limit.as_secs()
    );
    Failure::new(Stage::Health, FailureKind::CheckFailed, cause)
        .hint("make the checks in app.json answer sooner, or raise deploy.start_timeout")
}

async fn too_slow(parts: &Parts, instance: &Started, wait: &Wait<'_>) -> Failure {
    let others = listens_elsewhere(parts, instance).await;
    if !others.is_empty() {
        return elsewhere(instance, &others);
    }
    let cause = format!(
        "{} runs, but did not get ready within {} s: nothing passed on PORT {}",
        instance.spec.dyno(),
        wait.limit.as_secs(),
        own_port(instance)
    );
    Failure::new(Stage::Health, FailureKind::NotListening, cause)
        .evidence([format!("command: {}", instance.spec.program)])
        .hint(
            "make the app listen on the port in the environment variable PORT, or raise deploy.start_timeout",
        )
}

/// Whether a container listens on its `PORT`, but only for itself.
fn is_shut_in(instance: &Started, others: &[SocketAddr]) -> bool {
    let port = own_port(instance);
    let shut_in = |address: &SocketAddr| address.ip().is_loopback() && address.port() == port;
    is_container(instance) && others.iter().all(shut_in)
}

fn elsewhere(instance: &Started, others: &[SocketAddr]) -> Failure {
    let (dyno, port) = (instance.spec.dyno(), own_port(instance));
    let (cause, hint) = if is_shut_in(instance, others) {
        let cause = format!(
            "{dyno} listens on {} only, which nobody reaches from outside of its container",
            list(others)
        );
        (cause, "listen on 0.0.0.0 instead of localhost, then push again")
    } else {
        let cause = format!(
            "{dyno} listens on {}, not on the port in its environment variable PORT ({port})",
            list(others)
        );
        let hint = if is_container(instance) {
            "read the port from PORT, or EXPOSE the port that it listens on in the Dockerfile, then push again"
        } else {
            "read the port from PORT instead of writing it into the code, then push again"
        };
        (cause, hint)
    };
    Failure::new(Stage::Health, FailureKind::ListensElsewhere, cause)
        .evidence([format!("command: {}", instance.spec.program)])
        .hint(hint)
}

async fn listens_elsewhere(parts: &Parts, instance: &Started) -> Vec<SocketAddr> {
    let mut others = parts.runtime.listening(&instance.spec.id).await.unwrap_or_default();
    others.retain(|address| !is_at(instance, *address));
    others.sort();
    others.dedup();
    others
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}
