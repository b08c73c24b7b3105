//! What is asked of systemd: over the system's bus, or where that cannot be reached, by systemctl(1) with fixed
//! arguments, which has a way of its own.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::unit::{PROPERTIES, Unit, read};
use crate::host::systemd::Ask;
use crate::host::{Command, Host};

/// Above it, a mitigation reaches further than anybody foresaw.
pub(super) const UNITS_MAX: usize = 200;

/// How long a unit may take to stop or to start, where nobody says otherwise: a service may take its time to end what
/// it began, and systemd itself gives it 90 seconds by default.
pub const JOB: Duration = Duration::from_secs(120);

const QUESTION: Duration = Duration::from_secs(30);

/// What these units are, in any order. A name that no unit has comes back as one that does not exist.
pub(super) fn show(host: &dyn Host, names: &[String]) -> io::Result<Vec<Unit>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    match host.systemd(&Ask::Show { units: names, properties: &PROPERTIES }, QUESTION) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            let properties = format!("--property={}", PROPERTIES.join(","));
            let mut words = vec!["show", &properties, "--"];
            words.extend(names.iter().map(String::as_str));
            Ok(read(&systemctl(host, &words, QUESTION)?))
        }
        answer => Ok(answer?.iter().map(|properties| Unit::of(properties)).collect()),
    }
}

/// Stops a unit and waits until it has stopped, at most for this long.
pub(super) fn stop(host: &dyn Host, unit: &str, time: Duration) -> io::Result<()> {
    order(host, &Ask::Stop(unit), &["stop", "--", unit], time)
}

/// Starts a unit and waits until it has started, at most for this long.
pub(super) fn start(host: &dyn Host, unit: &str, time: Duration) -> io::Result<()> {
    order(host, &Ask::Start(unit), &["start", "--", unit], time)
}

/// Masks a unit for good.
pub(super) fn mask(host: &dyn Host, unit: &str) -> io::Result<()> {
    order(host, &Ask::Mask(unit), &["mask", "--", unit], JOB)
}

/// Takes the mask off again.
pub(super) fn unmask(host: &dyn Host, unit: &str) -> io::Result<()> {
    order(host, &Ask::Unmask(unit), &["unmask", "--", unit], JOB)
}

/// Has systemd read its units' files again.
pub(super) fn reload(host: &dyn Host) -> io::Result<()> {
    order(host, &Ask::Reload, &["daemon-reload"], JOB)
}

fn order(host: &dyn Host, ask: &Ask<'_>, words: &[&str], time: Duration) -> io::Result<()> {
    match host.systemd(ask, time) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => systemctl(host, words, time).map(|_| ()),
        answer => answer.map(|_| ()),
    }
}

fn systemctl(host: &dyn Host, words: &[&str], timeout: Duration) -> io::Result<String> {
    let mut args = vec!["--no-ask-password", "--no-pager", "--quiet"];
    args.extend(words);
    let mut command = Command::new(PathBuf::from("/usr/bin/systemctl"), &args);
    command.timeout = timeout;
    let output = host.run(&command)?;
    if output.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("it says nothing").trim();
    Err(io::Error::other(format!("systemctl {}: {said}", words.first().copied().unwrap_or_default())))
}
