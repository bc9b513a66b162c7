//! What every request passes: limits, ids, tags, the log of requests.

use serde_json::json;

use super::somebody;
use crate::world::{Options, api::Answer, soon};

#[test]
fn who_asks_too_often_is_told_when_to_ask_again_and_nobody_else_is_held_up() {
    let world = Options::default().start();
    let ada = somebody(&world, "ada@example.com", true);
    let nobody = world.api();
    let (mut last, mut count) = (nobody.get("/api/openapi.json"), 1);
    let limit: u32 = last.response.header("ratelimit-limit").unwrap().parse().unwrap();
    while last.status == 200 {
        assert!(count < 3 * limit, "nobody stops who asks {count} times");
        last = nobody.get("/api/auth/none");
        count += 1;
        if last.status == 404 {
            last.status = 200;
        }
    }
    assert_eq!(last.refused(429), "too_many_requests");
    assert_eq!(last.response.header("ratelimit-remaining"), Some("0"));
    let wait: u64 = last.response.header("retry-after").unwrap().parse().unwrap();
    assert!((1..10).contains(&wait), "{wait}");
    // Who is known has a share of their own, and who watches over the host is never refused.
    ada.get("/api/apps").ok();
    assert_eq!(nobody.get("/health").status, 200);
    soon("nobody to be let in again", || (nobody.get("/api/openapi.json").status == 200).then_some(()));
}

#[test]
fn answers_have_tags_and_requests_have_ids_that_stand_in_the_log() {
    let world = Options::default().start();
    let ada = somebody(&world, "ada@example.com", true);
    ada.post("/api/apps", &json!({ "name": "shop" })).ok();
    let first = ada.raw("GET", "/api/apps", &[("X-Request-Id", "build-77")], "");
    assert_eq!((first.status, first.response.header("x-request-id")), (200, Some("build-77")));
    let tag = first.response.header("etag").unwrap().to_owned();
    let again = ada.raw("GET", "/api/apps", &[("If-None-Match", &tag)], "");
    assert_eq!((again.status, again.response.body.as_str()), (304, ""));
    ada.post("/api/apps", &json!({ "name": "blog" })).ok();
    let changed = ada.raw("GET", "/api/apps", &[("If-None-Match", &tag)], "");
    assert_eq!(changed.status, 200);
    assert_ne!(changed.response.header("etag"), Some(tag.as_str()));

    let bad = ada.raw("GET", "/api/apps/shop?ticket=secret-canary", &[("X-Request-Id", "a b")], "");
    assert_eq!(bad.response.header("x-request-id").unwrap().len(), 32);
    soon("the request to stand in the log", || world.log().contains("request=\"build-77\"").then_some(()));
    let log = world.log();
    assert!(log.contains("path=\"/api/apps/{name}\"") && !log.contains("secret-canary"), "{log}");
}

#[test]
fn pages_of_other_origins_read_answers_where_the_operator_lets_them() {
    let set = |origins: &str| format!("[api]\ncors_origins = \"{origins}\"\n");
    let world = Options::default().file(&set("off")).start();
    let ada = somebody(&world, "ada@example.com", true);
    let from = |origin: &'static str| [("Origin", origin), ("Access-Control-Request-Method", "POST")];
    let allowed = |answer: &Answer| answer.response.header("access-control-allow-origin").map(str::to_owned);
    let panel = "https://panel.example.com";
    assert_eq!(allowed(&ada.raw("GET", "/api/apps", &from(panel), "")), None);
    std::fs::write(world.settings_file(), set(&format!("{panel} http://localhost:5173"))).unwrap();
    soon("the panel to be let in", || {
        (allowed(&ada.raw("GET", "/api/apps", &from(panel), "")).as_deref() == Some(panel)).then_some(())
    });
    let asked = world.api().raw("OPTIONS", "/api/apps", &from("http://localhost:5173"), "");
    assert_eq!((asked.status, allowed(&asked).as_deref()), (200, Some("http://localhost:5173")));
    let headers = asked.response.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("authorization") && headers.contains("idempotency-key"), "{headers}");
    assert_eq!(asked.response.header("access-control-allow-credentials"), None);
    for other in ["https://panel.example.com.evil.test", "http://panel.example.com", "null"] {
        assert_eq!(allowed(&ada.raw("GET", "/api/apps", &from(other), "")), None, "{other}");
    }
}

#[test]
fn long_answers_are_compressed_for_who_understands_it() {
    let world = Options::default().start();
    let plain = world.api().get("/api/openapi.json");
    assert_eq!(plain.response.header("content-encoding"), None);
    for (coding, share) in [("gzip", 5), ("br", 5)] {
        let packed = world.api().raw("GET", "/api/openapi.json", &[("Accept-Encoding", coding)], "");
        assert_eq!((packed.status, packed.response.header("content-encoding")), (200, Some(coding)));
        assert!(packed.response.body.len() * share < plain.response.body.len() * 3, "{coding}");
        assert_eq!(packed.response.header("etag"), plain.response.header("etag"));
    }
}
