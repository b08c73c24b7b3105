//! `stopgap server get` and `server set`, for this server. Other servers need a hub.

use std::path::Path;

use clap::builder::BoolishValueParser;
use stopgap_agent::config::Config;
use stopgap_agent::cycle::Mode;
use stopgap_agent::operator::{Named, Terms};
use stopgap_core::policy::{Block, Policy};
use stopgap_drivers::Machine;

use super::local;
use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Print a server's settings as Exchange does
    Get(GetArgs),
    /// Change a server's settings
    Set(SetArgs),
}

#[derive(clap::Args)]
pub struct GetArgs {
    /// The server that you are on
    #[arg(long, required = true)]
    #[allow(dead_code)]
    local: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct SetArgs {
    /// The server that you are on
    #[arg(long, required = true)]
    #[allow(dead_code)]
    local: bool,
    /// Whether mitigations are applied at all
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new())]
    mitigations_enabled: Option<bool>,
    /// Block these (M1,M2), one more (+M1) or one less (-M1); "" blocks none
    #[arg(long, value_name = "IDS", allow_hyphen_values = true)]
    mitigations_blocked: Option<String>,
}

pub fn run(command: Command, config: &Path) -> Outcome {
    match command {
        Command::Get(args) => get(args, config),
        Command::Set(args) => set(args, config),
    }
}

fn get(args: GetArgs, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let report = local::offline(&config, Mode::Plan)?.report;
    let policy = policy(&config)?;
    let applied: Vec<String> =
        report.mitigations.iter().filter(|m| m.in_force).map(|m| m.id.to_string()).collect();
    let blocked: Vec<String> = policy.blocks.iter().map(block_name).collect();
    if args.json {
        output::json(&serde_json::json!({
            "name": config.server,
            "mitigations_enabled": policy.server_enabled,
            "mitigations_applied": applied,
            "mitigations_blocked": blocked,
        }))?;
    } else {
        let enabled = if policy.server_enabled { "True" } else { "False" };
        output::line(format_args!("Name                : {}", config.server))?;
        output::line(format_args!("MitigationsEnabled  : {enabled}"))?;
        output::line(format_args!("MitigationsApplied  : {{{}}}", applied.join(", ")))?;
        output::line(format_args!("MitigationsBlocked  : {{{}}}", blocked.join(", ")))?;
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

fn set(args: SetArgs, path: &Path) -> Outcome {
    let config = local::config(path)?;
    if args.mitigations_enabled.is_none() && args.mitigations_blocked.is_none() {
        return Err(Failure::usage("nothing to set: give --mitigations-enabled or --mitigations-blocked"));
    }
    let edits = args.mitigations_blocked.as_deref().map(edits).transpose()?;
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

#[derive(Debug, Default)]
struct Edits {
    replace: bool,
    add: Vec<Named>,
    remove: Vec<Named>,
}

/// `M1,M2` replaces the list; `+M1` and `-M1` change it.
fn edits(text: &str) -> Result<Edits, Failure> {
    let mut edits = Edits::default();
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    edits.replace = !parts.iter().any(|part| part.starts_with(['+', '-']));
    for part in parts {
        let (list, id) = match (part.strip_prefix('+'), part.strip_prefix('-')) {
            (Some(id), _) => (&mut edits.add, id),
            (None, Some(id)) => (&mut edits.remove, id),
            (None, None) if edits.replace => (&mut edits.add, part),
            (None, None) => {
                return Err(Failure::usage(format_args!(
                    "--mitigations-blocked {text}: give a whole list (M1,M2) or changes (+M1,-M2), not both"
                )));
            }
        };
        list.push(id.parse().map_err(Failure::usage)?);
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_replaces_and_signs_change() {
        let whole = edits("M1, M2").unwrap();
        assert!(whole.replace);
        assert_eq!(whole.add.len(), 2);
        let change = edits("+M1,-example:M2").unwrap();
        assert!(!change.replace);
        assert_eq!((change.add.len(), change.remove.len()), (1, 1));
        let none = edits("").unwrap();
        assert!(none.replace && none.add.is_empty());
        assert_eq!(edits("M1,+M2").unwrap_err().code, Code::Usage);
        assert_eq!(edits("M 1").unwrap_err().code, Code::Usage);
    }
}
