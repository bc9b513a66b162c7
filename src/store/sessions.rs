//! Verbs of the sessions: logins that last, each known by its id.

use autostack_domain::{SessionId, UnixMillis, UserId, account::Session, limits};

use crate::{
    error::StoreError,
    record::first_version,
    store::Store,
    tables::{SESSIONS, USERS},
};

first_version!(Session);

/// What the use of a refresh token comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// The session goes on, as it is now.
    Next(Session),
    /// The token had been used before: somebody else has it too. The session has ended.
    Replayed(Session),
    /// There is no such session (any more).
    Gone,
}

impl Store {
    /// Records a new session; beyond [`limits::SESSIONS_PER_USER_MAX`] the one that was not used for the longest time ends.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a user.
    pub fn create_session(&self, session: &Session) -> Result<(), StoreError> {
        self.write(|txn| {
            if USERS.write(txn)?.get(session.user.as_str())?.is_none() {
                return Err(StoreError::not_found("user", &session.user));
            }
            let mut rows = SESSIONS.write(txn)?;
            rows.put((session.user.as_str(), session.id.as_str()), session)?;
            let mut all = rows.range::<(&str, &str)>(of(&session.user))?;
            all.sort_by_key(|session| session.used_at);
            let surplus = all.len().saturating_sub(limits::SESSIONS_PER_USER_MAX);
            for old in all.iter().take(surplus) {
                rows.remove((old.user.as_str(), old.id.as_str()))?;
            }
            Ok(())
        })
    }

    /// A session of a user.
    pub fn session(&self, user: &UserId, id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.read(|txn| SESSIONS.read(txn)?.get((user.as_str(), id.as_str())))
    }

    /// The sessions of a user, by id.
    pub fn sessions(&self, user: &UserId) -> Result<Vec<Session>, StoreError> {
        self.read(|txn| SESSIONS.read(txn)?.range::<(&str, &str)>(of(user)))
    }

    /// Uses the refresh token of a generation: the newest takes the session on, an older one ends it.
    pub fn refresh_session(
        &self,
        (user, id): (&UserId, &SessionId),
        generation: u32,
        now: UnixMillis,
        expires_at: UnixMillis,
    ) -> Result<Refreshed, StoreError> {
        self.write(|txn| {
            let key = (user.as_str(), id.as_str());
            let mut rows = SESSIONS.write(txn)?;
            let Some(session) = rows.get(key)? else { return Ok(Refreshed::Gone) };
            if session.generation != generation {
                rows.remove(key)?;
                return Ok(Refreshed::Replayed(session));
            }
            let next =
                Session { generation: generation.saturating_add(1), used_at: now, expires_at, ..session };
            rows.put(key, &next)?;
            Ok(Refreshed::Next(next))
        })
    }

    /// Ends a session. Whether there was one.
    pub fn remove_session(&self, user: &UserId, id: &SessionId) -> Result<bool, StoreError> {
        self.write(|txn| SESSIONS.write(txn)?.remove((user.as_str(), id.as_str())))
    }

    /// Ends the sessions of a user, but for the one that is to be kept.
    pub fn remove_sessions(&self, user: &UserId, but: Option<&SessionId>) -> Result<(), StoreError> {
        self.write(|txn| {
            let mut rows = SESSIONS.write(txn)?;
            for session in rows.range::<(&str, &str)>(of(user))? {
                if but != Some(&session.id) {
                    rows.remove((user.as_str(), session.id.as_str()))?;
                }
            }
            Ok(())
        })
    }
}

/// The keys of everything that belongs to a user; ids sort before `~`.
pub(crate) fn of(user: &UserId) -> std::ops::Range<(&str, &str)> {
    (user.as_str(), "")..(user.as_str(), "~")
}
