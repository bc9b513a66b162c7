//! Addresses with paths and wildcards, and what happens before an app is asked.

use std::time::Duration;

use autostack_domain::{
    Rules, Secret,
    route::{AppRoute, Target},
    traffic::Redirect,
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::world::{Answer, App, World, until};
use crate::http_auth;

fn route(app: &App, addresses: &[&str], rules: Rules) -> AppRoute {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let name = "shop".parse().unwrap();
    AppRoute { rules, ..AppRoute::new(name, addresses, Target::Endpoints(vec![app.address])) }
}

async fn echo(world: &World) -> App {
    App::answering(&world.tasks, |request| {
        let told = format!("{} {}", request.first_line, request.header("x-forwarded-prefix"));
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len())
    })
    .await
}

async fn ask(world: &World, host: &str, path: &str, more: &str) -> Answer {
    let mut visit = world.visit().await;
    visit.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n")).await;
    visit.answer().await
}

#[tokio::test]
async fn one_host_is_split_among_apps_by_paths() {
    let world = World::start().await;
    let (site, api) = (App::named(&world.tasks, "site").await, echo(&world).await);
    let _ = world.proxy.publish(route(&site, &["example.test", "*.example.test"], Rules::default()));
    let mut second = route(&api, &["example.test/api", "example.test/v2"], Rules::default());
    second.app = "backend".parse().unwrap();
    second.addresses[1].strip_prefix = true;
    let _ = world.proxy.publish(second.clone());
    assert_eq!(world.proxy.routes().iter().find(|route| route.app == second.app), Some(&second));
    for (host, path, wanted) in [
        ("example.test", "/", "site"),
        ("example.test", "/apix", "site"),
        ("x.example.test", "/api", "site"),
        ("Example.Test.", "/api/a?b=c", "GET /api/a?b=c HTTP/1.1 "),
        ("example.test", "/v2/a?b=c", "GET /a?b=c HTTP/1.1 /v2"),
        ("example.test", "/v2", "GET / HTTP/1.1 /v2"),
        ("example.test", "/v2//evil.test/", "GET //evil.test/ HTTP/1.1 /v2"),
        ("example.test", "http://example.test/v2/a", "GET /a HTTP/1.1 /v2"),
    ] {
        assert_eq!(ask(&world, host, path, "").await.text(), wanted, "{host}{path}");
    }
    let forged = ask(&world, "example.test", "/api", "X-Forwarded-Prefix: /forged\r\n").await;
    assert_eq!(forged.text(), "GET /api HTTP/1.1 ");
    let _ = world.proxy.withdraw(&"shop".parse().unwrap());
    assert_eq!(ask(&world, "example.test", "/", "").await.status(), 404);
    assert_eq!(ask(&world, "example.test", "/api", "").await.status(), 200);
}

#[tokio::test]
async fn a_folder_below_a_path_is_left_for_by_its_whole_address() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join("sub/index.html"), "inside").unwrap();
    let target = Target::Static { root: folder.path().to_owned(), not_found: None, single_page: false };
    let mut site = AppRoute::new("docs".parse().unwrap(), vec!["example.test/docs".parse().unwrap()], target);
    site.addresses[0].strip_prefix = true;
    let _ = world.proxy.publish(site);
    assert_eq!(ask(&world, "example.test", "/docs/sub/", "").await.text(), "inside");
    let moved = ask(&world, "example.test", "/docs/sub", "").await;
    assert_eq!((moved.status(), moved.header("location")), (301, "/docs/sub/"));
}

#[tokio::test]
async fn visitors_are_sent_on_and_told_of_maintenance() {
    let world = World::start().await;
    let app = App::named(&world.tasks, "app").await;
    let redirect = Redirect {
        from: "www.example.test".parse().unwrap(),
        to: "example.test".parse().unwrap(),
        code: "308".parse().unwrap(),
    };
    let mut rules = Rules { redirects: vec![redirect], ..Rules::default() };
    let addresses = ["example.test", "www.example.test"];
    let _ = world.proxy.publish(route(&app, &addresses, rules.clone()));
    let moved = ask(&world, "www.example.test:8080", "/a?b=c", "").await;
    assert_eq!((moved.status(), moved.header("location")), (308, "http://example.test:8080/a?b=c"));
    assert_eq!(ask(&world, "example.test", "/", "").await.text(), "app");
    rules.maintenance = true;
    let retired = world.proxy.publish(route(&app, &addresses, rules));
    assert_eq!(retired.in_flight(), 0);
    let down = ask(&world, "example.test", "/", "Accept: application/json\r\n").await;
    assert_eq!((down.status(), down.header("retry-after")), (503, "60"));
    assert!(down.text().contains("\"maintenance\""), "{}", down.text());
    let _ = world.proxy.publish(route(&app, &addresses, Rules::default()));
    assert_eq!(ask(&world, "example.test", "/", "").await.text(), "app");
    assert_eq!(app.seen.connections(), 1, "the endpoint was kept all the while");
}

#[tokio::test]
async fn only_who_has_the_password_gets_to_the_app() {
    let world = World::start().await;
    let app = App::named(&world.tasks, "app").await;
    let mut rules = Rules::default();
    let hash = http_auth::hash(&Secret::new("s3cret".to_owned())).unwrap();
    rules.http_auth.insert("ada".parse().unwrap(), hash);
    let _ = world.proxy.publish(route(&app, &["example.test"], rules));
    let with = |text: &str| format!("Authorization: Basic {}\r\n", STANDARD.encode(text));
    let asked = ask(&world, "example.test", "/", "").await;
    assert_eq!(asked.status(), 401);
    assert_eq!(asked.header("www-authenticate"), "Basic realm=\"shop\", charset=\"UTF-8\"");
    assert_eq!(ask(&world, "example.test", "/", &with("ada:wrong")).await.status(), 401);
    assert_eq!(ask(&world, "example.test", "/", &with("ada:s3cret")).await.text(), "app");
    let begun = std::time::Instant::now();
    for _ in 0..50 {
        assert_eq!(ask(&world, "example.test", "/", &with("ada:s3cret")).await.status(), 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let mut last = 0;
    for _ in 0..12 {
        last = ask(&world, "example.test", "/", &with("ada:guess")).await.status();
    }
    assert_eq!(last, 429);
    assert_eq!(app.seen.count(), 51, "nothing else reached the app");
}

#[tokio::test]
async fn each_request_to_an_app_is_a_line_of_its_access_log() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let logs = autostack_logs::Logs::open(folder.path(), autostack_logs::LogLimits::default()).unwrap();
    world.proxy.keep_access_log(logs.clone(), &world.tasks);
    let app = App::named(&world.tasks, "hello").await;
    let mut published = route(&app, &["example.test"], Rules::default());
    published.dynos.insert(app.address, "web.1".to_owned());
    let _ = world.proxy.publish(published.clone());
    assert_eq!(ask(&world, "example.test", "/a?b=c", "").await.text(), "hello");
    published.target = Target::Endpoints(Vec::new());
    let _ = world.proxy.publish(published);
    assert_eq!(ask(&world, "example.test", "/gone", "").await.status(), 503);
    assert_eq!(ask(&world, "unknown.test", "/", "").await.status(), 404);
    let stream = logs.access(&"shop".parse().unwrap()).unwrap();
    let lines = || {
        let (tail, _) = stream.tail(10, &autostack_logs::Filter::all()).unwrap();
        tail.into_iter().map(|(_, entry)| entry.text_lossy().into_owned()).collect::<Vec<_>>()
    };
    until("both requests are noted", || lines().len() == 2).await;
    let lines = lines();
    assert!(
        lines[0].starts_with("at=info method=GET path=\"/a?b=c\" host=example.test request_id=")
            && lines[0].contains(" fwd=\"127.0.0.1\" dyno=web.1 connect=")
            && lines[0].ends_with(" status=200 bytes=5 protocol=http"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("at=error code=no_instance desc=\"The app has no running instance yet.\""),
        "{lines:?}"
    );
}
