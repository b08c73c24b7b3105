//! `stopgap test-connectivity`: the two lines of Test-MitigationServiceConnectivity, and what lies behind them.

use std::path::Path;

use jiff::Timestamp;
use stopgap_agent::feeds::connectivity;
use stopgap_agent::fetch::Fetcher;

use super::local;
use crate::exit::{Code, Outcome};
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let fetcher = Fetcher::new(&config.network)?;
    let tested = system::runtime()?.block_on(connectivity::test(&config, &fetcher, Timestamp::now()));
    if args.json {
        output::json(&tested)?;
    } else {
        output::line(format_args!("Result: {}.", tested.result))?;
        output::line(format_args!("Message: {}", tested.message))?;
        let rows = tested.feeds.iter().flat_map(|endpoint| {
            endpoint.checks.iter().map(|check| {
                vec![
                    endpoint.feed.to_string(),
                    check.check.to_owned(),
                    if check.ok { "ok" } else { "FAILED" }.to_owned(),
                    format!("{:.1}", check.ms),
                    check.detail.clone(),
                ]
            })
        });
        output::line(output::table(&["FEED", "CHECK", "", "MS", "DETAIL"], rows))?;
        if tested.feeds.is_empty() {
            output::say("no [[feed]] is configured: `stopgap feed add` adds one");
        }
    }
    Ok(if tested.is_success() { Code::Done } else { Code::Failed })
}
