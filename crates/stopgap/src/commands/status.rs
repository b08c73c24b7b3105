//! `stopgap status`: what is in force here, what is not, and why. It asks the servers, not the
//! memory, and not the network.

use std::path::Path;

use stopgap_agent::cycle::Mode;

use super::local;
use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// Exit with 6 where something is wanting
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, config: &Path) -> Outcome {
    let config = local::config(config)?;
    let mut done = local::offline(&config, Mode::Plan)?;
    done.report.steps = None;
    if args.json {
        output::json(&done.report)?;
    } else {
        local::print_report(&done.report)?;
    }
    let wanting = done.report.mitigations.iter().any(|mitigation| mitigation.status.is_wanting())
        || done.report.feeds.iter().any(|feed| feed.error.is_some());
    Ok(if args.check && wanting { Code::Wanting } else { Code::Done })
}
