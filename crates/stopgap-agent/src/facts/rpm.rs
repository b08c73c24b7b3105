//! rpm's database, as `rpm` itself tells it.
//!
//! This is the one fact for which a program is run. The database has three formats (Berkeley DB, NDB, SQLite with
//! a write-ahead log that has to be read along), and its own library is their only complete reader. The program
//! and its arguments are fixed, its environment is empty, and of a feed's words none gets into them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stopgap_core::facts::Installed;
use stopgap_drivers::Host;
use stopgap_drivers::host::Command;
use stopgap_feed::document::VersionScheme;

const RPM: &str = "/usr/bin/rpm";
/// A server with 5,000 packages answers within a second or two, a busy one in ten.
const TIME: Duration = Duration::from_secs(60);
/// Where rpm keeps its database, before and after it moved.
const FOLDERS: [&str; 2] = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
/// Its files, by format.
const DATABASES: [&str; 4] = ["rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages.db", "Packages"];

/// The fields of a package, apart by tabulators: neither names nor versions can hold one.
const FORMAT: &str = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\t%{SOURCERPM}\\n";

/// The folder of the database, where this system has one.
pub(super) fn folder(root: &Path) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| root.join(folder)).find(|folder| folder.is_dir())
}

/// The files of the database, of which a system has some.
pub(super) fn databases(root: &Path) -> impl Iterator<Item = PathBuf> {
    let names = |folder: &&str| DATABASES.map(|name| root.join(folder).join(name));
    FOLDERS.iter().flat_map(names).collect::<Vec<_>>().into_iter()
}

/// What is installed, as the database in `folder` says.
pub(super) fn installed(host: &dyn Host, folder: &Path) -> Result<Installed, String> {
    parse(&ask(host, folder, &["-qa", "--qf", FORMAT])?)
}

/// The files of an installed package, whose name is rpm's own.
pub(super) fn files(host: &dyn Host, folder: &Path, package: &str) -> Result<String, String> {
    ask(host, folder, &["-ql", "--", package])
}

fn ask(host: &dyn Host, folder: &Path, what: &[&str]) -> Result<String, String> {
    // Signatures were checked when the packages came; here they only take time.
    let folder = folder.display().to_string();
    let fixed = ["--nodigest", "--nosignature", "--dbpath", &folder];
    let args = fixed.iter().chain(what).map(|arg| (*arg).to_owned()).collect();
    let command = Command { program: RPM.into(), args, timeout: TIME, bind: None };
    let output = host.run(&command).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("there is an rpm database and no {RPM} that reads it; state versions under [facts]")
        }
        _ => format!("{RPM}: {error}"),
    })?;
    if output.status != Some(0) {
        // What it does not find it says where it would answer.
        let said = [output.stderr.as_slice(), output.stdout.as_slice()].concat();
        let said: String = String::from_utf8_lossy(&said).trim().chars().take(300).collect();
        return Err(format!("{RPM} failed: {said}"));
    }
    if output.truncated {
        return Err(format!("{RPM} answered more than can be kept"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn parse(text: &str) -> Result<Installed, String> {
    let mut installed = Installed::new(VersionScheme::Rpm);
    for line in text.lines() {
        let mut fields = line.split('\t');
        let (Some(name), Some(version), Some(source), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            let start: String = line.chars().take(80).collect();
            return Err(format!("{RPM} answered {start:?}, expected a name, a version and a source"));
        };
        let own = (name.to_owned(), version.to_owned());
        let (source, of_source) = of_source(source, version).unwrap_or(own);
        installed.insert((name, version), (&source, &of_source));
    }
    Ok(installed)
}

/// `nginx-1.20.1-14.el9.src.rpm`: name and version of a source. It has no epoch of its own in there; its packages
/// have the one that it says.
fn of_source(source: &str, version: &str) -> Option<(String, String)> {
    let stem = source.strip_suffix(".src.rpm").or_else(|| source.strip_suffix(".nosrc.rpm"))?;
    let (rest, release) = stem.rsplit_once('-')?;
    let (name, upstream) = rest.rsplit_once('-')?;
    let epoch = version.split_once(':').map(|(epoch, _)| format!("{epoch}:")).unwrap_or_default();
    Some((name.to_owned(), format!("{epoch}{upstream}-{release}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    const SPEC: &str = "\
Name: portal
Epoch: 2
Version: 4.2.1
Release: 3%{?dist}
Summary: x
License: x
BuildArch: noarch
%description
x
%package core
Summary: x
%description core
x
%install
mkdir -p %{buildroot}/opt/portal
echo x > %{buildroot}/opt/portal/portal
%files core
/opt/portal/portal
";

    /// A package built by rpm's own tools, in a database that they made.
    #[test]
    #[cfg(unix)]
    fn a_real_database_tells_versions_sources_and_files() {
        const TEST: &str = "a_real_database_tells_versions_sources_and_files";
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("var/lib/rpm");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(root.path().join("portal.spec"), SPEC).unwrap();
        let top = root.path().display().to_string();
        let define = [format!("_topdir {top}"), format!("_dbpath {}", folder.display())];
        let run = |tool: &str, args: &[&str]| {
            let defines = define.iter().flat_map(|define| ["--define", define.as_str()]);
            match std::process::Command::new(tool).args(defines).args(args).current_dir(root.path()).output()
            {
                Ok(output) => {
                    assert!(output.status.success(), "{tool} {args:?}: {output:?}");
                    true
                }
                Err(_) => {
                    assert!(std::env::var("CI").as_deref() != Ok("true"), "no {tool}");
                    println!("skipped (no {tool}): {TEST}");
                    false
                }
            }
        };
        let dist = ["--define", "dist .el9", "-bb", "portal.spec"];
        if !run("rpmbuild", &dist) || !run("rpm", &["--initdb"]) {
            return;
        }
        let package = "RPMS/noarch/portal-core-4.2.1-3.el9.noarch.rpm";
        run("rpm", &["-i", "--nodeps", "--justdb", package]);

        let host = stopgap_drivers::Machine;
        assert_eq!(super::folder(root.path()), Some(folder.clone()));
        let found = installed(&host, &folder).unwrap();
        assert_eq!(found.versions("portal-core").collect::<Vec<_>>(), ["2:4.2.1-3.el9"]);
        assert_eq!(found.versions("portal").collect::<Vec<_>>(), ["2:4.2.1-3.el9"]);
        assert_eq!(found.packages("portal").collect::<Vec<_>>(), ["portal-core"]);
        assert_eq!(files(&host, &folder, "portal-core").unwrap().trim(), "/opt/portal/portal");
        assert!(files(&host, &folder, "other").unwrap_err().contains("other"));
        assert!(databases(root.path()).any(|file| file.is_file()));
    }

    #[test]
    fn packages_are_known_by_their_name_and_by_their_sources() {
        let text = "nginx-core\t1:1.20.1-14.el9_2.1\tnginx-1.20.1-14.el9_2.1.src.rpm\n\
                    kernel-core\t5.14.0-362.el9\tkernel-5.14.0-362.el9.src.rpm\n\
                    kernel-core\t5.14.0-370.el9\tkernel-5.14.0-370.el9.src.rpm\n\
                    gpg-pubkey\t8483c65d-5ccc5b19\t(none)\n";
        let installed = parse(text).unwrap();
        let versions = |name: &str| installed.versions(name).collect::<Vec<_>>();
        assert_eq!(versions("nginx-core"), ["1:1.20.1-14.el9_2.1"]);
        assert_eq!(versions("nginx"), ["1:1.20.1-14.el9_2.1"]);
        assert_eq!(installed.packages("nginx").collect::<Vec<_>>(), ["nginx-core"]);
        assert_eq!(installed.kernels().collect::<Vec<_>>(), ["5.14.0-362.el9", "5.14.0-370.el9"]);
        assert_eq!(versions("gpg-pubkey"), ["8483c65d-5ccc5b19"]);
        assert!(parse("nginx 1.20\n").unwrap_err().contains("expected a name"));
    }
}
