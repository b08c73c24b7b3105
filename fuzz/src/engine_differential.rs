//! The engine's verdict is that of going through every rule.

use crate::{Dice, made};
use stopgap_rules::{Connection, Engine, EngineLimits, Request};

/// Few enough that a fuzzer's run is not spent on patterns that run into the limit.
const STEPS: u64 = 400_000;

pub fn engine_differential(data: &[u8]) {
    let mut dice = Dice::new(data);
    let (target, headers) = made::request(&mut dice);
    let set = made::set(&mut dice);
    let limits = EngineLimits { steps: STEPS, ..EngineLimits::default() };
    let Ok(engine) = Engine::compile(&set, &limits) else { return };
    let headers = headers.iter().map(|(name, value)| (*name, value.as_slice()));
    let request = Request::new("GET", &target, headers, Connection::default());
    let plain = engine.evaluate_plainly(&request, STEPS);
    if !plain.over_limit {
        assert_eq!(engine.evaluate(&request), plain, "{set:#?}");
    }
}
