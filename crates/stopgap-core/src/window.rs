//! Maintenance windows: when something new may come into force.
//!
//! ```text
//! 22:00 4h                 every day
//! sat,sun 02:00 6h         on these days
//! mon-fri 23:30 90m        it begins on these days, and may end on the next
//! ```
//!
//! Times are UTC: a fleet has one clock and many zones, and in none of them is an hour left out or told twice. A window
//! holds back what would be put on, as a ring does. What is in force stays and is kept up; what must leave leaves.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY: i64 = 86_400;
/// A window is at most a week long: it comes back every week at the latest.
const LONGEST: i64 = 7 * DAY;

/// When something new may come into force, week after week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Monday first.
    days: [bool; 7],
    /// Seconds after midnight, UTC.
    from: i64,
    /// Seconds, 60 to a week.
    lasts: i64,
}

impl Window {
    /// Every moment from the week before `at` to the week after when it opens, in order.
    fn openings(&self, at: i64) -> impl Iterator<Item = i64> {
        let today = at.div_euclid(DAY);
        (today - 7..=today + 7).filter_map(move |day| {
            // The first day of 1970 was a Thursday.
            let weekday = usize::try_from((day + 3).rem_euclid(7)).ok()?;
            self.days.get(weekday).is_some_and(|open| *open).then_some(day * DAY + self.from)
        })
    }
}

/// The first moment from `at` on that lies in a window; `at` itself where there is no window.
pub fn first_open(windows: &[Window], at: Timestamp) -> Timestamp {
    if windows.is_empty() {
        return at;
    }
    let now = at.as_second();
    let openings = || windows.iter().flat_map(|window| window.openings(now).map(move |from| (from, window)));
    if openings().any(|(from, window)| from <= now && now < from + window.lasts) {
        return at;
    }
    let next = openings().map(|(from, _)| from).filter(|from| *from > now).min();
    next.and_then(|next| Timestamp::from_second(next).ok()).unwrap_or(at)
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Window, String> {
        let wrong =
            || format!("{text:?} is no window; expected such as: sat,sun 02:00 6h (in UTC, at most 7d)");
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, from, lasts) = match words.as_slice() {
            [from, lasts] => ([true; 7], *from, *lasts),
            [days, from, lasts] => (parse_days(days).ok_or_else(wrong)?, *from, *lasts),
            _ => return Err(wrong()),
        };
        let from = parse_time(from).ok_or_else(wrong)?;
        let lasts = parse_length(lasts).filter(|lasts| (60..=LONGEST).contains(lasts)).ok_or_else(wrong)?;
        Ok(Window { days, from, lasts })
    }
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let place = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (place(first)?, place(last)?);
        loop {
            *days.get_mut(at)? = true;
            if at == last {
                break;
            }
            at = (at + 1) % 7;
        }
    }
    Some(days)
}

fn parse_time(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, below: i64| {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| digits && *number < below)
    };
    Some(number(hours, 24)? * 3600 + number(minutes, 60)? * 60)
}

const UNITS: [(char, i64); 3] = [('d', DAY), ('h', 3600), ('m', 60)];

fn parse_length(text: &str) -> Option<i64> {
    let (unit, length) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
    let digits = text.strip_suffix(unit)?;
    let plain = !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|octet| octet.is_ascii_digit());
    digits.parse::<i64>().ok().filter(|_| plain)?.checked_mul(length)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != [true; 7] {
            let named = DAYS.iter().zip(self.days).filter(|(_, open)| *open).map(|(name, _)| *name);
            write!(f, "{} ", named.collect::<Vec<_>>().join(","))?;
        }
        let (unit, length) =
            UNITS.into_iter().find(|(_, length)| self.lasts % length == 0).unwrap_or(('m', 60));
        write!(f, "{:02}:{:02} {}{unit}", self.from / 3600, self.from % 3600 / 60, self.lasts / length)
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Window, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(texts: &[&str]) -> Vec<Window> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_first_moment_in_a_window() {
        // 22 November 2026 is a Sunday.
        for (texts, at, expected) in [
            (&[][..], "2026-11-22T03:00:00Z", "2026-11-22T03:00:00Z"),
            (&["22:00 4h"], "2026-11-22T03:00:00Z", "2026-11-22T22:00:00Z"),
            (&["22:00 4h"], "2026-11-22T22:00:00Z", "2026-11-22T22:00:00Z"),
            // Past midnight, to its last second and no longer.
            (&["22:00 4h"], "2026-11-23T01:59:59Z", "2026-11-23T01:59:59Z"),
            (&["22:00 4h"], "2026-11-23T02:00:00Z", "2026-11-23T22:00:00Z"),
            (&["sat 02:00 6h"], "2026-11-22T03:00:00Z", "2026-11-28T02:00:00Z"),
            (&["sat 23:00 6h"], "2026-11-22T03:00:00Z", "2026-11-22T03:00:00Z"),
            (&["sun 02:00 6h"], "2026-11-22T08:00:00Z", "2026-11-29T02:00:00Z"),
            (&["mon-fri 23:30 90m"], "2026-11-22T23:40:00Z", "2026-11-23T23:30:00Z"),
            (&["mon-fri 23:30 90m"], "2026-11-28T00:59:00Z", "2026-11-28T00:59:00Z"),
            (&["tue 00:00 1h", "mon 20:00 1h"], "2026-11-22T03:00:00Z", "2026-11-23T20:00:00Z"),
            (&["wed 12:00 7d"], "2026-11-22T03:00:00Z", "2026-11-22T03:00:00Z"),
            (&["thu 00:00 1h"], "1969-12-31T23:30:00Z", "1970-01-01T00:00:00Z"),
        ] {
            let found = first_open(&windows(texts), at.parse().unwrap());
            assert_eq!(found.to_string(), expected, "{texts:?} {at}");
        }
    }

    #[test]
    fn a_window_is_written_as_it_is_read() {
        for (text, expected) in [
            ("22:00 4h", "22:00 4h"),
            ("mon-sun 2:05 24h", "02:05 1d"),
            ("Fri-Mon 02:00 90m", "mon,fri,sat,sun 02:00 90m"),
            ("sun,sat 00:00 2d", "sat,sun 00:00 2d"),
        ] {
            let window: Window = text.parse().unwrap();
            assert_eq!(window.to_string(), expected);
            assert_eq!(serde_json::from_value::<Window>(serde_json::json!(expected)).unwrap(), window);
        }
        for wrong in [
            "",
            "22:00",
            "24:00 1h",
            "22:60 1h",
            "sam 22:00 1h",
            "22:00 8d",
            "22:00 0h",
            "22:00 30s",
            "a b c d",
            "22:00 -1h",
            "+2:00 1h",
        ] {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }
}
