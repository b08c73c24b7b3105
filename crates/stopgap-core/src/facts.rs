//! Facts: what is installed here. Values only; reading them is an adapter's work.
//!
//! Two kinds, which answer two kinds of questions:
//!
//! - *stated*: a product and its version as its vendor numbers it, by the administrator or by an adapter
//!   that knows the product; asked for by a `Product` without an ecosystem;
//! - *packages* of a distribution, with the ecosystem (`Debian:12`) whose numbers they are; asked for by a
//!   `Product` with one. A distribution mends old versions without renumbering them, so the two are never
//!   compared with each other.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The name under which the distribution is stated, `ecosystem = "Debian:12"`: where a proxy fronts a host
/// of another distribution, its versions are numbered as that one's are.
pub const ECOSYSTEM: &str = "ecosystem";

/// One fact about this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The installed version.
    Version(String),
    /// The product is here, but its version could not be read, and why.
    Unknown(String),
}

/// Products by name. A product that is not listed is not on this server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    stated: BTreeMap<String, Fact>,
    packages: Packages,
}

/// The packages of this server's own distribution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed(BTreeMap<String, BTreeSet<String>>);

impl Installed {
    /// Adds a package: its name and version, and those of its source.
    pub fn insert(&mut self, package: (&str, &str), source: (&str, &str)) {
        for (name, version) in [package, source] {
            self.0.entry(name.to_owned()).or_default().insert(version.to_owned());
        }
    }

    /// The installed versions of a package, or of what was built from a source.
    pub fn versions(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is installed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Facts {
    /// What is stated of a product.
    pub fn get(&self, product: &str) -> Option<&Fact> {
        self.stated.get(product)
    }

    /// The distribution and release, `Debian:12`; nothing where this is no such system.
    pub fn ecosystem(&self) -> Option<&Fact> {
        self.get(ECOSYSTEM)
    }

    /// What the package database says.
    pub fn packages(&self) -> &Packages {
        &self.packages
    }

    /// States a fact; a later statement replaces an earlier one.
    pub fn insert(&mut self, product: impl Into<String>, fact: Fact) {
        self.stated.insert(product.into(), fact);
    }

    /// Sets what the package database says.
    pub fn set_packages(&mut self, packages: Packages) {
        self.packages = packages;
    }

    /// These facts with `nearer` ones on top: a proxy fronts another host's product. Where `nearer` states
    /// an ecosystem, the host is another one, and this server's packages are not its.
    pub fn overlaid(&self, nearer: &Facts) -> Facts {
        let mut all = self.clone();
        all.stated.extend(nearer.stated.iter().map(|(name, fact)| (name.clone(), fact.clone())));
        if nearer.ecosystem().is_some() || nearer.packages != Packages::None {
            all.packages.clone_from(&nearer.packages);
        }
        all
    }

    /// Every stated fact, by product name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.stated.iter().map(|(name, fact)| (name.as_str(), fact))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Facts {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(iter: I) -> Self {
        let stated = iter.into_iter().map(|(name, version)| (name.into(), Fact::Version(version.into())));
        Facts { stated: stated.collect(), packages: Packages::None }
    }
}
