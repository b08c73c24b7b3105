//! What `system.webServer/rewrite` comes to at one level: its own file and those above it, merged as IIS merges
//! them.
//!
//! ```text
//!   applicationHost.config   <system.webServer>, <location path="Site/owa">
//!   Site/web.config          <system.webServer>, <location path="owa">
//!   Site/owa/web.config      <system.webServer>
//!        | of these, what is for this level or one above it; parents first, at one level the outer file first
//!        | without what is not inherited by the application in between, or stands where it cannot stand
//!        v
//!   <add>, <remove>, <clear/> in this order
//! ```

mod locked;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use stopgap_rules::parse::Place;
use stopgap_rules::{Level, OutboundRule, PreCondition, RewriteMap, Rule, RuleSet};

use crate::file::{ConfigFile, Entry as FileEntry};
use crate::item::{Collection, Directive, Does, Item};
use crate::section::{Declaration, Section};
use crate::server::Server;
use crate::tree::{depth, folded, join, within};
use crate::violation::{Code, Fault};

/// The rewrite configuration of one level. Rules are in the order of evaluation.
#[derive(Debug, Clone, Default)]
pub struct Effective {
    /// Rules of the whole server, which IIS runs first. The same at every level.
    pub global_rules: Vec<Entry<Arc<Rule>>>,
    /// Rules for requests.
    pub rules: Vec<Entry<Arc<Rule>>>,
    /// Rules for responses.
    pub outbound: Vec<Entry<Arc<OutboundRule>>>,
    /// What outbound rules name.
    pub pre_conditions: Vec<Entry<Arc<PreCondition>>>,
    /// What rules look up.
    pub maps: Vec<Entry<Arc<RewriteMap>>>,
    /// Variables that rules below the server may set.
    pub allowed_variables: Vec<Entry<()>>,
    /// .NET code; by name alone.
    pub providers: Vec<Entry<()>>,
}

/// One entry of a collection, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// Its unique key, as written.
    pub name: String,
    /// What it says.
    pub value: T,
    /// Where it stands.
    pub origin: Origin,
}

/// Where an entry stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// A Windows path.
    pub file: Arc<str>,
    /// In this file.
    pub place: Place,
    /// The level that it is written for: empty for the server, `Default Web Site/owa`.
    pub level: String,
}

impl Effective {
    /// The same as a rule set for `stopgap-rules`: global rules first, each rule at its own level below the
    /// site. Providers and allowed variables have no part in it.
    pub fn rule_set(&self) -> RuleSet {
        let below = |origin: &Origin| Level::new(origin.level.split_once('/').map_or("", |(_, path)| path));
        let rules = self.global_rules.iter().chain(&self.rules);
        RuleSet {
            rules: rules.map(|rule| Rule { level: below(&rule.origin), ..(*rule.value).clone() }).collect(),
            outbound: self
                .outbound
                .iter()
                .map(|rule| OutboundRule { level: below(&rule.origin), ..(*rule.value).clone() })
                .collect(),
            pre_conditions: self.pre_conditions.iter().map(|entry| (*entry.value).clone()).collect(),
            maps: self.maps.iter().map(|entry| (*entry.value).clone()).collect(),
            not_inherited: Vec::new(),
        }
    }

    /// Whether the same entries are there, and rules in the same order.
    fn same(&self, other: &Effective) -> bool {
        fn equal<T>(ours: &[Entry<T>], theirs: &[Entry<T>]) -> bool {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| ours.origin == theirs.origin)
        }
        // Of the others the order says nothing, but it can leave one that the other order takes away.
        fn alike<T>(ours: &[Entry<T>], theirs: &[Entry<T>]) -> bool {
            fn all<T>(entries: &[Entry<T>]) -> HashSet<(&str, u32, u32, &str)> {
                let origins = entries.iter().map(|entry| &entry.origin);
                origins.map(|o| (&*o.file, o.place.line, o.place.column, o.level.as_str())).collect()
            }
            all(ours) == all(theirs)
        }
        equal(&self.global_rules, &other.global_rules)
            && equal(&self.rules, &other.rules)
            && equal(&self.outbound, &other.outbound)
            && alike(&self.pre_conditions, &other.pre_conditions)
            && alike(&self.maps, &other.maps)
            && alike(&self.allowed_variables, &other.allowed_variables)
            && alike(&self.providers, &other.providers)
    }

    fn put(&mut self, collection: Collection, kept: Kept) {
        let Kept { name, item, origin, .. } = kept;
        match (collection, item) {
            (Collection::GlobalRules, Some(Item::Rule(value))) => {
                self.global_rules.push(Entry { name, value, origin });
            }
            (Collection::Rules, Some(Item::Rule(value))) => self.rules.push(Entry { name, value, origin }),
            (_, Some(Item::Outbound(value))) => self.outbound.push(Entry { name, value, origin }),
            (_, Some(Item::PreCondition(value))) => self.pre_conditions.push(Entry { name, value, origin }),
            (_, Some(Item::Map(value))) => self.maps.push(Entry { name, value, origin }),
            (Collection::Variables, Some(_)) => {
                self.allowed_variables.push(Entry { name, value: (), origin })
            }
            (Collection::Providers, Some(_)) => self.providers.push(Entry { name, value: (), origin }),
            _ => {}
        }
    }
}

/// A file of the way down to a level.
pub(crate) struct Link<'f> {
    /// The level whose file it is; empty for `applicationHost.config`.
    pub(crate) base: String,
    pub(crate) file: &'f ConfigFile,
}

/// A fault that came up, and where: what names it among the levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) fault: Fault,
    pub(crate) file: Arc<str>,
    /// The level that the faulty part is for.
    pub(crate) at: String,
}

/// A section on the way, and the level that it is for.
struct Step<'f> {
    entry: &'f FileEntry,
    file: &'f Arc<str>,
    /// How many files are above its own.
    order: usize,
    base: &'f str,
    at: String,
}

/// In which order sections are merged. Microsoft says that parents come first, and that a `<location>` belongs to
/// the level of its file; where a file names a level below that of the next file, the two part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// By the level that a section is for, at one level the outer file first: as .NET's configuration, and what
    /// this crate reports.
    Levels,
    /// File by file.
    Files,
}

/// What the files of one way come to.
pub(crate) struct Merged {
    pub(crate) effective: Effective,
    pub(crate) found: Vec<Found>,
    /// Whether it would come to something else in the other order.
    pub(crate) order_matters: bool,
}

/// Merges the files of one way, the server's own first.
pub(crate) fn merge(
    server: &Server,
    declared: &BTreeMap<Section, Declaration>,
    links: &[Link],
    level: &str,
) -> Merged {
    let mut steps = steps(server, links, level);
    let (effective, found) = merged(server, declared, links, &steps);
    let files = |steps: &[Step]| steps.is_sorted_by_key(|step| (step.order, depth(&step.at)));
    let mut order_matters = false;
    if !files(&steps) {
        sort(&mut steps, Order::Files);
        let (other, others) = merged(server, declared, links, &steps);
        let places =
            |found: &[Found]| found.iter().map(|one| (one.fault.code, one.fault.key.clone())).collect();
        let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = (places(&found), places(&others));
        order_matters = ours != theirs || !other.same(&effective);
    }
    Merged { effective, found, order_matters }
}

fn sort(steps: &mut [Step], order: Order) {
    match order {
        Order::Levels => steps.sort_by_key(|step| (depth(&step.at), step.order)),
        Order::Files => steps.sort_by_key(|step| (step.order, depth(&step.at))),
    }
}

fn merged<'f>(
    server: &'f Server,
    declared: &'f BTreeMap<Section, Declaration>,
    links: &[Link],
    steps: &[Step<'f>],
) -> (Effective, Vec<Found>) {
    let mut found = Vec::new();
    for link in links {
        found.extend(link.file.faults.iter().map(|fault| Found {
            fault: fault.clone(),
            file: Arc::clone(&link.file.path),
            at: link.base.clone(),
        }));
    }
    let mut merging = Merging { declared, server, found, collections: BTreeMap::new() };
    for (nth, step) in steps.iter().enumerate() {
        merging.take(step, steps.get(..nth).unwrap_or(&[]), steps);
    }
    let Merging { mut found, collections, .. } = merging;
    let mut effective = Effective::default();
    for (collection, kept) in collections {
        kept.items.into_iter().for_each(|kept| effective.put(collection, kept));
    }
    references(&effective, &mut found);
    (effective, found)
}

/// The sections that count at a level, in their order.
fn steps<'f>(server: &Server, links: &'f [Link<'f>], level: &str) -> Vec<Step<'f>> {
    let here = folded(level);
    let application = server.application(level).map(|application| depth(&application.path));
    let mut steps = Vec::new();
    for (order, link) in links.iter().enumerate() {
        for entry in &link.file.entries {
            let at = join(&link.base, &entry.location);
            // An application below the level that this is for, and not below the one that is looked at.
            let cut = !entry.inherited && application.is_some_and(|application| application > depth(&at));
            if within(&here, &folded(&at)) && !cut {
                steps.push(Step { entry, file: &link.file.path, order, base: &link.base, at });
            }
        }
    }
    sort(&mut steps, Order::Levels);
    steps
}

struct Merging<'f> {
    server: &'f Server,
    declared: &'f BTreeMap<Section, Declaration>,
    found: Vec<Found>,
    collections: BTreeMap<Collection, Kepts>,
}

#[derive(Default)]
struct Kepts {
    items: Vec<Kept>,
    keys: HashSet<String>,
}

struct Kept {
    key: String,
    name: String,
    item: Option<Item>,
    origin: Origin,
    /// The file that locked it.
    locked: Option<usize>,
}

impl<'f> Merging<'f> {
    fn take(&mut self, step: &Step<'f>, before: &[Step<'f>], all: &[Step<'f>]) {
        let entry = step.entry;
        let at = &step.at;
        let own = |fault: Fault| Found { fault, file: Arc::clone(step.file), at: at.clone() };
        self.found.extend(entry.faults.iter().cloned().map(own));
        if entry.twice {
            return;
        }
        if let Some(fault) = locked::refused(self.server, self.declared, step, all) {
            self.found.push(own(fault));
            return;
        }
        let inside = |fault: Fault| Found { fault, file: Arc::clone(&entry.source), at: at.clone() };
        self.found.extend(entry.body.faults.iter().cloned().map(inside));
        // A lock means nothing to the file that has it.
        let above = || {
            let same = |other: &&Step<'f>| other.entry.section == entry.section && other.order < step.order;
            before.iter().filter(same).map(|other| (&other.entry.body.locks, other.file))
        };
        for (name, place) in &entry.body.attributes {
            if let Some((_, file)) = above().find(|(locks, _)| locks.attribute(name)) {
                let message = format!("the attribute {name} is locked by {file}");
                self.found.push(inside(Fault::new(Code::ElementLocked, *place, message).key(*name)));
            }
        }
        let mut skipped = Vec::new();
        for (collection, element, place) in &entry.body.nested {
            if let Some((_, file)) = above().find(|(locks, _)| locks.element(element)) {
                let message = format!("<{element}> is locked by {file}");
                self.found.push(inside(Fault::new(Code::ElementLocked, *place, message).key(*element)));
                skipped.push(*collection);
            }
        }
        for directive in entry.body.directives.iter().filter(|one| !skipped.contains(&one.collection)) {
            // What a section locks are its own directives; an element in it has locks of its own.
            let nested = entry.body.nested.iter().any(|(collection, ..)| *collection == directive.collection);
            if let Some((_, file)) = above().find(|(locks, _)| !nested && locks.element(directive.element)) {
                let message = format!("<{}> is locked by {file}", directive.element);
                let fault = Fault::new(Code::ElementLocked, directive.place, message).key(directive.element);
                self.found.push(inside(fault));
                continue;
            }
            if let Err(fault) =
                self.collections.entry(directive.collection).or_default().take(directive, step)
            {
                self.found.push(inside(fault));
            }
        }
    }
}

impl Kepts {
    fn take(&mut self, directive: &Directive, step: &Step) -> Result<(), Fault> {
        match &directive.does {
            Does::Add { name, item, locked } => {
                let key = folded(name);
                if !self.keys.insert(key.clone()) {
                    let first = self.items.iter().find(|kept| kept.key == key).map(|kept| &kept.origin);
                    return Err(duplicate(directive, step, name, first));
                }
                self.items.push(Kept {
                    key,
                    name: name.clone(),
                    item: item.clone(),
                    origin: Origin {
                        file: Arc::clone(&step.entry.source),
                        place: directive.place,
                        level: step.at.clone(),
                    },
                    locked: locked.then_some(step.order),
                });
                Ok(())
            }
            Does::Remove(name) => {
                let key = folded(name);
                self.drop_those(directive, step, |kept| kept.key == key)
            }
            Does::Clear => self.drop_those(directive, step, |_| true),
        }
    }

    fn drop_those(
        &mut self,
        directive: &Directive,
        step: &Step,
        those: impl Fn(&Kept) -> bool,
    ) -> Result<(), Fault> {
        let locked = |kept: &&Kept| those(kept) && kept.locked.is_some_and(|order| order < step.order);
        if let Some(kept) = self.items.iter().find(locked) {
            let message = format!(
                "<{}> would take away \"{}\", which {} locks in line {}",
                directive.element, kept.name, kept.origin.file, kept.origin.place.line
            );
            return Err(Fault::new(Code::ElementLocked, directive.place, message).key(kept.name.clone()));
        }
        self.items.retain(|kept| {
            let gone = those(kept);
            if gone {
                self.keys.remove(&kept.key);
            }
            !gone
        });
        Ok(())
    }
}

fn duplicate(directive: &Directive, step: &Step, name: &str, first: Option<&Origin>) -> Fault {
    let what = match directive.collection {
        Collection::GlobalRules => "global rule",
        Collection::Rules => "rule",
        Collection::Outbound => "outbound rule",
        Collection::PreConditions => "precondition",
        Collection::Tags => "list of tags",
        Collection::Maps => "map",
        Collection::Variables => "variable",
        Collection::Providers => "provider",
    };
    let same = |origin: &Origin| origin.file == step.entry.source && origin.place == directive.place;
    let message = match first {
        Some(origin) if same(origin) => format!(
            "the {what} \"{name}\" is there twice: \"{}\" is served from the folder of \"{}\" and inherits from it, so \
             this file is read for both",
            step.at, origin.level
        ),
        Some(origin) => format!(
            "the {what} \"{name}\" is there twice: first in {}, line {}{}",
            origin.file,
            origin.place.line,
            if origin.level == step.at {
                String::new()
            } else {
                format!(" (inherited from \"{}\")", origin.level)
            }
        ),
        None => format!("the {what} \"{name}\" is there twice"),
    };
    Fault::new(Code::DuplicateKey, directive.place, message).key(name)
}

/// What only the whole tells: names that stand for nothing, variables that are not allowed.
fn references(effective: &Effective, found: &mut Vec<Found>) {
    let mut tell = |origin: &Origin, fault: Fault| {
        found.push(Found { fault, file: Arc::clone(&origin.file), at: origin.level.clone() });
    };
    let known: HashSet<String> = effective.pre_conditions.iter().map(|entry| folded(&entry.name)).collect();
    for rule in effective.outbound.iter().filter(|rule| rule.value.enabled) {
        let Some(name) = rule.value.pre_condition.as_ref().filter(|name| !known.contains(&folded(name)))
        else {
            continue;
        };
        let message = format!(
            "the outbound rule \"{}\" names the precondition \"{name}\", which is not there",
            rule.name
        );
        let fault = Fault::new(Code::UnknownPreCondition, rule.origin.place, message);
        tell(&rule.origin, fault.status("500.52").key(name.clone()));
    }
    // Global rules may set any; those of `rules` may not, wherever they stand.
    let allowed: HashSet<String> =
        effective.allowed_variables.iter().map(|entry| folded(&entry.name)).collect();
    for rule in effective.rules.iter().filter(|rule| rule.value.enabled) {
        for set in rule.value.server_variables.iter().filter(|set| !allowed.contains(&folded(&set.name))) {
            let message = format!(
                "the rule \"{}\" sets {}, which allowedServerVariables does not list",
                rule.name, set.name
            );
            let fault = Fault::new(Code::VariableNotAllowed, rule.origin.place, message);
            tell(&rule.origin, fault.status("500.50").key(set.name.clone()));
        }
    }
}
