//! The grammar: what is read, what refuses a document, and what only makes a mitigation unsupported.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // tests, and helpers of tests

use stopgap_feed::document::{
    ActionKind, Condition, Detect, Expect, Mitigation, Platform, Product, Range, Scope, Severity,
    VersionScheme,
};
use stopgap_feed::{Document, Limits, Refusal};

/// The example of the format's description, with every element that the grammar has.
const EXAMPLE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<EOCS version="2.0" feed="example" serial="42" issued="2026-11-22T03:00:00Z" expires="2026-12-06T03:00:00Z">
  <Config id="M1" desc="Server-side request forgery" severity="critical" cve="CVE-2022-41040 CVE-2022-41082" supersedes="M0.9" expires="2027-01-01T00:00:00Z">
    <Applicability>
      <Product name="exchange" versions="dotted">
        <Range from="15.1.0.0" below="15.1.2375.37"/>
        <Range through="15.0.1497.43"/>
      </Product>
      <All>
        <Product name="nginx" versions="dpkg" ecosystem="Debian:12"><Range below="1.22.1-9+deb12u2"/></Product>
        <Product name="mail"/>
      </All>
      <Product name="portal" versions="dotted">
        <Detect kind="dpkg" package="acme-portal"/>
        <Detect kind="rpm" package="Acme_Portal"/>
        <Detect kind="file" path="/opt/portal/VERSION" pattern="^version = ([0-9.]+)$"/>
        <Detect kind="registry" key="HKLM\SOFTWARE\Acme\Portal" value="Version"/>
        <Detect kind="pe" path="C:\Program Files\Acme\portal.exe"/>
      </Product>
      <Product name="vendors" versions="dpkg"><Detect kind="dpkg" package="vendors"/><Range below="1:2.3-4"/></Product>
    </Applicability>
    <ActionList>
      <Action id="M1.1" type="UrlRewrite" scope="Site" target="Default Web Site" desc="PowerShell - inbound">
        <rewrite><rules><rule name="a &amp; b"><match url=".*"/><action type="AbortRequest"/></rule></rules></rewrite>
      </Action>
      <Action id="M1.2" type="Service" scope="Server" platform="windows"><Value>MSExchangeHM</Value><Value> UM </Value></Action>
      <Action id="M1.3" type="AppPool" scope="Server"><Value>ECP</Value></Action>
    </ActionList>
    <Probes>
      <Request expect="blocked">GET /autodiscover/autodiscover.json?@evil.example/PowerShell/ HTTP/1.1</Request>
      <Request expect="allowed"><![CDATA[
        GET /owa/?a=1&b=2 HTTP/1.1
        Cookie: X=1
      ]]></Request>
      <Request expect="header" name="Content-Security-Policy" pattern="none">HEAD /owa/ HTTP/1.1</Request>
    </Probes>
    <Rollout><Wave percent="1" after="PT0S"/><Wave percent="100" after="PT10M"/></Rollout>
    <SideEffects><Effect desc="Some requests are refused." monitor="OWACalendar.Proxy"/></SideEffects>
    <Rollback>Remove the rule.</Rollback>
  </Config>
  <Withdrawn id="M0" reason="Superseded."/>
</EOCS>
"#;

fn read(text: &str) -> Result<Document, Refusal> {
    Document::from_unsigned(text.as_bytes(), &Limits::default())
}

fn with(from: &str, to: &str) -> Result<Document, Refusal> {
    assert!(EXAMPLE.contains(from), "the change must hit: {from}");
    read(&EXAMPLE.replacen(from, to, 1))
}

#[test]
fn everything_that_the_grammar_has_is_read() {
    let document = read(EXAMPLE).unwrap();
    assert_eq!(document.warnings, [""; 0]);
    assert_eq!(document.feed.as_ref().unwrap().as_str(), "example");
    assert_eq!(document.serial, Some(42));
    assert_eq!(document.issued.unwrap().to_string(), "2026-11-22T03:00:00Z");
    assert_eq!(document.expires.unwrap().to_string(), "2026-12-06T03:00:00Z");
    assert_eq!(document.withdrawn[0].reason, "Superseded.");
    let [m1] = &document.mitigations[..] else { panic!() };
    assert_eq!(m1.unsupported, [""; 0]);
    assert_eq!((m1.severity, m1.cve.len()), (Some(Severity::Critical), 2));
    assert_eq!(m1.supersedes, Some("M0.9".parse().unwrap()));
    assert_eq!(m1.expires.unwrap().to_string(), "2027-01-01T00:00:00Z");
    assert_eq!(m1.rollback.as_deref(), Some("Remove the rule."));
    assert_eq!(m1.side_effects[0].monitor.as_deref(), Some("OWACalendar.Proxy"));
    assert_eq!(
        m1.rollout.iter().map(|w| (w.percent, w.after_seconds)).collect::<Vec<_>>(),
        [(1, 0), (100, 600)]
    );

    let heads: Vec<_> = m1.probes.iter().map(|p| p.head.as_str()).collect();
    assert_eq!(heads[0], "GET /autodiscover/autodiscover.json?@evil.example/PowerShell/ HTTP/1.1\r\n\r\n");
    assert_eq!(heads[1], "GET /owa/?a=1&b=2 HTTP/1.1\r\nCookie: X=1\r\n\r\n");
    let header = Expect::Header { name: "Content-Security-Policy".into(), pattern: "none".into() };
    assert_eq!(
        m1.probes.iter().map(|p| p.expect.clone()).collect::<Vec<_>>(),
        [Expect::Blocked, Expect::Allowed, header]
    );

    let [rewrite, service, pool] = &m1.actions[..] else { panic!() };
    assert_eq!((rewrite.scope, rewrite.target.as_deref()), (Scope::Site, Some("Default Web Site")));
    let text = r#"<rewrite><rules><rule name="a &amp; b"><match url=".*"/><action type="AbortRequest"/></rule></rules></rewrite>"#;
    assert_eq!(rewrite.kind, ActionKind::UrlRewrite { rewrite: text.to_owned() });
    assert_eq!(service.platform, Some(Platform::Windows));
    assert_eq!(service.kind, ActionKind::Service { names: vec!["MSExchangeHM".into(), "UM".into()] });
    assert_eq!(pool.kind, ActionKind::AppPool { names: vec!["ECP".into()] });

    let range = |from: Option<&str>, below: Option<&str>, through: Option<&str>| {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Range { from: own(from), below: own(below), through: own(through) }
    };
    let detected = |name: &str, scheme, ecosystem: Option<&str>, detect, ranges| {
        Condition::Product(Product {
            name: name.into(),
            scheme,
            ecosystem: ecosystem.map(str::to_owned),
            detect,
            ranges,
        })
    };
    let product = |name: &str, scheme, ecosystem, ranges| detected(name, scheme, ecosystem, vec![], ranges);
    let portal = vec![
        Detect::Dpkg { package: "acme-portal".into() },
        Detect::Rpm { package: "Acme_Portal".into() },
        Detect::File { path: "/opt/portal/VERSION".into(), pattern: "^version = ([0-9.]+)$".into() },
        Detect::Registry { key: "HKLM\\SOFTWARE\\Acme\\Portal".into(), value: "Version".into() },
        Detect::Pe { path: "C:\\Program Files\\Acme\\portal.exe".into() },
    ];
    let vendors = vec![Detect::Dpkg { package: "vendors".into() }];
    let exchange =
        vec![range(Some("15.1.0.0"), Some("15.1.2375.37"), None), range(None, None, Some("15.0.1497.43"))];
    let nginx = vec![range(None, Some("1.22.1-9+deb12u2"), None)];
    let expected = Condition::Any(vec![
        product("exchange", VersionScheme::Dotted, None, exchange),
        Condition::All(vec![
            product("nginx", VersionScheme::Dpkg, Some("Debian:12"), nginx),
            product("mail", VersionScheme::Dotted, None, Vec::new()),
        ]),
        detected("portal", VersionScheme::Dotted, None, portal, Vec::new()),
        detected("vendors", VersionScheme::Dpkg, None, vendors, vec![range(None, Some("1:2.3-4"), None)]),
    ]);
    assert_eq!(m1.applicability, Some(expected));
}

#[test]
fn a_mitigations_octets_stand_alone() {
    let document = read(EXAMPLE).unwrap();
    let [m1] = &document.mitigations[..] else { panic!() };
    assert!(m1.octets.starts_with("<Config id=\"M1\"") && m1.octets.ends_with("</Config>"));
    assert_eq!(&Mitigation::from_octets(&m1.octets).unwrap(), m1);
    assert_eq!(Mitigation::from_octets("<EOCS/>").unwrap_err().code(), "malformed-document");
    assert_eq!(Mitigation::from_octets("").unwrap_err().code(), "empty");
}

#[test]
fn what_is_wrong_with_the_whole_refuses_it() {
    for (from, to, expected) in [
        ("version=\"2.0\"", "version=\"3.0\"", "unsupported-version"),
        ("version=\"2.0\"", "version=\"0.9\"", "unsupported-version"),
        ("version=\"2.0\"", "version=\"two\"", "unsupported-version"),
        ("version=\"2.0\" ", "", "unsupported-version"),
        ("<EOCS ", "<EOCS xmlns=\"urn:x\" ", "not-a-feed"),
        ("serial=\"42\"", "serial=\"-1\"", "malformed-document"),
        ("serial=\"42\"", "serial=\"18446744073709551616\"", "malformed-document"),
        ("feed=\"example\"", "feed=\"../etc\"", "malformed-document"),
        ("2026-11-22T03:00:00Z", "yesterday", "malformed-document"),
        ("expires=\"2026-12-06", "expires=\"2026-11-06", "malformed-document"),
        ("<Config id=\"M1\"", "<Config", "malformed-document"),
        ("<Config id=\"M1\"", "<Config id=\"M 1\"", "malformed-document"),
        ("<Withdrawn id=\"M0\"", "<Withdrawn", "malformed-document"),
        ("<Withdrawn id=\"M0\"", "<Withdrawn id=\"M01\"", "duplicate-id"),
        ("<Withdrawn id=\"M0\"", "<Withdrawn id=\"m1.1\"", "duplicate-id"),
        ("id=\"M1.2\"", "id=\"M01.01\"", "duplicate-id"),
        ("<Withdrawn", "<Config id=\"m1\"/><Withdrawn", "duplicate-id"),
    ] {
        match with(from, to) {
            Ok(_) => panic!("accepted: {to}"),
            Err(refusal) => assert_eq!(refusal.code(), expected, "{to}: {refusal}"),
        }
    }
    assert_eq!(read(&EXAMPLE.replace("EOCS", "Feed")).unwrap_err().code(), "not-a-feed");
    let refusal = with("version=\"2.0\"", "version=\"3.0\"").unwrap_err().to_string();
    assert_eq!(refusal, "unsupported version of the document: expected 1.x or 2.x, found `3.0`");
}

#[test]
fn what_a_mitigation_holds_that_is_unknown_makes_it_unsupported_and_nothing_else() {
    for (from, to, sentence) in [
        (
            "type=\"AppPool\"",
            "type=\"Firewall\"",
            "type: expected DoNothing, UrlRewrite, Service or AppPool, found `Firewall`",
        ),
        (
            "severity=\"critical\"",
            "severity=\"severe\"",
            "severity: expected low, medium, high or critical, found `severe`",
        ),
        ("severity=", "danger=", "Config M1 has an unknown attribute `danger`"),
        ("supersedes=\"M0.9\"", "supersedes=\"?\"", "supersedes: expected a dotted id, found `?`"),
        ("<Rollback>", "<Notes/><Rollback>", "Config M1 holds an unknown element `Notes`"),
        ("<Rollback>", "<Rollback/><Rollback>", "Config M1 holds `Rollback` twice"),
        ("<Rollback>", "text<Rollback>", "Config M1 holds text between its elements"),
        ("<Rollback>", "<Rollback><b/>", "Rollback holds an unknown element `b`"),
        (
            "versions=\"dotted\"",
            "versions=\"calver\"",
            "expected versions dotted, dpkg, rpm or semver, found `calver`",
        ),
        ("versions=\"dotted\"", "", "found ``"),
        (" ecosystem=\"Debian:12\"", "", "expected an ecosystem"),
        ("<Range through=\"15.0.1497.43\"/>", "<Range/>", "Range has no bound"),
        ("<Range through=", "<Range below=\"1\" through=", "Range has both"),
        ("<Range through=", "<Range until=\"1\" through=", "Range has an unknown attribute `until`"),
        ("<Product name=\"mail\"/>", "<Role name=\"mail\"/>", "All holds an unknown element `Role`"),
        ("<Detect kind=\"dpkg\"", "<Detect", "kind: expected dpkg, rpm, file, registry or pe, found ``"),
        ("kind=\"dpkg\"", "kind=\"run\"", "kind: expected dpkg, rpm, file, registry or pe, found `run`"),
        ("kind=\"dpkg\"", "kind=\"dpkg\" run=\"true\"", "Detect has an unknown attribute `run`"),
        (
            "kind=\"dpkg\"",
            "kind=\"dpkg\" path=\"/opt/portal/VERSION\"",
            "Detect has an unknown attribute `path`",
        ),
        (" package=\"acme-portal\"", "", "Detect: package: expected the name of a package, found ``"),
        ("\"acme-portal\"", "\"--eval\"", "Detect: package: expected the name of a package"),
        ("/opt/portal/VERSION", "/opt/../etc/shadow", "Detect: path: expected an absolute path"),
        ("/opt/portal/VERSION", "portal/VERSION", "Detect: path: expected an absolute path"),
        ("([0-9.]+)", "[0-9.]+", "Detect: pattern: expected a pattern of at most 512 characters"),
        ("HKLM\\", "HKCU\\", "Detect: key: expected a key such as HKLM"),
        ("value=\"Version\"", "value=\"\"", "Detect: value: expected the name of a value"),
        ("portal.exe\"/>", "portal.exe\">text</Detect>", "Detect holds text between its elements"),
        (
            "versions=\"dpkg\"><Detect",
            "versions=\"dotted\"><Detect",
            "expects versions=\"dpkg\" beside its ranges",
        ),
        ("scope=\"Site\"", "scope=\"Farm\"", "scope: expected Server, Site or VDir, found `Farm`"),
        ("platform=\"windows\"", "platform=\"plan9\"", "platform: expected windows or linux"),
        ("id=\"M1.3\"", "id=\"M2.3\"", "Action M2.3 is not below its mitigation M1"),
        ("<Value>ECP</Value>", "", "expected the name of a service or pool"),
        ("<rewrite>", "<rewrite/><rewrite>", "Action M1.1: expected one rewrite element"),
        ("expect=\"allowed\"", "expect=\"slow\"", "expected blocked, allowed, or header"),
        (
            "expect=\"header\" name=\"Content-Security-Policy\"",
            "expect=\"header\"",
            "expected blocked, allowed, or header",
        ),
        ("HEAD /owa/", "POST /owa/", "expected a request head"),
        ("percent=\"100\"", "percent=\"101\"", "percent: expected 0 to 100, found `101`"),
        ("PT10M", "P1D", "after: expected an ISO 8601 duration"),
        ("monitor=", "watch=", "Effect has an unknown attribute `watch`"),
        ("<Rollback>", "<x:y xmlns:x=\"u:x\"/><Rollback>", "Config M1 holds an unknown element `y`"),
    ] {
        let text = EXAMPLE.replacen("<Withdrawn", "<Config id=\"PING1\"><ActionList><Action type=\"DoNothing\" scope=\"Server\"/></ActionList></Config><Withdrawn", 1);
        assert!(text.contains(from), "the change must hit: {from}");
        let document = read(&text.replacen(from, to, 1)).unwrap_or_else(|e| panic!("{to}: {e}"));
        let [m1, ping] = &document.mitigations[..] else { panic!("{to}") };
        assert!(m1.unsupported.iter().any(|s| s.contains(sentence)), "{to}: {:?}", m1.unsupported);
        assert_eq!(ping.unsupported, [""; 0], "{to}");
    }
}

#[test]
fn what_the_root_holds_beside_is_noted_and_ignored() {
    let document = with("<Withdrawn", "<Mirror url=\"x\"/><Withdrawn").unwrap();
    assert_eq!(document.warnings, ["EOCS holds an unknown element `Mirror`"]);
    let document = with("serial=", "tier=\"1\" serial=").unwrap();
    assert_eq!(document.warnings, ["EOCS has an unknown attribute `tier`"]);
    assert_eq!(document.mitigations.len(), 1);
}

#[test]
fn actions_without_id_take_their_mitigations() {
    let list = |actions: &str| {
        let text = format!(
            "<EOCS version=\"1.0\"><Config id=\"M1\"><ActionList>{actions}</ActionList></Config></EOCS>"
        );
        read(&text).map(|d| d.mitigations[0].actions.iter().map(|a| a.id.to_string()).collect::<Vec<_>>())
    };
    let one = "<Action type=\"DoNothing\" scope=\"Server\"/>";
    assert_eq!(list(one).unwrap(), ["M1"]);
    assert_eq!(list(&one.repeat(3)).unwrap(), ["M1.1", "M1.2", "M1.3"]);
    assert_eq!(
        list(&format!("{}{one}", one.replace("<Action", "<Action id=\"M1.2\""))).unwrap_err().code(),
        "duplicate-id"
    );
}

#[test]
fn no_action_is_left_out_in_silence() {
    let id = "M".repeat(63);
    let two = "<Action type=\"DoNothing\" scope=\"Server\"/>".repeat(2);
    let text =
        format!("<EOCS version=\"1.0\"><Config id=\"{id}\"><ActionList>{two}</ActionList></Config></EOCS>");
    let document = read(&text).unwrap();
    assert_eq!(document.mitigations[0].unsupported, ["Action has no id that can be told"; 2]);
}

#[test]
fn text_is_the_same_with_comments_in_it() {
    // The canonical form drops comments, so what is linted must not depend on them.
    let document = with("MSExchangeHM", "MSExch<!-- x -->angeHM").unwrap();
    let kind = &document.mitigations[0].actions[1].kind;
    assert_eq!(kind, &ActionKind::Service { names: vec!["MSExchangeHM".into(), "UM".into()] });
}

#[test]
fn a_product_is_detected_in_some_ways_and_not_in_many() {
    let with = |count: usize| {
        let detects = "<Detect kind=\"dpkg\" package=\"vendors\"/>".repeat(count);
        let text = EXAMPLE.replacen("<Detect kind=\"dpkg\" package=\"vendors\"/>", &detects, 1);
        read(&text).unwrap().mitigations[0].unsupported.clone()
    };
    assert_eq!(with(16), [""; 0]);
    assert_eq!(with(17), ["Product vendors: expected at most 16 Detect, found 17"]);
    let long = EXAMPLE.replacen("([0-9.]+)", &format!("([0-9.]{{1,{}}})", "1".repeat(512)), 1);
    assert!(read(&long).unwrap().mitigations[0].unsupported[0].contains("at most 512 characters"));
}
