//! Row 3: the way of a request: host name → app → endpoint, plain HTTP/1.1.
//!
//! ```text
//! server ─ accepts ─▶ guard ─ refuses hostile heads ─▶ hyper ─▶ service ─ host ─▶ table ─ claims an endpoint
//!                                                                  │                       │
//!                                                       pages ◀────┼──▶ static_files   forward ─▶ upstream
//!                                                                  └──▶ lambda             └──▶ upgrade
//! ```
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `proxy` | [`Proxy`]: publish a route, withdraw it, serve a listener |
//! | `limits` | every bound of this crate, with its unit |
//! | `table`, `directory` | the immutable `RouteTable` and how it is replaced; which address a request is for |
//! | `claim` | who is in flight, and [`Retired`]: waiting for what was replaced |
//! | `server` | the accept loop and the orderly stop |
//! | `guard`, `link`, `head`, `chunks`, `stall` | the strict check of each request before hyper sees a byte, and the clocks of a connection |
//! | `service` | one request: look up, answer |
//! | `rules`, [`http_auth`] | who is sent on elsewhere, told of maintenance, or asked for a password |
//! | `access` | the access log: one line a request, written in batches |
//! | [`certificate`] | certificate chains and keys, looked at and made |
//! | `forward`, `headers`, `body` | what goes to the app and back |
//! | `upstream` | connections to one endpoint, kept and reused |
//! | `upgrade` | WebSocket and other upgrades, spliced |
//! | `static_files`, `static_path`, `static_range` | folders of files |
//! | [`lambda`] | functions: a request becomes an event, what is returned becomes the answer |
//! | `pages` | what a visitor reads when there is no app to answer |
//! | `metrics` | counters |
//!
//! Invariants:
//! - A request is counted on the endpoint it goes to before a byte is sent there, and until its answer has
//!   ended. An endpoint that was retired is never claimed: who looked it up a moment too early looks up again.
//! - A request that could not be sent goes elsewhere; one that was sent is repeated only if it is idempotent,
//!   has no body, and nothing was answered; and then once.
//! - An instance of a function gets no second event before it has answered the first.
//! - Nothing reaches an app that this crate has not parsed itself, strictly.
//!
//! Knows nothing of releases, instances or the store: only addresses and folders.

mod access;
mod body;
pub mod certificate;
mod chunks;
mod claim;
mod directory;
mod forward;
mod guard;
mod head;
mod headers;
pub mod http_auth;
pub mod lambda;
mod limits;
mod link;
mod metrics;
mod pages;
mod proxy;
mod rules;
mod server;
mod service;
mod stall;
mod static_files;
mod static_path;
mod static_range;
mod table;
mod upgrade;
mod upstream;

pub use claim::Retired;
pub use limits::ProxyLimits;
pub use metrics::MetricsSnapshot;
pub use proxy::Proxy;

#[cfg(test)]
mod stories;
