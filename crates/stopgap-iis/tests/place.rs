//! Where rules go: every mitigation that the project ships, on a server of our own making and on a real one, placed
//! and taken off to the byte, with no fault that a second reading of the files would see.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(missing_docs, dead_code, reason = "modules of several tests")]

mod common;
#[path = "common/exchange.rs"]
mod exchange;
mod naive;

use std::collections::BTreeMap;

use exchange::{BACK, ECP, HOST, OWA, ROOT, location, rewrite, rule, tree};
use stopgap_iis::place::{
    By, FileEdit, Insertion, Piece, Placement, Refused, Remains, Scope, State, Why, observe, place, take_off,
};
use stopgap_iis::{Environment, MemoryTree, Report, check};

/// The rewrite actions of a mitigation as the project ships it.
fn shipped(id: &str) -> Vec<Piece> {
    let path = format!("{}/../../mitigations/{id}/mitigation.xml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let actions = document.descendants().filter(|node| node.attribute("type") == Some("UrlRewrite"));
    let piece = |node: roxmltree::Node| {
        let target = node.attribute("target").unwrap_or_default().to_owned();
        let inside = node.children().find(|child| child.has_tag_name("rewrite")).unwrap();
        Piece {
            marker: format!("example {}", node.attribute("id").unwrap()),
            scope: match node.attribute("scope").unwrap() {
                "Site" => Scope::Site(target),
                "VDir" => Scope::VirtualDirectory(target),
                _ => Scope::Server,
            },
            rules: text[inside.range()].to_owned(),
        }
    };
    actions.map(piece).collect()
}

fn global() -> Piece {
    Piece {
        marker: "example G1.1".to_owned(),
        scope: Scope::Server,
        rules: "<rewrite><rules><rule name=\"jndi\"><match url=\".*\"/><conditions><add input=\"{HTTP_USER_AGENT}\" \
                pattern=\"jndi:\"/></conditions><action type=\"AbortRequest\"/></rule></rules></rewrite>"
            .to_owned(),
    }
}

/// A rule for requests that looks at nothing but the path below its level.
fn inbound(marker: &str, scope: Scope, url: &str) -> Piece {
    let rules = format!(
        "<rules><rule name=\"r\"><match url=\"{url}\"/><action type=\"CustomResponse\" statusCode=\"403\"/></rule></rules>"
    );
    Piece { marker: marker.to_owned(), scope, rules }
}

fn windows() -> Environment {
    Environment::windows()
}

/// A server whose files change, and what was put into them.
struct Server {
    files: MemoryTree,
    recorded: BTreeMap<String, Vec<Insertion>>,
}

impl Server {
    fn new(files: MemoryTree) -> Server {
        Server { files, recorded: BTreeMap::new() }
    }

    fn put(&mut self, pieces: &[Piece]) -> Placement {
        let placement = place(&self.files, &windows(), pieces).unwrap();
        for edit in &placement.files {
            self.write(edit);
        }
        placement
    }

    fn write(&mut self, edit: &FileEdit) {
        let octets = edit.apply(self.files.get(&edit.path).unwrap()).unwrap();
        self.files.insert(&edit.path, octets);
        self.recorded.entry(edit.path.to_lowercase()).or_default().extend(edit.insertions.clone());
    }

    /// Takes one piece off; frames that others still stand in stay with the record.
    fn off(&mut self, marker: &str) {
        for (path, recorded) in &mut self.recorded {
            let (mine, others): (Vec<_>, Vec<_>) =
                recorded.drain(..).partition(|one| one.marker == marker || one.name.is_none());
            let off = take_off(self.files.get(path).unwrap(), &mine);
            assert_eq!(off.by_hand, []);
            self.files.insert(path, off.octets);
            *recorded = others.into_iter().chain(off.frames).collect();
        }
    }

    fn report(&self) -> Report {
        check(&self.files, &windows()).unwrap()
    }
}

fn states(placement: &Placement, nth: usize) -> Vec<(&str, String)> {
    let state = |state: &State| match state {
        State::InForce(By::Us) => "us".to_owned(),
        State::InForce(By::Twin { name, .. }) => format!("twin {name}"),
        State::NotInForce(Why::Broken(why)) => format!("broken {}", why.split_whitespace().next().unwrap()),
        State::NotInForce(Why::Undone { element, line, .. }) => format!("{element} in line {line}"),
        State::NotInForce(Why::Disabled { name, .. }) => format!("disabled {name}"),
        State::NotInForce(Why::NotInherited) => "not inherited".to_owned(),
        State::NotInForce(Why::NotPlaced) => "not placed".to_owned(),
    };
    placement.pieces[nth].levels.iter().map(|level| (level.path.as_str(), state(&level.state))).collect()
}

fn all_us(placement: &Placement) {
    for (nth, piece) in placement.pieces.iter().enumerate() {
        assert_eq!(piece.refused, None, "{}", piece.marker);
        let states = states(placement, nth);
        assert!(!states.is_empty() && states.iter().all(|(_, state)| state == "us"), "{states:?}");
    }
}

const ALL: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// A tree with other line ends, or in another encoding.
fn altered(files: &MemoryTree, paths: &[&str], how: impl Fn(&str) -> Vec<u8>) -> MemoryTree {
    let mut out = files.clone();
    for path in paths {
        let octets = files.get(path).unwrap();
        let text = std::str::from_utf8(octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets)).unwrap();
        out.insert(path, how(&text.replace("\r\n", "\n")));
    }
    out
}

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn wide(text: &str) -> Vec<u8> {
    let text = format!("\u{feff}{}", text.replace("UTF-8", "utf-16").replace("utf-8", "utf-16"));
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Put on in one order and taken off in another, with a look at every file after each step.
fn round_trip(
    files: &MemoryTree,
    groups: &[Vec<Piece>; 3],
    on: [usize; 3],
    off: [usize; 3],
    touched: &[&str],
) {
    let mut server = Server::new(files.clone());
    let before = check(files, &windows()).unwrap().violations.len();
    for nth in on {
        let placement = server.put(&groups[nth]);
        for (piece, found) in placement.pieces.iter().enumerate() {
            assert_eq!(found.refused, None, "{}", found.marker);
            let in_force = states(&placement, piece);
            assert!(in_force.iter().all(|(_, state)| state == "us"), "{on:?} {in_force:?}");
        }
        assert_eq!(server.report().violations.len(), before, "{on:?}");
    }
    let full = server.files.clone();
    let again = server.put(&groups.concat());
    assert!(again.files.is_empty(), "a second time: {again:?}");
    for nth in off {
        for piece in &groups[nth] {
            server.off(&piece.marker);
        }
        assert_eq!(server.report().violations.len(), before, "off {off:?}");
    }
    assert!(server.recorded.values().all(Vec::is_empty), "{:?}", server.recorded);
    for path in touched {
        assert!(server.files.get(path) == files.get(path), "{path}: {on:?}, off {off:?}");
    }
    assert!(full.get(HOST) != files.get(HOST));
}

fn plain() -> MemoryTree {
    let owa = rewrite("<rewriteMaps />");
    tree(
        "",
        &[
            (ROOT, &rewrite("<rules>\n<rule name=\"theirs\"><match url=\"x\" /></rule>\n</rules>")),
            (OWA, &owa),
        ],
    )
}

#[test]
fn every_mitigation_goes_on_and_off_to_the_byte_in_every_order_of_three() {
    let files = plain();
    let triples =
        [[shipped("M1"), shipped("M2"), shipped("PL1")], [shipped("PL1"), vec![global()], shipped("M2")]];
    let opened = tree(
        "    <system.webServer>\n        <rewrite>\n            <globalRules />\n        </rewrite>\n    \
                       </system.webServer>\n",
        &[(ROOT, &rewrite("<rules />")), (OWA, "<configuration/>")],
    );
    let variants = [
        files.clone(),
        altered(&files, &[HOST, ROOT, OWA], crlf),
        altered(&files, &[HOST, ROOT, OWA], wide),
        opened,
    ];
    for (variant, files) in variants.iter().enumerate() {
        for groups in &triples {
            for (nth, on) in ALL.into_iter().enumerate() {
                let offs = if variant == 0 { ALL.to_vec() } else { vec![ALL[(nth + 2) % 6]] };
                for off in offs {
                    round_trip(files, groups, on, off, &[HOST, ROOT, OWA]);
                }
            }
        }
    }
}

#[test]
fn the_mitigations_for_services_and_pools_have_nothing_to_place() {
    for id in ["PL2", "PL3", "PL4"] {
        assert_eq!(shipped(id), [], "{id}");
    }
}

#[test]
fn a_real_server_gets_every_mitigation_and_is_what_it_was_afterwards() {
    let Some(samples) = common::corpus("a_real_server_gets_every_mitigation_and_is_what_it_was_afterwards")
    else {
        return;
    };
    let files = common::laid_out(&samples);
    let three = [[shipped("M1"), shipped("PL1")].concat(), shipped("M2"), vec![global()]];
    let paths = [HOST, ROOT, common::OWA];
    let windows = altered(&files, &paths, crlf);
    for (nth, on) in ALL.into_iter().enumerate() {
        let off = ALL[(nth + 2) % 6];
        round_trip(&files, &three, on, off, &paths);
        round_trip(&windows, &three, on, off, &paths);
    }
}

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
fn a_file_that_changed_since_it_was_read_is_not_changed() {
    let files = plain();
    let placement = place(&files, &windows(), &shipped("M1")).unwrap();
    let edit = &placement.files[0];
    let stale = edit.apply(&[files.get(HOST).unwrap(), b"\n"].concat()).unwrap_err();
    assert!(stale.to_string().contains("has changed since it was read"));
    assert!(edit.apply(files.get(HOST).unwrap()).is_ok());
}

#[test]
fn taking_off_cuts_what_was_written_in_a_broken_file_and_names_what_was_changed() {
    let mut server = Server::new(plain());
    server.put(&[shipped("M1"), shipped("PL1")].concat());
    let recorded = server.recorded[&HOST.to_lowercase()].clone();
    let text = String::from_utf8(server.files.get(HOST).unwrap().to_vec()).unwrap();
    let before = String::from_utf8(plain().get(HOST).unwrap().to_vec()).unwrap();

    let broken = text.replace("</configuration>", "<oops");
    let off = take_off(broken.as_bytes(), &recorded);
    assert_eq!((off.by_hand, off.frames), (vec![], vec![]));
    assert_eq!(off.octets, before.replace("</configuration>", "<oops").as_bytes());

    let edited = text.replace("X-BEResource=(.+)/(.+)~(.+)", "X-BEResource=");
    let off = take_off(edited.as_bytes(), &recorded);
    assert_eq!(off.by_hand.len(), 1);
    assert_eq!(
        (off.by_hand[0].name.as_str(), off.by_hand[0].why),
        ("Stopgap example PL1.2 X-BEResource - inbound", Remains::Changed)
    );
    assert!(off.by_hand[0].text.starts_with("<rule name=\"Stopgap example PL1.2"));
    let left = String::from_utf8(off.octets).unwrap();
    assert!(!left.contains("M1.1") && left.contains("PL1.2") && off.frames.len() == 1);

    let doubled = text.replace("</configuration>", &format!("<!--{text}-->"));
    let off = take_off(doubled.as_bytes(), &recorded);
    assert!(off.by_hand.iter().all(|one| one.why == Remains::TooOften { found: 2, written: 1 }));
    assert_eq!(off.by_hand.len(), 3);

    // Somebody has taken it off already.
    let off = take_off(before.as_bytes(), &recorded);
    assert_eq!((off.by_hand, off.octets), (vec![], before.into_bytes()));
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

/// Every mitigation on these files, as the naive reading has it: what is wrong, and the rules for responses in owa.
fn naively(texts: &BTreeMap<String, String>) -> (Vec<String>, Vec<(String, usize)>) {
    let path = |path: &str| format!("C:\\{}", path.replace('/', "\\"));
    let mut files = MemoryTree::default();
    texts.iter().for_each(|(name, text)| files.insert(&path(name), text.as_bytes()));
    let mut server = Server::new(files);
    server.put(&[shipped("M1"), shipped("PL1"), shipped("M2"), vec![global()]].concat());
    let text = |name: &String| String::from_utf8(server.files.get(&path(name)).unwrap().to_vec()).unwrap();
    let after: BTreeMap<_, _> = texts.keys().map(|name| (name.clone(), text(name))).collect();
    let before = naive::read(texts, naive::Order::ByLevel).violations;
    let mut faults = Vec::new();
    let mut found = Vec::new();
    for order in [naive::Order::ByLevel, naive::Order::ByFile] {
        let reading = naive::read(&after, order);
        faults.extend(reading.violations.difference(&before).map(|fault| format!("{fault:?}")));
        let owa = reading.levels.into_iter().filter(|(path, _)| path.starts_with("Default Web Site/owa"));
        found = owa.map(|(path, level)| (path, level["outboundRules"].len())).collect();
    }
    (faults, found)
}

#[test]
fn the_naive_reading_finds_m2_in_owa_and_in_each_application_in_it_and_no_fault() {
    let host = exchange::host("");
    let texts = [
        (naive::HOST, host.as_str()),
        ("Exchange/HttpProxy/owa/web.config", "<configuration></configuration>"),
    ];
    let texts = texts.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    let (faults, owa) = naively(&texts);
    assert_eq!(faults, [""; 0]);
    assert_eq!(
        owa,
        ["", "/Calendar", "/Integrated", "/oma"].map(|end| (format!("Default Web Site/owa{end}"), 1))
    );
}

#[test]
fn the_naive_reading_of_a_real_server_finds_no_fault_in_what_is_placed() {
    let name = "the_naive_reading_of_a_real_server_finds_no_fault_in_what_is_placed";
    let Some(samples) = common::corpus(name) else { return };
    let front = "Program Files/Microsoft/Exchange Server/V15/FrontEnd/HttpProxy";
    let homes = [
        ("applicationHost.config", naive::HOST.to_owned()),
        ("DefaultWebSite_web.config", "inetpub/wwwroot/web.config".into()),
        ("DefaultWebSite-OWA_web.config", format!("{front}/owa/web.config")),
        ("DefaultWebSite-ECP_web.config", format!("{front}/ecp/web.config")),
    ];
    let text = |sample: &str| std::fs::read_to_string(samples.join(sample)).unwrap();
    let texts = homes.into_iter().map(|(sample, home)| (home, text(sample))).collect();
    let (faults, owa) = naively(&texts);
    assert_eq!(faults, [""; 0]);
    assert!(owa.len() >= 4 && owa.iter().all(|(_, rules)| *rules == 1), "{owa:?}");
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
