//! `kill -9` of the agent: what runs goes on running, what was cut off is undone, no line of a log is lost or doubled.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::world::{World, apps, http_get, soon};

#[test]
fn an_app_outlives_the_agent_and_is_adopted() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node_with("response.end(String(process.pid));"));
    repo.push("shop").accepted();
    let pid = world.get("shop", "/").body;
    let before = world.settled("shop");
    let port = *before.ports.first().unwrap();

    world.kill9();
    assert!(world.try_get("shop", "/").is_err(), "the proxy is gone with the agent");
    let direct = http_get(([127, 0, 0, 1], port).into(), "shop.localhost", "/", &[]).unwrap();
    assert_eq!(direct.body, pid, "the app itself is not");
    world.start();
    assert_eq!(world.get("shop", "/").body, pid, "the same process answers: it was adopted, not restarted");
    world.assert_nothing_left("shop", &before);

    // A connection to the app is kept just now; the stop must not wait until it is old.
    world.get("shop", "/");
    let began = Instant::now();
    assert!(world.stop().success(), "{}", world.log());
    assert!(began.elapsed() < Duration::from_secs(3), "the stop took {:?}", began.elapsed());
    world.start();
    assert_eq!(world.get("shop", "/").body, pid, "nor does an orderly restart touch it");

    // One that ended while nobody looked is started again.
    world.kill9();
    let instances = world.instances("shop");
    instances.iter().for_each(|process| process.signal(nix::sys::signal::Signal::SIGKILL));
    soon("its end", || instances.iter().all(|process| !process.runs()).then_some(()));
    world.start();
    let successor = soon("its successor", || {
        Some(world.try_get("shop", "/").ok()?).filter(|answer| answer.status == 200)
    });
    assert_ne!(successor.body, pid);
    let state = world.settled("shop");
    assert_eq!((state.instances.len(), state.ports.len()), (1, 1), "{state:#?}");
}

#[test]
fn a_build_that_was_cut_off_is_undone_at_the_next_start() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.push("shop").accepted();
    let before = world.settled("shop");

    repo.write("package.json", apps::ENDLESS_BUILD).commit();
    let push = repo.push_live("shop");
    push.wait_for("compiling for long");
    world.kill9();
    assert_ne!(push.end().code, Some(0), "the pusher is not told that all is well");
    world.start();
    assert_eq!(world.get("shop", "/").body, "web", "the old release serves");
    world.assert_nothing_left("shop", &before);
    let log = ada.ssh(&["logs", "shop"]).ok();
    assert!(log.contains("failed: the agent was stopped in the middle of the deployment"), "{log}");

    repo.write("package.json", r#"{ "scripts": { "start": "node server.js" } }"#);
    repo.write("server.js", &repo.read("server.js").replace("\"web\"", "\"next\"")).commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "next");
}

#[test]
fn a_candidate_that_was_cut_off_is_stopped_at_the_next_start() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::procfile("web: node server.js\n"));
    repo.push("shop").accepted();
    let before = world.settled("shop");
    repo.write("Procfile", "web: echo never ready; exec sleep 1000\n").commit();
    let push = repo.push_live("shop");
    push.wait_for("Starting shop v2");
    soon("the candidate", || (world.instances("shop").len() > 1).then_some(()));
    world.kill9_and_restart();
    assert_ne!(push.end().code, Some(0));
    world.assert_nothing_left("shop", &before);
    assert_eq!(world.get("shop", "/").body, "web");
}

#[test]
fn an_orderly_stop_cancels_what_is_under_way() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.push("shop").accepted();
    let before = world.settled("shop");
    let package =
        r#"{ "scripts": { "build": "echo compiling for long; sleep 1000", "start": "node server.js" } }"#;
    repo.write("package.json", package).commit();
    let push = repo.push_live("shop");
    push.wait_for("compiling for long");
    assert!(world.stop().success(), "{}", world.log());
    assert_ne!(push.end().code, Some(0));
    world.start();
    assert_eq!(world.get("shop", "/").body, "web");
    world.assert_nothing_left("shop", &before);
    assert!(ada.ssh(&["logs", "shop"]).ok().contains("was cancelled"), "{}", world.log());
}

#[test]
fn whenever_the_agent_is_killed_what_git_has_and_what_is_live_are_the_same() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node_with("response.end(process.env.GIT_REV);"));
    repo.push("shop").accepted();
    let mut accepted = 0;
    for delay in [60, 120, 180, 240, 300, 360, 420, 500, 600, 800] {
        let new = repo.commit();
        let push = repo.push_live("shop");
        // Not a wait for something: the moment of the blow.
        thread::sleep(Duration::from_millis(delay));
        world.kill9_and_restart();
        let was_told = push.end().code == Some(0);
        let head = world.head("shop");
        assert_eq!(world.get("shop", "/").body, head, "after {delay} ms");
        assert!(!was_told || head == new, "a pusher who was told so is live (after {delay} ms)");
        let state = world.settled("shop");
        assert_eq!((state.instances.len(), state.ports.len()), (1, 1), "after {delay} ms: {state:#?}");
        accepted += usize::from(head == new);
    }
    println!("{accepted} of 10 pushes were accepted before the blow");
    repo.commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, repo.head());
}

#[test]
fn every_line_of_a_log_is_there_once() {
    let world = World::new();
    let ada = world.developer("ada");
    let program = r#"const http = require("node:http");
let line = 0;
setInterval(() => { for (let i = 0; i < 5; i++) console.log(`line ${line++}`); }, 2);
http.createServer((request, response) => response.end(String(line))).listen(process.env.PORT);
"#;
    let repo = ada.app_of(apps::node_program(program));
    repo.push("shop").accepted();
    let lines_written = || world.get("shop", "/").body.parse::<usize>().unwrap();
    for _ in 0..3 {
        let seen = lines_written();
        soon("more lines", || (lines_written() > seen + 300).then_some(()));
        world.kill9();
        // Lines that nobody takes for a while.
        thread::sleep(Duration::from_millis(300));
        world.start();
    }
    let enough = lines_written();
    let log = soon("all of its lines", || {
        let log = ada.ssh(&["logs", "shop", "-p", "web", "-n", "1000000"]).ok();
        log.contains(&format!("line {enough}\n")).then_some(log)
    });
    let numbers = log.lines().map(|line| line.rsplit("line ").next().unwrap().parse::<usize>().unwrap());
    for (expected, number) in numbers.enumerate() {
        assert_eq!(number, expected, "a line was lost or doubled");
    }
}

#[test]
fn a_follower_goes_on_over_a_redeploy_and_comes_back_after_a_crash() {
    let world = World::new();
    let ada = world.developer("ada");
    let speaking = |word: &str| {
        apps::node_with(&format!(
            "if (url.pathname !== '/') console.log('{word} was asked for', url.pathname); response.end('{word}');"
        ))
    };
    let repo = ada.app_of(speaking("first"));
    repo.push("shop").accepted();
    let follower = ada.ssh_live(&["logs", "shop", "-t"]);
    world.get("shop", "/one");
    follower.wait_for("first was asked for /one");
    for (name, text) in speaking("second") {
        repo.write(name, &text);
    }
    repo.commit();
    repo.push("shop").accepted();
    world.get("shop", "/two");
    follower.wait_for("second was asked for /two");
    assert_eq!(follower.stdout().matches("was asked for").count(), 2, "{}", follower.stdout());

    world.kill9();
    assert_ne!(follower.end().code, Some(0), "a follower notices that the agent has gone");
    world.start();
    let follower = ada.ssh_live(&["logs", "shop", "-t", "-n", "1000"]);
    follower.wait_for("second was asked for /two");
    world.get("shop", "/three");
    follower.wait_for("second was asked for /three");
    assert_eq!(follower.stdout().matches("was asked for").count(), 3, "{}", follower.stdout());
}
