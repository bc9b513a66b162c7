//! What is open: the sessions of a user, and their end.

use std::net::IpAddr;

use autostack_base::clock;
use autostack_domain::{SessionId, UnixMillis, account::Session, permission::Actor};
use autostack_identity::tokens::Use;
use autostack_store::Store;
use serde::Serialize;

use crate::{
    accounts::api_keys::check_full,
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// A session as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// The program that logged in.
    pub agent: String,
    /// When somebody logged in.
    pub created_at: UnixMillis,
    /// When it was last refreshed.
    pub used_at: UnixMillis,
    /// When it ends unless it is refreshed.
    pub expires_at: UnixMillis,
}

impl Platform {
    /// The actor's sessions that are open, the oldest first.
    pub async fn sessions(&self, actor: &Actor) -> Result<Vec<SessionView>, PlatformError> {
        let (user, now) = (actor.user.clone(), clock::now());
        let all = self.parts().store.call(move |store: &Store| store.sessions(&user)).await?;
        let view = |session: Session| SessionView {
            id: session.id,
            agent: session.agent,
            created_at: session.created_at,
            used_at: session.used_at,
            expires_at: session.expires_at,
        };
        Ok(all.into_iter().filter(|session| session.expires_at > now).map(view).collect())
    }

    /// Ends a session of the actor: its tokens open nothing from now on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the actor has no such session.
    pub async fn end_session(&self, actor: &Actor, id: &SessionId) -> Result<(), PlatformError> {
        check_full(actor, "end a session")?;
        let (user, session) = (actor.user.clone(), id.clone());
        let ended =
            self.parts().store.call(move |store: &Store| store.remove_session(&user, &session)).await?;
        if !ended {
            return Err(PlatformError::new(ErrorKind::NotFound, format!("you have no session {id}")));
        }
        self.event(actor, None, "session:end", id.to_string());
        self.rights_changed();
        Ok(())
    }

    /// Ends all sessions of the actor, but for the one that is to be kept.
    pub async fn end_sessions(&self, actor: &Actor, but: Option<&SessionId>) -> Result<(), PlatformError> {
        check_full(actor, "end a session")?;
        let (user, but) = (actor.user.clone(), but.cloned());
        let end = move |store: &Store| store.remove_sessions(&user, but.as_ref());
        self.parts().store.call(end).await?;
        self.event(actor, None, "session:end", "all others");
        self.rights_changed();
        Ok(())
    }

    /// Ends the session of a refresh token. A token that opens nothing is answered alike: whoever logs out is out.
    pub async fn log_out(&self, token: &str, from: Option<IpAddr>) -> Result<(), PlatformError> {
        let Ok(claims) = self.signing_keys().await?.verify(Use::Refresh, token, clock::now()) else {
            return Ok(());
        };
        let (user, session) = (claims.user.clone(), claims.session.clone());
        let end = move |store: &Store| Ok((store.remove_session(&user, &session)?, store.user(&user)?));
        if let (true, Some(user)) = self.parts().store.call(end).await? {
            self.event(&self.actor(&user, None, from), None, "session:end", claims.session.to_string());
            self.rights_changed();
        }
        Ok(())
    }

    /// Returns when a session has ended, or its user's rights have changed.
    pub async fn until_session_ends(&self, actor: &Actor, id: &SessionId) {
        let mut changes = self.watch_rights();
        loop {
            let (user, session) = (actor.user.clone(), id.clone());
            let read =
                move |store: &Store| Ok((store.session(&user, &session)?.is_some(), store.user(&user)?));
            match self.parts().store.call(read).await {
                Ok((true, Some(user))) if user.is_admin == actor.is_admin => {}
                // A store that cannot be read locks nobody out.
                Err(_) => {}
                Ok(_) => return,
            }
            changes.next().await;
        }
    }
}
