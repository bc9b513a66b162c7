//! Deployments over JSON: made of everything that one can be made of, listed page by page, ended, forgotten.

use std::process::Stdio;

use serde_json::{Value, json};

use super::{ended, somebody};
use crate::world::{ApiClient, World, apps, git_server::GitServer};

/// What comes next of the list, and the ids of the page.
fn page(client: &ApiClient, query: &str) -> (Value, Vec<String>) {
    let page = client.get(&format!("/api/deployments?{query}")).ok();
    let ids = page["deployments"].as_array().unwrap().iter();
    (page["next"].clone(), ids.map(|one| one["id"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn deployments_are_made_listed_and_forgotten() {
    let world = World::new();
    let admin = somebody(&world, "ada@example.com", true);
    admin.post("/api/apps", &json!({ "name": "shop" })).ok();
    assert_eq!(admin.post("/api/deployments", &json!({ "app": "shop" })).refused(409), "conflict");

    // An archive, then what the branch holds again, then an earlier commit by its id.
    let git = world.developer("git");
    let repo = git.app_of(apps::node("one"));
    let archive = git
        .command("git")
        .args(["archive", "--format=tar.gz", "HEAD"])
        .current_dir(repo.path())
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let sent = admin.send("POST", "/api/deployments/archive?app=shop", &[], &archive.stdout);
    assert_eq!(sent.status, 202, "{sent:?}");
    let first = ended(&admin, &sent.json["id"]);
    assert_eq!(first["state"], "success", "{first}");
    assert_eq!(world.get("shop", "/").body, "one");
    let bad = admin.send("POST", "/api/deployments/archive?app=shop", &[], b"no archive at all");
    assert_eq!(bad.refused(409), "conflict");
    let again = admin.post("/api/deployments", &json!({ "app": "shop" }));
    let again = ended(&admin, &again.json["id"]);
    assert_eq!((&again["state"], &again["release"]), (&json!("success"), &json!(2)), "{again}");
    let by_ref = admin.post("/api/deployments", &json!({ "app": "shop", "ref": "main" }));
    assert_eq!(ended(&admin, &by_ref.json["id"])["state"], "success");
    let none = admin.post("/api/deployments", &json!({ "app": "shop", "ref": "nowhere" }));
    assert_eq!(none.refused(409), "conflict");
    let both = json!({ "app": "shop", "image": "a/b", "ref": "main" });
    assert_eq!(admin.post("/api/deployments", &both).refused(422), "invalid");

    let id = first["id"].as_str().unwrap();
    let stages = admin.get(&format!("/api/deployments/{id}/stages")).ok();
    assert_eq!(stages[0]["stage"], "source");
    assert!(stages.as_array().unwrap().iter().all(|stage| stage["duration_ms"].is_u64()), "{stages}");
    let metrics = admin.get(&format!("/api/deployments/{id}/metrics")).ok();
    assert!(metrics["total_ms"].as_u64() >= metrics["build_ms"].as_u64(), "{metrics}");

    // Page by page, each once, newest first.
    let (_, all) = page(&admin, "limit=200");
    let (next, mut walked) = page(&admin, "app=shop&limit=2");
    let mut next = next;
    while let Some(cursor) = next.as_str() {
        let (following, ids) = page(&admin, &format!("app=shop&limit=2&cursor={cursor}"));
        walked.extend(ids);
        next = following;
    }
    assert_eq!(walked, all);
    assert_eq!(page(&admin, "state=failed,cancelled").1, Vec::<String>::new());
    for query in ["limit=0", "limit=x", "cursor=x", "state=new", "page=2"] {
        assert_eq!(admin.get(&format!("/api/deployments?{query}")).refused(422), "invalid", "{query}");
    }

    let remove = |id: &str| admin.post(&format!("/api/deployments/{id}/delete"), &json!({}));
    assert_eq!(remove(&all[0]).refused(409), "conflict");
    assert_eq!(remove(id).status, 204);
    assert_eq!(admin.get(&format!("/api/deployments/{id}")).refused(404), "not_found");
    assert_eq!(page(&admin, "").1.len(), all.len() - 1);

    let stranger = somebody(&world, "eve@example.com", false);
    assert_eq!(page(&stranger, "").1, Vec::<String>::new());
    for path in ["", "/stages", "/metrics"] {
        let hidden = stranger.get(&format!("/api/deployments/{}{path}", all[0]));
        let absent = stranger.get(&format!("/api/deployments/{id}{path}"));
        assert_eq!((hidden.refused(404), absent.refused(404)), ("not_found".into(), "not_found".into()));
        assert_eq!(hidden.response.body.replace(&all[0], id), absent.response.body);
    }
}

#[test]
fn a_deployment_is_fetched_from_elsewhere_and_cancelled_from_anywhere() {
    let world = World::new();
    let admin = somebody(&world, "ada@example.com", true);
    admin.post("/api/apps", &json!({ "name": "shop" })).ok();
    let git = world.developer("git");
    let repo = git.app_of(apps::procfile("web: sleep 600"));
    let folder = tempfile::tempdir().unwrap();
    let server = GitServer::start(folder.path(), None);
    let bare = folder.path().join("shop.git");
    repo.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    git.ssh(&["git:allow-host", "127.0.0.1"]).ok();

    let url = server.url("shop.git");
    let begun = admin.post("/api/deployments", &json!({ "app": "shop", "git_url": url, "ref": "main" }));
    assert_eq!(begun.status, 202, "{begun:?}");
    let cancelled =
        admin.post(&format!("/api/deployments/{}/cancel", begun.json["id"].as_str().unwrap()), &json!({}));
    assert_eq!(cancelled.ok()["state"], "cancelled");
    let seen = ended(&admin, &begun.json["id"]);
    assert!(seen["failure"]["cause"].as_str().unwrap().contains("ada@example.com"), "{seen}");
    let again =
        admin.post(&format!("/api/deployments/{}/cancel", begun.json["id"].as_str().unwrap()), &json!({}));
    assert_eq!(again.refused(409), "conflict");
}
