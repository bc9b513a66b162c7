//! What lets somebody in who comes without an SSH key: sessions, API keys, invitations, links in mails, and the
//! accounts elsewhere that prove who they are. Of everything secret only a digest is here.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    names::{AppName, Invalid, SessionId, TokenId, UserId},
    permission::{Action, Role},
    time::UnixMillis,
};

/// The SHA-256 digest of a random secret, in hexadecimal: what is kept of it. A secret of 32 random bytes needs no
/// salt and no slow hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretDigest(pub String);

/// What one user proves themselves with besides keys. Sealed as a whole where it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Credentials {
    /// The argon2id hash of the password, in PHC format; `None`: no password lets them in.
    pub password: Option<String>,
    /// The second factor, once it is confirmed.
    pub totp: Option<Totp>,
    /// A second factor that was offered and not confirmed yet.
    pub totp_offered: Option<String>,
}

/// A second factor: codes of six digits that change every 30 seconds (RFC 6238).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totp {
    /// The shared secret, in base32.
    pub secret: String,
    /// The last time step of which a code was taken: no code counts twice.
    pub last_step: u64,
    /// What remains of the recovery codes, each good for one login.
    pub recovery: Vec<SecretDigest>,
}

/// A key that signs tokens, as it is kept: sealed, and never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct KeptKey {
    /// The pair of keys, PKCS #8 in base64.
    pub pkcs8: String,
    /// When it was made.
    #[zeroize(skip)]
    pub created_at: UnixMillis,
}

impl fmt::Debug for KeptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptKey").field("created_at", &self.created_at).finish_non_exhaustive()
    }
}

/// A login that lasts: every refresh raises `generation`, and only the newest refresh token counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id; stands in its tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The program that logged in, as it calls itself; cut to [`AGENT_CHARS_MAX`].
    pub agent: String,
    /// How often it was refreshed.
    pub generation: u32,
    /// When somebody logged in.
    pub created_at: UnixMillis,
    /// When it was last refreshed.
    pub used_at: UnixMillis,
    /// When its newest refresh token ends.
    pub expires_at: UnixMillis,
}

/// Characters of what a program calls itself that are kept.
pub const AGENT_CHARS_MAX: usize = 120;

/// What an API key may be used for, besides what its owner may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at apps, their deployments and their logs.
    Read,
    /// Also push, deploy and operate.
    Deploy,
    /// Read and change config and logins at registries.
    Config,
    /// Create, rename and destroy apps, decide who may use them, and run the host where its owner may.
    Manage,
}

impl Scope {
    /// Every scope, the least first.
    pub const ALL: [Scope; 4] = [Scope::Read, Scope::Deploy, Scope::Config, Scope::Manage];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Deploy => "deploy",
            Scope::Config => "config",
            Scope::Manage => "manage",
        }
    }

    /// The scope that an action needs.
    pub fn of(action: Action) -> Self {
        match action {
            Action::ViewApp | Action::ReadLogs | Action::WatchHost => Scope::Read,
            Action::FetchCode | Action::Push | Action::Operate | Action::RunCommand => Scope::Deploy,
            Action::ManageConfig | Action::ManageRegistries => Scope::Config,
            Action::CreateApp | Action::ManageMembers | Action::DestroyApp | Action::ManageHost => {
                Scope::Manage
            }
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|scope| scope.name() == given);
        found.ok_or_else(|| Invalid::new("scope", given, "choose read, deploy, config or manage"))
    }
}

/// How far somebody's proof of who they are carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reach {
    /// Everything that the user may do: an SSH key, a session.
    #[default]
    Full,
    /// What an API key names.
    Scopes(Vec<Scope>),
}

impl Reach {
    /// Whether an action falls within it. Whoever may change a thing may look at it.
    pub fn covers(&self, action: Action) -> bool {
        match self {
            Reach::Full => true,
            Reach::Scopes(scopes) => {
                let needed = Scope::of(action);
                scopes.contains(&needed) || (needed == Scope::Read && !scopes.is_empty())
            }
        }
    }
}

/// A key for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id; the part of the key that is no secret.
    pub id: TokenId,
    /// Whose it is.
    pub user: UserId,
    /// What people call it.
    pub name: String,
    /// The digest of its secret part.
    pub digest: SecretDigest,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// When it was made, or last given a new secret.
    pub created_at: UnixMillis,
    /// When it ends; `None`: when it is taken away.
    pub expires_at: Option<UnixMillis>,
    /// When it was last used, to the minute.
    pub used_at: Option<UnixMillis>,
}

/// Lets one person make an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Its id.
    pub id: TokenId,
    /// The only address that it is good for.
    pub email: String,
    /// Whether the new user is to run the whole platform.
    pub is_admin: bool,
    /// A role on an app that the new user gets.
    pub role: Option<(AppName, Role)>,
    /// Who invited.
    pub by: UserId,
    /// The digest of its secret.
    pub digest: SecretDigest,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it ends.
    pub expires_at: UnixMillis,
}

/// What a link in a mail is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkPurpose {
    /// Proves that the address is the user's.
    VerifyEmail,
    /// Sets a new password.
    ResetPassword,
}

/// A secret that was sent by mail, good once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailedLink {
    /// Its id.
    pub id: TokenId,
    /// Whose account it is about.
    pub user: UserId,
    /// The address that it was sent to: it proves nothing about another.
    pub email: String,
    /// What it is for.
    pub purpose: LinkPurpose,
    /// The digest of its secret.
    pub digest: SecretDigest,
    /// When it ends.
    pub expires_at: UnixMillis,
}

/// Who proves identities for others.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// GitHub.
    Github,
    /// Google.
    Google,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Provider; 2] = [Provider::Github, Provider::Google];

    /// Its name in paths and settings.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Github => "github",
            Provider::Google => "google",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|provider| provider.name() == given);
        found.ok_or_else(|| Invalid::new("sign-in provider", given, "choose github or google"))
    }
}

/// An account elsewhere that lets a user in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedAccount {
    /// Where.
    pub provider: Provider,
    /// Its id there, which never changes.
    pub subject: String,
    /// Its name there when it was linked, for people.
    pub name: String,
    /// Whom it lets in.
    pub user: UserId,
    /// When it was linked.
    pub created_at: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reach_covers_its_scopes() {
        assert!(Reach::Full.covers(Action::ManageHost));
        let read = Reach::Scopes(vec![Scope::Read]);
        assert!(read.covers(Action::ReadLogs) && !read.covers(Action::Push));
        let deploy = Reach::Scopes(vec![Scope::Deploy]);
        assert!(deploy.covers(Action::Push) && deploy.covers(Action::ViewApp));
        assert!(!deploy.covers(Action::ManageConfig) && !deploy.covers(Action::CreateApp));
        assert!(!Reach::Scopes(vec![]).covers(Action::ViewApp));
    }

    #[test]
    fn a_signing_key_never_prints_itself() {
        let key = KeptKey { pkcs8: "TUMT".into(), created_at: UnixMillis(7) };
        assert_eq!(format!("{key:?}"), "KeptKey { created_at: UnixMillis(7), .. }");
    }

    #[test]
    fn names_are_written_as_they_are_read() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope);
        }
        for provider in Provider::ALL {
            assert_eq!(provider.to_string().parse::<Provider>().unwrap(), provider);
        }
        assert!("all".parse::<Scope>().is_err() && "gitlab".parse::<Provider>().is_err());
    }
}
