//! Verbs of the one-offs: those that have begun and not ended, and how many an app has had.

use autostack_domain::{AppName, OneOff, OneOffNumber, limits};
use redb::{ReadableTable, WriteTransaction};

use crate::{
    apps,
    error::StoreError,
    record::first_version,
    store::Store,
    tables::{ONE_OFF_COUNTS, ONE_OFFS},
};

first_version!(OneOff);

impl Store {
    /// Records a one-off that is about to start; `make` is told its number, which no other of the app has or had.
    /// `None` where [`limits::ONE_OFFS_PER_APP_MAX`] have not ended.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an app that is not there.
    pub fn begin_one_off(
        &self,
        app: &AppName,
        make: impl FnOnce(OneOffNumber) -> OneOff,
    ) -> Result<Option<OneOff>, StoreError> {
        self.write(|txn| {
            apps::get(txn, app)?;
            let mut rows = ONE_OFFS.write(txn)?;
            let running = rows.range::<(&str, u32)>((app.as_str(), 0)..=(app.as_str(), u32::MAX))?.len();
            if running >= limits::ONE_OFFS_PER_APP_MAX {
                return Ok(None);
            }
            let mut counts = txn.open_table(ONE_OFF_COUNTS)?;
            let last = counts.get(app.as_str())?.map_or(0, |last| last.value());
            let number = OneOffNumber(last.wrapping_add(1).max(1));
            counts.insert(app.as_str(), number.0)?;
            let one_off = make(number);
            rows.put((app.as_str(), number.0), &one_off)?;
            Ok(Some(one_off))
        })
    }

    /// A one-off has ended. Whether it was still recorded.
    pub fn end_one_off(&self, app: &AppName, number: OneOffNumber) -> Result<bool, StoreError> {
        self.write(|txn| ONE_OFFS.write(txn)?.remove((app.as_str(), number.0)))
    }

    /// The one-offs of an app that have not ended, oldest first.
    pub fn one_offs_of(&self, app: &AppName) -> Result<Vec<OneOff>, StoreError> {
        let app = app.as_str();
        self.read(|txn| ONE_OFFS.read(txn)?.range::<(&str, u32)>((app, 0)..=(app, u32::MAX)))
    }

    /// All one-offs that have not ended, by app.
    pub fn one_offs(&self) -> Result<Vec<OneOff>, StoreError> {
        self.read(|txn| ONE_OFFS.read(txn)?.range::<(&str, u32)>(..))
    }
}

/// Forgets the one-offs of an app that goes.
pub(crate) fn remove_all(txn: &WriteTransaction, app: &AppName) -> Result<(), StoreError> {
    let app = app.as_str();
    ONE_OFFS.write(txn)?.remove_range((app, 0)..=(app, u32::MAX))?;
    txn.open_table(ONE_OFF_COUNTS)?.remove(app)?;
    Ok(())
}

/// Moves the count of an app to its new name; refused while a one-off runs, which knows the old one.
pub(crate) fn rename(txn: &WriteTransaction, old: &AppName, new: &AppName) -> Result<(), StoreError> {
    let rows = ONE_OFFS.write(txn)?.range::<(&str, u32)>((old.as_str(), 0)..=(old.as_str(), u32::MAX))?;
    if let Some(one_off) = rows.first() {
        let why = format!("{} of it runs", one_off.number);
        return Err(StoreError::Conflict { what: "app", name: old.to_string(), why });
    }
    let mut counts = txn.open_table(ONE_OFF_COUNTS)?;
    let last = counts.remove(old.as_str())?.map(|last| last.value());
    if let Some(last) = last {
        counts.insert(new.as_str(), last)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use autostack_domain::{App, InstanceId, ProcessType, ReleaseNumber, UnixMillis};

    use super::*;

    fn begin(store: &Store, app: &AppName) -> Option<OneOff> {
        let make = |number: OneOffNumber| OneOff {
            app: app.clone(),
            number,
            instance: InstanceId::compose(app, &ProcessType::run(), number.0, 7),
            release: ReleaseNumber(1),
            command: Some("echo".into()),
            started_by: "ada".into(),
            started_at: UnixMillis(5),
            is_attached: true,
            cron: None,
        };
        store.begin_one_off(app, make).unwrap()
    }

    #[test]
    fn numbers_are_never_given_twice_and_only_so_many_run_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), &dir.path().join("key")).unwrap();
        let (shop, mall): (AppName, AppName) = ("shop".parse().unwrap(), "mall".parse().unwrap());
        let owner: autostack_domain::UserId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        for app in [&shop, &mall] {
            store.create_app(&App::new(app.clone(), owner.clone(), UnixMillis(1))).unwrap();
        }
        for number in 1..=limits::ONE_OFFS_PER_APP_MAX {
            assert_eq!(begin(&store, &shop).unwrap().number.0 as usize, number);
        }
        assert_eq!(begin(&store, &shop), None);
        assert_eq!(begin(&store, &mall).unwrap().number.0, 1, "each app has its own");
        assert!(store.end_one_off(&shop, OneOffNumber(2)).unwrap());
        assert!(!store.end_one_off(&shop, OneOffNumber(2)).unwrap());
        assert_eq!(begin(&store, &shop).unwrap().number.0 as usize, limits::ONE_OFFS_PER_APP_MAX + 1);
        assert_eq!(store.one_offs().unwrap().len(), limits::ONE_OFFS_PER_APP_MAX + 1);
        let new = "market".parse().unwrap();
        assert!(matches!(store.rename_app(&mall, &new), Err(StoreError::Conflict { .. })));
        store.end_one_off(&mall, OneOffNumber(1)).unwrap();
        store.rename_app(&mall, &new).unwrap();
        assert_eq!(begin(&store, &new).unwrap().number.0, 2, "its count goes with it");
        store.destroy_app(&new).unwrap();
        assert_eq!(store.one_offs_of(&new).unwrap(), []);
        assert_eq!(store.one_offs_of(&shop).unwrap().len(), limits::ONE_OFFS_PER_APP_MAX);
    }
}
