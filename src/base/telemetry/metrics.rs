//! [`Metrics`]: what is counted while the agent runs, in the words of Prometheus. What merely *is* at the moment when
//! somebody looks (instances, deployments that wait) is added then, by who knows it.
//!
//! Names and units follow <https://prometheus.io/docs/practices/naming/>: base units, `_total` for what only grows. Series
//! of an app are there from its first event on, until the app is destroyed.

use std::{
    fmt::{self, Write},
    sync::Arc,
    time::Duration,
};

use autostack_domain::AppName;
use prometheus_client::{
    encoding::{
        EncodeLabelSet, EncodeLabelValue, LabelValueEncoder,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// What stands before every name of ours.
pub const PREFIX: &str = "autostack";

/// Upper bounds of the classes of answer times, in seconds.
const REQUEST_SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of the classes of build and deployment times, in seconds.
const DEPLOYMENT_SECONDS: [f64; 10] = [1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0];

/// What is counted. Cheap to clone: clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    registry: Registry,
    requests: Family<OfRequest, Counter>,
    request_seconds: Family<OfApp, Histogram, fn() -> Histogram>,
    sent_bytes: Family<OfApp, Counter>,
    deployments: Family<OfDeployment, Counter>,
    deployment_seconds: Family<OfResult, Histogram, fn() -> Histogram>,
    build_seconds: Family<OfResult, Histogram, fn() -> Histogram>,
    restarts: Family<OfApp, Counter>,
    api_requests: Family<OfApiRequest, Counter>,
    api_request_seconds: Histogram,
}

/// An app as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name(Arc<AppName>);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.0.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfApp {
    app: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    app: Name,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDeployment {
    app: Name,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResult {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfApiRequest {
    method: String,
    path: String,
    class: &'static str,
}

/// How a deployment or a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentResult {
    /// It went live; the build made an artifact.
    Success,
    /// It failed.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl DeploymentResult {
    const ALL: [Self; 3] = [Self::Success, Self::Failed, Self::Cancelled];

    fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The classes of HTTP statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The class of an HTTP status; one that is none counts with the failures.
fn class(status: u16) -> &'static str {
    CLASSES.get(usize::from(status / 100).wrapping_sub(1)).copied().unwrap_or("5xx")
}

fn request_histogram() -> Histogram {
    Histogram::new(REQUEST_SECONDS)
}

fn deployment_histogram() -> Histogram {
    Histogram::new(DEPLOYMENT_SECONDS)
}

impl Default for Families {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let families = Self {
            registry: Registry::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(request_histogram),
            sent_bytes: Family::default(),
            deployments: Family::default(),
            deployment_seconds: Family::new_with_constructor(deployment_histogram),
            build_seconds: Family::new_with_constructor(deployment_histogram),
            restarts: Family::default(),
            api_requests: Family::default(),
            api_request_seconds: request_histogram(),
        };
        registry.register(
            "http_requests",
            "Requests of visitors that were answered, by app and class of the status",
            families.requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "From the head of a visitor's request to the end of its answer",
            Unit::Seconds,
            families.request_seconds.clone(),
        );
        registry.register_with_unit(
            "http_response_body",
            "Bodies of answers to visitors",
            Unit::Bytes,
            families.sent_bytes.clone(),
        );
        registry.register(
            "deployments",
            "Deployments that have ended, by app and result",
            families.deployments.clone(),
        );
        registry.register_with_unit(
            "deployment_duration",
            "From the request of a deployment to its end",
            Unit::Seconds,
            families.deployment_seconds.clone(),
        );
        registry.register_with_unit(
            "build_duration",
            "The build stage of deployments",
            Unit::Seconds,
            families.build_seconds.clone(),
        );
        registry.register(
            "instance_restarts",
            "Instances that ended by themselves and were started again",
            families.restarts.clone(),
        );
        registry.register(
            "api_requests",
            "Requests to the API, by method, path as the document writes it, and class of the status",
            families.api_requests.clone(),
        );
        registry.register_with_unit(
            "api_request_duration",
            "From the head of a request to the API to the head of its answer",
            Unit::Seconds,
            families.api_request_seconds.clone(),
        );
        Self { registry, ..families }
    }
}

impl Metrics {
    /// A visitor was answered.
    pub fn request(&self, app: &Arc<AppName>, status: u16, took: Duration, sent_bytes: u64) {
        let (families, app) = (&self.0, Name(Arc::clone(app)));
        families.requests.get_or_create(&OfRequest { app: app.clone(), class: class(status) }).inc();
        let app = OfApp { app };
        families.request_seconds.get_or_create(&app).observe(took.as_secs_f64());
        families.sent_bytes.get_or_create(&app).inc_by(sent_bytes);
    }

    /// A deployment has ended; `build` is how long it built, where it did.
    pub fn deployment(
        &self,
        app: &AppName,
        result: DeploymentResult,
        took: Duration,
        build: Option<(DeploymentResult, Duration)>,
    ) {
        let of = OfDeployment { app: Name(Arc::new(app.clone())), result: result.name() };
        self.0.deployments.get_or_create(&of).inc();
        let of = OfResult { result: result.name() };
        self.0.deployment_seconds.get_or_create(&of).observe(took.as_secs_f64());
        if let Some((result, took)) = build {
            let of = OfResult { result: result.name() };
            self.0.build_seconds.get_or_create(&of).observe(took.as_secs_f64());
        }
    }

    /// An instance ended by itself.
    pub fn restart(&self, app: &AppName) {
        self.0.restarts.get_or_create(&OfApp { app: Name(Arc::new(app.clone())) }).inc();
    }

    /// The API has answered; `path` is one of the document's, so that there are not more of them than it has.
    pub fn api_request(&self, method: &str, path: &str, status: u16, took: Duration) {
        let of = OfApiRequest { method: method.to_owned(), path: path.to_owned(), class: class(status) };
        self.0.api_requests.get_or_create(&of).inc();
        self.0.api_request_seconds.observe(took.as_secs_f64());
    }

    /// An app is gone, and with it what was counted of it.
    pub fn forget(&self, app: &AppName) {
        let name = Name(Arc::new(app.clone()));
        for class in CLASSES {
            self.0.requests.remove(&OfRequest { app: name.clone(), class });
        }
        for result in DeploymentResult::ALL {
            self.0.deployments.remove(&OfDeployment { app: name.clone(), result: result.name() });
        }
        let app = OfApp { app: name };
        self.0.request_seconds.remove(&app);
        self.0.sent_bytes.remove(&app);
        self.0.restarts.remove(&app);
    }

    /// Everything in the text format of OpenMetrics, which Prometheus reads; `now` holds what is at this moment.
    ///
    /// # Errors
    /// None that can happen: a string takes all that is written.
    pub fn text(&self, now: &Registry) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.0.registry)?;
        encode_registry(&mut text, now)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told_in_the_words_of_prometheus() {
        let (metrics, shop) = (Metrics::default(), Arc::new("shop".parse::<AppName>().unwrap()));
        metrics.request(&shop, 200, Duration::from_millis(3), 10);
        metrics.request(&shop, 502, Duration::from_secs(60), 5);
        let build = Some((DeploymentResult::Success, Duration::from_secs(4)));
        metrics.deployment(&shop, DeploymentResult::Failed, Duration::from_secs(9), build);
        metrics.restart(&shop);
        metrics.api_request("GET", "/api/apps/{name}", 404, Duration::from_millis(1));
        let text = metrics.text(&Registry::default()).unwrap();
        for line in [
            "# TYPE autostack_http_requests counter",
            "autostack_http_requests_total{app=\"shop\",class=\"2xx\"} 1",
            "autostack_http_requests_total{app=\"shop\",class=\"5xx\"} 1",
            "autostack_http_request_duration_seconds_bucket{le=\"0.005\",app=\"shop\"} 1",
            "autostack_http_request_duration_seconds_bucket{le=\"+Inf\",app=\"shop\"} 2",
            "autostack_http_response_body_bytes_total{app=\"shop\"} 15",
            "autostack_deployments_total{app=\"shop\",result=\"failed\"} 1",
            "autostack_deployment_duration_seconds_bucket{le=\"10.0\",result=\"failed\"} 1",
            "autostack_build_duration_seconds_sum{result=\"success\"} 4.0",
            "autostack_instance_restarts_total{app=\"shop\"} 1",
            "autostack_api_requests_total{method=\"GET\",path=\"/api/apps/{name}\",class=\"4xx\"} 1",
            "autostack_api_request_duration_seconds_count 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        metrics.forget(&shop);
        let text = metrics.text(&Registry::default()).unwrap();
        assert!(!text.contains("shop"), "{text}");
    }

    #[test]
    fn a_status_has_a_class() {
        assert_eq!((class(101), class(204), class(404), class(599)), ("1xx", "2xx", "4xx", "5xx"));
        assert_eq!((class(0), class(700)), ("5xx", "5xx"));
    }
}
