//! Why a pattern is refused, and why a match was not finished.

/// The step limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pattern needed more steps than a request may take")]
pub struct OverLimit;

/// A refused pattern. Places are characters, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Too many characters.
    #[error("the pattern has {found} characters; at most {limit} are compiled")]
    TooLong {
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many capturing groups.
    #[error("the pattern has more than {limit} groups")]
    TooManyGroups {
        /// The limit.
        limit: u32,
    },
    /// Nested too deeply.
    #[error("character {at}: the pattern nests deeper than {limit}")]
    TooDeep {
        /// The first that is too deep.
        at: usize,
        /// The limit.
        limit: u32,
    },
    /// Too large once repetitions are written out.
    #[error("the pattern has {found} nodes once repetitions are written out; at most {limit} are compiled")]
    TooLarge {
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// ECMA-262 has no such pattern.
    #[error("character {at}: {found}; expected {expected}")]
    Syntax {
        /// The place.
        at: usize,
        /// What stands there.
        found: String,
        /// What could.
        expected: &'static str,
    },
    /// `(?<=`, `(?<!`.
    #[error("character {at}: look-behind is not in IIS's pattern language (ECMAScript 3)")]
    LookBehind {
        /// The place.
        at: usize,
    },
    /// `(?<name>`.
    #[error("character {at}: named groups are not in IIS's pattern language (ECMAScript 3)")]
    NamedGroup {
        /// The place.
        at: usize,
    },
    /// The linear engine refused it; a bound of ours should have come first.
    #[error("the pattern is too large to compile: {message}")]
    Engine {
        /// What it said.
        message: String,
    },
}

impl PatternError {
    /// A stable word for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            PatternError::TooLong { .. } => "pattern-too-long",
            PatternError::TooManyGroups { .. } => "pattern-too-many-groups",
            PatternError::TooDeep { .. } => "pattern-too-deep",
            PatternError::TooLarge { .. } => "pattern-too-large",
            PatternError::Syntax { .. } => "pattern-syntax",
            PatternError::LookBehind { .. } => "pattern-look-behind",
            PatternError::NamedGroup { .. } => "pattern-named-group",
            PatternError::Engine { .. } => "pattern-engine",
        }
    }
}
