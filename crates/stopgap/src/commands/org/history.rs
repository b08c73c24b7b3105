//! `stopgap org history`: which servers were protected by what on a day, as the hub knows it.

use jiff::civil::Date;
use serde_json::Value;

use super::text;
use crate::commands::remote::{Remote, at};
use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The day, in UTC, such as 2026-11-22
    #[arg(long, value_name = "DATE")]
    on: Date,
    /// Only this mitigation, such as M1 or example:M1; without it, each that was in force somewhere that day
    #[arg(long, value_name = "ID")]
    mitigation: Option<String>,
    /// Only this server
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV
    #[arg(long)]
    csv: bool,
}

pub async fn run(remote: &Remote, args: Args) -> Outcome {
    let mut query = vec![("on", args.on.to_string())];
    if let Some(id) = &args.mitigation {
        let (feed, id) = super::named(remote, id).await?;
        query.push(("mitigation", format!("{feed}:{id}")));
    }
    query.extend(args.server.map(|name| ("server", name)));
    let past = remote.all(&["history"], &query).await?;
    let row = |one: &Value| {
        let mitigation = format!("{}:{}", text(one, "feed"), text(one, "id"));
        vec![mitigation, text(one, "server"), text(one, "protected"), times(one)]
    };
    if args.json {
        output::json(&past)?;
    } else if args.csv {
        let mut bytes = Vec::new();
        let rows = past.iter().map(|one| [vec![args.on.to_string()], row(one)].concat());
        output::csv(&mut bytes, &["Day", "Mitigation", "Server", "Protected", "Times"], rows)?;
        output::text(String::from_utf8_lossy(&bytes))?;
    } else if past.is_empty() {
        output::say(format_args!("nothing of that was in force on {}", args.on));
    } else {
        let header = ["MITIGATION", "SERVER", "PROTECTED", "TIMES (UTC)"];
        output::line(output::table(&header, past.iter().map(row)))?;
    }
    Ok(Code::Done)
}

/// Hours and minutes: the day is known.
fn times(one: &Value) -> String {
    let clock = |time: String| time.get(11..16).unwrap_or_default().to_owned();
    let stretches = at(one, "times").as_array().into_iter().flatten();
    let stretches =
        stretches.map(|one| format!("{}-{}", clock(text(one, "from")), clock(text(one, "until"))));
    stretches.collect::<Vec<_>>().join(", ")
}
