//! Verbs of what is good once: invitations, and links that were sent by mail.

use autostack_domain::{
    AppName, TokenId, UnixMillis, User,
    account::{Credentials, Invitation, LinkPurpose, MailedLink},
    limits,
    names::UserId,
    permission::Role,
};
use redb::WriteTransaction;

use crate::{
    error::StoreError,
    record::first_version,
    seal::Belonging,
    store::Store,
    tables::{APPS, CREDENTIALS, INVITATIONS, MAILED_LINKS, MEMBERS},
    users,
};

first_version!(Invitation, MailedLink);

impl Store {
    /// Records an invitation, in place of an earlier one of the same address. Those whose time is over are removed.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for one too many.
    pub fn add_invitation(&self, invitation: &Invitation) -> Result<(), StoreError> {
        self.write(|txn| {
            let mut rows = INVITATIONS.write(txn)?;
            let mut others = 0;
            for other in rows.range::<&str>(..)? {
                if other.email == invitation.email || other.expires_at <= invitation.created_at {
                    rows.remove(other.id.as_str())?;
                } else {
                    others += 1;
                }
            }
            if others >= limits::INVITATIONS_MAX {
                let why = format!("there are {} already", limits::INVITATIONS_MAX);
                return Err(StoreError::Conflict {
                    what: "invitations",
                    name: invitation.email.clone(),
                    why,
                });
            }
            rows.put(invitation.id.as_str(), invitation)
        })
    }

    /// All invitations, by id, which is by age.
    pub fn invitations(&self) -> Result<Vec<Invitation>, StoreError> {
        self.read(|txn| INVITATIONS.read(txn)?.range::<&str>(..))
    }

    /// Takes an invitation away.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without one of that id.
    pub fn remove_invitation(&self, id: &TokenId) -> Result<Invitation, StoreError> {
        self.write(|txn| {
            let mut rows = INVITATIONS.write(txn)?;
            let found = rows.get(id.as_str())?.ok_or_else(|| StoreError::not_found("invitation", id))?;
            rows.remove(id.as_str())?;
            Ok(found)
        })
    }

    /// Makes a user with what they prove themselves with; by an invitation, which is used up, where one is named.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the invitation is not there (any more), [`StoreError::Exists`] when the address is
    /// taken; nothing has changed then.
    pub fn sign_up(
        &self,
        user: &User,
        credentials: &Credentials,
        invitation: Option<&TokenId>,
    ) -> Result<(), StoreError> {
        let belonging = Belonging::Credentials(&user.id);
        let sealed = self.sealer().seal_record(belonging, credentials)?;
        self.write(|txn| {
            if let Some(id) = invitation {
                let mut rows = INVITATIONS.write(txn)?;
                let used = rows.get(id.as_str())?.ok_or_else(|| StoreError::not_found("invitation", id))?;
                rows.remove(id.as_str())?;
                drop(rows);
                users::create(txn, user)?;
                if let Some((app, role)) = &used.role {
                    grant(txn, app, &user.id, *role)?;
                }
            } else {
                users::create(txn, user)?;
            }
            txn.open_table(CREDENTIALS)?.insert(user.id.as_str(), sealed.as_slice())?;
            Ok(())
        })
    }

    /// Records a link, in place of an earlier one of the same user for the same purpose. Those whose time is over are removed.
    pub fn add_link(&self, link: &MailedLink, now: UnixMillis) -> Result<(), StoreError> {
        self.write(|txn| {
            let mut rows = MAILED_LINKS.write(txn)?;
            for other in rows.range::<&str>(..)? {
                let replaced = other.user == link.user && other.purpose == link.purpose;
                if replaced || other.expires_at <= now {
                    rows.remove(other.id.as_str())?;
                }
            }
            rows.put(link.id.as_str(), link)
        })
    }

    /// Uses up a link that `fits`; `None` where there is none.
    pub fn take_link(
        &self,
        id: &TokenId,
        purpose: LinkPurpose,
        fits: impl FnOnce(&MailedLink) -> bool,
    ) -> Result<Option<MailedLink>, StoreError> {
        self.write(|txn| {
            let mut rows = MAILED_LINKS.write(txn)?;
            match rows.get(id.as_str())? {
                Some(link) if link.purpose == purpose && fits(&link) => {
                    rows.remove(id.as_str())?;
                    Ok(Some(link))
                }
                Some(_) | None => Ok(None),
            }
        })
    }
}

/// An app that is gone by now gives nobody a role.
fn grant(txn: &WriteTransaction, app: &AppName, user: &UserId, role: Role) -> Result<(), StoreError> {
    if APPS.write(txn)?.get(app.as_str())?.is_some() {
        MEMBERS.write(txn)?.put((app.as_str(), user.as_str()), &role)?;
    }
    Ok(())
}
