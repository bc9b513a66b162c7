//! Verbs of what an admin has set for every app.

use autostack_domain::HostDefaults;

use crate::{error::StoreError, record::first_version, store::Store, tables::HOST_DEFAULTS};

first_version!(HostDefaults);

/// The one key of the table.
const HOST: &str = "host";

impl Store {
    /// What holds for apps that say nothing else.
    pub fn host_defaults(&self) -> Result<HostDefaults, StoreError> {
        self.read(|txn| Ok(HOST_DEFAULTS.read(txn)?.get(HOST)?.unwrap_or_default()))
    }

    /// Changes that, and gives back what holds now. A change that refuses writes nothing.
    pub fn try_update_host_defaults<E>(
        &self,
        change: impl FnOnce(&mut HostDefaults) -> Result<(), E>,
    ) -> Result<Result<HostDefaults, E>, StoreError> {
        self.write(|txn| {
            let mut table = HOST_DEFAULTS.write(txn)?;
            let mut defaults = table.get(HOST)?.unwrap_or_default();
            if let Err(refused) = change(&mut defaults) {
                return Ok(Err(refused));
            }
            table.put(HOST, &defaults)?;
            Ok(Ok(defaults))
        })
    }
}
