//! Accounts: coming in by password, second factor and API key; what ends when it should.

use serde_json::{Value, json};

use super::PASSWORD;
use crate::world::{ApiClient, Options, World};

/// A world with a user, and the client of nobody.
fn with_user(email: &str, admin: bool) -> (World, ApiClient) {
    let world = World::new();
    let mut words = vec!["user", "add", email];
    words.extend(admin.then_some("--admin"));
    world.admin(&words, PASSWORD.as_bytes()).ok();
    let api = world.api();
    (world, api)
}

fn tokens(api: &ApiClient, email: &str) -> (String, String) {
    let tokens = api.post("/api/auth/login", &json!({ "email": email, "password": PASSWORD })).ok();
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert_eq!(tokens["refresh_expires_in"], json!(604_800));
    (text("access_token"), text("refresh_token"))
}

#[test]
fn a_password_lets_in_and_a_session_goes_on_until_it_ends() {
    let (_world, api) = with_user("ada@example.com", true);
    let (access, refresh) = tokens(&api, "Ada@Example.com");
    let me = api.with(&access).get("/api/user/me").ok();
    assert_eq!((&me["email"], &me["is_admin"]), (&json!("ada@example.com"), &json!(true)));
    assert!(!me.to_string().contains("argon2"), "{me}");

    let next = api.post("/api/auth/refresh", &json!({ "refresh_token": refresh })).ok();
    let (next_access, next_refresh) = (next["access_token"].as_str().unwrap(), &next["refresh_token"]);
    api.with(next_access).get("/api/user/me").ok();
    assert_eq!(api.post("/api/auth/logout", &json!({ "refresh_token": next_refresh })).status, 204);
    for token in [&access, next_access] {
        assert_eq!(api.with(token).get("/api/user/me").refused(401), "unauthenticated");
    }
    let again = api.post("/api/auth/refresh", &json!({ "refresh_token": next_refresh }));
    assert_eq!(again.refused(401), "unauthenticated");
}

#[test]
fn a_replayed_refresh_token_ends_the_whole_family() {
    let (_world, api) = with_user("ada@example.com", false);
    let (_, stolen) = tokens(&api, "ada@example.com");
    let next = api.post("/api/auth/refresh", &json!({ "refresh_token": stolen })).ok();
    let other = tokens(&api, "ada@example.com").0;
    let replay = api.post("/api/auth/refresh", &json!({ "refresh_token": stolen }));
    assert_eq!(replay.refused(401), "unauthenticated");
    let newest = api.post("/api/auth/refresh", &json!({ "refresh_token": next["refresh_token"] }));
    assert_eq!(newest.refused(401), "unauthenticated");
    let access = next["access_token"].as_str().unwrap();
    assert_eq!(api.with(access).get("/api/user/me").refused(401), "unauthenticated");
    api.with(&other).get("/api/user/me").ok();
}

#[test]
fn sessions_outlive_the_agent() {
    let (world, api) = with_user("ada@example.com", false);
    let (access, refresh) = tokens(&api, "ada@example.com");
    world.kill9_and_restart();
    api.with(&access).get("/api/user/me").ok();
    api.post("/api/auth/refresh", &json!({ "refresh_token": refresh })).ok();
}

#[test]
fn b5_ten_wrong_passwords_are_enough_and_nobody_learns_who_is_there() {
    let (_world, api) = with_user("ada@example.com", false);
    let attempt = |email: &str, password: &str| {
        api.post("/api/auth/login", &json!({ "email": email, "password": password }))
    };
    let (known, unknown) = (attempt("ada@example.com", "wrong one"), attempt("eve@example.com", "wrong one"));
    assert_eq!(known.refused(401), "unauthenticated");
    assert_eq!(known.json, unknown.json);
    for _ in 1..10 {
        attempt("ada@example.com", "wrong one").refused(401);
    }
    for password in ["wrong one", PASSWORD] {
        let late = attempt("ada@example.com", password);
        assert_eq!(late.refused(429), "too_many_requests");
        let seconds: u64 = late.response.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=900).contains(&seconds), "{seconds}");
    }
}

/// The code that an authenticator shows for this secret.
pub(super) fn code_of(secret: &str) -> String {
    use std::time::{SystemTime, UNIX_EPOCH};
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    totp.generate(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).to_string()
}

#[test]
fn b5_a_second_factor_is_offered_confirmed_asked_for_and_removed() {
    let (_world, api) = with_user("ada@example.com", false);
    let me = api.with(&tokens(&api, "ada@example.com").0);
    assert_eq!(me.post("/api/user/me/totp", &json!({ "password": "wrong" })).refused(403), "denied");
    let offer = me.post("/api/user/me/totp", &json!({ "password": PASSWORD })).ok();
    let secret = offer["secret"].as_str().unwrap();
    assert!(offer["url"].as_str().unwrap().starts_with("otpauth://totp/"), "{offer}");
    assert_eq!(me.post("/api/user/me/totp/confirm", &json!({ "code": "000000" })).refused(422), "invalid");
    // Offered, and not asked for yet.
    tokens(&api, "ada@example.com");
    let code = code_of(secret);
    let codes = me.post("/api/user/me/totp/confirm", &json!({ "code": code })).ok();
    let recovery = codes["recovery_codes"].as_array().unwrap().clone();
    assert_eq!(recovery.len(), 10);

    let log_in = |code: Option<&Value>| {
        let mut proof = json!({ "email": "ada@example.com", "password": PASSWORD });
        if let Some(code) = code {
            proof["code"] = code.clone();
        }
        api.post("/api/auth/login", &proof)
    };
    assert_eq!(log_in(None).refused(401), "code_needed");
    assert_eq!(log_in(Some(&json!(code))).refused(401), "unauthenticated", "the code that confirmed it");
    log_in(Some(&recovery[0])).ok();
    assert_eq!(log_in(Some(&recovery[0])).refused(401), "unauthenticated");
    let account = me.get("/api/user/me").ok();
    assert_eq!((&account["has_second_factor"], &account["recovery_codes"]), (&json!(true), &json!(9)));
    // What lets in without a second factor is made with one.
    let key = |code: Option<&str>| json!({ "name": "ci", "scopes": ["read"], "code": code });
    assert_eq!(me.post("/api/user/me/tokens", &key(None)).refused(401), "code_needed");
    assert_eq!(me.post("/api/user/me/tokens", &key(Some("000000"))).refused(403), "denied");
    let line = json!({ "name": "laptop", "public_key": "ssh-ed25519 AAAA" });
    assert_eq!(me.post("/api/user/me/keys", &line).refused(401), "code_needed");
    let recovery = codes["recovery_codes"].as_array().unwrap();
    let last = recovery.last().unwrap().as_str();
    assert_eq!(me.post("/api/user/me/tokens", &key(last)).status, 201);
    assert_eq!(me.ask("DELETE", "/api/user/me/totp", Some(&json!({ "password": PASSWORD }))).status, 204);
    log_in(None).ok();
}

#[test]
fn an_api_key_is_shown_once_good_for_its_scopes_and_rotated_and_removed() {
    let (_world, api) = with_user("ada@example.com", true);
    let me = api.with(&tokens(&api, "ada@example.com").0);
    let wanted = json!({ "name": "ci", "scopes": ["read", "deploy"], "expires_in": 3600 });
    let made = me.post("/api/user/me/tokens", &wanted).ok();
    let key = made["token"].as_str().unwrap();
    let id = made["id"].as_str().unwrap();
    assert!(key.starts_with(made["prefix"].as_str().unwrap()), "{made}");
    assert_eq!(me.post("/api/user/me/tokens", &wanted).refused(409), "conflict");
    let listed = me.get("/api/user/me/tokens").ok();
    assert!(!listed.to_string().contains(&key[50..]), "{listed}");

    let program = api.with(key);
    assert_eq!(program.get("/api/user/me").ok()["email"], "ada@example.com");
    assert!(me.get("/api/user/me/tokens").ok()[0]["used_at"].is_i64());
    for (method, path, body) in [
        ("POST", "/api/user/me/tokens", json!({ "name": "more", "scopes": ["manage"] })),
        ("POST", "/api/user/me/keys", json!({ "name": "x", "public_key": "ssh-ed25519 AAAA" })),
        ("PATCH", "/api/user/me", json!({ "name": "Eve" })),
        ("PUT", "/api/user/me/password", json!({ "current": PASSWORD, "new": "something else" })),
        ("POST", "/api/user/me/totp", json!({ "password": PASSWORD })),
    ] {
        assert_eq!(program.ask(method, path, Some(&body)).refused(403), "denied", "{method} {path}");
    }
    let rotated = me.post(&format!("/api/user/me/tokens/{id}/rotate"), &json!({})).ok();
    assert_eq!(program.get("/api/user/me").refused(401), "unauthenticated");
    let program = api.with(rotated["token"].as_str().unwrap());
    program.get("/api/user/me").ok();
    me.delete(&format!("/api/user/me/tokens/{id}")).ok();
    assert_eq!(program.get("/api/user/me").refused(401), "unauthenticated");
    assert_eq!(me.delete(&format!("/api/user/me/tokens/{id}")).refused(404), "not_found");
}

#[test]
fn the_operator_makes_api_keys_on_the_host() {
    let (world, api) = with_user("ada@example.com", false);
    let create = |words: &[&str]| world.admin(&[&["token", "create"], words].concat(), b"");
    let of_ada = create(&["ci", "--user", "ada@example.com", "--scope", "read,deploy", "--days", "30"]).ok();
    let me = api.with(of_ada.trim()).get("/api/user/me").ok();
    assert_eq!((&me["email"], &me["is_admin"]), (&json!("ada@example.com"), &json!(false)));
    assert_eq!(api.with(of_ada.trim()).post("/api/apps", &json!({ "name": "shop" })).refused(403), "denied");
    let of_admin = create(&["backup"]).ok();
    assert_eq!(api.with(of_admin.trim()).post("/api/apps", &json!({ "name": "shop" })).status, 201);
    assert_eq!(create(&["ci", "--user", "ada@example.com"]).code, Some(1), "the name is taken");
    assert_eq!(create(&["ci", "--user", "ada@example.com"]).code, Some(1), "the name is taken");
    assert_eq!(create(&["x", "--scope", "all"]).code, Some(2));
}

#[test]
fn another_password_ends_every_other_session() {
    let (world, api) = with_user("ada@example.com", false);
    let (here, elsewhere) = (tokens(&api, "ada@example.com").0, tokens(&api, "ada@example.com").0);
    let (here, elsewhere) = (api.with(&here), api.with(&elsewhere));
    let change = |current: &str, new: &str| {
        here.put("/api/user/me/password", &json!({ "current": current, "new": new }))
    };
    assert_eq!(change("wrong", "a new password").refused(403), "denied");
    assert_eq!(change(PASSWORD, "short").refused(422), "invalid");
    elsewhere.get("/api/user/me").ok();
    assert_eq!(change(PASSWORD, "a new password").status, 204);
    here.get("/api/user/me").ok();
    assert_eq!(elsewhere.get("/api/user/me").refused(401), "unauthenticated");

    let said = world.admin(&["user", "password", "ada@example.com"], b"").ok();
    let made = said.lines().find_map(|line| line.strip_prefix("Password: ")).unwrap();
    assert_eq!(here.get("/api/user/me").refused(401), "unauthenticated");
    api.log_in("ada@example.com", made).get("/api/user/me").ok();
}

#[test]
fn sign_up_is_closed_by_default_and_opens_by_setting() {
    let wanted = json!({ "email": "bob@example.com", "password": PASSWORD, "name": "Bob" });
    let (_world, api) = with_user("ada@example.com", true);
    assert_eq!(api.post("/api/auth/signup", &wanted).refused(403), "denied");

    let world = Options::default().set("auth.signup", "open").start();
    let api = world.api();
    let tokens = api.post("/api/auth/signup", &wanted);
    assert_eq!(tokens.status, 201);
    let bob = api.with(tokens.json["access_token"].as_str().unwrap());
    let me = bob.get("/api/user/me").ok();
    assert_eq!((&me["name"], &me["is_admin"]), (&json!("Bob"), &json!(false)));
    assert_eq!(bob.patch("/api/user/me", &json!({ "name": "Robert" })).ok()["name"], "Robert");
    assert_eq!(bob.patch("/api/user/me", &json!({ "name": "a\nb" })).refused(422), "invalid");
    assert_eq!(bob.get("/api/user/me").ok()["name"], "Robert");
    assert_eq!(api.post("/api/auth/signup", &wanted).refused(409), "conflict");
    let weak = json!({ "email": "eve@example.com", "password": "short" });
    assert_eq!(api.post("/api/auth/signup", &weak).refused(422), "invalid");
    let more = json!({ "email": "eve@example.com", "password": PASSWORD, "is_admin": true });
    assert_eq!(api.post("/api/auth/signup", &more).refused(422), "invalid");
}

#[test]
fn bodies_that_are_none_are_refused_in_the_one_shape() {
    let (_world, api) = with_user("ada@example.com", false);
    let path = "/api/auth/login";
    let json_type = [("Content-Type", "application/json")];
    for (headers, body, status, code) in [
        (&json_type[..], "{", 400, "malformed"),
        (&json_type[..], "[]", 422, "invalid"),
        (&json_type[..], r#"{"email": 7, "password": "x"}"#, 422, "invalid"),
        (&json_type[..], r#"{"email": "a@b", "password": "x", "admin": true}"#, 422, "invalid"),
        (&[], "email=a&password=b", 415, "unsupported_media_type"),
    ] {
        assert_eq!(api.raw("POST", path, headers, body).refused(status), code, "{body}");
    }
    for token in ["", "x", "ask_", "a.b.c", &"x".repeat(5000)] {
        assert_eq!(api.with(token).get("/api/user/me").refused(401), "unauthenticated", "{}", token.len());
    }
    assert_eq!(api.get("/api/user/me").refused(401), "unauthenticated");
    let basic = [("Authorization", "Basic YWRhOnB3")];
    assert_eq!(api.raw("GET", "/api/user/me", &basic, "").refused(401), "unauthenticated");
}
