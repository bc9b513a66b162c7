//! Figures, as the real Prometheus reads them; the dashboard and the alert rules of `config/` find what they look for.

use std::{collections::HashSet, process::Command};

use serde_json::{Value, json};

use super::somebody;
use crate::world::{Options, World, apps, prometheus::Prometheus, soon, tools::tools};

/// What an app without a metric of its own answers.
fn visit(world: &World, app: &str, count: u32) {
    for _ in 0..count {
        assert_eq!(world.get(app, "/").status, 200);
    }
}

#[test]
fn prometheus_reads_everything_and_the_dashboard_shows_it() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.app_of(apps::node("web")).push("shop").accepted();
    let prometheus = Prometheus::start(world.folder(), world.api_address());
    soon("the agent to be read", || (prometheus.query("up == 1").len() == 1).then_some(()));
    visit(&world, "shop", 5);
    world.api().get("/api/apps").refused(401);
    let total = |expression: &str| {
        let found = prometheus.query(expression);
        found.first().map(|one| one["value"][1].as_str().unwrap().parse::<f64>().unwrap())
    };
    soon("the visits", || {
        let seen = total(r#"autostack_http_requests_total{app="shop",class="2xx"}"#);
        (seen == Some(5.0)).then_some(())
    });
    assert_eq!(total(r#"autostack_deployments_total{app="shop",result="success"}"#), Some(1.0));
    assert_eq!(total(r#"autostack_instances{app="shop",process="web"}"#), Some(1.0));
    assert_eq!(total("autostack_build_duration_seconds_count"), Some(1.0));
    assert_eq!(total(r#"min(autostack_part_ok)"#), Some(1.0));
    assert!(total(r#"process_resident_memory_bytes{job="autostack"}"#) > Some(1e6));

    for group in prometheus.get("rules")["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            let health = || prometheus.get("rules")["groups"][0]["rules"][0]["health"].clone();
            soon("the rules to be looked at", || (health() != "unknown").then_some(()));
            assert_ne!(rule["health"], "err", "{rule:#}");
            assert_eq!(rule["state"], "inactive", "{rule:#}");
        }
    }
    let known: HashSet<String> = serde_json::from_value(prometheus.get("label/__name__/values")).unwrap();
    let rules = include_str!("../../../config/prometheus-alerts.yml");
    let dashboard = include_str!("../../../config/grafana-dashboard.json");
    // Counted from its first event on, of which there was none.
    let later = ["autostack_instance_restarts_total"];
    for name in names(rules).into_iter().chain(names(dashboard)) {
        assert!(known.contains(&name) || later.contains(&name.as_str()), "{name} is nothing that is counted");
    }
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    for expression in panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten()) {
        let expression = expression["expr"].as_str().unwrap();
        let filled =
            expression.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$app", ".*");
        if !later.iter().any(|name| expression.contains(name)) {
            soon(expression, || (!prometheus.query(&filled).is_empty()).then_some(()));
        }
    }

    ada.ssh(&["apps:destroy", "shop", "--force"]).ok();
    let text = world.api().get("/metrics").response.body;
    assert!(!text.contains("app=\"shop\""), "{text}");
}

/// The metrics that a text names, without what Prometheus makes of a histogram.
fn names(text: &str) -> HashSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words
        .filter(|word| word.starts_with("autostack_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn names_are_those_that_prometheus_asks_for() {
    let world = World::new();
    let answer = world.api().get("/metrics");
    let kind = answer.response.header("content-type").unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/config/prometheus-alerts.yml");
    let check = Command::new(tools("prometheus").join("promtool")).args(["check", "rules", rules]).output();
    let check = check.unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    for line in answer.response.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, _) = line.split_once(' ').unwrap();
        let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(is_plain && (name.starts_with("autostack_") || name.starts_with("process_")), "{name}");
        assert!(!name.contains("millis") && !name.ends_with("_total"), "{name}: base units, no suffix twice");
    }
}

#[test]
fn from_elsewhere_figures_take_a_key_of_who_watches_over_the_host() {
    let world = Options::default().start();
    let (eve, root) =
        (somebody(&world, "eve@example.com", false), somebody(&world, "root@example.com", true));
    let elsewhere = [("X-Forwarded-For", "203.0.113.9")];
    assert_eq!(world.api().raw("GET", "/metrics", &elsewhere, "").refused(401), "unauthenticated");
    assert_eq!(eve.raw("GET", "/metrics", &elsewhere, "").refused(403), "denied");
    let key = root.post("/api/user/me/tokens", &json!({ "name": "prometheus", "scopes": ["read"] })).ok();
    let prometheus = world.api().with(key["token"].as_str().unwrap());
    assert_eq!(prometheus.raw("GET", "/metrics", &elsewhere, "").status, 200);
    assert_eq!(prometheus.get("/api/monitoring/system").status, 200);
}
