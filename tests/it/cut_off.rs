//! A pusher who goes away in the middle: Ctrl-C, or a connection that is simply gone. Within a second nothing is left.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::world::{Repo, World, apps, soon};

/// What the pusher is promised, and what looking costs on a loaded machine.
const PROMISE: Duration = Duration::from_millis(1_000 + 500);

#[test]
fn ctrl_c_during_a_build_leaves_nothing_within_a_second() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.push("shop").accepted();
    let before = world.settled("shop");

    let package = r#"{ "scripts": { "build": "(setsid sleep 1000) & echo compiling for long; sleep 1000", "start": "node server.js" } }"#;
    repo.write("package.json", package).commit();
    let push = repo.push_live("shop");
    push.wait_for("remote:        compiling for long");
    push.signal(Signal::SIGINT);
    let cut = Instant::now();
    world.assert_nothing_left_within("shop", &before, PROMISE);
    println!("all is undone {:?} after Ctrl-C", cut.elapsed());
    assert_ne!(push.end().code, Some(0));
    assert_eq!(world.get("shop", "/").body, "web");
    let log = soon("the record of it", || {
        let log = ada.ssh(&["logs", "shop"]).ok();
        log.contains("was cancelled at build").then_some(log)
    });
    assert!(!log.contains("failed at"), "{log}");

    repo.write("package.json", r#"{ "scripts": { "start": "node server.js" } }"#);
    repo.write("server.js", &repo.read("server.js").replace("\"web\"", "\"next\"")).commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "next", "the next push is not held up");
}

#[test]
fn a_lost_connection_during_the_health_wait_leaves_nothing_within_a_second() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::procfile("web: node server.js\n"));
    repo.push("shop").accepted();
    let before = world.settled("shop");

    // It ignores SIGTERM, too.
    repo.write("Procfile", "web: trap '' TERM; echo never ready; while :; do sleep 1000; done\n").commit();
    let push = repo.push_live("shop");
    push.wait_for("Starting shop v2");
    soon("the candidate", || (world.state("shop").instances.len() == 2).then_some(()));
    push.signal(Signal::SIGKILL);
    let cut = Instant::now();
    world.assert_nothing_left_within("shop", &before, PROMISE);
    println!("all is undone {:?} after the connection was lost", cut.elapsed());
    assert_eq!(push.end().code, None);
    assert_eq!(world.get("shop", "/").body, "web");
    soon("the record of it", || {
        ada.ssh(&["logs", "shop"]).ok().contains("was cancelled at health").then_some(())
    });
}

#[test]
fn a_first_push_that_is_cut_off_and_one_that_waits_behind_another() {
    let world = World::new();
    let ada = world.developer("ada");
    let before = world.state("shop");
    let slow = |word: &str| {
        let package = format!(
            r#"{{ "scripts": {{ "build": "echo {word}; sleep 1000", "start": "node server.js" }} }}"#
        );
        let repo = ada.app_of(apps::node(word));
        repo.write("package.json", &package).commit();
        repo
    };
    let first = slow("first-build");
    let push = first.push_live("shop");
    push.wait_for("first-build");

    let second = ada.app_of(apps::node("second"));
    let waiting = second.push_live("shop");
    waiting.wait_for("Waiting for the deployment before this one");
    push.signal(Signal::SIGINT);
    drop(push);
    Repo::outcome(&waiting.end()).accepted();
    assert_eq!(world.get("shop", "/").body, "second");

    let third = slow("third-build");
    let push = third.push_live("other");
    push.wait_for("third-build");
    push.signal(Signal::SIGINT);
    drop(push);
    world.settled("shop");
    assert_eq!(world.get("other", "/").status, 404);
    assert!(world.state("other").refs.is_empty());
    assert!(world.state("other").artifacts.is_empty());
    drop(before);
}
