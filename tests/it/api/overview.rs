//! Figures, how busy everything is, and who changed what.

use serde_json::json;

use super::{PASSWORD, somebody};
use crate::world::{World, apps, soon};

#[test]
fn figures_and_history_are_for_those_who_may_see_them() {
    let world = World::new();
    let admin = somebody(&world, "ada@example.com", true);
    let eve = somebody(&world, "eve@example.com", false);
    let git = world.developer("git");
    let repo = git.app_of(apps::node("web"));
    repo.push("shop").accepted();
    repo.write("server.js", "process.exit(3)").commit();
    repo.push("shop").rejected(&["exited with code 3"]);

    let stats = admin.get("/api/dashboard/stats").ok();
    assert_eq!(
        (&stats["apps"], &stats["deployed_apps"], &stats["instances"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!((&stats["deployments"]["success"], &stats["deployments"]["failed"]), (&json!(1), &json!(1)));
    assert!(stats["deployments"]["median_ms"].as_u64() > Some(0), "{stats}");
    let recent = admin.get("/api/dashboard/recent-deployments").ok();
    assert_eq!((&recent[0]["state"], &recent[1]["state"]), (&json!("failed"), &json!("success")));
    let pipeline = admin.get(&format!("/api/monitoring/pipeline/{}", recent[0]["id"].as_str().unwrap())).ok();
    assert_eq!((&pipeline["state"], &pipeline["stage"]), (&json!("failed"), &json!(null)));
    assert!(
        pipeline["stages"].as_array().unwrap().iter().any(|stage| stage["stage"] == "start"),
        "{pipeline}"
    );

    let host = admin.get("/api/monitoring/system").ok();
    assert!(host["memory_bytes"].as_u64() > Some(0) && host["disk_bytes"].as_u64() > Some(0), "{host}");
    assert!(host["now"]["memory_used_bytes"].as_u64() < host["memory_bytes"].as_u64(), "{host}");
    assert_eq!(host["now"]["load"].as_array().unwrap().len(), 3);
    let instances = admin.get("/api/monitoring/apps/shop").ok();
    assert!(instances.is_array(), "{instances}");

    assert_eq!(eve.get("/api/dashboard/stats").ok()["apps"], 0);
    assert_eq!(eve.get("/api/dashboard/recent-deployments").ok(), json!([]));
    assert_eq!(eve.get("/api/monitoring/system").refused(403), "denied");
    assert_eq!(eve.get("/api/monitoring/apps/shop").refused(404), "app_not_found");
}

#[test]
fn the_audit_log_says_who_changed_what_and_never_what_a_secret_is() {
    let world = World::new();
    let admin = somebody(&world, "ada@example.com", true);
    let bob = somebody(&world, "bob@example.com", false);
    bob.post("/api/apps", &json!({ "name": "shop" })).ok();
    bob.patch("/api/apps/shop/config", &json!({ "vars": { "TOKEN": "hunter2" } })).ok();
    let entries = soon("the change to be recorded", || {
        let entries = admin.get("/api/audit?app=shop&since=10m").ok();
        (entries.as_array().unwrap().len() >= 2).then_some(entries)
    });
    assert_eq!((&entries[0]["kind"], &entries[0]["by"]), (&json!("apps:create"), &json!("bob@example.com")));
    assert_eq!((&entries[1]["kind"], &entries[1]["text"]), (&json!("config:set"), &json!("Set TOKEN")));
    assert_eq!(entries[1]["from"], "127.0.0.1");
    let all = admin.get("/api/audit?limit=1000").ok().to_string();
    assert!(!all.contains("hunter2") && !all.contains(PASSWORD), "{all}");
    let own = bob.get("/api/audit").ok();
    assert!(own.as_array().unwrap().iter().all(|entry| entry["by"] == "bob@example.com"), "{own}");
    assert_eq!(admin.get("/api/audit?limit=0").refused(422), "invalid");
    assert_eq!(bob.get("/api/audit?app=none").refused(404), "app_not_found");
}
