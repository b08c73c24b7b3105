//! Facts as this agent has them: stated in `stopgap.toml` and `facts.d`, and what the system says of itself:
//! its distribution, the packages that are installed and the kernel that runs. What only mitigations ask for is
//! looked up in the cycle that knows them ([`look()`]).
//!
//! Files are read, and nothing is run but `rpm`, for its own database. What cannot be read is a fact of its own,
//! [`Fact::Unknown`] or [`Packages::Unreadable`], with the reason.

mod cache;
mod detect;
mod dpkg;
mod files;
mod kernel;
mod look;
mod memory;
mod processes;
mod release;
mod rpm;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use stopgap_core::facts::{ECOSYSTEM, Fact, Facts, Installed, Packages};
use stopgap_drivers::{Host, Machine};

use crate::config::{Config, TargetConfig};
use cache::{Cached, Stamp};
pub use look::{Place, look};

/// This server's facts: what the system says, with what the configuration states on top.
pub fn facts(config: &Config) -> Facts {
    let mut facts = of_system(&Machine, Path::new("/"));
    for (name, version) in &config.facts {
        facts.insert(name.clone(), Fact::Version(version.clone()));
    }
    facts
}

/// What a target states of what it fronts.
pub fn target_facts(target: &TargetConfig) -> Facts {
    target.facts.iter().map(|(name, version)| (name.clone(), version.clone())).collect()
}

/// What the system below `root` says of itself.
pub fn of_system(host: &dyn Host, root: &Path) -> Facts {
    let mut facts = Facts::default();
    facts.set_read(std::env::consts::OS, Fact::Unknown("this build does not read its version".into()));
    #[cfg(windows)]
    crate::windows::facts::add(&mut facts);
    if let Some(ecosystem) = release::ecosystem(root) {
        facts.set_read(ECOSYSTEM, ecosystem);
    }
    let distribution = matches!(facts.ecosystem(), Some(Fact::Version(_)));
    let packages = if cfg!(windows) { Packages::None } else { packages(host, root, distribution) };
    if let Packages::Installed(installed) = &packages
        && let Some(kernel) = kernel::running(root, installed.scheme())
    {
        facts.set_kernel(kernel);
    }
    facts.set_packages(packages);
    facts
}

/// The file version of a Windows program or library.
#[cfg(windows)]
pub(crate) fn file_version(path: &Path) -> Result<String, String> {
    detect::file_version(path)
}

/// Files whose change means that other packages are installed.
fn databases(root: &Path) -> impl Iterator<Item = PathBuf> {
    [root.join(dpkg::STATUS)].into_iter().chain(rpm::databases(root))
}

/// Those of them that change with nothing but the packages. A log written ahead comes and goes with every reader.
pub fn watched(root: &Path) -> Vec<PathBuf> {
    // Windows has none of them; a path without a drive may still lead somewhere there.
    if cfg!(windows) {
        return Vec::new();
    }
    databases(root).filter(|file| !file.to_string_lossy().ends_with("-wal")).collect()
}

static PACKAGES: Cached<Result<Option<Installed>, String>> = Cached::new();

/// The state of the package database.
fn database_stamp(root: &Path) -> Stamp {
    Stamp::of(databases(root))
}

/// The packages; `distribution` tells whether the system names itself one, which always has some.
fn packages(host: &dyn Host, root: &Path, distribution: bool) -> Packages {
    let read = || match dpkg::installed(root)? {
        None => rpm::folder(root).map(|folder| rpm::installed(host, &folder)).transpose(),
        found => Ok(found),
    };
    match PACKAGES.get(root, database_stamp(root), read) {
        Ok(Some(installed)) => Packages::Installed(installed),
        Ok(None) if distribution => Packages::Unreadable(
            "no package database was found (var/lib/dpkg/status); state versions under [facts]".into(),
        ),
        Ok(None) => Packages::None,
        Err(why) => Packages::Unreadable(why),
    }
}

/// The text of a file, not more than `limit` bytes of it; nothing where it does not exist. What is not UTF-8
/// is replaced: every name and version that counts is ASCII.
fn read(path: &Path, limit: u64) -> Result<Option<String>, String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(format!("{} holds more than {limit} bytes", path.display()));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const BOOKWORM: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";

    #[test]
    fn a_debian_server_says_its_release_and_its_packages() {
        let root = tree(&[
            ("etc/os-release", BOOKWORM),
            ("var/lib/dpkg/status", "Package: a\nStatus: install ok installed\nVersion: 1-2\n"),
        ]);
        let facts = of_system(&Machine, root.path());
        assert_eq!(facts.ecosystem(), Some(&Fact::Version("Debian:12".into())));
        let Packages::Installed(installed) = facts.packages() else { panic!("{:?}", facts.packages()) };
        assert_eq!(installed.versions("a").collect::<Vec<_>>(), ["1-2"]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let root = tree(&[("etc/os-release", BOOKWORM), ("var/lib/dpkg/status/not-a-file", "")]);
        let facts = of_system(&Machine, root.path());
        let Packages::Unreadable(why) = facts.packages() else { panic!("{:?}", facts.packages()) };
        assert!(why.contains("var/lib/dpkg/status: "), "{why}");

        // A machine without rpm's own program.
        let root = tree(&[("var/lib/rpm/rpmdb.sqlite", "")]);
        let facts = of_system(&stopgap_testkit::host::FakeHost::new(), root.path());
        assert!(matches!(facts.packages(), Packages::Unreadable(why) if why.contains("no /usr/bin/rpm")));
        assert!(matches!(facts.ecosystem(), Some(Fact::Unknown(why)) if why.contains("os-release")));

        // A container image without dpkg is not a server without packages.
        let root = tree(&[("etc/os-release", BOOKWORM)]);
        let facts = of_system(&Machine, root.path());
        assert!(matches!(facts.packages(), Packages::Unreadable(why) if why.contains("no package database")));

        let root = tree(&[("x", "0123456789")]);
        assert!(read(&root.path().join("x"), 9).unwrap_err().contains("more than 9 bytes"));
        assert_eq!(of_system(&Machine, &root.path().join("none")).packages(), &Packages::None);
    }
}
