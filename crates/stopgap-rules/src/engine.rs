//! The engine: a rule set compiled once, asked for a verdict per request. Pure and total: no request can make
//! it fail, and the work per request is bounded by [`EngineLimits::steps`] and by the length of a text that
//! rules make (1 MiB; a longer one counts as over the limit).
//!
//! Order, as in IIS: a rule's `match url`, then its conditions, then its server variables, then its action.
//! Redirect, CustomResponse and AbortRequest end the evaluation; a Rewrite changes what later rules see;
//! `stopProcessing` ends it where the rule matched.
//!
//! A rule that stands at a level sees only requests for what lies there (see [`crate::Level`]).
//!
//! Choices where IIS's documentation is silent: after a Rewrite, `REQUEST_URI` and `UNENCODED_URL` stay as
//! received while `URL`, `PATH_INFO`, `QUERY_STRING`, `REQUEST_FILENAME` and `match url` see the new address,
//! which is not decoded a second time; a missing variable, group or map entry is the empty string.

mod compile;
mod evaluate;
mod inputs;
mod level;
mod matcher;
mod outbound;
mod prefilter;
mod verdict;

pub use compile::CompileError;
pub use outbound::{HeaderChange, OutboundVerdict};
pub use verdict::{Outcome, Verdict};

use crate::model::RuleSet;
use crate::pattern::{Budget, PatternLimits};
use crate::request::Request;
use crate::response::Response;
use evaluate::Mode;

/// The bounds of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineLimits {
    /// Rules in one engine.
    pub rules: usize,
    /// Steps for one request, all rules together; about 5 ns each. Those of the backtracking matcher count one
    /// by one; what is made or searched in linear time counts one for every 16 bytes, which for patterns
    /// without back-references is all. A request that needs more is refused by the rule that was being matched.
    pub steps: u64,
    /// The bounds of one pattern.
    pub pattern: PatternLimits,
}

impl Default for EngineLimits {
    fn default() -> Self {
        EngineLimits { rules: 10_000, steps: 4_000_000, pattern: PatternLimits::default() }
    }
}

/// A compiled rule set. Shared between threads.
#[derive(Debug)]
pub struct Engine {
    program: compile::Program,
    outbound: outbound::Program,
    steps: u64,
}

impl Engine {
    /// Compiles every enabled rule. An empty set gives an engine that lets everything pass.
    ///
    /// # Errors
    /// [`CompileError`]: the rule, the part of it, the reason. One bad rule refuses the set.
    pub fn compile(rules: &RuleSet, limits: &EngineLimits) -> Result<Engine, CompileError> {
        Engine::build(rules, limits, None)
    }

    /// The same after a change of the rules: patterns that `earlier` has, too, are not read again, and those of
    /// them that its requests have made it prepare stay prepared. What comes out says what [`Engine::compile`]
    /// would say; `earlier` goes on as it is.
    ///
    /// # Errors
    /// As for [`Engine::compile`].
    pub fn compile_after(
        earlier: &Engine,
        rules: &RuleSet,
        limits: &EngineLimits,
    ) -> Result<Engine, CompileError> {
        Engine::build(rules, limits, Some(earlier))
    }

    fn build(
        rules: &RuleSet,
        limits: &EngineLimits,
        earlier: Option<&Engine>,
    ) -> Result<Engine, CompileError> {
        let program = compile::compile(rules, limits, earlier.map(|earlier| &earlier.program))?;
        Ok(Engine { program, outbound: outbound::compile(rules, limits)?, steps: limits.steps })
    }

    /// What the rules say to this request.
    pub fn evaluate(&self, request: &Request) -> Verdict {
        evaluate::evaluate(&self.program, request, &mut Budget::new(self.steps), Mode::Filtered)
    }

    /// The same, rule by rule, with nothing left out and nothing remembered: what `evaluate` must agree with.
    #[doc(hidden)]
    pub fn evaluate_plainly(&self, request: &Request, steps: u64) -> Verdict {
        evaluate::evaluate(&self.program, request, &mut Budget::new(steps), Mode::Plain)
    }

    /// `evaluate`, and the steps that it took.
    #[doc(hidden)]
    pub fn evaluate_counted(&self, request: &Request) -> (Verdict, u64) {
        let mut budget = Budget::new(self.steps);
        let verdict = evaluate::evaluate(&self.program, request, &mut budget, Mode::Filtered);
        (verdict, self.steps - budget.left())
    }

    /// The names of the enabled rules that every request is compared with, in order. Any other rule has a
    /// text of two or more characters without which it cannot match, and costs nothing where that is absent.
    pub fn rules_without_literal(&self) -> impl Iterator<Item = &str> {
        let name = |at: usize| self.program.rules.get(at).map(|rule| rule.name.as_str());
        self.program.prefilter.unguarded().iter().filter_map(name)
    }

    /// What the outbound rules say to the response to a request that no inbound rule has changed.
    pub fn outbound(&self, request: &Request, response: &Response) -> OutboundVerdict {
        self.outbound_after(request, &Verdict::default(), response)
    }

    /// The same where [`Engine::evaluate`] gave this verdict: the variables that inbound rules set, and the
    /// address that they gave the request, are seen by outbound rules, too.
    pub fn outbound_after(
        &self,
        request: &Request,
        inbound: &Verdict,
        response: &Response,
    ) -> OutboundVerdict {
        outbound::evaluate(&self.outbound, &self.program.maps, request, inbound, response, self.steps)
    }

    /// Whether an outbound rule is enabled: without one, no response needs to be looked at.
    pub fn has_outbound(&self) -> bool {
        self.outbound_len() > 0
    }

    /// How many outbound rules are enabled.
    pub fn outbound_len(&self) -> usize {
        self.outbound.len()
    }

    /// How many inbound rules are enabled.
    pub fn len(&self) -> usize {
        self.program.rules.len()
    }

    /// Whether no inbound rule is enabled.
    pub fn is_empty(&self) -> bool {
        self.program.rules.is_empty()
    }
}
