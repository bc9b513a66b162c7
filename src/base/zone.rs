//! [`Zone`]: wall clock time in a place, for what happens at set times.

use std::cmp::Ordering;

use autostack_domain::{
    UnixMillis,
    cron::{Schedule, TimeZoneName},
};
use croner::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday, errors::CronError};
use jiff::{
    SignedDuration, Timestamp, ZonedDateTime,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

/// A time zone. What it knows of daylight saving is the host's.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

impl Zone {
    /// The host's own; UTC where it says none.
    pub fn host() -> Self {
        Self(TimeZone::system())
    }

    /// The one of that name; `None` where the host knows none.
    pub fn named(name: &TimeZoneName) -> Option<Self> {
        TimeZone::get(name.as_str()).ok().map(Self)
    }

    /// The one of that name, or the host's own.
    pub fn named_or_host(name: Option<&TimeZoneName>) -> Self {
        name.and_then(Self::named).unwrap_or_else(Self::host)
    }

    /// The first moment after `after` at which a schedule is due here. What is due at a time that a day skips is due
    /// right after the gap; at a time that a day has twice, once. `None` where there is none.
    pub fn next(&self, schedule: &Schedule, after: UnixMillis) -> Option<UnixMillis> {
        let after = Timestamp::from_millisecond(after.0).ok()?;
        let next = schedule.next(&Moment(after.to_zoned_datetime(self.0.clone())))?;
        Some(UnixMillis(next.0.timestamp().as_millisecond()))
    }

    /// A moment for people: `2026-08-01 03:30:00+02:00`.
    pub fn show(&self, at: UnixMillis) -> String {
        let Ok(at) = Timestamp::from_millisecond(at.0) else { return at.0.to_string() };
        at.to_zoned_datetime(self.0.clone()).strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
    }
}

/// A moment in a place, as schedules are searched with.
#[derive(Clone)]
struct Moment(ZonedDateTime);

/// The parts of a date, whose ranges both sides agree on.
fn part(number: i8) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

fn back(number: u32) -> Result<i8, CronError> {
    i8::try_from(number).map_err(|_| CronError::InvalidDate)
}

impl CronDateTime for Moment {
    #[expect(clippy::expect_used, reason = "both sides have the same calendar")]
    fn to_civil(&self) -> CivilDateTime {
        let at = self.0.datetime();
        CivilDateTime::new(
            CivilDate::from_ymd(i32::from(at.year()), part(at.month()), part(at.day()))
                .expect("one calendar has the days of the other"),
            CivilTime::from_hms_opt(part(at.hour()), part(at.minute()), part(at.second()))
                .expect("one day has the seconds of the other"),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::Sunday.shift(i32::from(self.0.weekday().to_sunday_zero_offset()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
        let (hour, minute, second) = (back(civil.hour())?, back(civil.minute())?, back(civil.second())?);
        let at = DateTime::new(year, back(civil.month())?, back(civil.day())?, hour, minute, second, 0)
            .map_err(|_| CronError::InvalidDate)?;
        let found = self.0.time_zone().to_ambiguous_zoned_datetime(at);
        let moment =
            |zoned: Result<ZonedDateTime, jiff::Error>| zoned.map(Moment).map_err(|_| CronError::InvalidTime);
        Ok(match found.offset() {
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(moment(found.unambiguous())?),
            AmbiguousOffset::Fold { .. } => {
                Resolution::Ambiguous(moment(found.clone().earlier())?, moment(found.later())?)
            }
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Moment)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixMillis {
        UnixMillis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn zone(name: &str) -> Zone {
        Zone::named(&name.parse().unwrap()).unwrap()
    }

    fn next(zone: &Zone, schedule: &str, after: &str) -> String {
        zone.show(zone.next(&schedule.parse().unwrap(), at(after)).unwrap())
    }

    #[test]
    fn a_schedule_is_due_by_the_clock_on_the_wall() {
        assert_eq!(next(&zone("UTC"), "30 3 * * *", "2026-08-01T03:30:00Z"), "2026-08-02 03:30:00+00:00");
        let berlin = zone("Europe/Berlin");
        assert_eq!(next(&berlin, "30 3 * * *", "2026-08-01T00:00:00Z"), "2026-08-01 03:30:00+02:00");
        assert_eq!(next(&berlin, "30 3 * * *", "2026-12-01T00:00:00Z"), "2026-12-01 03:30:00+01:00");
        assert_eq!(next(&berlin, "*/2 * * * * *", "2026-08-01T00:00:00.500Z"), "2026-08-01 02:00:02+02:00");
    }

    #[test]
    fn a_day_that_skips_or_repeats_an_hour_has_each_run_once() {
        let berlin = zone("Europe/Berlin");
        // On 29 March 2026 the clock goes from 2:00 to 3:00, on 25 October from 3:00 back to 2:00.
        assert_eq!(next(&berlin, "30 2 * * *", "2026-03-28T12:00:00Z"), "2026-03-29 03:00:00+02:00");
        assert_eq!(next(&berlin, "30 2 * * *", "2026-03-29T12:00:00Z"), "2026-03-30 02:30:00+02:00");
        assert_eq!(next(&berlin, "30 2 * * *", "2026-10-24T12:00:00Z"), "2026-10-25 02:30:00+02:00");
        assert_eq!(next(&berlin, "30 2 * * *", "2026-10-25T00:30:00Z"), "2026-10-26 02:30:00+01:00");
    }

    #[test]
    fn a_zone_that_the_host_does_not_know_is_none() {
        assert!(Zone::named(&"Mars/Olympus".parse().unwrap()).is_none());
        let _host = Zone::named_or_host(Some(&"Mars/Olympus".parse().unwrap())).show(UnixMillis(0));
    }
}
