//! What `stopgap agent uninstall` does on every system: taking everything off, and saying what is left and what to do
//! about it.

use std::path::Path;

use serde_json::json;
use stopgap_agent::config::{Config, TargetConfig};
use stopgap_agent::{leave, targets};
use stopgap_drivers::Machine;

use super::super::local;
use crate::exit::Failure;
use crate::{output, system};

/// Takes everything off; an error, and nothing else is to be removed then, where something stays.
pub fn take_all_off(config: &Config) -> Result<(), Failure> {
    let (done, stays) = system::runtime()?.block_on(leave::take_all_off(config))?;
    local::tell_events(config, &done);
    if stays.is_empty() {
        return Ok(());
    }
    let stays: Vec<String> = stays.iter().map(ToString::to_string).collect();
    Err(Failure::new(anyhow::anyhow!(
        "{} could not be taken off; nothing else was removed",
        stays.join(", ")
    ))
    .hint("the service is stopped; `stopgap explain ID` says how a mitigation is taken off by hand"))
}

/// What is left on this server, and what to do about it.
pub fn of(config: &Config, packaged: bool) -> Vec<(String, String)> {
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

/// Says what was removed and what is left.
pub fn tell(removed: &[String], remains: &[(String, String)], as_json: bool) -> Result<(), Failure> {
    if as_json {
        let remains: Vec<_> =
            remains.iter().map(|(what, words)| json!({ "what": what, "then": words })).collect();
        output::json(&json!({ "removed": removed, "remains": remains }))?;
        return Ok(());
    }
    for path in removed {
        output::line(format_args!("removed  {path}"))?;
    }
    for (what, then) in remains {
        output::line(format_args!("remains  {what}: {then}"))?;
    }
    Ok(())
}
