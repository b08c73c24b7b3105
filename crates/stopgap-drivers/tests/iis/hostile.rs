//! What a mitigation that is signed, and written by somebody who means ill or does not know better, can do to the files.

use stopgap_core::plan::Wanted;
use stopgap_feed::document::ActionKind;

use crate::exchange::HOST;
use crate::server::Server;
use crate::{RUNNING, synthetic};

fn with_rule(server: &Server, name: &str) -> Vec<Wanted> {
    let mut wanted = server.shipped("M1");
    let ActionKind::UrlRewrite { rewrite } = &mut wanted[0].action.kind else { panic!() };
    let at = rewrite.find("name=\"").unwrap() + 6;
    let end = at + rewrite[at..].find('"').unwrap();
    rewrite.replace_range(at..end, name);
    wanted
}

#[test]
fn the_name_of_a_rule_stays_within_its_attribute() {
    let server = Server::new(&synthetic("\r\n"), &[]);
    let before = server.files();
    let faults = server.violations();
    for name in [
        "x&quot; /&gt;&lt;clear/&gt;&lt;add a=&quot;",
        "a&#10;b&#13;c&#9;d",
        "]]&gt;&lt;!-- --&gt;&lt;?x?&gt;",
        "&amp;quot;&amp;#60;",
        "&#x85;&#x2028;&#x10FFFF;&#xFFFD;",
        "'%windir%{REQUEST_URI}'",
    ] {
        let wanted = with_rule(&server, name);
        let rendered = server.render(&wanted);
        let Some(change) = rendered.change else {
            assert_eq!(rendered.refused.len(), 1, "{name}");
            continue;
        };
        server.carry_out(&change);
        assert_eq!(server.violations(), faults, "{name}");
        let there = server.effective("Default Web Site");
        assert!(there.len() == 1 && there[0].starts_with("Stopgap example M1.1 "), "{name}: {there:?}");
        let observed = server.observe();
        assert_eq!((observed.live.holds.len(), observed.live.foreign.len()), (1, 0), "{name}");
        let strange = observed.warnings.iter().find(|said| said.contains("by hand alone"));
        assert_eq!(strange, None, "{name}");
        assert_eq!(server.plan(&wanted), None, "{name}: twice is once");
        server.bring(&[]);
        assert_eq!(server.files(), before, "{name}");
    }
}

#[test]
fn a_target_is_a_level_that_is_there_or_nothing() {
    let server = Server::new(&synthetic("\n"), &[]);
    for target in [
        "Default Web Site/..",
        "Default Web Site/owa/../../Exchange Back End",
        "Default Web Site/owa/Calendar/..%2f..",
        "Default Web Site/owa\" inheritInChildApplications=\"true",
        "Default Web Site/\\..\\..\\Windows\\System32\\inetsrv\\config",
        "Default Web Site/owa\n",
        "Default Web Site/ ",
    ] {
        let mut wanted = server.shipped("M1");
        wanted[0].action.target = Some(target.into());
        wanted[0].sites = Some(vec!["Default Web Site".into()]);
        let rendered = server.render(&wanted);
        assert_eq!(
            (rendered.refused.len(), rendered.change),
            (1, None),
            "{target:?}: {:?}",
            rendered.refused
        );
    }
}

#[test]
fn the_name_of_a_pool_is_one_that_the_server_has_or_nothing() {
    let server = Server::new(&synthetic("\n"), &RUNNING);
    for name in
        ["", "*", "/all", "DefaultAppPool /commit:apphost", "DefaultAppPool\" autoStart=\"true", "..\\x"]
    {
        let mut wanted = server.shipped("PL3");
        wanted[0].action.kind = ActionKind::AppPool { names: vec![name.into()] };
        let rendered = server.render(&wanted);
        assert_eq!((rendered.refused.len(), rendered.change), (1, None), "{name:?}");
    }
    assert!(server.text(HOST).contains(r#"autoStart="true""#));
}
