//! A whole life of an app over JSON, and those who may do less than its owner.

use serde_json::json;

use super::{ended, somebody};
use crate::world::{World, apps, soon};

#[test]
fn an_app_lives_over_json() {
    let world = World::new();
    let owner = somebody(&world, "ada@example.com", false);
    assert_eq!(owner.get("/api/apps").ok(), json!([]));
    let made = owner.post("/api/apps", &json!({ "name": "shop" }));
    assert_eq!((made.status, &made.json["name"]), (201, &json!("shop")));
    assert_eq!(owner.post("/api/apps", &json!({ "name": "shop" })).refused(409), "conflict");
    assert_eq!(owner.post("/api/apps", &json!({ "name": "../x" })).refused(422), "invalid");
    let set = owner.patch("/api/apps/shop/config", &json!({ "vars": { "GREETING": "hi\n$x" } })).ok();
    assert_eq!((&set["is_changed"], &set["state"]), (&json!(true), &json!("recorded")));

    world
        .developer("git")
        .app_of(apps::node_with("response.end(process.env.GREETING)"))
        .push("shop")
        .accepted();
    assert_eq!(world.get("shop", "/").body, "hi\n$x");
    let seen = owner.get("/api/apps/shop").ok();
    assert_eq!((&seen["release"], &seen["owner"]), (&json!(1), &json!("ada@example.com")));
    assert_eq!(owner.get("/api/projects/shop").ok(), seen);

    // Another config goes live by itself, with bytes that are no text.
    let change = json!({ "vars": { "GREETING": "bye", "GONE": null }, "encoded": { "RAW": "/w==" } });
    let changed = owner.patch("/api/apps/shop/config", &change);
    assert_eq!((changed.status, &changed.json["state"]), (202, &json!("deploying")), "{changed:?}");
    assert_eq!(ended(&owner, &changed.json["deployment"])["state"], "success");
    assert_eq!(world.get("shop", "/").body, "bye");
    let config = owner.get("/api/apps/shop/config").ok();
    assert_eq!(config, json!({ "vars": { "GREETING": "bye" }, "encoded": { "RAW": "/w==" } }));
    let same = owner.patch("/api/apps/shop/config", &change).ok();
    assert_eq!((&same["is_changed"], &same["state"]), (&json!(false), &json!("live")));

    // Back to the first release, with its config.
    let back = owner.post("/api/apps/shop/releases/1/rollback", &json!({}));
    assert_eq!(back.status, 202, "{back:?}");
    let back = ended(&owner, &back.json["id"]);
    assert_eq!((&back["state"], &back["release"]), (&json!("success"), &json!(3)), "{back}");
    assert_eq!(world.get("shop", "/").body, "hi\n$x");
    let releases = owner.get("/api/apps/shop/releases").ok();
    assert_eq!(releases[0]["description"], "Rollback to v1");
    assert_eq!(owner.get("/api/apps/shop/releases/3").ok()["config_changes"], json!(["~GREETING", "-RAW"]));
    assert_eq!(owner.post("/api/apps/shop/releases/9/rollback", &json!({})).refused(404), "not_found");

    let scaled = owner.patch("/api/apps/shop/formation", &json!({ "formation": { "web": 2 } })).ok();
    assert_eq!(
        (&scaled["formation"], scaled["instances"].as_array().unwrap().len()),
        (&json!({ "web": 2 }), 2)
    );
    let none = owner.patch("/api/apps/shop/formation", &json!({ "formation": { "cook": 1 } }));
    assert_eq!(none.refused(409), "conflict");
    owner.post("/api/apps/shop/restart", &json!({})).ok();
    owner.post("/api/apps/shop/stop", &json!({})).ok();
    assert_eq!(world.get("shop", "/").status, 503);
    owner.post("/api/apps/shop/start", &json!({})).ok();
    assert_eq!(world.get("shop", "/").status, 200);

    let domains = owner.post("/api/apps/shop/domains", &json!({ "domains": ["shop.example/api"] })).ok();
    assert_eq!(domains["own"], json!(["shop.example/api"]), "{domains}");
    assert_eq!(owner.post("/api/apps/shop/domains", &json!({ "domains": ["a b"] })).refused(422), "invalid");
    assert_eq!(owner.delete("/api/apps/shop/domains/shop.example%2Fapi").status, 204);

    let renamed = owner.patch("/api/apps/shop", &json!({ "name": "store", "is_locked": true })).ok();
    assert_eq!((&renamed["name"], &renamed["is_locked"]), (&json!("store"), &json!(true)));
    assert_eq!(owner.post("/api/deployments", &json!({ "app": "store" })).refused(409), "conflict");
    assert_eq!(owner.delete("/api/apps/store").status, 204);
    assert_eq!(owner.get("/api/apps/store").refused(404), "app_not_found");
    soon("everything of it to be gone", || {
        owner.get("/api/deployments").ok()["deployments"].as_array()?.is_empty().then_some(())
    });
}

#[test]
fn members_may_do_what_their_role_says_and_strangers_learn_nothing() {
    let world = World::new();
    let owner = somebody(&world, "ada@example.com", false);
    let bob = somebody(&world, "bob@example.com", false);
    owner.post("/api/apps", &json!({ "name": "shop" })).ok();
    let secret = json!({ "vars": { "TOKEN": "hunter2" } });
    owner.patch("/api/apps/shop/config", &secret).ok();

    let key = owner.post("/api/user/me/tokens", &json!({ "name": "ci", "scopes": ["read"] })).ok();
    let program = world.api().with(key["token"].as_str().unwrap());
    let denied = program.delete("/api/apps/shop");
    assert_eq!(denied.refused(403), "denied");
    assert_eq!(denied.json["error"]["details"]["hint"], "an API key needs the scope manage for that");
    assert_eq!(program.post("/api/apps", &json!({ "name": "more" })).refused(403), "denied");
    assert_eq!(program.get("/api/apps/shop/config").refused(403), "denied");

    let (hidden, absent) = (bob.get("/api/apps/shop"), bob.get("/api/apps/none"));
    assert_eq!((hidden.status, absent.status), (404, 404));
    assert_eq!(hidden.response.body.replace("shop", "none"), absent.response.body);

    owner.put("/api/apps/shop/members/bob@example.com", &json!({ "role": "viewer" })).ok();
    assert_eq!(bob.get("/api/apps/shop").ok()["role"], "viewer");
    assert_eq!(bob.get("/api/apps/shop/config").refused(403), "denied");
    assert_eq!(bob.patch("/api/apps/shop/config", &secret).refused(403), "denied");
    assert_eq!(
        bob.put("/api/apps/shop/members/bob@example.com", &json!({ "role": "admin" })).refused(403),
        "denied"
    );
    owner.put("/api/apps/shop/members/bob@example.com", &json!({ "role": "deployer" })).ok();
    assert_eq!(bob.get("/api/apps/shop/config").ok()["vars"]["TOKEN"], "hunter2");
    assert_eq!(bob.delete("/api/apps/shop").refused(403), "denied");
    let members = owner.get("/api/apps/shop/members").ok();
    assert_eq!(members[1], json!({ "user": "bob@example.com", "role": "deployer", "is_owner": false }));
    assert_eq!(
        owner.put("/api/apps/shop/members/bob@example.com", &json!({ "role": "king" })).refused(422),
        "invalid"
    );
    assert_eq!(bob.delete("/api/apps/shop/members/bob@example.com").status, 204);
    assert_eq!(bob.get("/api/apps/shop").refused(404), "app_not_found");
}
