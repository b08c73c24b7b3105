//! What is asked of the service control manager of Windows.
//!
//! An order is done when the service has the state that it is to have: the control manager only passes it on.

use std::fmt;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(windows)]
mod scm;

/// One question or order. Names are services' short names; Windows finds them whatever their case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// What these services are; one that does not exist is left out.
    Show(&'a [String]),
    /// Start it, and wait until it runs.
    Start(&'a str),
    /// Stop it, and wait until it has stopped. What depends on it must have stopped before.
    Stop(&'a str),
    /// Change when it starts, and nothing else of it.
    SetStart(&'a str, Start),
}

/// When a service starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Start {
    /// A driver, by the boot loader.
    Boot,
    /// A driver, by the kernel.
    System,
    Automatic,
    /// Automatically, some time after the others.
    Delayed,
    /// When somebody asks for it.
    Manual,
    Disabled,
}

impl Start {
    /// Every one, so that words can be read back.
    pub const ALL: [Start; 6] =
        [Start::Boot, Start::System, Start::Automatic, Start::Delayed, Start::Manual, Start::Disabled];
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Start::Boot => "boot",
            Start::System => "system",
            Start::Automatic => "automatic",
            Start::Delayed => "automatic (delayed)",
            Start::Manual => "manual",
            Start::Disabled => "disabled",
        })
    }
}

/// What a service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum State {
    Stopped,
    Starting,
    Stopping,
    Running,
    Resuming,
    Pausing,
    Paused,
}

impl State {
    /// Anything but stopped.
    pub fn runs(self) -> bool {
        self != State::Stopped
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Stopped => "stopped",
            State::Starting => "starting",
            State::Stopping => "stopping",
            State::Running => "running",
            State::Resuming => "resuming",
            State::Pausing => "pausing",
            State::Paused => "paused",
        })
    }
}

/// A service as the control manager shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its short name, as it was registered.
    pub name: String,
    /// The name that people read.
    pub display: String,
    /// When it starts.
    pub start: Start,
    /// What it does.
    pub state: State,
    /// Whether it takes an order to stop now.
    pub stoppable: bool,
    /// Whether it is a process; else it is a driver.
    pub process: bool,
    /// The services that name it as one that they need.
    pub dependents: Vec<String>,
}

/// Asks the service control manager of this machine. [`io::ErrorKind::NotConnected`]: there is none.
#[cfg(windows)]
pub fn ask(ask: &Ask<'_>, time: Duration) -> io::Result<Vec<Service>> {
    scm::ask(ask, time)
}

/// There is none here.
#[cfg(not(windows))]
pub fn ask(_: &Ask<'_>, _: Duration) -> io::Result<Vec<Service>> {
    Err(io::Error::new(io::ErrorKind::NotConnected, "this system has no service control manager"))
}
