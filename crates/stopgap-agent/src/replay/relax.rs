//! Rules where a part of what they read is not known: what they certainly refuse, and what they possibly do.
//!
//! A condition that reads what is not known may hold or not. *Possible*: it holds wherever that leads to a refusal.
//! *Certain*: it holds only where that avoids one. A request that the possible rules let pass is not refused,
//! whatever its unknown part was; one that the certain rules refuse is; for the rest nobody can tell.

use stopgap_rules::reads::{refers_to_conditions, variables};
use stopgap_rules::{Action, Condition, Conditions, Grouping, MatchUrl, PatternSyntax, Rule, RuleSet};

/// A rule set, seen from both sides.
#[derive(Debug)]
pub(super) struct Relaxed {
    pub possible: RuleSet,
    /// Nothing where both are the same: everything that the rules read is known.
    pub certain: Option<RuleSet>,
    /// What they read and nobody knows, in order of its names.
    pub lacking: Vec<String>,
}

/// What a Rewrite changes.
const REWRITTEN: [&str; 4] = ["URL", "PATH_INFO", "QUERY_STRING", "REQUEST_FILENAME"];
/// What `match url` reads, as a name that no variable has.
const PATH: &str = "match url";

/// The rules, where `knows` says which variables are known.
pub(super) fn relax(rules: &RuleSet, knows: impl Fn(&str) -> bool) -> Relaxed {
    let mut state = State { knows, tainted: Vec::new(), lacking: Vec::new() };
    let (mut possible, mut certain) = (rules.clone(), rules.clone());
    possible.rules.clear();
    certain.rules.clear();
    for rule in rules.rules.iter().filter(|rule| rule.enabled) {
        let (one, other) = state.rule(rule);
        possible.rules.extend(one);
        certain.rules.extend(other);
    }
    state.lacking.sort();
    let same = possible.rules == certain.rules;
    Relaxed { possible, certain: (!same).then_some(certain), lacking: state.lacking }
}

/// Every variable that inbound rules read to decide.
pub(super) fn reads(rules: &RuleSet) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for rule in rules.rules.iter().filter(|rule| rule.enabled) {
        let inputs = rule.conditions.list.iter().map(|condition| &condition.input);
        let values = rule.server_variables.iter().map(|set| &set.value);
        for name in inputs.chain(values).chain(address(rule)).flat_map(|text| variables(text)) {
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}

/// The template of a new address, which later rules see.
fn address(rule: &Rule) -> Option<&String> {
    match &rule.action {
        Action::Rewrite { url, .. } => Some(url),
        _ => None,
    }
}

struct State<F> {
    knows: F,
    /// Set by a rule of which nobody can tell whether it matched, or from what is not known.
    tainted: Vec<String>,
    lacking: Vec<String>,
}

impl<F: Fn(&str) -> bool> State<F> {
    fn is_known(&mut self, template: &str) -> bool {
        let mut known = true;
        for name in variables(template) {
            if !(self.knows)(&name) {
                known = false;
                if !self.lacking.contains(&name) {
                    self.lacking.push(name);
                }
            } else if self.tainted.contains(&name) {
                known = false;
            }
        }
        known
    }

    /// The rule as it possibly refuses, and as it certainly does.
    fn rule(&mut self, rule: &Rule) -> (Option<Rule>, Option<Rule>) {
        let path_known = !self.tainted.iter().any(|name| name == PATH);
        let mut known: Vec<bool> =
            rule.conditions.list.iter().map(|condition| self.is_known(&condition.input)).collect();
        if known.contains(&false) {
            // A back-reference counts through the captures of conditions of which some are not known.
            for (known, condition) in known.iter_mut().zip(&rule.conditions.list) {
                *known &= !refers_to_conditions(&condition.input);
            }
        }
        let decided = path_known && !known.contains(&false);
        self.taint(rule, decided);
        if decided {
            return (Some(rule.clone()), Some(rule.clone()));
        }
        let weak = weaker(rule, &known, path_known);
        let strong = stronger(rule, &known, path_known);
        match rule.action {
            Action::Redirect { .. } | Action::CustomResponse { .. } | Action::AbortRequest => {
                (Some(weak), strong)
            }
            // It lets pass: the less of it, the more is refused.
            _ if rule.stop_processing => (strong, Some(weak)),
            _ => (None, None),
        }
    }

    /// What later rules cannot know after this one.
    fn taint(&mut self, rule: &Rule, decided: bool) {
        for set in &rule.server_variables {
            if !(self.is_known(&set.value) && decided) {
                self.tainted.extend(variables(&format!("{{{}}}", set.name)));
            }
        }
        if let Some(url) = address(rule)
            && !(self.is_known(url) && decided)
        {
            self.tainted.extend(REWRITTEN.iter().chain([&PATH]).map(|name| (*name).to_owned()));
        }
    }
}

/// It matches wherever the rule may.
fn weaker(rule: &Rule, known: &[bool], path_known: bool) -> Rule {
    let list = match rule.conditions.grouping {
        Grouping::MatchAll => keep(rule, known),
        Grouping::MatchAny => Vec::new(),
    };
    let match_url = if path_known { rule.match_url.clone() } else { anything(rule.pattern_syntax) };
    bare(rule, match_url, list)
}

/// It matches only where the rule must; nothing where that is nowhere.
fn stronger(rule: &Rule, known: &[bool], path_known: bool) -> Option<Rule> {
    let list = match rule.conditions.grouping {
        Grouping::MatchAny if path_known => keep(rule, known),
        _ => Vec::new(),
    };
    (!list.is_empty()).then(|| bare(rule, rule.match_url.clone(), list))
}

fn keep(rule: &Rule, known: &[bool]) -> Vec<Condition> {
    let pairs = rule.conditions.list.iter().zip(known);
    pairs.filter(|(_, known)| **known).map(|(condition, _)| condition.clone()).collect()
}

/// Without what it sets and where it leads to, neither of which decides whether it refuses.
fn bare(rule: &Rule, match_url: MatchUrl, list: Vec<Condition>) -> Rule {
    let action = match &rule.action {
        Action::Redirect { redirect_type, .. } => {
            Action::Redirect { url: "/".into(), append_query_string: false, redirect_type: *redirect_type }
        }
        Action::Rewrite { .. } => Action::None,
        other => other.clone(),
    };
    Rule {
        match_url,
        conditions: Conditions { list, ..rule.conditions.clone() },
        server_variables: Vec::new(),
        action,
        ..rule.clone()
    }
}

/// What every path matches.
fn anything(syntax: PatternSyntax) -> MatchUrl {
    let (url, negate) = match syntax {
        PatternSyntax::EcmaScript => (".*", false),
        PatternSyntax::Wildcard => ("*", false),
        // No path holds a slash at its end before a slash.
        PatternSyntax::ExactMatch => ("//", true),
    };
    MatchUrl { url: url.into(), ignore_case: true, negate }
}

/// Whether it is what [`anything`] makes, or as good as that; what else matches every path is not recognized.
pub(super) fn is_anything(found: &MatchUrl, syntax: PatternSyntax) -> bool {
    *found == MatchUrl { ignore_case: found.ignore_case, ..anything(syntax) }
}

#[cfg(test)]
mod tests {
    use stopgap_rules::{Connection, Engine, EngineLimits, Request};

    use super::*;

    /// For each rule text: what the possible and the certain rules say to `/attack`, where the cookie is not known.
    fn both(rules: &str) -> (bool, bool) {
        let text = format!("<rewrite><rules>{rules}</rules></rewrite>");
        let set = RuleSet::parse(&text).unwrap();
        let relaxed = relax(&set, |name| name != "HTTP_COOKIE");
        let refuses = |set: &RuleSet| {
            let engine = Engine::compile(set, &EngineLimits::default()).unwrap();
            let request = Request::new("GET", b"/attack", [], Connection::default());
            engine.evaluate(&request).is_refusal()
        };
        (refuses(&relaxed.possible), refuses(relaxed.certain.as_ref().unwrap_or(&relaxed.possible)))
    }

    fn rule(name: &str, conditions: &str, action: &str) -> String {
        format!(r#"<rule name="{name}" stopProcessing="true"><match url=".*"/>{conditions}{action}</rule>"#)
    }

    const ABORT: &str = r#"<action type="AbortRequest"/>"#;
    const NONE: &str = r#"<action type="None"/>"#;
    const COOKIE: &str = r#"<add input="{HTTP_COOKIE}" pattern="x"/>"#;
    const HERE: &str = r#"<add input="{REQUEST_URI}" pattern="attack"/>"#;
    const ELSEWHERE: &str = r#"<add input="{REQUEST_URI}" pattern="elsewhere"/>"#;

    fn all(list: &[&str]) -> String {
        format!("<conditions>{}</conditions>", list.concat())
    }

    fn any(list: &[&str]) -> String {
        format!(r#"<conditions logicalGrouping="MatchAny">{}</conditions>"#, list.concat())
    }

    #[test]
    fn what_is_known_decides_where_it_can() {
        let (yes, no, open) = ((true, true), (false, false), (true, false));
        for (conditions, expected) in [
            (all(&[HERE]), yes),
            (all(&[ELSEWHERE]), no),
            (all(&[COOKIE]), open),
            (all(&[COOKIE, HERE]), open),
            (all(&[COOKIE, ELSEWHERE]), no),
            (any(&[COOKIE, HERE]), yes),
            (any(&[COOKIE, ELSEWHERE]), open),
            (any(&[COOKIE]), open),
            (all(&[COOKIE, r#"<add input="{C:0}" pattern="attack"/>"#]), open),
        ] {
            assert_eq!(both(&rule("r", &conditions, ABORT)), expected, "{conditions}");
        }
    }

    #[test]
    fn a_rule_that_may_let_pass_leaves_what_follows_open() {
        let abort = rule("abort", "", ABORT);
        for (first, expected) in [
            (rule("allow", &all(&[COOKIE]), NONE), (true, false)),
            (rule("allow", &all(&[COOKIE, ELSEWHERE]), NONE), (true, true)),
            (rule("allow", &any(&[COOKIE, HERE]), NONE), (false, false)),
        ] {
            assert_eq!(both(&format!("{first}{abort}")), expected, "{first}");
        }
    }

    #[test]
    fn what_an_open_rule_changed_is_not_known_either() {
        let rewrite = r#"<rule name="w"><match url=".*"/><conditions><add input="{HTTP_COOKIE}" pattern="x"/>
            </conditions><action type="Rewrite" url="/other"/></rule>"#;
        let by_path = r#"<rule name="p"><match url="^other$"/><action type="AbortRequest"/></rule>"#;
        assert_eq!(both(&format!("{rewrite}{by_path}")), (true, false));
        let set = r#"<rule name="s"><match url=".*"/><serverVariables><set name="MINE" value="{HTTP_COOKIE}"/>
            </serverVariables><action type="None"/></rule>"#;
        let by_own = rule("o", &all(&[r#"<add input="{MINE}" pattern="x"/>"#]), ABORT);
        assert_eq!(both(&format!("{set}{by_own}")), (true, false));
    }

    #[test]
    fn what_is_read_is_told() {
        let text = format!("<rewrite><rules>{}</rules></rewrite>", rule("r", &all(&[COOKIE, HERE]), ABORT));
        let set = RuleSet::parse(&text).unwrap();
        assert_eq!(reads(&set), ["HTTP_COOKIE", "REQUEST_URI"]);
        assert_eq!(relax(&set, |name| name == "REQUEST_URI").lacking, ["HTTP_COOKIE"]);
        assert!(relax(&set, |_| true).certain.is_none());
    }
}
