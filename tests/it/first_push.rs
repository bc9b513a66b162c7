//! A first push goes live, a second one replaces it, and the commands that tell about it.

use crate::world::{World, apps, soon};

/// Answers with what the platform told the app, or with a word that a story changes.
fn talkative(word: &str) -> apps::Files {
    apps::node_with(&format!(
        r#"if (url.pathname === "/env") return response.end(JSON.stringify(process.env));
  if (url.pathname === "/log") console.log("asked for", url.searchParams.get("word"));
  response.end("{word}");"#
    ))
}

#[test]
fn a_push_goes_live_and_a_second_one_replaces_it() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app("node-plain");
    let push = repo.push("shop").accepted();

    let said = push.said();
    assert!(push.screen.contains("Created app shop"), "{}", push.screen);
    assert!(said.iter().any(|line| line == "-----> Node.js app detected"), "{said:#?}");
    let end = &said[said.len() - 2..];
    assert_eq!(end, ["=====> Application deployed:".to_owned(), format!("       {}", world.url("shop"))]);
    assert!(said.iter().all(|line| !line.starts_with(" !     ")), "nothing is wrong: {said:#?}");

    let answer = world.get("shop", "/");
    assert_eq!((answer.status, answer.body.as_str()), (200, "Hello from Node.js\n"));
    assert_eq!(world.head("shop"), repo.head());

    for (name, text) in talkative("second") {
        repo.write(name, &text);
    }
    let second = repo.commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "second");

    let copy = ada.clone_of("shop", &[]);
    assert_eq!(copy.head(), second);
    assert_eq!(copy.read("server.js"), repo.read("server.js"));
    assert_eq!(copy.git(&["rev-parse", "--abbrev-ref", "HEAD"]).trim(), "main");

    let state = world.settled("shop");
    assert_eq!((state.instances.len(), state.ports.len()), (1, 1), "the first release is gone: {state:#?}");
}

#[test]
fn an_app_gets_what_the_contract_says_and_nothing_of_the_agents() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(talkative("here"));
    repo.push("shop").accepted();
    let env: serde_json::Value = serde_json::from_str(&world.get("shop", "/env").body).unwrap();
    assert_eq!(env["GIT_REV"], repo.head());
    assert_eq!(env["DYNO"], "web.1");
    assert_eq!(env["APP_NAME"], "shop");
    let port = env["PORT"].as_str().and_then(|port| port.parse().ok()).unwrap();
    assert!(world.port_range().contains(&port), "{port}");
    let settings =
        ["AUTOSTACK_DATA_DIR", "AUTOSTACK_SSH__LISTEN", "AUTOSTACK_HOOK_TOKEN", "RUST_BACKTRACE", "GIT_DIR"];
    for name in settings {
        assert!(env.get(name).is_none(), "{name} is the agent's own");
    }
}

#[test]
fn commands_tell_about_an_app() {
    let world = World::new();
    let ada = world.developer("ada");
    let list = ada.ssh(&["apps:list"]);
    assert_eq!(list.code, Some(0), "{list}");
    ada.app_of(talkative("here")).push("shop").accepted();

    assert!(ada.ssh(&["apps:list"]).ok().contains("shop"));
    assert_eq!(ada.ssh(&["apps:list", "--format", "json"]).ok(), "[\"shop\"]\n");
    assert_eq!(ada.ssh(&["url", "shop"]).ok(), format!("{}\n", world.url("shop")));
    assert_eq!(ada.ssh(&["url", "--app", "shop"]).ok(), format!("{}\n", world.url("shop")));
    assert!(ada.ssh(&["version"]).ok().contains(env!("CARGO_PKG_VERSION")));
    let help = ada.ssh(&["help"]).ok();
    for command in ["apps:create", "apps:list", "apps:destroy", "logs", "url", "version", "help"] {
        assert!(help.contains(command), "{command} is missing in\n{help}");
    }
    assert!(ada.ssh(&["help", "logs"]).ok().contains("-t"));

    world.get("shop", "/log?word=needle");
    soon("the line in the log", || {
        ada.ssh(&["logs", "shop"]).ok().contains("asked for needle").then_some(())
    });
    let one = ada.ssh(&["logs", "shop", "-n", "1"]).ok();
    assert_eq!(one.lines().count(), 1, "{one}");
    assert!(one.contains("needle"), "{one}");
    assert!(ada.ssh(&["logs", "shop", "-p", "web"]).ok().contains("needle"));
    assert!(!ada.ssh(&["logs", "shop", "-p", "worker"]).ok().contains("needle"));

    let greeting = ada.ssh(&[]);
    assert_eq!(greeting.code, Some(0), "{greeting}");
    assert!(greeting.all().contains("ada"), "{greeting}");
}

#[test]
fn exit_codes_are_those_of_the_contract() {
    let world = World::new();
    let ada = world.developer("ada");
    let unknown = ada.ssh(&["apps:lst"]);
    assert_eq!(unknown.code, Some(10), "{unknown}");
    assert!(unknown.stdout.is_empty() && unknown.stderr.starts_with(" !     "), "{unknown}");
    assert!(unknown.stderr.contains("apps:list"), "the near name is suggested: {unknown}");
    for words in [&["url", "nowhere"][..], &["logs", "nowhere"], &["apps:destroy", "nowhere", "--force"]] {
        let output = ada.ssh(words);
        assert_eq!(output.code, Some(20), "{words:?}: {output}");
        assert!(
            output.stderr.contains("there is no app nowhere")
                || output.stderr.contains("There is no app nowhere")
        );
    }
    for words in [&["url"][..], &["logs", "shop", "--nonsense"], &["apps:create", "UPPER"]] {
        let output = ada.ssh(words);
        assert_eq!(output.code, Some(2), "{words:?}: {output}");
    }
}

#[test]
fn an_app_is_created_and_destroyed_without_a_trace() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.ssh(&["apps:create", "shop"]).ok();
    let again = ada.ssh(&["apps:create", "shop"]);
    assert_eq!(again.code, Some(1), "{again}");
    assert_eq!(world.get("shop", "/").status, 404, "nothing is live yet");
    let before = world.state("other");

    ada.app("node-plain").push("shop").accepted();
    assert_eq!(world.get("shop", "/").status, 200);
    let unforced = ada.ssh(&["apps:destroy", "shop"]);
    assert_ne!(unforced.code, Some(0), "{unforced}");
    assert!(unforced.stderr.contains("--force"), "{unforced}");
    assert_eq!(world.get("shop", "/").status, 200, "it still serves");

    ada.ssh(&["apps:destroy", "shop", "--force"]).ok();
    assert_eq!(world.get("shop", "/").status, 404);
    assert_eq!(ada.ssh(&["url", "shop"]).code, Some(20));
    world.assert_nothing_left("other", &before);
    for folder in ["repos/shop.git", "artifacts/shop", "cache/shop", "logs/apps/shop"] {
        assert!(!world.data_dir().join(folder).exists(), "{folder} is left");
    }
    ada.app("node-plain").push("shop").accepted();
    assert_eq!(world.get("shop", "/").status, 200, "the name is free again");
}
