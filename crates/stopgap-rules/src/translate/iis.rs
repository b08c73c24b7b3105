//! IIS: the same rules in its own words, `<rewrite>` as the URL Rewrite module's schema has it.
//!
//! ```text
//!   every site     applicationHost.config   <globalRules>, <outboundRules>, <rewriteMaps>
//!   a site         its web.config           <rules>, …
//!   a level in it  the folder's web.config  <rules>, …
//! ```
//!
//! Nothing is translated here, so nothing is lost: what is printed reads as the same set, but for the names,
//! which get our mark. What this module must see to is that IIS takes it: it answers 500.19 for a whole branch
//! (503 for the server, where it is `applicationHost.config`) where a name is there twice, a number is out of
//! range or a text is no XML. Such a set is refused (`check`).
//!
//! Not in here: finding the files, and putting elements into them.

mod check;
mod names;
mod print;

use super::{CannotExpress, SiteRules};
use crate::model::{Level, RuleSet};
use names::Names;
use print::Printed;

/// What goes where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IisConfig {
    /// One for each place, parents first.
    pub parts: Vec<IisPart>,
    /// Variables that rules set, in the order of their first use. IIS answers 500 where a rule of a site sets
    /// one that `allowedServerVariables` in `applicationHost.config` does not name.
    pub variables: Vec<String>,
}

/// The rules of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IisPart {
    /// The sites whose `web.config` it belongs to; nothing: every site, in `applicationHost.config`.
    pub sites: Option<Vec<String>>,
    /// Where below the site.
    pub level: Level,
    /// Whether applications below the level have these rules, too: `inheritInChildApplications` of the
    /// `<location>` around them.
    pub inherited: bool,
    /// A `<rewrite>` element with everything in it: UTF-8, lines end with LF, two blanks for each depth.
    pub rewrite: String,
}

const SERVER: &str = "IIS";

/// Prints every set, those for the same place together, in the order given.
///
/// Rules are named `Stopgap <marker> <name>`, preconditions and maps likewise, so that they meet no name of the
/// server's own.
///
/// # Errors
/// [`CannotExpress`] for the first rule that IIS would not take, or would evaluate in another order.
pub fn translate(sets: &[SiteRules]) -> Result<IisConfig, CannotExpress> {
    let mut names = Names::default();
    let mut places: Vec<(Option<Vec<String>>, RuleSet)> = Vec::new();
    for set in sets {
        check::set(&set.rules, set.sites.is_none())?;
        let empty = set.rules.rules.is_empty() && set.rules.outbound.is_empty();
        let mine = names.mark(&set.marker, &set.rules);
        match places.iter_mut().find(|(sites, _)| *sites == set.sites) {
            Some((_, rules)) => rules.append(mine),
            None if empty => {}
            None => places.push((set.sites.clone(), mine)),
        }
    }
    order_of_sets(sets)?;
    order_of_levels(sets)?;
    // The server's own rules come first.
    places.sort_by_key(|(sites, _)| sites.is_some());
    let mut config = IisConfig { parts: Vec::new(), variables: Vec::new() };
    for (sites, rules) in places {
        for (level, part) in levels(&rules) {
            let inherited = !rules.not_inherited.contains(&level);
            let rewrite = print::rewrite(&part, sites.is_none(), 0);
            config.parts.push(IisPart { sites: sites.clone(), level, inherited, rewrite });
        }
        variables(&rules, &mut config.variables);
    }
    Ok(config)
}

/// Prints one set for a reader: the `web.config` of the site, with a `<location>` for each level below it.
///
/// # Errors
/// As [`translate`].
pub fn translate_one(rules: &RuleSet) -> Result<String, CannotExpress> {
    check::set(rules, false)?;
    order_of_levels(&[SiteRules {
        observe: false,
        marker: String::new(),
        sites: None,
        rules: rules.clone(),
    }])?;
    let marked = Names::default().mark("rules", rules);
    let mut out = Printed::new();
    out.comment("In the site's web.config, or, without its first element, in applicationHost.config");
    let mut set = Vec::new();
    variables(&marked, &mut set);
    if !set.is_empty() {
        out.comment(&format!("Needs in allowedServerVariables: {}", set.join(", ")));
    }
    out.open("configuration", &[]);
    for (level, part) in levels(&marked) {
        let inherited = !rules.not_inherited.contains(&level);
        let plain = level.is_site() && inherited;
        if !plain {
            let path = if level.is_site() { "." } else { level.path() };
            let mut attributes = vec![("path", path)];
            if !inherited {
                attributes.push(("inheritInChildApplications", "false"));
            }
            out.open("location", &attributes);
        }
        out.open("system.webServer", &[]);
        out.raw(&print::rewrite(&part, false, out.depth()));
        out.close("system.webServer");
        if !plain {
            out.close("location");
        }
    }
    out.close("configuration");
    Ok(out.finish())
}

/// IIS evaluates the rules for the whole server first, and a site's rules then.
fn order_of_sets(sets: &[SiteRules]) -> Result<(), CannotExpress> {
    let mut sites = false;
    for set in sets {
        let first = set.rules.rules.iter().map(|rule| &rule.name);
        let first = first.chain(set.rules.outbound.iter().map(|rule| &rule.name)).next();
        let Some(first) = first else { continue };
        if set.sites.is_some() {
            sites = true;
        } else if sites {
            let reason = "it is for every site and stands behind rules for some; IIS evaluates it first";
            return Err(refused(first, reason.to_owned()));
        }
    }
    Ok(())
}

/// The set level by level, parents first. Maps and preconditions stand at the first, where all the others find
/// them.
fn levels(set: &RuleSet) -> Vec<(Level, RuleSet)> {
    let inbound = set.rules.iter().map(|rule| &rule.level);
    let mut levels: Vec<Level> = Vec::new();
    for level in inbound.chain(set.outbound.iter().map(|rule| &rule.level)) {
        if !levels.contains(level) {
            levels.push(level.clone());
        }
    }
    if levels.is_empty() || (levels.len() > 1 && !levels.iter().any(Level::is_site)) {
        levels.push(Level::default());
    }
    levels.sort_by_key(|level| level.path().split('/').filter(|segment| !segment.is_empty()).count());
    let shared = levels.first().cloned().unwrap_or_default();
    let part = |level: Level| {
        let here = level == shared;
        let part = RuleSet {
            rules: set.rules.iter().filter(|rule| rule.level == level).cloned().collect(),
            outbound: set.outbound.iter().filter(|rule| rule.level == level).cloned().collect(),
            pre_conditions: if here { set.pre_conditions.clone() } else { Vec::new() },
            maps: if here { set.maps.clone() } else { Vec::new() },
            not_inherited: Vec::new(),
        };
        (level, part)
    };
    levels.into_iter().map(part).collect()
}

/// IIS evaluates the rules of parents first.
fn order_of_levels(sets: &[SiteRules]) -> Result<(), CannotExpress> {
    for (at, first) in sets.iter().enumerate() {
        if sets.iter().take(at).any(|other| other.sites == first.sites) {
            continue;
        }
        let same = || sets.iter().filter(|set| set.sites == first.sites);
        in_order(same().flat_map(|set| &set.rules.rules).map(|rule| (&rule.level, &rule.name)))?;
        in_order(same().flat_map(|set| &set.rules.outbound).map(|rule| (&rule.level, &rule.name)))?;
    }
    Ok(())
}

fn in_order<'s>(rules: impl Iterator<Item = (&'s Level, &'s String)>) -> Result<(), CannotExpress> {
    let mut before: Vec<&Level> = Vec::new();
    for (level, name) in rules {
        if let Some(child) = before.iter().find(|other| **other != level && level.contains(other.path())) {
            let reason = format!(
                "it stands at level {:?}, behind rules of {:?} below it; IIS evaluates the rules of parents first",
                level.path(),
                child.path()
            );
            return Err(refused(name, reason));
        }
        if !before.contains(&level) {
            before.push(level);
        }
    }
    Ok(())
}

fn variables(set: &RuleSet, into: &mut Vec<String>) {
    for variable in set.rules.iter().flat_map(|rule| &rule.server_variables) {
        if !into.iter().any(|known| known.eq_ignore_ascii_case(&variable.name)) {
            into.push(variable.name.clone());
        }
    }
}

fn refused(rule: &str, reason: String) -> CannotExpress {
    CannotExpress { server: SERVER, rule: rule.to_owned(), reason }
}
