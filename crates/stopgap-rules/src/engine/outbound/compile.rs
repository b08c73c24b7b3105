//! Model to program: the patterns of outbound rules compiled, their templates parsed.

use crate::engine::EngineLimits;
use crate::engine::compile::CompileError;
use crate::engine::matcher::Matcher;
use crate::model::{
    Condition, Grouping, Level, MatchType, OutboundAction, OutboundRule, OutboundSubject, PatternSyntax,
    RuleSet,
};
use crate::template::{Names, Part, RESPONSE, Template};
use crate::variable::Variable;

/// What the evaluation runs.
#[derive(Debug, Default)]
pub(in crate::engine) struct Program {
    pub(super) rules: Vec<CompiledRule>,
    pub(super) pre_conditions: Vec<CompiledConditions>,
}

impl Program {
    pub(in crate::engine) fn len(&self) -> usize {
        self.rules.len()
    }
}

#[derive(Debug)]
pub(super) struct CompiledRule {
    pub(super) name: String,
    pub(super) level: Level,
    /// The place in [`Program::pre_conditions`].
    pub(super) pre_condition: Option<usize>,
    pub(super) stop: bool,
    pub(super) subject: Subject,
    pub(super) matcher: Matcher,
    pub(super) negate: bool,
    pub(super) conditions: CompiledConditions,
    pub(super) action: CompiledAction,
}

#[derive(Debug)]
pub(super) enum Subject {
    /// A response header: its name in capitals with underscores, and as a new header would spell it.
    Header { key: String, spelled: String },
    /// Any other variable; it can be looked at, not rewritten.
    Variable(Variable),
}

#[derive(Debug)]
pub(super) struct CompiledConditions {
    pub(super) grouping: Grouping,
    pub(super) track_all: bool,
    pub(super) list: Vec<CompiledCondition>,
}

#[derive(Debug)]
pub(super) struct CompiledCondition {
    pub(super) input: Template,
    pub(super) matcher: Matcher,
    pub(super) negate: bool,
}

#[derive(Debug)]
pub(super) enum CompiledAction {
    None,
    Rewrite { value: Template, replace: bool },
}

/// The key of `RESPONSE_STATUS`, which is no header.
pub(super) const STATUS: &str = "STATUS";

pub(in crate::engine) fn compile(set: &RuleSet, limits: &EngineLimits) -> Result<Program, CompileError> {
    let enabled: Vec<&OutboundRule> = set.outbound.iter().filter(|rule| rule.enabled).collect();
    if enabled.len() > limits.rules {
        return Err(CompileError::TooManyRules { found: enabled.len(), limit: limits.rules });
    }
    let maps: Vec<&str> = set.maps.iter().map(|map| map.name.as_str()).collect();
    let own: Vec<String> = set
        .rules
        .iter()
        .filter(|rule| rule.enabled)
        .flat_map(|rule| &rule.server_variables)
        .map(|set| set.name.to_ascii_uppercase())
        .collect();
    let compiler = Compiler { names: Names { maps: &maps, own: &own }, limits };

    for (at, pre_condition) in set.pre_conditions.iter().enumerate() {
        let same = |other: &&crate::PreCondition| other.name.eq_ignore_ascii_case(&pre_condition.name);
        if set.pre_conditions.iter().take(at).any(|other| same(&other)) {
            return Err(CompileError::DuplicatePreCondition { name: pre_condition.name.clone() });
        }
    }
    let mut pre_conditions = Vec::new();
    let mut known: Vec<&str> = Vec::new();
    let mut rules = Vec::new();
    for rule in enabled {
        // Only a precondition that a rule names is compiled: another can be as wrong as it likes.
        let pre_condition = match rule.pre_condition.as_deref().filter(|name| !name.is_empty()) {
            None => None,
            Some(name) => Some(match known.iter().position(|known| known.eq_ignore_ascii_case(name)) {
                Some(at) => at,
                None => {
                    let found = set.pre_conditions.iter().find(|p| p.name.eq_ignore_ascii_case(name));
                    let found = found.ok_or_else(|| CompileError::UnknownPreCondition {
                        rule: rule.name.clone(),
                        name: name.to_owned(),
                    })?;
                    pre_conditions.push(compiler.pre_condition(rule, found)?);
                    known.push(&found.name);
                    known.len() - 1
                }
            }),
        };
        rules.push(compiler.rule(rule, pre_condition)?);
    }
    Ok(Program { rules, pre_conditions })
}

struct Compiler<'a> {
    names: Names<'a>,
    limits: &'a EngineLimits,
}

impl Compiler<'_> {
    fn rule(&self, rule: &OutboundRule, pre_condition: Option<usize>) -> Result<CompiledRule, CompileError> {
        let variable = match &rule.subject {
            OutboundSubject::Variable(name) => name,
            OutboundSubject::Body { .. } => {
                return Err(CompileError::ResponseBody { rule: rule.name.clone() });
            }
        };
        let subject = self.subject(rule, variable)?;
        let action = match &rule.action {
            OutboundAction::None => CompiledAction::None,
            OutboundAction::Rewrite { value, replace } => {
                if matches!(subject, Subject::Variable(_)) {
                    return Err(not_a_header(rule, variable));
                }
                CompiledAction::Rewrite {
                    value: self.template(rule, value, "action value".to_owned())?,
                    replace: *replace,
                }
            }
        };
        let inputs = self.inputs(rule, &rule.conditions.list)?;

        // Captures cost time, so a pattern makes them only where a template of this rule reads them.
        let value = match &action {
            CompiledAction::Rewrite { value, .. } => Some(value),
            CompiledAction::None => None,
        };
        let reads = |test: &dyn Fn(&Part) -> bool| inputs.iter().chain(value).any(|t| t.any(&test));
        let reads_rule = reads(&|part| matches!(part, Part::Rule(_)));
        let reads_condition = reads(&|part| matches!(part, Part::Condition(_)));

        let matcher = self.matcher(
            rule,
            (&rule.pattern, rule.pattern_syntax, rule.ignore_case),
            reads_rule && !rule.negate,
            variable,
        )?;
        let list =
            self.conditions(rule, &rule.conditions.list, inputs, rule.pattern_syntax, reads_condition)?;
        Ok(CompiledRule {
            name: rule.name.clone(),
            level: rule.level.clone(),
            pre_condition,
            stop: rule.stop_processing,
            subject,
            matcher,
            negate: rule.negate,
            conditions: CompiledConditions {
                grouping: rule.conditions.grouping,
                track_all: rule.conditions.track_all_captures,
                list,
            },
            action,
        })
    }

    fn pre_condition(
        &self,
        rule: &OutboundRule,
        found: &crate::PreCondition,
    ) -> Result<CompiledConditions, CompileError> {
        let inputs = self.inputs(rule, &found.list)?;
        // Preconditions have captures of their own, which nothing else can read.
        let reads = inputs.iter().any(|t| t.any(&|part| matches!(part, Part::Condition(_))));
        let list = self.conditions(rule, &found.list, inputs, found.pattern_syntax, reads)?;
        Ok(CompiledConditions { grouping: found.grouping, track_all: false, list })
    }

    fn subject(&self, rule: &OutboundRule, variable: &str) -> Result<Subject, CompileError> {
        let template = self.template(rule, &format!("{{{variable}}}"), "match serverVariable".to_owned())?;
        let header =
            |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match template.parts.as_slice() {
            [Part::Variable(Variable::Own(name))] => match name.strip_prefix(RESPONSE) {
                Some(STATUS) | None => Ok(Subject::Variable(Variable::Own(name.clone()))),
                Some(key) if header(key) => Ok(Subject::Header {
                    key: key.to_owned(),
                    spelled: variable.get(RESPONSE.len()..).unwrap_or_default().replace('_', "-"),
                }),
                Some(_) => Err(not_a_header(rule, variable)),
            },
            [Part::Variable(variable)] => Ok(Subject::Variable(variable.clone())),
            _ => Err(not_a_header(rule, variable)),
        }
    }

    fn template(&self, rule: &OutboundRule, text: &str, place: String) -> Result<Template, CompileError> {
        Template::parse_outbound(text, &self.names).map_err(|source| CompileError::Template {
            rule: rule.name.clone(),
            place,
            source,
        })
    }

    fn inputs(&self, rule: &OutboundRule, list: &[Condition]) -> Result<Vec<Template>, CompileError> {
        list.iter()
            .map(|condition| match condition.match_type {
                MatchType::Pattern => {
                    self.template(rule, &condition.input, format!("condition {:?}", condition.input))
                }
                MatchType::IsFile | MatchType::IsDirectory => {
                    Err(CompileError::FileCondition { rule: rule.name.clone() })
                }
            })
            .collect()
    }

    fn conditions(
        &self,
        rule: &OutboundRule,
        list: &[Condition],
        inputs: Vec<Template>,
        syntax: PatternSyntax,
        captures: bool,
    ) -> Result<Vec<CompiledCondition>, CompileError> {
        list.iter()
            .zip(inputs)
            .map(|(condition, input)| {
                let pattern = (condition.pattern.as_str(), syntax, condition.ignore_case);
                let matcher = self.matcher(rule, pattern, captures && !condition.negate, &condition.input)?;
                Ok(CompiledCondition { input, matcher, negate: condition.negate })
            })
            .collect()
    }

    fn matcher(
        &self,
        rule: &OutboundRule,
        (pattern, syntax, ignore_case): (&str, PatternSyntax, bool),
        captures: bool,
        place: &str,
    ) -> Result<Matcher, CompileError> {
        let matcher = Matcher::compile(pattern, syntax, ignore_case, captures, &self.limits.pattern);
        let matcher = matcher.map_err(|source| CompileError::Pattern {
            rule: rule.name.clone(),
            place: place.to_owned(),
            pattern: pattern.to_owned(),
            source,
        })?;
        // Every response is compared with every rule: none of them is to pay for the preparation.
        matcher.prepare();
        Ok(matcher)
    }
}

fn not_a_header(rule: &OutboundRule, variable: &str) -> CompileError {
    CompileError::NotAResponseHeader { rule: rule.name.clone(), variable: variable.to_owned() }
}
