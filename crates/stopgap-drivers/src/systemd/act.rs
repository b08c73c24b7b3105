//! Taking units out of service and back.

use std::io;
use std::path::Path;
use std::time::Duration;

use stopgap_core::plan::Switch;

use super::bus;
use super::record::{CONDITION, How, drop_in, link, runs};
use crate::driver::{DriverError, io_error};
use crate::host::{Host, Kind, remove_if_there};

/// Carries out what goes out of service, in order, and then what comes back. `time`: how long each may take to stop or
/// to start.
pub(crate) fn forward(
    host: &dyn Host,
    target: &str,
    time: Duration,
    switches: &[Switch],
) -> Result<(), DriverError> {
    let (off, on): (Vec<&Switch>, Vec<&Switch>) = switches.iter().partition(|switch| switch.off);
    for switch in &off {
        take_off(host, target, time, &switch.name, How::from_settings(&switch.after))?;
    }
    require_off(host, target, time, &off)?;
    bring_back(host, target, time, &on, false, |switch| {
        (How::from_settings(&switch.before), runs(&switch.after))
    })
}

/// The other way, whatever part of it happened.
pub(crate) fn backward(
    host: &dyn Host,
    target: &str,
    time: Duration,
    switches: &[Switch],
) -> Result<(), DriverError> {
    let (off, on): (Vec<&Switch>, Vec<&Switch>) = switches.iter().rev().partition(|switch| switch.off);
    for switch in &on {
        take_off(host, target, time, &switch.name, How::from_settings(&switch.before))?;
    }
    // A repair that was taken back leaves what keeps a unit off, where that was there before.
    let off: Vec<&Switch> =
        off.into_iter().filter(|switch| How::from_settings(&switch.before).is_none()).collect();
    bring_back(host, target, time, &off, true, |switch| {
        (How::from_settings(&switch.after), runs(&switch.before))
    })
}

/// Stopped first: a unit that is masked has forgotten how it is stopped.
fn take_off(
    host: &dyn Host,
    target: &str,
    time: Duration,
    unit: &str,
    how: Option<How>,
) -> Result<(), DriverError> {
    bus::stop(host, unit, time).map_err(not_taken(target, unit, "does not stop"))?;
    match how {
        Some(How::Mask) => bus::mask(host, unit).map_err(not_taken(target, unit, "cannot be masked")),
        Some(How::Condition) => {
            let path = drop_in(unit);
            let path = Path::new(&path);
            if let Some(folder) = path.parent() {
                let made = crate::host::make_durable_folder(host, folder, 0o755);
                made.map_err(io_error("cannot make the folder", folder))?;
            }
            crate::host::replace(host, path, CONDITION.as_bytes(), 0o644)
                .map_err(io_error("cannot write", path))?;
            reload(host, target)
        }
        Some(How::MaskedBefore) | None => Ok(()),
    }
}

/// Something may have started a unit again before it was kept from starting.
fn require_off(host: &dyn Host, target: &str, time: Duration, off: &[&Switch]) -> Result<(), DriverError> {
    let names: Vec<String> = off.iter().map(|switch| switch.name.clone()).collect();
    let shown = |host| bus::show(host, &names).map_err(not_taken(target, "systemd", "does not answer"));
    for unit in shown(host)?.iter().filter(|unit| unit.runs()) {
        bus::stop(host, &unit.id, time).map_err(not_taken(target, &unit.id, "does not stop"))?;
    }
    let units = shown(host)?;
    for switch in off {
        let unit = units.iter().find(|unit| unit.id == switch.name);
        let kept = How::from_settings(&switch.after);
        let is_off = |how: How| unit.is_some_and(|unit| !unit.runs() && how.keeps(unit));
        if !kept.is_some_and(is_off) {
            let state = unit.map_or("not there".to_owned(), |unit| {
                format!("{}, its file {}", unit.state(), unit.enablement)
            });
            let message = format!("{} is {state}; expected inactive and kept from starting", switch.name);
            return Err(DriverError::NotTaken { target: target.to_owned(), message });
        }
    }
    Ok(())
}

/// `interrupted`: it may have been stopped and not been kept off yet.
///
/// First all may start, then those that ran are started: what triggers a service does not start without it, and
/// a socket not beside it.
fn bring_back(
    host: &dyn Host,
    target: &str,
    time: Duration,
    switches: &[&Switch],
    interrupted: bool,
    settings: impl Fn(&Switch) -> (Option<How>, bool),
) -> Result<(), DriverError> {
    let mut ours = Vec::new();
    for switch in switches {
        let (how, ran) = settings(switch);
        let lifted = match how {
            Some(How::Mask) => unmask(host, target, &switch.name)?,
            Some(How::Condition) => uncondition(host, &switch.name)?,
            Some(How::MaskedBefore) | None => false,
        };
        if !lifted && !interrupted && how != Some(How::MaskedBefore) {
            tracing::warn!(
                target,
                unit = switch.name,
                "it was taken back into service by somebody: it is left"
            );
        }
        if (lifted || interrupted) && ran {
            ours.push(switch);
        }
    }
    if !switches.is_empty() {
        reload(host, target)?;
    }
    let also = ours.iter().flat_map(|switch| &switch.also);
    let (services, triggers): (Vec<&String>, Vec<&String>) =
        ours.iter().map(|switch| &switch.name).partition(|name| name.ends_with(".service"));
    for socket in triggers.iter().filter(|unit| unit.ends_with(".socket")) {
        // Of a change that was cut short: the socket was stopped already and its service not yet. systemd starts
        // no socket beside its service, which therefore goes the way that it was to go; it is started below.
        if bus::start(host, socket, time).is_err() {
            for service in &services {
                bus::stop(host, service, time).map_err(not_taken(target, service, "does not stop"))?;
            }
        }
    }
    for unit in triggers.into_iter().chain(services).chain(also) {
        // It may start, and why it does not is for its owner: a mitigation does not stay for that.
        if let Err(error) = bus::start(host, unit, time) {
            tracing::warn!(target, unit, %error, "it may start again, but does not");
        }
    }
    Ok(())
}

/// `false`: the mask is not there any more.
fn unmask(host: &dyn Host, target: &str, unit: &str) -> Result<bool, DriverError> {
    let path = link(unit);
    let path = Path::new(&path);
    let masked = host.kind(path).map_err(io_error("cannot look at", path))? == Some(Kind::Link)
        && host.read_link(path).map_err(io_error("cannot read the link", path))? == Path::new("/dev/null");
    if masked {
        bus::unmask(host, unit).map_err(not_taken(target, unit, "cannot be unmasked"))?;
    }
    Ok(masked)
}

/// `false`: the condition is not there any more, or somebody's own words are.
fn uncondition(host: &dyn Host, unit: &str) -> Result<bool, DriverError> {
    let path = drop_in(unit);
    let path = Path::new(&path);
    let ours = match host.read(path, 64 << 10) {
        Ok(octets) => octets == CONDITION.as_bytes(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(io_error("cannot read", path)(error)),
    };
    if ours {
        remove_if_there(host, path).map_err(io_error("cannot remove", path))?;
    }
    if let Some(folder) = path.parent() {
        // Of a write that was interrupted.
        let torn = folder.join(".90-stopgap.conf.stopgap-new");
        remove_if_there(host, &torn).map_err(io_error("cannot remove", &torn))?;
        let changed = match host.remove_dir(folder) {
            // Whoever removed it may have been stopped before he could wait for the disk.
            Err(e) if e.kind() == io::ErrorKind::NotFound => folder.parent(),
            // Not ours alone.
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Some(folder),
            removed => removed.map_err(io_error("cannot remove", folder)).map(|()| folder.parent())?,
        };
        // Before the record goes: a condition that a power cut brought back would keep the unit off for ever.
        if let Some(changed) = changed {
            host.sync_dir(changed).map_err(io_error("cannot write through", changed))?;
        }
    }
    Ok(ours)
}

fn reload(host: &dyn Host, target: &str) -> Result<(), DriverError> {
    bus::reload(host).map_err(not_taken(target, "systemd", "does not read its units again"))
}

fn not_taken(target: &str, unit: &str, what: &str) -> impl FnOnce(io::Error) -> DriverError + use<> {
    let (target, what) = (target.to_owned(), format!("{unit} {what}"));
    move |error| DriverError::NotTaken { target, message: format!("{what}: {error}") }
}
