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
    let unit = unit(Path::new("/"));
    let ours = unit == Unit::Ours;
    // First of all: a service that runs would put back what is taken off, whoever wrote its unit.
    if (packaged || unit != Unit::None) && Path::new("/run/systemd/system").is_dir() {
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
    let mut remains = remains(&config, packaged);
    remains.extend(unit.remains());
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

/// The unit where an administrator's are.
#[derive(Debug, PartialEq, Eq)]
enum Unit {
    /// As `agent install` writes it.
    Ours,
    /// Somebody edited it, or another version of this program wrote it.
    Other,
    /// There is none, or the mask of one.
    None,
}

fn unit(root: &Path) -> Unit {
    let unit = root.join(UNIT_FILE);
    match fs::read_to_string(&unit) {
        Ok(text) if text == install::unit() => Unit::Ours,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Unit::None,
        _ if fs::read_link(&unit).is_ok_and(|to| to == Path::new("/dev/null")) => Unit::None,
        _ => Unit::Other,
    }
}

impl Unit {
    /// A unit that stays would start the service with the machine, and the service would go on as before.
    fn remains(&self) -> Option<(String, String)> {
        (*self == Unit::Other).then(|| {
            let then = format!(
                "stopped, and not as this version writes it: `systemctl disable stopgap.service`, then remove it and \
                 /{PROGRAM}"
            );
            (format!("/{UNIT_FILE}"), then)
        })
    }
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
    fn only_what_install_wrote_is_removed_and_what_is_left_is_said() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(UNIT_FILE);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        assert_eq!(unit(root.path()), Unit::None);
        fs::write(&file, install::unit()).unwrap();
        assert_eq!(unit(root.path()), Unit::Ours);
        assert_eq!(unit(root.path()).remains(), None);
        fs::write(&file, install::unit() + "# mine\n").unwrap();
        assert_eq!(unit(root.path()), Unit::Other, "an edited unit is the operator's");
        let (what, then) = unit(root.path()).remains().unwrap();
        assert_eq!(what, "/etc/systemd/system/stopgap.service");
        assert!(then.contains("systemctl disable stopgap.service"), "{then}");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/null", &file).unwrap();
        assert_eq!(unit(root.path()), Unit::None, "a mask is no unit");
    }
}
