//! Which lines somebody wants: the words of a query, read.

use autostack_base::clock;
use autostack_domain::{Moment, ProcessType, UnixMillis};
use autostack_logs::Filter;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::ApiError;

/// Lines of a page where nobody says how many.
const LINES_DEFAULT: u16 = 100;
/// Lines of a page at most.
const LINES_MAX: u16 = 1000;

/// Which lines of an app's log somebody wants.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Only those from then on: `10m`, `2h`, `2026-11-24T10:00` (UTC), `2026-11-24T10:00:00+01:00`.
    since: Option<String>,
    /// Only those up to then, in the same words.
    until: Option<String>,
    /// Only those that this regular expression matches; `(?i)` ignores case.
    grep: Option<String>,
    /// Only those of this process type, such as `web`, or of one instance, such as `web.1`.
    process: Option<String>,
    /// Only those that this release wrote.
    release: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// Only those behind this offset, the oldest first; without: the newest ones.
    from: Option<u64>,
}

/// Which lines of an app's log somebody wants to follow.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FeedQuery {
    /// Begin behind this offset; without: with the newest `limit` lines of an app, with the first of a deployment.
    from: Option<u64>,
    /// How many lines that are there come first, where no offset says it.
    #[param(minimum = 0, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// Only those that this regular expression matches; `(?i)` ignores case.
    grep: Option<String>,
    /// Only those of this process type, such as `web`, or of one instance, such as `web.1`.
    process: Option<String>,
    /// Only those that this release writes.
    release: Option<String>,
    /// A ticket of `POST /api/auth/ticket`, for clients that can send no header; good once.
    pub(super) ticket: Option<String>,
}

/// A query, read.
pub(super) struct Asked {
    pub(super) filter: Filter,
    pub(super) from: Option<u64>,
    pub(super) limit: usize,
}

impl LogQuery {
    pub(super) fn read(&self) -> Result<Asked, ApiError> {
        let limit = match self.limit.unwrap_or(LINES_DEFAULT) {
            limit @ 1..=LINES_MAX => usize::from(limit),
            _ => return Err(ApiError::invalid(format!("limit must be 1 to {LINES_MAX}"))),
        };
        let filter = filter(self.process.as_deref(), self.release.as_deref(), self.grep.as_deref())?;
        let (since, until) = (moment(self.since.as_deref())?, moment(self.until.as_deref())?);
        Ok(Asked { filter: Filter { since, until, ..filter }, from: self.from, limit })
    }
}

impl FeedQuery {
    pub(super) fn read(&self) -> Result<Asked, ApiError> {
        let limit = match self.limit.unwrap_or(LINES_DEFAULT) {
            limit @ 0..=LINES_MAX => usize::from(limit),
            _ => return Err(ApiError::invalid(format!("limit must be 0 to {LINES_MAX}"))),
        };
        let filter = filter(self.process.as_deref(), self.release.as_deref(), self.grep.as_deref())?;
        Ok(Asked { filter, from: self.from, limit })
    }
}

fn moment(given: Option<&str>) -> Result<Option<UnixMillis>, ApiError> {
    let parse = |given: &str| given.parse().map(|moment: Moment| moment.resolve(clock::now()));
    Ok(given.map(parse).transpose()?)
}

/// `web` is a process type, `web.1` one instance of it.
fn filter(process: Option<&str>, release: Option<&str>, grep: Option<&str>) -> Result<Filter, ApiError> {
    let mut filter = Filter::all();
    if let Some(given) = process {
        let instance = given.split_once('.').filter(|(_, index)| index.parse::<u32>().is_ok());
        let parsed: ProcessType = instance.map_or(given, |(process, _)| process).parse()?;
        match instance {
            Some(_) => filter.dyno = Some(given.to_owned()),
            None => filter.process = Some(parsed),
        }
    }
    filter.release = release.map(str::parse).transpose()?;
    filter.pattern = grep.map(str::parse).transpose()?;
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_limits_are_kept() {
        let query = LogQuery {
            process: Some("web.1".into()),
            release: Some("v3".into()),
            grep: Some("(?i)error".into()),
            since: Some("10m".into()),
            limit: Some(1000),
            ..LogQuery::default()
        };
        let asked = query.read().unwrap();
        assert_eq!((asked.filter.dyno.as_deref(), asked.limit), (Some("web.1"), 1000));
        assert!(asked.filter.since.is_some() && asked.filter.pattern.is_some());
        for bad in [
            LogQuery { limit: Some(0), ..LogQuery::default() },
            LogQuery { limit: Some(1001), ..LogQuery::default() },
            LogQuery { grep: Some("(".into()), ..LogQuery::default() },
            LogQuery { process: Some("../x".into()), ..LogQuery::default() },
            LogQuery { release: Some("x".into()), ..LogQuery::default() },
            LogQuery { since: Some("soon".into()), ..LogQuery::default() },
        ] {
            assert_eq!(bad.read().err().map(|error| error.code), Some("invalid"));
        }
        assert_eq!(FeedQuery { limit: Some(0), ..FeedQuery::default() }.read().unwrap().limit, 0);
    }
}
