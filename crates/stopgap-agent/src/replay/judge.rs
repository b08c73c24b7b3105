//! What each mitigation's rules say to a request of which only a part may be known.
//!
//! Each action is judged by itself: what one of them lets pass, another may refuse. Rules are compiled once for
//! what is known; a line that lacks more (an address that the server wrote as a name) has its own, made when the
//! first such line comes.

use std::collections::HashMap;
use std::rc::Rc;

use stopgap_feed::{Id, Key};
use stopgap_rules::engine::Outcome;
use stopgap_rules::{Engine, EngineLimits, Request, RuleSet};

use super::compiled::Compiled;
use super::holds::Holds;
use super::relax::{reads, relax};
use crate::cycle::words;

/// One action to judge by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its mitigation.
    pub key: Key,
    /// The action.
    pub action: Id,
    /// The `<rewrite>` element; or why there are no rules to judge by, as a sentence without a full stop.
    pub rules: Result<String, String>,
}

/// What an action's rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// They let it pass, whatever else the request held.
    Passes,
    /// They refuse it, whatever else it held.
    Refuses {
        /// The rule.
        rule: String,
        /// How.
        outcome: Outcome,
    },
    /// What is known does not decide. The rules refuse it for some values of the rest.
    Undecided,
}

/// Why an action is not judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unjudged {
    /// Its rules read these variables, which are not known: what the rest of them decides is judged.
    Reads(Vec<String>),
    /// It has no rules that can be evaluated: a sentence without a full stop.
    Never(String),
}

impl Unjudged {
    /// As a sentence without a full stop. `of_what` does not hold what is read, such as `the log`.
    pub fn words(&self, of_what: &str) -> String {
        match self {
            Unjudged::Reads(names) => format!("reads {}, which {of_what} does not hold", listed(names)),
            Unjudged::Never(why) => why.clone(),
        }
    }
}

/// Actions, ready to judge.
pub struct Judge {
    candidates: Vec<Prepared>,
    /// The variables that any rule reads; a bit of a [`Lacks`] is a place here.
    reads: Vec<String>,
    compiled: HashMap<Lacks, Rc<Compiled>>,
    used: Option<(Lacks, Rc<Compiled>)>,
}

struct Prepared {
    key: Key,
    action: Id,
    rules: Result<RuleSet, String>,
}

/// Which of the variables that rules read are not known. The last bit stands for every one behind it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Lacks(u64);

const BITS: usize = 64;
/// Different lacks in one log, before what was compiled is forgotten: a log has one or two.
const MAX_COMPILED: usize = 16;

impl Judge {
    /// Ready to judge by these. One whose rules cannot be read or compiled refuses nothing, and
    /// [`Judge::not_judged`] says why.
    pub fn new(candidates: &[Candidate]) -> Judge {
        let mut all: Vec<String> = Vec::new();
        let prepared: Vec<Prepared> = candidates
            .iter()
            .map(|candidate| {
                let rules = candidate.rules.clone().and_then(|text| readable(&text));
                for name in rules.iter().flat_map(reads) {
                    if !all.contains(&name) {
                        all.push(name);
                    }
                }
                Prepared { key: candidate.key.clone(), action: candidate.action.clone(), rules }
            })
            .collect();
        Judge { candidates: prepared, reads: all, compiled: HashMap::new(), used: None }
    }

    /// The variables that any of the rules reads.
    pub fn reads(&self) -> &[String] {
        &self.reads
    }

    /// The actions, in order.
    pub fn actions(&self) -> impl Iterator<Item = (&Key, &Id)> {
        self.candidates.iter().map(|candidate| (&candidate.key, &candidate.action))
    }

    /// The actions that are not judged, or not for every request, with these known; in order.
    pub fn not_judged(&self, holds: &Holds) -> Vec<(&Key, &Id, Unjudged)> {
        let unjudged = |candidate: &Prepared| match &candidate.rules {
            Err(why) => Some(Unjudged::Never(why.clone())),
            Ok(rules) => {
                let lacking = relax(rules, |name| holds.has(name)).lacking;
                (!lacking.is_empty()).then_some(Unjudged::Reads(lacking))
            }
        };
        let all = self.candidates.iter();
        all.filter_map(|one| Some((&one.key, &one.action, unjudged(one)?))).collect()
    }

    /// What is not known where these are.
    pub(super) fn lacks(&self, holds: &Holds) -> Lacks {
        self.without(Lacks(0), |name| holds.has(name))
    }

    /// The same, where this variable is not known either.
    pub(super) fn lacks_too(&self, lacks: Lacks, variable: &str) -> Lacks {
        self.without(lacks, |name| name != variable)
    }

    fn without(&self, lacks: Lacks, knows: impl Fn(&str) -> bool) -> Lacks {
        let unknown = self.reads.iter().enumerate().filter(|(_, name)| !knows(name));
        Lacks(unknown.fold(lacks.0, |bits, (at, _)| bits | 1 << at.min(BITS - 1)))
    }

    /// What each action's rules say to a request of which this is not known, in order.
    pub(super) fn judge(&mut self, request: &Request, lacks: Lacks, say: impl FnMut(usize, Finding)) {
        self.compiled(lacks).judge(request, say);
    }

    fn compiled(&mut self, lacks: Lacks) -> Rc<Compiled> {
        if let Some((known, compiled)) = &self.used
            && *known == lacks
        {
            return Rc::clone(compiled);
        }
        if self.compiled.len() >= MAX_COMPILED {
            self.compiled.clear();
        }
        let reads = &self.reads;
        let knows = |name: &str| {
            let at = reads.iter().position(|known| known == name);
            at.is_none_or(|at| lacks.0 & 1 << at.min(BITS - 1) == 0)
        };
        let make = || {
            let rules = self.candidates.iter().map(|candidate| candidate.rules.as_ref().ok());
            Rc::new(Compiled::new(rules, knows))
        };
        let compiled = Rc::clone(self.compiled.entry(lacks).or_insert_with(make));
        self.used = Some((lacks, Rc::clone(&compiled)));
        compiled
    }
}

/// The rules of a `<rewrite>` element, without those that change responses: they refuse nothing.
fn readable(rewrite: &str) -> Result<RuleSet, String> {
    let mut rules = RuleSet::parse(rewrite).map_err(|error| unreadable(&error))?;
    rules.outbound.clear();
    rules.pre_conditions.clear();
    Engine::compile(&rules, &EngineLimits::default()).map_err(|error| unreadable(&error))?;
    Ok(rules)
}

fn unreadable(error: &dyn std::error::Error) -> String {
    format!("its rules cannot be evaluated here: {}", words(error))
}

/// `A`, `A and B`, `A, B and C`.
fn listed(names: &[String]) -> String {
    match names {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use stopgap_rules::Connection;

    use super::*;

    fn candidate(id: &str, input: &str) -> Candidate {
        let rules = format!(
            r#"<rewrite><rules><rule name="{id} rule"><match url=".*"/><conditions><add input="{input}" pattern="bad"/>
               </conditions><action type="AbortRequest"/></rule></rules></rewrite>"#
        );
        Candidate {
            key: format!("example:{id}").parse().unwrap(),
            action: format!("{id}.1").parse().unwrap(),
            rules: Ok(rules),
        }
    }

    fn findings(judge: &mut Judge, target: &str, holds: &Holds) -> Vec<(usize, bool)> {
        let request = Request::new("GET", target.as_bytes(), [], Connection::default());
        let mut said = Vec::new();
        let lacks = judge.lacks(holds);
        judge.judge(&request, lacks, |at, finding| {
            assert_ne!(finding, Finding::Passes);
            said.push((at, matches!(finding, Finding::Refuses { .. })));
        });
        said
    }

    #[test]
    fn each_action_is_judged_by_itself_and_says_what_it_lacks() {
        let broken = Candidate {
            rules: Ok("<rewrite><rules><rule/></rules></rewrite>".into()),
            ..candidate("M4", "")
        };
        let mut judge = Judge::new(&[
            candidate("M1", "{REQUEST_URI}"),
            candidate("M2", "{UrlDecode:{REQUEST_URI}}"),
            candidate("M3", "{HTTP_COOKIE}{HTTP_X-A}"),
            broken,
        ]);
        assert_eq!(judge.reads(), ["REQUEST_URI", "HTTP_COOKIE", "HTTP_X_A"]);
        let holds = Holds::address();
        assert_eq!(findings(&mut judge, "/bad", &holds), [(0, true), (1, true), (2, false)]);
        assert_eq!(findings(&mut judge, "/b%61d", &holds), [(1, true), (2, false)]);
        assert_eq!(findings(&mut judge, "/bad", &holds.clone().with_all_headers()), [(0, true), (1, true)]);
        let not: Vec<String> =
            judge.not_judged(&holds).into_iter().map(|(_, _, why)| why.words("the log")).collect();
        assert_eq!(not[0], "reads HTTP_COOKIE and HTTP_X_A, which the log does not hold");
        assert!(not[1].starts_with("its rules cannot be evaluated here: "), "{not:?}");
        assert_eq!(not.len(), 2);
    }

    #[test]
    fn any_number_of_variables_and_of_lacks_is_judged() {
        let many: Vec<Candidate> =
            (0..80).map(|at| candidate(&format!("M{at}"), &format!("{{HTTP_X{at}}}"))).collect();
        let mut judge = Judge::new(&many);
        for at in 0..80 {
            let holds = Holds::address().with([format!("HTTP_X{at}")]);
            let said = findings(&mut judge, "/bad", &holds);
            // Behind the last bit one that is not known makes all of them open, and none refused.
            assert!(said.iter().all(|(_, refused)| !refused));
            assert_eq!(said.len(), if at < BITS - 1 { 79 } else { 80 }, "{at}");
        }
        assert!(judge.compiled.len() <= MAX_COMPILED);
    }
}
