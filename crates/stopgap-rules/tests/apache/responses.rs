//! What a rule answers, and what it changes in the answer of the application.

use crate::common::inputs::head;
use crate::common::{engine, rules, scoped};
use crate::server::{Answer, Apache, FILE, Origin, Site, installed};
use stopgap_rules::translate::apache::translate;
use stopgap_rules::{Connection, Request, Response, RuleSet};

/// Which statuses Apache knows differs from version to version; those that are translated hold.
#[test]
fn a_custom_response_keeps_its_status() {
    if !installed("a_custom_response_keeps_its_status") {
        return;
    }
    let mut set = RuleSet::default();
    let mut statuses = Vec::new();
    for status in (100..=999).filter(|status| !(300..=307).contains(status)) {
        let one = rules(&format!(
            r#"<rule name="r{status}"><match url=".*"/><conditions><add input="{{REQUEST_URI}}" pattern="^/s{status}$"/>
               </conditions><action type="CustomResponse" statusCode="{status}"/></rule>"#
        ));
        match translate(&[scoped(one.clone(), None)]) {
            Ok(_) => {
                set.append(one);
                statuses.push(status);
            }
            Err(error) => assert!(error.reason.contains("cannot answer with status"), "{error}"),
        }
    }
    assert!(statuses.len() > 40 && [200, 403, 404, 503].iter().all(|known| statuses.contains(known)));
    let config = translate(&[scoped(set, None)]).unwrap();
    let site = Site {
        name: "a.example".into(),
        inside: format!("{FILE}\nErrorDocument 404 http://elsewhere.example/\n"),
    };
    let mut apache = Apache::start(&config.server, &[site]);
    for status in statuses {
        let answer = apache.ask(&head("a.example", format!("/s{status}").as_bytes(), None)).unwrap();
        assert_eq!(answer.status, status);
    }
    assert_eq!(apache.ask(&head("a.example", b"/s999", None)), Some(Answer::of(200)));
}

/// As it stands on a server, but for its name.
const M2: &str = r#"<rewrite><outboundRules>
<rule name="M2.1 OWA CSP - outbound" preCondition="HTML shell">
  <match serverVariable="RESPONSE_Content_Security_Policy" pattern="(.*)"/>
  <action type="Rewrite" value="{R:1}; script-src-attr 'none'"/>
</rule>
<rule name="another">
  <match serverVariable="RESPONSE_X_Frame_Options" pattern=".*"/>
  <conditions><add input="{RESPONSE_STATUS}" pattern="^200$"/></conditions>
  <action type="Rewrite" value="DENY" replace="false"/>
</rule>
<preConditions>
  <preCondition name="HTML shell">
    <add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html"/>
    <add input="{REQUEST_URI}" pattern="^/owa/"/>
  </preCondition>
</preConditions></outboundRules></rewrite>"#;

/// The lines of a header in an answer.
fn lines(answer: &[u8], name: &str) -> Vec<String> {
    let response = Response::parse_head(answer).unwrap();
    response.headers(name).map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
}

#[test]
fn m2_changes_responses_as_the_engine_does() {
    if !installed("m2_changes_responses_as_the_engine_does") {
        return;
    }
    let heads = [
        "200 OK\r\nContent-Type: text/html; charset=utf-8\r\n",
        "200 OK\r\nContent-Type: text/html\r\nContent-Security-Policy: default-src 'self'\r\n",
        "200 OK\r\nContent-Type: TEXT/HTML\r\ncontent-security-policy: a $1 %x \\0 & \"b\"\r\n",
        "200 OK\r\nContent-Type: text/html\r\nContent-Security-Policy: a\u{2028}b\r\nX-Frame-Options: ALLOW\r\n",
        "200 OK\r\nContent-Type: text/html\r\nContent-Security-Policy: a\u{2020}b\u{e9}\r\n",
        "200 OK\r\nContent-Type: application/json\r\nContent-Security-Policy: a\r\n",
        "200 OK\r\nContent-Security-Policy: a\r\n",
        "404 Not Found\r\nContent-Type: text/html\r\n",
        "500 Internal Server Error\r\nContent-Type: text/html\r\nContent-Security-Policy: a\r\n",
        "302 Found\r\nContent-Type: text/html\r\nLocation: /x\r\n",
    ];
    let answers: Vec<String> =
        heads.iter().map(|head| format!("HTTP/1.1 {head}Content-Length: 4\r\n\r\napp\n")).collect();
    let origin = Origin::answering(answers.iter().map(|answer| answer.clone().into_bytes()).collect());
    let set = RuleSet::parse(M2).unwrap();
    let engine = engine(&set);
    let proxy = format!("ProxyPass / http://127.0.0.1:{}/ nocanon\n", origin.port);
    let config = translate(&[scoped(set.clone(), None)]).unwrap();
    let own = translate(&[scoped(set, Some("b.example"))]).unwrap();
    assert_eq!(own.server, "# Stopgap: no rule has an effect.\n");
    // One with the rules at the server level, one with them in the virtual host.
    let a = Site { name: "a.example".into(), inside: proxy.clone() };
    let b = Site { name: "b.example".into(), inside: format!("{proxy}{}", own.sites[0].1) };
    let mut changed = 0;
    for (server, site) in [(config.server.as_str(), a), ("", b)] {
        let name = site.name.clone();
        let mut apache = Apache::start(server, &[site]);
        for (number, answer) in answers.iter().enumerate() {
            for target in ["/owa/", "/OWA/x?y", "/ecp/", "/x?/owa/", "http://a.example/owa/"] {
                let head = format!("GET {target} HTTP/1.1\r\nHost: {name}\r\nX-Answer: {number}\r\n\r\n");
                let request = Request::parse_head(head.as_bytes(), &Connection::default()).unwrap();
                let verdict = engine.outbound(&request, &Response::parse_head(answer.as_bytes()).unwrap());
                apache.ask(head.as_bytes()).unwrap();
                for header in ["Content-Security-Policy", "X-Frame-Options"] {
                    let change = verdict.headers.iter().find(|h| h.name.eq_ignore_ascii_case(header));
                    changed += usize::from(change.is_some());
                    let expected = change.map_or_else(
                        || lines(answer.as_bytes(), &header.replace('-', "_")),
                        |h| h.values.iter().map(|v| String::from_utf8_lossy(v).into_owned()).collect(),
                    );
                    let found = lines(&apache.last, &header.replace('-', "_"));
                    assert_eq!(found, expected, "{header} {target} {answer}");
                }
            }
        }
    }
    assert!(changed > 60, "{changed}");
}

/// The two tables of Apache, headers of the server's own, its error pages; and what remains different.
#[test]
fn the_server_s_own_headers_are_changed_where_they_stand() {
    if !installed("the_server_s_own_headers_are_changed_where_they_stand") {
        return;
    }
    let config = translate(&[scoped(RuleSet::parse(M2).unwrap(), None)]).unwrap();
    let twice = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Security-Policy: a\r\n\
                 Content-Security-Policy: b\r\nContent-Length: 0\r\n\r\n";
    let origin = Origin::answering(vec![twice.as_bytes().to_vec()]);
    let file = format!("{FILE}\nAddType text/html .html\n");
    let csp = "Content-Security-Policy";
    let with = "; script-src-attr 'none'";
    for (inside, expected) in [
        (file.clone(), vec![with.to_owned()]),
        (format!("{file}Header set {csp} a"), vec![format!("a{with}")]),
        (format!("{file}Header always set {csp} a"), vec![format!("a{with}")]),
        (
            format!("{file}<Location />\nHeader onsuccess append {csp} a\n</Location>"),
            vec![format!("a{with}")],
        ),
        (format!("{file}Redirect 404 /owa"), vec![with.to_owned()]),
        (format!("{file}Header always set {csp} a\nRedirect 404 /owa"), vec![format!("a{with}")]),
        (
            format!("ProxyPass / http://127.0.0.1:{}/", origin.port),
            vec![format!("a{with}"), format!("b{with}")],
        ),
    ] {
        let site = Site { name: "a.example".into(), inside: inside.clone() };
        let mut apache = Apache::start(&config.server, &[site]);
        apache.ask(&head("a.example", b"/owa/", None)).unwrap();
        assert_eq!(lines(&apache.last, "CONTENT_SECURITY_POLICY"), expected, "{inside}");
        apache.ask(&head("a.example", b"/", None)).unwrap();
        assert!(!String::from_utf8_lossy(&apache.last).contains(with), "{inside}");
    }
}
