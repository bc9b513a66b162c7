//! What the control planes of others fell to, tried on this one over JSON; each row of the page of threats has its number.

use std::{collections::HashSet, fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use super::{PASSWORD, somebody};
use crate::world::{ApiClient, Connection, World};

/// Words that a shell, a file name or a header would do something with.
fn hostile(canary: &str) -> Vec<String> {
    [
        format!("$(touch {canary})"),
        format!("`touch {canary}`"),
        format!("a;touch {canary}"),
        format!("a\ntouch {canary}"),
        format!("'; touch {canary} #"),
        format!("\" && touch {canary} #"),
        format!("| touch {canary}"),
        "--upload-pack=touch".to_owned(),
        "../../../../etc/passwd".to_owned(),
    ]
    .into()
}

#[test]
fn a1_hostile_names_make_no_app_and_leave_nothing() {
    let world = World::new();
    let ada = somebody(&world, "ada@example.com", true);
    let canary = world.folder().join("canary");
    let mut names = hostile(canary.to_str().unwrap());
    let more = [
        "",
        ".",
        "..",
        "-a",
        "a b",
        "a/b",
        "%2e%2e",
        "a\0b",
        "ａｂｃ",
        "con",
        "api",
        "admin",
        "A",
        "a.b",
        "a_b",
    ];
    names.extend(more.map(str::to_owned));
    names.push("x".repeat(10_000));
    for name in &names {
        let made = ada.post("/api/apps", &json!({ "name": name }));
        assert!((400..500).contains(&made.status), "{name:?}: {made:?}");
        let twice: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for path in ["", "/config", "/releases"] {
            let seen = ada.get(&format!("/api/apps/{}{path}", &twice[..twice.len().min(3_000)]));
            assert!((400..500).contains(&seen.status), "{name:?}: {seen:?}");
        }
    }
    assert_eq!(ada.get("/api/apps").ok(), json!([]));
    assert!(!canary.exists());
}

#[test]
fn a3_what_is_given_runs_nowhere_when_it_is_made_changed_tried_or_removed() {
    let world = World::new();
    let ada = somebody(&world, "ada@example.com", true);
    ada.post("/api/apps", &json!({ "name": "shop" })).ok();
    let canary = world.folder().join("canary");
    for word in hostile(canary.to_str().unwrap()) {
        let encoded: String = word.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let refused = |answer: &crate::world::api::Answer| {
            assert!((400..500).contains(&answer.status), "{word:?}: {answer:?}");
        };
        for body in [
            json!({ "app": "shop", "git_url": word }),
            json!({ "app": "shop", "git_url": "https://git.example.invalid/a.git", "ref": word }),
            json!({ "app": "shop", "ref": word }),
            json!({ "app": "shop", "branch": word }),
            json!({ "app": "shop", "image": word }),
        ] {
            refused(&ada.post("/api/deployments", &body));
        }
        refused(&ada.post("/api/apps/shop/domains", &json!({ "domains": [word] })));
        refused(&ada.delete(&format!("/api/apps/shop/domains/{encoded}")));
        refused(&ada.patch("/api/apps/shop/config", &json!({ "vars": { word.clone(): "1" } })));
        refused(&ada.patch("/api/apps/shop/formation", &json!({ "formation": { word.clone(): 1 } })));
        refused(&ada.put(&format!("/api/apps/shop/members/{encoded}"), &json!({ "role": "viewer" })));
        refused(&ada.delete(&format!("/api/apps/shop/members/{encoded}")));
        refused(&ada.delete(&format!("/api/user/me/keys/{encoded}")));
        refused(&ada.get(&format!("/api/apps/shop/logs?since={encoded}")));
        // A value may be anything, and is what it is.
        ada.patch("/api/apps/shop/config", &json!({ "vars": { "WORD": word } })).ok();
        assert_eq!(ada.get("/api/apps/shop/config").ok()["vars"]["WORD"], word.as_str());
    }
    assert_eq!(ada.delete("/api/apps/shop").status, 204);
    assert!(!canary.exists());
}

#[test]
fn a7_two_hosts_share_no_key_and_nobody_is_there_by_default() {
    let worlds = [World::new(), World::new()];
    let mut keys = HashSet::new();
    for world in &worlds {
        for entry in fs::read_dir(world.data_dir().join("keys")).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_some_and(|kind| kind == "pub") {
                continue;
            }
            let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", file.display());
            assert!(keys.insert(fs::read(&file).unwrap()), "{} is on both hosts", file.display());
        }
        for (name, password) in [("admin@localhost", "admin"), ("admin", "admin"), ("root@localhost", "root")]
        {
            let words = json!({ "email": name, "password": password });
            assert_eq!(world.api().post("/api/auth/login", &words).refused(401), "unauthenticated");
        }
    }
    assert!(keys.len() >= 4, "{}", keys.len());
    // A token of one opens nothing at the other.
    let ada = somebody(&worlds[0], "ada@example.com", true);
    somebody(&worlds[1], "ada@example.com", true);
    let there = worlds[1].api().with(ada.token().unwrap());
    assert_eq!(there.get("/api/user/me").refused(401), "unauthenticated");
}

#[test]
fn a8_nobody_is_believed_by_a_header_a_get_or_somebody_elses_code() {
    let world = World::new();
    let (ada, bob) = (somebody(&world, "ada@example.com", true), somebody(&world, "bob@example.com", false));
    ada.post("/api/apps", &json!({ "name": "shop" })).ok();
    for header in ["X-Forwarded-User", "X-WEBAUTH-USER", "Remote-User", "X-Remote-User", "X-Forwarded-Email"]
    {
        let answer = world.api().raw("GET", "/api/user/me", &[(header, "ada@example.com")], "");
        assert_eq!(answer.refused(401), "unauthenticated", "{header}");
    }
    for (method, path) in [
        ("GET", "/api/auth/logout"),
        ("GET", "/api/apps/shop/restart"),
        ("GET", "/api/apps/shop/stop"),
        ("GET", "/api/apps/shop/members/bob@example.com"),
        ("GET", "/api/user/me/tokens/none/rotate"),
        ("GET", "/api/auth/refresh"),
        ("GET", "/api/user/me/verification"),
    ] {
        let status = ada.raw(method, path, &[], "").status;
        assert_eq!(status, 405, "{method} {path}");
    }
    let token = ada.token().unwrap();
    let mut connection = Connection::open(world.api_address()).unwrap();
    let head =
        format!("HEAD /api/apps/shop/restart HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    connection.send(head.as_bytes()).unwrap();
    assert_eq!(connection.head().unwrap().status, 405);
    for path in ["/api/user/me?token=", "/api/user/me?access_token=", "/api/apps?api_key="] {
        assert_eq!(world.api().get(&format!("{path}{token}")).status, 401, "{path}");
    }
    // A key that may read deletes nothing.
    let key = ada.post("/api/user/me/tokens", &json!({ "name": "r", "scopes": ["read"] })).ok();
    let reader = world.api().with(key["token"].as_str().unwrap());
    assert_eq!(reader.delete("/api/apps/shop").refused(403), "denied");
    reader.get("/api/apps/shop").ok();

    // The recovery code of one lets nobody else in.
    let factor = |client: &ApiClient| {
        let offer = client.post("/api/user/me/totp", &json!({ "password": PASSWORD })).ok();
        let code = super::accounts::code_of(offer["secret"].as_str().unwrap());
        let codes = client.post("/api/user/me/totp/confirm", &json!({ "code": code })).ok();
        codes["recovery_codes"][0].clone()
    };
    let (of_ada, of_bob) = (factor(&ada), factor(&bob));
    let log_in = |email: &str, code: &Value| {
        world.api().post("/api/auth/login", &json!({ "email": email, "password": PASSWORD, "code": code }))
    };
    assert_eq!(log_in("ada@example.com", &of_bob).refused(401), "unauthenticated");
    log_in("ada@example.com", &of_ada).ok();
    assert_eq!(log_in("ada@example.com", &of_ada).refused(401), "unauthenticated", "once");
    log_in("bob@example.com", &of_bob).ok();
}

#[test]
fn b7_a_secret_that_is_given_stands_in_no_answer_no_log_and_no_file() {
    let world = World::new();
    let (ada, eve) = (somebody(&world, "ada@example.com", true), somebody(&world, "eve@example.com", false));
    ada.post("/api/apps", &json!({ "name": "shop" })).ok();
    ada.put("/api/apps/shop/members/eve@example.com", &json!({ "role": "viewer" })).ok();
    let canary = "canary-5f1c9";
    ada.patch("/api/apps/shop/config", &json!({ "vars": { "SECRET": canary } })).ok();
    let password = format!("{canary}-password");
    let words = json!({ "current": PASSWORD, "new": password });
    assert_eq!(ada.put("/api/user/me/password", &words).status, 204);
    let wrong = json!({ "email": "ada@example.com", "password": format!("{canary}-wrong") });
    world.api().post("/api/auth/login", &wrong).refused(401);
    ada.post(
        "/api/deployments",
        &json!({ "app": "shop", "git_url": format!("https://u:{canary}@git.example.invalid/a") }),
    );
    for (who, name) in [(&eve, "a viewer"), (&ada, "the owner")] {
        for path in [
            "/api/apps",
            "/api/apps/shop",
            "/api/apps/shop/releases",
            "/api/apps/shop/logs",
            "/api/deployments",
            "/api/audit",
            "/api/dashboard/recent-deployments",
            "/api/user/me",
            "/api/user/me/tokens",
        ] {
            let body = who.get(path).response.body;
            assert!(!body.contains(canary), "{path} tells {name}: {body}");
        }
    }
    assert!(!eve.get("/api/apps/shop/config").response.body.contains(canary));
    assert!(!world.log().contains(canary), "{}", world.log());
    let mut files = vec![world.data_dir().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(bytes) = fs::read(&path) {
            let found = bytes.windows(canary.len()).any(|part| part == canary.as_bytes());
            assert!(!found, "{} holds it", path.display());
        }
    }
}
