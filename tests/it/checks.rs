//! How one release replaces another: with checks, without, with others than the app's own.

use crate::world::{World, apps};

#[test]
fn checks_are_set_asked_and_shown() {
    let world = World::new();
    let ada = world.developer("ada");
    let handler = r#"response.statusCode = url.pathname === "/sick" ? 500 : 200; response.end("web");"#;
    let repo = ada.app_of(apps::node_with(handler));
    repo.push("shop").accepted();
    let run = ada.ssh(&["checks:run", "shop"]).ok();
    assert!(run.contains("-----> Running checks for shop.web.1"), "{run}");
    assert!(ada.ssh(&["checks:run", "shop", "web.1"]).ok().contains("All checks passed"));
    let nobody = ada.ssh(&["checks:run", "shop", "worker"]);
    assert_eq!(nobody.code, Some(2), "{nobody}");

    ada.ssh(&["checks:set", "shop", "wait-to-retire", "7"]).ok();
    for (property, value) in [("path", "/sick"), ("attempts", "1"), ("timeout", "2"), ("wait", "0")] {
        ada.ssh(&["checks:set", "shop", property, value]).ok();
    }
    let report = |option: &str| ada.ssh(&["checks:report", "shop", option]).ok().trim().to_owned();
    assert_eq!(report("--checks-wait-to-retire"), "7");
    assert_eq!(report("--checks-computed-wait-to-retire"), "7");
    assert_eq!(report("--checks-disabled-list"), "none");
    let sick = ada.ssh(&["checks:run", "shop"]);
    assert_eq!(sick.code, Some(1), "{sick}");
    assert!(sick.stderr.contains("did not pass check \"GET /sick\": HTTP 500"), "{sick}");

    repo.write("second", "").commit();
    repo.push("shop").rejected_at("health", &["GET /sick", "HTTP 500"]);
    ada.ssh(&["checks:skip", "shop", "web"]).ok();
    assert_eq!(report("--checks-skipped-list"), "web");
    repo.push("shop").accepted();
    ada.ssh(&["checks:enable", "shop"]).ok();
    assert_eq!(report("--checks-skipped-list"), "none");
    ada.ssh(&["checks:set", "shop", "path"]).ok();
    repo.write("third", "").commit();
    repo.push("shop").accepted();

    ada.ssh(&["checks:disable", "shop", "web"]).ok();
    assert_eq!(report("--checks-disabled-list"), "web");
    let json: serde_json::Value =
        serde_json::from_str(&ada.ssh(&["checks:report", "shop", "--format", "json"]).ok()).unwrap();
    assert_eq!(json["disabled-list"], "web", "{json}");
    for words in [
        &["checks:set", "shop", "colour", "red"][..],
        &["checks:set", "shop", "wait-to-retire", "soon"],
        &["checks:set", "shop", "attempts", "0"],
        &["checks:set", "shop", "path", "sick"],
        &["checks:set", "shop"],
        &["checks:disable", "shop", "nothing-like-it"],
        &["checks:disable", "shop", "../web"],
    ] {
        let output = ada.ssh(words);
        assert_eq!(output.code, Some(2), "{words:?}: {output}");
    }
    for words in [&["checks:report", "nowhere"][..], &["checks:run", "nowhere"], &["checks:skip", "nowhere"]]
    {
        assert_eq!(ada.ssh(words).code, Some(20), "{words:?}");
    }
}
