//! Row 5: every operation that a user can ask for, once: authorise, validate, record, act. The doors translate
//! outside words into these calls and their answers back; no door reaches past this row.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`platform`](mod@platform) | [`Platform`], and who somebody is |
//! | [`apps`] | create, list, destroy, URL, log |
//! | `locks`, `rename` | apps that take no deployments; an app under another name |
//! | `settings` | a change of what operators set for one app |
//! | [`cron`] | what an app has done at set times |
//! | [`resources`], [`storage`], [`checks`] | what instances may use, the folders that they see, how they replace one another |
//! | [`builds`] | deployments looked at, listened to and cancelled, from any connection |
//! | [`config`] | the environment that the next release gets |
//! | [`deployments`] | a deployment recorded, taken live and shown |
//! | [`events`] | who changed what, recorded and read |
//! | [`processes`] | how many instances run, restarted, stopped, started, built again |
//! | [`releases`] | a new release for another config, and back to an earlier one |
//! | [`sources`] | code that comes by no push: archives, repositories elsewhere |
//! | [`git_settings`], [`host_defaults`] | what operators say about a repository and about builds; what admins say about all |
//! | [`docker_options`] | what the container engine is told of an app beyond what it is always told |
//! | [`images`] | images from registries and archives, and the logins at registries |
//! | [`domains`], [`traffic`] | where apps are reached, and what the proxy does before it asks them |
//! | [`certs`] | their certificates |
//! | [`push`] | one `git push` from its first byte to its end, and the two hooks in between |
//! | `push_options` | what a pusher says beside the commits |
//! | [`screen`] | where the lines of a push go |
//! | [`fetch`] | `git clone` and `git fetch` |
//! | [`accounts`] | who comes in without an SSH key: passwords, sessions, API keys, invitations |
//! | [`users`], [`keys`], `key_line` | users, and the keys that they come with |
//! | [`members`], [`revoked`] | who may use an app, and what ends when somebody no longer may |
//! | [`run`] | commands with an app's code and config, beside its instances or in one |
//! | [`status`] | what the agent says of itself |
//! | [`overview`], [`monitor`] | figures for a first look; how busy the host and the instances are |
//! | [`error`] | what an operation can answer instead, with its exit code |
//!
//! Invariants:
//! - Every operation asks [`autostack_domain::permission::allows`]; what it does not name is refused.
//! - Every change is an event ([`Platform::event`]): who, from where, what, when; never a value of config or a secret.
//! - A push token opens one push, each hook of it once, and is worth nothing afterwards.

pub mod accounts;
pub mod apps;
pub mod builds;
pub mod certs;
pub mod checks;
pub mod clone;
pub mod config;
pub mod cron;
pub mod deployments;
pub mod docker_options;
pub mod domains;
pub mod error;
pub mod events;
pub mod fetch;
pub mod gauges;
pub mod git_settings;
pub mod host_defaults;
pub mod images;
pub mod keys;
pub mod members;
pub mod monitor;
pub mod once;
pub mod overview;
pub mod platform;
pub mod processes;
pub mod push;
mod push_options;
pub mod releases;
pub mod resources;
pub mod revoked;
pub mod run;
pub mod screen;
pub mod sources;
pub mod status;
pub mod storage;
pub mod traffic;
pub mod users;

mod disk;
mod key_line;
mod locks;
mod rename;
mod settings;

pub use accounts::{
    AccountView, ApiKeyView, Arrival, Departure, InvitationView, Login, NewAccount, NewApiKey, NewInvitation,
    Proof, Return, SecondFactorOffer, SessionView, Tokens,
};
pub use apps::{AppDetails, AppFacts, AppView};
pub use autostack_deploy::Attached;
pub use autostack_runtime::{ExecSession, TerminalSize};
pub use autostack_store::{DeploymentMark, DeploymentQuery};
pub use builds::{BuildPage, BuildView, Cancelled, Which};
pub use certs::CertificateView;
pub use config::{Applied, ConfigChange};
pub use deployments::Outcome;
pub use docker_options::DockerChange;
pub use domains::Reached;
pub use error::{ErrorKind, PlatformError};
pub use events::{EventFeed, EventQuery};
pub use fetch::Fetch;
pub use gauges::{Gauges, ProcessGauges};
pub use git_settings::{GitSetting, GitView};
pub use images::LoginView;
pub use key_line::KEY_LINE_BYTES_MAX;
pub use keys::{KeyView, Keyring};
pub use members::MemberView;
pub use monitor::{HostMetrics, HostSample, InstanceMetrics, InstanceSample};
pub use once::{Doing, Once};
pub use overview::{DeploymentFigures, Overview};
pub use platform::{Addresses, HookAccess, Platform};
pub use processes::{InstanceView, ProcessesView};
pub use push::Push;
pub use releases::{ReleaseDetails, ReleaseView};
pub use run::{Place, RunRequest};
pub use screen::Screen;
pub use sources::{AfterSync, ArchiveSource, ArchiveWords, Synced};
pub use status::{HostFacts, InnerFacts, Status};
