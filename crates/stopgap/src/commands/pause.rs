//! `stopgap pause` and `resume`: nothing is changed here for some time.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use stopgap_agent::cycle::Mode;
use stopgap_agent::operator::Pause;

use super::local;
use crate::exit::Outcome;
use crate::{output, system};

#[derive(clap::Args)]
pub struct PauseArgs {
    /// For this time, such as 2h
    #[arg(long = "for", value_name = "TIME", required = true)]
    lasting: SignedDuration,
    /// Say why; it is shown with the status
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct ResumeArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn pause(args: PauseArgs, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let until = local::from_now(args.lasting)?;
    let said = format!("pause --for {:#}{}", args.lasting, local::because(args.reason.as_deref()));
    let pause = Pause { until, since: Timestamp::now(), by: system::user(), reason: args.reason };
    local::change_operator(&config, &said, |operator| operator.pause = Some(pause))?;
    output::say(format_args!(
        "{} only: nothing is changed until {until:.0}; what is in force stays. `stopgap resume` ends it",
        config.server
    ));
    let done = local::offline(&config, Mode::Plan)?;
    local::finish(&done, args.json)
}

pub fn resume(args: ResumeArgs, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let now = Timestamp::now();
    let paused = local::change_operator(&config, "resume", |operator| {
        let paused = operator.paused(now).is_some();
        operator.pause = None;
        paused
    })?;
    let what = if paused { "changes are made again" } else { "it was not paused" };
    output::say(format_args!("{} only: {what}", config.server));
    local::carry_out(&config, args.json)
}
