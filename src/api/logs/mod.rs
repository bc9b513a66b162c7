//! Logs of apps and of deployments: pages of what is there, and feeds of what is there and then of what comes.
//!
//! | module | holds |
//! |---|---|
//! | `line` | a line as clients read it |
//! | `query` | which lines somebody wants |
//! | `pages` | a page of them |
//! | `chunk` | lines on their way, encoded once for all who read the same |
//! | `feed` | a way through a log: replay, then live |
//! | `stream` | feeds over WebSockets and as server-sent events |

mod chunk;
mod feed;
mod line;
mod pages;
mod query;
mod stream;

use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use self::chunk::SharedChunks;
use crate::state::Api;

/// What stands below `/api/apps`.
pub(crate) fn of_apps() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(pages::of_app)).routes(routes!(stream::of_app))
}

/// What stands below `/api/deployments`.
pub(crate) fn of_deployments() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(pages::of_deployment)).routes(routes!(stream::of_deployment))
}
