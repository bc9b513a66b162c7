//! [`Proxy`]: the route table behind an atomic pointer, and the verbs that change it.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use autostack_base::{
    tasks::{Shutdown, Tasks},
    telemetry,
};
use autostack_domain::{AppName, route::AppRoute};
use autostack_logs::Logs;
use tokio::net::TcpListener;

use crate::{
    access::AccessLog,
    claim::Retired,
    headers::RequestIds,
    http_auth::Verifier,
    lambda::Memory,
    limits::{FUNCTION_MEMORY_BYTES_MAX, ProxyLimits},
    metrics::{Metrics, MetricsSnapshot},
    server,
    table::{Replaced, RouteTable},
};

/// The reverse proxy. One for the whole agent; any number of listeners may be served with it.
#[derive(Debug)]
pub struct Proxy {
    pub(crate) table: ArcSwap<RouteTable>,
    /// Held while a new table is made from the old one, so that two changes do not lose each other.
    changing: Mutex<()>,
    pub(crate) limits: Arc<ProxyLimits>,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: Metrics,
    pub(crate) request_ids: RequestIds,
    /// Where finished requests are noted.
    pub(crate) access: AccessLog,
    /// Looks at passwords.
    pub(crate) verifier: Verifier,
    /// What bodies for and from functions may still take.
    pub(crate) function_memory: Memory,
}

impl Proxy {
    /// A proxy without a route: every host gets the 404 page. `telemetry` counts what the visitors of apps are answered.
    pub fn new(limits: ProxyLimits, telemetry: telemetry::metrics::Metrics, tasks: Tasks) -> Arc<Proxy> {
        Arc::new(Proxy {
            table: ArcSwap::default(),
            changing: Mutex::default(),
            limits: Arc::new(limits),
            tasks,
            metrics: Metrics::default(),
            request_ids: RequestIds::new(),
            access: AccessLog::new(telemetry),
            verifier: Verifier::new(),
            function_memory: Memory::new(FUNCTION_MEMORY_BYTES_MAX),
        })
    }

    /// Notes every request to an app in the app's access log from now on. Lines are written by `tasks`, which are to
    /// be stopped after the listeners, so that none is lost. Only the first call counts.
    pub fn keep_access_log(&self, logs: Logs, tasks: &Tasks) {
        self.access.keep(logs, tasks);
    }

    /// Puts `route` in place of what its app had. When this returns, every request that is looked up gets
    /// the new route; what is no longer part of it comes back, to be drained before it is stopped.
    ///
    /// An endpoint whose address stays is kept with its connections. A host that another app has is left
    /// out (and logged): withdraw it there first.
    pub fn publish(&self, route: AppRoute) -> Retired {
        self.publish_all(vec![route])
    }

    /// [`Proxy::publish`] for an app that is `old` under another name: addresses that both have lead to the new one from
    /// now on. What is `old`'s alone stays, until that is withdrawn.
    pub fn publish_in_place_of(&self, route: AppRoute, old: &AppName) -> Retired {
        self.change(|table| table.with_in_place_of(route, old))
    }

    /// [`Proxy::publish`] for several apps in one swap: no request sees some of them old and some new.
    pub fn publish_all(&self, routes: Vec<AppRoute>) -> Retired {
        self.change(|table| {
            let mut replaced = Replaced::default();
            let mut table = table.clone();
            for route in routes {
                let (next, taken_out) = table.with(route);
                table = next;
                replaced.join(taken_out);
            }
            (table, replaced)
        })
    }

    /// Takes an app out: its hosts get the 404 page from now on.
    pub fn withdraw(&self, app: &AppName) -> Retired {
        self.change(|table| table.without(app))
    }

    /// What is published now, by app.
    pub fn routes(&self) -> Vec<AppRoute> {
        self.table.load().routes()
    }

    /// What has been counted so far.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.metrics.snapshot()
    }

    /// Accepts and answers until `shutdown`; then accepts no more, lets what is in flight end within
    /// [`ProxyLimits::stop_timeout`], closes the rest and returns.
    pub async fn serve(self: &Arc<Self>, listener: TcpListener, shutdown: Shutdown) {
        server::serve(self, listener, shutdown).await;
    }

    fn change(&self, make: impl FnOnce(&RouteTable) -> (RouteTable, Replaced)) -> Retired {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, replaced) = make(&self.table.load());
        self.table.store(Arc::new(next));
        replaced.retire()
    }
}
