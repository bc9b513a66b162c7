//! GET `/metrics`: what was counted, and what there is at this moment, for Prometheus.

use std::net::IpAddr;

use autostack_base::{
    health::{Health, PartState},
    telemetry::metrics::PREFIX,
};
use autostack_platform::{Gauges, PlatformError, ProcessGauges};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::ConstCounter, family::Family, gauge::ConstGauge, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::Refusals,
    caller::{Caller, Client},
    error::ApiError,
    state::Api,
};

/// The text format of OpenMetrics.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Headers of who asks for somebody else.
const FORWARDED: [HeaderName; 2] = [header::FORWARDED, HeaderName::from_static("x-forwarded-for")];

pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(get))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProcess {
    app: String,
    process: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPart {
    part: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

/// What Prometheus reads. Open to programs on the host itself; from elsewhere it takes a platform admin, or an API key of
/// theirs.
#[utoipa::path(get, path = "/metrics", tag = "host", security((), ("bearer" = [])),
    responses((status = OK, body = String, content_type = "application/openmetrics-text"), Refusals))]
async fn get(
    State(api): State<Api>,
    caller: Result<Caller, ApiError>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let watcher = if is_on_host(client.address, &headers) { None } else { Some(caller?.actor) };
    let gauges = api.platform.gauges(watcher.as_ref()).await?;
    let text = api.platform.metrics().text(&registry(&gauges, api.open_feeds(), &(api.health)()));
    let text = text.map_err(|error| PlatformError::internal("the metrics cannot be written", &error))?;
    Ok(([(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, "no-store")], text).into_response())
}

/// Whether a program of this host asks, for itself.
fn is_on_host(address: Option<IpAddr>, headers: &HeaderMap) -> bool {
    address.is_some_and(|address| address.is_loopback())
        && !FORWARDED.iter().any(|name| headers.contains_key(name))
}

fn registry(now: &Gauges, feeds: usize, health: &Health) -> Registry {
    let mut all = Registry::default();
    of_process(&mut all, &now.process);
    let ours = all.sub_registry_with_prefix(PREFIX);
    ours.register("build", "The agent's version", Info::new([("version", now.version)]));
    let gauge = |value: usize| ConstGauge::new(value as u64);
    let parts = Family::<OfPart, Gauge>::default();
    for (part, how) in &health.parts {
        parts.get_or_create(&OfPart { part }).set(i64::from(how.state == PartState::Ok));
    }
    ours.register("part_ok", "1 for a part of the agent that works, 0 for one that wants looking at", parts);
    ours.register("apps", "Apps that there are", gauge(now.apps));
    let instances = Family::<OfProcess, Gauge>::default();
    for ((app, process), count) in &now.instances {
        let of = OfProcess { app: app.to_string(), process: process.clone() };
        instances.get_or_create(&of).set(i64::from(*count));
    }
    ours.register("instances", "Instances that run, by app and process type", instances);
    let unfinished = Family::<OfState, Gauge>::default();
    for (state, count) in [("waiting", now.waiting), ("running", now.running)] {
        unfinished.get_or_create(&OfState { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    ours.register("deployments_unfinished", "Deployments that wait for their turn, or run", unfinished);
    ours.register("pushes", "Pushes that are under way", gauge(now.pushes));
    ours.register("log_feeds", "Live logs that are open over the API", gauge(feeds));
    ours.register("task_panics", "Tasks of the agent that have panicked", ConstCounter::new(now.panics));
    let free = ConstGauge::new(now.disk_free_bytes);
    ours.register_with_unit("disk_free", "Free where the agent keeps its data", Unit::Bytes, free);
    let proxy = &now.proxy;
    for (name, help, count) in [
        ("proxy_connections", "Connections of visitors", proxy.connections),
        ("proxy_refused_requests", "Requests that were no valid HTTP, or too much of it", proxy.refused),
        ("proxy_resent_requests", "Requests sent again over another connection", proxy.resent),
        ("proxy_repeated_requests", "Requests sent to a second instance", proxy.repeated),
        ("proxy_upgrades", "Connections that became WebSockets and the like", proxy.upgrades),
    ] {
        ours.register(name, help, ConstCounter::new(count));
    }
    all
}

/// Under the names that Prometheus' own libraries use:
/// <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.
fn of_process(all: &mut Registry, process: &ProcessGauges) {
    let gauge = |value: u64| ConstGauge::new(value);
    let ours = all.sub_registry_with_prefix("process");
    let cpu = ConstCounter::new(process.cpu.as_secs_f64());
    ours.register_with_unit("cpu", "CPU time of the agent", Unit::Seconds, cpu);
    let resident = gauge(process.resident_bytes);
    ours.register_with_unit("resident_memory", "Memory of the agent in RAM", Unit::Bytes, resident);
    let virtual_memory = gauge(process.virtual_bytes);
    ours.register_with_unit("virtual_memory", "Address space of the agent", Unit::Bytes, virtual_memory);
    ours.register("open_fds", "Open file descriptors", gauge(process.open_descriptors as u64));
    ours.register("max_fds", "File descriptors that may be open", gauge(process.descriptors_max as u64));
    let started = gauge(process.started_at);
    ours.register_with_unit("start_time", "When the agent started, since 1970", Unit::Seconds, started);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_of_the_host_itself_need_no_key() {
        let (mut headers, here) = (HeaderMap::new(), Some("127.0.0.1".parse().unwrap()));
        assert!(is_on_host(here, &headers));
        assert!(!is_on_host(Some("203.0.113.9".parse().unwrap()), &headers) && !is_on_host(None, &headers));
        headers.insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
        assert!(!is_on_host(here, &headers));
    }
}
