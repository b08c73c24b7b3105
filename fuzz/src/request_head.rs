//! Whatever a head holds, it is refused with a place or read; what is read is judged, and never fails.

use std::sync::OnceLock;

use stopgap_rules::{Connection, Engine, EngineLimits, Request, Response, RuleSet};

const RULES: &str = r#"<rewrite><rules>
    <rule name="m1"><match url=".*"/><conditions>
        <add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)"/></conditions>
        <action type="AbortRequest"/></rule>
    <rule name="cookie"><match url=".*"/><conditions>
        <add input="{HTTP_COOKIE}" pattern="(.*)X-BEResource=(.+)/(.+)~(.+)"/></conditions>
        <action type="Redirect" url="/{C:2}?{ToLower:{C:4}}"/></rule>
    <rule name="back"><match url="^(\w+)/(.*)/\1$"/><action type="Rewrite" url="{R:2}?{UrlEncode:{R:1}}"/></rule>
    <rule name="set"><match url="x"/><serverVariables><set name="HTTP_X_A" value="{REQUEST_FILENAME}{QUERY_STRING}"/>
        </serverVariables><action type="None"/></rule>
    <rule name="seen"><match url="."/><conditions><add input="{HTTP_X_A}" pattern="[^ -~]|%"/></conditions>
        <action type="CustomResponse" statusCode="403"/></rule>
    </rules></rewrite>"#;

pub fn request_head(data: &[u8]) {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| {
        let rules = RuleSet::parse(RULES).expect("the rules are well-formed");
        Engine::compile(&rules, &EngineLimits::default()).expect("the rules compile")
    });
    if let Err(error) = Response::parse_head(data) {
        assert!(!error.to_string().is_empty() && !error.code().is_empty());
    }
    let request = match Request::parse_head(data, &Connection::default()) {
        Ok(request) => request,
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.code().is_empty());
            return;
        }
    };
    let path = request.path();
    assert!(path.starts_with('/') && !path.contains("//") && !path.contains("/../"), "{path:?}");
    let verdict = engine.evaluate(&request);
    assert!(verdict.over_limit || verdict == engine.evaluate_plainly(&request, u64::MAX));
    // What goes on the wire again is visible ASCII.
    assert!(verdict.url.as_deref().unwrap_or("/").bytes().all(|byte| byte.is_ascii_graphic()));
}
