//! What instances may use: limits that hold, and a word about those that do not.

use crate::world::{World, apps, soon};

#[test]
fn a_limit_is_set_shown_and_held() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::procfile("web: exec node server.js\nhungry: exec sleep 1000\n"));
    repo.push("shop").accepted();

    let set = ada.ssh(&["resource:limit", "--memory", "96", "--process-type", "hungry", "shop"]).ok();
    assert_eq!(set, "=====> Setting resource limits for shop (hungry)\n       memory: 96\n");
    ada.ssh(&["resource:limit", "--cpu", "0.5", "shop"]).ok();
    ada.ssh(&["resource:reserve", "--memory", "32m", "shop"]).ok();
    let report = |option: &str| ada.ssh(&["resource:report", "shop", option]).ok().trim().to_owned();
    assert_eq!(report("--resource-hungry.limit.memory"), "96");
    assert_eq!(report("--resource-_default_.limit.cpu"), "0.5");
    assert_eq!(report("--resource-_default_.reserve.memory"), "32");
    assert_eq!(report("--resource-web.limit.memory"), "");
    let json: serde_json::Value =
        serde_json::from_str(&ada.ssh(&["resource:report", "shop", "--format", "json"]).ok()).unwrap();
    assert_eq!(json["hungry.limit.memory"], "96", "{json}");
    let shown = ada.ssh(&["resource:limit", "--process-type", "hungry", "shop"]).ok();
    assert!(shown.contains("memory: 96"), "{shown}");

    // A host whose agent may make control groups holds it; another says that it does not.
    let hungry = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 1000";
    repo.write("Procfile", &format!("web: exec node server.js\nhungry: sleep 4; {hungry}\n")).commit();
    let push = repo.push("shop").accepted();
    let missing = report("--resource-not-enforced");
    if missing.is_empty() {
        soon("the end of the hungry one", || {
            let log = ada.ssh(&["logs", "shop"]).ok();
            log.contains("hungry.1 was killed: it used more than its memory limit of 96 MiB").then_some(())
        });
        assert_eq!(world.get("shop", "/").status, 200, "nobody else is hit");
    } else {
        assert!(missing.contains("hungry: the memory limit cannot be enforced: "), "{missing}");
        assert!(push.screen.contains("the memory limit cannot be enforced: "), "{}", push.screen);
    }

    ada.ssh(&["resource:limit-clear", "--process-type", "hungry", "shop"]).ok();
    assert_eq!(report("--resource-hungry.limit.memory"), "");
    ada.ssh(&["resource:limit", "--cpu", "clear", "shop"]).ok();
    ada.ssh(&["resource:reserve-clear", "shop"]).ok();
    assert_eq!(report("--resource-_default_.limit.cpu"), "");
    assert_eq!(report("--resource-_default_.reserve.memory"), "");
    assert!(ada.ssh(&["resource:report"]).ok().contains("=====> shop resource information"));
}

#[test]
fn what_is_no_amount_is_refused_and_changes_nothing() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.ssh(&["apps:create", "shop"]).ok();
    for words in [
        &["resource:limit", "--memory", "lots", "shop"][..],
        &["resource:limit", "--memory", "1", "shop"],
        &["resource:limit", "--memory", "64;id", "shop"],
        &["resource:limit", "--cpu", "-1", "shop"],
        &["resource:limit", "--network", "10", "shop"],
        &["resource:limit", "--memory", "64", "--cpu", "none", "shop"],
        &["resource:limit", "--memory", "64", "--process-type", "../x", "shop"],
        &["resource:reserve", "--pids", "64", "shop"],
        &["resource:limit", "shop", "extra"],
        &["resource:report", "shop", "--resource-nothing"],
    ] {
        let output = ada.ssh(words);
        assert_eq!(output.code, Some(2), "{words:?}: {output}");
    }
    let json = ada.ssh(&["resource:report", "shop", "--format", "json"]).ok();
    assert!(!json.contains("64"), "{json}");
    for words in [&["resource:limit", "--memory", "64", "nowhere"][..], &["resource:report", "nowhere"]] {
        assert_eq!(ada.ssh(words).code, Some(20), "{words:?}");
    }
}
