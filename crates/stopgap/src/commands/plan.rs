//! `stopgap plan`: what a cycle would change. It changes nothing, not even what was last trusted.

use std::path::Path;

use stopgap_agent::cycle::Mode;
use stopgap_agent::replay::formats_of;
use stopgap_agent::service;

use super::{local, replay};
use crate::exit::{Code, Outcome};
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// Exit with 3 where changes are pending
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    replay: replay::ReplayArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, config: &Path) -> Outcome {
    let config = local::config(config)?;
    let done = system::runtime()?.block_on(service::once(config.clone(), Vec::new(), Mode::Plan))?;
    if let Some(log) = &args.replay.replay {
        replay::run(&args.replay, log, formats_of(&config), &done, args.json)?;
    } else if args.json {
        output::json(&done.report)?;
    } else {
        local::print_report(&done.report)?;
        let steps = done.plan.steps();
        if steps.is_empty() {
            output::line("\nNothing to do: this server matches the plan.")?;
        } else {
            let rows = steps.into_iter().map(|step| {
                vec![step.target, format!("{:?}", step.kind).to_lowercase(), step.path, step.detail]
            });
            output::line(format_args!("\n{}", output::table(&["TARGET", "STEP", "PATH", "DETAIL"], rows)))?;
        }
    }
    Ok(match (done.untrusted, args.check && !done.plan.is_empty()) {
        (_, true) => Code::Pending,
        (true, _) => Code::NotTrusted,
        _ if done.failed && !args.check && args.replay.replay.is_none() => Code::Failed,
        _ => Code::Done,
    })
}
