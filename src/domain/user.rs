//! Who uses the platform, and the keys that prove it.

use serde::{Deserialize, Serialize};

use crate::{
    names::{Invalid, UserId},
    time::UnixMillis,
};

/// The record of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who it is, for every other record.
    pub id: UserId,
    /// The address, in lower case ([`normal_email`]); unique on the host.
    pub email: String,
    /// Whether the whole platform is theirs to run.
    pub is_admin: bool,
    /// When it was created.
    pub created_at: UnixMillis,
    /// What they are called; `None`: by their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When they proved that the address is theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_verified_at: Option<UnixMillis>,
}

/// A public key that a user may log in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshKeyRecord {
    /// `SHA256:` and the base64 of the hash, as `ssh-keygen -l` prints it; unique on the host.
    pub fingerprint: String,
    /// Whose key it is.
    pub user: UserId,
    /// What people call it.
    pub name: String,
    /// The key as a line of an `authorized_keys` file, without options.
    pub public_key: String,
    /// When it was added.
    pub created_at: UnixMillis,
}

/// Bytes of an e-mail address: the longest that a mail server takes (RFC 5321).
pub const EMAIL_BYTES_MAX: usize = 254;

/// The form in which addresses are kept and compared: lower case. Refuses what no mail server would take
/// and what a terminal or a log would misread.
pub fn normal_email(given: &str) -> Result<String, Invalid> {
    let refuse = |why: &str| Err(Invalid::new("e-mail address", given, why));
    if given.len() > EMAIL_BYTES_MAX {
        return refuse("254 bytes at most");
    }
    if given.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return refuse("it holds a space or a control character");
    }
    match given.split_once('@') {
        Some((local, host)) if !local.is_empty() && !host.is_empty() && !host.contains('@') => {
            Ok(given.to_lowercase())
        }
        _ => refuse("expected NAME@HOST"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_in_lower_case() {
        assert_eq!(normal_email("Ada@Example.com").unwrap(), "ada@example.com");
    }

    #[test]
    fn addresses_that_no_server_takes_are_refused() {
        let long = format!("{}@example.com", "a".repeat(EMAIL_BYTES_MAX));
        for bad in ["", "ada", "@host", "ada@", "a@b@c", "a b@c", "a\u{1b}@c", "a@c\n", &long] {
            assert!(normal_email(bad).is_err(), "{bad:?}");
        }
    }
}
