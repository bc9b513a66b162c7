//! Every table of the store: its key, its record, and what it is for. To add a table, declare it here and
//! in [`create_all`]; a change that an older agent would misread raises [`LAYOUT`].

use autostack_domain::{
    App, Deployment, HostDefaults, OneOff, Release, SshKeyRecord, User,
    account::{ApiKey, Invitation, LinkedAccount, MailedLink, Session},
    cron::CronRun,
    permission::Role,
    storage::StorageDirectory,
};
use redb::{TableDefinition, WriteTransaction};

use crate::{error::StoreError, rows::Records};

// The truth, by …
/// … app.
pub(crate) const APPS: Records<&str, App> = Records::new("apps");
/// … app and user; the owner is in the app's own record.
pub(crate) const MEMBERS: Records<(&str, &str), Role> = Records::new("members");
/// … user.
pub(crate) const USERS: Records<&str, User> = Records::new("users");
/// … fingerprint.
pub(crate) const SSH_KEYS: Records<&str, SshKeyRecord> = Records::new("ssh_keys");
/// … app and number.
pub(crate) const RELEASES: Records<(&str, u32), Release> = Records::new("releases");
/// … deployment.
pub(crate) const DEPLOYMENTS: Records<&str, Deployment> = Records::new("deployments");
/// … app and number: one-offs that have begun and not ended.
pub(crate) const ONE_OFFS: Records<(&str, u32), OneOff> = Records::new("one_offs");
/// … app: the number of its last one-off.
pub(crate) const ONE_OFF_COUNTS: TableDefinition<&str, u32> = TableDefinition::new("one_off_counts");
/// … app, moment in Unix milliseconds and task: runs of cron tasks, under way and ended.
pub(crate) const CRON_RUNS: Records<(&str, i64, &str), CronRun> = Records::new("cron_runs");
/// … name of a storage directory, which belongs to a person and not to an app.
pub(crate) const STORAGE: Records<&str, StorageDirectory> = Records::new("storage_directories");

/// … user and session: logins that last.
pub(crate) const SESSIONS: Records<(&str, &str), Session> = Records::new("sessions");
/// … id: keys for programs.
pub(crate) const API_KEYS: Records<&str, ApiKey> = Records::new("api_keys");
/// … id.
pub(crate) const INVITATIONS: Records<&str, Invitation> = Records::new("invitations");
/// … id: links that were sent by mail.
pub(crate) const MAILED_LINKS: Records<&str, MailedLink> = Records::new("mailed_links");
/// … provider and the account's id there: accounts elsewhere that let a user in.
pub(crate) const LINKED_ACCOUNTS: Records<(&str, &str), LinkedAccount> = Records::new("linked_accounts");

// Sealed (`seal.rs`), by …
/// … user: passwords and second factors.
pub(crate) const CREDENTIALS: TableDefinition<&str, &[u8]> = TableDefinition::new("credentials");
/// … `all`, their only row: the keys that sign tokens.
pub(crate) const SIGNING_KEYS: TableDefinition<&str, &[u8]> = TableDefinition::new("signing_keys");
/// … app, empty for the host: what its next release gets.
pub(crate) const CONFIG: TableDefinition<&str, &[u8]> = TableDefinition::new("config");
/// … app and number: what a release was made with.
pub(crate) const RELEASE_CONFIG: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("release_config");

/// … app, empty for the host, and registry: the login there.
pub(crate) const REGISTRY_LOGINS: TableDefinition<(&str, &str), &[u8]> =
    TableDefinition::new("registry_logins");

/// Hosts beside the public Internet that apps may fetch from.
pub(crate) const GIT_HOSTS: TableDefinition<&str, ()> = TableDefinition::new("git_hosts");
/// … app: its certificate chain and key.
pub(crate) const CERTIFICATES: TableDefinition<&str, &[u8]> = TableDefinition::new("certificates");

/// … user and the key that a client gave: when a request came, and what it came to.
pub(crate) const KEPT_ANSWERS: TableDefinition<(&str, &str), (i64, &[u8])> =
    TableDefinition::new("kept_answers");

// Of the host.
/// One key, `host`: what holds for apps that say nothing else.
pub(crate) const HOST_DEFAULTS: Records<&str, HostDefaults> = Records::new("host_defaults");
/// Place in the list → a domain below which every app has a name.
pub(crate) const GLOBAL_DOMAINS: TableDefinition<u32, &str> = TableDefinition::new("global_domains");

// Indexes, changed in the transaction that changes what they point to.
/// Address in lower case → user.
pub(crate) const USERS_BY_EMAIL: TableDefinition<&str, &str> = TableDefinition::new("users_by_email");
/// App, time of creation in Unix milliseconds, deployment.
pub(crate) const DEPLOYMENTS_BY_APP: TableDefinition<(&str, i64, &str), ()> =
    TableDefinition::new("deployments_by_app");
/// Deployments in a state that is not final, so that a start need not read all.
pub(crate) const UNFINISHED: TableDefinition<&str, ()> = TableDefinition::new("unfinished_deployments");

// Work that a crash may cut off.
/// New name → old name of an app whose files may still stand under the old one.
pub(crate) const RENAMES: TableDefinition<&str, &str> = TableDefinition::new("renames");

// The store itself.
/// `layout` (two bytes, [`LAYOUT`] when it was made) and `key_check` (a sealed constant).
pub(crate) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// The version of this page.
pub(crate) const LAYOUT: u16 = 1;

/// Makes every table that is not there yet, so that a reader finds all of them.
pub(crate) fn create_all(txn: &WriteTransaction) -> Result<(), StoreError> {
    APPS.write(txn)?;
    MEMBERS.write(txn)?;
    USERS.write(txn)?;
    SSH_KEYS.write(txn)?;
    RELEASES.write(txn)?;
    DEPLOYMENTS.write(txn)?;
    ONE_OFFS.write(txn)?;
    txn.open_table(ONE_OFF_COUNTS)?;
    CRON_RUNS.write(txn)?;
    STORAGE.write(txn)?;
    SESSIONS.write(txn)?;
    API_KEYS.write(txn)?;
    INVITATIONS.write(txn)?;
    MAILED_LINKS.write(txn)?;
    LINKED_ACCOUNTS.write(txn)?;
    txn.open_table(CREDENTIALS)?;
    txn.open_table(SIGNING_KEYS)?;
    txn.open_table(CONFIG)?;
    txn.open_table(RELEASE_CONFIG)?;
    txn.open_table(REGISTRY_LOGINS)?;
    txn.open_table(GIT_HOSTS)?;
    txn.open_table(CERTIFICATES)?;
    txn.open_table(KEPT_ANSWERS)?;
    HOST_DEFAULTS.write(txn)?;
    txn.open_table(GLOBAL_DOMAINS)?;
    txn.open_table(USERS_BY_EMAIL)?;
    txn.open_table(DEPLOYMENTS_BY_APP)?;
    txn.open_table(UNFINISHED)?;
    txn.open_table(RENAMES)?;
    txn.open_table(META)?;
    Ok(())
}
