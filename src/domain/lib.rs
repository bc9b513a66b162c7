//! Row 0: the words of autostack as plain data, and the decisions that need nothing but data.
//!
//! No I/O, no async, no clock: whatever happens here happens the same way twice. A value that exists is
//! valid; the only way in from the outside is a parser that says what is wrong ([`Invalid`]).
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`names`] | [`AppName`], [`ProcessType`] and the ids: what may become a file name, a host, an argument |
//! | [`push`] | ref updates of one `git push`, and which of them is deployed |
//! | [`procfile`], [`app_json`] | what an app says about itself |
//! | [`git_settings`], [`build_settings`], [`tree_path`] | what an operator says about an app's code and its builds |
//! | [`host_defaults`] | the same for every app that says nothing else |
//! | [`remote_url`], [`submodule`] | where code is fetched from, and which addresses may answer |
//! | [`env_map`], [`secret`] | configuration, byte for byte; values that never print themselves |
//! | [`env_export`], [`env_import`] | configuration as text for other programs, and back |
//! | [`lock`], [`origin`] | an app that takes no deployments; where its code is said to come from |
//! | [`deployment`], [`failure`] | one attempt to go live, its stages, and why it ended |
//! | [`mod@app`], [`app_settings`] | the record of an app, and what its operators set |
//! | [`release`] | artifact + config + process types, numbered |
//! | [`instance`] | one running copy of a process type |
//! | [`one_off`] | a command that runs once beside them |
//! | [`image`], [`registry`], [`engine_host`] | how images are named and pinned, where they come from, where their engine listens |
//! | [`health`], [`checks`] | when an instance counts as ready, and how one release replaces another |
//! | [`resources`], [`storage`] | what an instance may use of the host, and the folders that it sees |
//! | [`docker_options`] | what operators may tell the engine of a build and of containers |
//! | [`cron`] | what an app has done at set times |
//! | [`route`] | host names and what stands behind them |
//! | [`certificate`] | a certificate chain and its key, sorted |
//! | [`address`], [`traffic`] | where visitors reach an app and by which rules; who may claim which host |
//! | [`screen`] | the shape of a line that a person reads |
//! | [`user`] | who uses the platform, and the keys that prove it |
//! | [`account`] | what lets somebody in who comes without an SSH key |
//! | [`kept_answer`] | what a request came to that may be sent again |
//! | [`permission`] | who may do what: one function, default no |
//! | [`moment`] | a moment as people say it: `10m`, `2026-11-24T10:00` |
//! | [`event`] | who changed what, from where, and when |
//! | [`limits`] | every bound, with its unit |

pub mod account;
pub mod address;
pub mod app;
pub mod app_json;
pub mod app_settings;
pub mod build_settings;
pub mod certificate;
pub mod checks;
pub mod cron;
pub mod deployment;
pub mod docker_options;
pub mod engine_host;
pub mod env_export;
pub mod env_import;
pub mod env_map;
pub mod event;
pub mod failure;
pub mod git_settings;
pub mod health;
pub mod host_defaults;
pub mod image;
pub mod instance;
pub mod kept_answer;
pub mod limits;
pub mod lock;
pub mod moment;
pub mod names;
pub mod one_off;
pub mod origin;
pub mod permission;
pub mod procfile;
pub mod push;
pub mod registry;
pub mod release;
pub mod remote_url;
pub mod resources;
pub mod route;
pub mod screen;
pub mod secret;
pub mod storage;
pub mod submodule;
pub mod time;
pub mod traffic;
pub mod tree_path;
pub mod user;

pub use address::Address;
pub use app::{App, Formation};
pub use app_settings::AppSettings;
pub use build_settings::{BuildSettings, Buildpack, SelectedBuilder};
pub use certificate::CertificatePem;
pub use deployment::{Deployment, DeploymentState, Source, Stage, StageRecord};
pub use engine_host::EngineHost;
pub use env_export::ExportFormat;
pub use env_map::EnvMap;
pub use event::{By, Event};
pub use failure::{Failure, FailureKind};
pub use git_settings::GitSettings;
pub use host_defaults::HostDefaults;
pub use image::{Digest, ImageReference, ImageTemplate};
pub use instance::{Exit, InstanceSpec, Program};
pub use kept_answer::{IdempotencyKey, KeptAnswer};
pub use lock::DeployLock;
pub use moment::Moment;
pub use names::{
    AppName, DeploymentId, InstanceId, Invalid, ProcessType, ReleaseNumber, SessionId, TokenId, UserId,
};
pub use one_off::{OneOff, OneOffNumber};
pub use push::{CommitId, RefName, RefUpdate};
pub use registry::{RegistryLogin, RegistryName};
pub use release::{Artifact, Release, ReleaseSource};
pub use remote_url::{RemoteHost, RemoteUrl};
pub use route::Host;
pub use screen::{Line, LineKind};
pub use secret::Secret;
pub use time::UnixMillis;
pub use traffic::{Rules, Traffic};
pub use tree_path::TreePath;
pub use user::{SshKeyRecord, User};
