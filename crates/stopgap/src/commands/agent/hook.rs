//! `stopgap agent hook`: what makes a web server read our rules, and where it goes. The operator
//! places it; `--insert` does so between our markers, and `--remove` cuts it out to the byte.

use std::path::Path;

use stopgap_agent::config::{Config, TargetConfig};
use stopgap_agent::home::Home;
use stopgap_agent::targets;
use stopgap_drivers::Machine;
use stopgap_drivers::hook::Hooked;

use super::super::local;
use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// A target of the configuration
    target: String,
    /// Insert it where it lacks, and have the server test the result
    #[arg(long, conflicts_with = "remove")]
    insert: bool,
    /// Cut it out again
    #[arg(long)]
    remove: bool,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let target = config.targets.iter().find(|target| target.name() == args.target).ok_or_else(|| {
        Failure::usage(format_args!("no [[target]] named `{}`", args.target)).hint(format_args!(
            "{} names: {}",
            config.path.display(),
            names(&config)
        ))
    })?;
    match targets::hooked(&config, target)? {
        Some(driver) => place(&*driver, &args, &config),
        None => {
            output::line("the gateway needs no hook: it reads the rules itself")?;
            Ok(Code::Done)
        }
    }
}

fn names(config: &Config) -> String {
    config.targets.iter().map(TargetConfig::name).collect::<Vec<_>>().join(", ")
}

fn place(driver: &dyn Hooked, args: &Args, config: &Config) -> Outcome {
    let edits = if args.remove { driver.unhook_edits(&Machine)? } else { driver.hook_edits(&Machine)? };
    if args.insert || args.remove {
        driver.edit(&Machine, &edits)?;
        let what = if args.insert { "inserted in" } else { "cut out of" };
        for edit in &edits {
            output::line(format_args!("{what} {}", edit.path.display()))?;
        }
        if !edits.is_empty() {
            // A server's configuration is not watched: its own operator edits it in pieces.
            Home::at(&config.data).wake(&Machine)?;
        }
        match driver.after_insert() {
            _ if edits.is_empty() => output::say("nothing to do"),
            Some(left) if args.insert => output::say(left),
            _ => (),
        }
        return Ok(Code::Done);
    }
    for (place, lines) in driver.hook_lines() {
        output::line(format_args!("{place}:\n\n{lines}"))?;
    }
    if edits.is_empty() {
        output::line("Every site has it.")?;
    } else {
        for edit in &edits {
            output::line(format_args!("It lacks in {}", edit.path.display()))?;
        }
        output::say(format_args!("`stopgap agent hook {} --insert` places it there", args.target));
    }
    Ok(Code::Done)
}
