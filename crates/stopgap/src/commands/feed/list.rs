//! `stopgap feed list`, and `--released`: the table of released mitigations.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use stopgap_agent::feeds::{list, released};
use stopgap_drivers::Machine;
use stopgap_feed::FeedName;

use super::super::local;
use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// List the mitigations that were released: number, id, description, lowest, highest, rollback
    #[arg(long)]
    released: bool,
    /// Of this feed only
    #[arg(long, value_name = "NAME")]
    feed: Option<FeedName>,
    /// Print JSON
    #[arg(long, conflicts_with_all = ["csv", "html"])]
    json: bool,
    /// Print CSV
    #[arg(long, conflicts_with = "html")]
    csv: bool,
    /// Print a page (with --released)
    #[arg(long, requires = "released")]
    html: bool,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let mut feeds = list::feeds(&Machine, &config, Timestamp::now());
    if let Some(name) = &args.feed {
        feeds.retain(|(line, _)| line.name == *name);
        if feeds.is_empty() {
            return Err(super::trust::unknown(&config, name));
        }
    }
    for (line, _) in &feeds {
        if let (Some(code), Some(message)) = (&line.error, &line.message) {
            output::say(format_args!("warning: feed {}: {code}: {message}", line.name));
        }
    }
    if args.released {
        let documents = feeds.iter().filter_map(|(line, feed)| Some((&line.name, feed.as_ref()?.document())));
        let rows = released::released(documents);
        if args.html {
            output::text(released::html(&rows))?;
            return Ok(Code::Done);
        }
        let cells = rows.iter().map(released::Released::row).collect();
        print(&args, &released::COLUMNS, &rows, cells)
    } else {
        let lines: Vec<list::FeedLine> = feeds.into_iter().map(|(line, _)| line).collect();
        let cells = lines.iter().map(list::FeedLine::row).collect();
        print(&args, &list::COLUMNS, &lines, cells)
    }
}

fn print(args: &Args, columns: &[&str], rows: &impl Serialize, cells: Vec<Vec<String>>) -> Outcome {
    if args.json {
        output::json(rows)?;
    } else if args.csv {
        let mut bytes = Vec::new();
        output::csv(&mut bytes, columns, cells)?;
        output::text(String::from_utf8(bytes).map_err(Failure::new)?)?;
    } else {
        output::line(output::table(columns, cells))?;
    }
    Ok(Code::Done)
}
