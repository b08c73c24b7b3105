//! `stopgap block`, `unblock` and `revert`: the operator's word on this server.

use std::path::Path;

use jiff::SignedDuration;
use stopgap_agent::operator::{Named, Terms};

use super::local;
use crate::exit::{Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct BlockArgs {
    /// A mitigation or an action, such as M1, M1.2 or example:M1
    #[arg(required = true, value_name = "ID")]
    ids: Vec<Named>,
    /// Let the block lapse after this time, such as 4h
    #[arg(long = "for", value_name = "TIME")]
    lasting: Option<SignedDuration>,
    /// Say why; it is shown with the status
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct UnblockArgs {
    /// A mitigation or an action, as it was blocked
    #[arg(required = true, value_name = "ID")]
    ids: Vec<Named>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn block(args: BlockArgs, config: &Path) -> Outcome {
    hold(args, config, false)
}

pub fn revert(args: BlockArgs, config: &Path) -> Outcome {
    hold(args, config, true)
}

fn hold(args: BlockArgs, path: &Path, take_off: bool) -> Outcome {
    let config = local::config(path)?;
    let until = args.lasting.map(local::from_now).transpose()?;
    let ids = args.ids.clone();
    let lasting = args.lasting.map(|lasting| format!(" --for {lasting:#}")).unwrap_or_default();
    let word = if take_off { "revert" } else { "block" };
    let said = format!("{word} {}{lasting}{}", list(&ids), local::because(args.reason.as_deref()));
    local::change_operator(&config, &said, |operator| {
        for id in ids {
            let terms = Terms { take_off, reason: args.reason.clone(), until };
            operator.block(id, terms);
        }
    })?;
    for id in &args.ids {
        let what = if take_off { "taken off and blocked" } else { "blocked; what is in force stays" };
        output::say(format_args!("{} only: {id} {what}", config.server));
    }
    local::carry_out(&config, args.json)
}

pub fn unblock(args: UnblockArgs, path: &Path) -> Outcome {
    let config = local::config(path)?;
    // All of them or none.
    let missing: Option<Named> =
        local::change_operator(&config, &format!("unblock {}", list(&args.ids)), |operator| {
            let before = operator.clone();
            let missing = args.ids.iter().find(|id| !operator.unblock(id)).cloned();
            if missing.is_some() {
                *operator = before;
            }
            missing
        })?;
    if let Some(missing) = missing {
        return Err(Failure::new(anyhow::anyhow!("{missing} is not blocked on {}", config.server)).hint(
            "`stopgap server get --local` lists the blocks; ones in stopgap.toml are taken back there",
        ));
    }
    for id in &args.ids {
        output::say(format_args!("{} only: {id} is no longer blocked", config.server));
    }
    local::carry_out(&config, args.json)
}

fn list(ids: &[Named]) -> String {
    let names: Vec<String> = ids.iter().map(Named::to_string).collect();
    names.join(" ")
}
