//! Pushes that must not go live. Each is rejected with stage, cause, evidence and next step; no ref moves, nothing is
//! left behind, and the release before it keeps serving.

use std::time::Duration;

use crate::world::{Options, World, apps};

#[test]
fn a_failing_worker_leaves_the_old_web_untouched() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::procfile("web: node server.js\n"));
    let before = world.first_live(&repo);
    repo.write("server.js", &repo.read("server.js").replace("\"web\"", "\"new web\""));
    repo.write("Procfile", "web: node server.js\nworker: echo no database here >&2; exit 7\n").commit();
    let words = ["worker.1 exited with code 7", "| no database here", "command: echo no database"];
    repo.push("shop").rejected_at("health", &words);
    world.assert_untouched(&before);
    assert!(ada.ssh(&["logs", "shop"]).ok().contains("failed at health"), "the app's log says so too");

    repo.write("Procfile", "web: node server.js\nworker: exec sleep 1000\n").commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "new web", "the next push goes live");
}

#[test]
fn a_failing_build_and_a_failing_release_command() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    let before = world.first_live(&repo);

    let package = r#"{ "scripts": { "build": "echo compiling; echo line 3: no such word >&2; exit 3", "start": "node server.js" } }"#;
    repo.write("package.json", package).commit();
    repo.push("shop").rejected_at("build", &["exited with code", "line 3: no such word"]);
    world.assert_untouched(&before);

    repo.write("package.json", r#"{ "scripts": { "start": "node server.js" } }"#);
    repo.write("Procfile", "web: node server.js\nrelease: echo migrating; exit 9\n").commit();
    let push = repo
        .push("shop")
        .rejected_at("release", &["the release command exited with code 9", "command: echo migrating"]);
    assert!(
        push.said().iter().any(|line| line.contains("migrating")),
        "its output is shown: {}",
        push.screen
    );
    world.assert_untouched(&before);
}

#[test]
fn a_first_push_that_fails_leaves_an_app_without_code() {
    let world = World::new();
    let ada = world.developer("ada");
    let before = world.state("shop");
    let repo = ada.app_of(apps::procfile("web: node nothing.js\n"));
    repo.push("shop").rejected_at("health", &["web.1 exited with code 1", "Cannot find module"]);
    world.assert_nothing_left("shop", &before);
    assert_eq!(world.get("shop", "/").status, 404);
    let log = ada.ssh(&["logs", "shop"]);
    assert_eq!(log.code, Some(0), "the app is kept for its log: {}", log.stderr);
    assert!(log.stdout.contains("failed at health"), "{}", log.stdout);
    repo.write("Procfile", "web: node server.js\n").commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "web");
}

/// The web process answers at once and dies a moment later, while the worker still has to prove itself.
#[test]
fn an_instance_that_dies_while_the_others_get_ready_is_noticed() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::procfile("web: node server.js\n"));
    let before = world.first_live(&repo);
    let dying = format!("{}\nsetTimeout(() => process.exit(7), 1000);\n", repo.read("server.js"));
    repo.write("server.js", &dying).write("Procfile", "web: node server.js\nworker: sleep 1000\n").commit();
    repo.push("shop").rejected_at("health", &["web.1 exited with code 7 while the other instances"]);
    world.assert_untouched(&before);
}

/// What an app does wrong at its start, and what its developer reads.
#[test]
fn starts_that_go_wrong_are_told_apart() {
    let world = Options::default().set("deploy.start_timeout", "3s").start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::procfile("web: node server.js\n"));
    let before = world.first_live(&repo);
    let cases: [(&str, &[&str]); 5] = [
        (
            "web: echo starting up; echo it broke >&2; exit 42",
            &[
                "web.1 exited with code 42 before it was ready",
                "| starting up",
                "| it broke",
                "command: echo starting",
            ],
        ),
        ("web: no-such-program --flag", &["web.1 exited with code 127", "no-such-program"]),
        ("web: echo done", &["web.1 exited with code 0", "foreground"]),
        (
            "web: echo up; PORT=0 exec node server.js",
            &[
                "web.1 listens on ",
                "not on the port in its environment variable PORT",
                "read the port from PORT",
            ],
        ),
        (
            "web: echo waiting for nothing; exec sleep 1000",
            &["did not get ready within 3 s", "| waiting for nothing", "PORT"],
        ),
    ];
    for (procfile, words) in cases {
        repo.write("Procfile", &format!("{procfile}\n")).commit();
        repo.push("shop").rejected_at("health", words);
        world.assert_untouched(&before);
    }
}

#[test]
fn checks_of_app_json_decide() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    let before = world.first_live(&repo);
    let handler = r#"if (url.pathname === "/health") { console.log("asked for health"); response.statusCode = 500; }
  response.end("new");"#;
    for (name, text) in apps::node_with(handler) {
        repo.write(name, &text);
    }
    let check = r#"{ "healthchecks": { "web": [ { "type": "startup", "name": "is it well", "path": "/health", "attempts": 2, "wait": 0 } ] } }"#;
    repo.write("app.json", check).commit();
    repo.push("shop").rejected_at("health", &["is it well", "HTTP 500", "2 attempts", "| asked for health"]);
    world.assert_untouched(&before);

    repo.write(
        "app.json",
        &check.replace("/health", "/").replace("\"wait\": 0", "\"wait\": 0, \"content\": \"old\""),
    )
    .commit();
    repo.push("shop").rejected_at("health", &["is it well", "does not hold", "old"]);
    world.assert_untouched(&before);

    repo.write(
        "app.json",
        &check.replace("/health", "/").replace("\"wait\": 0", "\"wait\": 0, \"content\": \"new\""),
    )
    .commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "new");

    repo.write("app.json", "{ \"healthchecks\": [,] }").commit();
    let before = world.settled("shop");
    repo.push("shop").rejected_at("detect", &["app.json"]);
    world.assert_nothing_left("shop", &before);
}

#[test]
fn a_build_that_takes_too_long_is_ended_with_its_whole_tree() {
    let world = Options::default().set("build.timeout", "2s").start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    let before = world.first_live(&repo);
    let package = r#"{ "scripts": { "build": "(trap '' TERM; setsid sleep 1000) & sleep 1000", "start": "node server.js" } }"#;
    repo.write("package.json", package).commit();
    repo.push("shop").rejected_at("build", &["2 s"]);
    world.assert_nothing_left_within("shop", &before, Duration::from_secs(10));
    assert_eq!(world.get("shop", "/").body, "web");
}
