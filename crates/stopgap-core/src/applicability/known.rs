//! Which versions of a product count here: what is stated, an installed package, or what `Detect` found.
//!
//! Not in here: whether they are affected.

use std::cmp::Ordering;

use stopgap_feed::document::{Detect, Product, VersionScheme};

use super::Applicability;
use crate::facts::{Behind, Fact, Facts, Found, Installed, Packages, Running};
use crate::fronted;
use crate::version;

/// What is known of a product that is here.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    /// The installed versions, at least one where nothing is `unknown`.
    pub versions: Vec<&'a str>,
    /// Processes that may run other versions.
    pub running: Vec<&'a Running>,
    /// The kernel that runs, where the product is one.
    pub kernel: Option<&'a Fact>,
    /// Why there may be other versions.
    pub unknown: Option<String>,
    /// Whose they are, where they are those of a group that is fronted: its name, and what it says.
    group: Option<(&'a str, &'a fronted::Product)>,
}

impl<'a> Known<'a> {
    fn version(version: &'a str) -> Self {
        Known { versions: vec![version], ..Known::default() }
    }

    fn package(facts: &'a Facts, name: &str, versions: Vec<&'a str>) -> Self {
        let running = facts.looked().running.get(name).into_iter().collect();
        Known { versions, running, ..Known::default() }
    }

    /// Whether it is a group's that this server fronts.
    pub(super) fn is_behind(&self) -> bool {
        self.group.is_some()
    }

    /// A version in words: `15.2.986.5`, of a group `15.2.986.5 (group web: mail3)`.
    pub(super) fn shown(&self, version: &str) -> String {
        let whose = self.group.and_then(|(group, product)| {
            let of_it = product.versions.iter().find(|one| one.version == version)?;
            Some(format!("{version} (group {group}: {})", of_it.server))
        });
        whose.unwrap_or_else(|| version.to_owned())
    }
}

/// What is known of `product`, or the answer where that settles it. What is stated wins over everything.
pub(super) fn of<'a>(product: &Product, facts: &'a Facts) -> Result<Known<'a>, Applicability> {
    let name = &product.name;
    let Some(ecosystem) = &product.ecosystem else {
        return fronted(product, facts);
    };
    of_ecosystem(name, ecosystem, facts)?;
    if !product.detect.is_empty() {
        return detected(product, facts);
    }
    match facts.stated(name) {
        Some(Fact::Version(version)) => return Ok(Known::version(version)),
        Some(Fact::Unknown(why)) => return Err(unreadable(product, why)),
        None => {}
    }
    packaged(product, facts)
}

/// A product as its vendor numbers it: behind this server, where it fronts a group that has it, else on it.
fn fronted<'a>(product: &Product, facts: &'a Facts) -> Result<Known<'a>, Applicability> {
    let here = || if product.detect.is_empty() { numbered(product, facts) } else { detected(product, facts) };
    let name = &product.name;
    match facts.behind(name) {
        None => here(),
        Some(Behind::Product(group, found)) => {
            let versions: Vec<&str> = found.versions.iter().map(|one| one.version.as_str()).collect();
            let unknown = found.unknown.as_ref().map(|why| format!("of group {group}: {why}"));
            match unknown {
                Some(why) if versions.is_empty() => Err(unreadable(product, &why)),
                unknown => Ok(Known { versions, unknown, group: Some((group, found)), ..Known::default() }),
            }
        }
        Some(Behind::Unknown(group, why)) => match here() {
            Ok(mut known) => {
                known.unknown.get_or_insert_with(|| format!("of group {group}: {why}"));
                Ok(known)
            }
            Err(Applicability::DoesNotHold(_)) => Err(Applicability::Unknown(format!(
                "whether {name} is behind this server cannot be told: group {group}: {why}"
            ))),
            Err(answer) => Err(answer),
        },
    }
}

/// The version of a product as its vendor numbers it.
fn numbered<'a>(product: &Product, facts: &'a Facts) -> Result<Known<'a>, Applicability> {
    let name = &product.name;
    match facts.get(name) {
        Some(Fact::Version(version)) => Ok(Known::version(version)),
        Some(Fact::Unknown(why)) => Err(unreadable(product, why)),
        None => Err(Applicability::DoesNotHold(match facts.packages() {
            Packages::Installed(installed) if installed.versions(name).next().is_some() => format!(
                "{name} is a distribution's package here, whose version does not tell what was mended in it; \
                 state what else there is of it under [facts]"
            ),
            _ => format!("{name} is not on this server"),
        })),
    }
}

/// Whether this server is of the distribution whose numbers they are.
fn of_ecosystem(name: &str, ecosystem: &str, facts: &Facts) -> Result<(), Applicability> {
    match facts.ecosystem() {
        Some(Fact::Version(here)) if here.eq_ignore_ascii_case(ecosystem) => Ok(()),
        Some(Fact::Version(here)) => Err(Applicability::DoesNotHold(format!(
            "{name}: its versions are those of {ecosystem}, and this server is {here}"
        ))),
        Some(Fact::Unknown(why)) => {
            Err(Applicability::Unknown(format!("whether this server is {ecosystem} cannot be told: {why}")))
        }
        None => Err(Applicability::DoesNotHold(format!(
            "{name}: its versions are those of {ecosystem}, which this server is not"
        ))),
    }
}

/// The versions of a distribution's package.
fn packaged<'a>(product: &Product, facts: &'a Facts) -> Result<Known<'a>, Applicability> {
    let name = &product.name;
    let installed = match facts.packages() {
        Packages::Installed(installed) => installed,
        Packages::Unreadable(why) => {
            let why = format!("whether {name} is installed cannot be told: {why}");
            return Err(Applicability::Unknown(why));
        }
        Packages::None => return Err(Applicability::DoesNotHold(format!("{name} is not on this server"))),
    };
    if is_kernel(name, installed) {
        return kernel(product, installed, facts);
    }
    let versions: Vec<&str> = installed.versions(name).collect();
    if versions.is_empty() {
        return Err(Applicability::DoesNotHold(format!("{name} is not installed here")));
    }
    Ok(Known::package(facts, name, versions))
}

/// The source of the kernel, as the distributions call it.
fn is_kernel(name: &str, installed: &Installed) -> bool {
    name == if installed.scheme() == VersionScheme::Rpm { "kernel" } else { "linux" }
}

/// Old kernels stay installed beside the newest, which the next start takes; only one of them runs.
fn kernel<'a>(
    product: &Product,
    installed: &'a Installed,
    facts: &'a Facts,
) -> Result<Known<'a>, Applicability> {
    let newest = installed.kernels().reduce(|a, b| match version::compare(product.scheme, a, b) {
        Ok(Ordering::Less) => b,
        _ => a,
    });
    let running = facts.kernel();
    match (newest, running) {
        // A container, or a kernel of somebody else's making: none of the distribution's is here.
        (None, None | Some(Fact::Unknown(_))) => Err(Applicability::DoesNotHold(format!(
            "no kernel of this distribution is installed ({})",
            product.name
        ))),
        (newest, kernel) => Ok(Known { versions: newest.into_iter().collect(), kernel, ..Known::default() }),
    }
}

/// What `Detect` found, in any of the ways that the product is installed.
fn detected<'a>(product: &Product, facts: &'a Facts) -> Result<Known<'a>, Applicability> {
    let name = &product.name;
    match facts.stated(name) {
        Some(Fact::Version(version)) => return Ok(Known::version(version)),
        Some(Fact::Unknown(why)) => return Err(unreadable(product, why)),
        None if facts.elsewhere() => {
            return Err(Applicability::DoesNotHold(format!(
                "{name} would be on another host, where nothing is looked for; state its version among the \
                 facts of the target"
            )));
        }
        None => {}
    }
    let mut known = Known::default();
    let mut absent = Vec::new();
    for detect in &product.detect {
        let found = match detect {
            Detect::Dpkg { package } => package_found(package, VersionScheme::Dpkg, facts),
            Detect::Rpm { package } => package_found(package, VersionScheme::Rpm, facts),
            other => match facts.looked().detected.get(other) {
                Some(Found::Version(version)) => Ok(Known::version(version)),
                Some(other) => Err(other.clone()),
                None => Err(Found::Unknown("it was not looked for".into())),
            },
        };
        match found {
            Ok(found) => {
                known.versions.extend(found.versions);
                known.running.extend(found.running);
            }
            Err(Found::Absent(why)) => absent.push(why),
            Err(Found::Unsupported(why)) => return Err(Applicability::Unsupported(format!("{name}: {why}"))),
            Err(Found::Unreadable(why)) if product.ranges.is_empty() => {
                return Err(unreadable(product, &why));
            }
            Err(Found::Unreadable(why) | Found::Unknown(why)) => {
                known.unknown.get_or_insert(why);
            }
            Err(Found::Version(_)) => {}
        }
    }
    match &known.unknown {
        None if known.versions.is_empty() => {
            Err(Applicability::DoesNotHold(format!("{name} is not on this server: {}", absent.join("; "))))
        }
        Some(why) if known.versions.is_empty() => {
            Err(Applicability::Unknown(format!("the version of {name} cannot be read: {why}")))
        }
        _ => Ok(known),
    }
}

fn package_found<'a>(package: &str, scheme: VersionScheme, facts: &'a Facts) -> Result<Known<'a>, Found> {
    match facts.packages() {
        Packages::Installed(installed) if installed.scheme() == scheme => {
            let versions: Vec<&str> = installed.versions(package).collect();
            if versions.is_empty() {
                return Err(Found::Absent(format!("package {package} is not installed")));
            }
            Ok(Known::package(facts, package, versions))
        }
        Packages::Unreadable(why) => {
            Err(Found::Unknown(format!("whether {package} is installed cannot be told: {why}")))
        }
        Packages::Installed(_) | Packages::None => {
            Err(Found::Absent(format!("package {package} is of another package manager")))
        }
    }
}

fn unreadable(product: &Product, why: &str) -> Applicability {
    let name = &product.name;
    if product.ranges.is_empty() {
        Applicability::Holds(format!("{name} is on this server ({why})"))
    } else {
        Applicability::Unknown(format!("the version of {name} cannot be read: {why}"))
    }
}
