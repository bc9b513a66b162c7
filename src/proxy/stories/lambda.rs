//! Functions behind the proxy: a visitor who writes raw bytes, and Amazon's emulator with a function in Python.

use std::time::{Duration, Instant};

use autostack_domain::route::Target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{
    emulator::Emulator,
    world::{Answer, App, World, route, soon, until},
};
use crate::{
    ProxyLimits, Retired,
    lambda::{INVOCATION_PATH, judge, probe_event},
};

impl World {
    /// Makes `fn.localhost` lead to these emulators.
    fn publish_function(&self, emulators: &[&Emulator]) -> Retired {
        let addresses = emulators.iter().map(|emulator| emulator.address).collect();
        self.proxy.publish(route("fn", Target::Lambda(addresses)))
    }

    /// What a visitor gets of a function that returns this.
    async fn returned(&self, result: &Value) -> Answer {
        let text = result.to_string();
        self.get("fn.localhost", &format!("/return?json={}", utf8_percent_encode(&text, NON_ALPHANUMERIC)))
            .await
    }
}

async fn world_with_function() -> (World, Emulator) {
    let (world, emulator) = (World::start().await, Emulator::start("one"));
    let _ = world.publish_function(&[&emulator]);
    (world, emulator)
}

#[tokio::test]
async fn a_function_gets_the_request_as_an_event() {
    let (world, _emulator) = world_with_function().await;
    let mut visit = world.visit().await;
    visit
        .send(
            "GET /shop/%C3%A4?a=1&a=2&b=x+y HTTP/1.1\r\nHost: fn.localhost:8080\r\nUser-Agent: test\r\n\
             Cookie: one=1; two=2\r\nX-Many: a\r\nX-Many: b\r\nX-Forwarded-For: 6.6.6.6\r\n\
             Connection: keep-alive, x-secret\r\nX-Secret: 1\r\n\r\n",
        )
        .await;
    let answer = visit.answer().await;
    assert_eq!((answer.status(), answer.header("content-type")), (200, "application/json"));
    let event: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(event["version"], "2.0");
    assert_eq!(event["rawPath"], "/shop/%C3%A4");
    assert_eq!(event["rawQueryString"], "a=1&a=2&b=x+y");
    assert_eq!(event["queryStringParameters"], json!({"a": "1,2", "b": "x y"}));
    assert_eq!(event["cookies"], json!(["one=1", "two=2"]));
    assert_eq!(event["headers"]["x-many"], "a,b");
    assert_eq!(event["headers"]["x-forwarded-for"], "127.0.0.1");
    assert_eq!(event["headers"]["host"], "fn.localhost:8080");
    for absent in ["cookie", "connection", "x-secret"] {
        assert_eq!(event["headers"].get(absent), None, "{absent}");
    }
    let context = &event["requestContext"];
    assert_eq!(context["domainName"], "fn.localhost");
    assert_eq!(context["http"]["method"], "GET");
    assert_eq!(context["http"]["sourceIp"], "127.0.0.1");
    assert_eq!(context["http"]["userAgent"], "test");
    assert_eq!(context["requestId"], answer.header("x-request-id"));
    assert_eq!(event.get("body"), None);
}

#[tokio::test]
async fn what_a_function_returns_becomes_the_answer() {
    let (world, _emulator) = world_with_function().await;
    let shaped = json!({
        "statusCode": 201,
        "headers": {"X-Number": 5, "Content-Type": "text/html", "Transfer-Encoding": "chunked", "Connection": "x-number"},
        "multiValueHeaders": {"X-Two": ["a", "b"]},
        "cookies": ["a=1; Path=/; HttpOnly", "b=2"],
        "body": "PGI+aGk8L2I+",
        "isBase64Encoded": true,
    });
    let answer = world.returned(&shaped).await;
    assert_eq!((answer.status(), answer.text().as_str()), (201, "<b>hi</b>"));
    assert_eq!(answer.header("content-type"), "text/html");
    assert_eq!(answer.header("set-cookie"), "a=1; Path=/; HttpOnly + b=2");
    assert_eq!(answer.header("x-two"), "a + b");
    assert_eq!(answer.header("content-length"), "9");
    assert_eq!(answer.header("transfer-encoding"), "");
    for (result, kind, body) in [
        (json!("just text"), "application/json", "just text"),
        (json!(null), "application/json", "null"),
        (json!({"a": [1, 2]}), "application/json", r#"{"a": [1, 2]}"#),
        (json!({"body": {"not": "shaped"}}), "application/json", r#"{"body": {"not": "shaped"}}"#),
        (json!({"statusCode": "200", "body": "ä"}), "text/plain;charset=UTF-8", "ä"),
        (
            json!({"errorMessage": "a result", "errorType": "T", "more": 1}),
            "application/json",
            r#"{"errorMessage": "a result", "errorType": "T", "more": 1}"#,
        ),
    ] {
        let answer = world.returned(&result).await;
        assert_eq!((answer.status(), answer.header("content-type")), (200, kind), "{result}");
        assert_eq!(answer.text(), body);
    }
    let empty = world.returned(&json!({"statusCode": 204, "body": "ignored"})).await;
    assert_eq!((empty.status(), empty.text().as_str()), (204, ""));
}

#[tokio::test]
async fn d1_what_is_no_answer_is_not_passed_on() {
    let (world, _emulator) = world_with_function().await;
    for result in [
        json!({"statusCode": 99}),
        json!({"statusCode": 101}),
        json!({"statusCode": "two hundred"}),
        json!({"statusCode": 200, "body": {"an": "object"}}),
        json!({"statusCode": 200, "body": "not base64!", "isBase64Encoded": true}),
        json!({"statusCode": 200, "headers": {"x": "a\r\nset-cookie: stolen=1"}}),
        json!({"statusCode": 200, "headers": {"x: y\r\nz": "a"}}),
        json!({"statusCode": 200, "headers": {"x": ["a"]}}),
        json!({"statusCode": 200, "cookies": ["a=1\r\n\r\n<script>"]}),
    ] {
        let answer = world.returned(&result).await;
        assert_eq!(answer.status(), 502, "{result}");
        assert!(answer.text().contains("not an HTTP response"), "{result}: {}", answer.text());
        assert_eq!(answer.header("set-cookie"), "", "{result}");
    }
    for (path, status) in [
        ("/headers?count=101&bytes=1", 502),
        ("/headers?count=10&bytes=7000", 502),
        ("/headers?count=90&bytes=100", 200),
    ] {
        assert_eq!(world.get("fn.localhost", path).await.status(), status, "{path}");
    }
    let too_long = world.get("fn.localhost", &format!("/many?bytes={}", 7 << 20)).await;
    assert_eq!(too_long.status(), 502);
    assert_eq!(world.get("fn.localhost", "/many?bytes=6000000").await.body.len(), 6_000_000);
}

#[tokio::test]
async fn e1_what_a_function_fails_with_is_for_its_log_only() {
    let (world, mut emulator) = world_with_function().await;
    let answer = world.get("fn.localhost", "/raise").await;
    assert_eq!(answer.status(), 502);
    for secret in ["swordfish", "ValueError", "function.py", "Traceback"] {
        assert!(!answer.text().contains(secret), "{}", answer.text());
    }
    assert!(answer.text().contains("Read the app's log"), "{}", answer.text());
    assert!(emulator.log().contains("swordfish"));
    assert_eq!(world.get("fn.localhost", "/exit").await.status(), 502);
    let after = world.get("fn.localhost", "/calls").await;
    assert_eq!((after.status(), after.text().as_str()), (200, "1 one"), "the emulator starts it again");
    assert!(emulator.runs());
}

#[tokio::test]
async fn a_function_that_takes_too_long_is_a_504() {
    let (world, emulator) = (World::start().await, Emulator::with("one", "function.handler", 1));
    let _ = world.publish_function(&[&emulator]);
    let answer = world.get("fn.localhost", "/sleep?seconds=30").await;
    assert_eq!(answer.status(), 504);
    assert_eq!(world.get("fn.localhost", "/calls").await.status(), 200);
}

#[tokio::test]
async fn each_instance_gets_one_event_at_a_time() {
    let world = World::start().await;
    let (mut one, mut two) = (Emulator::start("one"), Emulator::start("two"));
    let _ = world.publish_function(&[&one, &two]);
    let start = Instant::now();
    let visits = (0..20).map(|_| world.get("fn.localhost", "/sleep?seconds=0.05"));
    for answer in futures_util::future::join_all(visits).await {
        assert_eq!((answer.status(), answer.text().as_str()), (200, "slept"));
    }
    assert!(start.elapsed() >= Duration::from_millis(500), "20 times 50 ms on two");
    for emulator in [&mut one, &mut two] {
        assert!(emulator.runs(), "{}", emulator.log());
        let calls = emulator.log().matches("END RequestId").count();
        assert!(calls >= 5, "{calls} of 20");
    }
}

#[tokio::test]
async fn an_instance_is_not_free_before_it_is_done() {
    let limits = ProxyLimits { answer_timeout: Duration::from_millis(200), ..ProxyLimits::default() };
    let (world, mut emulator) = (World::with(limits).await, Emulator::start("one"));
    let _ = world.publish_function(&[&emulator]);
    // The first start of the function may take longer than the answer may.
    until_answers(&world).await;
    let late = world.get("fn.localhost", "/sleep?seconds=0.6").await;
    assert_eq!(late.status(), 504);
    assert_eq!(world.get("fn.localhost", "/calls").await.status(), 200, "it waited for the one before");
    // A visitor who leaves in the middle of it.
    let begun = emulator.log().matches("START RequestId").count();
    let mut visit = world.visit().await;
    visit.send("GET /sleep?seconds=0.5 HTTP/1.1\r\nHost: fn.localhost\r\n\r\n").await;
    until("it is at work", || emulator.log().matches("START RequestId").count() > begun).await;
    drop(visit);
    assert_eq!(world.get("fn.localhost", "/calls").await.status(), 200);
    assert!(emulator.runs(), "{}", emulator.log());
}

async fn until_answers(world: &World) {
    soon("an answer", async { while world.get("fn.localhost", "/calls").await.status() != 200 {} }).await;
}

#[tokio::test]
async fn too_many_visitors_at_once_are_asked_to_come_again() {
    let limits = ProxyLimits {
        function_waiting_max: 1,
        function_wait_timeout: Duration::from_millis(300),
        ..ProxyLimits::default()
    };
    let (world, emulator) = (World::with(limits).await, Emulator::start("one"));
    let _ = world.publish_function(&[&emulator]);
    let busy = || world.get("fn.localhost", "/sleep?seconds=1");
    let visits = async {
        until("it is at work", || emulator.log().contains("START RequestId")).await;
        let start = Instant::now();
        let answers = tokio::join!(world.get("fn.localhost", "/calls"), world.get("fn.localhost", "/calls"));
        (answers, start.elapsed())
    };
    let (first, ((one, two), waited)) = tokio::join!(busy(), visits);
    assert_eq!(first.status(), 200);
    for answer in [one, two] {
        assert_eq!((answer.status(), answer.header("retry-after")), (503, "2"), "{}", answer.text());
    }
    assert!(waited >= Duration::from_millis(300), "one of the two stood in line");
}

#[tokio::test]
async fn a_redeploy_loses_nobody() {
    let world = World::start().await;
    let (old, new) = (Emulator::start("old"), Emulator::start("new"));
    let _ = world.publish_function(&[&old]);
    let (at_work, in_line, left) = tokio::join!(
        world.get("fn.localhost", "/sleep?seconds=0.5"),
        async {
            until("it is at work", || old.log().contains("START RequestId")).await;
            world.get("fn.localhost", "/calls").await
        },
        async {
            until("it is at work", || old.log().contains("START RequestId")).await;
            let retired = world.publish_function(&[&new]);
            assert_eq!(retired.in_flight(), 1);
            retired.drained(Duration::from_secs(20)).await
        }
    );
    assert_eq!(at_work.text(), "slept");
    assert!(in_line.text().ends_with(" new"), "{}", in_line.text());
    assert_eq!(left, 0);
    assert_eq!(world.proxy.routes(), [route("fn", Target::Lambda(vec![new.address]))]);
}

#[tokio::test]
async fn uploads_come_whole() {
    let (world, _emulator) = world_with_function().await;
    let head = "POST /echo HTTP/1.1\r\nHost: fn.localhost\r\n";
    let mut visit = world.visit().await;
    visit.send(&format!("{head}Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")).await;
    visit.send("5\r\nhello\r\n7\r\n, world\r\n0\r\nX-Trailer: 1\r\n\r\n").await;
    assert_eq!(visit.answer().await.text(), "hello, world");
    visit.send(&format!("{head}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")).await;
    assert_eq!(visit.head().await.unwrap().status(), 100);
    visit.stream.write_all(b"\0\xff\r\n").await.unwrap();
    assert_eq!(visit.answer().await.body, b"\0\xff\r\n");
    let large = "0123456789".repeat(620_000);
    visit
        .send(&format!("{head}Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{large}", large.len()))
        .await;
    assert!(visit.answer().await.text() == large, "6.2 MB of text fit");
}

#[tokio::test]
async fn d11_an_upload_that_no_function_may_receive_is_refused() {
    let (world, emulator) = world_with_function().await;
    let head = "POST /echo HTTP/1.1\r\nHost: fn.localhost\r\n";
    let mut told = world.visit().await;
    told.send(&format!("{head}Content-Length: 6291457\r\nExpect: 100-continue\r\n\r\n")).await;
    assert_eq!(told.answer().await.status(), 413, "without having asked for it");
    let mut chunked = world.visit().await;
    chunked.send(&format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    for _ in 0..6 {
        chunked.send(&chunk).await;
    }
    chunked.send("1\r\nx\r\n0\r\n\r\n").await;
    assert_eq!(chunked.answer().await.status(), 413);
    // In base64 this is more than 6 MiB, as text less.
    for (kind, status) in [("image/png", 413), ("text/plain", 200)] {
        let mut visit = world.visit().await;
        let body = "x".repeat(5_000_000);
        visit.send(&format!("{head}Content-Type: {kind}\r\nContent-Length: 5000000\r\n\r\n{body}")).await;
        assert_eq!(visit.answer().await.status(), status, "{kind}");
    }
    assert_eq!(emulator.log().matches("START RequestId").count(), 1);
}

#[tokio::test]
async fn any_method_reaches_the_function() {
    let (world, _emulator) = world_with_function().await;
    let mut visit = world.visit().await;
    for method in ["OPTIONS", "DELETE", "PATCH", "PUT"] {
        visit.send(&format!("{method} / HTTP/1.1\r\nHost: fn.localhost\r\nContent-Length: 0\r\n\r\n")).await;
        let event: Value = serde_json::from_slice(&visit.answer().await.body).unwrap();
        assert_eq!(event["requestContext"]["http"]["method"], method);
    }
    visit.send("HEAD /echo HTTP/1.1\r\nHost: fn.localhost\r\n\r\n").await;
    assert_eq!(visit.head().await.unwrap().status(), 200);
    visit.send("OPTIONS * HTTP/1.1\r\nHost: fn.localhost\r\n\r\n").await;
    let event: Value = serde_json::from_slice(&visit.answer().await.body).unwrap();
    assert_eq!(event["rawPath"], "*", "HEAD has no body, and what follows is understood");
    let mut old = world.visit().await;
    old.send("GET / HTTP/1.0\r\nHost: fn.localhost\r\n\r\n").await;
    let event: Value = serde_json::from_slice(&old.answer().await.body).unwrap();
    assert_eq!(event["requestContext"]["http"]["protocol"], "HTTP/1.0");
}

#[tokio::test]
async fn a_function_has_no_websockets() {
    let (world, _emulator) = world_with_function().await;
    let mut visit = world.visit().await;
    let ask = |protocol| {
        format!("GET /x HTTP/1.1\r\nHost: fn.localhost\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n")
    };
    visit.send(&ask("WebSocket")).await;
    let refused = visit.answer().await;
    assert_eq!(refused.status(), 501);
    assert!(refused.text().contains("WebSocket"), "{}", refused.text());
    visit.send(&ask("h2c")).await;
    let event: Value = serde_json::from_slice(&visit.answer().await.body).unwrap();
    assert_eq!(event["headers"].get("upgrade"), None, "another protocol is not switched to");
}

#[tokio::test]
async fn an_instance_that_is_gone_is_passed_over() {
    let (world, emulator) = (World::start().await, Emulator::start("one"));
    let mut dead = App::named(&world.tasks, "dead").await;
    dead.stop_listening().await;
    let target = |addresses: &[_]| route("fn", Target::Lambda(addresses.to_vec()));
    let _ = world.proxy.publish(target(&[dead.address, emulator.address]));
    for _ in 0..4 {
        assert_eq!(world.get("fn.localhost", "/calls").await.status(), 200);
    }
    let _ = world.proxy.publish(target(&[dead.address]));
    let answer = world.get("fn.localhost", "/calls").await;
    assert_eq!((answer.status(), answer.header("retry-after")), (503, "2"));
    let _ = world.proxy.publish(target(&[]));
    assert_eq!(world.get("fn.localhost", "/").await.status(), 503);
}

#[tokio::test]
async fn an_event_that_was_lost_is_repeated_once_if_that_is_harmless() {
    let world = World::start().await;
    let app = App::scripted(&world.tasks, |mut visit, seen| async move {
        let Some(event) = visit.message().await else { return };
        seen.requests.lock().unwrap().push(event);
    })
    .await;
    let _ = world.proxy.publish(route("fn", Target::Lambda(vec![app.address])));
    assert_eq!(world.get("fn.localhost", "/").await.status(), 502);
    assert_eq!(app.seen.count(), 2);
    let event = app.seen.last();
    assert_eq!(event.first_line, format!("POST {INVOCATION_PATH} HTTP/1.1"));
    assert_eq!(event.header("content-type"), "application/json");
    let mut visit = world.visit().await;
    visit.send("POST / HTTP/1.1\r\nHost: fn.localhost\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(visit.answer().await.status(), 502);
    assert_eq!(app.seen.count(), 3);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_function_that_nobody_waits_for() {
    let (world, emulator) = world_with_function().await;
    let mut visit = world.visit().await;
    visit.send("GET /sleep?seconds=60 HTTP/1.1\r\nHost: fn.localhost\r\n\r\n").await;
    until("it is at work", || emulator.log().contains("START RequestId")).await;
    drop(visit);
    world.shutdown.cancel();
    soon("the server has ended", world.server).await.unwrap();
    assert_eq!(world.tasks.stop(Duration::from_secs(10)).await, [""; 0]);
}

/// Sends the event of a deployment's check, as a deployment does.
async fn probe(emulator: &Emulator) -> Result<(), String> {
    let event = probe_event("fn", "fn.localhost", 0);
    let mut visit = super::world::Visit::to(emulator.address).await;
    visit
        .send(&format!(
            "POST {INVOCATION_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            event.len()
        ))
        .await;
    visit.stream.write_all(&event).await.unwrap();
    let answer = visit.answer().await;
    judge(answer.status(), &answer.body)
}

#[tokio::test]
async fn a_deployment_tells_a_function_that_works_from_one_that_does_not() {
    assert_eq!(probe(&Emulator::start("good")).await, Ok(()));
    for (handler, seen) in [
        ("nothing.handler", "Runtime.ImportModuleError: Unable to import module 'nothing'"),
        ("function.nothing", "Runtime.HandlerNotFound: Handler 'nothing' missing on module 'function'"),
        ("function", "Runtime.MalformedHandlerName: Bad handler 'function'"),
    ] {
        let error = probe(&Emulator::with("bad", handler, 300)).await.unwrap_err();
        assert!(error.starts_with(seen), "{error}");
    }
}
