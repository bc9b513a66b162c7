//! Verbs of the runs of cron tasks. The moment for which a run was due and its task are its key, so that no moment has
//! two.

use autostack_domain::{
    AppName,
    cron::{CronMark, CronOutcome, CronRun},
    limits,
};
use redb::WriteTransaction;

use crate::{apps, error::StoreError, record::first_version, store::Store, tables::CRON_RUNS};

first_version!(CronRun);

type Key<'a> = (&'a str, i64, &'a str);

/// Every key of an app.
fn all(app: &AppName) -> std::ops::RangeInclusive<Key<'_>> {
    (app.as_str(), i64::MIN, "")..=(app.as_str(), i64::MAX, "\u{10ffff}")
}

fn key<'a>(app: &'a AppName, mark: &'a CronMark) -> Key<'a> {
    (app.as_str(), mark.due_at.0, mark.task.as_str())
}

impl Store {
    /// Records a run that begins; whether it is the only one of its moment. The oldest that have ended make room.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an app that is not there.
    pub fn begin_cron_run(&self, app: &AppName, run: &CronRun) -> Result<bool, StoreError> {
        self.write(|txn| {
            apps::get(txn, app)?;
            let mut rows = CRON_RUNS.write(txn)?;
            let mark = run.mark();
            if rows.get::<Key<'static>>(key(app, &mark))?.is_some() {
                return Ok(false);
            }
            let known = rows.range::<Key<'static>>(all(app))?;
            let room = (known.len() + 1).saturating_sub(limits::CRON_RUNS_KEPT);
            let ended = known.iter().filter(|known| known.outcome != CronOutcome::Running).take(room);
            for outdated in ended {
                rows.remove(key(app, &outdated.mark()))?;
            }
            rows.put(key(app, &mark), run)?;
            Ok(true)
        })
    }

    /// Changes the record of a run; `None` where there is none.
    pub fn change_cron_run(
        &self,
        app: &AppName,
        mark: &CronMark,
        change: impl FnOnce(&mut CronRun),
    ) -> Result<Option<CronRun>, StoreError> {
        self.write(|txn| {
            let mut rows = CRON_RUNS.write(txn)?;
            let Some(mut run) = rows.get::<Key<'static>>(key(app, mark))? else { return Ok(None) };
            change(&mut run);
            rows.put(key(app, mark), &run)?;
            Ok(Some(run))
        })
    }

    /// The runs of an app's tasks, by the moment for which they were due.
    pub fn cron_runs(&self, app: &AppName) -> Result<Vec<CronRun>, StoreError> {
        self.read(|txn| CRON_RUNS.read(txn)?.range::<Key<'static>>(all(app)))
    }
}

/// Forgets the runs of an app that goes.
pub(crate) fn remove_all(txn: &WriteTransaction, app: &AppName) -> Result<(), StoreError> {
    CRON_RUNS.write(txn)?.remove_range(all(app))
}

/// Moves the runs of an app to its new name.
pub(crate) fn rename(txn: &WriteTransaction, old: &AppName, new: &AppName) -> Result<(), StoreError> {
    let mut rows = CRON_RUNS.write(txn)?;
    for run in rows.range::<Key<'static>>(all(old))? {
        let mark = run.mark();
        rows.remove(key(old, &mark))?;
        rows.put(key(new, &mark), &run)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use autostack_domain::{App, Exit, ReleaseNumber, UnixMillis, cron::Schedule};

    use super::*;

    fn run(due_at: i64, outcome: CronOutcome) -> CronRun {
        let schedule: Schedule = "@daily".parse().unwrap();
        CronRun {
            due_at: UnixMillis(due_at),
            task: autostack_domain::cron::CronTaskId::of("a", &schedule),
            command: "a".into(),
            release: ReleaseNumber(1),
            by: None,
            instance: None,
            started_at: UnixMillis(due_at),
            ended_at: None,
            outcome,
            log: (0, None),
        }
    }

    #[test]
    fn a_moment_has_one_run_and_the_oldest_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), &dir.path().join("key")).unwrap();
        let shop: AppName = "shop".parse().unwrap();
        let owner: autostack_domain::UserId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        assert!(store.begin_cron_run(&shop, &run(1, CronOutcome::Running)).is_err(), "there is no such app");
        store.create_app(&App::new(shop.clone(), owner, UnixMillis(1))).unwrap();
        let ended = || CronOutcome::Ended(Exit::Code(0));
        assert!(store.begin_cron_run(&shop, &run(1, CronOutcome::Running)).unwrap());
        assert!(!store.begin_cron_run(&shop, &run(1, ended())).unwrap());
        let kept = i64::try_from(limits::CRON_RUNS_KEPT).unwrap();
        for due_at in 2..kept + 20 {
            assert!(store.begin_cron_run(&shop, &run(due_at, ended())).unwrap());
        }
        let runs = store.cron_runs(&shop).unwrap();
        assert_eq!(runs.len(), limits::CRON_RUNS_KEPT);
        assert_eq!(
            (runs[0].due_at.0, runs[0].outcome.clone()),
            (1, CronOutcome::Running),
            "one under way stays"
        );
        let mark = run(1, ended()).mark();
        let changed = store.change_cron_run(&shop, &mark, |run| run.outcome = CronOutcome::Stopped).unwrap();
        assert_eq!(changed.unwrap().outcome, CronOutcome::Stopped);
        let new: AppName = "market".parse().unwrap();
        store.rename_app(&shop, &new).unwrap();
        assert_eq!(store.cron_runs(&new).unwrap().len(), limits::CRON_RUNS_KEPT);
        assert_eq!(store.cron_runs(&shop).unwrap(), []);
        store.destroy_app(&new).unwrap();
        assert_eq!(store.cron_runs(&new).unwrap(), []);
    }
}
