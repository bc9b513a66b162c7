//! Plans whose artifact is an image.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `dockerfile` | what an app's own Dockerfile says |
//! | `base`, `version` | which images an app is built on and runs in |
//! | `generate`, `script` | plan → the text of a Dockerfile |
//! | `config` | the app's config for the steps, outside of every layer |
//! | `lambda` | which images are functions for AWS Lambda |
//! | `executor` | base images, build, result |
//! | `listen`, `failures` | what a builder says, in the words of the plan |
//! | `site`, `unpack` | the files of a site, out of its image |
//!
//! Invariants: no value of the config stands in a Dockerfile, in an argument that the app did not ask for, or in
//! a layer; everything that a build leaves in the engine's cache is marked as the app's.

mod base;
mod config;
mod dockerfile;
mod executor;
mod failures;
mod generate;
mod lambda;
mod listen;
mod script;
mod site;
#[cfg(test)]
mod tests;
mod unpack;
mod version;

pub use dockerfile::DockerfileFacts;
pub(crate) use dockerfile::draft_dockerfile;
pub(crate) use executor::ImageBuild;
pub use executor::Logins;
pub use lambda::is_lambda;
