//! Octets that are no document: each is refused for its own reason, before much is done with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // tests, and helpers of tests

mod common;

use proptest::prelude::*;
use stopgap_feed::scan::{ScanError, scan};
use stopgap_feed::{Document, Limits, Revocation, verify};

use common::FEED;
use common::pki::Pki;
use stopgap_feed::c14n::Canonicalization;

/// The code with which octets are refused.
fn code(bytes: &[u8]) -> &'static str {
    match stopgap_feed::dsig::open(bytes, &Limits::default()) {
        Ok(_) => "accepted",
        Err(refusal) => refusal.code(),
    }
}

#[test]
fn each_kind_of_bad_input_has_its_own_refusal() {
    let utf16: Vec<u8> = FEED.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with_mark: Vec<u8> = [&[0xFF, 0xFE][..], &utf16].concat();
    let many = |name: &str| (0..60_000).map(|i| format!(" {name}{i}=\"u:x\"")).collect::<String>();
    let namespaces: String = (0..5000).map(|i| format!("<a xmlns:n{i}=\"u:{i}\">")).collect();
    let siblings: String = (0..5000).map(|i| format!("<a xmlns:n{i}=\"u:{i}\"/>")).collect();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", Vec::new(), "empty"),
        ("blanks", b" \r\n\t".to_vec(), "empty"),
        ("100 MB", vec![b' '; 100 * 1024 * 1024], "too-large"),
        ("200,000 levels", "<a>".repeat(200_000).into_bytes(), "too-deep"),
        ("60,000 attributes", format!("<a{}/>", many("a")).into_bytes(), "too-many-attributes"),
        ("60,000 namespaces", format!("<a{}/>", many("xmlns:a")).into_bytes(), "too-many-attributes"),
        ("5,000 nested namespaces", namespaces.into_bytes(), "too-deep"),
        ("5,000 namespaces side by side", format!("<r>{siblings}</r>").into_bytes(), "too-many-namespaces"),
        ("a million nodes", format!("<r>{}</r>", "<a/>".repeat(1_000_001)).into_bytes(), "too-many-nodes"),
        ("15 MB of `=`", format!("<r>{}</r>", "=".repeat(15 << 20)).into_bytes(), "too-many-nodes"),
        (
            "15 MB of `<`",
            format!("<r><![CDATA[{}]]></r>", "<".repeat(15 << 20)).into_bytes(),
            "too-many-nodes",
        ),
        ("a long name", format!("<{}/>", "a".repeat(70_000)).into_bytes(), "name-too-long"),
        ("a document type", b"<!DOCTYPE EOCS><EOCS/>".to_vec(), "doctype"),
        (
            "entities",
            b"<!DOCTYPE l [<!ENTITY a \"aa\"><!ENTITY b \"&a;&a;\">]><l>&b;</l>".to_vec(),
            "doctype",
        ),
        ("UTF-16", with_mark, "not-utf8"),
        ("UTF-16 without mark", utf16, "not-utf8"),
        ("declared UTF-16", FEED.replace("utf-8", "utf-16").into_bytes(), "not-utf8"),
        ("declared Latin 1", FEED.replace("utf-8", "ISO-8859-1").into_bytes(), "not-utf8"),
        ("overlong UTF-8", b"<a>\xC0\xBC</a>".to_vec(), "not-utf8"),
        ("a surrogate", b"<a>\xED\xA0\x80</a>".to_vec(), "not-utf8"),
        ("NUL", b"<a>\0</a>".to_vec(), "illegal-character"),
        ("a control character", b"<a>\x1B</a>".to_vec(), "illegal-character"),
        ("U+FFFF", "<a>\u{FFFF}</a>".as_bytes().to_vec(), "illegal-character"),
        ("a reference to NUL", b"<a>&#0;</a>".to_vec(), "malformed-xml"),
        ("a reference to U+0001", b"<a>&#1;</a>".to_vec(), "illegal-character"),
        ("a reference to a surrogate", b"<a>&#xD800;</a>".to_vec(), "malformed-xml"),
        ("the same in an attribute", b"<a b=\"x&#xD800;y\"/>".to_vec(), "malformed-xml"),
        ("a reference beyond Unicode in an attribute", b"<a b=\"&#x110000;\"/>".to_vec(), "malformed-xml"),
        ("a reference without end", b"<a>&amp</a>".to_vec(), "malformed-xml"),
        ("an entity nobody declared", b"<a>&x;</a>".to_vec(), "malformed-xml"),
        ("an undeclared prefix", b"<p:a/>".to_vec(), "malformed-xml"),
        ("a prefix undeclared again", b"<a xmlns:p=\"\"/>".to_vec(), "malformed-xml"),
        ("a relative namespace", b"<a xmlns=\"b\"/>".to_vec(), "relative-namespace"),
        ("a relative namespace with a colon", b"<a xmlns:p=\"b/c:d\"/>".to_vec(), "relative-namespace"),
        ("two default namespaces", b"<a xmlns=\"u:1\" xmlns=\"u:2\"/>".to_vec(), "malformed-xml"),
        ("an attribute twice", b"<a b=\"\" b=\"\"/>".to_vec(), "malformed-xml"),
        (
            "an attribute twice by namespace",
            b"<a xmlns:p=\"u:1\" xmlns:q=\"u:1\" p:b=\"\" q:b=\"\"/>".to_vec(),
            "malformed-xml",
        ),
        ("a name that begins with a colon", b"<a :b=\"\"/>".to_vec(), "malformed-xml"),
        ("a name that ends with a colon", b"<a xmlns:b=\"u:b\"><b: /></a>".to_vec(), "malformed-xml"),
        ("an end tag whose name begins with a colon", b"<a></:a>".to_vec(), "malformed-xml"),
        ("an end tag without a name", b"<a></>".to_vec(), "malformed-xml"),
        ("a name with two colons", b"<a xmlns:b=\"u:b\" b:c:d=\"\"/>".to_vec(), "malformed-xml"),
        ("a prefix declared that is none", b"<a xmlns:=\"u:b\"/>".to_vec(), "malformed-xml"),
        ("an instruction's name with a colon first", b"<?:p?><a/>".to_vec(), "malformed-xml"),
        ("a value without a name", b"<a =\"b\"/>".to_vec(), "malformed-xml"),
        ("two roots", b"<a/><a/>".to_vec(), "malformed-xml"),
        ("text after the root", b"<a/>x".to_vec(), "malformed-xml"),
        ("a reference after the root", b"<a/>&#32;".to_vec(), "malformed-xml"),
        ("text before the root", b"x<a/>".to_vec(), "malformed-xml"),
        ("an end without a start", b"<a/></b>".to_vec(), "malformed-xml"),
        ("a value without quotes", b"<a b=c/>".to_vec(), "malformed-xml"),
        ("a name without a value", b"<a b/>".to_vec(), "malformed-xml"),
        ("a tag in a tag", b"<a <b/>>".to_vec(), "malformed-xml"),
        ("a tag in a value", b"<a b=\"<c/>\"/>".to_vec(), "malformed-xml"),
        ("a CDATA section outside", b"<a/><![CDATA[]]>".to_vec(), "malformed-xml"),
        ("markup that is none", b"<a><!ELEMENT b></a>".to_vec(), "malformed-xml"),
        ("a document type inside", b"<a><!doctype b></a>".to_vec(), "doctype"),
        ("two hyphens in a comment", b"<a><!-- -- --></a>".to_vec(), "malformed-xml"),
        ("a comment that ends in three", b"<a><!-- ---></a>".to_vec(), "malformed-xml"),
        ("the end of a CDATA section in text", b"<a>]]></a>".to_vec(), "malformed-xml"),
        ("crossed tags", b"<a><b></a></b>".to_vec(), "malformed-xml"),
        ("no root", b"<!-- nothing -->".to_vec(), "malformed-xml"),
        ("XML 1.1", b"<?xml version=\"1.1\"?><a/>".to_vec(), "malformed-xml"),
        ("a late declaration", b" <?xml version=\"1.0\"?><a/>".to_vec(), "malformed-xml"),
        ("an instruction named XML", b"<?XML x?><a/>".to_vec(), "malformed-xml"),
        ("an instruction without a space", b"<?xmlo=\"1.0\"?><a/>".to_vec(), "malformed-xml"),
        ("a blank that is none in a target", "<?xml\u{85} v=\"1.0\"?><a/>".into(), "malformed-xml"),
        ("HTML", b"<html><br></html>".to_vec(), "malformed-xml"),
        (
            "300,000 instructions outside",
            format!("{}<a/>", "<?p?>".repeat(300_000)).into_bytes(),
            "not-signed",
        ),
        ("not signed", FEED.as_bytes().to_vec(), "not-signed"),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(code(&bytes), expected, "{name}");
    }
}

/// A refusal says what it found, also where that is nothing.
#[test]
fn a_refusal_of_a_name_says_what_was_found_in_its_place() {
    let cases = [
        ("<a :b=\"\"/>", "expected a colon within a name, once, found `:b`"),
        ("<a xmlns:b=\"u:b\"><b: /></a>", "expected a colon within a name, once, found `b:`"),
        ("<a xmlns:b=\"u:b\" b:c:d=\"\"/>", "expected a colon within a name, once, found `b:c:d`"),
        ("<a></:a>", "expected a colon within a name, once, found `:a`"),
        ("<a></ >", "expected a name, found none"),
        ("<a \"b\"/>", "expected a name, found none"),
        ("<a =\"b\"/>", "expected a name, found none"),
        ("< a/>", "expected a name, found none"),
        ("<? p?><a/>", "expected a name, found none"),
        ("<a b=\"\" ", "the document ends inside a tag"),
        ("<a", "the document ends inside a tag"),
        ("<a b", "expected `name=\"value\"` in a tag, found `b`"),
        ("<?xml version=\"\"?><a/>", "expected `version=\"1.0\"`, found `version=\"\"`"),
    ];
    for (text, expected) in cases {
        let error = scan(text.as_bytes(), &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("line 1: not well-formed XML: {expected}"), "{text}");
    }
    assert!(scan(b"<b:a xmlns:b=\"u:b\" b:c=\"\"></b:a >", &Limits::default()).is_ok());
}

/// Letters that are not ASCII are no white space before a name, but its beginning.
#[test]
fn names_of_other_letters_are_names() {
    let text = "<é à=\"1\" ä = '2'\té=\"3\" xmlns:ö=\"u:o\" ö:é=\"4\"><ö:é/><?é?></é>";
    let scanned = scan(text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(scanned.parse().unwrap().root_element().attributes().count(), 4);
    let twice = scan("<a é=\"1\" à=\"2\" é=\"3\"/>".as_bytes(), &Limits::default()).unwrap_err();
    let expected = "line 1: not well-formed XML: expected each attribute once, found `é` twice";
    assert_eq!(twice.to_string(), expected);
    let limits = Limits { name: 3, ..Limits::default() };
    assert_eq!(scan("<a éé=\"\"/>".as_bytes(), &limits).unwrap_err().code(), "name-too-long");
}

#[test]
fn a_byte_order_mark_and_a_declaration_over_lines_are_no_harm() {
    let pki = Pki::new();
    let signed = pki.sign(FEED, Canonicalization::Inclusive);
    let open = |text: &str| {
        stopgap_feed::dsig::open(text.as_bytes(), &Limits::default()).map(|s| s.octets().to_vec())
    };
    let plain = open(&signed).unwrap();
    assert_eq!(open(&format!("\u{FEFF}{signed}")).unwrap(), plain);
    assert_eq!(open(&signed.replacen("<?xml version", "<?xml\n\tversion", 1)).unwrap(), plain);
    assert!(plain.starts_with(b"<EOCS "));
}

#[test]
fn a_truncated_document_is_refused_wherever_it_ends() {
    let pki = Pki::new();
    let signed = pki.sign(FEED, Canonicalization::Exclusive);
    let signed = signed.trim_end();
    assert_eq!(code(signed.as_bytes()), "accepted");
    for length in (0..signed.len()).step_by(7).chain([signed.len() - 1]) {
        let expected = if length == 0 { "empty" } else { "malformed-xml" };
        assert_eq!(code(&signed.as_bytes()[..length]), expected, "cut to {length}");
    }
}

/// Pieces whose insides look like other pieces, between which the scan and the tree parser must agree.
const CONFUSING: [&str; 14] = [
    "<a>",
    "</a>",
    "<a/>",
    "<a b='>'>",
    "<a b=\"'/>\" c = '\"'/>",
    "</a >",
    "<!-- <a> \" -->",
    "<!--'-->",
    "<![CDATA[<a>]]]]>",
    "<![CDATA[</a>&]]>",
    "<?p <a> \"?>",
    "<?p?>",
    "&lt;",
    " ' > \" ",
];

/// Octets that are refused for one limit alone.
fn exceeds(text: &str, limits: &Limits) -> bool {
    match scan(text.as_bytes(), limits) {
        Ok(_) => false,
        Err(ScanError::TooDeep { .. } | ScanError::TooManyNodes { .. }) => true,
        Err(other) => panic!("{text}: {other}"),
    }
}

proptest! {
    /// The scan would bound nothing if it took for text what the tree parser takes for elements.
    #[test]
    fn the_scan_counts_what_the_tree_holds(pieces in prop::collection::vec(prop::sample::select(&CONFUSING[..]), 0..12)) {
        let (mut text, mut open) = ("<a>".to_owned(), 1_usize);
        for piece in pieces {
            match piece {
                "</a>" | "</a >" if open == 1 => continue,
                "</a>" | "</a >" => open -= 1,
                "<a>" | "<a b='>'>" => open += 1,
                _ => {}
            }
            text.push_str(piece);
        }
        text.push_str(&"</a>".repeat(open));
        let tree = roxmltree::Document::parse(&text).unwrap();
        let depth = tree.descendants().map(|node| node.ancestors().filter(|n| n.is_element()).count()).max().unwrap();
        let nodes = tree.descendants().count() - 1;
        let limits = Limits { depth, ..Limits::default() };
        prop_assert!(!exceeds(&text, &limits), "{}", text);
        prop_assert!(exceeds(&text, &Limits { depth: depth - 1, ..limits }), "{}", text);
        // An element's end counts, too, and the pieces of one text each.
        prop_assert!(exceeds(&text, &Limits { nodes: nodes - 1, ..limits }), "{}", text);
    }

    /// No octet of a signed document can be changed to another meaning.
    #[test]
    fn a_changed_octet_never_changes_what_is_read(at in any::<prop::sample::Index>(), with in any::<u8>()) {
        thread_local! {
            static SIGNED: (Pki, String) = {
                let pki = Pki::new();
                let signed = pki.sign(FEED, Canonicalization::Exclusive);
                (pki, signed)
            };
        }
        SIGNED.with(|(pki, signed)| {
            let mut bytes = signed.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = with;
            let now = "2026-11-22T06:00:00Z".parse().unwrap();
            if let Ok(feed) = verify(&pki.trust(""), &bytes, None, &Revocation::off(), now) {
                let expected = Document::from_unsigned(FEED.as_bytes(), &Limits::default()).unwrap();
                prop_assert_eq!(feed.document().serial, expected.serial);
                prop_assert_eq!(&feed.document().mitigations[0].actions, &expected.mitigations[0].actions);
            }
            Ok(())
        })?;
    }

    /// Whatever comes, the reader answers.
    #[test]
    fn no_octets_make_the_reader_panic(text in "[<>/a-cEOCSx:=\"'&;#0-9!?\\[\\] -]{0,200}") {
        let _ = Document::from_unsigned(text.as_bytes(), &Limits::default());
        let _ = stopgap_feed::dsig::open(text.as_bytes(), &Limits::default());
    }
}
