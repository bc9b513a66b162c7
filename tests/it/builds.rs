//! Builds looked at, listened to and cancelled from another connection.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::world::{Developer, Repo, World, apps, soon};

fn list(ada: &Developer<'_>) -> Vec<Value> {
    let json = ada.ssh(&["builds:list", "shop", "--format", "json"]).ok();
    serde_json::from_str(&json).unwrap()
}

#[test]
fn builds_are_listed_described_and_shown() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.push("shop").accepted();
    let package =
        r#"{ "scripts": { "build": "echo line 3: no such word >&2; exit 3", "start": "node server.js" } }"#;
    repo.write("package.json", package).commit();
    repo.push("shop").rejected_at("build", &["no such word"]);

    let builds = list(&ada);
    let states: Vec<_> = builds.iter().map(|build| build["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["failed", "success"], "{builds:#?}");
    let (failed, live) = (&builds[0], &builds[1]);
    assert!(
        live["who"].as_str().unwrap().contains('@') && live["duration"].as_f64().unwrap() > 0.0,
        "{live}"
    );
    assert_eq!(
        (live["app"].as_str(), live["ref"].as_str(), live["release"].as_str()),
        (Some("shop"), Some("main"), Some("v1"))
    );
    assert!(repo.head().starts_with(failed["source"].as_str().unwrap()), "{failed}");
    assert_eq!(failed["failure"]["stage"], "build");
    let id = failed["id"].as_str().unwrap();
    let text = ada.ssh(&["builds:list", "shop"]).ok();
    assert!(text.starts_with("=====> Builds of shop\n") && text.contains(id), "{text}");
    assert_eq!(ada.ssh(&["builds:list", "-n", "1"]).ok().matches("shop").count(), 1);

    let info = ada.ssh(&["builds:info", id]).ok();
    for word in ["failed", "Stage build:", "Cause:", "no such word", "Next:"] {
        assert!(info.contains(word), "{word} is missing in\n{info}");
    }
    assert_eq!(info, ada.ssh(&["builds:info", "shop", id]).ok());
    let by_release: Value =
        serde_json::from_str(&ada.ssh(&["builds:info", "shop", "v1", "--format", "json"]).ok()).unwrap();
    assert_eq!(by_release["id"], live["id"]);

    let output = ada.ssh(&["builds:output", id]).ok();
    assert!(output.contains("no such word") && output.contains(" !     Failed at build"), "{output}");
    assert_eq!(output, ada.ssh(&["builds:output", "shop"]).ok(), "the last one");
    let live_log = ada.ssh(&["builds:output", "shop", "v1"]).ok();
    assert!(live_log.contains("=====> Application deployed:"), "{live_log}");

    for words in [&["logs:failed", "shop"][..], &["logs:failed", "--all"], &["logs:failed"]] {
        let shown = ada.ssh(words).ok();
        assert!(shown.starts_with("=====> shop: ") && shown.contains("failed at build"), "{shown}");
        assert!(shown.contains("no such word") && shown.contains(id), "{shown}");
    }
}

#[test]
fn a_build_is_followed_and_cancelled_from_another_connection() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    let before = world.first_live(&repo);
    repo.write("package.json", apps::ENDLESS_BUILD).commit();
    let push = repo.push_live("shop");
    push.wait_for("remote:        compiling for long");
    let following = ada.ssh_live(&["builds:output", "shop", "current"]);
    following.wait_for("       compiling for long");
    // One more waits behind it.
    let other = ada.clone_of("shop", &[]);
    other.write("server.js", &other.read("server.js").replace("\"web\"", "\"other\"")).commit();
    let waiting = other.push_live("shop");
    waiting.wait_for("Waiting for the deployment before this one");

    let bob = world.developer("bob");
    let cancelled = bob.ssh(&["builds:cancel", "shop"]).ok();
    assert!(cancelled.starts_with("=====> Cancelled build "), "{cancelled}");
    let said = Repo::outcome(&push.end());
    said.rejected(&["Failed at build: ", "(bob) ended it before it went live"]);
    let followed = following.end().ok();
    assert!(followed.contains("(bob) ended it before it went live"), "{followed}");
    Repo::outcome(&waiting.end()).accepted();
    assert_eq!(world.get("shop", "/").body, "other");
    let state = world.settled("shop");
    assert_eq!(state.instances.len(), before.instances.len(), "nothing is left of it: {state:#?}");
    let builds = list(&ada);
    let cancelled = builds.iter().find(|build| build["state"] == "cancelled").unwrap();
    assert!(cancelled["failure"]["cause"].as_str().unwrap().contains("(bob)"), "{cancelled}");
    let events = ada.ssh(&["events", "shop"]).ok();
    assert!(events.contains("builds:cancel") && events.contains("deploy:cancelled"), "{events}");

    let none = bob.ssh(&["builds:cancel", "shop"]);
    assert_eq!(none.code, Some(1), "{none}");
    assert!(none.stderr.contains("No build of shop is under way"), "{none}");
    let id = cancelled["id"].as_str().unwrap();
    let ended = bob.ssh(&["builds:cancel", "shop", id]);
    assert!(ended.code == Some(1) && ended.stderr.contains("has ended: cancelled"), "{ended}");
}

#[test]
fn a_first_build_that_is_cancelled_leaves_the_app_and_its_log() {
    let world = World::new();
    let ada = world.developer("ada");
    let files = apps::node("web").into_iter().filter(|(name, _)| *name != "package.json");
    let files = files.chain([("package.json", apps::ENDLESS_BUILD.to_owned())]).collect();
    let repo = ada.app_of(files);
    let push = repo.push_live("shop");
    push.wait_for("compiling for long");
    ada.ssh(&["builds:cancel", "shop"]).ok();
    Repo::outcome(&push.end()).rejected(&["ended it before it went live"]);
    assert!(ada.ssh(&["builds:output", "shop"]).ok().contains("compiling for long"));

    // Who follows may go whenever they like.
    let push = repo.push_live("shop");
    push.wait_for("compiling for long");
    let following = ada.ssh_live(&["builds:output", "shop"]);
    following.wait_for("compiling for long");
    following.signal(Signal::SIGINT);
    assert_ne!(following.end().code, Some(0));
    let state = list(&ada)[0]["state"].clone();
    assert_eq!(state, "running");
    push.signal(Signal::SIGINT);
    soon("its end", || (list(&ada)[0]["state"] == "cancelled").then_some(()));
}

#[test]
fn builds_are_the_business_of_those_who_may_see_the_app() {
    let world = World::new();
    let (ada, eve) = (world.developer("ada"), world.person("eve"));
    let (vic, dee) = (world.person("vic"), world.person("dee"));
    ada.app_of(apps::node("web")).push("shop").accepted();
    ada.ssh(&["access:add", "shop", "vic", "viewer"]).ok();
    ada.ssh(&["access:add", "shop", "dee", "deployer"]).ok();
    let id = list(&ada)[0]["id"].as_str().unwrap().to_owned();
    let refused = [
        &["builds:list", "shop"][..],
        &["builds:info", &id],
        &["builds:info", "shop", &id],
        &["builds:output", "shop"],
        &["builds:output", &id],
        &["builds:cancel", "shop"],
        &["logs:failed", "shop"],
    ];
    for words in refused {
        let output = eve.ssh(words);
        // 20: no such app. An id of nobody's is answered like one of somebody else's.
        let exit_code = if words.contains(&"shop") { 20 } else { 1 };
        assert_eq!(output.code, Some(exit_code), "{words:?}: {output}");
        assert!(output.stdout.is_empty() && !output.stderr.contains("may not"), "{output}");
    }
    assert_eq!(eve.ssh(&["builds:list", "--format", "json"]).ok(), "[]\n");
    // A viewer looks; only who may push ends a build.
    for member in [&vic, &dee] {
        assert_eq!(list(member)[0]["id"], id.as_str());
        assert!(member.ssh(&["builds:output", "shop"]).ok().contains("Application deployed"));
    }
    let cancel = |member: &Developer<'_>| member.ssh(&["builds:cancel", "shop"]);
    let (viewer, deployer) = (cancel(&vic), cancel(&dee));
    assert!(viewer.code == Some(1) && viewer.stderr.contains("may not"), "{viewer}");
    assert!(!deployer.stderr.contains("may not"), "{deployer}");
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    let (other, none) = (eve.ssh(&["builds:info", &id]), eve.ssh(&["builds:info", unknown]));
    assert_eq!(
        other.stderr.replace(&id, ""),
        none.stderr.replace(unknown, ""),
        "one cannot be told from the other"
    );
    for words in [
        &["builds:info"][..],
        &["builds:info", "shop"],
        &["builds:info", "shop", "../x"],
        &["builds:output", "shop", "current", "more"],
        &["builds:cancel"],
        &["builds:list", "-n", "many"],
        &["logs:failed", "shop", "--all"],
    ] {
        assert_eq!(ada.ssh(words).code, Some(2), "{words:?}");
    }
    assert!(ada.ssh(&["logs:failed", "shop"]).ok().contains("No deployment of shop"));
}
