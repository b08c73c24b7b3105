//! One response through the rules.

use super::compile::{CompiledAction, CompiledConditions, CompiledRule, Program, STATUS, Subject};
use super::{HeaderChange, OutboundVerdict};
use crate::engine::compile::Map;
use crate::engine::level;
use crate::engine::matcher::{Groups, Matcher};
use crate::engine::verdict::{Outcome, Verdict};
use crate::function::{Function, url_decode};
use crate::model::Grouping;
use crate::pattern::{Budget, OverLimit};
use crate::request::Request;
use crate::response::Response;
use crate::template::{Part, RESPONSE, Template};
use crate::variable::Variable;
use std::borrow::Cow;
use std::cell::Cell;

/// Bytes of a text that a template makes, and of a header's new value.
const MAX_TEXT: usize = 1024 * 1024;
/// Bytes of text that all patterns together look at for one response. What takes no steps takes time, too:
/// ten thousand rules over a header of 1.6 KB are within it.
const MAX_SCANNED: usize = 16 * 1024 * 1024;
/// The header whose lines are values of their own.
const SET_COOKIE: &str = "SET_COOKIE";

pub(in crate::engine) fn evaluate(
    program: &Program,
    maps: &[Map],
    request: &Request,
    inbound: &Verdict,
    response: &Response,
    steps: u64,
) -> OutboundVerdict {
    let mut state = State {
        maps,
        request,
        rewritten: inbound
            .url
            .as_deref()
            .filter(|_| inbound.action == Outcome::Rewrite)
            .map(|url| Request::new(request.method(), url.as_bytes(), [], request.connection().clone())),
        set: inbound
            .headers
            .iter()
            .filter_map(|(name, value)| Some((Variable::named(name, |_| true)?, value.as_str())))
            .collect(),
        response,
        fields: Vec::new(),
        line: None,
        held: vec![None; program.pre_conditions.len()],
        inner: Cell::new(0),
        budget: Budget::new(steps),
        scan: MAX_SCANNED,
    };
    let path = state.rewritten.as_ref().unwrap_or(request).path().into_owned();
    let mut rules: Vec<String> = Vec::new();
    for rule in program.rules.iter().filter(|rule| level::below(&path, &rule.level).is_some()) {
        match state.rule(program, rule) {
            Ok(did) => {
                let ends = did.matched && rule.stop;
                if did.rewrote || ends {
                    rules.push(rule.name.clone());
                }
                if ends {
                    break;
                }
            }
            Err(OverLimit) => {
                return OutboundVerdict { over_limit: Some(rule.name.clone()), ..OutboundVerdict::default() };
            }
        }
    }
    let headers = state.fields.into_iter().filter(|field| {
        let had = response.headers(&field.key).map(|(_, value)| value);
        !field.lines.iter().map(Vec::as_slice).eq(had)
    });
    let headers = headers.map(|field| HeaderChange { name: field.name, values: field.lines });
    OutboundVerdict { headers: headers.collect(), rules, over_limit: None }
}

/// A header that a rule has rewritten.
struct Field {
    /// In capitals, with underscores.
    key: String,
    name: String,
    lines: Vec<Vec<u8>>,
}

struct State<'p, 'r> {
    maps: &'p [Map],
    request: &'r Request<'r>,
    /// The request at the address that inbound rules gave it.
    rewritten: Option<Request<'r>>,
    /// Variables that inbound rules have set.
    set: Vec<(Variable, &'r str)>,
    response: &'r Response<'r>,
    fields: Vec<Field>,
    /// The line of `Set-Cookie` that is looked at.
    line: Option<Vec<u8>>,
    /// Which preconditions hold, as long as no header changes.
    held: Vec<Option<bool>>,
    /// Bytes that were made within a text, for functions and maps, and are not counted yet.
    inner: Cell<usize>,
    budget: Budget,
    /// What is left of [`MAX_SCANNED`].
    scan: usize,
}

/// What back-references of one rule refer to.
#[derive(Default)]
struct Captured {
    rule: Groups,
    conditions: Groups,
}

#[derive(Default)]
struct Did {
    matched: bool,
    rewrote: bool,
}

/// A rule that matched one value.
enum Answer {
    NoMatch,
    Keep,
    Rewrite(Vec<u8>),
}

impl State<'_, '_> {
    fn rule(&mut self, program: &Program, rule: &CompiledRule) -> Result<Did, OverLimit> {
        let mut did = Did::default();
        let (key, spelled) = match &rule.subject {
            Subject::Header { key, spelled } => (key, spelled),
            Subject::Variable(_) => {
                did.matched = !matches!(self.value(program, rule)?, Answer::NoMatch);
                return Ok(did);
            }
        };
        let mut lines = Vec::new();
        if key == SET_COOKIE {
            // Without any there is one empty value, as there is of any other header.
            let mut old: Vec<_> = self.lines(key).into_iter().map(|line| Some(line.into_owned())).collect();
            if old.is_empty() {
                old.push(None);
            }
            for line in old {
                self.line = Some(line.clone().unwrap_or_default());
                let answer = self.value(program, rule);
                self.line = None;
                match answer? {
                    Answer::Rewrite(value) => {
                        (did.matched, did.rewrote) = (true, true);
                        lines.push(value);
                    }
                    answer => {
                        did.matched |= matches!(answer, Answer::Keep);
                        lines.extend(line);
                    }
                }
            }
        } else {
            match self.value(program, rule)? {
                Answer::NoMatch => {}
                Answer::Keep => did.matched = true,
                Answer::Rewrite(value) => {
                    (did.matched, did.rewrote) = (true, true);
                    lines.push(value);
                }
            }
        }
        if did.rewrote {
            lines.retain(|line| !line.is_empty());
            self.put(key, spelled, lines);
        }
        Ok(did)
    }

    /// What the rule says to the value that it looks at.
    fn value(&mut self, program: &Program, rule: &CompiledRule) -> Result<Answer, OverLimit> {
        if !self.pre_condition(program, rule)? {
            return Ok(Answer::NoMatch);
        }
        let (seen, latin) = match &rule.subject {
            Subject::Header { key, .. } => self.header(key),
            Subject::Variable(variable) => (self.variable(variable).into_owned(), false),
        };
        let found = self.matches(&rule.matcher, &seen)?;
        if found.is_some() == rule.negate {
            return Ok(Answer::NoMatch);
        }
        let mut captured = Captured { rule: found.unwrap_or_default(), conditions: Groups::new() };
        if !self.conditions(&rule.conditions, &mut captured)? {
            return Ok(Answer::NoMatch);
        }
        match &rule.action {
            CompiledAction::Rewrite { value, replace } if *replace || seen.is_empty() => {
                let text = self.text(value, &captured)?;
                self.made(text.len())?;
                Ok(Answer::Rewrite(on_the_wire(&text, latin)))
            }
            CompiledAction::Rewrite { .. } | CompiledAction::None => Ok(Answer::Keep),
        }
    }

    fn pre_condition(&mut self, program: &Program, rule: &CompiledRule) -> Result<bool, OverLimit> {
        let Some(at) = rule.pre_condition else { return Ok(true) };
        let Some(pre_condition) = program.pre_conditions.get(at) else { return Ok(true) };
        if let (None, Some(Some(held))) = (&self.line, self.held.get(at)) {
            return Ok(*held);
        }
        let held = self.conditions(pre_condition, &mut Captured::default())?;
        if let (None, Some(place)) = (&self.line, self.held.get_mut(at)) {
            *place = Some(held);
        }
        Ok(held)
    }

    fn conditions(
        &mut self,
        conditions: &CompiledConditions,
        captured: &mut Captured,
    ) -> Result<bool, OverLimit> {
        if conditions.list.is_empty() {
            return Ok(true);
        }
        for condition in &conditions.list {
            let input = self.text(&condition.input, captured)?;
            self.made(input.len())?;
            let found = self.matches(&condition.matcher, &input)?;
            let holds = found.is_some() != condition.negate;
            if let Some(groups) = found.filter(|_| holds) {
                captured.condition(groups, conditions.track_all);
            }
            match (conditions.grouping, holds) {
                (Grouping::MatchAll, false) => return Ok(false),
                (Grouping::MatchAny, true) => return Ok(true),
                _ => {}
            }
        }
        Ok(conditions.grouping == Grouping::MatchAll)
    }

    fn matches(&mut self, matcher: &Matcher, text: &str) -> Result<Option<Groups>, OverLimit> {
        self.scan = self.scan.checked_sub(text.len().saturating_add(1)).ok_or(OverLimit)?;
        matcher.matches(text, &mut self.budget)
    }

    /// The lines of a header as they are now.
    fn lines(&self, key: &str) -> Vec<Cow<'_, [u8]>> {
        match self.fields.iter().find(|field| field.key == key) {
            Some(field) => field.lines.iter().map(|line| Cow::Borrowed(line.as_slice())).collect(),
            None => self.response.headers(key).map(|(_, value)| Cow::Borrowed(value)).collect(),
        }
    }

    /// The value of a header, empty where it is absent, and whether it is ISO 8859-1.
    fn header(&self, key: &str) -> (String, bool) {
        let lines = match &self.line {
            Some(line) if key == SET_COOKIE => vec![Cow::Borrowed(line.as_slice())],
            _ => self.lines(key),
        };
        let latin = lines.iter().any(|line| std::str::from_utf8(line).is_err());
        let read = |line: &[u8]| match latin {
            true => line.iter().map(|byte| char::from(*byte)).collect(),
            false => String::from_utf8_lossy(line).into_owned(),
        };
        (lines.iter().map(|line| read(line)).collect::<Vec<_>>().join(", "), latin)
    }

    fn put(&mut self, key: &str, spelled: &str, lines: Vec<Vec<u8>>) {
        self.held.fill(None);
        match self.fields.iter_mut().find(|field| field.key == key) {
            Some(field) => field.lines = lines,
            None => {
                let name = self.response.headers(key).next().map_or(spelled, |(name, _)| name).to_owned();
                self.fields.push(Field { key: key.to_owned(), name, lines });
            }
        }
    }

    fn variable(&self, variable: &Variable) -> Cow<'_, str> {
        if let Variable::Own(name) = variable
            && let Some(key) = name.strip_prefix(RESPONSE)
        {
            return Cow::Owned(match key {
                STATUS => self.response.status().to_string(),
                key => self.header(key).0,
            });
        }
        if let Some((_, value)) = self.set.iter().find(|(set, _)| set == variable) {
            return Cow::Borrowed(value);
        }
        match &self.rewritten {
            Some(rewritten) if variable.follows_rewrite() => variable.of(rewritten),
            _ => variable.of(self.request),
        }
    }

    fn text(&self, template: &Template, captured: &Captured) -> Result<String, OverLimit> {
        let mut text = String::new();
        for part in &template.parts {
            text.push_str(&self.part(part, captured)?);
            if text.len() > MAX_TEXT {
                return Err(OverLimit);
            }
        }
        Ok(text)
    }

    fn part<'a>(&'a self, part: &'a Part, captured: &'a Captured) -> Result<Cow<'a, str>, OverLimit> {
        let group = |groups: &'a Groups, n: usize| Cow::Borrowed(groups.get(n).map_or("", String::as_str));
        Ok(match part {
            Part::Text(text) => Cow::Borrowed(text),
            Part::Variable(variable) => self.variable(variable),
            Part::Rule(n) => group(&captured.rule, *n),
            Part::Condition(n) => group(&captured.conditions, *n),
            Part::Function(function, inner) => match (function, self.on_wire(inner)) {
                (Function::UrlDecode, Some(raw)) => url_decode::apply_raw(raw),
                _ => Cow::Owned(function.apply(&Cow::Owned(self.within(inner, captured)?)).into_owned()),
            },
            Part::Map(map, key) => {
                let key = self.within(key, captured)?;
                Cow::Borrowed(self.maps.get(*map).map(|map| map.get(&key)).unwrap_or_default())
            }
        })
    }

    /// A text that another one is made of.
    fn within(&self, template: &Template, captured: &Captured) -> Result<String, OverLimit> {
        let text = self.text(template, captured)?;
        self.inner.set(self.inner.get().saturating_add(text.len()));
        Ok(text)
    }

    /// Counts a text that was made, and what was made within it.
    fn made(&mut self, bytes: usize) -> Result<(), OverLimit> {
        self.budget.spend(self.inner.take().saturating_add(bytes) / 16)
    }

    /// The bytes of a single variable of the request that no rule has changed.
    fn on_wire(&self, template: &Template) -> Option<Cow<'_, [u8]>> {
        let [Part::Variable(variable)] = template.parts.as_slice() else { return None };
        let changed = (self.rewritten.is_some() && variable.follows_rewrite())
            || self.set.iter().any(|(set, _)| set == variable);
        if changed { None } else { variable.raw(self.request) }
    }
}

impl Captured {
    fn condition(&mut self, groups: Groups, track_all: bool) {
        if !track_all {
            self.conditions = groups;
            return;
        }
        // {C:0} is the last whole match; {C:1} and up count through every matched condition.
        let mut groups = groups.into_iter();
        if let Some(whole) = groups.next() {
            match self.conditions.first_mut() {
                Some(first) => *first = whole,
                None => self.conditions.push(whole),
            }
        }
        self.conditions.extend(groups);
    }
}

/// A header's value as bytes: nothing in it ends the line, and no blank stands at its ends.
fn on_the_wire(text: &str, latin: bool) -> Vec<u8> {
    let plain: String =
        text.chars().map(|c| if c.is_ascii_control() && c != '\t' { ' ' } else { c }).collect();
    let plain = plain.trim_matches([' ', '\t']);
    let bytes = || plain.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>();
    latin.then(bytes).flatten().unwrap_or_else(|| plain.as_bytes().to_owned())
}
