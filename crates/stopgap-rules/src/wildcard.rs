//! `patternSyntax="Wildcard"`: the whole string, `*` for any characters (none, and line breaks, too), each
//! captured in order as `{R:1}`, `{R:2}`. Everything else stands for itself. Where several divisions fit,
//! the first `*` takes as much as it can.

use crate::pattern::ast::{Assertion, CharSet, Node};
use crate::pattern::{Pattern, PatternError, PatternLimits};

/// Compiles a wildcard.
///
/// # Errors
/// [`PatternError`] where it is too long or has too many `*`.
pub fn compile(text: &str, ignore_case: bool, limits: &PatternLimits) -> Result<Pattern, PatternError> {
    Pattern::from_node(node(text, ignore_case, limits)?, limits)
}

/// The same as a pattern: anchored at both ends.
pub(crate) fn node(text: &str, ignore_case: bool, limits: &PatternLimits) -> Result<Node, PatternError> {
    limits.check_length(text)?;
    let mut nodes = vec![Node::Assert(Assertion::Start)];
    let mut groups = 0u32;
    for char in text.chars() {
        if char == '*' {
            groups += 1;
            limits.check_groups(groups)?;
            let any =
                Node::Repeat { node: Box::new(Node::Set(CharSet::any())), min: 0, max: None, greedy: true };
            nodes.push(Node::Group { index: Some(groups), node: Box::new(any) });
        } else {
            nodes.push(Node::Set(CharSet::one(char, ignore_case)));
        }
    }
    nodes.push(Node::Assert(Assertion::End));
    Ok(Node::Concat(nodes))
}
