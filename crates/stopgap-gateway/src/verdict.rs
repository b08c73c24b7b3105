//! The door to the rule language: a rules file compiled, and what it says to a request, in the words
//! of the data path. Nothing else here knows `stopgap-rules`.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};
use ring::digest::{SHA256, digest};
use stopgap_rules::{
    CompileError, Connection, Engine, EngineLimits, OutboundAction, OutboundSubject, Outcome, ParseError,
    Request, Response as Answered, RuleSet, Verdict,
};

use crate::era::Era;

/// A rules file, compiled.
pub(crate) struct RuleBook {
    engine: Option<Engine>,
    /// Rules that refuse nothing: asked of what the others let pass, and what they say is counted and logged.
    observed: Option<Engine>,
    /// SHA-256 of the file's octets, in hexadecimal; of nothing, where there is no file.
    pub(crate) hash: String,
    /// Enabled rules, for requests and for responses.
    pub(crate) rules: usize,
    /// What it lets in.
    pub(crate) era: Arc<Era>,
}

/// How the name of a rule begins that is only observed. No feed has such a name, so that no other rule has, either.
pub(crate) const OBSERVED: &str = "Stopgap (observes) ";

/// Why a rules file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RulesError {
    #[error("the rules file is not UTF-8 (octet {0})")]
    NotText(usize),
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("rule \"{rule}\" changes {variable}, which says where a message ends or how it travels")]
    SetsFraming { rule: String, variable: String },
}

/// Fields that no rule may change: a rule cannot know the message that it would frame anew, and what
/// belongs to one hop is the gateway's own.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

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
    /// What was said of the request, where rules wait for its response.
    pub(crate) inbound: Option<Box<Verdict>>,
    /// The rule that is only observed and would have refused the request.
    pub(crate) observed: Option<String>,
}

/// A request as its client sent it, and the connection that it came on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    /// The request target as received.
    pub(crate) target: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

impl<'a> Asked<'a> {
    fn request(self) -> Request<'a> {
        let connection = Connection {
            remote_addr: self.peer.ip().to_canonical(),
            server_port: self.local.port(),
            https: false,
            ..Connection::default()
        };
        let fields = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Request::new(self.method.as_str(), self.target.as_bytes(), fields, connection)
    }
}

/// What rules change of a response: a name, and all fields of it that the response has now.
pub(crate) type FieldChanges = Vec<(HeaderName, Vec<HeaderValue>)>;

/// A response cannot be sent as the rules want it, and without that it would be unprotected.
#[derive(Debug)]
pub(crate) struct Withheld {
    pub(crate) rule: String,
    /// Judging it took more steps than a message may cost.
    pub(crate) over_limit: bool,
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
        RuleBook { engine: None, observed: None, hash: hash(b""), rules: 0, era: Arc::default() }
    }

    /// Parses and compiles, taking over what an earlier book has in common with it. Empty (or blank) bytes are a
    /// book without rules.
    pub(crate) fn compile(bytes: &[u8], earlier: &RuleBook) -> Result<RuleBook, RulesError> {
        let text = std::str::from_utf8(bytes).map_err(|error| RulesError::NotText(error.valid_up_to()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            return Ok(RuleBook { hash: hash(bytes), ..RuleBook::empty() });
        }
        let mut set = RuleSet::parse(text)?;
        let (observed, rules) = set.rules.into_iter().partition(|rule| rule.name.starts_with(OBSERVED));
        set.rules = rules;
        let observed = RuleSet { rules: observed, maps: set.maps.clone(), ..RuleSet::default() };
        let engine = compile(&set, earlier.engine.as_ref())?;
        let observed = compile(&observed, earlier.observed.as_ref())?;
        let refusing = engine.len() + engine.outbound_len();
        Ok(RuleBook {
            rules: refusing + observed.len(),
            engine: (refusing > 0).then_some(engine),
            observed: (!observed.is_empty()).then_some(observed),
            hash: hash(bytes),
            era: Arc::default(),
        })
    }

    /// Compiles rules that do not come from a file of their own.
    pub(crate) fn of(set: &RuleSet) -> Result<RuleBook, RulesError> {
        let engine = compile(set, None)?;
        let rules = engine.len() + engine.outbound_len();
        Ok(RuleBook { engine: (rules > 0).then_some(engine), rules, ..RuleBook::empty() })
    }

    /// What the rules say to a request.
    pub(crate) fn judge(&self, asked: Asked<'_>) -> Decision {
        self.judge_request(&asked.request())
    }

    /// The same, where more is known of the connection.
    pub(crate) fn judge_request(&self, request: &Request<'_>) -> Decision {
        let mut decision = match &self.engine {
            None => Decision::Forward(Change::default()),
            Some(engine) => {
                let verdict = engine.evaluate(request);
                let inbound = engine.has_outbound().then(|| Box::new(verdict.clone()));
                decide(verdict, inbound)
            }
        };
        if let (Decision::Forward(change), Some(observed)) = (&mut decision, &self.observed) {
            change.observed = match decide(observed.evaluate(request), None) {
                Decision::Abort { rule, .. } | Decision::Respond { rule, .. } => Some(rule),
                Decision::Forward(_) | Decision::Impossible { .. } => None,
            };
        }
        decision
    }

    /// What the rules change of the response to a request of which they said `inbound`.
    pub(crate) fn judge_response(
        &self,
        asked: Asked<'_>,
        inbound: &Verdict,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<FieldChanges, Withheld> {
        self.judge_response_to(&asked.request(), inbound, status, headers)
    }

    /// The same, where more is known of the connection.
    pub(crate) fn judge_response_to(
        &self,
        request: &Request<'_>,
        inbound: &Verdict,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<FieldChanges, Withheld> {
        let Some(engine) = &self.engine else { return Ok(Vec::new()) };
        let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let response = Answered::new(status.as_u16(), fields);
        let verdict = engine.outbound_after(request, inbound, &response);
        if let Some(rule) = verdict.over_limit {
            return Err(Withheld { rule, over_limit: true });
        }
        let field = |name: &str, values: &[Vec<u8>]| {
            let values = values.iter().map(|value| HeaderValue::from_bytes(value));
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, values.collect::<Result<_, _>>().ok()?))
        };
        let changed: Option<_> =
            verdict.headers.iter().map(|change| field(&change.name, &change.values)).collect();
        changed.ok_or_else(|| Withheld { rule: verdict.rules.join(", "), over_limit: false })
    }
}

fn hash(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

fn compile(set: &RuleSet, earlier: Option<&Engine>) -> Result<Engine, RulesError> {
    for rule in &set.rules {
        for variable in &rule.server_variables {
            if field_name(&variable.name).is_some_and(|name| FRAMING.contains(&name.as_str())) {
                let (rule, variable) = (rule.name.clone(), variable.name.clone());
                return Err(RulesError::SetsFraming { rule, variable });
            }
        }
    }
    for rule in &set.outbound {
        // A rule that only looks may look at anything.
        let (OutboundAction::Rewrite { .. }, OutboundSubject::Variable(name)) = (&rule.action, &rule.subject)
        else {
            continue;
        };
        if named(name, "RESPONSE_").is_some_and(|name| FRAMING.contains(&name.as_str())) {
            return Err(RulesError::SetsFraming { rule: rule.name.clone(), variable: name.clone() });
        }
    }
    let limits = EngineLimits::default();
    Ok(match earlier {
        Some(earlier) => Engine::compile_after(earlier, set, &limits)?,
        None => Engine::compile(set, &limits)?,
    })
}

fn decide(verdict: Verdict, inbound: Option<Box<Verdict>>) -> Decision {
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
                    Decision::Forward(Change { target, fields, inbound, observed: None })
                }
                _ => Decision::Impossible { rule, problem: "its address is not one of this server" },
            }
        }
    }
}

/// `HTTP_X_NAME` is the request header `X-Name`. Other variables are for later rules alone.
fn field_name(variable: &str) -> Option<HeaderName> {
    named(variable, "HTTP_")
}

fn named(variable: &str, prefix: &str) -> Option<HeaderName> {
    let (found, name) = variable.split_at_checked(prefix.len())?;
    if !found.eq_ignore_ascii_case(prefix) {
        return None;
    }
    HeaderName::from_bytes(name.replace('_', "-").as_bytes()).ok()
}
