//! What is asked of systemd.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::unit::{PROPERTIES, Unit, read};
use crate::host::{Command, Host, Output};

/// Above it, a mitigation reaches further than anybody foresaw.
pub(super) const UNITS_MAX: usize = 200;

/// A service may take its time to end what it began; systemd itself gives it 90 seconds by default.
const JOB: Duration = Duration::from_secs(120);

/// What these units are, in any order. A name that no unit has comes back as one that does not exist.
pub(super) fn show(host: &dyn Host, names: &[String]) -> io::Result<Vec<Unit>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let properties = format!("--property={}", PROPERTIES.join(","));
    let mut words = vec!["show", &properties, "--"];
    words.extend(names.iter().map(String::as_str));
    let output = systemctl(host, &words, Duration::from_secs(30))?;
    match output.success() {
        true => Ok(read(&String::from_utf8_lossy(&output.stdout))),
        false => Err(failed(&words, &output)),
    }
}

/// Stops a unit and waits until it has stopped, for two minutes at most.
pub(super) fn stop(host: &dyn Host, unit: &str) -> io::Result<()> {
    order(host, &["stop", "--", unit])
}

/// Starts a unit and waits until it has started, for two minutes at most.
pub(super) fn start(host: &dyn Host, unit: &str) -> io::Result<()> {
    order(host, &["start", "--", unit])
}

/// Masks a unit for good.
pub(super) fn mask(host: &dyn Host, unit: &str) -> io::Result<()> {
    order(host, &["mask", "--", unit])
}

/// Takes the mask off again.
pub(super) fn unmask(host: &dyn Host, unit: &str) -> io::Result<()> {
    order(host, &["unmask", "--", unit])
}

/// Has systemd read its units' files again.
pub(super) fn reload(host: &dyn Host) -> io::Result<()> {
    order(host, &["daemon-reload"])
}

fn order(host: &dyn Host, words: &[&str]) -> io::Result<()> {
    let output = systemctl(host, words, JOB)?;
    if output.success() { Ok(()) } else { Err(failed(words, &output)) }
}

fn systemctl(host: &dyn Host, words: &[&str], timeout: Duration) -> io::Result<Output> {
    let mut args = vec!["--no-ask-password", "--no-pager", "--quiet"];
    args.extend(words);
    let mut command = Command::new(PathBuf::from("/usr/bin/systemctl"), &args);
    command.timeout = timeout;
    host.run(&command)
}

fn failed(words: &[&str], output: &Output) -> io::Error {
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("it says nothing").trim();
    let word = words.first().copied().unwrap_or_default();
    io::Error::other(format!("systemctl {word}: {said}"))
}
