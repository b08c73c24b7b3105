//! `patternSyntax="ExactMatch"`: the whole string, and nothing stands for anything else. `{R:0}` is all of it.

use crate::pattern::ast::{Assertion, CharSet, Node};
use crate::pattern::{Pattern, PatternError, PatternLimits};

/// Compiles a literal.
///
/// # Errors
/// [`PatternError`] where it is too long.
pub fn compile(text: &str, ignore_case: bool, limits: &PatternLimits) -> Result<Pattern, PatternError> {
    Pattern::from_node(node(text, ignore_case, limits)?, limits)
}

/// The same as a pattern: anchored at both ends.
pub(crate) fn node(text: &str, ignore_case: bool, limits: &PatternLimits) -> Result<Node, PatternError> {
    limits.check_length(text)?;
    let mut nodes = vec![Node::Assert(Assertion::Start)];
    nodes.extend(text.chars().map(|char| Node::Set(CharSet::one(char, ignore_case))));
    nodes.push(Node::Assert(Assertion::End));
    Ok(Node::Concat(nodes))
}
