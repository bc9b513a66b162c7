//! What happens before an app is asked: maintenance, redirects, passwords; and the access log.

use crate::world::{World, apps, http_get, live, soon};

/// `Authorization` of a user and a password, in base64.
const RIGHT: &str = "Basic YWRhOnMzY3JldA==";
const WRONG: &str = "Basic YWRhOndyb25n";

#[test]
fn visitors_are_told_sent_on_and_asked() {
    let world = World::new();
    let ada = world.person("ada");
    ada.app_of(apps::node("hello")).push("shop").accepted();
    let get = |host: &str, path: &str, headers: &[(&str, &str)]| {
        http_get(world.http(), host, path, headers).unwrap()
    };

    ada.ssh(&["maintenance:on", "shop"]).ok();
    let down = get("shop.localhost", "/", &[("Accept", "text/html")]);
    assert_eq!((down.status, down.header("retry-after")), (503, Some("60")));
    assert!(down.body.contains("down for maintenance"), "{}", down.body);
    assert!(ada.ssh(&["maintenance:report", "shop"]).ok().contains("true"));
    ada.ssh(&["maintenance:off", "shop"]).ok();
    assert_eq!(get("shop.localhost", "/", &[]).body, "hello");

    ada.ssh(&["redirect:set", "shop", "www.example.test", "example.test", "302"]).ok();
    let moved = get("www.example.test", "/a?b=c", &[]);
    assert_eq!((moved.status, moved.header("location")), (302, Some("http://example.test/a?b=c")));
    assert_eq!(ada.ssh(&["redirect:set", "shop", "a.test", "a.test"]).code, Some(2));
    assert_eq!(ada.ssh(&["redirect:set", "shop", "a.test", "b.test", "200"]).code, Some(2));
    assert_eq!(ada.ssh(&["redirect:set", "shop", "a.test", "javascript:x"]).code, Some(2));
    assert_eq!(ada.ssh(&["redirect:set", "shop", "shop.localhost"]).code, Some(2));
    assert!(ada.ssh(&["redirect:report", "shop"]).ok().contains("example.test 302"));
    ada.ssh(&["redirect:unset", "shop", "www.example.test"]).ok();
    assert_eq!(get("www.example.test", "/", &[]).status, 404);
    assert_eq!(ada.ssh(&["redirect:unset", "shop", "www.example.test"]).code, Some(1));

    live::run(ada.ssh_command(&[], &["http-auth:on", "shop", "ada", "--password-stdin"]), b"s3cret\n").ok();
    let asked = get("shop.localhost", "/", &[]);
    assert_eq!(
        (asked.status, asked.header("www-authenticate")),
        (401, Some("Basic realm=\"shop\", charset=\"UTF-8\""))
    );
    assert_eq!(get("shop.localhost", "/", &[("Authorization", WRONG)]).status, 401);
    assert_eq!(get("shop.localhost", "/", &[("Authorization", RIGHT)]).body, "hello");
    let report = ada.ssh(&["http-auth:report", "shop"]);
    assert!(report.all().contains("ada") && !report.all().contains("argon2"), "{report}");
    assert_eq!(ada.ssh(&["http-auth:remove-user", "shop", "ada"]).code, Some(1), "that would open the app");
    assert_eq!(ada.ssh(&["http-auth:on", "shop", "a:b", "x"]).code, Some(2));
    ada.ssh(&["http-auth:off", "shop"]).ok();
    assert_eq!(get("shop.localhost", "/", &[]).status, 200);
}

#[test]
fn each_request_is_a_line_of_the_access_log() {
    let world = World::new();
    let ada = world.person("ada");
    ada.app_of(apps::node("hello")).push("shop").accepted();
    let mut follower = ada.ssh_live(&["access-logs", "shop", "-t"]);
    let answer = world.get("shop", "/some/path?with=query");
    let id = answer.header("x-request-id").unwrap().to_owned();
    follower.wait_for(&id);
    let host = world.host("shop");
    let line = follower.seen();
    assert!(
        line.contains(&format!(
            " autostack[router]: at=info method=GET path=\"/some/path?with=query\" host={host} request_id={id} \
             fwd=\"127.0.0.1\" dyno=web.1 connect="
        )),
        "{line}"
    );
    assert!(line.trim_end().ends_with(" status=200 bytes=5 protocol=http"), "{line}");
    follower.close_input();
    ada.ssh(&["maintenance:on", "shop"]).ok();
    world.get("shop", "/down");
    let lines = soon("the request to be noted", || {
        let lines = ada.ssh(&["access-logs", "shop", "-n", "1"]).ok();
        lines.contains("/down").then_some(lines)
    });
    assert!(lines.contains("at=info code=maintenance") && lines.contains("status=503"), "{lines}");
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(!ada.ssh(&["logs", "shop"]).ok().contains("/some/path"), "it is no line of the app");
    assert_eq!(ada.ssh(&["access-logs", "shop", "-n", "x"]).code, Some(2));
}

#[test]
fn to_a_stranger_the_app_is_not_there() {
    let world = World::new();
    let (ada, eve) = (world.person("ada"), world.person("eve"));
    ada.ssh(&["apps:create", "shop"]).ok();
    for words in [
        &["maintenance:on", "shop"][..],
        &["maintenance:off", "shop"],
        &["maintenance:report", "shop"],
        &["redirect:set", "shop", "a.test", "b.test"],
        &["redirect:unset", "shop", "a.test"],
        &["redirect:report", "shop"],
        &["http-auth:on", "shop", "eve", "x"],
        &["http-auth:off", "shop"],
        &["http-auth:remove-user", "shop", "ada"],
        &["http-auth:report", "shop"],
        &["access-logs", "shop"],
        &["proxy:build-config", "shop"],
        &["ports:add", "shop", "http:80:5000"],
        &["certs:generate", "shop"],
        &["certs:show", "shop", "key"],
        &["certs:remove", "shop"],
        &["certs:report", "shop"],
    ] {
        let refused = eve.ssh(words);
        assert_eq!(refused.code, Some(20), "{words:?}: {refused}");
    }
    assert!(ada.ssh(&["ports:list", "shop"]).ok().contains("http"));
    let fixed = ada.ssh(&["ports:set", "shop", "http:80:5000"]);
    assert!(fixed.code == Some(1) && fixed.stderr.contains("config:set shop PORT="), "{fixed}");
    assert!(ada.ssh(&["proxy:report", "shop", "--proxy-enabled"]).ok().contains("true"));
}
