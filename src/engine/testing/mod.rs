//! For the tests of every crate that has to do with an engine (feature `testing`).
//!
//! | | |
//! |---|---|
//! | [`TestEngine`] | the engine of this machine, with a mark of its own; sweeps up what carries it |
//! | [`busybox`] | a base image made on the spot |
//! | [`Registry`] | a real image registry on a free port, with a login or without |
//! | [`PrivateEngine`] | a second dockerd that may be killed and started again |
//! | [`FakeEngine`] | an engine that gives the answers that a test wants |
//!
//! A test without what it needs fails and says what is missing; nothing here is ever skipped.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod busybox;
mod fake;
mod private_engine;
mod registry;
mod sweep;

pub use busybox::{BUSYBOX, busybox, tar_of};
pub use fake::{Answer, FakeEngine};
pub use private_engine::PrivateEngine;
pub use registry::Registry;
pub use sweep::TestEngine;
