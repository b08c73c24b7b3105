//! `stopgap retry`: forgets that a mitigation failed, or that a target was given up.

use std::path::Path;

use stopgap_agent::home::Home;
use stopgap_agent::operator::retry;
use stopgap_drivers::Machine;

use super::local;
use crate::exit::{Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// A mitigation that failed, or the name of a target that is Contested
    #[arg(value_name = "ID-OR-TARGET")]
    what: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let home = Home::open(&Machine, &config.data)?;
    let lock = home.lock()?;
    let mut ledger = home.ledger(&Machine)?;
    if !retry(&mut ledger, &args.what) {
        return Err(Failure::new(anyhow::anyhow!("`{}` neither failed nor was given up here", args.what))
            .hint("`stopgap status` shows what did"));
    }
    home.save_ledger(&Machine, &ledger)?;
    local::note_word(&home, &format!("retry {}", args.what))?;
    drop(lock);
    output::say(format_args!("{} only: {} is tried again", config.server, args.what));
    local::carry_out(&config, args.json)
}
