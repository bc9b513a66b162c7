//! Why something could not be fetched.

use std::{io, net::IpAddr};

use autostack_domain::{Invalid, RemoteHost};

use crate::command::GitMissing;

/// Why something could not be fetched from elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The host is not one of the public Internet, and no admin has named it.
    #[error("{host} leads to {address}, which is not an address of the public Internet")]
    Private {
        /// The host.
        host: RemoteHost,
        /// The address.
        address: IpAddr,
    },
    /// In clear is spoken only to hosts that an admin has named.
    #[error("{host} would be spoken to in clear: use https")]
    Clear {
        /// The host.
        host: RemoteHost,
    },
    /// The name is not known, or nobody answers.
    #[error("{host} cannot be reached: {source}")]
    Unreachable {
        /// The host.
        host: RemoteHost,
        /// Why.
        source: io::Error,
    },
    /// What came is not HTTP.
    #[error("{host} does not answer as it should: {why}")]
    BadAnswer {
        /// The host.
        host: RemoteHost,
        /// What is wrong with it.
        why: String,
    },
    /// The answer leads somewhere else that is no good.
    #[error("{host} answers with a redirect that is not followed: {why}")]
    Redirect {
        /// The host.
        host: RemoteHost,
        /// Why not.
        why: String,
    },
    /// A login is needed, or not the right one.
    #[error("{host} asks for a login")]
    Login {
        /// The host.
        host: RemoteHost,
    },
    /// The host says no.
    #[error("{host} answers with the status {status}")]
    Status {
        /// The host.
        host: RemoteHost,
        /// The status of HTTP.
        status: u16,
    },
    /// More came than is accepted.
    #[error("it is larger than {limit}")]
    TooLarge {
        /// The limit with its unit.
        limit: String,
    },
    /// It took too long.
    #[error("it took longer than {seconds} s")]
    TimedOut {
        /// The limit.
        seconds: u64,
    },
    /// What came could not be kept.
    #[error("what is fetched cannot be kept: {0}")]
    Keep(#[source] io::Error),
    /// Git on this host.
    #[error(transparent)]
    GitMissing(#[from] GitMissing),
    /// `git fetch` failed.
    #[error("git could not fetch it: {said}")]
    Git {
        /// Its last words.
        said: String,
    },
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl RemoteError {
    /// What to try next.
    pub fn hint(&self) -> &'static str {
        match self {
            RemoteError::Private { .. } | RemoteError::Clear { .. } => {
                "an admin may let apps fetch from a host of this network: git:allow-host HOST"
            }
            RemoteError::Login { .. } => {
                "keep a login for it: git:auth --app APP HOST NAME PASSWORD (for GitHub, a token)"
            }
            RemoteError::Unreachable { .. } => "check the host's name, and that it can be reached from here",
            RemoteError::BadAnswer { .. } | RemoteError::Redirect { .. } | RemoteError::Status { .. } => {
                "check the URL, for instance in a browser"
            }
            RemoteError::TooLarge { .. } => "leave out what the app does not need to run",
            RemoteError::TimedOut { .. } => "try again, or push the code instead",
            RemoteError::Keep(_) => "free space on the host, then try again",
            RemoteError::GitMissing(_) => "install git on the host",
            RemoteError::Git { .. } => "check the name of the branch, the tag or the commit",
            RemoteError::Cancelled => "try again",
        }
    }

    pub(super) fn redirect(host: &RemoteHost, why: &Invalid) -> Self {
        Self::Redirect { host: host.clone(), why: why.why.clone() }
    }
}
