//! Debian's package database, `/var/lib/dpkg/status`: a paragraph for each package (deb822(5)).
//!
//! Not in here: comparing versions (`stopgap_core::version`).

use std::path::Path;

use stopgap_core::facts::Installed;

/// Below the root of a system.
pub(super) const STATUS: &str = "var/lib/dpkg/status";
/// A server with 10,000 packages has some 15 MB.
const MAX: u64 = 64 << 20;

/// What is installed below `root`; nothing where there is no such database; an error where it cannot be read
/// or understood, which then tells nothing about any package.
pub(super) fn installed(root: &Path) -> Result<Option<Installed>, String> {
    let path = root.join(STATUS);
    super::read(&path, MAX)?
        .map(|text| parse(&text).map_err(|why| format!("{}: {why}", path.display())))
        .transpose()
}

#[derive(Default)]
struct Paragraph<'a> {
    package: Option<&'a str>,
    status: Option<&'a str>,
    version: Option<&'a str>,
    source: Option<&'a str>,
}

fn parse(text: &str) -> Result<Installed, String> {
    let mut installed = Installed::default();
    let mut open = Paragraph::default();
    let mut any = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            std::mem::take(&mut open).close(&mut installed).map_err(|why| format!("line {index}: {why}"))?;
            any = false;
            continue;
        }
        any = true;
        // The rest of a field of several lines.
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            let start: String = line.chars().take(40).collect();
            return Err(format!("line {}: expected `Field: value`, found {start:?}", index + 1));
        };
        let field = match name.to_ascii_lowercase().as_str() {
            "package" => &mut open.package,
            "status" => &mut open.status,
            "version" => &mut open.version,
            "source" => &mut open.source,
            _ => continue,
        };
        *field = Some(value.trim());
    }
    if any {
        open.close(&mut installed).map_err(|why| format!("at its end: {why}"))?;
    }
    Ok(installed)
}

impl<'a> Paragraph<'a> {
    /// Adds the package if its files are here. Of the states of dpkg(1), only in these two they are not: one
    /// that is half installed or waits for its configuration can be attacked already.
    fn close(self, installed: &mut Installed) -> Result<(), String> {
        let Paragraph { package: None, status: None, version: None, source: None } = self else {
            let package = self.package.ok_or("a paragraph without `Package`")?;
            let status = self.status.and_then(|status| status.split_ascii_whitespace().nth(2));
            let state = status.ok_or_else(|| format!("package {package} has no `Status` of three words"))?;
            if matches!(state, "not-installed" | "config-files") {
                return Ok(());
            }
            let version = self.version.ok_or_else(|| format!("package {package} has no `Version`"))?;
            installed.insert((package, version), self.source(package, version));
            return Ok(());
        };
        Ok(())
    }

    /// `Source: name (version)`; without it, the package's own name and version.
    fn source(&self, package: &'a str, version: &'a str) -> (&'a str, &'a str) {
        let Some(source) = self.source else { return (package, version) };
        match source.split_once('(') {
            Some((name, rest)) => (name.trim(), rest.trim_end().trim_end_matches(')').trim()),
            None => (source, version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "\
Package: roundcube-core
Status: install ok installed
Priority: optional
Architecture: all
Source: roundcube
Version: 1.6.5+dfsg-1+deb12u4
Description: skinnable AJAX based webmail solution for IMAP servers
 Version: 9 is what this line says, and it is a description.
 .
 More of it.

Package: libc6
Status: hold ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u10

Package: libc6
Status: install ok half-configured
Architecture: i386
Source: glibc
Version: 2.36-9+deb12u9

Package: rebuilt
Status: install ok installed
Source: other (2.0-1)
Version: 2.0-1+b3

Package: gone
Status: deinstall ok config-files
Version: 1.0-1

Package: never
Status: unknown ok not-installed
";

    #[test]
    fn packages_are_known_by_their_name_and_by_their_sources() {
        let installed = parse(STATUS).unwrap();
        let versions = |name: &str| installed.versions(name).collect::<Vec<_>>();
        assert_eq!(versions("roundcube"), ["1.6.5+dfsg-1+deb12u4"]);
        assert_eq!(versions("roundcube-core"), ["1.6.5+dfsg-1+deb12u4"]);
        assert_eq!(versions("libc6"), ["2.36-9+deb12u10", "2.36-9+deb12u9"]);
        assert_eq!((versions("rebuilt"), versions("other")), (vec!["2.0-1+b3"], vec!["2.0-1"]));
        assert_eq!((versions("gone"), versions("never")), (vec![], vec![]));
    }

    #[test]
    fn what_is_no_database_tells_nothing() {
        for (text, expected) in [
            ("Package: a\nStatus: install ok installed\n", "package a has no `Version`"),
            ("Package: a\nStatus: installed\nVersion: 1\n", "`Status` of three words"),
            ("Status: install ok installed\nVersion: 1\n\n", "without `Package`"),
            ("Package: a\n\u{0}\u{0}garbage", "line 2: expected `Field: value`"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        assert_eq!(parse("").unwrap(), Installed::default());
    }

    #[test]
    fn this_very_system_is_read() {
        match installed(Path::new("/")).unwrap() {
            None => println!("skipped (no dpkg): this_very_system_is_read"),
            Some(installed) => assert!(installed.versions("dpkg").count() >= 1),
        }
    }
}
