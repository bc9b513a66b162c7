//! The labels by which the agent finds again what it made on an engine.
//!
//! Everything that the agent makes carries [`AGENT`] with its own mark. Whatever lacks it, or carries the mark
//! of another agent, is somebody else's and is never touched.

/// The mark of the agent that made it: [`crate::AgentMark`].
pub const AGENT: &str = "autostack.agent";
/// The app that it belongs to.
pub const APP: &str = "autostack.app";
/// The release, as a number.
pub const RELEASE: &str = "autostack.release";
/// The process type of an instance.
pub const PROCESS: &str = "autostack.process";
/// The instance.
pub const INSTANCE: &str = "autostack.instance";
/// The deployment that built it.
pub const DEPLOYMENT: &str = "autostack.deployment";
/// What a thing is for that is neither an instance nor an app's image: one of the `PURPOSE_` values.
pub const PURPOSE: &str = "autostack.purpose";

/// A container that is never started, made to read files of an image; gone at the end of the call that made it.
pub const PURPOSE_FILES: &str = "files";
