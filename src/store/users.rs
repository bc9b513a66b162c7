//! Verbs of the users.

use autostack_domain::{User, UserId};
use redb::{ReadableTable, WriteTransaction};

use crate::{
    error::StoreError,
    record::first_version,
    store::Store,
    tables::{USERS, USERS_BY_EMAIL},
};

first_version!(User);

impl Store {
    /// Records a new user; [`StoreError::Exists`] if the id or the address (in any case) is taken.
    pub fn create_user(&self, user: &User) -> Result<(), StoreError> {
        self.write(|txn| create(txn, user))
    }

    /// Changes a user. The id and the address stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a user, [`StoreError::Conflict`] for another id or address.
    pub fn update_user(&self, id: &UserId, change: impl FnOnce(&mut User)) -> Result<User, StoreError> {
        self.write(|txn| {
            let mut users = USERS.write(txn)?;
            let before = users.get(id.as_str())?.ok_or_else(|| StoreError::not_found("user", id))?;
            let mut after = before.clone();
            change(&mut after);
            if (&after.id, &after.email) != (&before.id, &before.email) {
                return Err(StoreError::conflict("user", id, "id and address are fixed"));
            }
            users.put(id.as_str(), &after)?;
            Ok(after)
        })
    }

    /// A user.
    pub fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        self.read(|txn| USERS.read(txn)?.get(id.as_str()))
    }

    /// The user with an address, in any case.
    pub fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError> {
        self.read(|txn| {
            let by_email = txn.open_table(USERS_BY_EMAIL)?;
            match by_email.get(email.to_lowercase().as_str())? {
                Some(id) => USERS.read(txn)?.get(id.value()),
                None => Ok(None),
            }
        })
    }

    /// All users, by id.
    pub fn users(&self) -> Result<Vec<User>, StoreError> {
        self.read(|txn| USERS.read(txn)?.range::<&str>(..))
    }
}

/// Records a new user.
pub(crate) fn create(txn: &WriteTransaction, user: &User) -> Result<(), StoreError> {
    let mut users = USERS.write(txn)?;
    if users.get(user.id.as_str())?.is_some() {
        return Err(StoreError::exists("user", &user.id));
    }
    let mut by_email = txn.open_table(USERS_BY_EMAIL)?;
    let email = user.email.to_lowercase();
    if by_email.get(email.as_str())?.is_some() {
        return Err(StoreError::exists("user", &email));
    }
    by_email.insert(email.as_str(), user.id.as_str())?;
    users.put(user.id.as_str(), user)
}
