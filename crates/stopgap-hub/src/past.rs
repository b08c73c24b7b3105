//! The past: which servers were protected by a mitigation on a day, and at which times. What the console's page and
//! `GET /v1/history` say of it is made here.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use stopgap_feed::Key;

use crate::db::history::{self, Span};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// One server on the day.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The server's name; its identity where it is no longer there.
    pub server: String,
    /// How it was protected.
    pub how: How,
}

/// How a server was protected on the day.
#[derive(Debug, PartialEq, Eq)]
pub enum How {
    /// All the time that it was there: from then until then.
    Whole(Timestamp, Timestamp),
    /// At these times.
    Part(Vec<(Timestamp, Timestamp)>),
    /// Never.
    Not,
}

/// A day in UTC: from its midnight until the next, or until now where it is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Its midnight.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

impl Day {
    /// Of `2026-11-22`. Of a day to come nothing is known.
    pub fn of(text: &str, now: Timestamp) -> Answer<Day> {
        let none = || Problem::unprocessable(format_args!("{text:?} is no day; expected 2026-11-22"));
        let from = begin_of_day(text).ok_or_else(none)?;
        let until = from.checked_add(SignedDuration::from_hours(24)).map_err(|_| none())?;
        if from > now {
            return Err(Problem::unprocessable(format_args!("{text} has not begun; it is {now:.0}")));
        }
        Ok(Day { from, until: until.min(now) })
    }
}

/// Midnight, UTC, of `2026-11-22`.
pub fn begin_of_day(day: &str) -> Option<Timestamp> {
    let day: Date = day.parse().ok()?;
    day.to_zoned(TimeZone::UTC).ok().map(|midnight| midnight.timestamp())
}

/// Servers that were there on the day, with the time that they joined.
pub type There = BTreeMap<String, Timestamp>;

/// Those that are there still; one that is gone since is known by what was in force on it.
pub async fn there(state: &AppState, day: Day) -> Answer<There> {
    Ok(history::enrolled_before(state.db.reader(), day.until).await?.into_iter().collect())
}

/// How a mitigation protected each server that was there on the day, or this one alone, by name.
pub async fn servers_on(
    state: &AppState,
    key: &Key,
    server: Option<&str>,
    there: &There,
    day: Day,
) -> Answer<Vec<Line>> {
    let Day { from, until } = day;
    let (feed, id) = (key.feed.to_string(), key.id.to_string());
    let spans = history::spans(state.db.reader(), &feed, &id, server, from, until).await?;
    let mut by_server: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for span in spans {
        by_server.entry(span.server.clone()).or_default().push(span);
    }
    let wanted = |name: &String| server.is_none_or(|server| server.to_lowercase() == name.to_lowercase());
    let mut lines: BTreeMap<String, How> = there
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, joined)| {
            let spans = by_server.remove(name).unwrap_or_default();
            (name.clone(), how(&spans, (*joined).clamp(from, until), until))
        })
        .collect();
    lines.extend(by_server.into_iter().map(|(name, spans)| {
        let how = how(&spans, from, until);
        (name, how)
    }));
    Ok(lines.into_iter().map(|(server, how)| Line { server, how }).collect())
}

/// How these spans cover the time from `from` to `until`. They are in their order.
fn how(spans: &[Span], from: Timestamp, until: Timestamp) -> How {
    let cut = |span: &Span| (span.from.max(from), span.until.unwrap_or(until).min(until));
    let mut times: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (begin, end) in spans.iter().map(cut).filter(|(begin, end)| begin < end) {
        match times.last_mut() {
            Some((_, last)) if begin <= *last => *last = end.max(*last),
            _ => times.push((begin, end)),
        }
    }
    match times.as_slice() {
        [] => How::Not,
        [(begin, end)] if *begin == from && *end == until => How::Whole(from, until),
        _ => How::Part(times),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(clock: &str) -> Timestamp {
        format!("2026-11-21T{clock}:00Z").parse().unwrap()
    }

    fn span(from: &str, until: Option<&str>) -> Span {
        Span { server: "S".into(), from: at(from), until: until.map(at) }
    }

    #[test]
    fn a_day_is_covered_whole_in_part_or_not() {
        let (from, until) = (at("00:00"), at("23:59"));
        let whole = How::Whole(from, until);
        assert_eq!(how(&[], from, until), How::Not);
        assert_eq!(how(&[span("00:00", None)], from, until), whole);
        let joined = [span("00:00", Some("12:00")), span("12:00", None)];
        assert_eq!(how(&joined, from, until), whole, "two that touch are one");
        let gap = [span("06:00", Some("12:00")), span("13:00", None)];
        assert_eq!(how(&gap, from, until), How::Part(vec![(at("06:00"), at("12:00")), (at("13:00"), until)]));
        assert_eq!(how(&[span("06:00", Some("07:00"))], at("08:00"), until), How::Not, "before it joined");
    }

    #[test]
    fn a_day_begins_at_midnight_in_utc_and_is_over_at_the_next_or_now() {
        let day = |text, now| Day::of(text, at(now)).unwrap();
        assert_eq!(day("2026-11-21", "15:00"), Day { from: at("00:00"), until: at("15:00") });
        assert_eq!(day("2026-11-20", "15:00").until, at("00:00"));
        for none in ["yesterday", "", "2026-11-31", "2026-11-22", "9999-12-31"] {
            assert_eq!(Day::of(none, at("15:00")).map(|_| ()).unwrap_err().status, 422, "{none}");
        }
    }
}
