//! THE LANGUAGE: rewrite rules as IIS's URL Rewrite module understands them.
//!
//! ```text
//!   web.config, <rewrite>, <rules>
//!      | parse          RuleSet: the model, every attribute checked
//!      | Engine         patterns compiled, inputs resolved
//!      v
//!   Request ----------> Verdict
//!   Response ---------> OutboundVerdict
//!      | translate      the same rules as another server's configuration, exact or refused
//! ```
//!
//! Everything here is pure: text and bytes come in, values come out. Evaluation is total and bounded
//! (see [`EngineLimits`]). What is not here: editing IIS's own files, sockets, files, time, the bodies of
//! requests and responses.

pub mod engine;
pub mod exact;
pub mod function;
pub mod model;
pub mod parse;
pub mod pattern;
pub mod reads;
pub mod request;
pub mod response;
mod template;
pub mod translate;
mod variable;
pub mod wildcard;

pub use engine::{CompileError, Engine, EngineLimits, HeaderChange, OutboundVerdict, Outcome, Verdict};
pub use model::{
    Action, Condition, Conditions, Grouping, Level, MatchType, MatchUrl, OutboundAction, OutboundRule,
    OutboundSubject, PatternSyntax, PreCondition, RedirectType, RewriteMap, Rule, RuleSet, SetVariable,
};
pub use parse::{LevelText, ParseError};
pub use pattern::Budget;
pub use request::{Connection, HeadError, Request};
pub use response::Response;
