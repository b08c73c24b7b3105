//! At which level a rule stands, in which file, what of others is in its way, and what is told of that.

use crate::exchange::{BACK, ECP, HOST, OWA, ROOT, location, rewrite, rule, tree};
use crate::{Server, all_us, exchange, global, inbound, plain, shipped, states, windows};
use stopgap_iis::place::{Piece, Placement, Refused, Scope, observe, place};

#[test]
fn m2_holds_for_owa_and_for_every_application_in_it_by_one_entry() {
    let mut server = Server::new(plain());
    let placement = server.put(&shipped("M2"));
    all_us(&placement);
    let paths: Vec<&str> = states(&placement, 0).into_iter().map(|(path, _)| path).collect();
    let owa = ["", "/Calendar", "/Integrated", "/oma"].map(|end| format!("Default Web Site/owa{end}"));
    assert_eq!(paths, owa);
    assert_eq!(placement.files.len(), 1);
    assert_eq!(placement.files[0].path, HOST);
    let report = server.report();
    assert_eq!(report.violations, []);
    for level in report.levels.iter().filter(|level| owa.contains(&level.path)) {
        let names: Vec<_> = level.effective.outbound.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["Stopgap example M2.1 OWA CSP - outbound"], "{}", level.path);
    }
    let found = observe(&server.files, &windows()).unwrap();
    let found: Vec<_> =
        found.iter().map(|one| (one.marker.as_str(), one.element.as_str(), one.levels.len())).collect();
    assert_eq!(found, [("example M2.1", "preCondition", 4), ("example M2.1", "rule", 4)]);
}

#[test]
fn the_rule_of_microsofts_own_service_counts_and_is_not_put_beside() {
    let theirs = r#"<rules>
<rule name="EEMS M1.1 PowerShell - inbound" stopProcessing="true">
<match url=".*" />
<conditions><add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)" /></conditions>
<action type="AbortRequest" />
</rule>
</rules>"#;
    let mut server =
        Server::new(tree("", &[(ROOT, &rewrite(theirs)), (ECP, &rewrite("<rules><clear /></rules>"))]));
    let placement = server.put(&shipped("M1"));
    assert_eq!(placement.files, []);
    let twin = "twin EEMS M1.1 PowerShell - inbound";
    let states = states(&placement, 0);
    assert!(
        states
            .iter()
            .all(|(path, state)| state == if path.ends_with("ecp") { "clear in line 4" } else { twin })
    );
    assert_eq!(states.len(), 6);
}

#[test]
fn microsofts_m2_where_it_breaks_the_nested_applications_is_a_twin_and_each_of_them_is_named() {
    let theirs = shipped("M2")[0].rules.replace("OWA CSP", "EEMS M2.1 OWA CSP");
    let theirs = theirs.trim_start_matches("<rewrite>").trim_end_matches("</rewrite>");
    let placement = place(&tree("", &[(OWA, &rewrite(theirs))]), &windows(), &shipped("M2")).unwrap();
    assert_eq!(placement.files, []);
    let states: Vec<String> = states(&placement, 0).into_iter().map(|(_, state)| state).collect();
    assert_eq!(
        states,
        ["twin EEMS M2.1 OWA CSP - outbound", "broken 500.19", "broken 500.19", "broken 500.19"]
    );
}

#[test]
fn a_child_that_clears_is_told_with_its_line() {
    let owa = rewrite("<rules>\n<clear />\n</rules>");
    let placement = place(&tree("", &[(OWA, &owa)]), &windows(), &shipped("M1")).unwrap();
    let states = states(&placement, 0);
    let of = |path: &str| states.iter().find(|(found, _)| found.ends_with(path)).unwrap().1.as_str();
    assert_eq!(
        (of("Site"), of("ecp"), of("owa"), of("oma")),
        ("us", "us", "clear in line 5", "clear in line 5")
    );
    assert_eq!(placement.pieces[0].refused, None);
}

#[test]
fn behind_a_clear_of_its_own_level_the_rule_stands_in_that_file() {
    let root = rewrite("<rules>\n  <clear />\n</rules>");
    let files = tree("", &[(ROOT, &root)]);
    let mut server = Server::new(files.clone());
    let placement = server.put(&shipped("M1"));
    all_us(&placement);
    assert_eq!(placement.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), [ROOT]);
    assert!(placement.pieces[0].notes[0].contains("takes it away"), "{:?}", placement.pieces[0].notes);
    server.off("example M1.1");
    assert_eq!(server.files.get(ROOT), files.get(ROOT));
}

#[test]
fn a_rule_of_a_folder_goes_to_its_own_file_where_the_order_of_an_outer_location_is_open() {
    let root = rewrite("<rules>\n<rule name=\"theirs\"><match url=\"x\" /></rule>\n</rules>");
    let files = tree("", &[(ROOT, &root), (OWA, &rewrite("<rewriteMaps />"))]);
    let mut server = Server::new(files.clone());
    let piece = inbound("example X1.1", Scope::VirtualDirectory("Default Web Site/OWA".to_owned()), ".*");
    let placement = server.put(std::slice::from_ref(&piece));
    // The file is read for the nested applications as well, so it must not be inherited.
    all_us(&placement);
    assert!(placement.files[0].path.eq_ignore_ascii_case(OWA));
    let text = String::from_utf8(server.files.get(OWA).unwrap().to_vec()).unwrap();
    assert!(text.contains("<location path=\".\" inheritInChildApplications=\"false\">"), "{text}");
    assert!(placement.pieces[0].notes.iter().any(|note| note.contains("would depend on the order")));
    assert_eq!(server.report().violations, []);
    server.off("example X1.1");
    assert_eq!(server.files.get(OWA), files.get(OWA));
}

#[test]
fn a_nested_application_that_has_the_name_already_gets_no_second_one() {
    // A copy of ours by hand in the file that the nested applications share, cleared for owa itself.
    let name = "Stopgap example X1.1 r";
    let copy = format!("<rules><rule name=\"{name}\"><match url=\"x\" /></rule></rules>");
    let inside = tree("", &[(ECP, &rewrite(&copy))]);
    let placement =
        place(&inside, &windows(), &[inbound("example X1.1", Scope::Site("Default Web Site".into()), ".*")]);
    let placement = placement.unwrap();
    let states = states(&placement, 0);
    let of = |path: &str| states.iter().find(|(found, _)| found.ends_with(path)).unwrap().1.as_str();
    assert_eq!((of("Site"), of("owa"), of("oma"), of("ecp")), ("us", "us", "us", "not inherited"));
    let notes = &placement.pieces[0].notes;
    assert!(notes[0].contains("500.19 (duplicate-key)"), "{notes:?}");
    assert!(
        notes.iter().any(|note| note.starts_with("Default Web Site/ecp has no location of its own")),
        "{notes:?}"
    );
}

#[test]
fn a_disabled_twin_is_told_and_ours_stands_beside_it() {
    let rules = shipped("M1")[0].rules.replace("name=\"PowerShell", "enabled=\"false\" name=\"Off");
    let rules = rules.trim_start_matches("<rewrite>").trim_end_matches("</rewrite>");
    let placement = place(&tree("", &[(ROOT, &rewrite(rules))]), &windows(), &shipped("M1")).unwrap();
    all_us(&placement);
    let cleared = format!("<rules><clear />{}", rules.trim().trim_start_matches("<rules>"));
    let placement = place(&tree("", &[(ECP, &rewrite(&cleared))]), &windows(), &shipped("M1")).unwrap();
    let states = states(&placement, 0);
    assert!(states.contains(&("Default Web Site/ecp", "disabled Off - inbound".to_owned())), "{states:?}");
}

#[test]
fn a_malformed_file_of_somebody_elses_is_told_and_the_rest_is_protected() {
    let mut server = Server::new(tree("", &[(OWA, "<configuration><unclosed></configuration>")]));
    let placement = server.put(&[shipped("M1"), shipped("M2")].concat());
    for (path, state) in states(&placement, 0).into_iter().chain(states(&placement, 1)) {
        let expected = if path.contains("owa") { "broken 500.19" } else { "us" };
        assert_eq!(state, expected, "{path}");
    }
    assert_eq!(server.files.get(OWA).unwrap(), b"<configuration><unclosed></configuration>");
    // Where the whole server cannot be read, nothing is placed.
    let broken = tree("<unclosed>", &[]);
    let placement = place(&broken, &windows(), &shipped("M1")).unwrap();
    assert!(matches!(placement.pieces[0].refused, Some(Refused::NoServer(_))));
    assert_eq!(placement.files, []);
}

#[test]
fn what_iis_would_not_take_is_refused_with_the_fault() {
    let refused = |piece: Piece, more: &str| {
        let kept = r"C:\Windows\System32\inetsrv\config\g.config";
        let placement = place(&tree(more, &[(kept, "<globalRules />")]), &windows(), &[piece]).unwrap();
        assert_eq!(placement.files, []);
        placement.pieces[0].refused.clone().unwrap()
    };
    let mut sets = inbound("example X1.1", Scope::Site("Default Web Site".into()), ".*");
    sets.rules = sets
        .rules
        .replace("<action", "<serverVariables><set name=\"HTTP_X\" value=\"1\"/></serverVariables><action");
    let why = refused(sets, "");
    assert_eq!(why.code(), "no-place");
    assert!(why.to_string().contains("500.50 (variable-not-allowed)"), "{why}");
    let nowhere = inbound("example X1.1", Scope::VirtualDirectory("Default Web Site/none".into()), ".*");
    assert_eq!(refused(nowhere, ""), Refused::NoLevel("Default Web Site/none".into()));
    let mut empty = inbound("example X1.1", Scope::Server, ".*");
    empty.rules = "<rules><rule name=\"r\" enabled=\"false\"><match url=\".*\"/><action type=\"AbortRequest\"/></rule></rules>".into();
    assert_eq!(refused(empty, ""), Refused::Nothing);
    let located = location("path=\"owa\"", &format!("<rules>{}</rules>", rule("r")));
    let located = Piece { rules: format!("<configuration>{located}</configuration>"), ..global() };
    assert_eq!(refused(located, ""), Refused::Location);
    // The server's rules are kept where nothing is written.
    let elsewhere =
        "<system.webServer><rewrite><globalRules configSource=\"g.config\" /></rewrite></system.webServer>";
    assert!(refused(global(), elsewhere).to_string().contains("configSource"));
}

#[test]
fn a_rule_never_reaches_a_level_that_it_is_not_meant_for() {
    // Behind the clear of its file alone, and this file is read for the virtual directory Public as well.
    let files = tree("", &[(BACK, &rewrite("<rules>\n<clear />\n</rules>"))]);
    let scope = Scope::VirtualDirectory("Exchange Back End/owa".to_owned());
    let placement = place(&files, &windows(), &[inbound("example X1.1", scope, ".*")]).unwrap();
    let why = placement.pieces[0].refused.as_ref().unwrap().to_string();
    assert!(why.contains("Exchange Back End/Public: it would be there as well"), "{why}");
    assert_eq!(placement.files, []);
    // A pattern of paths below owa is none of paths below the applications in it.
    let root = rewrite("<rules>\n<rule name=\"theirs\"><match url=\"x\" /></rule>\n</rules>");
    let files = tree("", &[(ROOT, &root), (OWA, &rewrite("<rewriteMaps />"))]);
    let scope = Scope::VirtualDirectory("Default Web Site/owa".to_owned());
    let placement = place(&files, &windows(), &[inbound("example X1.1", scope, "^secret")]).unwrap();
    let why = placement.pieces[0].refused.as_ref().unwrap().to_string();
    assert!(why.contains("500.19 (duplicate-key)") && why.contains("would look at paths below it"), "{why}");
}

#[test]
fn an_application_with_a_twin_keeps_its_own_and_the_others_get_locations_of_theirs() {
    let piece = shipped("M1");
    let twin = piece[0].rules.replace("PowerShell - inbound", "EOMT");
    let twin = twin.trim_start_matches("<rewrite>").trim_end_matches("</rewrite>");
    let mut server = Server::new(tree("", &[(ECP, &rewrite(twin))]));
    let placement = server.put(&piece);
    for (path, state) in states(&placement, 0) {
        assert_eq!(state, if path.ends_with("ecp") { "twin EOMT" } else { "us" }, "{path}");
    }
    let report = server.report();
    for level in report.levels.iter().filter(|level| level.path.starts_with("Default")) {
        assert_eq!(level.effective.rules.len(), 1, "{}", level.path);
    }
    let host = String::from_utf8(server.files.get(HOST).unwrap().to_vec()).unwrap();
    assert_eq!(host.matches("inheritInChildApplications=\"false\"").count(), 5);
    // The same entry at five levels is one text, written five times.
    assert_eq!(server.put(&piece).files, []);
    server.off("example M1.1");
    assert_eq!(server.files.get(HOST), tree("", &[]).get(HOST));
}

#[test]
fn a_twin_in_a_mere_folder_does_not_leave_the_application_without() {
    let piece = shipped("M1");
    let twin = piece[0].rules.replace("PowerShell - inbound", "by hand");
    let twin = twin.trim_start_matches("<rewrite>").trim_end_matches("</rewrite>");
    let folder = r"C:\inetpub\wwwroot\aspnet_client\web.config";
    let placement = place(&tree("", &[(folder, &rewrite(twin))]), &windows(), &piece).unwrap();
    all_us(&placement);
    assert_eq!(placement.pieces[0].notes, ["below it the same rule stands under another name as well"]);
}

#[test]
fn a_map_is_not_put_where_a_file_in_between_may_clear_it() {
    let root = rewrite("<rewriteMaps>\n<clear />\n</rewriteMaps>");
    let files = tree("", &[(ROOT, &root), (ECP, &rewrite("<rewriteMaps />"))]);
    let rules = "<rewrite><rewriteMaps><rewriteMap name=\"m\"><add key=\"k\" value=\"v\"/></rewriteMap></rewriteMaps><rules>\
                 <rule name=\"r\"><match url=\".*\"/><conditions><add input=\"{m:{QUERY_STRING}}\" pattern=\"v\"/></conditions>\
                 <action type=\"AbortRequest\"/></rule></rules></rewrite>";
    let scope = Scope::VirtualDirectory("Default Web Site/ecp".to_owned());
    let piece = Piece { marker: "example X1.1".to_owned(), scope, rules: rules.to_owned() };
    let mut server = Server::new(files.clone());
    let placement = server.put(&[piece]);
    all_us(&placement);
    assert!(placement.files[0].path.eq_ignore_ascii_case(ECP));
    assert!(placement.pieces[0].notes[0].contains("clears maps"), "{:?}", placement.pieces[0].notes);
    let text = String::from_utf8(server.files.get(ECP).unwrap().to_vec()).unwrap();
    let map = "Stopgap example X1.1 m";
    assert!(
        text.contains(&format!("{{{map}:{{QUERY_STRING}}}}")) && text.contains(&format!("name=\"{map}\"")),
        "{text}"
    );
    server.off("example X1.1");
    assert_eq!(server.files.get(ECP), files.get(ECP));
}

#[test]
fn a_rule_before_ours_that_can_end_the_evaluation_is_told() {
    let first = "<globalRules><rule name=\"allow\" stopProcessing=\"true\"><match url=\"^api\" /></rule></globalRules>";
    let more = format!("<system.webServer><rewrite>{first}</rewrite></system.webServer>\n");
    let mut server = Server::new(tree(&more, &[]));
    let notes = |placement: &Placement| placement.pieces[0].notes.clone();
    let told = notes(&server.put(&shipped("M1")));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("where \"allow\" (") && told[0].contains("ends the evaluation before ours"));
    assert_eq!(notes(&server.put(&shipped("M1"))), told);
    // One behind ours, one that answers by itself, and one that is switched off are nothing to tell.
    let harmless =
        first.replace("<match url=\"^api\" />", "<match url=\"^api\" /><action type=\"AbortRequest\" />");
    let off = first.replace("<rule ", "<rule enabled=\"false\" ");
    for rules in [harmless, off] {
        let more = format!("<system.webServer><rewrite>{rules}</rewrite></system.webServer>\n");
        assert_eq!(notes(&place(&tree(&more, &[]), &windows(), &shipped("M1")).unwrap()), [""; 0]);
    }
    let behind = rewrite(&first.replace("globalRules", "rules"));
    assert_eq!(notes(&place(&tree("", &[(ROOT, &behind)]), &windows(), &shipped("M1")).unwrap()), [""; 0]);
}

#[test]
fn no_more_locations_than_a_bound_are_tried_and_the_rest_is_told() {
    let more: String = (0..70)
        .map(|n| format!("<application path=\"/x{n}\"><virtualDirectory path=\"/\" physicalPath=\"C:\\x{n}\" /></application>"))
        .collect();
    let host = exchange::host("")
        .replace("<application path=\"/ecp\"", &format!("{more}<application path=\"/ecp\""));
    let twin = shipped("M1")[0].rules.replace("PowerShell - inbound", "EOMT");
    let twin = twin.trim_start_matches("<rewrite>").trim_end_matches("</rewrite>");
    let mut files = tree("", &[(ECP, &rewrite(twin))]);
    files.insert(HOST, host);
    let placement = place(&files, &windows(), &shipped("M1")).unwrap();
    let of = |wanted: &str| states(&placement, 0).iter().filter(|(_, state)| state == wanted).count();
    // The site, the four of owa, and sixty others.
    assert_eq!((of("us"), of("twin EOMT"), of("not inherited")), (65, 1, 10));
    let last = placement.pieces[0].notes.last().unwrap();
    assert!(last.contains("no more than 64 locations"), "{last}");
}
