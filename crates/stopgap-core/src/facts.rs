//! Facts: what is installed here. Values only; reading them is an adapter's work.
//!
//! Two kinds, which answer two kinds of questions:
//!
//! - *stated*: a product and its version as its vendor numbers it, by the administrator or by an adapter
//!   that knows the product; asked for by a `Product` without an ecosystem;
//! - *packages* of a distribution, with the ecosystem (`Debian:12`) whose numbers they are; asked for by a
//!   `Product` with one. A distribution mends old versions without renumbering them, so the two are never
//!   compared with each other.
//!
//! What only a mitigation asks for ([`Asked`]) is looked up in the cycle that knows the mitigations ([`Looked`]).

mod installed;
mod looked;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fronted::{Group, Product};

pub use installed::{Installed, Packages};
pub use looked::{Asked, Found, Looked, Old, Running};

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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    stated: BTreeMap<String, Fact>,
    read: BTreeMap<String, Fact>,
    packages: Packages,
    kernel: Option<Fact>,
    looked: Arc<Looked>,
    elsewhere: bool,
    fronted: Option<Arc<Fronted>>,
}

/// The group that a target fronts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fronted {
    name: String,
    group: Group,
    /// Products of which the target states its own word.
    own: BTreeSet<String>,
}

/// What a group says of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind<'a> {
    /// A member has it; the group's name.
    Product(&'a str, &'a Product),
    /// Some member may have it; the group's name, and why.
    Unknown(&'a str, &'a str),
}

impl Facts {
    /// What is known of a product: what is stated, else what the system says of itself.
    pub fn get(&self, product: &str) -> Option<&Fact> {
        self.stated(product).or_else(|| self.read.get(product))
    }

    /// What is stated of a product.
    pub fn stated(&self, product: &str) -> Option<&Fact> {
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

    /// The version of the kernel that runs, as its distribution numbers the package.
    pub fn kernel(&self) -> Option<&Fact> {
        self.kernel.as_ref()
    }

    /// What was looked up for the mitigations of this cycle.
    pub fn looked(&self) -> &Looked {
        &self.looked
    }

    /// Whether they are those of another host: neither this server's packages nor its files count.
    pub fn elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// States a fact; a later statement replaces an earlier one.
    pub fn insert(&mut self, product: impl Into<String>, fact: Fact) {
        self.stated.insert(product.into(), fact);
    }

    /// Sets what the system says of itself. What is stated counts before it.
    pub fn set_read(&mut self, product: impl Into<String>, fact: Fact) {
        self.read.insert(product.into(), fact);
    }

    /// Sets what the package database says.
    pub fn set_packages(&mut self, packages: Packages) {
        self.packages = packages;
    }

    /// Sets the kernel that runs.
    pub fn set_kernel(&mut self, kernel: Fact) {
        self.kernel = Some(kernel);
    }

    /// Sets what was looked up on this server; of another host nothing was.
    pub fn set_looked(&mut self, looked: Arc<Looked>) {
        if !self.elsewhere {
            self.looked = looked;
        }
    }

    /// These facts with `nearer` ones on top: a proxy fronts another host's product. Where `nearer` states
    /// an ecosystem, the host is another one, and this server's packages are not its.
    pub fn overlaid(&self, nearer: &Facts) -> Facts {
        let mut all = self.clone();
        let stated = |facts: &BTreeMap<String, Fact>| facts.clone().into_iter();
        all.stated.extend(stated(&nearer.stated));
        all.read.extend(stated(&nearer.read));
        if nearer.ecosystem().is_some() || nearer.packages != Packages::None {
            all.packages.clone_from(&nearer.packages);
            all.kernel.clone_from(&nearer.kernel);
            all.looked = Arc::clone(&nearer.looked);
            all.elsewhere = true;
        }
        all
    }

    /// These facts where the target that states `own` fronts the group `name`: its products count before this
    /// server's, and `own` before them.
    pub fn fronting(mut self, name: &str, group: Group, own: &Facts) -> Facts {
        let own = own.stated.keys().cloned().collect();
        self.fronted = Some(Arc::new(Fronted { name: name.to_owned(), group, own }));
        self
    }

    /// What the group that is fronted says of a product, where the target does not state it itself. Nothing: this
    /// server's facts count.
    pub(crate) fn behind(&self, product: &str) -> Option<Behind<'_>> {
        let Fronted { name, group, .. } =
            self.fronted.as_deref().filter(|fronted| !fronted.own.contains(product))?;
        match group.products.get(product) {
            Some(product) => Some(Behind::Product(name, product)),
            None => group.unknown.as_deref().map(|why| Behind::Unknown(name, why)),
        }
    }

    /// Every fact by its name, what is stated before what was read.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        let read = self.read.iter().filter(|(name, _)| !self.stated.contains_key(*name));
        self.stated.iter().chain(read).map(|(name, fact)| (name.as_str(), fact))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Facts {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(iter: I) -> Self {
        let stated = iter.into_iter().map(|(name, version)| (name.into(), Fact::Version(version.into())));
        Facts { stated: stated.collect(), ..Facts::default() }
    }
}
