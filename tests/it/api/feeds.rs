//! Logs over JSON: pages, and live feeds that lose and repeat nothing and end when they should.

use std::time::Instant;

use serde_json::{Value, json};

use super::{PASSWORD, ended, somebody};
use crate::world::{Connection, World, apps, feed::Feed, soon};

/// An app that writes every path that it is asked for.
fn talkative() -> apps::Files {
    apps::node_with("console.log(url.pathname); response.end('')")
}

fn token(world: &World, email: &str) -> String {
    let tokens = world.api().post("/api/auth/login", &json!({ "email": email, "password": PASSWORD })).ok();
    format!("Bearer {}", tokens["access_token"].as_str().unwrap())
}

fn feed(world: &World, path: &str, token: &str) -> Feed {
    Feed::open(world.api_address(), path, &[("authorization", token)])
        .unwrap_or_else(|status| panic!("{path}: {status}"))
}

fn texts(lines: &[(u64, String)]) -> Vec<&str> {
    lines.iter().map(|(_, text)| text.as_str()).filter(|text| text.starts_with("/w")).collect()
}

fn say(world: &World, words: std::ops::Range<u32>) -> Vec<String> {
    let said: Vec<String> = words.map(|number| format!("/w{number}")).collect();
    for word in &said {
        assert_eq!(world.get("shop", word).status, 200);
    }
    said
}

#[test]
fn a_feed_goes_on_over_reconnects_and_a_crash_without_a_lost_or_repeated_line() {
    let world = World::new();
    let _ada = somebody(&world, "ada@example.com", true);
    world.developer("git").app_of(talkative()).push("shop").accepted();
    let token = token(&world, "ada@example.com");
    let first = say(&world, 0..5);
    let path = "/api/apps/shop/logs/stream";
    let mut open = feed(&world, &format!("{path}?from=0"), &token);
    assert_eq!(texts(&open.until("/w4")), first);
    let live = say(&world, 5..10);
    assert_eq!(texts(&open.until("/w9")), live);

    // While nobody listens, and while the agent is not there, lines are written.
    let from = open.next;
    drop(open);
    let mut wanted = say(&world, 10..12);
    world.kill9_and_restart();
    wanted.extend(say(&world, 12..14));
    let mut open = feed(&world, &format!("{path}?from={from}&process=web"), &token);
    assert_eq!(texts(&open.until("/w13")), wanted);
    let mut newest = feed(&world, &format!("{path}?limit=1"), &token);
    assert_eq!(texts(&newest.until("/w13")), ["/w13"]);
    let mut some = feed(&world, &format!("{path}?from=0&grep=w1%5B02%5D"), &token);
    assert_eq!(texts(&some.until("/w12")), ["/w10", "/w12"]);

    let client = world.api().with(token.strip_prefix("Bearer ").unwrap());
    let page = client.get("/api/apps/shop/logs?grep=^/w&limit=2").ok();
    let (lines, next) = (page["lines"].as_array().unwrap(), page["next"].as_u64().unwrap());
    assert_eq!((lines.len(), &lines[1]["text"], &lines[1]["process"]), (2, &json!("/w13"), &json!("web.1")));
    say(&world, 14..15);
    let more = soon("the next line", || {
        let page = client.get(&format!("/api/apps/shop/logs?from={next}")).ok();
        (!page["lines"].as_array().unwrap().is_empty()).then_some(page)
    });
    assert_eq!(more["lines"][0]["text"], "/w14");
}

#[test]
fn the_log_of_a_deployment_is_followed_to_its_end_also_as_events() {
    let world = World::new();
    let ada = somebody(&world, "ada@example.com", true);
    let git = world.developer("git");
    git.app_of(talkative()).push("shop").accepted();
    let begun = ada.post("/api/deployments", &json!({ "app": "shop" })).ok();
    let path = format!("/api/deployments/{}/logs/stream", begun["id"].as_str().unwrap());
    let token = token(&world, "ada@example.com");
    let mut open = feed(&world, &path, &token);
    assert_eq!(open.closed(), 1000);
    ended(&ada, &begun["id"]);
    let page = ada.get(&format!("/api/deployments/{}/logs?from=0", begun["id"].as_str().unwrap())).ok();
    assert_eq!(page["is_complete"], true);
    let last = page["lines"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["text"], format!("{}", world.url("shop")));

    // The same as server-sent events, and on from the last one.
    let events = |resume: Option<&str>| {
        let mut connection = Connection::open(world.api_address()).unwrap();
        let resume = resume.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {token}\r\n{resume}\r\n"
        );
        connection.send(head.as_bytes()).unwrap();
        let response = connection.response().unwrap();
        assert_eq!((response.status, response.header("content-type")), (200, Some("text/event-stream")));
        response.body
    };
    let all = events(None);
    assert!(all.contains("event: lines\n") && all.ends_with("event: end\ndata: complete\n\n"), "{all}");
    let id = all.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    assert_eq!(id, page["next"].to_string());
    assert_eq!(events(Some(&id)), "event: end\ndata: complete\n\n");
}

/// Whether it is closed as one that its reader may not read any more, in time.
#[track_caller]
fn is_revoked(feed: &mut Feed, since: Instant) {
    assert_eq!(feed.closed(), 1008);
    assert!(since.elapsed().as_secs() < 5, "{:?}", since.elapsed());
}

#[test]
fn a5_b3_a_feed_is_for_pages_of_its_own_and_ends_with_the_right_to_read_it() {
    let world = World::new();
    let admin = somebody(&world, "ada@example.com", true);
    let bob = somebody(&world, "bob@example.com", false);
    world.developer("git").app_of(talkative()).push("shop").accepted();
    let path = "/api/apps/shop/logs/stream?from=0";
    let of_bob = token(&world, "bob@example.com");
    let open = |token: &str| Feed::open(world.api_address(), path, &[("authorization", token)]);
    assert_eq!(open(&of_bob).err(), Some(404));
    assert_eq!(open("Bearer nonsense").err(), Some(401));
    assert_eq!(Feed::open(world.api_address(), path, &[]).err(), Some(401));
    let elsewhere = [("authorization", of_bob.as_str()), ("origin", "https://evil.example")];
    assert_eq!(Feed::open(world.api_address(), path, &elsewhere).err(), Some(403));

    let let_in = || admin.put("/api/apps/shop/members/bob@example.com", &json!({ "role": "viewer" })).ok();
    let_in();
    let key = bob.post("/api/user/me/tokens", &json!({ "name": "ci", "scopes": ["read"] })).ok();
    let of_key = format!("Bearer {}", key["token"].as_str().unwrap());
    let mut by_role = feed(&world, path, &of_bob);
    let mut by_key = feed(&world, path, &of_key);
    let now = Instant::now();
    bob.delete(&format!("/api/user/me/tokens/{}", key["id"].as_str().unwrap())).ok();
    is_revoked(&mut by_key, now);
    let now = Instant::now();
    assert_eq!(admin.delete("/api/apps/shop/members/bob@example.com").status, 204);
    is_revoked(&mut by_role, now);

    // A ticket stands for its caller once.
    let_in();
    let ticket = bob.post("/api/auth/ticket", &Value::Null).ok();
    let with_ticket = format!("{path}&ticket={}", ticket["ticket"].as_str().unwrap());
    let mut by_ticket = Feed::open(world.api_address(), &with_ticket, &[]).ok().unwrap();
    assert_eq!(Feed::open(world.api_address(), &with_ticket, &[]).err(), Some(401));
    let mut by_session = feed(&world, path, &of_bob);
    let now = Instant::now();
    world.admin(&["user", "password", "bob@example.com"], b"another password").ok();
    is_revoked(&mut by_ticket, now);
    is_revoked(&mut by_session, now);

    let mut by_admin = feed(&world, path, &token(&world, "ada@example.com"));
    let now = Instant::now();
    assert_eq!(admin.delete("/api/apps/shop").status, 204);
    assert!(matches!(by_admin.closed(), 1000 | 1008));
    assert!(now.elapsed().as_secs() < 5);
}
