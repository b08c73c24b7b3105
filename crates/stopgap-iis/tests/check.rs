//! What a server's files come to, and what IIS would refuse of them: modeled, not run on IIS.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "common/exchange.rs"]
mod exchange;

use exchange::{BACK, ECP, HOST, OWA, ROOT, location, rewrite, rule, rules, tree};
use std::fmt::Write;
use stopgap_iis::{
    CheckError, Code, Effective, Entry, Environment, MemoryTree, Report, Tree, Violation, check,
};

fn checked(tree: &dyn Tree) -> Report {
    check(tree, &Environment::windows()).unwrap()
}

fn of<'r>(report: &'r Report, level: &str) -> &'r Effective {
    let found = report.levels.iter().find(|found| found.path == level);
    &found.unwrap_or_else(|| panic!("no level {level:?}")).effective
}

fn names<T>(entries: &[Entry<T>]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

/// Code, application, key, line.
fn short(violation: &Violation) -> (&'static str, &str, &str, u32) {
    (
        violation.code.word(),
        &violation.application,
        violation.key.as_deref().unwrap_or(""),
        violation.place.line,
    )
}

fn shorts(report: &Report) -> Vec<(&'static str, &str, &str, u32)> {
    report.violations.iter().map(short).collect()
}

/// Everything that is in force, one entry a line.
fn printed(report: &Report) -> String {
    let mut out = String::new();
    for level in &report.levels {
        writeln!(out, "{} {:?}", if level.path.is_empty() { "(server)" } else { &level.path }, level.kind)
            .unwrap();
        let effective = &level.effective;
        let mut list = |what: &str, entries: Vec<(&str, &stopgap_iis::Origin)>| {
            for (name, origin) in entries {
                let file = origin.file.rsplit_once('\\').map_or("", |(folder, name)| {
                    if name == "applicationHost.config" { name } else { folder }
                });
                writeln!(out, "    {what} {name} <- {file}:{} for {:?}", origin.place.line, origin.level)
                    .unwrap();
            }
        };
        fn pairs<T>(entries: &[Entry<T>]) -> Vec<(&str, &stopgap_iis::Origin)> {
            entries.iter().map(|entry| (entry.name.as_str(), &entry.origin)).collect()
        }
        list("global rule", pairs(&effective.global_rules));
        list("rule", pairs(&effective.rules));
        list("precondition", pairs(&effective.pre_conditions));
        list("outbound rule", pairs(&effective.outbound));
        list("map", pairs(&effective.maps));
        list("variable", pairs(&effective.allowed_variables));
        list("provider", pairs(&effective.providers));
    }
    for violation in &report.violations {
        let (code, application, key, line) = short(violation);
        writeln!(out, "! {code} {} {application:?} {key:?} {}:{line}", violation.status, violation.file)
            .unwrap();
    }
    out
}

/// Compares with a file of `tests/golden`; `STOPGAP_GOLDEN=write` writes it.
fn golden(name: &str, found: &str) {
    let path = format!("{}/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("STOPGAP_GOLDEN").is_some_and(|word| word == "write") {
        std::fs::write(&path, found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap(), "{name}");
}

const M2: &str = r#"<outboundRules>
  <preConditions>
    <preCondition name="EEMS M2.1 OWA SPA HTML shell - precondition">
      <add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html" />
      <add input="{REQUEST_URI}" pattern="^/owa/?($|\?|default\.aspx|projection\.aspx|readingPane\.aspx|popout\.aspx)" />
    </preCondition>
  </preConditions>
  <rule name="EEMS M2.1 OWA CSP - outbound" preCondition="EEMS M2.1 OWA SPA HTML shell - precondition">
    <match serverVariable="RESPONSE_Content_Security_Policy" pattern="(.*)" />
    <action type="Rewrite" value="{R:1}; script-src-attr 'none'" />
  </rule>
</outboundRules>"#;

#[test]
fn a_server_like_exchange_comes_to_this() {
    let host = format!(
        "<system.webServer><rewrite>\n<globalRules>\n{}</globalRules>\n<allowedServerVariables><add name=\"HTTP_X_ONE\" />\
         </allowedServerVariables>\n<rewriteMaps><rewriteMap name=\"Shared\"><add key=\"k\" value=\"v\" /></rewriteMap>\
         </rewriteMaps>\n</rewrite></system.webServer>\n{}{}",
        rule("G1"),
        location("path=\"Default Web Site\"", &rules(&["Host for site"])),
        location(
            "path=\"Default Web Site/ecp\" inheritInChildApplications=\"false\"",
            &rules(&["Host for ecp"])
        ),
    );
    let site = format!(
        "<configuration>\n{}{}<system.webServer>\n<rewrite>\n<outboundRules>{}</outboundRules>\n\
         <providers><provider name=\"P\" type=\"T\"><settings /></provider></providers>\n</rewrite></system.webServer>\n\
         </configuration>",
        location("inheritInChildApplications=\"false\"", &rules(&["Site alone"])),
        location("path=\"owa/auth\"", &rules(&["Auth"])),
        "<rule name=\"Out\"><match serverVariable=\"RESPONSE_Server\" pattern=\".\" /><action type=\"Rewrite\" /></rule>",
    );
    let owa = rewrite(&format!("<rules>\n<remove name=\"HOST FOR SITE\" />\n{}</rules>", "<clear />\n"));
    let ecp = rewrite("<rules>\n<remove name=\"Host for ecp\" />\n<remove name=\"nobody\" /></rules>");
    let back = rewrite(&rules(&["Back"]));
    let folder = rewrite(&rules(&["Folder"]));
    let tree = tree(
        &host,
        &[
            (ROOT, &site),
            (OWA, &owa),
            (ECP, &ecp),
            (BACK, &back),
            (r"C:\inetpub\wwwroot\aspnet_client\web.config", &folder),
            // Another application takes the path, so nobody reads this one.
            (r"C:\inetpub\wwwroot\ecp\web.config", "<configuration><nonsense"),
        ],
    );
    golden("exchange", &printed(&checked(&tree)));
}

#[test]
fn a_rule_of_the_site_that_a_child_takes_away_is_gone_there_alone() {
    let owa = rewrite(&format!("<rules>\n<clear />\n{}</rules>", rule("Own")));
    let ecp = rewrite("<rules><remove name=\"b\" /></rules>");
    let report = checked(&tree("", &[(ROOT, &rewrite(&rules(&["A", "B"]))), (OWA, &owa), (ECP, &ecp)]));
    assert_eq!(names(&of(&report, "Default Web Site").rules), ["A", "B"]);
    assert_eq!(names(&of(&report, "Default Web Site/owa").rules), ["Own"]);
    // The nested application clears and adds for itself, so its own twin does no harm.
    assert_eq!(names(&of(&report, "Default Web Site/owa/Calendar").rules), ["Own"]);
    assert_eq!(names(&of(&report, "Default Web Site/ecp").rules), ["A"]);
    assert_eq!(names(&of(&report, "Exchange Back End").rules), [""; 0]);
    assert_eq!(shorts(&report), []);
}

#[test]
fn m2_in_the_folder_that_nested_applications_share_breaks_each_of_them() {
    let report = checked(&tree("", &[(OWA, &rewrite(M2))]));
    let (pre, rule) = ("EEMS M2.1 OWA SPA HTML shell - precondition", "EEMS M2.1 OWA CSP - outbound");
    let expected: Vec<_> = ["Calendar", "Integrated", "oma"]
        .iter()
        .flat_map(|name| {
            [
                (format!("Default Web Site/owa/{name}"), pre, 6),
                (format!("Default Web Site/owa/{name}"), rule, 11),
            ]
        })
        .collect();
    let found: Vec<_> = report
        .violations
        .iter()
        .map(|v| (v.application.clone(), v.key.as_deref().unwrap(), v.place.line))
        .collect();
    assert_eq!(found, expected);
    assert!(report.violations.iter().all(|v| v.code == Code::DuplicateKey && v.status == "500.19"));
    assert!(
        report.violations[0]
            .message
            .contains("\"Default Web Site/owa/Calendar\" is served from the folder of")
    );
    assert_eq!(names(&of(&report, "Default Web Site/owa").outbound), [rule]);
    let broken = report.levels.iter().filter(|level| level.broken).map(|level| level.path.as_str());
    let nested = ["Calendar", "Integrated", "oma"].map(|name| format!("Default Web Site/owa/{name}"));
    assert_eq!(broken.collect::<Vec<_>>(), nested);
}

#[test]
fn m2_that_is_not_inherited_breaks_nobody_and_holds_for_each() {
    let file =
        format!("<configuration>{}</configuration>", location("inheritInChildApplications=\"false\"", M2));
    let report = checked(&tree("", &[(OWA, &file)]));
    assert_eq!(shorts(&report), []);
    for level in ["owa", "owa/Calendar", "owa/Integrated", "owa/oma"] {
        let level = format!("Default Web Site/{level}");
        let outbound = &of(&report, &level).outbound;
        assert_eq!(names(outbound), ["EEMS M2.1 OWA CSP - outbound"]);
        assert_eq!(outbound[0].origin.level, level);
    }
}

#[test]
fn m2_as_microsoft_placed_it_on_a_real_server_is_the_500_19_that_it_was() {
    let test = "m2_as_microsoft_placed_it_on_a_real_server_is_the_500_19_that_it_was";
    let Some(corpus) = common::corpus(test) else { return };
    let mut tree = common::laid_out(&corpus);
    let report = checked(&tree);
    assert_eq!(shorts(&report), []);
    assert_eq!(report.notes, [""; 0]);
    assert_eq!(report.server.applications().count(), 30);
    let levels = report.levels.iter().filter(|level| level.kind != stopgap_iis::LevelKind::Folder).count();
    assert_eq!(levels, 35, "the server, 30 applications, 4 virtual directories");

    let owa = common::OWA;
    let document = stopgap_iis::Document::parse(tree.get(owa).unwrap()).unwrap();
    let xml = format!("<system.webServer>\n<rewrite>\n{M2}\n</rewrite>\n</system.webServer>");
    let edit = document.append_child(document.root().id(), &xml).unwrap();
    tree.insert(owa, document.with(&[edit]).unwrap().to_bytes());
    let report = checked(&tree);
    let broken: Vec<_> =
        report.violations.iter().map(|v| (v.code, v.application.as_str(), v.status)).collect();
    let each = |name| (Code::DuplicateKey, name, "500.19");
    assert_eq!(
        broken,
        [
            each("Default Web Site/owa/Calendar"),
            each("Default Web Site/owa/Calendar"),
            each("Default Web Site/owa/Integrated"),
            each("Default Web Site/owa/Integrated"),
            each("Default Web Site/owa/oma"),
            each("Default Web Site/owa/oma"),
        ]
    );
    assert!(report.violations.iter().all(|v| *v.file == *owa && v.place.line > 115));
}

#[test]
fn every_fault_has_its_code_and_its_place() {
    let not_allowed = "<rules><rule name=\"r\"><match url=\".\" /><serverVariables><set name=\"HTTP_X\" value=\"1\" />\
        </serverVariables><action type=\"None\" /></rule></rules>";
    let with = |inside: &str| format!("<rules><rule name=\"r\">{inside}</rule></rules>");
    let no_pre = "<outboundRules><rule name=\"o\" preCondition=\"gone\"><match serverVariable=\"RESPONSE_A\" pattern=\".\" />\
        <action type=\"None\" /></rule></outboundRules>";
    let status = "<match url=\".\" />\n<action type=\"CustomResponse\" statusCode=\"301\" />";
    let twice = "<rewriteMaps><rewriteMap name=\"m\">\n<add key=\"k\" />\n<add key=\"k\" /></rewriteMap></rewriteMaps>";
    for (inside, code, status, line) in [
        (rules(&["A", "a"]), "duplicate-key", "500.19", 6),
        (twice.to_owned(), "duplicate-key", "500.19", 6),
        (format!("{}\n{}", rules(&["A"]), rules(&["B"])), "duplicate-section", "500.19", 7),
        (format!("<globalRules>{}</globalRules>", rule("g")), "wrong-level", "500.19", 4),
        (
            "<allowedServerVariables><add name=\"X\" /></allowedServerVariables>".into(),
            "section-locked",
            "500.19",
            4,
        ),
        ("<ruels />".into(), "unknown-element", "500.19", 4),
        ("<rules>\n<add name=\"x\" /></rules>".into(), "unknown-element", "500.19", 5),
        ("<rules>\n<remove /></rules>".into(), "missing-attribute", "500.19", 5),
        ("<rules>\n<clear name=\"x\" /></rules>".into(), "unknown-attribute", "500.19", 5),
        ("<rules onlyThese=\"1\" />".into(), "unknown-attribute", "500.19", 4),
        ("<rules>words</rules>".into(), "unexpected-text", "500.19", 4),
        (
            with("<match url=\".\" /><action type=\"None\" />\n<action type=\"None\" />"),
            "repeated-element",
            "500.19",
            5,
        ),
        (with("<match /><action type=\"None\" />"), "missing-attribute", "500.19", 4),
        (with("<match url=\".\" />\n<action typ=\"None\" />"), "unknown-attribute", "500.19", 5),
        (with(status), "bad-value", "500.19", 5),
        (with("\n<match url=\"(\" /><action type=\"None\" />"), "bad-pattern", "500.50", 5),
        (no_pre.to_owned(), "unknown-precondition", "500.52", 4),
        (not_allowed.to_owned(), "variable-not-allowed", "500.50", 4),
        ("<rules configSource=\"gone.config\" />".into(), "config-source", "500.19", 4),
        ("<rules configSource=\"..\\x.config\" />".into(), "config-source", "500.19", 4),
        ("<rules configProtectionProvider=\"P\"><EncryptedData /></rules>".into(), "encrypted", "500.19", 4),
        (
            "<outboundRules><preConditions lockItem=\"true\" /></outboundRules>".into(),
            "unknown-lock",
            "500.19",
            4,
        ),
    ] {
        let report = checked(&tree("", &[(ECP, &rewrite(&inside))]));
        let found: Vec<_> = report
            .violations
            .iter()
            .map(|v| (v.code.word(), v.status, v.application.as_str(), v.place.line))
            .collect();
        assert_eq!(found, [(code, status, "Default Web Site/ecp", line)], "{inside}");
        assert_eq!(&*report.violations[0].file, ECP);
    }
}

#[test]
fn columns_are_those_of_the_file() {
    let inside =
        "<rules>\n   <rule name=\"r\" wrong=\"1\"><match url=\".\"/><action type=\"None\"/></rule></rules>";
    let report = checked(&tree("", &[(ECP, &rewrite(inside))]));
    assert_eq!((report.violations[0].place.line, report.violations[0].place.column), (5, 4));
}

#[test]
fn a_file_that_cannot_be_read_breaks_every_application_over_its_folder() {
    for (bytes, code) in
        [(&b"<configuration><a></configuration>"[..], "malformed"), (b"<configuration>\xff", "undecodable")]
    {
        let mut tree = tree("", &[]);
        tree.insert(OWA, bytes);
        let report = checked(&tree);
        let expected: Vec<_> = ["owa", "owa/Calendar", "owa/Integrated", "owa/oma"]
            .iter()
            .map(|name| format!("Default Web Site/{name}"))
            .collect();
        let found: Vec<_> = report.violations.iter().map(|v| v.application.clone()).collect();
        assert_eq!(found, expected);
        assert!(report.violations.iter().all(|v| v.code.word() == code && v.status == "500.19"));
    }
    let mut tree = tree("", &[]);
    tree.insert(HOST, "<configuration>");
    let report = checked(&tree);
    assert_eq!(
        report.violations.iter().map(|v| (v.code, v.status)).collect::<Vec<_>>(),
        [(Code::Malformed, "503")]
    );
}

#[test]
fn a_fault_of_the_server_or_a_site_is_told_once() {
    let host = format!(
        "<system.webServer><rewrite><globalRules>{}{}</globalRules></rewrite></system.webServer>",
        rule("g"),
        rule("g")
    );
    let report = checked(&tree(&host, &[(ROOT, &rewrite(&rules(&["A", "A"])))]));
    let found: Vec<_> =
        report.violations.iter().map(|v| (v.application.as_str(), v.level.as_str())).collect();
    assert_eq!(found, [("", ""), ("Default Web Site", "Default Web Site")]);
}

#[test]
fn a_child_that_repeats_a_name_of_its_parent_is_broken_and_names_both_places() {
    let report = checked(&tree("", &[(ROOT, &rewrite(&rules(&["A"]))), (ECP, &rewrite(&rules(&["a"])))]));
    assert_eq!(shorts(&report), [("duplicate-key", "Default Web Site/ecp", "a", 5)]);
    let message = &report.violations[0].message;
    assert!(
        message.contains(ROOT) && message.contains("line 5") && message.contains("inherited from"),
        "{message}"
    );
}

#[test]
fn locks_hold_for_the_files_below_and_not_for_their_own() {
    let lock = |attributes: &str, inside: &str| location(attributes, inside);
    // Unlocked by its own file, for one application.
    let host = lock("path=\"\" overrideMode=\"Deny\"", "<rules />")
        + &lock("path=\"Default Web Site/ecp\" overrideMode=\"Allow\"", &rules(&["Host"]));
    let report = checked(&tree(&host, &[(ROOT, &rewrite(&rules(&["A"]))), (ECP, &rewrite(&rules(&["B"])))]));
    assert_eq!(shorts(&report), [("section-locked", "Default Web Site", "rules", 4)]);
    assert_eq!(names(&of(&report, "Default Web Site/ecp").rules), ["Host", "B"]);

    for (attributes, inside, code) in [
        ("lockElements=\"clear\"", "<clear />", "element-locked"),
        ("lockAllElementsExcept=\"rule\"", "<remove name=\"A\" />", "element-locked"),
        ("lockElements=\"*\"", &rule("B"), "element-locked"),
        ("lockItem=\"true\"", &rule("B"), "section-locked"),
        ("lockElements=\"remove\"", &rule("B"), ""),
        ("lockAllElementsExcept=\"rule,clear\"", "<clear />", ""),
    ] {
        let site = rewrite(&format!("<rules {attributes}>\n<clear />{}</rules>", rule("A")));
        let report =
            checked(&tree("", &[(ROOT, &site), (ECP, &rewrite(&format!("<rules>{inside}</rules>")))]));
        let found: Vec<_> = report.violations.iter().map(|v| v.code.word()).collect();
        assert_eq!(found, if code.is_empty() { vec![] } else { vec![code] }, "{attributes}");
    }
    let locked = rule("A").replace("<rule ", "<rule lockItem=\"true\" ");
    let site = rewrite(&format!("<rules>{locked}{}</rules>", rule("B")));
    for (inside, broken) in
        [("<clear />", true), ("<remove name=\"a\" />", true), ("<remove name=\"b\" />", false)]
    {
        let report =
            checked(&tree("", &[(ROOT, &site), (ECP, &rewrite(&format!("<rules>{inside}</rules>")))]));
        assert_eq!(!report.violations.is_empty(), broken, "{inside}");
        assert_eq!(names(&of(&report, "Default Web Site/ecp").rules)[0], "A");
    }
}

#[test]
fn a_server_without_the_module_knows_no_rewrite_section() {
    let mut tree = tree("", &[(ECP, &rewrite(&rules(&["A"])))]);
    let host = exchange::host("").replace("<sectionGroup name=\"rewrite\">", "<sectionGroup name=\"other\">");
    tree.insert(HOST, host);
    assert_eq!(shorts(&checked(&tree)), [("section-not-declared", "Default Web Site/ecp", "rules", 4)]);
}

#[test]
fn a_section_of_another_file_is_read_with_its_places() {
    let kept =
        "<rules>\n<rule name=\"Kept\"><match url=\".\" /><action type=\"None\" /></rule>\n<rule /></rules>";
    let report = checked(&tree(
        "",
        &[
            (ECP, &rewrite("<rules configSource=\"kept.config\" />")),
            (r"C:\Exchange\HttpProxy\ecp\kept.config", kept),
        ],
    ));
    assert_eq!(names(&of(&report, "Default Web Site/ecp").rules), ["Kept"]);
    assert_eq!(shorts(&report), [("missing-attribute", "Default Web Site/ecp", "", 3)]);
    assert!(report.violations[0].file.ends_with("kept.config"));
}

#[test]
fn folders_below_a_directory_are_levels_unless_it_says_otherwise() {
    let folder = rewrite(&rules(&["Folder"]));
    let files = [(r"C:\Exchange\HttpProxy\ecp\a\b\web.config", folder.as_str())];
    let mut tree = tree("", &files);
    assert_eq!(names(&of(&checked(&tree), "Default Web Site/ecp/a/b").rules), ["Folder"]);
    let host = exchange::host("").replace("HttpProxy\\ecp\"", "HttpProxy\\ecp\" allowSubDirConfig=\"false\"");
    tree.insert(HOST, host);
    assert!(checked(&tree).levels.iter().all(|level| level.path != "Default Web Site/ecp/a/b"));
}

#[test]
fn an_order_that_microsoft_leaves_open_is_told_where_it_matters() {
    let host = location("path=\"Default Web Site/ecp\"", &rules(&["Host"]));
    let site = |inside: &str| rewrite(&format!("<rules>{inside}</rules>"));
    let ordered = |inside: &str| {
        let report = checked(&tree(&host, &[(ROOT, &site(inside))]));
        let ecp = report.levels.iter().find(|level| level.path == "Default Web Site/ecp").unwrap();
        assert_eq!(report.notes.len(), usize::from(ecp.order_matters));
        (ecp.order_matters, names(&ecp.effective.rules).join(" "))
    };
    assert_eq!(ordered("<clear />"), (true, "Host".to_owned()));
    assert_eq!(ordered(&rule("Site")), (true, "Site Host".to_owned()));
    assert_eq!(ordered(""), (false, "Host".to_owned()));
    // A file of the level itself comes last in either order.
    let report = checked(&tree(&host, &[(ECP, &site(&rule("Ecp")))]));
    assert_eq!(report.notes, [""; 0]);
}

#[test]
fn an_application_of_a_pool_that_reads_no_files_has_the_servers_rules_alone() {
    let pool = "<system.applicationHost><applicationPools><applicationPoolDefaults enableConfigurationOverride=\"false\" />\
        <add name=\"own\" enableConfigurationOverride=\"true\" /></applicationPools></system.applicationHost>";
    let report = checked(&tree(pool, &[(ROOT, &rewrite(&rules(&["A"]))), (ECP, "<configuration")]));
    assert_eq!(names(&of(&report, "Default Web Site").rules), ["A"]);
    assert_eq!(names(&of(&report, "Default Web Site/ecp").rules), [""; 0]);
    assert_eq!(shorts(&report), []);
}

#[test]
fn shared_configuration_and_no_server_at_all_are_refused() {
    let mut tree = tree("", &[]);
    let file = r"C:\Windows\System32\inetsrv\config\redirection.config";
    let redirect = |enabled: &str| {
        format!(
            "<configuration><configurationRedirection enabled=\"{enabled}\" path=\"\\\\farm\\iis\" /></configuration>"
        )
    };
    tree.insert(file, redirect("false"));
    assert_eq!(shorts(&checked(&tree)), []);
    tree.insert(file, redirect("true"));
    let refused = check(&tree, &Environment::windows()).unwrap_err();
    assert!(matches!(&refused, CheckError::Shared { path, .. } if path == r"\\farm\iis"), "{refused}");
    let refused = check(&MemoryTree::default(), &Environment::windows()).unwrap_err();
    assert!(matches!(refused, CheckError::NoServer { .. }));
}

#[test]
fn every_code_is_a_word_with_its_reason() {
    for code in Code::ALL {
        assert!(code.word().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        assert!(code.explanation().ends_with('.') && !code.explanation().contains("  "), "{}", code.word());
    }
}

#[test]
fn the_effective_rules_are_a_rule_set_for_the_engine() {
    let global = format!(
        "<system.webServer><rewrite><globalRules>{}</globalRules></rewrite></system.webServer>",
        rule("g")
    );
    let report = checked(&tree(&global, &[(OWA, &rewrite(&rules(&["A"])).replace("None", "AbortRequest"))]));
    let set = of(&report, "Default Web Site/owa").rule_set();
    let levels: Vec<_> = set.rules.iter().map(|rule| (rule.name.as_str(), rule.level.path())).collect();
    assert_eq!(levels, [("g", ""), ("A", "owa")]);
}
