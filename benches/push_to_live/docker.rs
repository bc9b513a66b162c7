//! The same measure with a Dockerfile: a push to the agent, and `docker build` + `docker run` of the same folder.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    push_to_agent,
    support::{
        Failure, Result,
        agent::Agent,
        client::{Client, run},
        engine::{BASE, Container, make_base},
        figures::{Report, median, ratio},
        http,
        source::Source,
    },
    wait_for_release,
};

const ROUNDS: u64 = 10;
const RATIO_MAX: f64 = 1.2;
/// Between two requests of the visitor who comes all the time.
const VISIT_EVERY: Duration = Duration::from_millis(20);

pub(crate) fn bench() -> Result<Report> {
    make_base()?;
    let client = Client::new()?;
    let agent = Agent::start_with(&client, "docker")?;
    let source = Source::image_app(&client, BASE)?;
    let measured = measure(&client, &agent, &source);
    // Containers, images and the network of the app go with it.
    let destroyed = run(&mut client.ssh(agent.ssh, &["apps:destroy", "hello", "--force"]));
    let report = measured?;
    destroyed?;
    Ok(report)
}

fn measure(client: &Client, agent: &Agent, source: &Source) -> Result<Report> {
    // The first round makes app, network and caches, on both sides, and is not counted.
    let (mut live, mut pushed, mut peer) = (vec![], vec![], vec![]);
    source.commit_page(client, 0)?;
    push_to_agent(client, agent, source, 0)?;
    drop(build_and_run(source, 0)?);

    let stop = Arc::new(AtomicBool::new(false));
    let visitor = visit(agent, &stop);
    for round in 1..=ROUNDS {
        source.commit_page(client, round)?;
        let mut ours = None;
        if round % 2 == 0 {
            ours = Some(push_to_agent(client, agent, source, round)?);
        }
        peer.push(build_and_run(source, round)?.1);
        let (until_live, until_pushed) = match ours {
            Some(ours) => ours,
            None => push_to_agent(client, agent, source, round)?,
        };
        live.push(until_live);
        pushed.push(until_pushed);
    }
    stop.store(true, Ordering::SeqCst);
    let (requests, failures) = visitor.join().map_err(|_| Failure::from("the visitor panicked"))?;

    let times = ratio(median(&live), median(&peer));
    let mut report = Report::default();
    report.times("push until the new version answers", &live);
    report.times("  until git push has ended", &pushed);
    report.times("docker build + docker run until it answers", &peer);
    report.row("ratio of the medians", format!("{times:>8.2}"));
    report.row("requests of a visitor meanwhile", requests.to_string());
    failures.iter().take(5).for_each(|failure| report.row("", failure.as_str()));
    report.goal(format!("at most {RATIO_MAX} times docker build + docker run"), times <= RATIO_MAX);
    report.goal(format!("no failed request while redeploying: {}", failures.len()), failures.is_empty());
    Ok(report)
}

/// The peer, and how long it took until its first answer. The end of the container is not counted.
fn build_and_run(source: &Source, round: u64) -> Result<(Container, Duration)> {
    let begun = Instant::now();
    let container = Container::build_and_run(source.path(), &format!("autostack-bench/peer:{round}"))?;
    wait_for_release(container.address, "localhost", round)?;
    let took = begun.elapsed();
    Ok((container, took))
}

/// Asks all the time; gives how many requests there were and what failed.
fn visit(agent: &Agent, stop: &Arc<AtomicBool>) -> thread::JoinHandle<(usize, Vec<String>)> {
    let (proxy, stop) = (agent.http, Arc::clone(stop));
    thread::spawn(move || {
        let (mut requests, mut failures) = (0, Vec::new());
        while !stop.load(Ordering::SeqCst) {
            requests += 1;
            match http::get(proxy, "hello.localhost", "/") {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => failures.push(format!("HTTP {}", answer.status)),
                Err(error) => failures.push(error.to_string()),
            }
            thread::sleep(VISIT_EVERY);
        }
        (requests, failures)
    })
}
