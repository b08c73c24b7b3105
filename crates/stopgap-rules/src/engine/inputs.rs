//! The inputs of conditions. One that says the same for every rule (it captures nothing) is *shared*: its text
//! is made at most once per request, until a rule changes what it is made of.

use crate::template::{Part, Template};
use crate::variable::Variable;
use std::collections::HashMap;

/// The decoded path, which is what `match url` sees a part of: always the first of the shared inputs.
pub(super) const PATH: usize = 0;

/// What a condition looks at.
#[derive(Debug)]
pub(super) enum Input {
    /// The place among the shared inputs.
    Shared(usize),
    /// With back-references: made for this condition alone.
    Own(Template),
}

impl Input {
    /// The template, where it is this condition's own.
    pub(super) fn own(&self) -> Option<&Template> {
        match self {
            Input::Shared(_) => None,
            Input::Own(template) => Some(template),
        }
    }

    /// The place, where it is shared.
    pub(super) fn shared(&self) -> Option<usize> {
        match self {
            Input::Shared(at) => Some(*at),
            Input::Own(_) => None,
        }
    }
}

/// A shared input.
#[derive(Debug)]
pub(super) enum Shared {
    /// The decoded path.
    Path,
    /// Without back-references.
    Template(Template),
}

impl Shared {
    /// Whether a Rewrite changes its text.
    pub(super) fn follows_rewrite(&self) -> bool {
        match self {
            Shared::Path => true,
            Shared::Template(template) => {
                template.any(&|part| matches!(part, Part::Variable(variable) if variable.follows_rewrite()))
            }
        }
    }

    /// Whether its text changes with this variable.
    pub(super) fn reads(&self, set: &Variable) -> bool {
        match self {
            Shared::Path => false,
            Shared::Template(template) => {
                template.any(&|part| matches!(part, Part::Variable(variable) if variable == set))
            }
        }
    }
}

/// The shared inputs of a rule set, as they are met.
#[derive(Debug)]
pub(super) struct Inputs {
    shared: Vec<Shared>,
    known: HashMap<String, usize>,
}

impl Inputs {
    pub(super) fn new() -> Inputs {
        Inputs { shared: vec![Shared::Path], known: HashMap::new() }
    }

    /// The input of this text, parsed where it is met for the first time.
    pub(super) fn input<E>(
        &mut self,
        text: &str,
        parse: impl FnOnce(&str) -> Result<Template, E>,
    ) -> Result<Input, E> {
        if let Some(at) = self.known.get(text) {
            return Ok(Input::Shared(*at));
        }
        let template = parse(text)?;
        if template.any(&|part| matches!(part, Part::Rule(_) | Part::Condition(_))) {
            return Ok(Input::Own(template));
        }
        self.known.insert(text.to_owned(), self.shared.len());
        self.shared.push(Shared::Template(template));
        Ok(Input::Shared(self.shared.len() - 1))
    }

    pub(super) fn finish(self) -> Vec<Shared> {
        self.shared
    }
}
