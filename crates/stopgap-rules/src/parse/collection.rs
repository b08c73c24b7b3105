//! Collections with unique names that levels inherit from each other: `<clear/>`, `<remove name>`, and the
//! refusal of a name that is taken.

use super::error::ParseError;
use super::reader::Reader;
use super::{MAX_RULES, MAX_TAKEN_AWAY};
use crate::model::{Level, OutboundRule, PreCondition, RewriteMap, Rule, RuleSet};
use roxmltree::Node;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// What has been read so far.
pub(super) struct Builder {
    pub(super) global: Collection<Rule>,
    pub(super) rules: Collection<Rule>,
    pub(super) outbound: Collection<OutboundRule>,
    pub(super) pre_conditions: Collection<PreCondition>,
    pub(super) maps: Collection<RewriteMap>,
    /// In all maps together.
    pub(super) map_entries: usize,
    level: Level,
    not_inherited: Vec<Level>,
}

impl Builder {
    /// For the rules of every level that a text has.
    pub(super) fn whole() -> Builder {
        Builder::new(Reach::Whole)
    }

    /// For the rules that hold at the last level of a row.
    pub(super) fn chain() -> Builder {
        Builder::new(Reach::Chain)
    }

    fn new(reach: Reach) -> Builder {
        Builder {
            global: Collection::new("rules", reach),
            rules: Collection::new("rules", reach),
            outbound: Collection::new("outbound rules", reach),
            // A rule finds these by their name alone, so a name is taken at every level.
            pre_conditions: Collection { shared_names: true, ..Collection::new("preconditions", reach) },
            maps: Collection { shared_names: true, ..Collection::new("maps", reach) },
            map_entries: 0,
            level: Level::default(),
            not_inherited: Vec::new(),
        }
    }

    /// What is read next stands here.
    pub(super) fn enter(&mut self, level: &Level, inherited: bool) {
        self.level = level.clone();
        if !inherited && !self.not_inherited.contains(level) {
            self.not_inherited.push(level.clone());
        }
    }

    pub(super) fn level(&self) -> &Level {
        &self.level
    }

    pub(super) fn finish(self) -> RuleSet {
        RuleSet {
            rules: self.global.into_items().chain(self.rules.into_items()).collect(),
            outbound: self.outbound.into_items().collect(),
            pre_conditions: self.pre_conditions.into_items().collect(),
            maps: self.maps.into_items().collect(),
            not_inherited: self.not_inherited,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Whole,
    Chain,
}

pub(super) struct Collection<T> {
    what: &'static str,
    reach: Reach,
    shared_names: bool,
    items: Vec<Item<T>>,
    /// Where each name stands, in lowercase: IIS compares keys ignoring case, and answers 500.19 where one
    /// is there twice.
    names: HashMap<Rc<str>, Taken>,
    /// How often something was taken away: each looks at all that is there.
    taken_away: usize,
}

/// Where a name stands, by [`Level::key`]. Nearly always that is one level.
#[derive(Default)]
struct Taken {
    first: Option<String>,
    more: HashSet<String>,
}

impl Taken {
    fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }

    /// Whether it stands at a level, or above it.
    fn reaches(&self, level: &str) -> bool {
        from_the_site(level).any(|at| self.first.as_deref() == Some(at) || self.more.contains(at))
    }

    fn push(&mut self, level: String) {
        if self.first.is_none() {
            self.first = Some(level);
        } else {
            self.more.insert(level);
        }
    }

    /// It is gone at a level, and above it.
    fn drop_down_to(&mut self, level: &str) {
        for at in from_the_site(level) {
            if self.first.as_deref() == Some(at) {
                self.first = None;
            }
            self.more.remove(at);
        }
    }
}

/// A level's key and those of all levels above it, the site's first.
fn from_the_site(level: &str) -> impl Iterator<Item = &str> {
    let parents = level.match_indices('/').filter_map(|(at, _)| level.get(..at));
    let itself = (!level.is_empty()).then_some(level);
    std::iter::once("").chain(parents).chain(itself)
}

struct Item<T> {
    key: Rc<str>,
    level: Level,
    value: T,
}

impl<T> Collection<T> {
    fn new(what: &'static str, reach: Reach) -> Collection<T> {
        Collection {
            what,
            reach,
            shared_names: false,
            items: Vec::new(),
            names: HashMap::new(),
            taken_away: 0,
        }
    }

    fn into_items(self) -> impl Iterator<Item = T> {
        self.items.into_iter().map(|item| item.value)
    }

    /// Adds what stands in this element, or refuses a name that is taken here or above.
    pub(super) fn add(
        &mut self,
        (reader, node): (&Reader, Node),
        level: &Level,
        name: &str,
        value: T,
    ) -> Result<(), ParseError> {
        let key: Rc<str> = name.to_lowercase().into();
        let taken = self.names.entry(key.clone()).or_default();
        let at = level.key();
        if taken.reaches(&at) || (self.shared_names && !taken.is_empty()) {
            return Err(ParseError::DuplicateName { place: reader.place(node), name: name.to_owned() });
        }
        if self.items.len() == MAX_RULES {
            return Err(reader.too_many(node, self.what, MAX_RULES));
        }
        taken.push(at);
        self.items.push(Item { key, level: level.clone(), value });
        Ok(())
    }

    /// `<clear/>`: what stood here, and what the parents gave, is gone.
    pub(super) fn clear(&mut self, (reader, node): (&Reader, Node), level: &Level) -> Result<(), ParseError> {
        reader.attributes(node, &[])?;
        reader.empty(node)?;
        self.drop_those((reader, node), level, None)
    }

    /// `<remove name="…"/>`: one of them is gone. As in IIS, one that is not there is no error.
    pub(super) fn remove(
        &mut self,
        (reader, node): (&Reader, Node),
        level: &Level,
    ) -> Result<(), ParseError> {
        reader.attributes(node, &["name"])?;
        reader.empty(node)?;
        let key = reader.required(node, "name")?.to_lowercase();
        self.drop_those((reader, node), level, Some(&key))
    }

    /// One of them by its key, or all.
    fn drop_those(
        &mut self,
        (reader, node): (&Reader, Node),
        level: &Level,
        key: Option<&str>,
    ) -> Result<(), ParseError> {
        self.taken_away = self.taken_away.saturating_add(1);
        if self.taken_away > MAX_TAKEN_AWAY {
            let what = "elements that take something away";
            return Err(reader.too_many(node, what, MAX_TAKEN_AWAY));
        }
        let those = |item: &Item<T>| key.is_none_or(|key| *item.key == *key);
        // With several levels in one set, a parent's rule would be gone from its other children, too.
        let parents =
            |item: &Item<T>| item.level != *level && those(item) && item.level.contains(level.path());
        if self.reach == Reach::Whole && self.items.iter().any(parents) {
            let what = format!("taking {} of a parent away at level \"{}\"", self.what, level.path());
            return Err(reader.unsupported(node, what));
        }
        self.items.retain(|item| !(those(item) && item.level.contains(level.path())));
        let at = level.key();
        match key {
            Some(key) => self.names.get_mut(key).into_iter().for_each(|taken| taken.drop_down_to(&at)),
            None => self.names.values_mut().for_each(|taken| taken.drop_down_to(&at)),
        }
        Ok(())
    }
}
