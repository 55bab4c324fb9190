//! Rotation schedules: when a tenant's KEK is due to be changed. Periods are the calendar's, in
//! UTC, counted from when the schedule was set: a month from the 31st is the month's last day, and
//! two months from the 31st are the 31st again.
//! Not for: changing it (see `keyreel-keys`), nor for who does so (see `keyreel-server`).

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use keyreel_format::TenantId;

/// How often a tenant's KEK is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RotationPeriod {
    /// Every 24 hours.
    Daily,
    /// Every 7 days.
    Weekly,
    /// Every month.
    Monthly,
    /// Every year.
    Yearly,
}

/// How often a tenant's KEK is changed by itself, and how that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationSchedule {
    /// How often.
    pub period: RotationPeriod,
    /// When it was set, ms since 1970. Due dates count from here.
    pub since_ms: u64,
    /// The date that is to be met next.
    pub due_ms: u64,
    /// When it is tried: the due date, or later after a failure.
    pub try_ms: u64,
    /// How often it was tried in vain.
    pub failures: u32,
    /// What was said the last time.
    pub last_error: Option<String>,
}

/// A rotation that is due and is nobody else's to run, until the claim is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRotation {
    /// Whose KEK.
    pub tenant: TenantId,
    /// The claim, as it was given.
    pub claim: String,
    /// The schedule.
    pub schedule: RotationSchedule,
}

impl RotationPeriod {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly];

    /// Its name, as the API has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "DAILY",
            Self::Weekly => "WEEKLY",
            Self::Monthly => "MONTHLY",
            Self::Yearly => "YEARLY",
        }
    }

    /// The period of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == name)
    }

    /// `count` periods after `since`.
    fn after(self, since: DateTime, count: i64) -> Option<DateTime> {
        let span = Span::new();
        let span = match self {
            Self::Daily => span.try_days(count),
            Self::Weekly => span.try_weeks(count),
            Self::Monthly => span.try_months(count),
            Self::Yearly => span.try_years(count),
        };
        since.checked_add(span.ok()?).ok()
    }

    /// At least one whole period, and never more days than there are in `count` of them.
    fn shortest_days(self) -> i64 {
        match self {
            Self::Daily => 1,
            Self::Weekly => 7,
            Self::Monthly => 31,
            Self::Yearly => 366,
        }
    }

    /// The first due date after `now_ms`, where the first of all is one period after `since_ms`.
    /// At the end of the calendar there is none: the greatest number.
    #[must_use]
    pub fn due_after(self, since_ms: u64, now_ms: u64) -> u64 {
        let Some(since) = moment(since_ms) else {
            return u64::MAX;
        };
        let elapsed_days = now_ms.saturating_sub(since_ms) / DAY_MS;
        // As many as have passed for certain; the rest, one in seventy at most, is counted.
        let passed = i64::try_from(elapsed_days).unwrap_or(i64::MAX) / self.shortest_days();
        let mut count = passed.max(1);
        loop {
            let due = self.after(since, count).and_then(millis);
            match due {
                Some(due) if due <= now_ms => count = count.saturating_add(1),
                Some(due) => return due,
                None => return u64::MAX,
            }
        }
    }
}

impl RotationSchedule {
    /// A schedule that begins now.
    #[must_use]
    pub fn starting(period: RotationPeriod, now_ms: u64) -> Self {
        let due_ms = period.due_after(now_ms, now_ms);
        Self {
            period,
            since_ms: now_ms,
            due_ms,
            try_ms: due_ms,
            failures: 0,
            last_error: None,
        }
    }

    /// After its due date was met. Dates that were missed meanwhile are not made up for.
    #[must_use]
    pub fn met(&self, now_ms: u64) -> Self {
        let due_ms = self
            .period
            .due_after(self.since_ms, now_ms.max(self.due_ms));
        Self {
            due_ms,
            try_ms: due_ms,
            failures: 0,
            last_error: None,
            ..self.clone()
        }
    }

    /// After a try in vain, to be tried again at `try_ms`.
    #[must_use]
    pub fn failed(&self, try_ms: u64, error: String) -> Self {
        Self {
            try_ms,
            failures: self.failures.saturating_add(1),
            last_error: Some(error),
            ..self.clone()
        }
    }
}

fn moment(ms: u64) -> Option<DateTime> {
    let at = Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    Some(at.to_zoned(TimeZone::UTC).datetime())
}

fn millis(at: DateTime) -> Option<u64> {
    let at = at.to_zoned(TimeZone::UTC).ok()?.timestamp();
    u64::try_from(at.as_millisecond()).ok()
}

const DAY_MS: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        let at: Timestamp = text.parse().unwrap();
        u64::try_from(at.as_millisecond()).unwrap()
    }

    #[test]
    fn due_dates_are_the_calendars() {
        use RotationPeriod::{Daily, Monthly, Weekly, Yearly};
        let table = [
            (
                Daily,
                "2026-03-28T23:30:00Z",
                "2026-03-28T23:30:00Z",
                "2026-03-29T23:30:00Z",
            ),
            (
                Daily,
                "2026-03-01T00:00:00Z",
                "2026-03-05T00:00:00Z",
                "2026-03-06T00:00:00Z",
            ),
            (
                Daily,
                "2026-03-01T00:00:00Z",
                "2026-03-04T23:59:59.999Z",
                "2026-03-05T00:00:00Z",
            ),
            (
                Weekly,
                "2026-11-22T10:00:00Z",
                "2026-11-22T10:00:00Z",
                "2026-11-29T10:00:00Z",
            ),
            (
                Weekly,
                "2026-11-22T10:00:00Z",
                "2027-11-22T10:00:00Z",
                "2027-11-28T10:00:00Z",
            ),
            // The last day of a month, and back to the 31st.
            (
                Monthly,
                "2026-01-31T06:00:00Z",
                "2026-01-31T06:00:00Z",
                "2026-02-28T06:00:00Z",
            ),
            (
                Monthly,
                "2026-01-31T06:00:00Z",
                "2026-02-28T06:00:00Z",
                "2026-03-31T06:00:00Z",
            ),
            (
                Monthly,
                "2027-10-31T06:00:00Z",
                "2028-02-28T06:00:00Z",
                "2028-02-29T06:00:00Z",
            ),
            (
                Monthly,
                "2026-01-15T06:00:00Z",
                "2036-01-15T06:00:00Z",
                "2036-02-15T06:00:00Z",
            ),
            (
                Yearly,
                "2028-02-29T00:00:00Z",
                "2028-02-29T00:00:00Z",
                "2029-02-28T00:00:00Z",
            ),
            (
                Yearly,
                "2028-02-29T00:00:00Z",
                "2031-03-01T00:00:00Z",
                "2032-02-29T00:00:00Z",
            ),
            (
                Yearly,
                "1970-01-01T00:00:00Z",
                "2026-06-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
        ];
        for (period, since, now, due) in table {
            let found = period.due_after(ms(since), ms(now));
            let found = Timestamp::from_millisecond(i64::try_from(found).unwrap()).unwrap();
            let due: Timestamp = due.parse().unwrap();
            assert_eq!(found, due, "{period:?} since {since}, now {now}");
        }
    }

    /// Against counting one by one, which is slow and plainly right.
    #[test]
    fn whatever_the_date_the_next_due_date_is_the_first_after_it() {
        for period in RotationPeriod::ALL {
            let since_ms = ms("2023-12-31T21:00:00Z");
            let since = moment(since_ms).unwrap();
            for day in (0..4000).step_by(17) {
                let now_ms = since_ms + day * (DAY_MS + 3_600_000);
                let all = (1..).filter_map(|count| period.after(since, count).and_then(millis));
                let expected = all.into_iter().find(|due| *due > now_ms);
                assert_eq!(Some(period.due_after(since_ms, now_ms)), expected);
            }
        }
    }

    #[test]
    fn missed_dates_are_not_made_up_for_and_there_is_an_end() {
        let schedule =
            RotationSchedule::starting(RotationPeriod::Daily, ms("2026-03-01T12:00:00Z"));
        let failed = schedule.failed(schedule.due_ms + 60_000, "no".to_owned());
        assert_eq!((failed.failures, failed.due_ms), (1, schedule.due_ms));
        let met = failed.met(ms("2026-03-08T15:00:00Z"));
        assert_eq!(met.due_ms, ms("2026-03-09T12:00:00Z"));
        assert_eq!(
            (met.failures, met.last_error.clone(), met.try_ms),
            (0, None, met.due_ms)
        );
        // Met early by a clock that is behind: never the same date again.
        assert!(schedule.met(schedule.since_ms).due_ms > schedule.due_ms);
        for now in [u64::MAX, ms("9999-12-30T00:00:00Z")] {
            assert_eq!(RotationPeriod::Yearly.due_after(0, now), u64::MAX);
        }
        assert_eq!(RotationPeriod::of("DAILY"), Some(RotationPeriod::Daily));
        assert_eq!(RotationPeriod::of("daily"), None);
    }
}
