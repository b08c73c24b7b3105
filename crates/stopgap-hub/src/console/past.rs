//! Questions about the past: which servers were protected by this on that day?

use askama::Template;
use axum::extract::State;
use jiff::Timestamp;

use super::csv;
use super::marks::{Kind, Mark, minute};
use super::visit::{Shell, Shown, Visit};
use crate::api::mitigations::summaries;
use crate::past::{self, Day, How, Line};
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
    lines: Vec<Row>,
    csv: String,
}

/// One server on the day.
struct Row(Line);

impl Row {
    fn mark(&self) -> Mark {
        match self.0.how {
            How::Whole(..) => Mark::new(Kind::Good, "All day"),
            How::Part(_) => Mark::new(Kind::Partly, "Part of the day"),
            How::Not => Mark::new(Kind::Idle, "Not"),
        }
    }

    fn times(&self) -> String {
        let How::Part(times) = &self.0.how else { return String::new() };
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
            vec![mitigation.clone(), day.clone(), line.0.server, mark, times]
        });
        return Ok(csv::file("past", &header, rows));
    }
    let count = |wanted: fn(&How) -> bool| lines.iter().filter(|line| wanted(&line.0.how)).count();
    let known = summaries(&state).await?.into_iter().map(|one| format!("{}:{}", one.feed, one.id)).collect();
    visit.page(&Page {
        shell: visit.shell("The past", "past"),
        whole: count(|how| matches!(how, How::Whole(..))),
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

async fn lines(state: &AppState, mitigation: &str, day: &str, now: Timestamp) -> Result<Vec<Row>, Problem> {
    let key: Key = mitigation.parse().map_err(|_| {
        Problem::unprocessable(format_args!("{mitigation:?} is no mitigation; expected FEED:ID"))
    })?;
    let day = Day::of(day, now)?;
    let lines = past::servers_on(state, &key, None, &past::there(state, day).await?, day).await?;
    Ok(lines.into_iter().map(Row).collect())
}
