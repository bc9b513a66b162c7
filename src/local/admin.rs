//! The operator's messages.

use std::{io, time::Duration};

use autostack_domain::{By, Secret, account::Scope};
use autostack_platform::{NewApiKey, Platform, PlatformError};
use tokio::{io::AsyncWriteExt, net::unix::OwnedWriteHalf};

use crate::protocol::{AdminReply, AdminRequest, invalid};

/// 24 hours.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Does what is asked and says so.
pub(crate) async fn answer(
    platform: &Platform,
    request: AdminRequest,
    mut write: OwnedWriteHalf,
) -> io::Result<()> {
    let reply = carry_out(platform, request).await.unwrap_or_else(|error| AdminReply::Refused {
        exit_code: error.exit_code(),
        message: error.message,
        hint: error.hint,
    });
    write.write_all(&reply.encode().map_err(invalid)?).await
}

async fn carry_out(platform: &Platform, request: AdminRequest) -> Result<AdminReply, PlatformError> {
    match request {
        AdminRequest::UserAdd { email, admin, password } => {
            let (user, made) =
                platform.add_user_with_password(&email, admin, password.map(Secret::new)).await?;
            let role = if user.is_admin { "admin" } else { "user" };
            platform.event(By::Operator, None, "user:add", format!("{role} {}", user.email));
            Ok(AdminReply::Done(with_password(format!("Added {role} {}.", user.email), made.as_ref())))
        }
        AdminRequest::UserPassword { email, password } => {
            let made = platform.reset_password(&email, password.map(Secret::new)).await?;
            platform.event(By::Operator, None, "user:password", email.clone());
            let done = format!("{email} has a new password, and has to log in again everywhere.");
            Ok(AdminReply::Done(with_password(done, made.as_ref())))
        }
        AdminRequest::KeyAdd { name, user, public_key } => {
            let key = platform.add_key(&name, user.as_deref(), &public_key).await?;
            platform.event(By::Operator, None, "ssh-keys:add", format!("{} {}", key.name, key.fingerprint));
            Ok(AdminReply::Done(format!("Added key {} ({}).", key.name, key.fingerprint)))
        }
        AdminRequest::KeyList => {
            let keys = platform.keys().await?;
            let lines = keys.iter().map(|(key, email)| format!("{}  {email}  {}", key.fingerprint, key.name));
            Ok(AdminReply::Done(lines.collect::<Vec<_>>().join("\n")))
        }
        AdminRequest::KeyRemove { fingerprint } => {
            let key = platform.remove_key(&fingerprint).await?;
            platform.event(
                By::Operator,
                None,
                "ssh-keys:remove",
                format!("{} {}", key.name, key.fingerprint),
            );
            Ok(AdminReply::Done(format!("Removed key {} ({}).", key.name, key.fingerprint)))
        }
        AdminRequest::TokenCreate { name, user, scopes, days } => {
            let scopes = if scopes.is_empty() { Scope::ALL.to_vec() } else { scopes };
            let ttl = days.map(|days| DAY.saturating_mul(days));
            let wanted = NewApiKey { name, scopes, ttl };
            let (_view, secret) = platform.issue_api_key(user.as_deref(), wanted).await?;
            Ok(AdminReply::Done(secret.expose().clone()))
        }
        AdminRequest::Status => {
            let status = platform.status().await?;
            let value = serde_json::to_value(status);
            value.map(AdminReply::Status).map_err(|error| {
                PlatformError::new(autostack_platform::ErrorKind::Internal, error.to_string())
            })
        }
    }
}

/// What was done, and the password that was made for it, which is told this once.
fn with_password(done: String, made: Option<&Secret<String>>) -> String {
    match made {
        Some(password) => format!("{done}\nPassword: {}", password.expose()),
        None => done,
    }
}
