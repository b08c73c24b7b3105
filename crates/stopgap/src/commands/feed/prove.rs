//! `stopgap feed prove`.

use std::path::PathBuf;

use jiff::Timestamp;
use stopgap_publish::release;

use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let report = release::draft(&args.dir, Timestamp::now())?.proof;
    if args.json {
        output::json(&report)?;
    } else {
        for broken in &report.broken {
            output::line(format_args!("{}: {}", broken.action, broken.reason))?;
        }
        for case in &report.cases {
            output::line(case)?;
        }
        let failed = report.failed().count();
        output::line(format_args!("{} requests, {failed} not as expected", report.cases.len()))?;
    }
    Ok(if report.is_proven() { Code::Done } else { Code::Wanting })
}
