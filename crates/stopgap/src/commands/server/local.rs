//! `server get --local` and `server set --local`: this server's own file, with or without a hub.

use std::path::Path;

use stopgap_agent::config::Config;
use stopgap_agent::cycle::Mode;
use stopgap_agent::operator::{Named, Terms};
use stopgap_core::policy::{Block, Policy};
use stopgap_drivers::Machine;

use super::edits::{self, Edits};
use super::{Wanted, list_form};
use crate::commands::local;
use crate::exit::{Code, Failure, Outcome};
use crate::output;

pub fn get(json: bool, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let report = local::offline(&config, Mode::Plan)?.report;
    let policy = policy(&config)?;
    let applied: Vec<String> =
        report.mitigations.iter().filter(|m| m.in_force).map(|m| m.id.to_string()).collect();
    let blocked: Vec<String> = policy.blocks.iter().map(block_name).collect();
    if json {
        output::json(&serde_json::json!({
            "name": config.server,
            "mitigations_enabled": policy.server_enabled,
            "mitigations_applied": applied,
            "mitigations_blocked": blocked,
        }))?;
    } else {
        list_form(&config.server, policy.server_enabled, &applied, &blocked)?;
    }
    Ok(Code::Done)
}

fn policy(config: &Config) -> Result<Policy, Failure> {
    let home = stopgap_agent::home::Home::at(&config.data);
    let now = jiff::Timestamp::now();
    let mut policy = home.operator(&Machine)?.policy(config, now);
    if let Some(said) = stopgap_agent::hub::Said::load(&home, &Machine)? {
        said.hold_back(&mut policy, config.hub.hub_may_revert, now);
    }
    Ok(policy)
}

fn block_name(block: &Block) -> String {
    match &block.feed {
        Some(feed) => format!("{feed}:{}", block.id),
        None => block.id.to_string(),
    }
}

pub fn set(args: &Wanted, path: &Path) -> Outcome {
    let config = local::config(path)?;
    if args.mitigations_enabled.is_none() && args.mitigations_blocked.is_none() {
        return Err(Failure::usage("nothing to set: give --mitigations-enabled or --mitigations-blocked"));
    }
    if args.is_more_than_local() {
        return Err(Failure::usage(
            "with --local: --mitigations-enabled and --mitigations-blocked; the rest of this server's settings stand in its configuration",
        ));
    }
    let edits: Option<Edits<Named>> = args.mitigations_blocked.as_deref().map(edits::read).transpose()?;
    let mut said = "server set".to_owned();
    if let Some(enabled) = args.mitigations_enabled {
        said.push_str(&format!(" --mitigations-enabled {enabled}"));
    }
    if let Some(blocked) = &args.mitigations_blocked {
        said.push_str(&format!(" --mitigations-blocked \"{blocked}\""));
    }
    local::change_operator(&config, &said, |operator| {
        if let Some(enabled) = args.mitigations_enabled {
            operator.mitigations_enabled = Some(enabled);
        }
        let Some(edits) = edits else { return };
        if edits.replace {
            let keep: Vec<&Named> = edits.add.iter().collect();
            operator.blocks.retain(|b| keep.iter().any(|named| named.id == b.id && named.feed == b.feed));
        }
        edits.remove.iter().for_each(|named| {
            operator.unblock(named);
        });
        edits.add.into_iter().for_each(|named| operator.block(named, Terms::default()));
    })?;
    output::say(format_args!("{} only: settings changed", config.server));
    let done = local::offline(&config, Mode::Apply)?;
    local::tell_events(&config, &done);
    Ok(local::code(&done))
}
