//! `stopgap agent uninstall --keep|--revert` on Windows: the service leaves. What it put on the server stays or is taken
//! off, as asked, and what remains is said. The program, logs, the ledger and the configuration are the operator's to
//! remove: a program that runs cannot remove itself.

use std::path::Path;

use anyhow::Context;
use stopgap_agent::windows::{SERVICE, events, registration};

use super::super::local;
use super::{install, remains};
use crate::exit::{Code, Outcome};

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct How {
    /// Leave in force what is in force
    #[arg(long)]
    keep: bool,
    /// Take everything off
    #[arg(long)]
    revert: bool,
}

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    how: How,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    // First of all: a service that runs would put back what is taken off.
    registration::stop().with_context(|| format!("cannot stop {SERVICE}"))?;
    if args.how.revert {
        remains::take_all_off(&config)?;
    }
    let mut removed = Vec::new();
    if registration::unregister().with_context(|| format!("cannot remove {SERVICE}"))? {
        removed.push(format!("service {SERVICE}"));
    }
    if events::unregister()? {
        removed.push(format!("event source {}", events::SOURCE));
    }
    let mut left = remains::of(&config, false);
    if let Some(folder) = install::program().parent().filter(|folder| folder.exists()) {
        left.push((folder.display().to_string(), "the program".into()));
    }
    remains::tell(&removed, &left, args.json)?;
    Ok(Code::Done)
}
