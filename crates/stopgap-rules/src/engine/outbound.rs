//! Rules for responses: which headers a response gets, loses, or has with another value. Pure and total, as
//! for requests; bodies are never looked at.
//!
//! Order, as in IIS: a rule's precondition, then its match, then its conditions, then its action. Every rule
//! sees what the rules before it have left; `stopProcessing` ends the evaluation where the rule matched.
//!
//! Choices where IIS's documentation is silent:
//! - a Rewrite replaces the whole value, not the part that matched, and one that leaves nothing removes the
//!   header;
//! - several headers of one name are one value, joined by `, `, and become one header when it is rewritten.
//!   `Set-Cookie` cannot be joined (RFC 9110 section 5.3): there, a rule looks at each line by itself, and so
//!   do its precondition and conditions;
//! - control characters in a new value become blanks (RFC 9110 section 5.5), blanks at its ends are dropped.
//!   A value that is not UTF-8 is read, and written back, as ISO 8859-1.

mod compile;
mod evaluate;

pub(super) use compile::{Program, compile};
pub(super) use evaluate::evaluate;

/// What becomes of a response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutboundVerdict {
    /// The headers that are other than the response had them, each name once, in the order in which rules
    /// first changed them.
    pub headers: Vec<HeaderChange>,
    /// The rules that rewrote a header, or ended the evaluation, in order, each once.
    pub rules: Vec<String>,
    /// The rule at which a bound was reached: nothing is changed then, and the response must not be sent,
    /// since what protects it is missing. Whoever asked counts it.
    pub over_limit: Option<String>,
}

/// One header's new state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderChange {
    /// Its name, as the response spells it; where it has none, as the rule does, with dashes.
    pub name: String,
    /// All lines of this name that the response has now: one, or several of `Set-Cookie`, or none, where it
    /// is removed. Without CR, LF, NUL and other control characters but the tab.
    pub values: Vec<Vec<u8>>,
}
