//! Row 4: the only place that knows git, builder, runtime and proxy together. It turns a commit into a
//! release that visitors meet, and keeps that release running.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`deployer`] | [`Deployer`]: the door to the owner tasks, one for each app |
//! | `owner` | the owner task of an app: its requests, and what happens by itself |
//! | `pipeline` | a commit or an image becomes a *candidate*: all stages before the switch, in order |
//! | `artifact`, `source`, `again` | its first stages: the ref and files of a push, the build, the image, or an earlier release |
//! | `submodules`, `remote` | the code that a commit names and does not hold; whom an app may fetch it from |
//! | `asked` | the config that a push and `app.json` bring |
//! | `ending` | how a deployment ends that does not go live |
//! | `workspace` | what a deployment has made so far, so that it can be undone |
//! | `beside` | instances started beside those that run, and the wait for them |
//! | `launch` | the environment and the start of an instance |
//! | `furnish` | what operators have set for instances, as one is started |
//! | `once` | a command that runs once, within a time |
//! | `ready` | when a started instance counts as ready, and why it does not |
//! | `probe` | one attempt of one health check |
//! | `check` | the checks of what runs, asked because somebody wants to know |
//! | `live` | the release that visitors meet: its slots, crashes, restarts |
//! | [`roll`] | other instances of the same release: scaled, restarted, stopped, started |
//! | `route` | where an app is reached, as the proxy is told and as people are shown |
//! | `stop` | the end of instances, also when their engine is away |
//! | [`one_off`] | commands that run once beside the formation |
//! | `cron`, `timetable` | what apps have done at set times |
//! | [`plan`] | wanted and seen → keep, start, stop; pure |
//! | `clean` | images that nothing needs any more |
//! | `rename` | an app under another name: its files move |
//! | `recover` | what the agent finishes and undoes when it starts |
//! | `adopt` | what it takes over, then or once an engine that was away answers |
//!
//! Invariants:
//! - Until [`Deployer::commit`] nothing that a visitor sees changes; a deployment that ends before it leaves no
//!   instance, artifact, port or record of a release behind.
//! - Deployments of one app are serial: they pass through its owner task.
//! - An endpoint is in the route table only while its instance has passed its checks and has not exited.
//! - An instance is asked to stop only after the requests that it was given are answered, or the drain budget is over.

mod adopt;
mod again;
mod artifact;
mod asked;
mod beside;
mod check;
mod clean;
mod cron;
pub mod deployer;
mod ending;
mod furnish;
mod launch;
mod live;
mod once;
pub mod one_off;
mod owner;
mod pipeline;
pub mod plan;
mod probe;
mod ready;
mod recover;
mod remote;
mod rename;
pub mod roll;
mod route;
mod source;
mod stop;
#[cfg(test)]
mod stories;
mod submodules;
mod timetable;
mod workspace;

pub use check::Checked;
pub use deployer::{
    ArchiveBytes, Candidate, ConfigOf, Deployer, Input, Job, Parts, Pushed, Site, fetch_places,
};
pub use furnish::storage_dir;
pub use one_off::{Attached, OneOffError, Wanted};
pub use recover::{Recovery, RecoveryError};
pub use roll::{Change, Roll};
pub use route::first_to_open;
