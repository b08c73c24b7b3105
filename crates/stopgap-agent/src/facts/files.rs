//! Which files belong to a package, so that a replaced file that a process runs can be told to be of it.
//!
//! A library's file is renamed by many updates (`libxml2.so.2.9.14`), and the list of the new package does not
//! hold the old name. So files are compared by folder and name up to `.so`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use stopgap_core::facts::Installed;
use stopgap_drivers::Host;
use stopgap_feed::document::VersionScheme;

use super::rpm;

/// The list of a package with 100,000 files has some 10 MB.
const MAX: u64 = 64 << 20;

/// Files of packages that were asked for, by the form of their names that updates keep.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<String, BTreeSet<String>>);

impl Files {
    /// The files of what is installed of `names`; an error where a list cannot be read.
    pub(super) fn of(
        root: &Path,
        host: &dyn Host,
        installed: &Installed,
        names: &BTreeSet<String>,
    ) -> Result<Files, String> {
        let mut files = Files::default();
        for name in names {
            for package in installed.packages(name) {
                let list = match installed.scheme() {
                    VersionScheme::Rpm => {
                        let folder = rpm::folder(root).ok_or("the rpm database has gone")?;
                        rpm::files(host, &folder, package)?
                    }
                    _ => dpkg_list(root, package)?,
                };
                list.lines().for_each(|file| files.insert(file, name));
            }
        }
        Ok(files)
    }

    fn insert(&mut self, file: &str, name: &str) {
        self.0.entry(kept(file)).or_default().insert(name.to_owned());
    }

    /// The names to whose packages a file belongs, or belonged.
    pub(super) fn names(&self, file: &str) -> impl Iterator<Item = &String> {
        self.0.get(&kept(file)).into_iter().flatten()
    }

    /// Whether it belongs to any.
    pub(super) fn hold(&self, file: &str) -> bool {
        self.names(file).next().is_some()
    }
}

/// dpkg's list of a package; one that can be installed for several architectures has one for each.
fn dpkg_list(root: &Path, package: &str) -> Result<String, String> {
    let folder = root.join("var/lib/dpkg/info");
    if let Some(list) = super::read(&folder.join(format!("{package}.list")), MAX)? {
        return Ok(list);
    }
    let mut all = String::new();
    for architecture in ARCHITECTURES {
        let list = super::read(&folder.join(format!("{package}:{architecture}.list")), MAX)?;
        all.extend(list);
        all.push('\n');
    }
    if all.trim().is_empty() {
        return Err(format!("there is no list of the files of package {package} in {}", folder.display()));
    }
    Ok(all)
}

/// Debian's and Ubuntu's, those of ports included.
const ARCHITECTURES: &[&str] = &[
    "amd64", "arm64", "i386", "armhf", "armel", "ppc64el", "s390x", "riscv64", "loong64", "mips64el",
    "mipsel", "x32", "powerpc", "ppc64", "sparc64", "hppa", "ia64", "alpha", "m68k", "sh4",
];

/// The form of a file's name that updates keep.
fn kept(file: &str) -> String {
    let file = file.strip_suffix(".dpkg-tmp").unwrap_or(file);
    // rpm's name of a file that is being put in place: eight hexadecimal digits behind a semicolon.
    let file = match file.rsplit_once(';') {
        Some((before, id)) if id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()) => before,
        _ => file,
    };
    // Where /lib is a link to /usr/lib, lists still name some files by the short way.
    let merged = |rest: &&str| ["/bin/", "/sbin/", "/lib"].iter().any(|short| rest.starts_with(short));
    let file = file.strip_prefix("/usr").filter(merged).unwrap_or(file);
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let stem = match name.split_once(".so") {
        Some((stem, rest)) if rest.is_empty() || rest.starts_with('.') => {
            // As in `libc-2.31.so`.
            let plain = stem.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
            plain.strip_suffix('-').filter(|_| plain.len() < stem.len()).unwrap_or(stem)
        }
        _ => return file.to_owned(),
    };
    format!("{folder}/{stem}.so")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_again_after_an_update_renamed_it() {
        for (before, after) in [
            ("/usr/lib/x86_64-linux-gnu/libxml2.so.2.9.14", "/usr/lib/x86_64-linux-gnu/libxml2.so.2.9.15"),
            ("/lib/x86_64-linux-gnu/libc-2.31.so", "/usr/lib/x86_64-linux-gnu/libc-2.36.so"),
            ("/usr/sbin/nginx.dpkg-tmp", "/usr/sbin/nginx"),
            ("/usr/sbin/httpd;6560a1b2", "/usr/sbin/httpd"),
            ("/bin/bash", "/usr/bin/bash"),
            ("/usr/lib64/libssl.so.1.1", "/usr/lib64/libssl.so.3"),
        ] {
            assert_eq!(kept(before), kept(after), "{before}");
        }
        for (one, other) in [
            ("/usr/sbin/nginx", "/opt/sbin/nginx"),
            ("/usr/lib/libssl.so.3", "/usr/lib/libcrypto.so.3"),
            ("/usr/bin/php8.2", "/usr/bin/php8.3"),
            ("/usr/libexec/a", "/usr/libexec/b"),
            ("/usr/lib/a/x.sock", "/usr/lib/a/x.so"),
        ] {
            assert_ne!(kept(one), kept(other), "{one}");
        }
    }

    #[test]
    fn a_source_has_the_files_of_all_its_packages_on_every_architecture() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("var/lib/dpkg/info");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("openssl.list"), "/.\n/usr/bin/openssl\n").unwrap();
        std::fs::write(folder.join("libssl3:amd64.list"), "/usr/lib/x86_64-linux-gnu/libssl.so.3\n").unwrap();
        std::fs::write(folder.join("libssl3:i386.list"), "/usr/lib/i386-linux-gnu/libssl.so.3\n").unwrap();
        let mut installed = Installed::default();
        for package in ["openssl", "libssl3"] {
            installed.insert((package, "3.0.11-1"), ("openssl", "3.0.11-1"));
        }
        let names: BTreeSet<String> = ["openssl".to_owned(), "libssl3".to_owned()].into();
        let host = stopgap_drivers::Machine;
        let files = Files::of(root.path(), &host, &installed, &names).unwrap();
        let of = |file: &str| files.names(file).map(String::as_str).collect::<Vec<_>>();
        assert_eq!(of("/usr/bin/openssl"), ["openssl"]);
        assert_eq!(of("/usr/lib/x86_64-linux-gnu/libssl.so.3"), ["libssl3", "openssl"]);
        assert_eq!(of("/usr/lib/i386-linux-gnu/libssl.so.3.0.9"), ["libssl3", "openssl"]);
        assert!(!files.hold("/usr/sbin/nginx"));

        installed.insert(("lost", "1"), ("lost", "1"));
        let why = Files::of(root.path(), &host, &installed, &["lost".to_owned()].into()).unwrap_err();
        assert!(why.contains("no list of the files of package lost"), "{why}");
    }
}
