//! When each cron task is due next. Knows no clock: whoever asks says what time it is, a test what it likes.

use std::collections::BTreeMap;

use autostack_base::zone::Zone;
use autostack_domain::{
    AppName, UnixMillis,
    cron::{CronTask, CronTaskId, TimeZoneName},
};

/// Milliseconds after its moment in which a task still runs. One that is missed for longer (the host slept, the clock
/// was set) waits for its next moment.
const LATE_MILLIS_MAX: u64 = 60_000;

/// A task that runs when it is due.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) app: AppName,
    pub(crate) task: CronTask,
    /// Where its schedule is read; `None` for the host's own zone.
    pub(crate) zone: Option<TimeZoneName>,
}

/// A task whose moment has come.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) app: AppName,
    pub(crate) task: CronTask,
    /// The moment, not when somebody looked.
    pub(crate) at: UnixMillis,
}

/// What is due when.
#[derive(Debug, Default)]
pub(crate) struct Timetable(BTreeMap<(AppName, CronTaskId), Entry>);

#[derive(Debug)]
struct Entry {
    task: CronTask,
    name: Option<TimeZoneName>,
    zone: Zone,
    /// `None` for a schedule that has no more.
    next: Option<UnixMillis>,
}

impl Timetable {
    /// Takes over what runs from now on. A task that was listed already keeps its moment, so that a new release
    /// neither misses nor repeats it; a new one begins with its first moment after `now`.
    pub(crate) fn list(&mut self, listed: Vec<Listed>, now: UnixMillis) {
        let mut before = std::mem::take(&mut self.0);
        for Listed { app, task, zone: name } in listed {
            let key = (app, task.id.clone());
            let entry = match before.remove(&key).filter(|entry| entry.name == name) {
                Some(known) => Entry { task, ..known },
                None => {
                    let zone = Zone::named_or_host(name.as_ref());
                    let next = zone.next(&task.schedule, now);
                    Entry { task, name, zone, next }
                }
            };
            self.0.insert(key, entry);
        }
    }

    /// The tasks whose moment has come, each once: their next moment is after `now`.
    pub(crate) fn take_due(&mut self, now: UnixMillis) -> Vec<Due> {
        let mut due = Vec::new();
        for ((app, _), entry) in &mut self.0 {
            let Some(at) = entry.next.filter(|at| *at <= now) else { continue };
            entry.next = entry.zone.next(&entry.task.schedule, now);
            if now.since(at) <= LATE_MILLIS_MAX {
                due.push(Due { app: app.clone(), task: entry.task.clone(), at });
            }
        }
        due
    }

    /// The moment of whatever is due first.
    pub(crate) fn next(&self) -> Option<UnixMillis> {
        self.0.values().filter_map(|entry| entry.next).min()
    }
}

#[cfg(test)]
mod tests {
    use autostack_domain::cron::{Concurrency, Schedule};
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    fn listed(app: &str, command: &str, schedule: &str) -> Listed {
        let schedule: Schedule = schedule.parse().unwrap();
        let task = CronTask::new(command, schedule, false, Concurrency::Allow).unwrap();
        Listed { app: app.parse().unwrap(), task, zone: Some("UTC".parse().unwrap()) }
    }

    fn due(table: &mut Timetable, now: i64) -> Vec<(String, i64)> {
        let due = table.take_due(UnixMillis(now));
        due.into_iter().map(|due| (due.task.command, due.at.0)).collect()
    }

    #[test]
    fn a_task_is_due_once_in_its_moment() {
        let mut table = Timetable::default();
        table.list(vec![listed("shop", "minutely", "* * * * *")], UnixMillis(10));
        assert_eq!(due(&mut table, 10), []);
        assert_eq!(due(&mut table, MINUTE - 1), []);
        assert_eq!(table.next(), Some(UnixMillis(MINUTE)));
        assert_eq!(due(&mut table, MINUTE), [("minutely".to_owned(), MINUTE)]);
        assert_eq!(due(&mut table, MINUTE), []);
        assert_eq!(due(&mut table, 2 * MINUTE + 5), [("minutely".to_owned(), 2 * MINUTE)]);
    }

    #[test]
    fn nothing_is_made_up_for() {
        let mut table = Timetable::default();
        table.list(
            vec![listed("shop", "hourly", "@hourly"), listed("shop", "a", "* * * * * *")],
            UnixMillis(0),
        );
        // The host has slept for a day and a little.
        assert_eq!(due(&mut table, 24 * HOUR + 2 * MINUTE), []);
        assert_eq!(table.next(), Some(UnixMillis(24 * HOUR + 2 * MINUTE + 1_000)));
        let late = due(&mut table, 25 * HOUR + 30_000);
        assert!(
            late.contains(&("hourly".to_owned(), 25 * HOUR)),
            "half a minute late is still in time: {late:?}"
        );
    }

    #[test]
    fn a_new_release_neither_repeats_nor_misses_a_moment() {
        let mut table = Timetable::default();
        let tasks = || vec![listed("shop", "hourly", "@hourly"), listed("mall", "hourly", "@hourly")];
        table.list(tasks(), UnixMillis(0));
        assert_eq!(due(&mut table, HOUR).len(), 2);
        table.list(tasks(), UnixMillis(HOUR));
        assert_eq!(due(&mut table, HOUR), []);
        // Listed anew in the very moment, before anybody has looked.
        table.list(tasks(), UnixMillis(2 * HOUR));
        assert_eq!(due(&mut table, 2 * HOUR).len(), 2);
        table.list(vec![listed("shop", "hourly", "@hourly")], UnixMillis(2 * HOUR));
        assert_eq!(due(&mut table, 3 * HOUR).len(), 1, "an app that has gone is not due");
        table.list(vec![listed("shop", "hourly", "30 * * * *")], UnixMillis(3 * HOUR));
        assert_eq!(due(&mut table, 4 * HOUR), [], "half an hour late is too late");
        let elsewhere =
            Listed { zone: Some("Asia/Kolkata".parse().unwrap()), ..listed("shop", "x", "@hourly") };
        table.list(vec![elsewhere], UnixMillis(4 * HOUR));
        assert_eq!(table.next(), Some(UnixMillis(4 * HOUR + 30 * MINUTE)));
    }

    proptest! {
        #[test]
        fn no_moment_comes_twice_however_time_goes(steps in proptest::collection::vec(-5_000i64..90_000, 1..60)) {
            let mut table = Timetable::default();
            let (mut now, mut seen) = (0i64, std::collections::BTreeSet::new());
            table.list(vec![listed("shop", "a", "*/7 * * * * *"), listed("shop", "b", "* * * * *")], UnixMillis(0));
            for step in steps {
                now = (now + step).max(0);
                for one in due(&mut table, now) {
                    prop_assert!(one.1 <= now && seen.insert(one));
                }
            }
        }
    }
}
