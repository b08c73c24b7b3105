//! One matcher for the three pattern syntaxes.

use crate::model::PatternSyntax;
use crate::pattern::{Budget, OverLimit, Pattern, PatternError, PatternLimits};
use crate::{exact, wildcard};

/// A compiled pattern, and whether anybody reads what it captured.
#[derive(Debug)]
pub(super) struct Matcher {
    pattern: Pattern,
    captures: bool,
}

/// What a pattern captured: the whole match, then the groups; empty where a group took no part.
pub(super) type Groups = Vec<String>;

impl Matcher {
    pub(super) fn compile(
        text: &str,
        syntax: PatternSyntax,
        ignore_case: bool,
        captures: bool,
        limits: &PatternLimits,
    ) -> Result<Matcher, PatternError> {
        let pattern = match syntax {
            PatternSyntax::EcmaScript => Pattern::compile(text, ignore_case, limits),
            PatternSyntax::Wildcard => wildcard::compile(text, ignore_case, limits),
            PatternSyntax::ExactMatch => exact::compile(text, ignore_case, limits),
        }?;
        Ok(Matcher { pattern, captures })
    }

    /// Nothing: no match. The groups are empty where nobody reads them.
    pub(super) fn matches(&self, text: &str, budget: &mut Budget) -> Result<Option<Groups>, OverLimit> {
        if !self.captures {
            return Ok(self.pattern.is_match(text, budget)?.then(Groups::new));
        }
        let Some(groups) = self.pattern.captures(text, budget)? else { return Ok(None) };
        let taken = |range: Option<std::ops::Range<usize>>| {
            range.and_then(|range| text.get(range)).unwrap_or_default().to_owned()
        };
        Ok(Some(groups.into_iter().map(taken).collect()))
    }
}
