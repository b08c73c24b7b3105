//! Questions about the past: which servers were protected by this on that day?

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::csv;
use super::marks::{Kind, Mark, minute};
use super::visit::{Shell, Shown, Visit};
use crate::api::mitigations::summaries;
use crate::db::history::{self, Span};
use crate::people::Right;
use crate::problem::Problem;
use crate::state::AppState;
use stopgap_feed::Key;

#[derive(Template)]
#[template(path = "past.html")]
struct Page {
    shell: Shell,
    mitigation: String,
    day: String,
    known: Vec<String>,
    asked: bool,
    whole: usize,
    part: usize,
    without: usize,
    lines: Vec<Line>,
    csv: String,
}

/// One server on the day.
struct Line {
    server: String,
    how: How,
}

/// How a server was protected on the day.
#[derive(Debug, PartialEq, Eq)]
enum How {
    /// All the time that it was there.
    Whole,
    /// At these times.
    Part(Vec<(Timestamp, Timestamp)>),
    /// Never.
    Not,
}

impl Line {
    fn mark(&self) -> Mark {
        match self.how {
            How::Whole => Mark::new(Kind::Good, "All day"),
            How::Part(_) => Mark::new(Kind::Partly, "Part of the day"),
            How::Not => Mark::new(Kind::Idle, "Not"),
        }
    }

    fn times(&self) -> String {
        let How::Part(times) = &self.how else { return String::new() };
        let clock = |at: &Timestamp| minute(*at).split_off(11);
        let one = |(from, until): &(Timestamp, Timestamp)| format!("{}–{}", clock(from), clock(until));
        times.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

pub(super) async fn show(State(state): State<AppState>, visit: Visit) -> Shown {
    visit.may(Right::See)?;
    let mitigation = visit.query.get("mitigation").to_owned();
    let day = visit.query.get("day").to_owned();
    let asked = !mitigation.is_empty() && !day.is_empty();
    let lines = if asked { lines(&state, &mitigation, &day, visit.now).await? } else { Vec::new() };
    if visit.wants_csv() && asked {
        let header = ["Mitigation", "Day", "Server", "Protected", "Times"];
        let rows = lines.into_iter().map(|line| {
            let (mark, times) = (line.mark().text, line.times());
            vec![mitigation.clone(), day.clone(), line.server, mark, times]
        });
        return Ok(csv::file("past", &header, rows));
    }
    let count = |wanted: fn(&How) -> bool| lines.iter().filter(|line| wanted(&line.how)).count();
    let known = summaries(&state).await?.into_iter().map(|one| format!("{}:{}", one.feed, one.id)).collect();
    visit.page(&Page {
        shell: visit.shell("The past", "past"),
        whole: count(|how| *how == How::Whole),
        part: count(|how| matches!(how, How::Part(_))),
        without: count(|how| *how == How::Not),
        csv: visit.address_with(&[("format", "csv")]),
        mitigation,
        day,
        known,
        asked,
        lines,
    })
}

async fn lines(state: &AppState, mitigation: &str, day: &str, now: Timestamp) -> Result<Vec<Line>, Problem> {
    let key: Key = mitigation.parse().map_err(|_| {
        Problem::unprocessable(format_args!("{mitigation:?} is no mitigation; expected FEED:ID"))
    })?;
    let from = begin_of_day(day);
    let from =
        from.ok_or_else(|| Problem::unprocessable(format_args!("{day:?} is no day; expected 2026-11-22")))?;
    let until = (from + SignedDuration::from_hours(24)).min(now.max(from));
    let db = state.db.reader();
    let spans = history::spans(db, &key.feed.to_string(), &key.id.to_string(), from, until).await?;
    let mut there: BTreeMap<String, Timestamp> =
        history::enrolled_before(db, until).await?.into_iter().collect();
    let mut by_server: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for span in spans {
        there.entry(span.server.clone()).or_insert(from);
        by_server.entry(span.server.clone()).or_default().push(span);
    }
    let line = |(server, joined): (String, Timestamp)| {
        let spans = by_server.get(&server).map(Vec::as_slice).unwrap_or_default();
        Line { how: how(spans, joined.clamp(from, until), until), server }
    };
    Ok(there.into_iter().map(line).collect())
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
        [(begin, end)] if *begin == from && *end == until => How::Whole,
        _ => How::Part(times),
    }
}

/// Midnight, UTC, of `2026-11-22`.
pub(super) fn begin_of_day(day: &str) -> Option<Timestamp> {
    let day: Date = day.parse().ok()?;
    day.to_zoned(TimeZone::UTC).ok().map(|midnight| midnight.timestamp())
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
        assert_eq!(how(&[], from, until), How::Not);
        assert_eq!(how(&[span("00:00", None)], from, until), How::Whole);
        let joined = [span("00:00", Some("12:00")), span("12:00", None)];
        assert_eq!(how(&joined, from, until), How::Whole, "two that touch are one");
        let gap = [span("06:00", Some("12:00")), span("13:00", None)];
        assert_eq!(how(&gap, from, until), How::Part(vec![(at("06:00"), at("12:00")), (at("13:00"), until)]));
        assert_eq!(how(&[span("06:00", Some("07:00"))], at("08:00"), until), How::Not, "before it joined");
    }

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        assert_eq!(begin_of_day("2026-11-21"), Some(at("00:00")));
        assert_eq!(begin_of_day("yesterday"), None);
    }
}
