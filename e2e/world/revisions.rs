//! The four revisions of M1, each of which was passed by another spelling of the same request, and
//! the requests that tell them apart.

use super::Publisher;

/// Input and pattern of the rule's one condition, as they stood in servers' `web.config`.
pub const REVISIONS: [(&str, &str); 4] = [
    ("{REQUEST_URI}", r".*autodiscover\.json.*\@.*Powershell.*"),
    ("{REQUEST_URI}", r".*autodiscover\.json.*Powershell.*"),
    ("{UrlDecode:{REQUEST_URI}}", r".*autodiscover\.json.*Powershell.*"),
    ("{UrlDecode:{REQUEST_URI}}", "(?=.*autodiscover)(?=.*powershell)"),
];

/// Requests, and the first revision that refuses each; no later one lets it pass again.
pub const REQUESTS: [(&str, Option<usize>); 6] = [
    (
        "/autodiscover/autodiscover.json?@evil.example/PowerShell/&Email=autodiscover/autodiscover.json%3f@evil.example",
        Some(0),
    ),
    (
        "/autodiscover/autodiscover.json?a..foo.var/owa/?&Email=autodiscover/autodiscover.json?a..foo.var&Protocol=XYZ&FooProtocol=Powershell",
        Some(1),
    ),
    ("/autodiscover/autodiscover.json?x/p%6Fwershell/", Some(2)),
    ("/PowerShell/?Email=autodiscover/autodiscover.json", Some(3)),
    ("/autodiscover/autodiscover.xml", None),
    ("/powershell", None),
];

/// The attack that every revision refuses.
pub const ATTACK: &str = REQUESTS[0].0;

/// A request that none refuses.
pub const BENIGN: &str = "/autodiscover/autodiscover.xml";

/// Whether a revision (from 0) refuses a request of [`REQUESTS`].
pub fn refuses(revision: usize, since: Option<usize>) -> bool {
    since.is_some_and(|since| since <= revision)
}

impl Publisher {
    /// Writes M1 as a revision (from 0) had it, with the probes and requests that hold for it.
    pub fn write_m1(&self, revision: usize) {
        let (refused, passing): (Vec<_>, Vec<_>) =
            REQUESTS.into_iter().partition(|(_, since)| refuses(revision, *since));
        let targets =
            |of: &[(&'static str, Option<usize>)]| -> Vec<&str> { of.iter().map(|r| r.0).collect() };
        let (refused, passing) = (targets(&refused), targets(&passing));
        self.write("M1", &m1(revision, &refused), &refused, &passing);
    }
}

fn m1(revision: usize, refused: &[&str]) -> String {
    let (input, pattern) = REVISIONS[revision];
    let blocked: String = refused.iter().map(|target| probe("blocked", target)).collect();
    config(
        "M1",
        &format!("CVE-2022-41040, revision {}", revision + 1),
        &format!(
            "<match url=\".*\"/><conditions><add input=\"{input}\" pattern=\"{pattern}\"/></conditions>\
             <action type=\"AbortRequest\"/>"
        ),
        &(blocked + &probe("allowed", BENIGN)),
    )
}

/// A mitigation of one rule, for vulnerable builds of Exchange.
pub fn config(id: &str, desc: &str, rule: &str, probes: &str) -> String {
    format!(
        r#"<Config id="{id}" desc="{desc}" severity="critical">
  <Applicability><Product name="exchange" versions="dotted"><Range from="15.2.0.0" below="15.2.1118.20"/></Product></Applicability>
  <ActionList>
    <Action id="{id}.1" type="UrlRewrite" scope="Site" target="Default Web Site" desc="{desc}">
      <rewrite><rules><rule name="{id}" stopProcessing="true">{rule}</rule></rules></rewrite>
    </Action>
  </ActionList>
  <Probes>
{probes}  </Probes>
  <SideEffects><Effect desc="Matching requests are refused."/></SideEffects>
  <Rollback>Remove the rule whose name holds "{id}.1".</Rollback>
</Config>
"#
    )
}

/// One probe.
pub fn probe(expect: &str, target: &str) -> String {
    format!("    <Request expect=\"{expect}\"><![CDATA[GET {target} HTTP/1.1]]></Request>\n")
}
