//! Rules in virtual hosts: whatever else stands in one, and whose rule decides where several sites have rules.

use crate::common::inputs::head;
use crate::common::{M1_REQUESTS, engine, m1, rules, scoped};
use crate::expected;
use crate::server::{Answer, Apache, FILE, Origin, Site, installed};
use stopgap_rules::RuleSet;
use stopgap_rules::translate::SiteRules;
use stopgap_rules::translate::apache::translate;

/// What an operator can have in a virtual host that would answer, or let pass, before or after a rule.
const OTHERS: [(&str, &str); 12] = [
    ("ProxyPass", "ProxyPass / http://127.0.0.1:ORIGIN/"),
    ("ProxyPass without canonical form", "ProxyPass / http://127.0.0.1:ORIGIN/ nocanon"),
    ("a Location's ProxyPass", "<Location />\nProxyPass http://127.0.0.1:ORIGIN/\n</Location>"),
    (
        "RewriteRule to a proxy",
        "RewriteEngine On\nRewriteRule ^ http://127.0.0.1:ORIGIN%{REQUEST_URI} [P,QSA]",
    ),
    (
        "a folder's RewriteRule",
        "<Directory ${FOLDER}/htdocs>\nOptions FollowSymLinks\nRewriteEngine On\n\
         RewriteRule ^ http://127.0.0.1:ORIGIN%{REQUEST_URI} [P,QSA]\n</Directory>",
    ),
    (
        "a Location that grants",
        "ProxyPass / http://127.0.0.1:ORIGIN/\n<Location />\nRequire all granted\nAuthMerging Or\n</Location>",
    ),
    (
        "the old access control",
        "ProxyPass / http://127.0.0.1:ORIGIN/\n<Location />\nOrder allow,deny\nAllow from all\nSatisfy Any\n</Location>",
    ),
    (
        "an If that grants",
        "ProxyPass / http://127.0.0.1:ORIGIN/\n<If \"true\">\nRequire all granted\nErrorDocument 403 /page\n</If>",
    ),
    ("an error page of the application", "ProxyPass / http://127.0.0.1:ORIGIN/\nErrorDocument 403 /page"),
    (
        "an error page elsewhere",
        "ProxyPass / http://127.0.0.1:ORIGIN/\nErrorDocument 403 http://127.0.0.1:ORIGIN/page",
    ),
    ("a Redirect of its own", "ProxyPass / http://127.0.0.1:ORIGIN/\nRedirect 301 /moved /elsewhere"),
    ("SetEnvIf of its own", "ProxyPass / http://127.0.0.1:ORIGIN/\nSetEnvIf Request_URI . seen=1"),
];

#[test]
fn no_configuration_of_a_virtual_host_lets_a_refused_request_reach_the_application() {
    if !installed("no_configuration_of_a_virtual_host_lets_a_refused_request_reach_the_application") {
        return;
    }
    let origin = Origin::start();
    let rules = translate(&[scoped(m1(4), None)]).unwrap();
    assert!(rules.sites.is_empty());
    let sites: Vec<Site> = OTHERS
        .iter()
        .enumerate()
        .map(|(n, (_, inside))| Site {
            name: format!("site{n}.example"),
            inside: inside.replace("ORIGIN", &origin.port.to_string()),
        })
        .collect();
    // The rules stand at the server level alone: every virtual host inherits them.
    let mut apache = Apache::start(&rules.server, &sites);
    for (site, (told, _)) in sites.iter().zip(&OTHERS) {
        let before = origin.count();
        for attack in [
            M1_REQUESTS[0],
            M1_REQUESTS[2],
            "/page?autodiscover=powershell",
            "/moved/autodiscover=powershell",
            "/index.html?powershell&autodiscover",
        ] {
            for head in [
                format!("GET {attack} HTTP/1.1\r\nHost: {}\r\n\r\n", site.name),
                format!("GET http://{}{attack} HTTP/1.1\r\nHost: x\r\n\r\n", site.name),
                format!("POST {attack} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", site.name),
                format!(
                    "POST {attack} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
                    site.name
                ),
                format!("HEAD {attack} HTTP/1.0\r\nHost: {}\r\n\r\n", site.name),
            ] {
                let answer = apache.ask(head.as_bytes()).unwrap();
                let own = ["a Redirect of its own"].contains(told) && attack.starts_with("/moved");
                assert!(answer.status == 403 || own, "{told}: {answer:?}\n{head}");
                assert!(answer.close || own, "{told}: {answer:?}\n{head}");
            }
        }
        assert_eq!(origin.count(), before, "{told}");
        let benign = format!("GET /index.html HTTP/1.1\r\nHost: {}\r\n\r\n", site.name);
        assert_eq!(apache.ask(benign.as_bytes()), Some(Answer::of(200)), "{told}");
        assert_eq!(origin.count(), before + 1, "{told}: the application answers what is not refused");
    }
}

/// Rules of one site stand in its virtual host, rules of every site at the server level; their order is that of
/// the list all the same.
#[test]
fn the_first_rule_that_decides_decides_on_every_site() {
    if !installed("the_first_rule_that_decides_decides_on_every_site") {
        return;
    }
    let rule = |pattern: &str, action: &str| {
        rules(&format!(
            r#"<rule name="{pattern}" stopProcessing="true"><match url=".*"/>
               <conditions><add input="{{REQUEST_URI}}" pattern="{pattern}"/></conditions>{action}</rule>"#
        ))
    };
    let status = |status: u16| format!(r#"<action type="CustomResponse" statusCode="{status}"/>"#);
    let (pass, abort) = (r#"<action type="None"/>"#, r#"<action type="AbortRequest"/>"#);
    let names = ["a.example", "b.example", "c.example"];
    let sets = [
        (Some("a.example"), rule("open", pass)),
        (None, rule("evil", abort)),
        (Some("b.example"), rule("evil|gone", &status(410))),
        (None, rule("gone", &status(404))),
        (
            Some("a.example"),
            rules(r#"<rule name="all others"><match url=".*"/><action type="AbortRequest"/></rule>"#),
        ),
        (None, rule("never", r#"<action type="None"/>"#)),
    ];
    let list: Vec<SiteRules> = sets.iter().map(|(site, set)| scoped(set.clone(), *site)).collect();
    let config = translate(&list).unwrap();
    assert_eq!(
        config.sites.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["a.example", "b.example"]
    );
    let sites: Vec<Site> = names
        .iter()
        .map(|name| {
            let own = config.sites.iter().find(|(site, _)| site == name).map_or("", |(_, text)| text);
            Site { name: (*name).to_owned(), inside: format!("{FILE}\n{own}") }
        })
        .collect();
    let mut apache = Apache::start(&config.server, &sites);
    for name in names {
        let mut all = RuleSet::default();
        for (_, set) in sets.iter().filter(|(site, _)| site.is_none_or(|site| site == name)) {
            all.append(set.clone());
        }
        let engine = engine(&all);
        for target in ["/", "/open", "/evil", "/open/evil", "/gone", "/evil/gone", "/open/gone", "/never"] {
            let head = head(name, target.as_bytes(), None);
            let answer = apache.ask(&head).unwrap();
            // A connection that the server level would have closed stays closed.
            assert_eq!(answer.status, expected(&engine, &head).status, "{name} {target}");
            assert!(answer.close || expected(&engine, &head) != Answer::REFUSED, "{name} {target}");
        }
    }
}
