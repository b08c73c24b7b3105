//! Model to program: patterns checked, templates parsed, inputs that many rules share found, and what guards
//! each rule.

use super::EngineLimits;
use super::inputs::{self, Input, Inputs, Shared};
use super::matcher::{Matcher, Patterns};
use super::prefilter::{Guards, Prefilter};
use crate::model::{Action, Grouping, Level, MatchType, Rule, RuleSet};
use crate::pattern::PatternError;
use crate::pattern::literal::Choice;
pub use crate::template::TemplateError;
use crate::template::{Names, Part, Template};
use crate::variable::Variable;
use std::collections::{BTreeSet, HashMap, HashSet};

/// A rule set that cannot be evaluated: the rule, the part of it, the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// More rules than the limit.
    #[error("{found} rules; at most {limit} are compiled")]
    TooManyRules {
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A pattern that this build refuses.
    #[error("rule \"{rule}\": {place}: pattern {pattern:?}")]
    Pattern {
        /// The rule.
        rule: String,
        /// `match url`, or the condition's input.
        place: String,
        /// The pattern.
        pattern: String,
        /// The reason.
        source: PatternError,
    },
    /// An input, address or value that this build refuses.
    #[error("rule \"{rule}\": {place}")]
    Template {
        /// The rule.
        rule: String,
        /// Which of its templates.
        place: String,
        /// The reason.
        source: TemplateError,
    },
    /// `matchType="IsFile"` or `"IsDirectory"`: nothing outside IIS can know.
    #[error("rule \"{rule}\": a condition on files or folders cannot be evaluated outside IIS")]
    FileCondition {
        /// The rule.
        rule: String,
    },
    /// An outbound rule without `serverVariable`: it would change bodies.
    #[error("rule \"{rule}\": changing the body of a response is not supported; give match a serverVariable")]
    ResponseBody {
        /// The rule.
        rule: String,
    },
    /// An outbound rule that rewrites something else than a response header.
    #[error(
        "rule \"{rule}\": {variable} cannot be rewritten; an outbound rule sets RESPONSE_<NAME>, a header"
    )]
    NotAResponseHeader {
        /// The rule.
        rule: String,
        /// What it names.
        variable: String,
    },
    /// An outbound rule names a precondition that is not there.
    #[error("rule \"{rule}\": there is no preCondition \"{name}\"")]
    UnknownPreCondition {
        /// The rule.
        rule: String,
        /// The name.
        name: String,
    },
    /// Two preconditions with one name.
    #[error("two preconditions are named \"{name}\"")]
    DuplicatePreCondition {
        /// The name.
        name: String,
    },
    /// Two maps with one name.
    #[error("two rewrite maps are named \"{name}\"")]
    DuplicateMap {
        /// The name.
        name: String,
    },
}

impl CompileError {
    /// A stable word for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            CompileError::TooManyRules { .. } => "rules-too-many",
            CompileError::Pattern { .. } => "rules-bad-pattern",
            CompileError::Template { .. } => "rules-bad-template",
            CompileError::FileCondition { .. } => "rules-file-condition",
            CompileError::ResponseBody { .. } => "rules-response-body",
            CompileError::NotAResponseHeader { .. } => "rules-not-a-response-header",
            CompileError::UnknownPreCondition { .. } => "rules-unknown-precondition",
            CompileError::DuplicatePreCondition { .. } => "rules-duplicate-precondition",
            CompileError::DuplicateMap { .. } => "rules-duplicate-map",
        }
    }
}

/// What the evaluation runs.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) rules: Vec<CompiledRule>,
    pub(super) maps: Vec<Map>,
    pub(super) inputs: Vec<Shared>,
    pub(super) prefilter: Prefilter,
}

#[derive(Debug)]
pub(super) struct CompiledRule {
    pub(super) name: String,
    pub(super) level: Level,
    pub(super) stop: bool,
    pub(super) url: Matcher,
    pub(super) url_negate: bool,
    pub(super) grouping: Grouping,
    pub(super) track_all: bool,
    pub(super) conditions: Vec<CompiledCondition>,
    pub(super) set: Vec<CompiledSet>,
    pub(super) action: CompiledAction,
}

#[derive(Debug)]
pub(super) struct CompiledCondition {
    pub(super) input: Input,
    pub(super) matcher: Matcher,
    pub(super) negate: bool,
}

#[derive(Debug)]
pub(super) struct CompiledSet {
    pub(super) name: String,
    pub(super) variable: Variable,
    pub(super) value: Template,
    pub(super) replace: bool,
}

#[derive(Debug)]
pub(super) enum CompiledAction {
    None,
    Rewrite { url: Template, append: bool },
    Redirect { url: Template, append: bool, status: u16 },
    CustomResponse { status: u16, substatus: u16, reason: String, description: String },
    AbortRequest,
}

#[derive(Debug)]
pub(super) struct Map {
    default: String,
    ignore_case: bool,
    entries: HashMap<String, String>,
}

impl Map {
    pub(super) fn get(&self, key: &str) -> &str {
        let found =
            if self.ignore_case { self.entries.get(&key.to_lowercase()) } else { self.entries.get(key) };
        found.unwrap_or(&self.default)
    }
}

/// `earlier`: a program whose patterns are taken where this set has them, too.
pub(super) fn compile(
    set: &RuleSet,
    limits: &EngineLimits,
    earlier: Option<&Program>,
) -> Result<Program, CompileError> {
    let enabled: Vec<&Rule> = set.rules.iter().filter(|rule| rule.enabled).collect();
    if enabled.len() > limits.rules {
        return Err(CompileError::TooManyRules { found: enabled.len(), limit: limits.rules });
    }
    let maps: Vec<&str> = set.maps.iter().map(|map| map.name.as_str()).collect();
    let mut known = HashSet::new();
    if let Some(name) = maps.iter().find(|name| !known.insert(**name)) {
        return Err(CompileError::DuplicateMap { name: (*name).to_owned() });
    }
    let own: BTreeSet<String> = enabled
        .iter()
        .flat_map(|rule| &rule.server_variables)
        .map(|set| set.name.to_ascii_uppercase())
        .collect();
    let own: Vec<String> = own.into_iter().collect();
    let names = Names { maps: &maps, own: &own };
    let matchers = earlier.into_iter().flat_map(Program::matchers);
    let patterns = Patterns::new(&limits.pattern, enabled.len()).after(matchers);
    let mut compiler = Compiler { names, patterns, inputs: Inputs::new() };
    let rules = enabled.into_iter().map(|rule| compiler.rule(rule)).collect::<Result<Vec<_>, _>>()?;
    let prefilter = prefilter(&rules);
    for rule in prefilter.unguarded().iter().filter_map(|at| rules.get(at)) {
        // Every request will need it.
        rule.matchers().for_each(Matcher::prepare);
    }
    Ok(Program {
        rules,
        maps: set.maps.iter().map(table).collect(),
        inputs: compiler.inputs.finish(),
        prefilter,
    })
}

impl Program {
    fn matchers(&self) -> impl Iterator<Item = &Matcher> {
        self.rules.iter().flat_map(CompiledRule::matchers)
    }
}

impl CompiledRule {
    fn matchers(&self) -> impl Iterator<Item = &Matcher> {
        std::iter::once(&self.url).chain(self.conditions.iter().map(|condition| &condition.matcher))
    }
}

fn table(map: &crate::model::RewriteMap) -> Map {
    let fold = |key: &String| if map.ignore_case { key.to_lowercase() } else { key.clone() };
    Map {
        default: map.default_value.clone(),
        ignore_case: map.ignore_case,
        entries: map.entries.iter().map(|(key, value)| (fold(key), value.clone())).collect(),
    }
}

struct Compiler<'a> {
    names: Names<'a>,
    patterns: Patterns<'a>,
    inputs: Inputs,
}

impl<'a> Compiler<'a> {
    fn rule(&mut self, rule: &'a Rule) -> Result<CompiledRule, CompileError> {
        if rule.conditions.list.iter().any(|c| c.match_type != MatchType::Pattern) {
            return Err(CompileError::FileCondition { rule: rule.name.clone() });
        }
        let template = |text: &str, place: String| {
            Template::parse(text, &self.names).map_err(|source| CompileError::Template {
                rule: rule.name.clone(),
                place,
                source,
            })
        };
        let action = match &rule.action {
            Action::None => CompiledAction::None,
            Action::Rewrite { url, append_query_string } => CompiledAction::Rewrite {
                url: template(url, "action url".to_owned())?,
                append: *append_query_string,
            },
            Action::Redirect { url, append_query_string, redirect_type } => CompiledAction::Redirect {
                url: template(url, "action url".to_owned())?,
                append: *append_query_string,
                status: redirect_type.status(),
            },
            Action::CustomResponse { status, substatus, reason, description } => {
                CompiledAction::CustomResponse {
                    status: *status,
                    substatus: *substatus,
                    reason: reason.clone(),
                    description: description.clone(),
                }
            }
            Action::AbortRequest => CompiledAction::AbortRequest,
        };
        let mut set = Vec::new();
        for variable in &rule.server_variables {
            let place = format!("server variable {}", variable.name);
            let own = |name: &str| self.names.own.iter().any(|own| own == name);
            set.push(CompiledSet {
                name: variable.name.clone(),
                variable: Variable::named(&variable.name, own)
                    .unwrap_or_else(|| Variable::Own(variable.name.to_ascii_uppercase())),
                value: template(&variable.value, place)?,
                replace: variable.replace,
            });
        }
        let mut inputs = Vec::with_capacity(rule.conditions.list.len());
        for condition in &rule.conditions.list {
            let place = || format!("condition {:?}", condition.input);
            inputs.push(self.inputs.input(&condition.input, |text| {
                Template::parse(text, &self.names).map_err(|source| CompileError::Template {
                    rule: rule.name.clone(),
                    place: place(),
                    source,
                })
            })?);
        }

        // Captures cost time, so a pattern makes them only where a template of this rule reads them.
        let address = match &action {
            CompiledAction::Rewrite { url, .. } | CompiledAction::Redirect { url, .. } => Some(url),
            _ => None,
        };
        let reads = |test: fn(&Part) -> bool| {
            let values = set.iter().map(|set| &set.value);
            inputs.iter().filter_map(Input::own).chain(values).chain(address).any(|t| t.any(&test))
        };
        let reads_rule = reads(|part| matches!(part, Part::Rule(_)));
        let reads_condition = reads(|part| matches!(part, Part::Condition(_)));

        let patterns = &mut self.patterns;
        let mut matcher = |pattern: &'a str, ignore_case, captures, place: &str| {
            patterns.matcher(pattern, rule.pattern_syntax, ignore_case, captures).map_err(|source| {
                CompileError::Pattern {
                    rule: rule.name.clone(),
                    place: place.to_owned(),
                    pattern: pattern.to_owned(),
                    source,
                }
            })
        };
        let url = matcher(
            &rule.match_url.url,
            rule.match_url.ignore_case,
            reads_rule && !rule.match_url.negate,
            "match url",
        )?;
        let mut conditions = Vec::with_capacity(rule.conditions.list.len());
        for (condition, input) in rule.conditions.list.iter().zip(inputs) {
            let captures = reads_condition && !condition.negate;
            let matcher = matcher(&condition.pattern, condition.ignore_case, captures, &condition.input)?;
            conditions.push(CompiledCondition { input, matcher, negate: condition.negate });
        }
        Ok(CompiledRule {
            name: rule.name.clone(),
            level: rule.level.clone(),
            stop: rule.stop_processing,
            url,
            url_negate: rule.match_url.negate,
            grouping: rule.conditions.grouping,
            track_all: rule.conditions.track_all_captures,
            conditions,
            set,
            action,
        })
    }
}

fn prefilter(rules: &[CompiledRule]) -> Prefilter {
    let mut all = Guards::new(rules.len());
    for rule in rules {
        guards(rule, &mut all);
        all.end_rule();
    }
    Prefilter::new(&all)
}

/// What the rule cannot match without, each by itself: something in its address; in one of its conditions where
/// all must hold, in every one where any will do; else its level.
fn guards<'r>(rule: &'r CompiledRule, guards: &mut Guards<'r>) {
    let mut any = false;
    if !rule.url_negate {
        for choice in rule.url.literals().iter() {
            guards.add(inputs::PATH, choice);
            any = true;
        }
    }
    match rule.grouping {
        Grouping::MatchAll => {
            for condition in &rule.conditions {
                let Some((input, choices)) = condition.needs() else { continue };
                for choice in choices {
                    guards.add(input, choice);
                    any = true;
                }
            }
        }
        Grouping::MatchAny => {
            let best = |condition: &'r CompiledCondition| {
                let (input, mut choices) = condition.needs()?;
                Some((input, choices.next()?))
            };
            let all: Option<Vec<(usize, Choice)>> = rule.conditions.iter().map(best).collect();
            if let Some(all) = all.filter(|all| !all.is_empty()) {
                guards.add_any_of(&all);
                any = true;
            }
        }
    }
    // Names of folders are compared by a table that folds nothing outside ASCII into it, as literals are.
    let level = rule.level.path();
    if !any && !rule.level.is_site() && level.is_ascii() {
        guards.add_level(inputs::PATH, level);
    }
}

impl CompiledCondition {
    /// The shared input, and what must be in it. A condition that holds where its pattern does not match needs
    /// nothing of the text.
    fn needs(&self) -> Option<(usize, impl Iterator<Item = Choice<'_>>)> {
        let input = self.input.shared().filter(|_| !self.negate)?;
        Some((input, self.matcher.literals().iter()))
    }
}
