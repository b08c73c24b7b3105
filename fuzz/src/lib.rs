//! What is fuzzed: one plain function a target, which panics where something is wrong. `src/bin/NAME.rs` hands
//! it to libFuzzer, `seeds/NAME/` holds the inputs to begin with and every input that once found a fault,
//! `dictionaries/NAME.dict` (where there is one) the words to try.
//!
//! A new target is a module here and three lines in `src/bin`; `cargo xtask fuzz` finds it there.

mod asn1;
mod dice;
mod engine_differential;
mod feed_c14n;
mod feed_certificate;
mod feed_document;
mod feed_token;
mod fixtures;
#[cfg(libxml2)]
mod libxml2;
#[path = "../../crates/stopgap-rules/tests/common/made.rs"]
mod made;
mod memory;
mod request_head;
mod rule_text;

pub use engine_differential::engine_differential;
pub use feed_c14n::feed_c14n;
pub use feed_certificate::feed_certificate;
pub use feed_document::feed_document;
pub use feed_token::feed_token;
pub use request_head::request_head;
pub use rule_text::rule_text;

use dice::Dice;

/// Says once that a target does nothing here; in CI, where everything must be there, that is a failure.
#[cfg(not(libxml2))]
fn skip(reason: &str, target: &str) {
    static SAID: std::sync::Once = std::sync::Once::new();
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}, which CI must have: {target}");
    SAID.call_once(|| eprintln!("skipped ({reason}): {target}"));
}
