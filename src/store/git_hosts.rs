//! Verbs of the hosts that an admin lets apps fetch from beside the public Internet.

use autostack_domain::{RemoteHost, limits};
use redb::{ReadableTable, ReadableTableMetadata};

use crate::{error::StoreError, store::Store, tables::GIT_HOSTS};

impl Store {
    /// Lets apps fetch from a host; one that is named already is fine.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for one host too many.
    pub fn allow_git_host(&self, host: &RemoteHost) -> Result<(), StoreError> {
        self.write(|txn| {
            let mut hosts = txn.open_table(GIT_HOSTS)?;
            hosts.insert(host.to_string().as_str(), ())?;
            if hosts.len()? > limits::GIT_HOSTS_MAX as u64 {
                let why = format!("there are {} already", limits::GIT_HOSTS_MAX);
                return Err(StoreError::Conflict { what: "allowed hosts", name: "the host".to_owned(), why });
            }
            Ok(())
        })
    }

    /// Takes that back. Whether the host was named.
    pub fn forbid_git_host(&self, host: &RemoteHost) -> Result<bool, StoreError> {
        self.write(|txn| Ok(txn.open_table(GIT_HOSTS)?.remove(host.to_string().as_str())?.is_some()))
    }

    /// The hosts that are named, in order.
    pub fn git_hosts(&self) -> Result<Vec<RemoteHost>, StoreError> {
        self.read(|txn| {
            let mut found = Vec::new();
            for row in txn.open_table(GIT_HOSTS)?.iter()? {
                let (host, ()) = row.map(|(host, value)| (host, value.value()))?;
                // Only hosts that parsed were ever stored.
                found.extend(host.value().parse::<RemoteHost>());
            }
            Ok(found)
        })
    }
}
