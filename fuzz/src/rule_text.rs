//! Whatever a rule file holds, it is refused with a place or read; what is read compiles or is refused, and is
//! translated or is refused, and the engine judges a request by it.

use stopgap_rules::translate::{apache, haproxy, iis, nginx};
use stopgap_rules::{Connection, Engine, EngineLimits, Request, Response, RuleSet};

pub fn rule_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let rules = match RuleSet::parse(&text) {
        Ok(rules) => rules,
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.code().is_empty());
            return;
        }
    };
    let limits = EngineLimits { steps: 200_000, ..EngineLimits::default() };
    match Engine::compile(&rules, &limits) {
        Ok(engine) => {
            let response = Response::new(200, [("Content-Type", &b"text/html"[..]), ("X-A", b"b")]);
            for target in ["/", "/autodiscover/autodiscover.json?a@b/p%6fwershell/"] {
                let headers = [("Cookie", &b"X-BEResource=a/b~c"[..]), ("X-A", b"%41 \xff")];
                let request = Request::new("GET", target.as_bytes(), headers, Connection::default());
                engine.evaluate(&request);
                engine.outbound(&request, &response);
            }
            assert!(engine.rules_without_literal().count() <= engine.len());
        }
        Err(error) => assert!(!error.to_string().is_empty() && !error.code().is_empty()),
    }
    for translate in [nginx::translate_one, apache::translate_one, haproxy::translate_one, iis::translate_one]
    {
        if let Err(error) = translate(&rules) {
            assert!(!error.reason.is_empty());
        }
    }
}
