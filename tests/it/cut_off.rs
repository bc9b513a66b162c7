//! A pusher who goes away in the middle: Ctrl-C, or a connection that is simply gone. Within a second nothing is left.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::world::{Developer, Repo, World, apps, soon};

/// What the pusher is promised, and what looking costs on a loaded machine.
const PROMISE: Duration = Duration::from_millis(1_000 + 500);

#[test]
fn ctrl_c_during_a_build_leaves_nothing_within_a_second() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.push("shop").accepted();
    let before = world.settled("shop");

    repo.write("package.json", apps::ENDLESS_BUILD).commit();
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

/// An app whose build says a word and then takes for ever.
fn slow<'d>(ada: &'d Developer<'d>, word: &str) -> Repo<'d> {
    let package =
        format!(r#"{{ "scripts": {{ "build": "echo {word}; sleep 1000", "start": "node server.js" }} }}"#);
    let repo = ada.app_of(apps::node(word));
    repo.write("package.json", &package).commit();
    repo
}

#[test]
fn a_first_push_that_is_cut_off_leaves_not_even_an_app() {
    let world = World::new();
    let ada = world.developer("ada");
    let before = world.state("shop");
    let push = slow(&ada, "first-build");
    let push = push.push_live("shop");
    push.wait_for("first-build");
    push.signal(Signal::SIGINT);
    world.assert_nothing_left("shop", &before);
    soon("the app to be gone", || (ada.ssh(&["url", "shop"]).code == Some(20)).then_some(()));
    assert!(!world.data_dir().join("repos/shop.git").exists());
    assert!(!world.log().contains("ERROR"), "nothing went wrong: {}", world.log());
}

#[test]
fn a_first_push_that_is_cut_off_takes_nothing_from_one_that_waits_behind_it() {
    let world = World::new();
    let ada = world.developer("ada");
    let first = slow(&ada, "first-build");
    let push = first.push_live("shop");
    push.wait_for("first-build");
    let second = ada.app_of(apps::node("second"));
    let waiting = second.push_live("shop");
    waiting.wait_for("Waiting for the deployment before this one");
    push.signal(Signal::SIGINT);
    Repo::outcome(&waiting.end()).accepted();
    assert_eq!(world.get("shop", "/").body, "second");
    let state = world.settled("shop");
    assert_eq!((state.instances.len(), state.artifacts.len()), (1, 1), "{state:#?}");
}

/// The first push goes live only after the second one waits, so the second one is outdated for certain.
#[test]
fn a_push_that_became_outdated_while_it_waited_is_told_so_before_it_is_built() {
    let world = World::new();
    let ada = world.developer("ada");
    let first = ada.app_of(apps::node("first"));
    let build = r#"{ "scripts": { "build": "echo first-build; while [ ! -e ~/../go ]; do sleep 0.1; done", "start": "node server.js" } }"#;
    let go = ada.home().join("go");
    first.write("package.json", &build.replace("~/../go", go.to_str().unwrap())).commit();
    let push = first.push_live("shop");
    push.wait_for("first-build");
    let second = ada.app_of(apps::node("second"));
    let waiting = second.push_live("shop");
    waiting.wait_for("Waiting for the deployment before this one");
    std::fs::write(&go, "").unwrap();
    Repo::outcome(&push.end()).accepted();
    Repo::outcome(&waiting.end()).rejected_at("source", &["another push has moved main", "git fetch"]);
    assert_eq!(world.get("shop", "/").body, "first");
    assert_eq!(world.head("shop"), first.head());
}

#[test]
fn a_client_that_sends_no_pack_takes_nothing_from_a_push_that_went_live_meanwhile() {
    let world = World::new();
    let ada = world.developer("ada");
    // It opens a first push and says nothing more.
    let idle = ada.ssh_live(&["git-receive-pack 'shop'"]);
    idle.wait_for("Created app shop");
    ada.app_of(apps::node("live")).push("shop").accepted();
    idle.signal(Signal::SIGKILL);
    assert_eq!(idle.end().code, None);
    let before = world.settled("shop");
    assert_eq!(world.get("shop", "/").body, "live");
    // The end of the idle push is settled before this one begins and ends.
    ada.clone_of("shop", &[]);
    world.assert_nothing_left("shop", &before);
    assert_eq!(world.get("shop", "/").body, "live");
    assert!(ada.ssh(&["apps:list"]).ok().contains("shop"));
}
