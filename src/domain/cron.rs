//! What an app has done at set times: its tasks, when each is due, and the record of a run.

use std::{collections::BTreeSet, fmt, str::FromStr};

use croner::{
    Cron, CronDateTime,
    parser::{CronParser, Seconds, Year},
};
use serde::{Deserialize, Serialize};

use crate::{
    instance::Exit,
    limits,
    names::{InstanceId, Invalid, ReleaseNumber},
    time::UnixMillis,
};

/// When a task is due: five fields from minute to day of the week, six with seconds in front, or a word such as
/// `@daily`. Kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    text: String,
    parsed: Box<Cron>,
}

impl Schedule {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first moment after `after` at which it is due; `None` where there is none, such as a 30th of February.
    pub fn next<T: CronDateTime>(&self, after: &T) -> Option<T> {
        self.parsed.find_next_occurrence(after, false).ok()
    }
}

impl FromStr for Schedule {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let refuse = |why: String| Invalid::new("schedule", given, why);
        let text = given.trim();
        if text.len() > limits::CRON_SCHEDULE_BYTES_MAX || text.chars().any(char::is_control) {
            let max = limits::CRON_SCHEDULE_BYTES_MAX;
            return Err(refuse(format!("it has no control characters, and {max} bytes at most")));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let parsed = parser.parse(text).map_err(|error| {
            refuse(format!(
                "{}; write it as `MINUTE HOUR DAY MONTH WEEKDAY` or @daily",
                lower(&error.to_string())
            ))
        })?;
        Ok(Self { text: text.to_owned(), parsed: Box::new(parsed) })
    }
}

/// The parser's messages start with a capital and end with a full stop; ours go on.
fn lower(message: &str) -> String {
    let mut chars = message.trim_end_matches('.').chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

impl TryFrom<String> for Schedule {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> String {
        schedule.text
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What happens when a task is due while a run of it is still under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concurrency {
    /// It runs beside the other one.
    #[default]
    Allow,
    /// It does not run this time.
    Forbid,
    /// The other one is ended first.
    Replace,
}

impl Concurrency {
    /// As `app.json` names it.
    pub fn name(self) -> &'static str {
        match self {
            Concurrency::Allow => "allow",
            Concurrency::Forbid => "forbid",
            Concurrency::Replace => "replace",
        }
    }
}

/// Tells one task of an app from the others: 16 hexadecimal digits, the same for the same command and schedule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CronTaskId(String);

impl CronTaskId {
    /// The id of a task.
    pub fn of(command: &str, schedule: &Schedule) -> Self {
        // FNV-1a: no secret and no stranger's input is told apart here, only the few tasks of one app.
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let bytes = schedule.as_str().bytes().chain([0]).chain(command.bytes());
        let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        Self(format!("{hash:016x}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CronTaskId {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if given.len() == 16 && given.bytes().all(is_digit) {
            return Ok(Self(given.to_owned()));
        }
        Err(Invalid::new("cron id", given, "cron:list APP shows the ids: 16 digits of 0-9 and a-f"))
    }
}

impl TryFrom<String> for CronTaskId {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<CronTaskId> for String {
    fn from(id: CronTaskId) -> String {
        id.0
    }
}

impl fmt::Display for CronTaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One entry of `cron` in an `app.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronTask {
    /// Its id.
    pub id: CronTaskId,
    /// The command line, or the name of a process type whose command line it is.
    pub command: String,
    /// When it is due.
    pub schedule: Schedule,
    /// Whether the app itself says that it shall not run for now.
    #[serde(default)]
    pub maintenance: bool,
    /// What happens when it is still under way.
    #[serde(default)]
    pub concurrency: Concurrency,
}

impl CronTask {
    /// A task.
    ///
    /// # Errors
    /// For a command that is empty, too long, or holds control characters.
    pub fn new(
        command: &str,
        schedule: Schedule,
        maintenance: bool,
        concurrency: Concurrency,
    ) -> Result<Self, Invalid> {
        let refuse = |why: &str| Invalid::new("command", command, why);
        if command.trim().is_empty() {
            return Err(refuse("it must be a command line"));
        }
        if command.len() > limits::CRON_COMMAND_BYTES_MAX || command.contains('\0') {
            return Err(refuse("it has 4096 bytes at most, and no NUL among them"));
        }
        let id = CronTaskId::of(command, &schedule);
        Ok(Self { id, command: command.to_owned(), schedule, maintenance, concurrency })
    }
}

/// The name of a time zone, as the system knows it: `Europe/Berlin`. Whether there is one is for the clock to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZoneName(String);

impl TimeZoneName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TimeZoneName {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-/".contains(&byte);
        let starts = given.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        if starts && given.len() <= 64 && given.bytes().all(is_letter) {
            return Ok(Self(given.to_owned()));
        }
        Err(Invalid::new("time zone", given, "expected a name such as Europe/Berlin or UTC"))
    }
}

impl TryFrom<String> for TimeZoneName {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<TimeZoneName> for String {
    fn from(name: TimeZoneName) -> String {
        name.0
    }
}

impl fmt::Display for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The cron tasks of an app as its operator has set them; the tasks themselves belong to the release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CronSettings {
    /// Tasks that do not run for now.
    pub suspended: BTreeSet<CronTaskId>,
    /// Whether none of them does.
    pub maintenance: bool,
    /// The time zone of the schedules; `None` for the host's `cron.time_zone`.
    pub time_zone: Option<TimeZoneName>,
}

impl CronSettings {
    /// Whether a task runs when it is due.
    pub fn runs(&self, task: &CronTask) -> bool {
        !self.maintenance && !task.maintenance && !self.suspended.contains(&task.id)
    }
}

/// What happens with a task that is due, where `running` runs of it and `of_app` of the app's are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It runs.
    Run,
    /// Its other runs are ended, then it runs.
    RunInstead,
    /// It does not run this time, because of this.
    Skip(Skipped),
}

/// Why a task that was due did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skipped {
    /// A run of it was under way, and it forbids a second one.
    StillRunning,
    /// There were as many runs under way as there may be.
    TooMany,
}

impl Turn {
    /// Decides.
    pub fn of(concurrency: Concurrency, running: usize, of_app: usize) -> Turn {
        match concurrency {
            Concurrency::Forbid if running > 0 => Turn::Skip(Skipped::StillRunning),
            Concurrency::Replace if running > 0 => Turn::RunInstead,
            Concurrency::Allow if running >= limits::CRON_RUNS_OF_TASK_MAX => Turn::Skip(Skipped::TooMany),
            _ if of_app >= limits::CRON_RUNS_OF_APP_MAX => Turn::Skip(Skipped::TooMany),
            Concurrency::Allow | Concurrency::Forbid | Concurrency::Replace => Turn::Run,
        }
    }
}

/// How a run ended, or that it has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CronOutcome {
    /// It is under way.
    Running,
    /// Its command ended.
    Ended(Exit),
    /// It took longer than it may.
    TimedOut,
    /// Somebody, or the next run of the same task, has ended it.
    Stopped,
    /// It did not begin.
    Skipped(Skipped),
    /// It could not be started.
    Failed(String),
    /// The agent, or the host, went down meanwhile.
    Lost,
}

impl fmt::Display for CronOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CronOutcome::Running => f.write_str("running"),
            CronOutcome::Ended(exit) => write!(f, "{exit}"),
            CronOutcome::TimedOut => f.write_str("timed out"),
            CronOutcome::Stopped => f.write_str("stopped"),
            CronOutcome::Skipped(Skipped::StillRunning) => {
                f.write_str("skipped: the last run was still under way")
            }
            CronOutcome::Skipped(Skipped::TooMany) => f.write_str("skipped: too many runs were under way"),
            CronOutcome::Failed(why) => write!(f, "could not be started: {why}"),
            CronOutcome::Lost => f.write_str("lost with the agent"),
        }
    }
}

/// Names a run: its task, and the moment for which it was due; of one that somebody asked for, when that was. No
/// moment has two runs of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronMark {
    /// The task.
    pub task: CronTaskId,
    /// The moment.
    pub due_at: UnixMillis,
}

impl CronRun {
    /// Its name.
    pub fn mark(&self) -> CronMark {
        CronMark { task: self.task.clone(), due_at: self.due_at }
    }
}

/// The record of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronRun {
    /// The moment for which it was due.
    pub due_at: UnixMillis,
    /// The task.
    pub task: CronTaskId,
    /// Its command line.
    pub command: String,
    /// The release that it ran.
    pub release: ReleaseNumber,
    /// Who asked for it; `None` where its schedule did.
    pub by: Option<String>,
    /// What ran; its lines in the app's log carry this name. `None` until it is started, and where it is not.
    pub instance: Option<InstanceId>,
    /// When it began.
    pub started_at: UnixMillis,
    /// When it had ended.
    pub ended_at: Option<UnixMillis>,
    /// How it ended.
    pub outcome: CronOutcome,
    /// Where the app's log stood when it began, and when it had ended: its lines are in between.
    pub log: (u64, Option<u64>),
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use croner::{CivilDate, CivilDateTime, CivilTime, Resolution, Weekday, errors::CronError};

    use super::*;

    /// Wall clock time in a place without daylight saving: seconds since Thursday, 1 January 1970.
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Plain(i64);

    impl CronDateTime for Plain {
        fn to_civil(&self) -> CivilDateTime {
            // The tests stay in January 1970.
            let (day, second) = (self.0 / 86_400 + 1, self.0 % 86_400);
            let part = |number: i64| u32::try_from(number).unwrap();
            CivilDateTime::new(
                CivilDate::from_ymd(1970, 1, part(day)).unwrap(),
                CivilTime::from_hms_opt(part(second / 3_600), part(second / 60 % 60), part(second % 60))
                    .unwrap(),
            )
        }

        fn civil_weekday(&self) -> Weekday {
            Weekday::Thursday.shift(i32::try_from(self.0 / 86_400).unwrap())
        }

        fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
            if (civil.year(), civil.month()) != (1970, 1) {
                return Err(CronError::TimeSearchLimitExceeded);
            }
            let days = i64::from(civil.day() - 1) * 86_400;
            let seconds = civil.hour() * 3_600 + civil.minute() * 60 + civil.second();
            Ok(Resolution::Single(Plain(days + i64::from(seconds))))
        }

        fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
            self.0.checked_add(seconds).map(Plain)
        }

        fn cmp_instant(&self, other: &Self) -> Ordering {
            self.0.cmp(&other.0)
        }
    }

    fn schedule(text: &str) -> Schedule {
        text.parse().unwrap()
    }

    #[test]
    fn a_schedule_says_when_it_is_due_next() {
        let next = |text, after| schedule(text).next(&Plain(after)).map(|next| next.0);
        assert_eq!(next("* * * * *", 0), Some(60));
        assert_eq!(next("* * * * *", 59), Some(60));
        assert_eq!(next("*/5 * * * *", 300), Some(600));
        assert_eq!(next("* * * * * *", 7), Some(8));
        assert_eq!(next("*/2 * * * * *", 7), Some(8));
        assert_eq!(next("@daily", 1), Some(86_400));
        assert_eq!(next("30 3 * * FRI", 0), Some(86_400 + 3 * 3_600 + 30 * 60));
        assert_eq!(next("0 0 30 2 *", 0), None);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for bad in ["", "* * * *", "61 * * * *", "* * * * * * *", "@sometimes", "a b c d e", "* * * * *\n"] {
            if bad.ends_with('\n') {
                assert_eq!(schedule(bad).as_str(), "* * * * *");
                continue;
            }
            assert!(bad.parse::<Schedule>().is_err(), "{bad:?}");
        }
        assert!("* ".repeat(100).parse::<Schedule>().is_err());
        assert!("* * * *\u{1b} *".parse::<Schedule>().is_err());
    }

    #[test]
    fn the_id_of_a_task_stays_and_differs() {
        let task = |command, text| CronTask::new(command, schedule(text), false, Concurrency::Allow).unwrap();
        let first = task("php a.php", "@daily");
        assert_eq!(first.id, task("php a.php", "@daily").id);
        assert_ne!(first.id, task("php b.php", "@daily").id);
        assert_ne!(first.id, task("php a.php", "@hourly").id);
        assert_eq!(first.id.as_str().parse::<CronTaskId>().unwrap(), first.id);
        for bad in ["", "../x", "0123456789ABCDEF", "0123"] {
            assert!(bad.parse::<CronTaskId>().is_err(), "{bad:?}");
        }
        let stored = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<CronTask>(&stored).unwrap(), first);
        assert!(CronTask::new(" ", schedule("@daily"), false, Concurrency::Allow).is_err());
        assert!(CronTask::new("a\0b", schedule("@daily"), false, Concurrency::Allow).is_err());
    }

    #[test]
    fn a_task_that_is_still_under_way_is_treated_as_it_asks() {
        use Concurrency::{Allow, Forbid, Replace};
        assert_eq!(Turn::of(Allow, 1, 1), Turn::Run);
        assert_eq!(Turn::of(Allow, limits::CRON_RUNS_OF_TASK_MAX, 4), Turn::Skip(Skipped::TooMany));
        assert_eq!(Turn::of(Forbid, 0, 3), Turn::Run);
        assert_eq!(Turn::of(Forbid, 1, 1), Turn::Skip(Skipped::StillRunning));
        assert_eq!(Turn::of(Replace, 0, 0), Turn::Run);
        assert_eq!(Turn::of(Replace, 1, limits::CRON_RUNS_OF_APP_MAX), Turn::RunInstead);
        assert_eq!(Turn::of(Forbid, 0, limits::CRON_RUNS_OF_APP_MAX), Turn::Skip(Skipped::TooMany));
    }

    #[test]
    fn a_suspended_task_does_not_run() {
        let task = CronTask::new("a", schedule("@daily"), false, Concurrency::Allow).unwrap();
        let mut settings = CronSettings::default();
        assert!(settings.runs(&task));
        settings.suspended.insert(task.id.clone());
        assert!(!settings.runs(&task));
        let paused = CronSettings { maintenance: true, ..CronSettings::default() };
        assert!(!paused.runs(&task));
        assert!(!CronSettings::default().runs(&CronTask { maintenance: true, ..task }));
    }

    #[test]
    fn names_of_time_zones_are_plain() {
        for good in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
            assert!(good.parse::<TimeZoneName>().is_ok(), "{good}");
        }
        for bad in ["", "../etc/passwd", "/etc/localtime", "Europe/Ber lin", ":UTC", "a\n"] {
            assert!(bad.parse::<TimeZoneName>().is_err(), "{bad:?}");
        }
    }
}
