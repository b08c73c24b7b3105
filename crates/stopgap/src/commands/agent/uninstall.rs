//! `stopgap agent uninstall --keep|--revert`: the service leaves. What it put on the server stays or is taken
//! off, as asked, and what remains is said. Logs, the ledger and the configuration are the operator's to remove.

use std::fs;
use std::io;
use std::path::Path;

use super::super::local;
use super::install::{self, ENABLED, PACKAGE_UNITS, PROGRAM, UNIT_FILE};
use super::remains;
use crate::exit::{Code, Outcome};
use anyhow::Context;

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
        remains::take_all_off(&config)?;
    }
    let removed = if ours { remove(Path::new("/"))? } else { Vec::new() };
    let mut left = remains::of(&config, packaged);
    left.extend(unit.remains());
    remains::tell(&removed, &left, args.json)?;
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
