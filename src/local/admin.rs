//! The operator's messages.

use std::io;

use autostack_domain::By;
use autostack_platform::{Platform, PlatformError};
use tokio::{io::AsyncWriteExt, net::unix::OwnedWriteHalf};

use crate::protocol::{AdminReply, AdminRequest, invalid};

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
        AdminRequest::UserAdd { email, admin } => {
            let user = platform.add_user(&email, admin).await?;
            let role = if user.is_admin { "admin" } else { "user" };
            platform.event(By::Operator, None, "user:add", format!("{role} {}", user.email));
            Ok(AdminReply::Done(format!("Added {role} {}.", user.email)))
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
        AdminRequest::Status => {
            let status = platform.status().await?;
            let value = serde_json::to_value(status);
            value.map(AdminReply::Status).map_err(|error| {
                PlatformError::new(autostack_platform::ErrorKind::Internal, error.to_string())
            })
        }
    }
}
