//! `stopgap feed adoption`: what servers told `feed serve` of the feed's mitigations, day by day.

use std::path::PathBuf;

use jiff::civil::Date;
use stopgap_publish::serve::{ADOPTION_FILE, read_adoption};

use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder
    #[arg(default_value = ".")]
    path: PathBuf,
    /// From this day on
    #[arg(long, value_name = "YYYY-MM-DD")]
    since: Option<Date>,
    /// Of this mitigation only
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

pub fn run(args: Args) -> Outcome {
    let file = args.path.join(ADOPTION_FILE);
    let mut adoption = read_adoption(&file).map_err(|error| Failure::new(anyhow::anyhow!("{error}")))?;
    if let Some(since) = args.since {
        adoption.days.retain(|day, _| *day >= since);
    }
    if let Some(id) = &args.id {
        adoption.days.values_mut().for_each(|day| day.mitigations.retain(|found, _| found == id));
    }
    if args.json {
        output::json(&adoption)?;
        return Ok(Code::Done);
    }
    let rows = adoption.days.into_iter().flat_map(|(date, day)| {
        let servers = day.servers;
        day.mitigations.into_iter().map(move |(id, counts)| {
            let statuses: Vec<String> =
                counts.statuses.iter().map(|(status, servers)| format!("{status} {servers}")).collect();
            vec![date.to_string(), id, servers.to_string(), counts.in_force.to_string(), statuses.join(", ")]
        })
    });
    let header = ["DAY", "ID", "SERVERS", "IN FORCE", "STATUS"];
    if args.csv {
        let mut bytes = Vec::new();
        output::csv(&mut bytes, &["Day", "Id", "Servers", "InForce", "Status"], rows)?;
        output::text(String::from_utf8(bytes).map_err(Failure::new)?)?;
    } else {
        output::line(output::table(&header, rows))?;
    }
    Ok(Code::Done)
}
