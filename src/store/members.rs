//! Verbs of the members: who may do what with an app besides its owner.

use autostack_domain::{AppName, User, UserId, permission::Role};

use crate::{
    apps,
    error::StoreError,
    record::first_version,
    store::Store,
    tables::{APPS, MEMBERS, USERS},
};

first_version!(Role);

impl Store {
    /// What a user may do with an app: everything if it is theirs, else what was granted. `None` also where
    /// there is no such app.
    pub fn role(&self, app: &AppName, user: &UserId) -> Result<Option<Role>, StoreError> {
        self.read(|txn| match APPS.read(txn)?.get(app.as_str())? {
            None => Ok(None),
            Some(found) if found.owner == *user => Ok(Some(Role::Admin)),
            Some(_) => MEMBERS.read(txn)?.get((app.as_str(), user.as_str())),
        })
    }

    /// Who has a role on an app, with the role: its owner first, then by user.
    pub fn members(&self, app: &AppName) -> Result<Vec<(User, Role)>, StoreError> {
        self.read(|txn| {
            let found = APPS.read(txn)?.get(app.as_str())?;
            let owner = found.ok_or_else(|| StoreError::not_found("app", app))?.owner;
            let range = (app.as_str(), "")..(&apps::after(app), "");
            let granted = MEMBERS
                .read(txn)?
                .map_range::<(&str, &str), _>(range, |(_app, user), role| (user.to_owned(), role))?;
            let users = USERS.read(txn)?;
            let others = granted.into_iter().filter(|(user, _)| user != owner.as_str());
            let mut members = Vec::new();
            for (user, role) in std::iter::once((owner.to_string(), Role::Admin)).chain(others) {
                // Who is not recorded (any more) cannot come.
                members.extend(users.get(user.as_str())?.map(|user| (user, role)));
            }
            Ok(members)
        })
    }

    /// Grants a role, in place of the one before; `None` takes it away. The owner's own cannot be less than
    /// all, so setting it has no effect.
    pub fn set_role(&self, app: &AppName, user: &UserId, role: Option<Role>) -> Result<(), StoreError> {
        self.write(|txn| {
            apps::get(txn, app)?;
            let mut members = MEMBERS.write(txn)?;
            let key = (app.as_str(), user.as_str());
            match role {
                Some(role) => {
                    let known = USERS.write(txn)?.get(user.as_str())?.is_some();
                    if !known {
                        return Err(StoreError::not_found("user", user));
                    }
                    members.put(key, &role)
                }
                None => members.remove(key).map(|_| ()),
            }
        })
    }
}
