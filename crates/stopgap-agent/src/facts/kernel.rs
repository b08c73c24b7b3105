//! The kernel that runs, by the number of its distribution's package.
//!
//! `uname` tells the number of its interface (`6.1.0-18-amd64`), which stays while the package is mended; the
//! package's version stands elsewhere: on Debian in `/proc/version`, on Ubuntu in `/proc/version_signature`, and
//! on distributions with rpm it is the release itself.

use std::path::Path;

use stopgap_core::facts::Fact;
use stopgap_feed::document::VersionScheme;

/// Some lines of text.
const MAX: u64 = 16 * 1024;

/// The kernel's version; nothing where this is no Linux.
pub(super) fn running(root: &Path, scheme: VersionScheme) -> Option<Fact> {
    let text = |name: &str| super::read(&root.join("proc").join(name), MAX).ok().flatten();
    let release = text("sys/kernel/osrelease")?;
    let package = match scheme {
        VersionScheme::Rpm => of_rpm(release.trim()),
        _ => text("version_signature")
            .and_then(|signature| of_ubuntu(&signature))
            .or_else(|| of_debian(&text("version").unwrap_or_default())),
    };
    Some(package.map_or_else(
        || {
            Fact::Unknown(format!(
                "kernel {} is none that a package of this distribution holds",
                release.trim()
            ))
        },
        Fact::Version,
    ))
}

/// `Linux version 6.1.0-18-amd64 (…) … #1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)`
fn of_debian(version: &str) -> Option<String> {
    let mut words = version.rsplit_once('#')?.1.split_ascii_whitespace();
    words.find(|word| *word == "Debian")?;
    words.next().map(str::to_owned)
}

/// `Ubuntu 5.15.0-94.104-generic 5.15.136`: without the flavor.
fn of_ubuntu(signature: &str) -> Option<String> {
    let mut words = signature.split_ascii_whitespace();
    (words.next() == Some("Ubuntu")).then_some(())?;
    Some(words.next()?.rsplit_once('-')?.0.to_owned())
}

/// `5.14.0-362.8.1.el9_3.x86_64`: without the architecture. Its packages have a release behind a hyphen.
fn of_rpm(release: &str) -> Option<String> {
    let release = release.split_once('+').map_or(release, |(release, _)| release);
    let (version, architecture) = release.rsplit_once('.')?;
    let known = ["x86_64", "aarch64", "ppc64le", "s390x", "i686", "riscv64"].contains(&architecture);
    (known && version.contains('-')).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_distribution_tells_its_packages_number_in_its_own_place() {
        let debian = "Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) \
                      12.2.0, GNU ld (GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 \
                      (2024-02-01)\n";
        assert_eq!(of_debian(debian), Some("6.1.76-1".into()));
        // Built by somebody else with Debian's compiler.
        let own = "Linux version 6.18.4 (me@host) (gcc (Debian 12.2.0-14) 12.2.0) #2 SMP Sat Nov 1 2025\n";
        assert_eq!(of_debian(own), None);
        let ubuntu = "Ubuntu 5.15.0-94.104-generic 5.15.136\n";
        assert_eq!(of_ubuntu(ubuntu), Some("5.15.0-94.104".into()));
        assert_eq!(of_rpm("5.14.0-362.8.1.el9_3.x86_64"), Some("5.14.0-362.8.1.el9_3".into()));
        assert_eq!(of_rpm("5.14.0-362.el9.x86_64+debug"), Some("5.14.0-362.el9".into()));
        assert_eq!(of_rpm("6.18.4"), None);
    }

    #[test]
    fn a_kernel_of_no_package_is_said_to_be_one() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(running(root.path(), VersionScheme::Dpkg), None);
        let folder = root.path().join("proc/sys/kernel");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("osrelease"), "6.18.4\n").unwrap();
        let Some(Fact::Unknown(why)) = running(root.path(), VersionScheme::Dpkg) else {
            panic!("no version")
        };
        assert!(why.contains("6.18.4"), "{why}");
    }
}
