//! What an app says about its config, and what a pusher says beside the commits.

use std::collections::BTreeMap;

use crate::world::{World, apps};

/// Answers with its environment.
fn mirror() -> apps::Files {
    apps::node_with("response.end(JSON.stringify(process.env));")
}

fn environment(world: &World) -> BTreeMap<String, String> {
    serde_json::from_str(&world.get("shop", "/").body).unwrap()
}

#[test]
fn config_that_an_app_needs_is_made_at_its_first_deployment() {
    let world = World::new();
    let (ada, eve) = (world.person("ada"), world.person("eve"));
    let repo = ada.app_of(mirror());
    let wanted = r#"{"env": {
        "COLOUR": "blue", "SHAPE": {"value": "round"}, "KEY": {"generator": "secret"},
        "API_KEY": {"description": "of the shop"}, "DB_URL": {"required": true}, "SENTRY": {"required": false}
    }}"#;
    repo.write("app.json", wanted).commit();
    repo.push("shop").rejected_at(
        "detect",
        &[
            "app.json requires config that is not set: API_KEY, DB_URL",
            "config:set shop API_KEY=VALUE DB_URL=VALUE, then push again",
        ],
    );
    assert_eq!(ada.ssh(&["config:keys", "shop"]).ok(), "", "a rejected push sets nothing");

    ada.ssh(&["config:set", "shop", "API_KEY=k", "DB_URL=d", "SHAPE=square"]).ok();
    let push = repo.push("shop").accepted();
    push.clone().says(&["Config made as app.json asks: COLOUR, KEY"]);
    let found = environment(&world);
    assert_eq!((found["COLOUR"].as_str(), found["SHAPE"].as_str()), ("blue", "square"));
    assert!(!found.contains_key("SENTRY"));
    let secret = &found["KEY"];
    assert!(secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()), "{secret}");
    assert!(!push.screen.contains(secret.as_str()), "a secret is shown to nobody");
    assert_eq!(ada.ssh(&["config:get", "shop", "KEY"]).ok(), format!("{secret}\n"));
    assert_eq!(eve.ssh(&["config:get", "shop", "KEY"]).code, Some(20));

    // What was removed on purpose stays removed, and is told; what is required without a value is asked for again.
    ada.ssh(&["config:unset", "shop", "COLOUR"]).ok();
    repo.write("more", "1").commit();
    let second = repo.push("shop").accepted();
    second.says(&["not set are: COLOUR (config:set shop NAME=VALUE)"]);
    let again = environment(&world);
    assert!(!again.contains_key("COLOUR"));
    assert_eq!(&again["KEY"], secret);
    let head = world.head("shop");
    repo.write("app.json", r#"{"env": {"NEW": {}}}"#).commit();
    repo.push("shop").rejected_at("detect", &["not set: NEW", "config:set shop NEW=VALUE"]);
    assert_eq!((world.head("shop"), environment(&world)), (head, again));

    repo.write("app.json", r#"{"env": {"KEY": {"generator": "dice"}}}"#).commit();
    repo.push("shop").rejected_at("detect", &["env.KEY.generator must be \"secret\""]);
}

#[test]
fn a_push_sets_config_when_and_only_when_it_goes_live() {
    let world = World::new();
    let ada = world.person("ada");
    let repo = ada.app_of(mirror());
    let refs = ["HEAD:refs/heads/main"];
    repo.push_with("shop", &["--push-option=env=A=one two", "--push-option=env=B=x=\"$y\""], &refs)
        .accepted()
        .says(&["Config set: A, B"]);
    let found = environment(&world);
    assert_eq!((found["A"].as_str(), found["B"].as_str()), ("one two", "x=\"$y\""));
    assert_eq!(ada.ssh(&["config:get", "shop", "A"]).ok(), "one two\n");
    let events = ada.ssh(&["events", "shop"]).ok();
    assert!(events.contains("config:set") && events.contains("set A, B"), "{events}");
    assert!(!events.contains("one two"), "{events}");

    let head = world.head("shop");
    repo.write("more", "1").commit();
    repo.push_with("shop", &["--push-option=env=1A=x"], &refs).rejected(&["1A", "env=NAME=VALUE"]);
    repo.push_with("shop", &["--push-option=env=A"], &refs).rejected(&["needs a name and a value"]);
    assert_eq!((world.head("shop"), environment(&world)), (head, found));

    // A push that fails sets nothing; one that is stored says so.
    let procfile = "web: exit 3\n";
    repo.write("Procfile", procfile).commit();
    repo.push_with("shop", &["--push-option=env=A=three"], &refs).rejected_at("health", &["code 3"]);
    assert_eq!(ada.ssh(&["config:get", "shop", "A"]).ok(), "one two\n");
    let options = ["--push-option=env=A=four", "--push-option=no-deploy"];
    repo.push_with("shop", &options, &refs).accepted().says(&["nothing of this push is deployed: A"]);
    assert_eq!(ada.ssh(&["config:get", "shop", "A"]).ok(), "one two\n");

    // A rollback brings the config of then; what a push sets wins over what was there.
    repo.remove("Procfile");
    repo.commit();
    repo.push_with("shop", &["--push-option=env=A=five"], &refs).accepted();
    assert_eq!(environment(&world)["A"], "five");
    ada.ssh(&["rollback", "shop"]).ok();
    assert_eq!(environment(&world)["A"], "one two");
    assert_eq!(ada.ssh(&["config:get", "shop", "A"]).ok(), "one two\n");
}

#[test]
fn scripts_run_once_after_the_switch() {
    let world = World::new();
    let ada = world.person("ada");
    let repo = ada.app_of(apps::node("web"));
    let scripts = r#"{"scripts": {
        "postdeploy": "echo seeding for $COLOUR",
        "dokku": {"postdeploy": "echo warming of $APP_NAME; exit 7"}
    }}"#;
    repo.write("app.json", scripts).commit();
    ada.ssh(&["apps:create", "shop"]).ok();
    ada.ssh(&["config:set", "shop", "COLOUR=blue"]).ok();
    let first = repo.push("shop").accepted().says(&[
        "seeding for blue",
        "warming of shop",
        "scripts.dokku.postdeploy of v1 exited with code 7; the release is live",
    ]);
    let at = |word: &str| first.screen.find(word).unwrap();
    assert!(at("Application deployed") < at("seeding for") && at("seeding for") < at("warming of"));
    assert_eq!(world.get("shop", "/").body, "web", "a script undoes nothing");
    assert!(ada.ssh(&["logs", "shop"]).ok().contains("exited with code 7; the release is live"));
    assert!(ada.ssh(&["builds:output", "shop"]).ok().contains("warming of shop"));

    ada.ssh(&["config:set", "shop", "COLOUR=red"]).ok();
    repo.write("app.json", &scripts.replace("exit 7", "exit 0")).commit();
    let second = repo.push("shop").accepted().says(&["warming of shop"]);
    assert!(!second.screen.contains("seeding"), "that is for the first time: {}", second.screen);
    assert!(!second.screen.contains("exited with"), "{}", second.screen);
}

#[test]
fn a_script_ends_with_its_app() {
    let world = World::new();
    let ada = world.person("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.write("app.json", r#"{"scripts": {"postdeploy": "echo running for long; exec sleep 1000"}}"#)
        .commit();
    let push = repo.push_live("shop");
    // Visitors do not wait for it.
    crate::world::wait::soon("the app", || (world.get("shop", "/").body == "web").then_some(()));
    let following = ada.ssh_live(&["builds:output", "shop"]);
    following.wait_for("running for long");
    ada.ssh(&["apps:destroy", "shop", "--force"]).ok();
    following.end();
    push.end();
    assert_eq!(world.get("shop", "/").status, 404);
}
