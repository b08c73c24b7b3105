//! Facts: what is installed here. Values only; reading them is an adapter's work.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
pub struct Facts(BTreeMap<String, Fact>);

impl Facts {
    /// What is known of a product.
    pub fn get(&self, product: &str) -> Option<&Fact> {
        self.0.get(product)
    }

    /// States a fact; a later statement replaces an earlier one.
    pub fn insert(&mut self, product: impl Into<String>, fact: Fact) {
        self.0.insert(product.into(), fact);
    }

    /// These facts with `nearer` ones on top: a proxy fronts another host's product.
    pub fn overlaid(&self, nearer: &Facts) -> Facts {
        let mut all = self.clone();
        all.0.extend(nearer.0.iter().map(|(name, fact)| (name.clone(), fact.clone())));
        all
    }

    /// Every fact, by product name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.0.iter().map(|(name, fact)| (name.as_str(), fact))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Facts {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(iter: I) -> Self {
        Facts(iter.into_iter().map(|(name, version)| (name.into(), Fact::Version(version.into()))).collect())
    }
}
