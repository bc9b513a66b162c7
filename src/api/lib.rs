//! Row 6, a door: JSON over HTTP, for dashboards, scripts and CI. It offers what the platform offers, no more and no less.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `server` | connections and their limits |
//! | [`router`](mod@router) | the paths on one screen |
//! | [`state`] | what handlers share |
//! | `front`, `limits`, `once` | what every request passes: its id, its caller, its share, whether it was done before |
//! | `caller`, `extract` | who asks, and for what |
//! | `error`, `answers` | the one shape of errors, and the answers that are the same everywhere |
//! | `auth`, `sign_in`, `invitations`, `mailed`, `me` | accounts: coming in, and what is one's own |
//! | `pages` | the few pages that links in mails lead to |
//! | `apps`, `deployments` | apps, and what becomes of them |
//! | `overview`, `audit` | figures, how busy everything is, and who changed what |
//! | `logs`, `tickets` | logs page by page and as live feeds; what opens one without a header |
//! | `background` | work that goes on when the client has gone |
//! | `health`, `metrics` | how the agent is, in words and in figures |
//! | `docs` | the document that describes every path |
//!
//! Invariants: a connection that sends its head too slowly, or too much, is closed; a body has a limit; every answer that is not
//! 2xx but `/health`'s is `{"error": {"code", "message", "details"}}`; a handler without a [`Caller`](caller::Caller) is for everybody
//! and says so in the document.

#![expect(unused_qualifications, reason = "the macros of utoipa write full paths")]

mod answers;
mod apps;
mod audit;
mod auth;
mod background;
mod caller;
mod deployments;
mod docs;
mod error;
mod extract;
mod front;
mod health;
mod invitations;
mod limits;
mod logs;
mod mailed;
mod me;
mod metrics;
mod once;
mod overview;
mod pages;
pub mod router;
mod server;
mod sign_in;
pub mod state;
mod tickets;

pub use router::router;
pub use server::serve;
pub use state::Api;
