//! [`KeptAnswer`]: what a request came to that its client may send again, not knowing whether it arrived.

use serde::{Deserialize, Serialize};

use crate::{Invalid, UnixMillis, limits};

/// What a client calls one request of its own: whatever it sends under the same key is that request again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads one, with or without the quotes that
    /// <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/> puts around it.
    ///
    /// # Errors
    /// When it is empty, longer than [`limits::IDEMPOTENCY_KEY_CHARS_MAX`], or holds anything but visible ASCII.
    pub fn parse(given: &str) -> Result<Self, Invalid> {
        let key = given.trim();
        let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
        let is_good = (1..=limits::IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_good {
            let why = format!(
                "use 1 to {} visible ASCII characters, a UUID for example",
                limits::IDEMPOTENCY_KEY_CHARS_MAX
            );
            return Err(Invalid::new("idempotency key", given, why));
        }
        Ok(Self(key.to_owned()))
    }

    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A request that came under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// The digest of what was asked, in base64: another request under the same key is a mistake of its client.
    pub request: String,
    /// When it came first.
    pub began_at: UnixMillis,
    /// What it was answered; `None` until then.
    pub answer: Option<Answered>,
}

/// An answer, as it is given again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Its HTTP status.
    pub status: u16,
    /// Its body, which is JSON where there is one. It may hold a secret that is shown once.
    pub body: String,
}

impl std::fmt::Debug for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answered").field("status", &self.status).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_and_of_a_sane_length() {
        assert_eq!(IdempotencyKey::parse("8e03978e-40d5").unwrap().as_str(), "8e03978e-40d5");
        assert_eq!(IdempotencyKey::parse(" \"a b\" ").ok(), None);
        assert_eq!(IdempotencyKey::parse("\"quoted\"").unwrap().as_str(), "quoted");
        for bad in ["", "\"\"", "a\u{7}", "é", &"x".repeat(256)] {
            assert!(IdempotencyKey::parse(bad).is_err(), "{bad}");
        }
    }
}
