//! `stopgap retry`: forgets that a mitigation failed, or that a target was given up.

use std::path::Path;

use stopgap_agent::cycle::Mode;
use stopgap_agent::home::Home;
use stopgap_agent::operator::Named;
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
    let named: Option<Named> = args.what.parse().ok();
    let before = ledger.failures.len();
    ledger.failures.retain(|key, _| {
        named.as_ref().is_none_or(|named| {
            named.id != key.id || named.feed.as_ref().is_some_and(|feed| *feed != key.feed)
        })
    });
    let given_up = ledger.targets.get_mut(&args.what).filter(|target| target.given_up.is_some());
    let was_given_up = given_up.is_some();
    if let Some(target) = given_up {
        target.given_up = None;
        target.reversals.clear();
    }
    if ledger.failures.len() == before && !was_given_up {
        return Err(Failure::new(anyhow::anyhow!("`{}` neither failed nor was given up here", args.what))
            .hint("`stopgap status` shows what did"));
    }
    home.save_ledger(&Machine, &ledger)?;
    drop(lock);
    output::say(format_args!("{} only: {} is tried again", config.server, args.what));
    let done = local::offline(&config, Mode::Apply)?;
    local::say_events(&done);
    local::finish(&done, args.json)
}
