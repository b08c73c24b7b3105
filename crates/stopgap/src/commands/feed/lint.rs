//! `stopgap feed lint`.

use std::path::PathBuf;

use anyhow::Context;
use jiff::Timestamp;
use stopgap_publish::lint::{Finding, Settings, expressed, is_wanting, lint};
use stopgap_publish::release;

use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder, or a document
    #[arg(default_value = ".")]
    path: PathBuf,
    /// For a document: the days that it must be valid for
    #[arg(long, value_name = "DAYS", default_value_t = 4)]
    horizon_days: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let now = Timestamp::now();
    let (findings, expressed): (Vec<Finding>, _) = if args.path.is_dir() {
        let draft = release::draft(&args.path, now)?;
        (draft.findings, expressed(draft.unsigned.as_bytes()))
    } else {
        let bytes =
            std::fs::read(&args.path).with_context(|| format!("cannot read {}", args.path.display()))?;
        (lint(&bytes, &Settings { now, horizon_days: args.horizon_days }), expressed(&bytes))
    };
    if !args.json {
        for (action, servers) in expressed {
            output::say(format_args!("{action}: {}", servers.join(", ")));
        }
    }
    if args.json {
        output::json(&findings)?;
    } else if findings.is_empty() {
        output::line("nothing found")?;
    } else {
        for finding in &findings {
            output::line(finding)?;
        }
    }
    Ok(if is_wanting(&findings) { Code::Wanting } else { Code::Done })
}
