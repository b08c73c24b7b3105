//! `stopgap rules test FILE --request FILE [--response FILE]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use stopgap_rules::{Connection, Engine, OutboundVerdict, Outcome as Action, Request, Response, Verdict};

use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// One <rewrite>, one of its sections, or a web.config
    file: PathBuf,
    /// A raw request head
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// A raw response head: what the application answers
    #[arg(long, value_name = "FILE")]
    response: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let rules = super::load(&args.file)?;
    let engine = super::compile(&rules, &args.file)?;
    let raw = read(&args.request)?;
    let request = Request::parse_head(&raw, &Connection::default())
        .with_context(|| format!("{} is not a request head", args.request.display()))?;
    let raw = args.response.as_deref().map(read).transpose()?;
    let response = match (&raw, &args.response) {
        (Some(raw), Some(path)) => Some(
            Response::parse_head(raw)
                .with_context(|| format!("{} is not a response head", path.display()))?,
        ),
        _ => None,
    };
    let answer = Answer::of(&engine, &request, response.as_ref());
    if args.json {
        output::json(&answer)?;
    } else {
        answer.lines().into_iter().try_for_each(output::line)?;
    }
    Ok(Code::Done)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Answer {
    action: Action,
    /// The deciding rule; where no inbound rule decided, the last outbound rule that acted.
    rule: Option<String>,
    status: Option<u16>,
    substatus: Option<u16>,
    url: Option<String>,
    /// Server variables by the name under which they were set, response headers by their own.
    headers: BTreeMap<String, Value>,
    /// The outbound rules that acted, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outbound: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Value {
    /// Empty: the header is removed.
    One(String),
    /// The lines of Set-Cookie.
    Lines(Vec<String>),
}

impl Answer {
    fn of(engine: &Engine, request: &Request, response: Option<&Response>) -> Answer {
        let verdict = engine.evaluate(request);
        // A refused request never reaches the application, which therefore answers nothing.
        let response = response.filter(|_| !verdict.is_refusal());
        let outbound = response.map(|response| engine.outbound_after(request, &verdict, response));
        Answer::new(verdict, outbound.unwrap_or_default())
    }

    fn new(verdict: Verdict, outbound: OutboundVerdict) -> Answer {
        let set = verdict.headers.into_iter().map(|(name, value)| (name, Value::One(value)));
        let changed = outbound.headers.into_iter().map(|change| {
            let mut lines: Vec<String> =
                change.values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
            let value = match lines.len() {
                0 | 1 => Value::One(lines.pop().unwrap_or_default()),
                _ => Value::Lines(lines),
            };
            (change.name, value)
        });
        let mut answer = Answer {
            action: verdict.action,
            rule: verdict.rule.or_else(|| outbound.rules.last().cloned()),
            status: verdict.status,
            substatus: verdict.substatus,
            url: verdict.url,
            headers: set.chain(changed).collect(),
            outbound: outbound.rules,
        };
        if let Some(rule) = outbound.over_limit {
            (answer.action, answer.rule) = (Action::AbortRequest, Some(rule));
        }
        answer
    }

    fn lines(&self) -> Vec<String> {
        let rule = self.rule.as_deref().map(|rule| format!(" by `{rule}`")).unwrap_or_default();
        let (status, url) = (self.status.unwrap_or_default(), self.url.as_deref().unwrap_or_default());
        let mut lines = vec![match self.action {
            Action::None if self.outbound.is_empty() => format!("passes{rule}"),
            Action::None => format!("passes; its response is changed{rule}"),
            Action::AbortRequest => format!("refused{rule}: the connection is closed"),
            Action::CustomResponse => format!("refused{rule}: status {status}"),
            Action::Redirect => format!("redirected{rule}: status {status} to {url}"),
            Action::Rewrite => format!("rewritten{rule}: to {url}"),
        }];
        for (name, value) in &self.headers {
            match value {
                // A variable of a request can be set to nothing; a header that has nothing is gone.
                Value::One(value) if value.is_empty() => lines.push(format!("sets {name} to nothing")),
                Value::One(value) => lines.push(format!("sets {name} = {value}")),
                Value::Lines(values) => lines.extend(values.iter().map(|v| format!("sets {name} = {v}"))),
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use stopgap_rules::{EngineLimits, RuleSet};

    use super::*;

    const RULES: &str = r#"<rewrite>
        <rules><rule name="refuse"><match url="^bad"/><action type="AbortRequest"/></rule>
          <rule name="in"><match url="^new"/><serverVariables><set name="HTTP_X" value="1"/></serverVariables>
            <action type="Rewrite" url="/old"/></rule></rules>
        <outboundRules><rule name="out"><match serverVariable="RESPONSE_X_A" pattern="(.*)"/>
            <action type="Rewrite" value="{R:1}+"/></rule>
          <rule name="gone"><match serverVariable="RESPONSE_SERVER" pattern="."/><action type="Rewrite"/></rule>
          <rule name="cookie"><match serverVariable="RESPONSE_SET_COOKIE" pattern="."/>
            <action type="Rewrite" value="{RESPONSE_SET_COOKIE}; Secure"/></rule>
        </outboundRules></rewrite>"#;

    fn answer(target: &str, response: Option<&str>) -> Answer {
        let engine = Engine::compile(&RuleSet::parse(RULES).unwrap(), &EngineLimits::default()).unwrap();
        let request = Request::new("GET", target.as_bytes(), [], Connection::default());
        let response = response.map(|raw| Response::parse_head(raw.as_bytes()).unwrap());
        Answer::of(&engine, &request, response.as_ref())
    }

    #[test]
    fn json_tells_what_was_set_on_the_way_in_and_out() {
        let cookies = "HTTP/1.1 200 OK\nServer: x\nX-a: 0\nSet-Cookie: a=1\nSet-Cookie: b=2\n";
        assert_eq!(
            serde_json::to_value(answer("/new", Some(cookies))).unwrap(),
            serde_json::json!({
                "action": "Rewrite", "rule": "in", "status": null, "substatus": null, "url": "/old",
                "headers": {"HTTP_X": "1", "X-a": "0+", "Server": "", "Set-Cookie": ["a=1; Secure", "b=2; Secure"]},
                "outbound": ["out", "gone", "cookie"],
            })
        );
        let untouched = serde_json::to_value(answer("/", None)).unwrap();
        assert_eq!(
            untouched,
            serde_json::json!({"action": "None", "rule": null, "status": null, "substatus": null, "url": null, "headers": {}})
        );
    }

    #[test]
    fn the_rule_is_the_one_that_acted() {
        let passed = answer("/", Some("HTTP/1.1 200 OK"));
        assert_eq!((passed.action, passed.rule.as_deref()), (Action::None, Some("out")));
        assert_eq!(passed.lines(), ["passes; its response is changed by `out`", "sets X-A = +"]);
        let refused = answer("/bad", Some("HTTP/1.1 200 OK"));
        assert_eq!((refused.rule.as_deref(), refused.headers.len()), (Some("refuse"), 0));
    }
}
