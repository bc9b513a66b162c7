//! Who changed what, from where and when, and who may know it.

use serde_json::Value;

use crate::world::{World, apps, soon};

#[test]
fn every_change_is_an_event_without_a_secret() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.ssh(&["apps:create", "shop"]).ok();
    ada.ssh(&["config:set", "shop", "TOKEN=canary-7d1f", "NAME=canary-7d1f"]).ok();
    ada.ssh(&["config:unset", "shop", "NAME"]).ok();
    ada.app_of(apps::node("live")).push("shop").accepted();

    let events = ada.ssh(&["events", "shop"]).ok();
    let wanted = ["shop apps:create", "TOKEN", "shop deploy:start", "shop deploy:live "];
    for word in wanted {
        assert!(events.contains(word), "{word} is missing in\n{events}");
    }
    assert!(!events.contains("canary"), "a value of config is in\n{events}");
    assert!(
        events.lines().all(|line| line.contains("ada") && line.contains(" from 127.0.0.1: ")),
        "{events}"
    );

    let json = ada.ssh(&["events", "--app", "shop", "--format", "json"]).ok();
    let objects: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), events.lines().count());
    let first = &objects[0];
    assert_eq!((first["kind"].as_str(), first["app"].as_str()), (Some("apps:create"), Some("shop")));
    assert_eq!(first["from"], "127.0.0.1");
    assert!(first["who"].as_str().unwrap().contains("ada") && first["at"].as_str().unwrap().ends_with('Z'));

    let last = ada.ssh(&["events", "shop", "-n", "1"]).ok();
    assert!(last.lines().count() == 1 && last.contains("deploy:live"), "{last}");
    assert_eq!(ada.ssh(&["events", "shop", "--since", "1h", "--until", "59m"]).ok(), "");

    let missed = ada.ssh(&["apps:destroy", "shop", "--force"]);
    assert_eq!(missed.code, Some(0), "{missed}");
    assert!(ada.ssh(&["audit"]).ok().contains("shop apps:destroy"), "one's own doings stay");
    assert!(world.log().contains("config"), "the agent's own log has it too");
    assert!(!world.log().contains("canary"));
}

#[test]
fn events_are_followed_and_outlive_the_agent() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.ssh(&["apps:create", "shop"]).ok();
    let following = ada.ssh_live(&["events", "-t", "-n", "0"]);
    // It has begun when an event shows up.
    let mut number = 0;
    soon("an event", || {
        number += 1;
        ada.ssh(&["config:set", "shop", &format!("KEY_{number}=x")]).ok();
        following.stdout().contains("KEY_").then_some(())
    });
    assert!(!following.seen().contains("apps:create"), "{}", following.seen());
    drop(following);
    world.kill9_and_restart();
    let events = ada.ssh(&["events"]).ok();
    assert!(events.contains("shop apps:create") && events.contains("KEY_1"), "{events}");
}

#[test]
fn nobody_knows_of_what_is_not_theirs() {
    let world = World::new();
    let (ada, eve) = (world.developer("ada"), world.person("eve"));
    ada.ssh(&["apps:create", "shop"]).ok();
    for words in [&["events", "shop"][..], &["audit", "shop"], &["events", "--app", "shop", "-t"]] {
        let refused = eve.ssh(words);
        assert_eq!(refused.code, Some(20), "{words:?}: {refused}");
    }
    eve.ssh(&["apps:create", "own"]).ok();
    let seen = eve.ssh(&["events"]).ok();
    assert!(seen.contains("own apps:create") && !seen.contains("shop"), "{seen}");
    // Of an earlier app of the same name nothing is told.
    ada.ssh(&["apps:destroy", "shop", "--force"]).ok();
    eve.ssh(&["apps:create", "shop"]).ok();
    let seen = eve.ssh(&["events", "shop"]).ok();
    assert_eq!(seen.lines().count(), 1, "{seen}");
    assert!(!seen.contains("ada"), "{seen}");
    for words in [
        &["events", "-n", "many"][..],
        &["events", "--since", "yesterday"],
        &["events", "-t", "--until", "1m"],
    ] {
        assert_eq!(ada.ssh(words).code, Some(2), "{words:?}");
    }
}
