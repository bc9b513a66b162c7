//! Verbs of the deployments, and their two indexes: by app and time, and of those not finished.

use std::collections::BinaryHeap;

use autostack_domain::{AppName, Deployment, DeploymentId, DeploymentState, UnixMillis, limits};
use redb::{AccessGuard, ReadableTable, WriteTransaction};

use crate::{
    apps,
    error::StoreError,
    record::first_version,
    store::Store,
    tables::{DEPLOYMENTS, DEPLOYMENTS_BY_APP, UNFINISHED},
};

first_version!(Deployment);

/// Deployments that are looked at for one page: where few fit, a page may be short, or even empty, and not the last.
const LOOKED_AT_PER_PAGE_MAX: usize = 2000;

/// Where a page of deployments goes on: behind this one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeploymentMark {
    /// When it was asked for.
    pub created_at: UnixMillis,
    /// Its id.
    pub id: DeploymentId,
}

/// Which deployments somebody wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeploymentQuery {
    /// Only those of these apps.
    pub apps: Vec<AppName>,
    /// Only those in one of these states; of all where none is named.
    pub states: Vec<DeploymentState>,
    /// Only those asked for before that one.
    pub before: Option<DeploymentMark>,
    /// How many at most.
    pub limit: usize,
}

/// A page of deployments, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentPage {
    /// Those that fit.
    pub deployments: Vec<Deployment>,
    /// Where the next page begins; `None` when there is no more.
    pub next: Option<DeploymentMark>,
}

impl Store {
    /// Records a new deployment. In the same step the oldest finished ones beyond
    /// [`limits::FINISHED_DEPLOYMENTS_PER_APP_MAX`] are removed, never that of the live release; their ids
    /// are returned, because their logs are the caller's to remove.
    pub fn create_deployment(&self, deployment: &Deployment) -> Result<Vec<DeploymentId>, StoreError> {
        self.write(|txn| {
            apps::get(txn, &deployment.app)?;
            let id = deployment.id.as_str();
            let mut rows = DEPLOYMENTS.write(txn)?;
            if rows.get(id)?.is_some() {
                return Err(StoreError::exists("deployment", &deployment.id));
            }
            rows.put(id, deployment)?;
            drop(rows);
            let mut by_app = txn.open_table(DEPLOYMENTS_BY_APP)?;
            by_app.insert((deployment.app.as_str(), deployment.created_at.0, id), ())?;
            drop(by_app);
            index_state(txn, deployment)?;
            remove_oldest(txn, &deployment.app)
        })
    }

    /// A deployment.
    pub fn deployment(&self, id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        self.read(|txn| DEPLOYMENTS.read(txn)?.get(id.as_str()))
    }

    /// The last `limit` deployments of an app, newest first.
    pub fn deployments(&self, app: &AppName, limit: usize) -> Result<Vec<Deployment>, StoreError> {
        self.read(|txn| {
            let by_app = txn.open_table(DEPLOYMENTS_BY_APP)?;
            let rows = DEPLOYMENTS.read(txn)?;
            let newest_first =
                by_app.range((app.as_str(), i64::MIN, "")..(&apps::after(app), i64::MIN, ""))?;
            let newest_first = newest_first.rev().take(limit);
            newest_first
                .map(|row| {
                    let (key, ()) = row.map(|(key, _)| (key, ()))?;
                    let id = key.value().2;
                    rows.get(id)?.ok_or_else(|| StoreError::not_found("deployment", id))
                })
                .collect()
        })
    }

    /// A page of the deployments of several apps, newest first.
    pub fn deployment_page(&self, query: &DeploymentQuery) -> Result<DeploymentPage, StoreError> {
        self.read(|txn| {
            let by_app = txn.open_table(DEPLOYMENTS_BY_APP)?;
            let rows = DEPLOYMENTS.read(txn)?;
            // The newest of each app that was not taken yet.
            let mut heads = BinaryHeap::new();
            let mut ranges = Vec::with_capacity(query.apps.len());
            for app in &query.apps {
                let end = match &query.before {
                    Some(mark) => (app.as_str(), mark.created_at.0, mark.id.as_str()),
                    None => (&*apps::after(app), i64::MIN, ""),
                };
                let mut range = by_app.range((app.as_str(), i64::MIN, "")..end)?;
                push_head(&mut heads, ranges.len(), range.next_back())?;
                ranges.push(range);
            }
            let (mut found, mut last) = (Vec::new(), None);
            for looked_at in 0.. {
                if found.len() == query.limit || looked_at == LOOKED_AT_PER_PAGE_MAX {
                    let next = if heads.is_empty() { None } else { last };
                    return Ok(DeploymentPage { deployments: found, next });
                }
                let Some((mark, app)) = heads.pop() else { break };
                let deployment = rows.get(mark.id.as_str())?;
                let deployment = deployment.ok_or_else(|| StoreError::not_found("deployment", &mark.id))?;
                if query.states.is_empty() || query.states.contains(&deployment.state) {
                    found.push(deployment);
                }
                if let Some(range) = ranges.get_mut(app) {
                    push_head(&mut heads, app, range.next_back())?;
                }
                last = Some(mark);
            }
            Ok(DeploymentPage { deployments: found, next: None })
        })
    }

    /// Forgets a deployment that has ended and is not that of a live release; the caller removes its log.
    pub fn remove_deployment(&self, id: &DeploymentId) -> Result<(), StoreError> {
        self.write(|txn| {
            let deployment = get(txn, id)?;
            if !deployment.state.is_final() {
                return Err(StoreError::conflict("deployment", id, "it has not ended"));
            }
            let live = apps::get(txn, &deployment.app)?.current_release;
            if live.is_some() && deployment.release == live {
                return Err(StoreError::conflict("deployment", id, "its release is live"));
            }
            remove(txn, &deployment.app, deployment.created_at.0, id)
        })
    }

    /// The deployments of all apps that have not reached a final state, by id, which is by age.
    pub fn unfinished_deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        self.read(|txn| {
            let rows = DEPLOYMENTS.read(txn)?;
            let unfinished = txn.open_table(UNFINISHED)?;
            unfinished
                .iter()?
                .map(|row| {
                    let (id, _) = row?;
                    rows.get(id.value())?.ok_or_else(|| StoreError::not_found("deployment", id.value()))
                })
                .collect()
        })
    }

    /// Changes a deployment and returns it as it is now. Its id, app and time of creation cannot change,
    /// nor its state once that is final.
    pub fn update_deployment(
        &self,
        id: &DeploymentId,
        change: impl FnOnce(&mut Deployment),
    ) -> Result<Deployment, StoreError> {
        self.write(|txn| {
            let before = get(txn, id)?;
            let mut after = before.clone();
            change(&mut after);
            put(txn, &before, &after)?;
            Ok(after)
        })
    }
}

type Row<'a> =
    Result<(AccessGuard<'a, (&'static str, i64, &'static str)>, AccessGuard<'a, ()>), redb::StorageError>;

/// Puts the next deployment of an app beside those of the others.
fn push_head(
    heads: &mut BinaryHeap<(DeploymentMark, usize)>,
    app: usize,
    row: Option<Row<'_>>,
) -> Result<(), StoreError> {
    let Some(row) = row else { return Ok(()) };
    let key = row?.0;
    let (_, created_at, id) = key.value();
    let id = id.parse().map_err(|_| StoreError::not_found("deployment", id))?;
    heads.push((DeploymentMark { created_at: UnixMillis(created_at), id }, app));
    Ok(())
}

/// The deployment, which must be there.
pub(crate) fn get(txn: &WriteTransaction, id: &DeploymentId) -> Result<Deployment, StoreError> {
    let found = DEPLOYMENTS.write(txn)?.get(id.as_str())?;
    found.ok_or_else(|| StoreError::not_found("deployment", id))
}

/// Replaces a deployment by its next state.
pub(crate) fn put(txn: &WriteTransaction, before: &Deployment, after: &Deployment) -> Result<(), StoreError> {
    let identity =
        |deployment: &Deployment| (deployment.id.clone(), deployment.app.clone(), deployment.created_at);
    if identity(before) != identity(after) {
        return Err(StoreError::conflict(
            "deployment",
            &before.id,
            "its id, app and time of creation are fixed",
        ));
    }
    if before.state.is_final() && after.state != before.state {
        return Err(StoreError::conflict("deployment", &before.id, "it has ended"));
    }
    DEPLOYMENTS.write(txn)?.put(after.id.as_str(), after)?;
    index_state(txn, after)
}

fn index_state(txn: &WriteTransaction, deployment: &Deployment) -> Result<(), StoreError> {
    let mut unfinished = txn.open_table(UNFINISHED)?;
    if deployment.state.is_final() {
        unfinished.remove(deployment.id.as_str())?;
    } else {
        unfinished.insert(deployment.id.as_str(), ())?;
    }
    Ok(())
}

/// The keys of an app's deployments in the index by time, newest first.
pub(crate) fn newest_first(
    txn: &WriteTransaction,
    app: &AppName,
) -> Result<Vec<(i64, DeploymentId)>, StoreError> {
    let by_app = txn.open_table(DEPLOYMENTS_BY_APP)?;
    let range = by_app.range((app.as_str(), i64::MIN, "")..(&apps::after(app), i64::MIN, ""))?;
    range
        .rev()
        .map(|row| {
            let key = row?.0;
            let (_, created_at, id) = key.value();
            let id = id.parse().map_err(|_| StoreError::not_found("deployment", id))?;
            Ok((created_at, id))
        })
        .collect()
}

/// Keeps the limit on finished deployments of an app.
fn remove_oldest(txn: &WriteTransaction, app: &AppName) -> Result<Vec<DeploymentId>, StoreError> {
    let live = apps::get(txn, app)?.current_release;
    let mut finished = 0;
    let mut removed = Vec::new();
    for (created_at, id) in newest_first(txn, app)? {
        let deployment = get(txn, &id)?;
        finished += usize::from(deployment.state.is_final());
        let is_live = live.is_some() && deployment.release == live;
        if finished > limits::FINISHED_DEPLOYMENTS_PER_APP_MAX && deployment.state.is_final() && !is_live {
            remove(txn, app, created_at, &id)?;
            removed.push(id);
        }
    }
    Ok(removed)
}

/// Removes every deployment of an app.
pub(crate) fn remove_all(txn: &WriteTransaction, app: &AppName) -> Result<Vec<DeploymentId>, StoreError> {
    let keys = newest_first(txn, app)?;
    for (created_at, id) in &keys {
        remove(txn, app, *created_at, id)?;
    }
    Ok(keys.into_iter().map(|(_, id)| id).collect())
}

fn remove(
    txn: &WriteTransaction,
    app: &AppName,
    created_at: i64,
    id: &DeploymentId,
) -> Result<(), StoreError> {
    DEPLOYMENTS.write(txn)?.remove(id.as_str())?;
    txn.open_table(DEPLOYMENTS_BY_APP)?.remove((app.as_str(), created_at, id.as_str()))?;
    txn.open_table(UNFINISHED)?.remove(id.as_str())?;
    Ok(())
}
