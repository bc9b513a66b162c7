//! Sign-in by GitHub and Google, with a real provider in their place.

use std::fs;

use serde_json::{Value, json};

use super::{PASSWORD, accounts::code_of, somebody};
use crate::world::{
    ApiClient, Options, Response, World,
    mail::MailServer,
    provider::{Browser, Provider},
    soon,
};

/// A world that knows a provider, and lets people in as `signup` says.
fn world_with(flavour: &str, signup: &str) -> (World, Provider) {
    let more = format!("[auth]\nsignup = \"{signup}\"\n");
    let world = Options::default().file(&more).start();
    let provider = Provider::start(flavour, world.api_address());
    fs::write(world.settings_file(), format!("{more}{}", provider.settings(flavour))).unwrap();
    let way = format!("/api/auth/{flavour}");
    soon("the provider to be known", || (world.api().get(&way).status == 303).then_some(()));
    (world, provider)
}

fn json_of(response: &Response) -> Value {
    serde_json::from_str(&response.body).unwrap_or_else(|_| panic!("{response:?}"))
}

/// Signs in with a new browser; the status, and what was answered.
fn sign_in(world: &World, flavour: &str, login: &str) -> (u16, Value) {
    let start = format!("http://{}/api/auth/{flavour}", world.api_address());
    let (_, response) = Browser::default().sign_in(&start, login);
    (response.status, json_of(&response))
}

/// The client of who was let in.
fn let_in(world: &World, answer: &(u16, Value)) -> ApiClient {
    assert_eq!(answer.0, 200, "{answer:?}");
    world.api().with(answer.1["access_token"].as_str().unwrap())
}

#[test]
fn whoever_a_provider_vouches_for_gets_an_account_and_comes_back_to_it() {
    for flavour in ["google", "github"] {
        let (world, _provider) = world_with(flavour, "open");
        let ada = let_in(&world, &sign_in(&world, flavour, "ada"));
        let me = ada.get("/api/user/me").ok();
        assert_eq!((&me["email"], &me["linked"]), (&json!("ada@example.com"), &json!([flavour])));
        assert!(!me["email_verified_at"].is_null() && me["has_password"] == false, "{me}");
        let again = let_in(&world, &sign_in(&world, flavour, "ada"));
        assert_eq!(again.get("/api/user/me").ok()["id"], me["id"], "{flavour}");
        // Another account there with the same proved address is the same person.
        let other = let_in(&world, &sign_in(&world, flavour, "ada+2"));
        assert_eq!(other.get("/api/user/me").ok()["id"], me["id"], "{flavour}");

        let unproved = sign_in(&world, flavour, "unverified-bob");
        assert_eq!((unproved.0, &unproved.1["error"]["code"]), (403, &json!("denied")), "{unproved:?}");
        let only = ada.delete(&format!("/api/user/me/linked/{flavour}"));
        assert_eq!(only.refused(409), "conflict", "it is the only way in");
    }
}

#[test]
fn b2_an_address_alone_takes_over_no_account() {
    let (world, _provider) = world_with("google", "open");
    // Somebody waits for bob in an account with his address.
    somebody(&world, "bob@example.com", false);
    let refused = sign_in(&world, "google", "bob");
    assert_eq!((refused.0, &refused.1["error"]["code"]), (403, &json!("denied")), "{refused:?}");
    let bob = world.api().log_in("bob@example.com", PASSWORD);
    assert_eq!(bob.get("/api/user/me").ok()["linked"], json!([]));

    // Its owner links it, in a browser of their own.
    let way = bob.post("/api/user/me/linked/google", &json!({}));
    let url = way.json["url"].as_str().unwrap().to_owned();
    let mut thief = Browser::default();
    let (_, stolen) = thief.sign_in(&url, "mallory");
    assert_eq!(stolen.status, 400, "{stolen:?}");
    let way = bob.post("/api/user/me/linked/google", &json!({}));
    let mut browser = Browser::default();
    browser.keep(&world.api_address().to_string(), &way.response);
    let (_, linked) = browser.sign_in(way.json["url"].as_str().unwrap(), "bob");
    assert_eq!(linked.status, 204, "{linked:?}");
    assert_eq!(bob.get("/api/user/me").ok()["linked"], json!(["google"]));
    let again = let_in(&world, &sign_in(&world, "google", "bob"));
    assert_eq!(again.get("/api/user/me").ok()["email"], "bob@example.com");

    // An account lets one person in.
    let eve = somebody(&world, "eve@example.com", false);
    let way = eve.post("/api/user/me/linked/google", &json!({}));
    let mut browser = Browser::default();
    browser.keep(&world.api_address().to_string(), &way.response);
    let (_, taken) = browser.sign_in(way.json["url"].as_str().unwrap(), "bob");
    assert_eq!(taken.status, 409, "{taken:?}");

    assert_eq!(bob.delete("/api/user/me/linked/google").status, 204);
    assert_eq!(bob.delete("/api/user/me/linked/google").refused(404), "not_found");
    assert_eq!(sign_in(&world, "google", "bob").0, 403, "unlinked");
}

#[test]
fn a_proved_address_links_an_account_that_is_there() {
    let server = MailServer::start();
    let more = format!(
        "[mail]\nhost = \"127.0.0.1\"\nport = \"{}\"\nsecurity = \"none\"\n[auth]\nsignup = \"closed\"\n",
        server.port
    );
    let world = Options::default().file(&more).start();
    let provider = Provider::start("github", world.api_address());
    fs::write(world.settings_file(), format!("{more}{}", provider.settings("github"))).unwrap();
    soon("the provider to be known", || (world.api().get("/api/auth/github").status == 303).then_some(()));
    let ada = somebody(&world, "ada@example.com", false);
    assert_eq!(sign_in(&world, "github", "ada").0, 403);
    ada.post("/api/user/me/verification", &json!({}));
    let proof = json!({ "token": server.next().secret() });
    assert_eq!(world.api().post("/api/auth/verify-email", &proof).status, 204);
    let signed_in = let_in(&world, &sign_in(&world, "github", "ada"));
    assert_eq!(signed_in.get("/api/user/me").ok()["id"], ada.get("/api/user/me").ok()["id"]);
    // This host makes no new accounts.
    assert_eq!(sign_in(&world, "github", "eve").0, 403);
}

#[test]
fn an_invitation_is_good_for_who_comes_by_a_provider() {
    let (world, _provider) = world_with("google", "invite");
    let root = somebody(&world, "root@example.com", true);
    assert_eq!(sign_in(&world, "google", "eve").0, 403);
    root.post("/api/invitations", &json!({ "email": "eve@example.com", "is_admin": true })).ok();
    let eve = let_in(&world, &sign_in(&world, "google", "eve"));
    assert_eq!(eve.get("/api/user/me").ok()["is_admin"], true);
    assert_eq!(root.get("/api/invitations").ok(), json!([]), "it is used up");
}

#[test]
fn a6_a_sign_in_ends_once_and_in_the_browser_that_has_begun_it() {
    let (world, provider) = world_with("google", "open");
    let start = format!("http://{}/api/auth/google", world.api_address());
    let mut browser = Browser::default();
    let (callback, first) = browser.sign_in(&start, "ada");
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(browser.open(&callback).1.status, 400, "used up");

    // A victim's browser is made to end what an attacker has begun.
    let mut attacker = Browser::default();
    let (page, _) = attacker.open(&start);
    assert!(page.starts_with(&provider.url), "{page}");
    let api = world.api();
    let forged = api.get("/api/auth/google/callback?state=none&code=none");
    assert_eq!(forged.refused(400), "sign_in_stale");
    assert_eq!(api.get("/api/auth/google/callback").refused(400), "malformed");
    let denied = api.get("/api/auth/google/callback?error=access_denied&state=x");
    assert_eq!(denied.refused(403), "denied");
    assert!(denied.json["error"]["message"].as_str().unwrap().contains("access_denied"));
    assert_eq!(api.get("/api/auth/github").refused(404), "not_found", "this host knows nobody by GitHub");

    // What leaves says how it is protected.
    let left = api.get("/api/auth/google");
    let url = left.response.header("location").unwrap();
    for part in ["code_challenge=", "code_challenge_method=S256", "state=", "response_type=code"] {
        assert!(url.contains(part), "{part}: {url}");
    }
    let cookie = left.response.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");

    drop(provider);
    assert_eq!(api.get("/api/auth/google").refused(503), "busy");
}

#[test]
fn a_second_factor_is_asked_for_after_a_provider_too() {
    let (world, _provider) = world_with("google", "open");
    let ada = let_in(&world, &sign_in(&world, "google", "ada"));
    ada.put("/api/user/me/password", &json!({ "new": PASSWORD }));
    let again = world.api().log_in("ada@example.com", PASSWORD);
    let offer = again.post("/api/user/me/totp", &json!({ "password": PASSWORD })).ok();
    let code = code_of(offer["secret"].as_str().unwrap());
    let codes = again.post("/api/user/me/totp/confirm", &json!({ "code": code })).ok();
    let recovery = codes["recovery_codes"].as_array().unwrap();

    let (status, answer) = sign_in(&world, "google", "ada");
    assert_eq!((status, answer["access_token"].is_null()), (202, true), "{answer}");
    let end = |ticket: &Value, code: &Value| {
        world.api().post("/api/auth/code", &json!({ "ticket": ticket, "code": code }))
    };
    assert_eq!(end(&answer["ticket"], &json!("000000")).refused(401), "unauthenticated");
    assert_eq!(end(&answer["ticket"], &recovery[0]).refused(401), "unauthenticated", "a ticket is good once");
    let (_, answer) = sign_in(&world, "google", "ada");
    assert_eq!(end(&answer["ticket"], &recovery[0]).status, 200);
}
