//! Row 3: source tree → what kind of app it is → a plan as data → an artifact.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `plan` | [`BuildPlan`]: everything that follows from the source tree, as data |
//! | `detect` | [`plan()`], [`plan_for`]: which recipe fits; the Procfile and `app.json` over it |
//! | `folder` | which folder of the tree is the app |
//! | `recipes` | one file a kind of app |
//! | `draft` | a plan in the making, and what recipes may look at |
//! | `source` | the source tree, read within bounds |
//! | `toolchains` | [`Toolchains`]: which programs the host has |
//! | `image` | Dockerfiles, the app's own and generated ones, and how an image is built from them |
//! | `builder` | [`Builder`]: runs a plan in the artifact |
//! | `environment`, `process`, `tree` | what a step sees, how it runs, how everything it started ends |
//! | `reuse` | `node_modules` and `.venv` of the last build, where nothing that decides them changed |
//! | `leftovers` | the builds of an agent that was killed |
//! | `cache` | the bound of an app's cache |
//! | `slots` | how many builds run at once |
//! | `diagnose` | output of a failed tool → what to do |
//!
//! Invariants: planning runs nothing and writes nothing; executing decides nothing. A step sees the app's
//! config and nothing of the agent's environment. When a build ends, however it ends, none of its processes
//! is left.

mod builder;
mod cache;
mod detect;
mod diagnose;
mod draft;
mod environment;
mod folder;
mod image;
mod leftovers;
mod plan;
mod process;
mod recipes;
mod reuse;
mod slots;
mod source;
mod toolchains;
mod tree;

#[cfg(test)]
mod scenarios;

pub use builder::{Builder, Made};
pub use detect::{plan, plan_for, plan_with};
pub use image::{DockerfileFacts, Logins, is_lambda};
pub use plan::{BuildPlan, CacheFolder, Recipe, Reuse, Step, Tool};
pub use toolchains::Toolchains;
