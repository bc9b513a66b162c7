//! `cron` of an `app.json`: a list of commands with their schedules.

use super::read::Reader;
use crate::{
    cron::{Concurrency, CronTask, Schedule},
    limits,
};

/// Reads all tasks; unused keys are added to `ignored`.
pub(super) fn read(cron: &Reader, ignored: &mut Vec<String>) -> Result<Vec<CronTask>, String> {
    let items = cron.array()?;
    if items.len() > limits::CRON_TASKS_MAX {
        return cron.refuse(format!("has {} tasks; the limit is {}", items.len(), limits::CRON_TASKS_MAX));
    }
    let mut tasks: Vec<CronTask> = Vec::new();
    for item in &items {
        let task = read_task(item, ignored)?;
        if tasks.iter().any(|known| known.id == task.id) {
            return item.refuse("has the command and the schedule of another task");
        }
        tasks.push(task);
    }
    Ok(tasks)
}

fn read_task(item: &Reader, ignored: &mut Vec<String>) -> Result<CronTask, String> {
    let (mut command, mut schedule) = (None, None);
    let (mut maintenance, mut concurrency) = (false, Concurrency::default());
    for (key, entry) in item.object()? {
        match key {
            "command" => command = Some(entry.text()?),
            "schedule" => {
                let read = entry.text()?.parse::<Schedule>();
                schedule =
                    Some(read.or_else(|refused| entry.refuse(format!("is not valid: {}", refused.why)))?);
            }
            "maintenance" => maintenance = entry.flag()?,
            "concurrency_policy" => concurrency = read_concurrency(&entry)?,
            _ => ignored.push(entry.path().to_owned()),
        }
    }
    let (Some(command), Some(schedule)) = (command, schedule) else {
        return item.refuse("must have a command and a schedule");
    };
    CronTask::new(command, schedule, maintenance, concurrency)
        .or_else(|refused| item.refuse(format!("has a command that is not valid: {}", refused.why)))
}

fn read_concurrency(entry: &Reader) -> Result<Concurrency, String> {
    match entry.text()? {
        "allow" => Ok(Concurrency::Allow),
        "forbid" => Ok(Concurrency::Forbid),
        "replace" => Ok(Concurrency::Replace),
        _ => entry.refuse("must be \"allow\", \"forbid\" or \"replace\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app_json::parse;

    fn refusal(tasks: &str) -> String {
        parse(format!(r#"{{"cron": {tasks}}}"#).as_bytes()).unwrap_err().why
    }

    #[test]
    fn dokkus_tasks_are_read() {
        let text = br#"{"cron": [
            {"command": "npm run mail", "schedule": "@daily"},
            {"command": "sweep", "schedule": "*/10 * * * * *", "maintenance": true,
             "concurrency_policy": "replace", "colour": "red"},
        ]}"#;
        let app = parse(text).unwrap();
        assert_eq!(app.cron.len(), 2);
        assert_eq!((app.cron[0].command.as_str(), app.cron[0].schedule.as_str()), ("npm run mail", "@daily"));
        assert_eq!((app.cron[0].maintenance, app.cron[0].concurrency), (false, Concurrency::Allow));
        assert_eq!((app.cron[1].maintenance, app.cron[1].concurrency), (true, Concurrency::Replace));
        assert_eq!(app.ignored, ["cron[1].colour"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        assert_eq!(refusal("{}"), "cron must be an array: [ … ]");
        assert_eq!(refusal(r#"[{"command": "a"}]"#), "cron[0] must have a command and a schedule");
        assert!(
            refusal(r#"[{"command": "a", "schedule": "soon"}]"#)
                .starts_with("cron[0].schedule is not valid: ")
        );
        assert_eq!(
            refusal(r#"[{"command": "a", "schedule": "@daily", "concurrency_policy": "x"}]"#),
            "cron[0].concurrency_policy must be \"allow\", \"forbid\" or \"replace\""
        );
        let twice = r#"{"command": "a", "schedule": "@daily"}"#;
        assert_eq!(
            refusal(&format!("[{twice}, {twice}]")),
            "cron[1] has the command and the schedule of another task"
        );
        assert!(refusal(r#"[{"command": "", "schedule": "@daily"}]"#).contains("must be a command line"));
        let many = vec![twice; limits::CRON_TASKS_MAX + 1].join(",");
        assert_eq!(refusal(&format!("[{many}]")), "cron has 33 tasks; the limit is 32");
    }
}
