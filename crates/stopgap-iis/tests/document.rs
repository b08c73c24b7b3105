//! Files that come out as they went in, and edits that change nothing else.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use proptest::prelude::*;
use stopgap_iis::{Document, DocumentError, Edit, EditError, Encoding};

const FILE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<!-- a > b -->\r\n<configuration>\r\n\
    \t<system.webServer>\r\n\t\t<rewrite   a='1'  b = \"&lt;2&#10;\" />\r\n\t</system.webServer>\r\n\
    \t<other><![CDATA[<x>]]></other>\r\n</configuration>\r\n";

fn document(text: &str) -> Document {
    Document::parse(text.as_bytes()).unwrap()
}

fn find(document: &Document, name: &str) -> stopgap_iis::ElementId {
    document.elements().find(|element| element.name() == name).unwrap().id()
}

fn utf16(text: &str, little: bool) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
}

#[test]
fn every_file_of_a_real_server_prints_back_identical_with_either_line_end() {
    let test = "every_file_of_a_real_server_prints_back_identical_with_either_line_end";
    let Some(corpus) = common::corpus(test) else { return };
    let mut files = 0;
    for (path, bytes) in common::walk(&corpus).iter().filter(|(path, _)| path.ends_with(".config")) {
        let with_crlf = String::from_utf8(bytes.clone()).unwrap().replace('\n', "\r\n").into_bytes();
        for bytes in [bytes, &with_crlf] {
            let document = Document::parse(bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(document.to_bytes() == *bytes, "{path} changed");
            let text = document.text();
            let reference = roxmltree::Document::parse(text).unwrap();
            let theirs: Vec<_> = reference
                .descendants()
                .filter(roxmltree::Node::is_element)
                .map(|node| (node.range(), node.attributes().map(|a| a.value().to_owned()).collect()))
                .collect();
            let ours: Vec<(_, Vec<String>)> = document
                .elements()
                .map(|element| {
                    let values = element.attributes().filter(|(name, _)| !name.starts_with("xmlns"));
                    (element.span(), values.map(|(_, value)| value.into_owned()).collect())
                })
                .collect();
            assert!(ours == theirs, "{path}: elements differ from those that another parser sees");
        }
        files += 1;
    }
    assert_eq!(files, 26);
}

#[test]
fn the_encoding_stays() {
    let text = FILE.replace("UTF-8", "utf-16").replace("a > b", "ä 😀");
    for (bytes, encoding) in [
        (utf16(&text, true), Encoding::Utf16Le),
        (utf16(&text, false), Encoding::Utf16Be),
        (FILE.as_bytes().to_vec(), Encoding::Utf8 { mark: false }),
        ([b"\xef\xbb\xbf", FILE.as_bytes()].concat(), Encoding::Utf8 { mark: true }),
    ] {
        let document = Document::parse(&bytes).unwrap();
        assert_eq!(document.encoding(), encoding);
        assert_eq!(document.to_bytes(), bytes);
        let edit = document.set_attribute(find(&document, "rewrite"), "c", "😀").unwrap();
        let edited = document.with(&[edit]).unwrap();
        let edit = edited.remove_attribute(find(&edited, "rewrite"), "c").unwrap();
        assert_eq!(edited.with(&[edit]).unwrap().to_bytes(), bytes);
    }
}

#[test]
fn what_cannot_be_decoded_is_said() {
    let code = |bytes: &[u8]| Document::parse(bytes).unwrap_err().code();
    assert_eq!(code(b"<a>\xff</a>"), "undecodable");
    assert_eq!(code(b"\xff\xfe<\0a\0/"), "undecodable");
    assert_eq!(code(b"\xff\xfe\x00\xd8<\0"), "undecodable");
    assert_eq!(code(b"<?xml version=\"1.0\" encoding=\"utf-16\"?><a/>"), "undecodable");
    assert_eq!(code("<?xml version='1.0' encoding='iso-8859-1'?><a b='é'/>".as_bytes()), "undecodable");
    assert!(Document::parse(b"<?xml version='1.0' encoding='iso-8859-1'?><a/>").is_ok());
    assert_eq!(code(&vec![b' '; 16 * 1024 * 1024 + 1]), "too-large");
}

#[test]
fn each_fault_is_told_with_its_place() {
    for (text, at, says) in [
        ("<a>\n  <b>\n</a>", "line 3, column 1", "</b>, opened in line 2"),
        ("<a>\n <b x='1' x='2'/></a>", "line 2, column 11", "a second attribute x"),
        ("<a b=1/>", "line 1, column 6", "in quotes"),
        ("<a b='<'/>", "line 1, column 7", "&lt;"),
        ("<a>&nbsp;</a>", "line 1, column 4", "&amp;"),
        ("<a>&#0;</a>", "line 1, column 4", "&amp;"),
        ("<a/><b/>", "line 1, column 5", "second root"),
        ("<a/>x", "line 1, column 5", "outside the root"),
        ("", "line 1, column 1", "an element"),
        ("<a><!-- -- --></a>", "line 1, column 9", "--"),
        ("<a>]]></a>", "line 1, column 4", "]]&gt;"),
        ("<!DOCTYPE a><a/>", "line 1, column 1", "document type"),
        (" <?xml version='1.0'?><a/>", "line 1, column 2", "very beginning"),
        ("<a>\u{1}</a>", "line 1, column 4", "XML does not have"),
        ("<p:a/>", "line 1, column 2", "declared"),
        ("<a><b xmlns:p='u'/><p:c/></a>", "line 1, column 21", "declared"),
    ] {
        let error = Document::parse(text.as_bytes()).unwrap_err();
        let told = error.to_string();
        assert!(told.starts_with(at) && told.contains(says), "{text:?}: {told}");
        assert!(roxmltree::Document::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn nothing_is_unbounded() {
    let deep = "<a>".repeat(65) + &"</a>".repeat(65);
    assert!(matches!(Document::parse(deep.as_bytes()), Err(DocumentError::TooMany { limit: 64, .. })));
    let wide: String = (0..65).map(|n| format!(" a{n}=''")).collect();
    let wide = format!("<a{wide}/>");
    assert!(matches!(Document::parse(wide.as_bytes()), Err(DocumentError::TooMany { limit: 64, .. })));
}

#[test]
fn a_child_gets_the_indentation_and_line_ends_of_the_file() {
    let before = document(FILE);
    let rule = "<rules>\n  <rule name=\"x\">\n    <match url=\".*\" />\n  </rule>\n</rules>\n";
    let edit = before.append_child(find(&before, "rewrite"), rule).unwrap();
    let after = before.with(&[edit]).unwrap();
    assert_eq!(
        after.text(),
        FILE.replace(
            "\"&lt;2&#10;\" />",
            "\"&lt;2&#10;\">\r\n\t\t\t<rules>\r\n\t\t\t\t<rule name=\"x\">\r\n\t\t\t\t\t<match url=\".*\" />\
             \r\n\t\t\t\t</rule>\r\n\t\t\t</rules>\r\n\t\t</rewrite>"
        )
    );
    let edit = before.insert_before(find(&before, "rewrite"), "<x>\n  <y/>\n</x>").unwrap();
    let after = before.with(&[edit]).unwrap();
    let added = "\t\t<x>\r\n\t\t\t<y/>\r\n\t\t</x>\r\n\t\t<rewrite";
    assert_eq!(after.text(), FILE.replace("\t\t<rewrite", added));
}

#[test]
fn what_is_put_in_goes_to_the_byte() {
    for parent in ["configuration", "system.webServer"] {
        let before = document(FILE);
        let edit = before.append_child(find(&before, parent), "<x a=\"1\">\n  <y />\n</x>").unwrap();
        let after = before.with(&[edit]).unwrap();
        assert_ne!(after.text(), FILE);
        let edit = after.remove(find(&after, "x")).unwrap();
        assert_eq!(after.with(&[edit]).unwrap().text(), FILE, "{parent}");
    }
}

#[test]
fn attributes_change_by_themselves() {
    let before = document(FILE);
    let element = find(&before, "rewrite");
    let edits = [
        before.set_attribute(element, "a", "it's & \"so\"").unwrap(),
        before.set_attribute(element, "c", "1\n<").unwrap(),
        before.remove_attribute(element, "b").unwrap(),
    ];
    let after = before.with(&edits).unwrap();
    let expected = "<rewrite   a='it&apos;s &amp; \"so\"' c=\"1&#10;&lt;\" />";
    assert_eq!(after.text(), FILE.replace("<rewrite   a='1'  b = \"&lt;2&#10;\" />", expected));
    let element = after.element(find(&after, "rewrite")).unwrap();
    assert_eq!(element.attribute("a").unwrap(), "it's & \"so\"");
    assert_eq!(element.attribute("c").unwrap(), "1\n<");
    assert!(before.remove_attribute(find(&before, "rewrite"), "none").is_none());
}

#[test]
fn an_edit_that_would_harm_is_refused() {
    let before = document(FILE);
    let parent = find(&before, "rewrite");
    for xml in ["<a>", "<a>words</a>", "<a/><b/>", "<a/>x", "<?xml version='1.0'?><a/>", "<a b='1\n2'/>", ""]
    {
        assert!(before.append_child(parent, xml).is_err(), "{xml}");
    }
    let edit = before.set_attribute(parent, "a\"b", "").unwrap();
    assert!(matches!(before.with(&[edit]), Err(EditError::Document(_))));
    let edit = before.remove(parent).unwrap();
    assert!(matches!(before.with(&[edit.clone(), edit]), Err(EditError::Span(_))));
    assert!(matches!(before.remove(before.root().id()), Err(EditError::NoElement)));
}

#[test]
fn places_count_characters_from_one() {
    let document = document("<a>\n  <!-- ö --><b/>\n</a>");
    let place = document.elements().nth(1).unwrap().place();
    assert_eq!((place.line, place.column), (2, 13));
}

/// Pieces that make texts near to XML.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "<a>",
        "</a>",
        "<b x='1'/>",
        "<b x=\"&amp;\" y='2'>",
        "</b>",
        "<c",
        " d='",
        "'",
        "\"",
        "/>",
        ">",
        "<!--",
        "-->",
        "-",
        "<![CDATA[",
        "]]>",
        "&lt;",
        "&#x41;",
        "&",
        ";",
        "<?p q?>",
        "<?",
        "\r\n",
        "\t",
        " ",
        "t",
        "é",
        "=",
        "p:q",
        " xmlns:p='u'",
        "<p:e/>",
        "<",
        "]",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

/// Well-formed content of an element in which the prefix `p` is declared.
fn content() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "<b x='1' y=\"&lt;\"/>",
        "<p:e p:a='1'/>",
        "<!-- <a> -->",
        "<![CDATA[</a>]]>",
        "<?q </a>?>",
        "words",
        "\r\n  ",
        "é &amp; ",
        "<c></c>",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 40, 6, |inner| {
        let tag = prop::sample::select(vec!["a", "a xmlns:n='v'", "p:f x='é'", "d y='2'"]);
        (tag, prop::collection::vec(inner, 0..6)).prop_map(|(tag, inner)| {
            let name = tag.split(' ').next().unwrap();
            format!("<{tag}>{}</{name}>", inner.concat())
        })
    })
}

/// Everything that a document says of its elements.
fn told(document: &Document) -> Vec<String> {
    let each = document.elements().map(|element| {
        format!(
            "{:?} {} {:?} {:?} {:?} {:?} {:?}",
            element.span(),
            element.name(),
            element.attributes().collect::<Vec<_>>(),
            element.words(),
            element.place(),
            element.parent().map(|parent| parent.id()),
            element.children().map(|child| child.id()).collect::<Vec<_>>(),
        )
    });
    each.collect()
}

#[test]
fn an_edit_gives_what_reading_the_edited_text_gives_and_refuses_what_that_refuses() {
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3_000) },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let (taken, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let with = prop_oneof![2 => pieces(), 2 => content(), 1 => Just(String::new())];
    let spans = (any::<prop::sample::Index>(), prop_oneof![3 => Just(0), 1 => 0..30usize]);
    let edits = prop::collection::vec((spans, with), 1..3);
    let made = (prop::collection::vec(content(), 0..6), edits);
    let checked = runner.run(&made, |(inside, edits)| {
        let text = format!("<?xml version='1.0'?>\n<r xmlns:p='u'>{}</r>\n", inside.concat());
        let before = Document::parse(text.as_bytes()).unwrap();
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let edit = |((at, length), with): ((prop::sample::Index, usize), String)| {
            let from = at.index(ends.len());
            let span = ends[from]..ends[(from + length).min(ends.len() - 1)];
            Edit { span, with }
        };
        let mut edits: Vec<Edit> = edits.into_iter().map(edit).collect();
        edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
        prop_assume!(edits.is_sorted_by(|one, other| one.span.end <= other.span.start));
        let mut edited = text.clone();
        for edit in edits.iter().rev() {
            edited.replace_range(edit.span.clone(), &edit.with);
        }
        match (before.with(&edits), Document::parse(edited.as_bytes())) {
            (Ok(ours), Ok(whole)) => {
                taken.set(taken.get() + 1);
                prop_assert_eq!(ours.text(), whole.text());
                prop_assert_eq!(told(&ours), told(&whole), "{:?} of {:?}", edits, text);
            }
            (Err(EditError::Document(ours)), Err(whole)) => {
                refused.set(refused.get() + 1);
                prop_assert_eq!(ours, whole, "{:?} of {:?}", edits, text);
            }
            (ours, whole) => prop_assert!(false, "{text:?}, {edits:?}: {ours:?}, {whole:?}"),
        }
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
    assert!(taken.get() > 500 && refused.get() > 500, "{} taken, {} refused", taken.get(), refused.get());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn another_parser_takes_and_refuses_the_same_texts(inside in pieces(), bare in any::<bool>()) {
        let text = if bare { inside } else { format!("<r>{inside}</r>") };
        let ours = Document::parse(text.as_bytes());
        match (&ours, roxmltree::Document::parse(&text)) {
            (Ok(document), Ok(reference)) => {
                prop_assert_eq!(document.to_bytes(), text.as_bytes());
                let theirs: Vec<_> =
                    reference.descendants().filter(roxmltree::Node::is_element).map(|node| node.range()).collect();
                let ours: Vec<_> = document.elements().map(|element| element.span()).collect();
                prop_assert_eq!(ours, theirs);
            }
            (Err(_), Err(_)) => {}
            (ours, theirs) => prop_assert!(false, "{text:?}: {ours:?}, {theirs:?}"),
        }
    }

    #[test]
    fn an_element_put_anywhere_and_taken_out_again_leaves_one_document(inside in pieces(), pick in any::<prop::sample::Index>()) {
        let text = format!("<r>\n{inside}\n</r>");
        let Ok(before) = Document::parse(text.as_bytes()) else { return Ok(()) };
        let parents: Vec<_> = before.elements().map(|element| element.id()).collect();
        let parent = parents[pick.index(parents.len())];
        let edit = before.append_child(parent, "<new>\n  <child />\n</new>").unwrap();
        let after = before.with(&[edit]).unwrap();
        prop_assert_eq!(after.elements().count(), parents.len() + 2);
        let edit = after.remove(find(&after, "new")).unwrap();
        let again = after.with(&[edit]).unwrap();
        prop_assert_eq!(again.elements().count(), parents.len());
    }
}
