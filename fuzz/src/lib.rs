//! What is fuzzed: one plain function a target, which panics where something is wrong. `src/bin/NAME.rs` hands
//! it to libFuzzer, `seeds/NAME/` holds the inputs to begin with and every input that once found a fault,
//! `dictionaries/NAME.dict` (where there is one) the words to try.
//!
//! A new target is a module here and three lines in `src/bin`; `cargo xtask fuzz` finds it there.

mod dice;
mod engine_differential;
#[path = "../../crates/stopgap-rules/tests/common/made.rs"]
mod made;
mod request_head;
mod rule_text;

pub use engine_differential::engine_differential;
pub use request_head::request_head;
pub use rule_text::rule_text;

use dice::Dice;
