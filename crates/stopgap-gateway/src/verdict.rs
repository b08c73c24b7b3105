//! The door to the rule language: a rules file compiled, and what it says to a request, in the words
//! of the data path. Nothing else here knows `stopgap-rules`.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};
use ring::digest::{SHA256, digest};
use stopgap_rules::{
    CompileError, Connection, Engine, EngineLimits, Outcome, ParseError, Request, RuleSet, Verdict,
};

use crate::era::Era;

/// A rules file, compiled.
pub(crate) struct RuleBook {
    engine: Option<Engine>,
    /// SHA-256 of the file's octets, in hexadecimal; of nothing, where there is no file.
    pub(crate) hash: String,
    /// Enabled rules.
    pub(crate) rules: usize,
    /// What it lets in.
    pub(crate) era: Arc<Era>,
}

/// Why a rules file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RulesError {
    #[error("the rules file is not UTF-8 (octet {0})")]
    NotText(usize),
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("rule \"{rule}\" sets {variable}, which says where a message ends or how it travels")]
    SetsFraming { rule: String, variable: String },
}

/// Request fields that no rule may set: a rule cannot know the message that it would frame anew.
const FRAMING: [&str; 7] =
    ["connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"];

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It goes on, with another target or other fields where the rules say so.
    Forward(Change),
    /// The client is answered here.
    Respond { rule: String, response: Response },
    /// The connection ends without an answer. `over_limit`: judging it took more steps than a request
    /// may cost.
    Abort { rule: String, over_limit: bool },
    /// A rule matched, and what it asks for cannot be done.
    Impossible { rule: String, problem: &'static str },
}

/// What rules change of a request that goes on.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) target: Option<PathAndQuery>,
    pub(crate) fields: Vec<(HeaderName, HeaderValue)>,
}

/// An answer that a rule gives.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    /// Empty: the usual one.
    pub(crate) reason: String,
    pub(crate) location: Option<HeaderValue>,
    pub(crate) body: String,
}

impl RuleBook {
    /// No rules.
    pub(crate) fn empty() -> RuleBook {
        RuleBook { engine: None, hash: hash(b""), rules: 0, era: Arc::default() }
    }

    /// Parses and compiles. Empty (or blank) bytes are a book without rules.
    pub(crate) fn compile(bytes: &[u8]) -> Result<RuleBook, RulesError> {
        let text = std::str::from_utf8(bytes).map_err(|error| RulesError::NotText(error.valid_up_to()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let engine = match text.trim().is_empty() {
            true => None,
            false => Some(compile(&RuleSet::parse(text)?)?),
        };
        let rules = engine.as_ref().map_or(0, Engine::len);
        let engine = engine.filter(|_| rules > 0);
        Ok(RuleBook { engine, hash: hash(bytes), rules, era: Arc::default() })
    }

    /// What the rules say. `target` is the request target as received.
    pub(crate) fn judge(
        &self,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Decision {
        let Some(engine) = &self.engine else { return Decision::Forward(Change::default()) };
        let connection = Connection {
            remote_addr: peer.ip().to_canonical(),
            server_port: local.port(),
            https: false,
            ..Connection::default()
        };
        let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        decide(engine.evaluate(&Request::new(method.as_str(), target.as_bytes(), fields, connection)))
    }
}

fn hash(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

fn compile(set: &RuleSet) -> Result<Engine, RulesError> {
    for rule in &set.rules {
        for variable in &rule.server_variables {
            if field_name(&variable.name).is_some_and(|name| FRAMING.contains(&name.as_str())) {
                let (rule, variable) = (rule.name.clone(), variable.name.clone());
                return Err(RulesError::SetsFraming { rule, variable });
            }
        }
    }
    Ok(Engine::compile(set, &EngineLimits::default())?)
}

fn decide(verdict: Verdict) -> Decision {
    let rule = verdict.rule.unwrap_or_default();
    let answer = |location, reason, body| {
        let status = verdict.status.and_then(|code| StatusCode::from_u16(code).ok());
        // hyper sends no final answer with a status below 200.
        match status.filter(|status| !status.is_informational()) {
            Some(status) => {
                let response = Response { status, reason, location, body };
                Decision::Respond { rule: rule.clone(), response }
            }
            None => Decision::Impossible { rule: rule.clone(), problem: "its status cannot be sent" },
        }
    };
    match verdict.action {
        Outcome::AbortRequest => Decision::Abort { rule, over_limit: verdict.over_limit },
        Outcome::CustomResponse => answer(None, verdict.reason, verdict.description),
        Outcome::Redirect => match verdict.url.as_deref().and_then(|url| HeaderValue::from_str(url).ok()) {
            Some(location) => answer(Some(location), String::new(), String::new()),
            None => Decision::Impossible { rule, problem: "its address cannot be a Location" },
        },
        Outcome::None | Outcome::Rewrite => {
            let set = verdict.headers.iter().filter_map(|(name, value)| Some((field_name(name)?, value)));
            let set = set.map(|(name, value)| Ok((name, HeaderValue::from_str(value)?)));
            let Ok(fields) = set.collect::<Result<Vec<_>, http::header::InvalidHeaderValue>>() else {
                return Decision::Impossible { rule, problem: "a value that it sets cannot be sent" };
            };
            match verdict.url.map(|url| url.parse::<PathAndQuery>()).transpose() {
                Ok(target) if target.as_ref().is_none_or(|target| target.as_str().starts_with('/')) => {
                    Decision::Forward(Change { target, fields })
                }
                _ => Decision::Impossible { rule, problem: "its address is not one of this server" },
            }
        }
    }
}

/// `HTTP_X_NAME` is the request header `X-Name`. Other variables are for later rules alone.
fn field_name(variable: &str) -> Option<HeaderName> {
    let (prefix, name) = variable.split_at_checked(5)?;
    if !prefix.eq_ignore_ascii_case("HTTP_") {
        return None;
    }
    HeaderName::from_bytes(name.replace('_', "-").as_bytes()).ok()
}
