//! What an app has done at set times.

use serde_json::Value;

use crate::world::{Developer, Options, World, apps, soon};

/// An app with these cron tasks, as `app.json` writes them.
fn with_cron(tasks: &str) -> apps::Files {
    let mut files = apps::node("web");
    files.push(("app.json", format!("{{ \"cron\": {tasks} }}")));
    files
}

fn json(developer: &Developer<'_>, words: &[&str]) -> Value {
    let words: Vec<&str> = words.iter().copied().chain(["--format", "json"]).collect();
    serde_json::from_str(&developer.ssh(&words).ok()).unwrap()
}

/// The runs of a task that have ended, as moments for which they were due.
fn ended(developer: &Developer<'_>, id: &str) -> Vec<String> {
    let runs = json(developer, &["cron:runs", "shop", id, "-n", "200"]);
    let runs = runs.as_array().unwrap().iter().filter(|run| run["outcome"] == "exited with code 0");
    runs.map(|run| run["due"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn tasks_run_at_their_times_over_releases_and_restarts() {
    let world = World::new();
    let ada = world.developer("ada");
    let tasks = r#"[
        { "command": "echo tick of $APP_NAME", "schedule": "* * * * * *" },
        { "command": "echo broken >&2; exit 3", "schedule": "@yearly" },
        { "command": "web-is-no-task", "schedule": "@yearly", "maintenance": true }
    ]"#;
    let repo = ada.app_of(with_cron(tasks));
    repo.push("shop").accepted();
    let list = json(&ada, &["cron:list", "shop"]);
    let id = |at: usize| list[at]["id"].as_str().unwrap().to_owned();
    let (tick, broken, paused) = (id(0), id(1), id(2));
    assert_eq!(list[0]["schedule"], "* * * * * *", "{list}");
    assert_eq!((&list[2]["maintenance"], &list[2]["next"]), (&Value::Bool(true), &Value::Null), "{list}");
    assert!(list[0]["next"].is_string(), "{list}");

    soon("three runs", || (ended(&ada, &tick).len() >= 3).then_some(()));
    assert!(ada.ssh(&["logs", "shop"]).ok().contains("tick of shop"));
    assert!(ada.ssh(&["cron:logs", "shop", &tick]).ok().contains("tick of shop"));
    repo.write("second", "").commit();
    repo.push("shop").accepted();
    let before = ended(&ada, &tick).len();
    soon("runs of the second release", || (ended(&ada, &tick).len() >= before + 2).then_some(()));
    world.kill9_and_restart();
    let before = ended(&ada, &tick).len();
    soon("runs after a crash", || (ended(&ada, &tick).len() >= before + 2).then_some(()));

    ada.ssh(&["cron:suspend", "shop", &tick]).ok();
    let all = json(&ada, &["cron:runs", "shop", &tick, "-n", "200"]);
    let due: Vec<&str> = all.as_array().unwrap().iter().map(|run| run["due"].as_str().unwrap()).collect();
    let once: std::collections::BTreeSet<&&str> = due.iter().collect();
    assert_eq!(once.len(), due.len(), "no moment has two runs: {due:?}");
    assert_eq!(json(&ada, &["cron:report", "shop"])["suspended-count"], "1");
    soon("nothing to be under way", || {
        (json(&ada, &["cron:report", "shop"])["running-count"] == "0").then_some(())
    });
    let settled = json(&ada, &["cron:runs", "shop", &tick, "-n", "200"]).as_array().unwrap().len();

    let by_hand = ada.ssh(&["cron:run", "shop", &broken]);
    assert_eq!((by_hand.code, by_hand.stdout.as_str()), (Some(3), "broken\n"), "{by_hand}");
    let runs = json(&ada, &["cron:runs", "shop", &broken]);
    assert_eq!(runs[0]["outcome"], "exited with code 3", "{runs}");
    assert_ne!(runs[0]["by"], "schedule", "{runs}");
    assert_eq!(json(&ada, &["cron:runs", "shop", &paused]), serde_json::json!([]));
    assert_eq!(
        json(&ada, &["cron:runs", "shop", &tick, "-n", "200"]).as_array().unwrap().len(),
        settled,
        "a suspended task does not run"
    );
    ada.ssh(&["cron:resume", "shop", "--all"]).ok();
    soon("it to run again", || (ended(&ada, &tick).len() > before + 2).then_some(()));
    ada.ssh(&["apps:destroy", "shop", "--force"]).ok();
}

#[test]
fn runs_that_overlap_are_treated_as_the_task_asks() {
    let world = World::new();
    let ada = world.developer("ada");
    let tasks = r#"[
        { "command": "exec sleep 1000", "schedule": "* * * * * *", "concurrency_policy": "forbid" },
        { "command": "trap 'exit 0' TERM; sleep 1000 & wait", "schedule": "*/2 * * * * *", "concurrency_policy": "replace" }
    ]"#;
    ada.app_of(with_cron(tasks)).push("shop").accepted();
    let list = json(&ada, &["cron:list", "shop"]);
    let id = |at: usize| list[at]["id"].as_str().unwrap().to_owned();
    let outcomes = |id: &str| -> Vec<String> {
        let runs = json(&ada, &["cron:runs", "shop", id, "-n", "200"]);
        runs.as_array().unwrap().iter().map(|run| run["outcome"].as_str().unwrap().to_owned()).collect()
    };
    soon("a run that is skipped", || {
        let seen = outcomes(&id(0));
        let running = seen.iter().filter(|outcome| *outcome == "running").count();
        assert!(running <= 1, "{seen:?}");
        seen.iter().any(|outcome| outcome.starts_with("skipped: ")).then_some(())
    });
    soon("a run that is replaced", || outcomes(&id(1)).contains(&"stopped".to_owned()).then_some(()));
    ada.ssh(&["cron:set", "shop", "maintenance", "true"]).ok();
    assert_eq!(json(&ada, &["cron:report", "shop"])["maintenance"], "true");
    ada.ssh(&["apps:destroy", "shop", "--force"]).ok();
    assert_eq!(world.instances("shop").len(), 0, "what was under way goes with the app");
}

#[test]
fn a_run_that_takes_too_long_is_ended() {
    let world = Options::default().set("cron.run_timeout", "1s").start();
    let ada = world.developer("ada");
    let tasks = r#"[{ "command": "exec sleep 1000", "schedule": "@yearly" }]"#;
    let repo = ada.app_of(with_cron(tasks));
    repo.push("shop").accepted();
    let id = json(&ada, &["cron:list", "shop"])[0]["id"].as_str().unwrap().to_owned();
    ada.ssh(&["cron:run", "shop", &id, "--detach"]).ok();
    soon("the end of it", || {
        let runs = json(&ada, &["cron:runs", "shop"]);
        (runs[0]["outcome"] == "timed out").then_some(())
    });
}

#[test]
fn what_is_no_task_is_refused() {
    let world = World::new();
    let ada = world.developer("ada");
    for (tasks, words) in [
        (r#"[{ "command": "a", "schedule": "soon" }]"#, "cron[0].schedule is not valid"),
        (r#"[{ "command": "a" }]"#, "cron[0] must have a command and a schedule"),
        (r#"{ "command": "a" }"#, "cron must be an array"),
    ] {
        ada.app_of(with_cron(tasks)).push("shop").rejected(&[words]);
    }
    ada.app_of(with_cron(r#"[{ "command": "a", "schedule": "@yearly" }]"#)).push("shop").accepted();
    for words in [
        &["cron:run", "shop", "0123456789abcdef"][..],
        &["cron:run", "shop", "../x"],
        &["cron:run", "shop"],
        &["cron:suspend", "shop"],
        &["cron:suspend", "shop", "0123456789abcdef"],
        &["cron:set", "shop", "timezone", "Mars/Olympus"],
        &["cron:set", "shop", "timezone", "../../etc/passwd"],
        &["cron:set", "shop", "maintenance", "maybe"],
        &["cron:set", "shop", "colour", "red"],
        &["cron:runs", "shop", "-n", "many"],
    ] {
        let output = ada.ssh(words);
        assert_eq!(output.code, Some(2), "{words:?}: {output}");
    }
    ada.ssh(&["cron:set", "shop", "timezone", "Europe/Berlin"]).ok();
    assert_eq!(json(&ada, &["cron:report", "shop"])["computed-timezone"], "Europe/Berlin");
    let list = json(&ada, &["cron:list", "shop"]);
    assert!(list[0]["next"].as_str().unwrap().ends_with("-01-01 00:00:00+01:00"), "{list}");
    let eve = world.person("eve");
    for words in [
        &["cron:list", "shop"][..],
        &["cron:runs", "shop"],
        &["cron:report", "shop"],
        &["cron:run", "shop", "0123456789abcdef"],
        &["cron:suspend", "shop", "--all"],
        &["cron:set", "shop", "maintenance", "true"],
        &["resource:limit", "--memory", "64", "shop"],
        &["checks:disable", "shop"],
        &["storage:mount", "shop", "data:/app/x"],
    ] {
        assert_eq!(eve.ssh(words).code, Some(20), "{words:?}");
    }
    assert_eq!(json(&ada, &["cron:report", "shop"])["maintenance"], "false");
}
