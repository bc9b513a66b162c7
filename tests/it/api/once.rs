//! `Idempotency-Key`: a request that is sent again, for its client does not know whether it arrived.

use std::{thread, time::Duration};

use serde_json::json;

use super::somebody;
use crate::world::{ApiClient, Connection, World, api::Answer, soon};

fn post(client: &ApiClient, path: &str, key: &str, body: &serde_json::Value) -> Answer {
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
    client.raw("POST", path, &headers, &body.to_string())
}

#[test]
fn a_request_under_a_key_is_done_once_also_after_a_crash() {
    let world = World::new();
    let (ada, bob) = (somebody(&world, "ada@example.com", true), somebody(&world, "bob@example.com", false));
    let shop = json!({ "name": "shop" });
    let first = post(&ada, "/api/apps", "a1", &shop);
    assert_eq!((first.status, first.response.header("idempotent-replayed")), (201, None));
    let again = post(&ada, "/api/apps", "a1", &shop);
    assert_eq!((again.status, &again.json), (201, &first.json));
    assert_eq!(again.response.header("idempotent-replayed"), Some("true"));
    assert_eq!(
        post(&ada, "/api/apps", "a1", &json!({ "name": "blog" })).refused(422),
        "idempotency_key_reused"
    );
    assert_eq!(post(&ada, "/api/apps", "a2", &shop).refused(409), "conflict", "another key, another request");
    assert_eq!(post(&ada, "/api/apps", "a2", &shop).refused(409), "conflict");
    assert_eq!(post(&ada, "/api/apps", &"x".repeat(256), &shop).refused(422), "invalid");
    assert_eq!(post(&bob, "/api/apps", "a1", &json!({ "name": "bobs" })).status, 201, "keys are one's own");

    // A secret that is shown once is shown again to who asked for it, and stands nowhere as it is.
    let key = json!({ "name": "ci", "scopes": ["read"] });
    let made = post(&ada, "/api/user/me/tokens", "k1", &key);
    world.kill9_and_restart();
    let again = post(&ada, "/api/user/me/tokens", "k1", &key);
    assert_eq!((again.status, &again.json), (201, &made.json));
    assert_eq!(ada.get("/api/user/me/tokens").ok().as_array().unwrap().len(), 1);
    let secret = made.json["token"].as_str().unwrap();
    let store = std::fs::read(world.data_dir().join("store.redb")).unwrap();
    assert!(!store.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()));
}

#[test]
fn what_failed_by_our_own_fault_or_for_want_of_a_proof_may_be_tried_again() {
    let world = World::new();
    let ada = somebody(&world, "ada@example.com", true);
    let shop = json!({ "name": "shop" });
    assert_eq!(post(&world.api(), "/api/apps", "a1", &shop).refused(401), "unauthenticated");
    assert_eq!(post(&ada, "/api/apps", "a1", &shop).status, 201);
}

#[test]
fn many_at_once_do_it_once_and_a_client_that_leaves_changes_nothing() {
    let world = World::new();
    let ada = somebody(&world, "ada@example.com", true);
    let key = json!({ "name": "ci", "scopes": ["read"] });
    let statuses: Vec<u16> = thread::scope(|scope| {
        let asking: Vec<_> =
            (0..8).map(|_| scope.spawn(|| post(&ada, "/api/user/me/tokens", "same", &key).status)).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    assert_eq!(ada.get("/api/user/me/tokens").ok().as_array().unwrap().len(), 1, "{statuses:?}");

    let body = json!({ "name": "left", "scopes": ["read"] }).to_string();
    let mut connection = Connection::open(world.api_address()).unwrap();
    let head = format!(
        "POST /api/user/me/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nIdempotency-Key: left\r\n\
         Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
        ada.token().unwrap(),
        body.len()
    );
    connection.send(head.as_bytes()).unwrap();
    drop(connection);
    let again = soon("the outcome", || {
        let key = serde_json::from_str(&body).unwrap();
        let answer = post(&ada, "/api/user/me/tokens", "left", &key);
        if answer.status == 409 {
            thread::sleep(Duration::from_millis(20));
            return None;
        }
        Some(answer)
    });
    assert_eq!(again.status, 201, "{again:?}");
    assert_eq!(ada.get("/api/user/me/tokens").ok().as_array().unwrap().len(), 2);
}
