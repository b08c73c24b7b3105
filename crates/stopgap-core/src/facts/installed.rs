//! The packages of this server's own distribution. Values only: who reads the database is elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stopgap_feed::document::VersionScheme;

/// The packages of this server's own distribution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Packages {
    /// There is no package database that this build knows of.
    #[default]
    None,
    /// There is one, which could not be read, and why.
    Unreadable(String),
    /// Every installed package.
    Installed(Installed),
}

/// Installed packages, by their own name and by that of the source from which they were built. A name can
/// have several versions: architectures side by side, or a source whose packages are not all up to date.
/// Cloning it is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    scheme: VersionScheme,
    names: Arc<BTreeMap<String, Named>>,
    kernels: Arc<BTreeSet<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Named {
    // Lists in order: nearly all have one entry, for which a tree of strings takes ten times as much memory.
    versions: Vec<String>,
    packages: Vec<String>,
}

fn add(list: &mut Vec<String>, one: &str) {
    if let Err(at) = list.binary_search_by(|have| have.as_str().cmp(one)) {
        // Not the room for four that a list makes by itself.
        list.reserve_exact(1);
        list.insert(at, one.to_owned());
    }
}

impl Default for Installed {
    fn default() -> Self {
        Installed::new(VersionScheme::Dpkg)
    }
}

impl Installed {
    /// No packages of a database whose versions compare as `scheme` says: dpkg's or rpm's.
    pub fn new(scheme: VersionScheme) -> Self {
        Installed { scheme, names: Arc::default(), kernels: Arc::default() }
    }

    /// How these versions compare.
    pub fn scheme(&self) -> VersionScheme {
        self.scheme
    }

    /// Adds a package: its name and version, and those of its source.
    pub fn insert(&mut self, package: (&str, &str), source: (&str, &str)) {
        for (name, version) in [package, source] {
            let named = Arc::make_mut(&mut self.names).entry(name.to_owned()).or_default();
            add(&mut named.versions, version);
            add(&mut named.packages, package.0);
        }
        if self.is_kernel(package.0) {
            Arc::make_mut(&mut self.kernels).insert(package.1.to_owned());
        }
    }

    /// The installed versions of a package, or of what was built from a source.
    pub fn versions(&self, name: &str) -> impl Iterator<Item = &str> {
        self.names.get(name).into_iter().flat_map(|named| &named.versions).map(String::as_str)
    }

    /// The installed packages that go by a name: the one, or all that were built from the source.
    pub fn packages(&self, name: &str) -> impl Iterator<Item = &str> {
        self.names.get(name).into_iter().flat_map(|named| &named.packages).map(String::as_str)
    }

    /// The versions of the installed kernels. They lie side by side, and one of them runs.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.kernels.iter().map(String::as_str)
    }

    /// A package that holds a kernel, and is none that only asks for the newest one: Debian's and Ubuntu's
    /// have the release in their names, Red Hat's do not.
    fn is_kernel(&self, package: &str) -> bool {
        let release = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
        match self.scheme {
            VersionScheme::Rpm => {
                matches!(package, "kernel" | "kernel-core" | "kernel-default" | "kernel-uek-core")
            }
            _ => {
                let rest = package.strip_prefix("linux-image-").unwrap_or_default();
                release(rest.strip_prefix("unsigned-").unwrap_or(rest))
            }
        }
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nothing is installed.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
