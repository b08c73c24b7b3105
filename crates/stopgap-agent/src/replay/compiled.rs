//! The rules of all actions, compiled for what is known of a request, and the short way through them.
//!
//! Each action has engines of its own, since one must not see what another changes. Most lines of a log meet no
//! rule at all: where an action only refuses, it is asked together with the others of its kind first, and by
//! itself where one of them answers.

use stopgap_rules::{Action, Engine, EngineLimits, Request, Rule, RuleSet};

use super::judge::Finding;
use super::relax::{is_anything, relax};

/// Every action, in order; nothing where none of its rules is left.
pub(super) struct Compiled {
    actions: Vec<Option<One>>,
    possible: Together,
    certain: Together,
}

/// One action.
struct One {
    /// It possibly refuses every request.
    always: bool,
    possible: Engine,
    /// [`Compiled::possible`] has these rules, too.
    possible_together: bool,
    certain: Certain,
}

/// What an action refuses whatever is not known.
enum Certain {
    /// What it possibly refuses: everything is known.
    Same,
    Nothing,
    Rules {
        engine: Engine,
        /// [`Compiled::certain`] has them, too.
        together: bool,
    },
}

impl Compiled {
    /// That what is given compiles was tried before.
    pub(super) fn new<'a>(
        actions: impl Iterator<Item = Option<&'a RuleSet>>,
        knows: impl Fn(&str) -> bool,
    ) -> Compiled {
        let (mut possible, mut certain) = (RuleSet::default(), RuleSet::default());
        let actions = actions.map(|rules| One::new(rules?, &knows, &mut possible, &mut certain)).collect();
        Compiled { actions, possible: Together::new(&possible), certain: Together::new(&certain) }
    }

    /// What each action that does not let the request pass says, in order.
    pub(super) fn judge(&self, request: &Request, mut say: impl FnMut(usize, Finding)) {
        let possible = self.possible.may_refuse(request);
        let certain = self.certain.may_refuse(request);
        for (at, one) in self.actions.iter().enumerate() {
            let Some(one) = one.as_ref().filter(|one| possible || !one.possible_together) else { continue };
            if let Some(finding) = one.judge(request, certain) {
                say(at, finding);
            }
        }
    }

    /// The same without the short way.
    #[cfg(test)]
    pub(super) fn judge_one_by_one(&self, request: &Request, mut say: impl FnMut(usize, Finding)) {
        for (at, one) in self.actions.iter().enumerate() {
            let Some(one) = one else { continue };
            let verdict = one.possible.evaluate(request);
            if verdict.is_refusal() {
                say(
                    at,
                    match &one.certain {
                        Certain::Same => refused(verdict),
                        Certain::Nothing => Finding::Undecided,
                        Certain::Rules { engine, .. } => refused(engine.evaluate(request)),
                    },
                );
            }
        }
    }
}

impl One {
    /// Adds its rules to those that are asked together, where they may be.
    fn new(
        rules: &RuleSet,
        knows: impl Fn(&str) -> bool,
        all_possible: &mut RuleSet,
        all_certain: &mut RuleSet,
    ) -> Option<One> {
        let relaxed = relax(rules, knows);
        let limits = EngineLimits::default();
        let possible =
            Engine::compile(&relaxed.possible, &limits).ok().filter(|engine| !engine.is_empty())?;
        let certain = relaxed.certain.map(|rules| (Engine::compile(&rules, &limits).ok(), rules));
        let certain = match certain {
            None | Some((None, _)) => Certain::Same,
            Some((Some(engine), _)) if engine.is_empty() => Certain::Nothing,
            Some((Some(engine), rules)) => Certain::Rules { engine, together: join(all_certain, &rules) },
        };
        // What is decided is said with its rule's name, which the engine knows.
        let always =
            !matches!(certain, Certain::Same) && relaxed.possible.rules.first().is_some_and(refuses_all);
        let possible_together = !always && join(all_possible, &relaxed.possible);
        Some(One { always, possible, possible_together, certain })
    }

    /// Nothing where it lets the request pass. `certain`: one of those asked together refuses it for certain.
    fn judge(&self, request: &Request, certain: bool) -> Option<Finding> {
        let verdict = if self.always { None } else { Some(self.possible.evaluate(request)) };
        if verdict.as_ref().is_some_and(|verdict| !verdict.is_refusal()) {
            return None;
        }
        Some(match &self.certain {
            Certain::Same => refused(verdict?),
            Certain::Nothing => Finding::Undecided,
            Certain::Rules { together: true, .. } if !certain => Finding::Undecided,
            Certain::Rules { engine, .. } => refused(engine.evaluate(request)),
        })
    }
}

fn refused(verdict: stopgap_rules::Verdict) -> Finding {
    match verdict.is_refusal() {
        true => Finding::Refuses { rule: verdict.rule.unwrap_or_default(), outcome: verdict.action },
        false => Finding::Undecided,
    }
}

/// Rules of many actions, none of which changes what another sees: what none of them refuses, no action does.
struct Together(Option<Engine>);

impl Together {
    /// Where so many do not compile as one, each action is asked.
    fn new(rules: &RuleSet) -> Together {
        Together(Engine::compile(rules, &EngineLimits::default()).ok())
    }

    fn may_refuse(&self, request: &Request) -> bool {
        self.0.as_ref().is_none_or(|engine| !engine.is_empty() && engine.evaluate(request).is_refusal())
    }
}

/// Puts rules behind those that are asked together; false where they do anything but refuse.
fn join(all: &mut RuleSet, rules: &RuleSet) -> bool {
    let only_refuse = rules.maps.is_empty() && rules.rules.iter().all(only_refuses);
    if only_refuse {
        for rule in &rules.rules {
            // Two actions may have rules of one name, which is theirs alone.
            let name = format!("{}", all.rules.len());
            all.rules.push(Rule { name, ..rule.clone() });
        }
    }
    only_refuse
}

fn only_refuses(rule: &Rule) -> bool {
    let refuses =
        matches!(rule.action, Action::AbortRequest | Action::CustomResponse { .. } | Action::Redirect { .. });
    refuses && rule.server_variables.is_empty()
}

/// Every request at all.
fn refuses_all(rule: &Rule) -> bool {
    only_refuses(rule)
        && rule.enabled
        && rule.level.is_site()
        && rule.conditions.list.is_empty()
        && is_anything(&rule.match_url, rule.pattern_syntax)
}

#[cfg(test)]
mod tests {
    use stopgap_rules::Connection;

    use super::*;

    /// Rules that only refuse, one that rewrites for the next, one that lets pass, one with a map; of one name.
    const ACTIONS: [&str; 9] = [
        r#"<rule name="a"><match url="bad"/><action type="AbortRequest"/></rule>"#,
        r#"<rule name="a"><match url=".*"/><conditions><add input="{HTTP_COOKIE}" pattern="evil"/></conditions>
           <action type="AbortRequest"/></rule>"#,
        r#"<rule name="a"><match url=".*"/><conditions logicalGrouping="MatchAny"><add input="{HTTP_COOKIE}" pattern="evil"/>
           <add input="{QUERY_STRING}" pattern="q=1"/></conditions><action type="CustomResponse" statusCode="403"
           statusReason="No" statusDescription="No"/></rule>"#,
        r#"<rule name="a"><match url="^first$"/><action type="Rewrite" url="bad"/></rule>
           <rule name="b"><match url="bad"/><action type="AbortRequest"/></rule>"#,
        r#"<rule name="a" stopProcessing="true"><match url="good"/><action type="None"/></rule>
           <rule name="b"><match url="bad"/><action type="Redirect" url="/x"/></rule>"#,
        r#"<rule name="a" stopProcessing="true"><match url=".*"/><conditions><add input="{HTTP_COOKIE}" pattern="good"/>
           </conditions><action type="None"/></rule><rule name="b"><match url="bad"/><action type="AbortRequest"/></rule>"#,
        r#"<rule name="a" patternSyntax="Wildcard"><match url="*"/><conditions><add input="{HTTP_X}" pattern="evil*"/></conditions>
           <action type="AbortRequest"/></rule><rule name="b"><match url="first"/><action type="AbortRequest"/></rule>"#,
        r#"<rule name="a"><match url=".*"/><action type="AbortRequest"/></rule>"#,
        r#"<rule name="a" enabled="false"><match url=".*"/><action type="AbortRequest"/></rule>"#,
    ];

    #[test]
    fn the_short_way_says_what_each_action_says_by_itself() {
        let sets: Vec<RuleSet> = ACTIONS
            .iter()
            .map(|rules| RuleSet::parse(&format!("<rewrite><rules>{rules}</rules></rewrite>")).unwrap())
            .collect();
        let variables = ["HTTP_COOKIE", "HTTP_X", "QUERY_STRING", "URL"];
        let mut said = [0; 3];
        for unknown in 0..1 << variables.len() {
            let knows = |name: &str| {
                let at = variables.iter().position(|variable| *variable == name);
                at.is_none_or(|at| unknown & 1 << at == 0)
            };
            let compiled = Compiled::new(sets.iter().map(Some), knows);
            for target in ["/", "/bad", "/first", "/good", "/goodbad", "/x?q=1", "/bad?q=1", "/owa/bad"] {
                for headers in [&[][..], &[("Cookie", &b"evil"[..])], &[("Cookie", b"good"), ("X", b"evil!")]]
                {
                    let headers = headers.iter().copied();
                    let request = Request::new("GET", target.as_bytes(), headers, Connection::default());
                    let (mut short, mut long) = (Vec::new(), Vec::new());
                    compiled.judge(&request, |at, finding| short.push((at, finding)));
                    compiled.judge_one_by_one(&request, |at, finding| long.push((at, finding)));
                    assert_eq!(short, long, "{target} {unknown:b}");
                    for (_, finding) in &short {
                        said[usize::from(*finding == Finding::Undecided)] += 1;
                    }
                    said[2] += ACTIONS.len() - short.len();
                }
            }
        }
        assert!(said.iter().all(|count| *count > 100), "refused, undecided, passed: {said:?}");
    }

    #[test]
    fn a_line_that_meets_no_rule_asks_nobody_by_itself() {
        let parse =
            |rules: &&str| RuleSet::parse(&format!("<rewrite><rules>{rules}</rules></rewrite>")).unwrap();
        let sets: Vec<RuleSet> = ACTIONS[..3].iter().map(parse).collect();
        let compiled = Compiled::new(sets.iter().map(Some), |name| name != "HTTP_COOKIE");
        let [Some(bad), Some(cookie), Some(either)] = &compiled.actions[..] else { panic!("three actions") };
        assert!(bad.possible_together && matches!(bad.certain, Certain::Same));
        assert!(cookie.always && matches!(cookie.certain, Certain::Nothing));
        assert!(either.always && matches!(either.certain, Certain::Rules { together: true, .. }));
        let request = Request::new("GET", b"/x", [], Connection::default());
        assert!(!compiled.possible.may_refuse(&request) && !compiled.certain.may_refuse(&request));
    }
}
