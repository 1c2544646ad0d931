//! Dates as text: for the `date` of answers and the start times of the access log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 86_400;

/// A moment in parts, in UTC.
struct Parts {
    year: u64,
    month: usize,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    millis: u32,
    weekday: usize,
}

/// A moment as HTTP writes it: `Thu, 01 Jan 1970 00:00:00 GMT`.
pub fn http_date(at: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let it = parts(at);
    format!(
        "{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
        DAYS[it.weekday],
        it.day,
        MONTHS[it.month - 1],
        it.year,
        it.hour,
        it.minute,
        it.second
    )
}

/// Writes a moment as Envoy's log does: `1970-01-01T00:00:00.000Z`.
pub fn write_iso(out: &mut Vec<u8>, at: SystemTime) {
    use std::io::Write;
    let it = parts(at);
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        it.year, it.month, it.day, it.hour, it.minute, it.second, it.millis
    );
}

/// The same for seconds since 1970, as certificates have them; moments before are 1970.
pub fn write_iso_seconds(out: &mut Vec<u8>, seconds: i64) {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    if let Some(at) = UNIX_EPOCH.checked_add(since) {
        write_iso(out, at);
    }
}

/// Howard Hinnant's algorithm: days since 0000-03-01 in eras of 400 years, so that the leap day is
/// the last of its year.
fn parts(at: SystemTime) -> Parts {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let days = since.as_secs() / SECONDS_PER_DAY;
    let seconds = since.as_secs() % SECONDS_PER_DAY;
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    Parts {
        year: year_of_era + era * 400 + u64::from(month <= 2),
        month: usize::try_from(month).unwrap_or(1),
        day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
        hour: seconds / 3600,
        minute: seconds / 60 % 60,
        second: seconds % 60,
        millis: since.subsec_millis(),
        weekday: usize::try_from((days + 4) % 7).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_right_around_leap_days_and_new_years() {
        for (seconds, http, iso) in [
            (
                0,
                "Thu, 01 Jan 1970 00:00:00 GMT",
                "1970-01-01T00:00:00.007Z",
            ),
            (
                951_782_400,
                "Tue, 29 Feb 2000 00:00:00 GMT",
                "2000-02-29T00:00:00.007Z",
            ),
            (
                784_111_777,
                "Sun, 06 Nov 1994 08:49:37 GMT",
                "1994-11-06T08:49:37.007Z",
            ),
            (
                1_798_761_599,
                "Thu, 31 Dec 2026 23:59:59 GMT",
                "2026-12-31T23:59:59.007Z",
            ),
            (
                4_107_542_400,
                "Mon, 01 Mar 2100 00:00:00 GMT",
                "2100-03-01T00:00:00.007Z",
            ),
        ] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(7);
            assert_eq!(http_date(at), http);
            let mut out = Vec::new();
            write_iso(&mut out, at);
            assert_eq!(String::from_utf8_lossy(&out), iso);
        }
    }
}
