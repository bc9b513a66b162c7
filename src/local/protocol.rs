//! What may be said over the agent's socket.

use std::io;

use autostack_domain::account::Scope;
use autostack_git::{
    HookRequest,
    hooks::{HookError, REQUEST_BYTES_MAX},
};
use serde::{Deserialize, Serialize};

/// Bytes of a message's line: what the largest hook request takes, and the words around it.
pub const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + 64;

/// What a client says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Git runs a hook.
    Hook(HookRequest),
    /// The operator asks for something.
    Admin(AdminRequest),
}

/// What the operator may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminRequest {
    /// Make a user.
    UserAdd {
        /// The address.
        email: String,
        /// Whether the whole platform is theirs to run.
        admin: bool,
        /// Their password; without one it is made, and told once.
        password: Option<String>,
    },
    /// Give a user another password; their sessions end.
    UserPassword {
        /// The address.
        email: String,
        /// The new one; without one it is made, and told once.
        password: Option<String>,
    },
    /// Let an SSH key in.
    KeyAdd {
        /// What people call it.
        name: String,
        /// Whose it is; without one it belongs to an admin made for it.
        user: Option<String>,
        /// The line of the `.pub` file.
        public_key: String,
    },
    /// Show every SSH key.
    KeyList,
    /// Let an SSH key in no more.
    KeyRemove {
        /// Its fingerprint, `SHA256:…`.
        fingerprint: String,
    },
    /// Make an API key.
    TokenCreate {
        /// What it is called.
        name: String,
        /// Whose it is; without one it belongs to an admin made for it.
        user: Option<String>,
        /// What it is good for; everything where nothing is named.
        scopes: Vec<Scope>,
        /// Days that it is good for; until it is removed where none are named.
        days: Option<u32>,
    },
    /// Say how the agent is.
    Status,
}

/// What the operator is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminReply {
    /// Done: lines for people.
    Done(String),
    /// How the agent is, by name.
    Status(serde_json::Value),
    /// Not done.
    Refused {
        /// What failed and why.
        message: String,
        /// What to try next.
        hint: Option<String>,
        /// The exit code that goes with it.
        exit_code: u8,
    },
}

impl Message {
    /// The message as one line, with its line end.
    pub fn encode(&self) -> Result<Vec<u8>, HookError> {
        line(self)
    }

    /// Reads a line.
    pub fn decode(line: &[u8]) -> Result<Self, HookError> {
        let message: Self = serde_json::from_slice(line)?;
        match message {
            // The hook's own limits hold on this way in too.
            Message::Hook(request) => Ok(Message::Hook(HookRequest::decode(&request.encode()?)?)),
            admin @ Message::Admin(_) => Ok(admin),
        }
    }
}

impl AdminReply {
    /// The reply as one line, with its line end.
    pub fn encode(&self) -> Result<Vec<u8>, HookError> {
        line(self)
    }
}

fn line(message: &impl Serialize) -> Result<Vec<u8>, HookError> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    if line.len() > MESSAGE_BYTES_MAX {
        return Err(HookError::TooLong { bytes: line.len(), max: MESSAGE_BYTES_MAX });
    }
    Ok(line)
}

/// An I/O error about a message that does not hold together.
pub(crate) fn invalid(error: HookError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
