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
    /// Count a mutant that survives as a failure
    #[arg(long)]
    strict: bool,
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
        for rule in &report.without_literal {
            output::line(format_args!(
                "{}: warning: rule \"{}\" is held against every request: no text is in all that it matches",
                rule.action, rule.rule
            ))?;
        }
        for forged in &report.forged {
            for survivor in &forged.survivors {
                let name = serde_json::to_value(survivor.mutation)?;
                output::line(format_args!(
                    "{} attack.http ({}): mutant passes: {}: {}",
                    forged.mitigation,
                    forged.name,
                    name.as_str().unwrap_or_default(),
                    survivor.head.trim_end().replace("\r\n", " | ")
                ))?;
            }
        }
        let failed = report.failed().count();
        output::line(format_args!("{} requests, {failed} not as expected", report.cases.len()))?;
        output::line(format_args!("{} mutants, {} pass", report.tried(), report.survived()))?;
    }
    let survived = args.strict && report.survived() > 0;
    Ok(if report.is_proven() && !survived { Code::Done } else { Code::Wanting })
}
