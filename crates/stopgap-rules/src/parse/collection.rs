//! Collections with unique names that levels inherit from each other: `<clear/>`, `<remove name>`, and the
//! refusal of a name that is taken.

use super::MAX_RULES;
use super::error::ParseError;
use super::reader::Reader;
use crate::model::{Level, OutboundRule, PreCondition, RewriteMap, Rule, RuleSet};
use roxmltree::Node;
use std::collections::HashMap;
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
}

/// Where a name stands. Nearly always that is one level.
#[derive(Default)]
struct Taken {
    first: Option<Level>,
    more: Vec<Level>,
}

impl Taken {
    fn any(&self, test: impl FnMut(&Level) -> bool) -> bool {
        self.first.iter().chain(&self.more).any(test)
    }

    fn push(&mut self, level: Level) {
        if self.first.is_none() {
            self.first = Some(level);
        } else {
            self.more.push(level);
        }
    }

    fn retain(&mut self, keep: impl Fn(&Level) -> bool) {
        self.first = self.first.take().filter(&keep);
        self.more.retain(keep);
    }
}

struct Item<T> {
    key: Rc<str>,
    level: Level,
    value: T,
}

impl<T> Collection<T> {
    fn new(what: &'static str, reach: Reach) -> Collection<T> {
        Collection { what, reach, shared_names: false, items: Vec::new(), names: HashMap::new() }
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
        if taken.any(|there| self.shared_names || there.contains(level.path())) {
            return Err(ParseError::DuplicateName { place: reader.place(node), name: name.to_owned() });
        }
        if self.items.len() == MAX_RULES {
            return Err(reader.too_many(node, self.what, MAX_RULES));
        }
        taken.push(level.clone());
        self.items.push(Item { key, level: level.clone(), value });
        Ok(())
    }

    /// `<clear/>`: what stood here, and what the parents gave, is gone.
    pub(super) fn clear(&mut self, (reader, node): (&Reader, Node), level: &Level) -> Result<(), ParseError> {
        reader.attributes(node, &[])?;
        reader.empty(node)?;
        self.drop_those((reader, node), level, |_| true)
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
        self.drop_those((reader, node), level, |item| *item == *key)
    }

    fn drop_those(
        &mut self,
        (reader, node): (&Reader, Node),
        level: &Level,
        those: impl Fn(&str) -> bool,
    ) -> Result<(), ParseError> {
        // With several levels in one set, a parent's rule would be gone from its other children, too.
        let parents =
            |item: &Item<T>| item.level != *level && item.level.contains(level.path()) && those(&item.key);
        if self.reach == Reach::Whole && self.items.iter().any(parents) {
            let what = format!("taking {} of a parent away at level \"{}\"", self.what, level.path());
            return Err(reader.unsupported(node, what));
        }
        let gone = |at: &Level| at.contains(level.path());
        self.items.retain(|item| !(those(&item.key) && gone(&item.level)));
        for (key, levels) in &mut self.names {
            if those(key) {
                levels.retain(|at| !gone(at));
            }
        }
        Ok(())
    }
}
