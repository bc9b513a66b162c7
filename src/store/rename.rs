//! The verbs that give an app another name, and that make a twin of one: everything that is recorded, in one
//! transaction. Files follow; a crash in between is seen in [`Store::unfinished_renames`].
//!
//! A table with an app in its key belongs into [`Store::rename_app`] and into [`Store::destroy_app`].

use autostack_domain::{App, AppName, Release, ReleaseNumber};
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::{
    apps, cron_runs, deployments,
    error::StoreError,
    one_offs,
    seal::Belonging,
    store::Store,
    tables::{
        APPS, CONFIG, DEPLOYMENTS, DEPLOYMENTS_BY_APP, MEMBERS, REGISTRY_LOGINS, RELEASE_CONFIG, RELEASES,
        RENAMES,
    },
};

/// The number of a twin's first release.
const FIRST: ReleaseNumber = ReleaseNumber(1);

/// A value as it stands under the old name, and what it belongs to, becomes what stands under the new one.
type Moved = Result<Vec<u8>, StoreError>;

impl Store {
    /// Gives an app another name, with all that is recorded of it.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the new name is taken; [`StoreError::Conflict`] while a deployment or a one-off of the app
    /// is not finished, or files of an earlier renaming still stand under one of the names.
    pub fn rename_app(&self, old: &AppName, new: &AppName) -> Result<App, StoreError> {
        self.write(|txn| {
            let mut app = apps::get(txn, old)?;
            check_free(txn, new)?;
            let mut renames = txn.open_table(RENAMES)?;
            if renames.get(old.as_str())?.is_some() {
                return Err(StoreError::conflict("app", old, "its files are still being moved"));
            }
            renames.insert(new.as_str(), old.as_str())?;
            app.name = new.clone();
            let mut rows = APPS.write(txn)?;
            rows.remove(old.as_str())?;
            rows.put(new.as_str(), &app)?;
            drop(rows);
            move_members(txn, old, new)?;
            self.move_config(txn, old, new)?;
            self.move_certificate(txn, old, new)?;
            self.move_logins(txn, old, new)?;
            self.move_releases(txn, old, new)?;
            move_deployments(txn, old, new)?;
            one_offs::rename(txn, old, new)?;
            cron_runs::rename(txn, old, new)?;
            Ok(app)
        })
    }

    /// Renamings, as old and new name, whose files may not all stand under the new name yet.
    pub fn unfinished_renames(&self) -> Result<Vec<(AppName, AppName)>, StoreError> {
        self.read(|txn| {
            let mut found = Vec::new();
            for row in txn.open_table(RENAMES)?.iter()? {
                let (new, old) = row?;
                // Only names that parsed were ever stored.
                if let (Ok(old), Ok(new)) = (old.value().parse(), new.value().parse()) {
                    found.push((old, new));
                }
            }
            Ok(found)
        })
    }

    /// All files stand under the new name.
    pub fn finish_rename(&self, new: &AppName) -> Result<(), StoreError> {
        self.write(|txn| {
            txn.open_table(RENAMES)?.remove(new.as_str())?;
            Ok(())
        })
    }

    /// Records a new app that has the config, and the logins at registries, of another one, and as its first release
    /// that one of the other's. Its artifact has to stand under the new name already.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if its name is taken; [`StoreError::NotFound`] if the release is not there any more.
    pub fn create_twin(&self, of: &AppName, app: &App, live: Option<&Release>) -> Result<(), StoreError> {
        self.write(|txn| {
            apps::get(txn, of)?;
            check_free(txn, &app.name)?;
            let mut app = app.clone();
            if let Some(release) = live {
                app.current_release = Some(FIRST);
                app.last_release = FIRST.0;
                self.copy_release(txn, of, &app.name, release)?;
            }
            APPS.write(txn)?.put(app.name.as_str(), &app)?;
            let mut configs = txn.open_table(CONFIG)?;
            let sealed = configs.get(of.as_str())?.map(|sealed| sealed.value().to_vec());
            if let Some(sealed) = sealed {
                let (from, to) = (Belonging::Config(of), Belonging::Config(&app.name));
                configs.insert(app.name.as_str(), self.reseal(from, to, &sealed)?.as_slice())?;
            }
            drop(configs);
            for (registry, sealed) in self.resealed_logins(txn, of, &app.name)? {
                let key = (app.name.as_str(), registry.as_str());
                txn.open_table(REGISTRY_LOGINS)?.insert(key, sealed.as_slice())?;
            }
            Ok(())
        })
    }

    fn move_config(&self, txn: &WriteTransaction, old: &AppName, new: &AppName) -> Result<(), StoreError> {
        let mut configs = txn.open_table(CONFIG)?;
        let taken = configs.remove(old.as_str())?.map(|sealed| sealed.value().to_vec());
        if let Some(sealed) = taken {
            let sealed = self.reseal(Belonging::Config(old), Belonging::Config(new), &sealed)?;
            configs.insert(new.as_str(), sealed.as_slice())?;
        }
        Ok(())
    }

    fn move_logins(&self, txn: &WriteTransaction, old: &AppName, new: &AppName) -> Result<(), StoreError> {
        let resealed = self.resealed_logins(txn, old, new)?;
        let mut logins = txn.open_table(REGISTRY_LOGINS)?;
        for (registry, sealed) in resealed {
            logins.remove((old.as_str(), registry.as_str()))?;
            logins.insert((new.as_str(), registry.as_str()), sealed.as_slice())?;
        }
        Ok(())
    }

    /// The logins of an app by registry, sealed for another one.
    fn resealed_logins(
        &self,
        txn: &WriteTransaction,
        of: &AppName,
        to: &AppName,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let logins = pairs(txn, REGISTRY_LOGINS, of)?;
        let reseal = |(registry, sealed): (String, Vec<u8>)| {
            let name = registry.parse().map_err(|_| StoreError::not_found("registry", &registry))?;
            let (from, to) =
                (Belonging::RegistryLogin(Some(of), &name), Belonging::RegistryLogin(Some(to), &name));
            Ok((registry, self.reseal(from, to, &sealed)?))
        };
        logins.into_iter().map(reseal).collect()
    }

    fn move_releases(&self, txn: &WriteTransaction, old: &AppName, new: &AppName) -> Result<(), StoreError> {
        let mut rows = RELEASES.write(txn)?;
        let mut configs = txn.open_table(RELEASE_CONFIG)?;
        for mut release in rows.range::<(&str, u32)>((old.as_str(), 0)..=(old.as_str(), u32::MAX))? {
            let number = release.number;
            release.app = new.clone();
            rows.remove((old.as_str(), number.0))?;
            rows.put((new.as_str(), number.0), &release)?;
            let taken = configs.remove((old.as_str(), number.0))?.map(|sealed| sealed.value().to_vec());
            if let Some(sealed) = taken {
                let sealed = self.reseal_release(old, new, number, &sealed)?;
                configs.insert((new.as_str(), number.0), sealed.as_slice())?;
            }
        }
        Ok(())
    }

    fn reseal_release(&self, old: &AppName, new: &AppName, number: ReleaseNumber, sealed: &[u8]) -> Moved {
        self.reseal(Belonging::ReleaseConfig(old, number), Belonging::ReleaseConfig(new, number), sealed)
    }

    /// The release of one app as the first one of another.
    fn copy_release(
        &self,
        txn: &WriteTransaction,
        of: &AppName,
        to: &AppName,
        release: &Release,
    ) -> Result<(), StoreError> {
        let mut configs = txn.open_table(RELEASE_CONFIG)?;
        let sealed = configs.get((of.as_str(), release.number.0))?.map(|sealed| sealed.value().to_vec());
        let sealed = sealed.ok_or_else(|| StoreError::not_found("release", &release.number))?;
        let (from, into) =
            (Belonging::ReleaseConfig(of, release.number), Belonging::ReleaseConfig(to, FIRST));
        configs.insert((to.as_str(), FIRST.0), self.reseal(from, into, &sealed)?.as_slice())?;
        let first = Release { app: to.clone(), number: FIRST, again: None, ..release.clone() };
        RELEASES.write(txn)?.put((to.as_str(), FIRST.0), &first)
    }

    fn reseal(&self, from: Belonging<'_>, to: Belonging<'_>, sealed: &[u8]) -> Moved {
        self.sealer().seal(to, &self.sealer().open(from, sealed)?)
    }
}

/// Refuses a name that an app has, or under which files of a renamed one still stand.
pub(crate) fn check_free(txn: &WriteTransaction, name: &AppName) -> Result<(), StoreError> {
    if APPS.write(txn)?.get(name.as_str())?.is_some() {
        return Err(StoreError::exists("app", name));
    }
    let renames = txn.open_table(RENAMES)?;
    for row in renames.iter()? {
        if row?.1.value() == name.as_str() {
            return Err(StoreError::conflict("app", name, "files of a renamed app are still being moved"));
        }
    }
    Ok(())
}

fn move_members(txn: &WriteTransaction, old: &AppName, new: &AppName) -> Result<(), StoreError> {
    let mut rows = MEMBERS.write(txn)?;
    let range = (old.as_str(), "")..(&apps::after(old), "");
    let members = rows.map_range::<(&str, &str), _>(range, |(_app, user), role| (user.to_owned(), role))?;
    for (user, role) in members {
        rows.remove((old.as_str(), user.as_str()))?;
        rows.put((new.as_str(), user.as_str()), &role)?;
    }
    Ok(())
}

fn move_deployments(txn: &WriteTransaction, old: &AppName, new: &AppName) -> Result<(), StoreError> {
    for (created_at, id) in deployments::newest_first(txn, old)? {
        let mut deployment = deployments::get(txn, &id)?;
        if !deployment.state.is_final() {
            return Err(StoreError::conflict("app", old, "a deployment of it is under way"));
        }
        deployment.app = new.clone();
        DEPLOYMENTS.write(txn)?.put(id.as_str(), &deployment)?;
        let mut by_app = txn.open_table(DEPLOYMENTS_BY_APP)?;
        by_app.remove((old.as_str(), created_at, id.as_str()))?;
        by_app.insert((new.as_str(), created_at, id.as_str()), ())?;
    }
    Ok(())
}

/// The second halves of the keys that begin with an app, and their values.
fn pairs(
    txn: &WriteTransaction,
    table: TableDefinition<(&str, &str), &[u8]>,
    app: &AppName,
) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let table = txn.open_table(table)?;
    let range = table.range((app.as_str(), "")..(apps::after(app).as_str(), ""))?;
    range
        .map(|row| {
            let (key, value) = row?;
            Ok((key.value().1.to_owned(), value.value().to_vec()))
        })
        .collect()
}
