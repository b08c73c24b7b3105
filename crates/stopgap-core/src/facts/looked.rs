//! What an agent looked up because a mitigation asks for it: the versions of products that it does not know,
//! and processes that still run what an update replaced. Values only.

use std::collections::{BTreeMap, BTreeSet};

use stopgap_feed::document::{Condition, Detect, Mitigation};

/// What mitigations ask a server for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Files, registry values and programs whose versions are asked for. Packages are none of them.
    pub detect: BTreeSet<Detect>,
    /// Packages, by their own names or by those of their sources.
    pub packages: BTreeSet<String>,
}

impl Asked {
    /// Adds what one mitigation asks for.
    pub fn by(&mut self, mitigation: &Mitigation) {
        if let Some(condition) = &mitigation.applicability {
            self.condition(condition);
        }
    }

    fn condition(&mut self, condition: &Condition) {
        let product = match condition {
            Condition::All(parts) | Condition::Any(parts) => {
                return parts.iter().for_each(|part| self.condition(part));
            }
            Condition::Product(product) => product,
        };
        if product.detect.is_empty() && product.ecosystem.is_some() {
            self.packages.insert(product.name.clone());
        }
        for detect in &product.detect {
            match detect {
                Detect::Dpkg { package } | Detect::Rpm { package } => {
                    self.packages.insert(package.clone());
                }
                Detect::File { .. } | Detect::Registry { .. } | Detect::Pe { .. } => {
                    self.detect.insert(detect.clone());
                }
            }
        }
    }
}

/// The answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// What was found where a mitigation says that a version is.
    pub detected: BTreeMap<Detect, Found>,
    /// By the name of an installed package or source that is asked for.
    pub running: BTreeMap<String, Running>,
}

/// What was found at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A version.
    Version(String),
    /// It is there, but holds no version that can be read, and why.
    Unreadable(String),
    /// There is nothing of it here, said in a sentence.
    Absent(String),
    /// Whether it is there cannot be told, and why.
    Unknown(String),
    /// This build does not understand how it is asked for.
    Unsupported(String),
}

/// Processes beside an installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// Those that run files of it that were replaced since, in the order of their numbers.
    pub old: Vec<Old>,
    /// Why there may be more of them: some processes could not be looked at.
    pub unread: Option<String>,
}

/// A process that runs what was installed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Old {
    /// Its number.
    pub pid: u32,
    /// Its name, as the kernel has it.
    pub name: String,
    /// The versions that it can be of.
    pub versions: BTreeSet<String>,
    /// It can be of others, too, which nobody saw.
    pub older: bool,
}
