//! Row 2: the container engine: how it is reached, what it says when it refuses, what is ours on it, and images.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`host`] | where engines usually are |
//! | [`mark`], [`labels`] | how the agent finds again what it made, and tells it from everything else |
//! | [`engine`] | [`Engine`]: the connection, and the bound of each call |
//! | [`about`] | [`About`]: which engine it is and what it can |
//! | [`error`], [`pull_refusal`] | [`EngineError`]: why it could not, for people |
//! | [`images`] | pull, load, import, tag, remove, read files |
//! | [`build`] | images from a Dockerfile |
//! | [`cache`] | which build cache is ours |
//! | [`output`] | what long operations say while they run |
//!
//! Invariants: what lacks this agent's mark is never changed; every call is bounded and every stream ends soon
//! after it is cancelled; no connection is kept, so an engine that restarts is used again at once. Only this
//! crate and `runtime/docker` know bollard.

pub mod about;
pub mod build;
pub mod cache;
mod classify;
pub mod engine;
pub mod error;
pub mod host;
pub mod images;
pub mod labels;
pub mod mark;
pub mod output;
pub mod pull_refusal;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use about::{API_NEEDED, About, ApiVersion, Product};
pub use autostack_domain::EngineHost;
pub use bollard;
pub use cache::{CacheRecord, cache_mark};
pub use classify::is_no_space;
pub use engine::{CALL_TIMEOUT, Engine};
pub use error::EngineError;
pub use images::{ImageFacts, ImageFiles, ImageHealthcheck, OurImage};
pub use mark::AgentMark;
pub use output::{Output, Say};
pub use pull_refusal::PullRefusal;
