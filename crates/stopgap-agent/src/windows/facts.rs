//! What the registry and the files of a Windows server say of its products.
//!
//! Exchange's setup keeps the build of the cumulative update in the registry; a security update raises the version of
//! `ExSetup.exe` alone, so that file's version counts.

use std::path::{Path, PathBuf};

use stopgap_core::facts::{Fact, Facts};
use windows_registry::{Key, LOCAL_MACHINE};

use crate::facts::file_version;

const WINDOWS: &str = "SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion";
const EXCHANGE: &str = "SOFTWARE\\Microsoft\\ExchangeServer\\v15\\Setup";
const IIS: &str = "SOFTWARE\\Microsoft\\InetStp";

/// Adds them. What is not there is no fact; what is there and cannot be read is an unknown one, with the reason.
pub fn add(facts: &mut Facts) {
    if let Ok(key) = LOCAL_MACHINE.open(WINDOWS) {
        facts.set_read("windows", windows(&key));
    }
    if let Ok(key) = LOCAL_MACHINE.open(EXCHANGE) {
        facts.set_read("exchange", exchange(&key));
    }
    if let Ok(key) = LOCAL_MACHINE.open(IIS) {
        facts.set_read("iis", iis(&key));
    }
    let rewrite = system().join("inetsrv").join("rewrite.dll");
    if rewrite.is_file() {
        facts.set_read("iis-rewrite", of_file(&rewrite));
    }
}

fn system() -> PathBuf {
    let root = std::env::var_os("SystemRoot").map(PathBuf::from).filter(|root| root.is_absolute());
    root.unwrap_or_else(|| PathBuf::from("C:\\Windows")).join("System32")
}

fn of_file(path: &Path) -> Fact {
    match file_version(path) {
        Ok(version) => Fact::Version(version),
        Err(why) => Fact::Unknown(why),
    }
}

/// `10.0.20348.2700`; before Windows 10 the two first numbers are in the text `CurrentVersion`.
fn windows(key: &Key) -> Fact {
    let numbers = ["CurrentMajorVersionNumber", "CurrentMinorVersionNumber"].map(|name| key.get_u32(name));
    let front = match numbers {
        [Ok(major), Ok(minor)] => Ok(format!("{major}.{minor}")),
        _ => key.get_string("CurrentVersion"),
    };
    match (front, key.get_string("CurrentBuildNumber").or_else(|_| key.get_string("CurrentBuild"))) {
        (Ok(front), Ok(build)) => {
            Fact::Version(format!("{front}.{build}.{}", key.get_u32("UBR").unwrap_or_default()))
        }
        _ => Fact::Unknown(format!("HKLM\\{WINDOWS} has no version")),
    }
}

fn exchange(key: &Key) -> Fact {
    if let Ok(folder) = key.get_string("MsiInstallPath") {
        return of_file(&Path::new(&folder).join("Bin").join("ExSetup.exe"));
    }
    Fact::Unknown(format!("HKLM\\{EXCHANGE} has no MsiInstallPath"))
}

fn iis(key: &Key) -> Fact {
    match (key.get_u32("MajorVersion"), key.get_u32("MinorVersion")) {
        (Ok(major), Ok(minor)) => Fact::Version(format!("{major}.{minor}")),
        _ => Fact::Unknown(format!("HKLM\\{IIS} has no MajorVersion")),
    }
}
