//! Taking services out of service and back.
//!
//! All are disabled before the first is stopped: neither a watchdog nor the recovery actions of a service start one that is
//! disabled.

use std::io;

use stopgap_core::plan::Switch;

use super::ask;
use super::record::{is_off, runs, start};
use crate::driver::DriverError;
use crate::host::Host;
use crate::host::services::{Service, Start};

/// Carries out what goes out of service, in order, and then what comes back.
pub(super) fn forward(host: &dyn Host, target: &str, switches: &[Switch]) -> Result<(), DriverError> {
    let (off, on): (Vec<&Switch>, Vec<&Switch>) = switches.iter().partition(|switch| switch.off);
    take_off(host, target, &off)?;
    bring_back(host, target, &on, false, |switch| (start(&switch.after), runs(&switch.after)))
}

/// The other way, whatever part of it happened.
pub(super) fn backward(host: &dyn Host, target: &str, switches: &[Switch]) -> Result<(), DriverError> {
    let (off, on): (Vec<&Switch>, Vec<&Switch>) = switches.iter().rev().partition(|switch| switch.off);
    take_off(host, target, &on)?;
    // A repair that was taken back leaves disabled what was disabled before it.
    bring_back(host, target, &off, true, |switch| (start(&switch.before), runs(&switch.before)))
}

fn take_off(host: &dyn Host, target: &str, switches: &[&Switch]) -> Result<(), DriverError> {
    for switch in switches {
        let name = &switch.name;
        if show_one(host, target, name)?.is_some_and(|service| service.start != Start::Disabled) {
            ask::set_start(host, name, Start::Disabled).map_err(not_taken(
                target,
                name,
                "cannot be disabled",
            ))?;
        }
    }
    for switch in switches {
        for name in switch.also.iter().chain([&switch.name]) {
            ask::stop(host, name).map_err(not_taken(target, name, "does not stop"))?;
        }
    }
    for switch in switches {
        let service = show_one(host, target, &switch.name)?;
        if !service.as_ref().is_some_and(is_off) {
            let found = service.map_or("not there".to_owned(), |it| format!("{}, {}", it.state, it.start));
            let message = format!("{} is {found}; expected stopped, disabled", switch.name);
            return Err(DriverError::NotTaken { target: target.to_owned(), message });
        }
    }
    Ok(())
}

/// `interrupted`: it may have been disabled and not been stopped yet, or neither.
///
/// First all may start, then those that ran are started, each before what needs it.
fn bring_back(
    host: &dyn Host,
    target: &str,
    switches: &[&Switch],
    interrupted: bool,
    settings: impl Fn(&Switch) -> (Option<Start>, bool),
) -> Result<(), DriverError> {
    let mut start: Vec<&String> = Vec::new();
    for switch in switches {
        let name = &switch.name;
        let (before, ran) = settings(switch);
        let Some(now) = show_one(host, target, name)? else {
            tracing::warn!(target, service = name, "it is not on this server any more");
            continue;
        };
        let disabled = now.start == Start::Disabled;
        match before {
            Some(before) if disabled && before != Start::Disabled => {
                ask::set_start(host, name, before).map_err(not_taken(target, name, "cannot be enabled"))?;
            }
            _ if !disabled && !interrupted => {
                tracing::warn!(
                    target,
                    service = name,
                    "it was taken back into service by somebody: it is left"
                );
                continue;
            }
            _ => (),
        }
        if ran {
            start.push(name);
            start.extend(switch.also.iter().rev());
        }
    }
    for name in start {
        // It may start, and why it does not is for its owner: a mitigation does not stay for that.
        if let Err(error) = ask::start(host, name) {
            tracing::warn!(target, service = name, %error, "it may start again, but does not");
        }
    }
    Ok(())
}

fn show_one(host: &dyn Host, target: &str, name: &str) -> Result<Option<Service>, DriverError> {
    let names = [name.to_owned()];
    let shown = ask::show(host, &names);
    Ok(shown.map_err(not_taken(target, "the service control manager", "does not answer"))?.pop())
}

fn not_taken(target: &str, service: &str, what: &str) -> impl FnOnce(io::Error) -> DriverError + use<> {
    let (target, what) = (target.to_owned(), format!("{service} {what}"));
    move |error| DriverError::NotTaken { target, message: format!("{what}: {error}") }
}
