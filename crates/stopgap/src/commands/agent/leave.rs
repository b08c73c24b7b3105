//! `stopgap agent leave`: this server leaves its organization.

use std::path::Path;

use stopgap_agent::hub;

use super::super::local;
use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let left = hub::leave(&config)?;
    if args.json {
        output::json(&serde_json::json!({ "left": left }))?;
        return Ok(Code::Done);
    }
    match left {
        Some(hub) => output::say(format_args!(
            "{} only: left {hub}. What is in force stays; what the organization held back counts no longer, \
             and its administrators still see the server until they remove it",
            config.server
        )),
        None => output::say("this server belongs to no organization: nothing was changed"),
    }
    Ok(Code::Done)
}
