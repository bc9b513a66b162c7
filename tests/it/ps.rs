//! How many instances of an app run, restarted, stopped, started and built again.

use std::{collections::BTreeSet, time::Duration};

use nix::sys::signal::Signal;

use crate::world::{Developer, World, apps, soon};

/// Says which process it is, and ends in order.
fn pids() -> apps::Files {
    let mut files = apps::node_with("response.end(String(process.pid));");
    files.retain(|(name, _)| *name == "server.js");
    files.push(("Procfile", "web: exec node server.js\nworker: exec sleep 1000\n".into()));
    files
}

/// The processes of a process type, by the variable that names them.
fn running(world: &World, dyno: &str) -> BTreeSet<i32> {
    let mine = world.instances("shop").into_iter();
    mine.filter(|process| process.variable("DYNO").as_deref() == Some(dyno))
        .map(|process| process.pid)
        .collect()
}

/// Who answers, over some requests.
fn answering(world: &World) -> BTreeSet<String> {
    (0..12).map(|_| world.get("shop", "/").body).collect()
}

fn report(ada: &Developer<'_>, value: &str) -> String {
    ada.ssh(&["ps:report", "shop", &format!("--ps-{value}")]).ok().trim().to_owned()
}

#[test]
fn a_formation_is_scaled_by_the_difference_and_survives_everything() {
    let world = World::new();
    let ada = world.developer("ada");
    let eve = world.person("eve");
    let repo = ada.app_of(pids());

    // Before the first release nobody knows its process types.
    ada.ssh(&["apps:create", "shop"]).ok();
    ada.ssh(&["ps:scale", "shop", "worker=0"]).ok();
    repo.push("shop").accepted();
    assert_eq!(ada.ssh(&["ps:scale", "shop", "--quiet"]).ok(), "web: 1\nworker: 0\n");
    let shown = ada.ssh(&["ps:scale", "shop"]).ok();
    assert!(shown.contains("proctype: qty\n--------: ---\nweb: 1\n"), "{shown}");
    let first = world.get("shop", "/").body;

    let said = ada.ssh(&["ps:scale", "shop", "web=3", "worker=1"]).ok();
    assert!(said.contains("=====> Scaled shop: web=3 worker=1"), "{said}");
    soon("three answer", || (answering(&world).len() == 3).then_some(()));
    assert!(answering(&world).contains(&first), "the one that ran goes on");
    assert_eq!(running(&world, "worker.1").len(), 1);
    assert_eq!((report(&ada, "running"), report(&ada, "processes")), ("true".into(), "4".into()));

    ada.ssh(&["ps:scale", "shop", "web=1", "worker=0"]).ok();
    assert!(running(&world, "worker.1").is_empty(), "whoever scaled down knows that it has ended");
    assert_eq!(answering(&world), [first].into(), "the first stays");

    // Over a push, and over a crash.
    ada.ssh(&["ps:scale", "shop", "web=2"]).ok();
    repo.commit();
    repo.push("shop").accepted();
    soon("two of the new release", || (answering(&world).len() == 2).then_some(()));
    let before = answering(&world);
    world.kill9_and_restart();
    assert_eq!(answering(&world), before, "both were adopted");
    ada.ssh(&["ps:scale", "shop", "web=1", "--skip-deploy"]).ok();
    assert_eq!(answering(&world), before, "nothing ends yet");
    ada.ssh(&["ps:restore", "shop"]).ok();
    soon("one", || (answering(&world).len() == 1).then_some(()));

    for (words, code, says) in [
        (&["ps:scale", "shop", "cook=1"][..], 1, "has no process type cook"),
        (&["ps:scale", "shop", "release=1"], 2, "runs once for each deployment"),
        (&["ps:scale", "shop", "web"], 2, "PROCESS=COUNT"),
        (&["ps:scale", "shop", "web=-1"], 2, "PROCESS=COUNT"),
        (&["ps:scale", "shop", "web=101"], 2, "100 instances at most"),
        (&["ps:scale", "shop", "web=1", "web=2"], 2, "twice"),
        (&["ps:scale", "shop", "$(id)=1"], 2, "$(id)"),
        (&["ps:restart", "shop", "cook"], 1, "has no process type cook"),
        (&["ps:scale", "nothing"], 20, "no app nothing"),
    ] {
        let refused = ada.ssh(words);
        assert_eq!(refused.code, Some(code), "{words:?}: {refused}");
        assert!(refused.stderr.contains(says), "{words:?}: {refused}");
    }
    for command in [
        "ps:scale",
        "ps:report",
        "ps:restart",
        "ps:rebuild",
        "ps:stop",
        "ps:start",
        "ps:inspect",
        "ps:restore",
    ] {
        let refused = eve.ssh(&[command, "shop"]);
        assert_eq!(refused.code, Some(20), "{command}: {refused}");
    }
    assert_eq!(answering(&world).len(), 1);
}

#[test]
fn a_restart_replaces_what_runs_without_a_gap_and_only_what_was_named() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(pids());
    repo.push("shop").accepted();
    let (web, worker) = (running(&world, "web.1"), running(&world, "worker.1"));

    ada.ssh(&["ps:restart", "shop", "web"]).ok();
    let restarted = soon("another process", || {
        let now = running(&world, "web.1");
        (now.is_disjoint(&web) && now.len() == 1).then_some(now)
    });
    assert_eq!(running(&world, "worker.1"), worker, "the worker was not named");
    assert_eq!(ada.ssh(&["releases:list", "shop", "--quiet"]).ok().lines().count(), 1, "that is no release");

    // The round is recorded: an agent that comes back keeps the new ones.
    world.kill9_and_restart();
    assert_eq!(running(&world, "web.1"), restarted);

    ada.ssh(&["ps:restart", "shop"]).ok();
    soon("all are new", || {
        let (now_web, now_worker) = (running(&world, "web.1"), running(&world, "worker.1"));
        let is_new = now_web.is_disjoint(&restarted) && now_worker.is_disjoint(&worker);
        (is_new && now_web.len() == 1 && now_worker.len() == 1).then_some(())
    });
    let inspected: serde_json::Value = serde_json::from_str(&ada.ssh(&["ps:inspect", "shop"]).ok()).unwrap();
    let names: Vec<&str> =
        inspected.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["web.1", "worker.1"]);
    let reports = ada.ssh(&["ps:report", "--format", "json"]).ok();
    let reports: serde_json::Value = serde_json::from_str(&reports).unwrap();
    assert_eq!((&reports[0]["app"], &reports[0]["running"]), (&"shop".into(), &"true".into()));
}

#[test]
fn what_does_not_get_ready_changes_nothing() {
    let world = World::new();
    let ada = world.developer("ada");
    let program = r#"const fs = require("node:fs");
if (fs.existsSync("broken")) { console.log("no database here"); process.exit(3); }
require("node:http").createServer((request, response) => {
  if (request.url === "/break") fs.writeFileSync("broken", "");
  response.end("web");
}).listen(process.env.PORT);
"#;
    let repo = ada.app_of(apps::node_program(program));
    let before = world.first_live(&repo);
    world.get("shop", "/break");

    let refused = ada.ssh(&["ps:scale", "shop", "web=2"]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("exited with code 3"), "{refused}");
    assert!(refused.stderr.contains("no database here"), "the evidence is shown: {refused}");
    assert!(refused.stderr.contains("nothing was changed"), "{refused}");
    assert_eq!(ada.ssh(&["ps:scale", "shop", "--quiet"]).ok(), "web: 1\n");
    assert_eq!(ada.ssh(&["ps:restart", "shop"]).code, Some(1));
    world.assert_untouched(&before);
}

#[test]
fn a_stopped_app_stays_stopped_until_it_is_started_or_pushed() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(pids());
    repo.push("shop").accepted();

    ada.ssh(&["ps:stop", "shop"]).ok();
    assert!(world.instances("shop").is_empty(), "whoever stopped it knows that it has ended");
    assert_eq!(world.get("shop", "/").status, 503);
    assert_eq!((report(&ada, "running"), report(&ada, "restore")), ("false".into(), "false".into()));
    ada.ssh(&["ps:stop", "shop"]).ok();
    let refused = ada.ssh(&["ps:restart", "shop"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("ps:start shop"), "{refused}");

    world.kill9_and_restart();
    assert_eq!(world.get("shop", "/").status, 503, "also after a crash of the agent");
    ada.ssh(&["ps:scale", "shop", "web=2", "worker=0"]).ok();
    assert_eq!(world.get("shop", "/").status, 503);
    assert!(world.instances("shop").is_empty());

    let said = ada.ssh(&["ps:start", "shop"]).ok();
    assert!(said.contains("=====> shop runs"), "{said}");
    assert_eq!(answering(&world).len(), 2);
    assert!(running(&world, "worker.1").is_empty());

    ada.ssh(&["ps:stop", "shop"]).ok();
    repo.commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").status, 200, "a push starts it again");

    // Nothing to start yet.
    ada.ssh(&["apps:create", "blog"]).ok();
    for command in ["ps:stop", "ps:start", "ps:restart", "ps:rebuild", "ps:restore"] {
        let refused = ada.ssh(&[command, "blog"]);
        assert!(refused.code == Some(1) && refused.stderr.contains("not been deployed yet"), "{refused}");
    }
}

#[test]
fn a_rebuild_goes_through_the_whole_pipeline_on_the_screen() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node_with("response.end(process.env.GIT_REV);"));
    repo.push("shop").accepted();
    let artifacts = world.settled("shop").artifacts;

    let said = ada.ssh(&["ps:rebuild", "shop"]).ok();
    for part in ["-----> Deploying shop from main", "app detected", "=====> Application deployed:"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(world.get("shop", "/").body, repo.head());
    let state = world.settled("shop");
    assert_eq!(state.artifacts.len(), artifacts.len() + 1, "it was built anew");
    assert_eq!(ada.ssh(&["ps:report", "shop", "--ps-release"]).ok(), "v2\n");
}

#[test]
fn whenever_the_agent_is_killed_in_a_change_of_instances_the_app_serves_and_the_record_is_true() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(pids());
    repo.push("shop").accepted();
    ada.ssh(&["ps:scale", "shop", "worker=0"]).ok();
    let changes: [&[&str]; 4] = [
        &["ps:restart", "shop"],
        &["ps:scale", "shop", "web=2"],
        &["ps:scale", "shop", "web=1"],
        &["ps:restart", "shop", "web"],
    ];
    for (change, delay) in changes.iter().cycle().zip([40, 60, 80, 100, 120, 140, 170, 200, 240, 280]) {
        let command = ada.ssh_live(change);
        // Not a wait for something: the moment of the blow.
        std::thread::sleep(Duration::from_millis(delay));
        world.kill9_and_restart();
        let was_told = command.end().code == Some(0);
        assert_eq!(world.get("shop", "/").status, 200, "{change:?} after {delay} ms");
        let scale = ada.ssh(&["ps:scale", "shop", "--quiet"]).ok();
        let wanted = if scale.contains("web: 2") { 2 } else { 1 };
        if was_told && change.contains(&"web=2") {
            assert_eq!(wanted, 2, "what somebody was told is so");
        }
        soon("as many as recorded", || {
            let instances = world.state("shop").instances.len();
            (instances == wanted && answering(&world).len() == wanted).then_some(())
        });
    }
    // What ended by itself meanwhile is no trouble either.
    world.instances("shop").iter().for_each(|process| process.signal(Signal::SIGKILL));
    soon("it answers again", || world.try_get("shop", "/").ok().filter(|answer| answer.status == 200));
}

#[test]
fn all_apps_are_restarted_stopped_and_started_at_once_but_only_ones_own() {
    let world = World::new();
    let (ada, bob) = (world.developer("ada"), world.person("bob"));
    ada.app_of(pids()).push("one").accepted();
    ada.ssh(&["apps:create", "empty"]).ok();
    bob.app_of(pids()).push("two").accepted();
    ada.ssh(&["access:add", "one", "bob", "viewer"]).ok();
    let (one, two) = (world.get("one", "/").body, world.get("two", "/").body);

    let said = bob.ssh(&["ps:restart", "--all"]).ok();
    assert!(said.contains("Restarted two") && !said.contains("Restarted one"), "{said}");
    assert_eq!(world.get("one", "/").body, one);
    assert_ne!(world.get("two", "/").body, two);
    ada.ssh(&["ps:stop", "--all"]).ok();
    assert_eq!((world.get("one", "/").status, world.get("two", "/").status), (503, 503));
    let refused = ada.ssh(&["ps:restart", "--all"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("Not done for one, two."), "{refused}");
    let quiet = ada.ssh(&["ps:start", "--all", "--quiet"]);
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (Some(0), "", ""), "{quiet}");
    assert_eq!((world.get("one", "/").status, world.get("two", "/").status), (200, 200));
    assert_eq!(ada.ssh(&["ps:rebuild", "one", "--quiet"]).ok(), "");
    assert_eq!(ada.ssh(&["ps:restart", "--all", "one"]).code, Some(2));
}
