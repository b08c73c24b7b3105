//! `stopgap agent uninstall --keep|--revert`: the service leaves. What it put on the server stays or is taken
//! off, as asked, and what remains is said. Logs, the ledger and the configuration are the operator's to remove.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use serde_json::json;
use stopgap_agent::config::{Config, TargetConfig};
use stopgap_agent::{leave, targets};
use stopgap_drivers::Machine;

use super::super::local;
use super::install::{self, ENABLED, PACKAGE_UNITS, PROGRAM, UNIT_FILE};
use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

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
    let packaged = PACKAGE_UNITS.iter().any(|unit| Path::new("/").join(unit).exists());
    let ours = is_ours(&Path::new("/").join(UNIT_FILE));
    // First of all: a service that runs would put back what is taken off.
    if (packaged || ours) && Path::new("/run/systemd/system").is_dir() {
        install::systemctl(&["stop", "stopgap.service"])?;
    }
    if args.how.revert {
        let (done, stays) = system::runtime()?.block_on(leave::take_all_off(&config))?;
        local::tell_events(&config, &done);
        if !stays.is_empty() {
            let stays: Vec<String> = stays.iter().map(ToString::to_string).collect();
            return Err(Failure::new(anyhow::anyhow!(
                "{} could not be taken off; nothing else was removed",
                stays.join(", ")
            ))
            .hint(
                "the service is stopped; `stopgap explain ID` says how a mitigation is taken off by hand",
            ));
        }
    }
    let removed = if ours { remove(Path::new("/"))? } else { Vec::new() };
    let remains = remains(&config, packaged);
    if args.json {
        let remains: Vec<_> =
            remains.iter().map(|(what, words)| json!({ "what": what, "then": words })).collect();
        output::json(&json!({ "removed": removed, "remains": remains }))?;
    } else {
        for path in &removed {
            output::line(format_args!("removed  {path}"))?;
        }
        for (what, then) in &remains {
            output::line(format_args!("remains  {what}: {then}"))?;
        }
    }
    Ok(Code::Done)
}

/// Whether `agent install` wrote it.
fn is_ours(unit: &Path) -> bool {
    fs::read_to_string(unit).is_ok_and(|text| text == install::unit())
}

fn remove(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut removed = Vec::new();
    for name in [ENABLED, UNIT_FILE, PROGRAM] {
        let path = root.join(name);
        match fs::remove_file(&path) {
            Ok(()) => removed.push(path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot remove {}", path.display())),
        }
    }
    if Path::new("/run/systemd/system").is_dir() {
        install::systemctl(&["daemon-reload"])?;
    }
    Ok(removed)
}

/// What is left on this server, and what to do about it.
fn remains(config: &Config, packaged: bool) -> Vec<(String, String)> {
    let mut remains = Vec::new();
    // dpkg says so to what it runs: the package is about to be removed.
    let leaving = std::env::var_os("DPKG_MAINTSCRIPT_NAME").is_some();
    for key in leave::held(config).unwrap_or_default() {
        let first = if leaving { "installed again, " } else { "" };
        let then = format!(
            "in force, and nobody looks after it any more; {first}`stopgap agent uninstall --revert` takes it off"
        );
        remains.push((key.to_string(), then));
    }
    for target in config.targets.iter().filter(|target| is_hooked(config, target)) {
        let name = target.name();
        let then = format!("`stopgap agent hook {name} --remove` takes it out of the server's configuration");
        remains.push((format!("the hook of {name}"), then));
    }
    for link in leave::live(config) {
        remains.push((
            link.display().to_string(),
            "a server reads it: only to be removed after its hook".into(),
        ));
    }
    if packaged && !leaving {
        remains
            .push(("the package".into(), "`apt-get remove stopgap`, or `purge` for the folders, too".into()));
    }
    let folder = config.path.parent().unwrap_or(Path::new("/"));
    for (folder, what) in [
        (folder, "the configuration"),
        (&config.data, "the ledger and the journal"),
        (&config.logs, "the logs"),
    ] {
        if folder.exists() {
            remains.push((folder.display().to_string(), what.into()));
        }
    }
    remains
}

fn is_hooked(config: &Config, target: &TargetConfig) -> bool {
    let Ok(Some(driver)) = targets::hooked(config, target) else { return false };
    driver.unhook_edits(&Machine).is_ok_and(|edits| !edits.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_install_wrote_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let unit = folder.path().join("stopgap.service");
        assert!(!is_ours(&unit));
        fs::write(&unit, install::unit()).unwrap();
        assert!(is_ours(&unit));
        fs::write(&unit, install::unit() + "# mine\n").unwrap();
        assert!(!is_ours(&unit), "an edited unit is the operator's");
    }
}
