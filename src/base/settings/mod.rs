//! Settings: a TOML file, then the environment, later wins; checked whole before anything uses them.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `keys` | every key on one screen: name, default, kind, whether it waits for a restart |
//! | `values` | the kinds of value: a duration, a size, an address, each with the words for what it expects |
//! | `raw` | what was given, as text, and where: filled without judging the values |
//! | `resolve` | from what was given to settings: every value judged, every mistake collected |
//! | `checked` | [`Settings`]: immutable, valid by construction |
//! | `sources` | [`Sources`]: file, environment, and the defaults that depend on them |
//! | `file_events` | which events of a folder mean that a file is new |
//! | `watch` | [`SettingsHandle`]: follows the file, keeps the last good settings |
//! | `error` | [`SettingsError`]: file, line, key, what was expected |
//!
//! Invariants: an unknown key is refused, never ignored; every mistake is reported, not only the first; a
//! feature that this version does not have is refused in so many words; a bad file never replaces good
//! settings.

mod checked;
#[cfg(test)]
mod documented;
mod elsewhere;
mod error;
mod file_events;
mod keys;
mod raw;
mod resolve;
mod sources;
#[cfg(test)]
mod tests;
mod values;
mod watch;

pub use autostack_domain::resources::MilliCpus;
pub use checked::{
    ApiSettings, AuthSettings, BuildSettings, ClientSettings, CronSettings, DeploySettings, DockerSettings,
    GitSettings, GithubSettings, GoogleSettings, HttpSettings, ImageSettings, LogSettings, MailSettings,
    ReleaseSettings, RuntimeSettings, Settings, SshSettings,
};
pub use elsewhere::{BaseUrl, MailSecurity, Origin};
pub use error::{Place, SettingsError};
pub use sources::{DEFAULT_FILE, Sources, check};
pub use values::{BackendChoice, BuilderChoice, EndpointChoice, PortRange, Signup};
pub use watch::{FileState, SettingsHandle, SettingsWatch};
