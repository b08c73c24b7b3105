//! Facts as this agent has them: stated in `stopgap.toml` and `facts.d`, and what the system says of itself:
//! its distribution, and the packages that are installed.
//!
//! Files are read, nothing is run. What cannot be read is a fact of its own, [`Fact::Unknown`] or
//! [`Packages::Unreadable`], with the reason.

mod dpkg;
mod release;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use stopgap_core::facts::{ECOSYSTEM, Fact, Facts, Packages};

use crate::config::{Config, TargetConfig};

/// This server's facts: what the system says, with what the configuration states on top.
pub fn facts(config: &Config) -> Facts {
    let mut facts = of_system(Path::new("/"));
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
pub fn of_system(root: &Path) -> Facts {
    let mut facts = Facts::default();
    facts.set_read(std::env::consts::OS, Fact::Unknown("this build does not read its version".into()));
    if let Some(ecosystem) = release::ecosystem(root) {
        facts.set_read(ECOSYSTEM, ecosystem);
    }
    let distribution = matches!(facts.ecosystem(), Some(Fact::Version(_)));
    facts.set_packages(packages(root, distribution));
    facts
}

/// The packages; `distribution` tells whether the system names itself one, which always has some.
fn packages(root: &Path, distribution: bool) -> Packages {
    match dpkg::installed(root) {
        Ok(Some(installed)) => Packages::Installed(installed),
        Ok(None) if has_rpm(root) => Packages::Unreadable(
            "this build does not read rpm's database; state versions under [facts]".into(),
        ),
        Ok(None) if distribution => Packages::Unreadable(
            "no package database was found (var/lib/dpkg/status); state versions under [facts]".into(),
        ),
        Ok(None) => Packages::None,
        Err(why) => Packages::Unreadable(why),
    }
}

/// Where rpm keeps its database, before and after it moved.
fn has_rpm(root: &Path) -> bool {
    ["var/lib/rpm", "usr/lib/sysimage/rpm"].iter().any(|folder| root.join(folder).is_dir())
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
        let facts = of_system(root.path());
        assert_eq!(facts.ecosystem(), Some(&Fact::Version("Debian:12".into())));
        let Packages::Installed(installed) = facts.packages() else { panic!("{:?}", facts.packages()) };
        assert_eq!(installed.versions("a").collect::<Vec<_>>(), ["1-2"]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let root = tree(&[("etc/os-release", BOOKWORM), ("var/lib/dpkg/status/not-a-file", "")]);
        let facts = of_system(root.path());
        let Packages::Unreadable(why) = facts.packages() else { panic!("{:?}", facts.packages()) };
        assert!(why.contains("var/lib/dpkg/status: "), "{why}");

        let root = tree(&[("var/lib/rpm/rpmdb.sqlite", "")]);
        let facts = of_system(root.path());
        assert!(matches!(facts.packages(), Packages::Unreadable(why) if why.contains("rpm")));
        assert!(matches!(facts.ecosystem(), Some(Fact::Unknown(why)) if why.contains("os-release")));

        // A container image without dpkg is not a server without packages.
        let root = tree(&[("etc/os-release", BOOKWORM)]);
        let facts = of_system(root.path());
        assert!(matches!(facts.packages(), Packages::Unreadable(why) if why.contains("no package database")));

        let root = tree(&[("x", "0123456789")]);
        assert!(read(&root.path().join("x"), 9).unwrap_err().contains("more than 9 bytes"));
        assert_eq!(of_system(&root.path().join("none")).packages(), &Packages::None);
    }
}
