//! ECMAScript patterns, to the letter: ECMA-262 `RegExp` without flags but `i`, with Annex B.
//!
//! ```text
//!   text --parser--> Node --+-- chain    `a.*b`, `(?=.*a)(?=.*b)`: a few linear searches
//!                           +-- linear   no look-around, no back-reference: the `regex` crate
//!                           +-- vm       everything else: a backtracking matcher that counts its steps
//! ```
//!
//! The first two are linear in the input whatever the pattern. The matcher remembers the states that have
//! failed, which makes it linear, too, but for back-references and repetitions of something that can be
//! empty; there the step limit ends it.
//!
//! Where this differs from a browser:
//! - Characters are code points, not UTF-16 units: `.` takes a whole emoji. A pair of surrogate escapes is
//!   one character; a lone one matches nothing.
//! - Look-behind and named groups are refused: IIS's engine, which is that of ECMAScript 3, has neither.
//!
//! A pattern is searched, not anchored.

pub(crate) mod ast;
pub(crate) mod chain;
mod char_set;
mod error;
mod fold;
mod linear;
pub(crate) mod literal;
// Without a browser's engine to ask it shows little, and there is none under Wine.
#[cfg(test)]
#[cfg(not(windows))]
mod oracle;
mod parser;
mod vm;

pub use error::{OverLimit, PatternError};

use ast::Node;
pub(crate) use parser::Room;
use std::ops::Range;

/// The bounds of one pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternLimits {
    /// Characters of its text.
    pub length: usize,
    /// Capturing groups.
    pub groups: u32,
    /// Groups, look-aheads and repetitions within each other.
    pub depth: u32,
    /// Nodes once counted repetitions are written out: `(a{100}){100}` has 10,000.
    pub size: usize,
}

impl Default for PatternLimits {
    fn default() -> Self {
        PatternLimits { length: 4_096, groups: 99, depth: 50, size: 20_000 }
    }
}

impl PatternLimits {
    /// Those of a pattern that finds a version in a line of a file (a feed's `Detect`): short, with a group or
    /// two. Agent and linter ask the same.
    pub fn for_version() -> Self {
        PatternLimits { length: 512, groups: 8, depth: 16, size: 4_000 }
    }

    pub(crate) fn check_length(&self, text: &str) -> Result<(), PatternError> {
        let found = text.chars().count();
        if found > self.length {
            return Err(PatternError::TooLong { found, limit: self.length });
        }
        Ok(())
    }

    pub(crate) fn check_groups(&self, found: u32) -> Result<(), PatternError> {
        if found > self.groups {
            return Err(PatternError::TooManyGroups { limit: self.groups });
        }
        Ok(())
    }
}

/// The steps that are left: one budget for all patterns of a request. The backtracking matcher
/// takes them; the engine takes one for every 16 bytes that are searched in linear time.
#[derive(Debug)]
pub struct Budget {
    left: u64,
    compiles: u32,
}

/// Patterns that one request may have compiled; see [`Budget::may_compile`].
const COMPILES: u32 = 16;

impl Budget {
    /// A full budget.
    pub fn new(steps: u64) -> Budget {
        Budget { left: steps, compiles: COMPILES }
    }

    /// Whether a pattern that is met for the first time may be compiled for good. Past 16 of them in one
    /// request, the matcher that needs little preparation runs it instead, and counts its steps.
    pub(crate) fn may_compile(&mut self) -> bool {
        let left = self.compiles.checked_sub(1);
        self.compiles = left.unwrap_or(0);
        left.is_some()
    }

    /// What is left of it.
    pub fn left(&self) -> u64 {
        self.left
    }

    fn step(&mut self) -> Result<(), OverLimit> {
        self.spend(1)
    }

    pub(crate) fn spend(&mut self, steps: usize) -> Result<(), OverLimit> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(steps).ok_or(OverLimit)?;
        Ok(())
    }
}

/// Where the whole match, and each group, lies in the input; nothing for a group that took no part.
pub type Captures = Vec<Option<Range<usize>>>;

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    /// Answers whether there is a match.
    test: Test,
    /// Answers where it is.
    find: Find,
}

#[derive(Debug)]
enum Test {
    Chain(chain::Matcher),
    Linear,
    Vm,
}

#[derive(Debug)]
enum Find {
    Linear(linear::Linear),
    /// `regex` decides whether, the matcher where: the two disagree on what a repeated group captured.
    Both(linear::Linear, vm::Program),
    Vm(vm::Program),
}

impl Pattern {
    /// Compiles an ECMAScript pattern.
    ///
    /// # Errors
    /// [`PatternError`]: what is wrong, and at which character.
    pub fn compile(text: &str, ignore_case: bool, limits: &PatternLimits) -> Result<Pattern, PatternError> {
        Pattern::from_node(parser::parse(text, ignore_case, limits)?, limits)
    }

    pub(crate) fn from_node(node: Node, limits: &PatternLimits) -> Result<Pattern, PatternError> {
        let size = node.size();
        if size > limits.size {
            return Err(PatternError::TooLarge { found: size, limit: limits.size });
        }
        if node.is_regular() {
            let linear = linear::Linear::compile(&node)?;
            let find = if node.has_plain_captures() {
                Find::Linear(linear)
            } else {
                Find::Both(linear, vm::Program::compile(&node))
            };
            return Ok(Pattern { test: Test::Linear, find });
        }
        let test = match chain::Chains::of(&node) {
            Ok(chains) => Test::Chain(chain::Matcher::compile(&chains)?),
            Err(_) => Test::Vm,
        };
        Ok(Pattern { test, find: Find::Vm(vm::Program::compile(&node)) })
    }

    /// A pattern that is prepared in a few microseconds: the matcher that counts its steps, for everything.
    pub(crate) fn of_steps(node: &Node) -> Pattern {
        Pattern { test: Test::Vm, find: Find::Vm(vm::Program::compile(node)) }
    }

    /// How often [`Pattern::is_match`] or [`Pattern::captures`] searches a text in linear time.
    pub(crate) fn searches(&self) -> usize {
        match &self.test {
            Test::Chain(chains) => chains.searches(),
            Test::Linear | Test::Vm => 1,
        }
    }

    /// Whether the pattern is found in the text.
    ///
    /// # Errors
    /// [`OverLimit`] where the budget is spent.
    pub fn is_match(&self, text: &str, budget: &mut Budget) -> Result<bool, OverLimit> {
        match (&self.test, &self.find) {
            (Test::Chain(chains), _) => Ok(chains.is_match(text)),
            (_, Find::Linear(linear) | Find::Both(linear, _)) => Ok(linear.is_match(text)),
            (_, Find::Vm(program)) => program.is_match(text, budget),
        }
    }

    /// Where the pattern is found first, and what its groups took.
    ///
    /// # Errors
    /// [`OverLimit`] where the budget is spent.
    pub fn captures(&self, text: &str, budget: &mut Budget) -> Result<Option<Captures>, OverLimit> {
        match &self.find {
            Find::Linear(linear) => Ok(linear.captures(text)),
            Find::Both(linear, program) => {
                if linear.is_match(text) {
                    program.captures(text, budget)
                } else {
                    Ok(None)
                }
            }
            Find::Vm(program) => program.captures(text, budget),
        }
    }
}

/// Whether two characters are equal where case is ignored, as in a pattern: nothing outside ASCII equals a
/// letter of ASCII.
pub(crate) fn same_letter(a: char, b: char) -> bool {
    a == b || fold::canonicalize(a) == fold::canonicalize(b)
}

/// Parses a pattern for a translator, which needs its structure.
pub(crate) fn parse(text: &str, ignore_case: bool, limits: &PatternLimits) -> Result<Node, PatternError> {
    parser::parse(text, ignore_case, limits)
}

/// The same in memory that is used again.
pub(crate) fn parse_in(
    room: &mut Room,
    text: &str,
    ignore_case: bool,
    limits: &PatternLimits,
) -> Result<Node, PatternError> {
    parser::parse_in(room, text, ignore_case, limits)
}
