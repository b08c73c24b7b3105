//! A linear form as a PCRE2 pattern for HAProxy.
//!
//! HAProxy compiles patterns to machine code (JIT), which has a stack of 32 KB; where it does not suffice, the
//! pattern counts as not found, and the request would pass. So nothing here may leave anything on that stack
//! from one turn of a repetition to the next: every repetition is possessive, and lines are tried one by one
//! by
//!
//! ```text
//!   (?: (X) | (?: line (?!X) )*+ line X )
//! ```
//!
//! where X is what must be found within one line, and stands there once: later it is called as the group
//! before. [`crate::translate::possessive`] writes it.

use super::text::Text;
use crate::pattern::chain::{Conjunction, Gap, Place};
use crate::translate::possessive::{Alphabet, Writer};

/// The pattern, at the beginning of the text; nothing where the conjunction contradicts itself.
pub(super) fn pattern(conjunction: &Conjunction, text: Text) -> Option<String> {
    if conjunction.elements.is_empty() {
        return Some(String::new());
    }
    let head = conjunction.head().ok()?;
    let writer = Writer::new(text, conjunction);
    let found = writer.position(conjunction, head.as_ref()) + &writer.elements(conjunction);
    if conjunction.place != Place::InLine {
        return Some(found);
    }
    let line = writer.gap(Gap::Line, None) + &text.line_terminator();
    Some(format!("(?:({found})|(?:{line}(?!(?-1)))*+{line}(?-1))"))
}
