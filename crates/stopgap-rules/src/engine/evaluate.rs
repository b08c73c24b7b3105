//! One request through the rules.

use super::compile::{CompiledAction, CompiledRule, Program};
use super::inputs::{self, Input, Shared};
use super::level;
use super::matcher::{Groups, Matcher};
use super::prefilter::Found;
use super::verdict::{Outcome, Verdict};
use crate::function::{Function, percent, url_decode};
use crate::model::Grouping;
use crate::pattern::{Budget, OverLimit};
use crate::request::{Request, same_header};
use crate::template::{Part, Template};
use crate::variable::Variable;
use std::borrow::Cow;
use std::cell::Cell;

/// How rules are gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Those that can match.
    Filtered,
    /// All of them, with every text made anew: what the other way must agree with.
    Plain,
}

pub(super) fn evaluate<'r>(
    program: &Program,
    request: &'r Request<'r>,
    budget: &mut Budget,
    mode: Mode,
) -> Verdict {
    let found = match mode {
        Mode::Filtered => Found::new(&program.prefilter),
        Mode::Plain => Found::all(program.rules.len()),
    };
    let mut state = State {
        program,
        request,
        mode,
        texts: program.inputs.iter().map(|_| None).collect(),
        found,
        rewritten: None,
        set: Vec::new(),
        inner: Cell::new(0),
        budget,
    };
    let mut verdict = Verdict::default();
    let mut from = 0;
    let done = state.scan(from, |_| true).and_then(|()| {
        while let Some(at) = state.found.rules.next(from)
            && let Some(rule) = program.rules.get(at)
        {
            from = at;
            if matches!(state.rule(at, rule, &mut verdict)?, Next::End) {
                break;
            }
            from = at + 1;
        }
        Ok(())
    });
    if let Err(OverLimit) = done {
        return Verdict {
            action: Outcome::AbortRequest,
            rule: program.rules.get(from).map(|rule| rule.name.clone()),
            over_limit: true,
            ..Verdict::default()
        };
    }
    verdict
}

/// Bytes of a text that a template makes. Rules can feed each other, and a text that each of them doubles
/// would soon fill the memory.
const MAX_TEXT: usize = 1024 * 1024;

fn bounded(text: String) -> Result<String, OverLimit> {
    if text.len() > MAX_TEXT { Err(OverLimit) } else { Ok(text) }
}

enum Next {
    Rule,
    End,
}

/// The address after a Rewrite: no longer encoded.
struct Rewritten {
    path: String,
    query: String,
}

struct State<'p, 'r> {
    program: &'p Program,
    request: &'r Request<'r>,
    mode: Mode,
    /// The texts of the shared inputs, as far as they were needed and still hold.
    texts: Vec<Option<Cow<'r, str>>>,
    /// What the rules can still match.
    found: Found,
    rewritten: Option<Rewritten>,
    /// Variables that rules have set.
    set: Vec<(Variable, String)>,
    /// Bytes that were made within a text, for functions and maps, and are not counted yet.
    inner: Cell<usize>,
    budget: &'r mut Budget,
}

/// What back-references of one rule refer to.
#[derive(Default)]
struct Captured {
    rule: Groups,
    conditions: Groups,
}

impl<'p, 'r> State<'p, 'r> {
    fn rule(&mut self, at: usize, rule: &'p CompiledRule, verdict: &mut Verdict) -> Result<Next, OverLimit> {
        let mut captured = Captured::default();
        self.make(inputs::PATH)?;
        let path = self.texts.get(inputs::PATH).and_then(Option::as_deref).unwrap_or("/");
        let Some(seen) = level::below(path, &rule.level) else { return Ok(Next::Rule) };
        let found = matches(self.mode, &rule.url, seen, self.budget)?;
        if found.is_some() == rule.url_negate {
            return Ok(Next::Rule);
        }
        captured.rule = found.unwrap_or_default();
        if !self.conditions(rule, &mut captured)? {
            return Ok(Next::Rule);
        }
        for set in &rule.set {
            let taken = !self.variable(&set.variable).is_empty();
            if set.replace || !taken {
                let value = bounded(self.text(&set.value, &captured)?.into_owned())?;
                self.made(value.len())?;
                // It is compared with each of these.
                self.budget.spend(self.set.len())?;
                verdict.headers.retain(|name, _| !same_header(name, &set.name));
                verdict.headers.insert(set.name.clone(), value.clone());
                self.set.retain(|(variable, _)| *variable != set.variable);
                self.set.push((set.variable.clone(), value));
                self.scan(at + 1, |input| input.reads(&set.variable))?;
            }
        }
        let decided = |verdict: &mut Verdict, action| {
            verdict.action = action;
            verdict.rule = Some(rule.name.clone());
        };
        let stop = if rule.stop { Next::End } else { Next::Rule };
        match &rule.action {
            CompiledAction::None => {
                // What an earlier rule rewrote stays rewritten, and stays that rule's.
                if rule.stop && verdict.action == Outcome::None {
                    decided(verdict, Outcome::None);
                }
                Ok(stop)
            }
            CompiledAction::Rewrite { url, append } => {
                let address = self.address(rule, url, *append, &captured)?;
                let (path, query) = address.split_once('?').unwrap_or((&address, ""));
                self.rewritten = Some(Rewritten { path: path.to_owned(), query: query.to_owned() });
                self.scan(at + 1, Shared::follows_rewrite)?;
                verdict.url = Some(on_the_wire(&address));
                decided(verdict, Outcome::Rewrite);
                Ok(stop)
            }
            CompiledAction::Redirect { url, append, status } => {
                verdict.url = Some(on_the_wire(&self.address(rule, url, *append, &captured)?));
                verdict.status = Some(*status);
                decided(verdict, Outcome::Redirect);
                Ok(Next::End)
            }
            CompiledAction::CustomResponse { status, substatus, reason, description } => {
                verdict.url = None;
                verdict.status = Some(*status);
                verdict.substatus = Some(*substatus);
                verdict.reason.clone_from(reason);
                verdict.description.clone_from(description);
                decided(verdict, Outcome::CustomResponse);
                Ok(Next::End)
            }
            CompiledAction::AbortRequest => {
                verdict.url = None;
                decided(verdict, Outcome::AbortRequest);
                Ok(Next::End)
            }
        }
    }

    fn conditions(&mut self, rule: &'p CompiledRule, captured: &mut Captured) -> Result<bool, OverLimit> {
        if rule.conditions.is_empty() {
            return Ok(true);
        }
        for condition in &rule.conditions {
            let found = match &condition.input {
                Input::Own(template) => {
                    let text = self.text(template, captured)?;
                    self.made(text.len())?;
                    matches(self.mode, &condition.matcher, &text, self.budget)?
                }
                Input::Shared(at) => {
                    self.make(*at)?;
                    let text = self.texts.get(*at).and_then(Option::as_deref).unwrap_or_default();
                    matches(self.mode, &condition.matcher, text, self.budget)?
                }
            };
            let holds = found.is_some() != condition.negate;
            if let Some(groups) = found.filter(|_| holds) {
                if rule.track_all {
                    // {C:0} is the last whole match; {C:1} and up count through every matched condition.
                    let mut groups = groups.into_iter();
                    if let Some(whole) = groups.next() {
                        match captured.conditions.first_mut() {
                            Some(first) => *first = whole,
                            None => captured.conditions.push(whole),
                        }
                    }
                    captured.conditions.extend(groups);
                } else {
                    captured.conditions = groups;
                }
            }
            match (rule.grouping, holds) {
                (Grouping::MatchAll, false) => return Ok(false),
                (Grouping::MatchAny, true) => return Ok(true),
                _ => {}
            }
        }
        Ok(rule.grouping == Grouping::MatchAll)
    }

    /// Looks again at the inputs that have changed, for the rules from here on.
    fn scan(&mut self, from: usize, changed: impl Fn(&Shared) -> bool) -> Result<(), OverLimit> {
        let program = self.program;
        self.budget.spend(program.inputs.len() / 4)?;
        for (text, input) in self.texts.iter_mut().zip(&program.inputs) {
            if changed(input) {
                *text = None;
            }
        }
        if self.mode == Mode::Plain {
            return Ok(());
        }
        for (at, last) in program.prefilter.inputs() {
            if last >= from && self.texts.get(at).is_some_and(Option::is_none) {
                self.make(at)?;
                let text = self.texts.get(at).and_then(Option::as_deref).unwrap_or_default();
                program.prefilter.scan(at, text, &mut self.found, self.budget)?;
            }
        }
        Ok(())
    }

    /// Makes the text of a shared input, unless it is there.
    fn make(&mut self, at: usize) -> Result<(), OverLimit> {
        if self.mode == Mode::Filtered && self.texts.get(at).is_some_and(Option::is_some) {
            return Ok(());
        }
        let text = match self.program.inputs.get(at) {
            Some(Shared::Path) | None => self.path(),
            Some(Shared::Template(template)) => self.text(template, &Captured::default())?,
        };
        self.budget.spend(1)?;
        self.made(text.len())?;
        if let Some(cell) = self.texts.get_mut(at) {
            *cell = Some(text);
        }
        Ok(())
    }

    fn path(&self) -> Cow<'r, str> {
        match &self.rewritten {
            Some(rewritten) => Cow::Owned(rewritten.path.clone()),
            None => self.request.path(),
        }
    }

    fn variable(&self, variable: &Variable) -> Cow<'r, str> {
        if let Some((_, value)) = self.set.iter().find(|(set, _)| set == variable) {
            return Cow::Owned(value.clone());
        }
        match (&self.rewritten, variable) {
            (Some(new), Variable::QueryString) => Cow::Owned(new.query.clone()),
            (Some(new), Variable::Url) => Cow::Owned(new.path.clone()),
            (Some(new), Variable::RequestFilename) => {
                Cow::Owned(format!("{}{}", self.request.connection().physical_root, new.path))
            }
            _ => variable.of(self.request),
        }
    }

    fn text(&self, template: &Template, captured: &Captured) -> Result<Cow<'r, str>, OverLimit> {
        // Most templates are one part; it is borrowed from the request.
        match template.parts.as_slice() {
            [part] => self.part(part, captured),
            parts => {
                let mut text = String::new();
                for part in parts {
                    text.push_str(&self.part(part, captured)?);
                    text = bounded(text)?;
                }
                Ok(Cow::Owned(text))
            }
        }
    }

    fn part(&self, part: &Part, captured: &Captured) -> Result<Cow<'r, str>, OverLimit> {
        let group = |groups: &Groups, n: usize| Cow::Owned(groups.get(n).cloned().unwrap_or_default());
        Ok(match part {
            Part::Text(text) => Cow::Owned(text.clone()),
            Part::Variable(variable) => self.variable(variable),
            Part::Rule(n) => group(&captured.rule, *n),
            Part::Condition(n) => group(&captured.conditions, *n),
            Part::Function(function, inner) => match (function, self.on_wire(inner)) {
                (Function::UrlDecode, Some(raw)) => url_decode::apply_raw(raw),
                _ => function.apply(&self.within(inner, captured)?),
            },
            Part::Map(map, key) => {
                let key = self.within(key, captured)?;
                let value = self.program.maps.get(*map).map(|map| map.get(&key)).unwrap_or_default();
                Cow::Owned(value.to_owned())
            }
        })
    }

    /// A text that another one is made of.
    fn within(&self, template: &Template, captured: &Captured) -> Result<Cow<'r, str>, OverLimit> {
        let text = self.text(template, captured)?;
        self.inner.set(self.inner.get().saturating_add(text.len()));
        Ok(text)
    }

    /// Counts a text that was made, and what was made within it.
    fn made(&mut self, bytes: usize) -> Result<(), OverLimit> {
        self.budget.spend(self.inner.take().saturating_add(bytes) / 16)
    }

    /// The bytes of a single variable that no rule has changed.
    fn on_wire(&self, template: &Template) -> Option<Cow<'r, [u8]>> {
        let [Part::Variable(variable)] = template.parts.as_slice() else { return None };
        let changed = (self.rewritten.is_some() && variable.follows_rewrite())
            || self.set.iter().any(|(set, _)| set == variable);
        if changed { None } else { variable.raw(self.request) }
    }

    /// The address of a Rewrite or Redirect: relative to the root of the level, with the query string behind
    /// its own where that is wanted.
    fn address(
        &mut self,
        rule: &CompiledRule,
        template: &Template,
        append: bool,
        captured: &Captured,
    ) -> Result<String, OverLimit> {
        let mut address = self.text(template, captured)?.into_owned();
        if !address.starts_with('/') && !is_absolute(&address) {
            address.insert_str(0, &level::root(&rule.level));
        }
        let query = self.variable(&Variable::QueryString);
        if append && !query.is_empty() {
            address.push(if address.contains('?') { '&' } else { '?' });
            address.push_str(&query);
        }
        self.made(address.len())?;
        bounded(address)
    }
}

fn matches(
    mode: Mode,
    matcher: &Matcher,
    text: &str,
    budget: &mut Budget,
) -> Result<Option<Groups>, OverLimit> {
    match mode {
        Mode::Filtered => matcher.matches(text, budget),
        Mode::Plain => matcher.matches_plainly(text, budget),
    }
}

fn is_absolute(address: &str) -> bool {
    address.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

/// A captured line break must not become a header of its own.
fn on_the_wire(address: &str) -> String {
    percent::encode(address, |b| b.is_ascii_graphic()).into_owned()
}
