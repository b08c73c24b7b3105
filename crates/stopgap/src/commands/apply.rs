//! `stopgap apply`: one cycle now.

use std::path::Path;

use stopgap_agent::cycle::Mode;
use stopgap_agent::home::Home;
use stopgap_agent::service;
use stopgap_drivers::Machine;
use stopgap_feed::Id;

use super::local;
use crate::exit::Outcome;
use crate::system;

#[derive(clap::Args)]
pub struct Args {
    /// Do not wait for this mitigation's wave
    #[arg(long, value_name = "ID")]
    now: Vec<Id>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, config: &Path) -> Outcome {
    let config = local::config(config)?;
    if !args.now.is_empty() {
        let ids: Vec<String> = args.now.iter().map(ToString::to_string).collect();
        let home = Home::open(&Machine, &config.data)?;
        let _lock = home.lock()?;
        local::note_word(&home, &format!("apply --now {}", ids.join(" --now ")))?;
    }
    let done = system::runtime()?.block_on(service::once(config.clone(), args.now, Mode::Apply))?;
    local::tell_events(&config, &done);
    local::finish(&done, args.json)
}
