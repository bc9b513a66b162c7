//! What is wrong with settings, and where.

use std::{fmt, io, path::PathBuf};

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of the settings file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        name: String,
    },
    /// Nowhere: the key has its default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line } => write!(f, "{}:{line}", path.display()),
            Place::Environment { name } => write!(f, "environment variable {}", name.escape_debug()),
            Place::Default => f.write_str("default"),
        }
    }
}

/// One mistake in settings; a file has as many as it has mistakes.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than settings ever are.
    #[error("{}: is larger than {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// The file is not UTF-8.
    #[error("{}: is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The file is not TOML.
    #[error("{place}: is not valid TOML: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// No such key.
    #[error("{place}: {} is not a known key{}", key.escape_debug(), DidYouMean(*nearest))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key as it was given.
        key: String,
        /// The known key that was most likely meant.
        nearest: Option<&'static str>,
    },
    /// A value that its key does not take.
    #[error("{place}: {key}: expected {expected}, found {found}")]
    WrongValue {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What the key takes.
        expected: &'static str,
        /// What was given, quoted and cut short.
        found: String,
    },
    /// A feature that this version does not have.
    #[error("{place}: {what} is not in this version; remove it")]
    NotInThisVersion {
        /// Where.
        place: Place,
        /// The key, and its value or the feature; safe to print.
        what: String,
    },
    /// Two doors at one address.
    #[error("{place}: {key}: {other} listens there too; choose another address")]
    SameAddress {
        /// Where the second one was given.
        place: Place,
        /// The second key.
        key: &'static str,
        /// The first key.
        other: &'static str,
    },
    /// Half of what belongs together.
    #[error("{place}: {key}: {missing} is missing, without which it lets nobody in; set both or neither")]
    Alone {
        /// Where the one was given.
        place: Place,
        /// That one.
        key: String,
        /// The other.
        missing: &'static str,
    },
    /// Neither a data folder nor a home to put it in.
    #[error("data_dir: has no default without HOME or XDG_DATA_HOME; set data_dir or AUTOSTACK_DATA_DIR")]
    NoDataDir,
    /// The file's folder cannot be watched for changes.
    #[error("{}: cannot be watched for changes", path.display())]
    Watch {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: notify::Error,
    },
}

impl SettingsError {
    /// Line of the file that it is about, for ordering; 0 where there is none.
    pub(super) fn line(&self) -> usize {
        match self {
            SettingsError::Syntax { place, .. }
            | SettingsError::UnknownKey { place, .. }
            | SettingsError::WrongValue { place, .. }
            | SettingsError::NotInThisVersion { place, .. }
            | SettingsError::Alone { place, .. }
            | SettingsError::SameAddress { place, .. } => match place {
                Place::File { line, .. } => *line,
                Place::Environment { .. } | Place::Default => usize::MAX,
            },
            SettingsError::Read { .. }
            | SettingsError::TooLarge { .. }
            | SettingsError::NotText { .. }
            | SettingsError::NoDataDir
            | SettingsError::Watch { .. } => 0,
        }
    }
}

/// The end of a sentence about a key that is not known.
struct DidYouMean(Option<&'static str>);

impl fmt::Display for DidYouMean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => write!(f, "; did you mean {key}?"),
            None => Ok(()),
        }
    }
}
