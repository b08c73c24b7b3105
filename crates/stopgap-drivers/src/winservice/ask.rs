//! What is asked of the service control manager, and how long it may take.

use std::io;
use std::time::Duration;

use crate::host::Host;
use crate::host::services::{Ask, Service, Start};

/// Above it, a mitigation reaches further than anybody foresaw.
pub(super) const SERVICES_MAX: usize = 200;

/// A service may take its time to end what it began; Windows itself gives it 30 seconds by default for an order, and
/// services of Exchange ask for more.
const JOB: Duration = Duration::from_secs(120);

const QUESTION: Duration = Duration::from_secs(30);

/// What these services are; one that does not exist is left out.
pub(super) fn show(host: &dyn Host, names: &[String]) -> io::Result<Vec<Service>> {
    if names.is_empty() { Ok(Vec::new()) } else { host.services(&Ask::Show(names), QUESTION) }
}

/// Stops a service and waits until it has stopped, for two minutes at most.
pub(super) fn stop(host: &dyn Host, service: &str) -> io::Result<()> {
    host.services(&Ask::Stop(service), JOB).map(drop)
}

/// Starts a service and waits until it runs, for two minutes at most.
pub(super) fn start(host: &dyn Host, service: &str) -> io::Result<()> {
    host.services(&Ask::Start(service), JOB).map(drop)
}

/// Changes when a service starts.
pub(super) fn set_start(host: &dyn Host, service: &str, start: Start) -> io::Result<()> {
    host.services(&Ask::SetStart(service, start), QUESTION).map(drop)
}
