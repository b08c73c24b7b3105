//! Moving the files of pools aside and back, and having php-fpm follow.

use std::path::Path;

use stopgap_core::plan::Switch;

use super::config::{self, Config};
use super::process;
use super::record::{is_unit, listen, moves};
use crate::driver::{DriverError, io_error};
use crate::host::Host;
use crate::server::Settings;
use crate::systemd;

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Forward,
    /// Whatever part of it happened.
    Back,
}

/// Moves the files of pools as the switches say.
pub(super) fn move_files(host: &dyn Host, switches: &[Switch], way: Way) -> Result<(), DriverError> {
    for switch in switches.iter().filter(|switch| !is_unit(switch)) {
        for (from, to, _) in moves(switch) {
            match way {
                Way::Forward => move_file(host, &from, &to, switch.off)?,
                Way::Back => move_file(host, &to, &from, false)?,
            }
        }
    }
    Ok(())
}

/// Has php-fpm serve by the files as they are now. With its last pool it ends, and its unit goes, which comes back
/// with the first.
pub(super) fn follow(
    settings: &Settings,
    host: &dyn Host,
    switches: &[Switch],
    way: Way,
) -> Result<(), DriverError> {
    let (units, pools): (Vec<Switch>, Vec<Switch>) = switches.iter().cloned().partition(is_unit);
    if !units.is_empty() {
        return match way {
            Way::Forward => systemd::forward(host, &settings.name, systemd::JOB, &units),
            Way::Back => systemd::backward(host, &settings.name, systemd::JOB, &units),
        };
    }
    let read = config::read(host, &settings.config);
    let config = read.map_err(|e| settings.broken(e.to_string()))?;
    if config.pools.is_empty() {
        return process::quit(settings, host, &config);
    }
    let gone = pools.iter().filter(|switch| config.pool(&switch.name).is_none());
    let gone: Vec<(String, Option<String>)> =
        gone.map(|switch| (switch.name.clone(), listen(switch).map(str::to_owned))).collect();
    process::reload(settings, host, &config, &gone)
}

/// Renames, which keeps octets, mode, owner and a link as they are. Done before is done; a file that somebody put in
/// the way stays, and what comes back stays aside.
fn move_file(host: &dyn Host, from: &Path, to: &Path, out: bool) -> Result<(), DriverError> {
    let there =
        |path: &Path| host.kind(path).map(|kind| kind.is_some()).map_err(io_error("cannot look at", path));
    let write_through = || {
        let folder = to.parent().unwrap_or(Path::new("/"));
        host.sync_dir(folder).map_err(io_error("cannot write through", folder))
    };
    match (there(from)?, there(to)?) {
        (true, false) => {
            host.rename(from, to).map_err(io_error("cannot put in place", to))?;
            write_through()
        }
        // Whoever did it may have been stopped before he could wait for the disk.
        (false, true) => write_through(),
        (from_is, _) if out => {
            let (expected, found) = match from_is {
                true => (format!("no file {}", to.display()), "one"),
                false => ("the file of a pool".to_owned(), "none"),
            };
            Err(DriverError::ChangedUnderUs { path: from.to_owned(), expected, found: found.to_owned() })
        }
        (true, true) => {
            tracing::warn!(file = %to.display(), aside = %from.display(), "somebody put a file there: both are left");
            Ok(())
        }
        (false, false) => {
            tracing::warn!(file = %to.display(), "somebody removed it: there is nothing to put back");
            Ok(())
        }
    }
}

/// See [`crate::Driver::check`]: php-fpm's own test of what its folders will be.
pub(super) fn check(
    settings: &Settings,
    host: &dyn Host,
    staged: &Path,
    switches: &[Switch],
) -> Result<(), DriverError> {
    let broken = |e: std::io::Error| settings.broken(e.to_string());
    let config = config::read(host, &settings.config).map_err(broken)?;
    let pools: Vec<&Switch> = switches.iter().filter(|switch| !is_unit(switch)).collect();
    for (from, _, sha256) in pools.iter().flat_map(|switch| moves(switch)) {
        let Some(expected) = sha256 else { continue };
        let found = config::digest(host, &from).unwrap_or_else(|e| e.to_string());
        if found != expected {
            return Err(DriverError::ChangedUnderUs { path: from, expected, found });
        }
    }
    let known = process::tested(settings, host, &settings.config)?.map_err(|m| settings.broken(m))?;
    require_same(settings, &config, &known)?;

    let mut gone = Vec::new();
    let mut coming = Vec::new();
    for switch in &pools {
        for (from, to, _) in moves(switch) {
            match switch.off {
                true => gone.push(from),
                false if config.files.contains_key(&to) => (),
                false => coming.push((to, from)),
            }
        }
    }
    let left = |file: &Path| (!gone.iter().any(|one| one == file)).then(|| file.to_owned());
    let text = config::as_it_will_be(host, &settings.config, &coming, left).map_err(broken)?;
    let main = staged.join("php-fpm.conf");
    host.write_like(&main, text.as_bytes(), &settings.config).map_err(io_error("cannot write", &main))?;
    let will = config::read(host, &main).map_err(broken)?;
    let rejected = |message| DriverError::Rejected { target: settings.name.clone(), message };
    let found = process::tested(settings, host, &main)?.map_err(rejected)?;
    require_same(settings, &will, &found)?;
    let stays = pools.iter().find(|switch| switch.off && will.pool(&switch.name).is_some());
    match stays {
        Some(switch) => Err(rejected(format!("the pool {} would still be there", switch.name))),
        None => Ok(()),
    }
}

fn require_same(settings: &Settings, config: &Config, tested: &[String]) -> Result<(), DriverError> {
    let sorted = |names: Vec<&String>| {
        let mut names: Vec<String> = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort();
        names
    };
    let (read, known) =
        (sorted(config.pools.iter().map(|p| &p.name).collect()), sorted(tested.iter().collect()));
    if read == known {
        return Ok(());
    }
    Err(settings.error(format!(
        "php-fpm reads the pools {} from {}, and here {} were read: the form of its files is not known here",
        known.join(", "),
        settings.config.display(),
        read.join(", ")
    )))
}
