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

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/exchange.rs"]
mod exchange;
mod levels;
#[path = "../naive/mod.rs"]
mod naive;
mod whole;

use std::collections::BTreeMap;

use exchange::{HOST, OWA, ROOT, rewrite, tree};
use stopgap_iis::place::{By, FileEdit, Insertion, Piece, Placement, Scope, State, Why, place, take_off};
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
