//! Verbs of the accounts elsewhere that let a user in.

use autostack_domain::{
    UserId,
    account::{LinkedAccount, Provider},
};

use crate::{
    error::StoreError,
    record::first_version,
    store::Store,
    tables::{LINKED_ACCOUNTS, USERS},
};

first_version!(LinkedAccount);

impl Store {
    /// Links an account elsewhere to a user.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a user, [`StoreError::Exists`] when that account lets somebody in already.
    pub fn link_account(&self, account: &LinkedAccount) -> Result<(), StoreError> {
        self.write(|txn| {
            if USERS.write(txn)?.get(account.user.as_str())?.is_none() {
                return Err(StoreError::not_found("user", &account.user));
            }
            let mut rows = LINKED_ACCOUNTS.write(txn)?;
            let key = (account.provider.name(), account.subject.as_str());
            if rows.get(key)?.is_some() {
                return Err(StoreError::exists("linked account", &account.name));
            }
            rows.put(key, account)
        })
    }

    /// The link of an account elsewhere.
    pub fn linked_account(
        &self,
        provider: Provider,
        subject: &str,
    ) -> Result<Option<LinkedAccount>, StoreError> {
        self.read(|txn| LINKED_ACCOUNTS.read(txn)?.get((provider.name(), subject)))
    }

    /// The accounts elsewhere that let a user in.
    pub fn linked_accounts(&self, user: &UserId) -> Result<Vec<LinkedAccount>, StoreError> {
        let all = self.read(|txn| LINKED_ACCOUNTS.read(txn)?.range::<(&str, &str)>(..))?;
        Ok(all.into_iter().filter(|account| account.user == *user).collect())
    }

    /// Unlinks the accounts of a user at a provider. Whether there was one.
    pub fn unlink_accounts(&self, user: &UserId, provider: Provider) -> Result<bool, StoreError> {
        self.write(|txn| {
            let mut rows = LINKED_ACCOUNTS.write(txn)?;
            let all = rows.range::<(&str, &str)>(..)?;
            let own = all.into_iter().filter(|account| account.user == *user && account.provider == provider);
            let mut removed = false;
            for account in own {
                removed |= rows.remove((provider.name(), account.subject.as_str()))?;
            }
            Ok(removed)
        })
    }
}
