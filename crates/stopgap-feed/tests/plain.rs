//! Canonical form straight from a document's text, against the form that its tree gives and against libxml2.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // tests, and helpers of tests

mod common;

use std::process::Command;

use proptest::prelude::*;
use stopgap_feed::c14n::{Canonicalization, canonicalize, canonicalize_plain};
use stopgap_feed::limits::Limits;
use stopgap_feed::scan::scan;

use Canonicalization::{Exclusive, Inclusive};
use common::Numbers;
use common::pki::Pki;

/// Compares the two ways to a plain document's canonical form: from its text, and from its tree. Returns
/// whether it was plain.
fn plain_is_what_the_tree_gives(xml: &str) -> bool {
    let Ok(scanned) = scan(xml.as_bytes(), &Limits::default()) else { return false };
    let Some(plain) = canonicalize_plain(&scanned) else { return false };
    let alone = plain.left_out.map(roxmltree::Document::parse);
    let one_element =
        |tree: &roxmltree::Document<'_>| tree.root_element().range() == (0..tree.input_text().len());
    let alone = match alone {
        Some(Ok(alone)) if one_element(&alone) => Some(alone),
        Some(_) => return false,
        None => None,
    };
    let tree = scanned.parse().unwrap_or_else(|error| panic!("{error}: {xml:?}"));
    let last = tree.root_element().last_element_child();
    let omit = alone.as_ref().and(last);
    for form in [Inclusive, Exclusive] {
        let of_tree = canonicalize(tree.root(), form, omit);
        assert_eq!(
            String::from_utf8_lossy(&plain.octets),
            String::from_utf8_lossy(&of_tree),
            "{form:?}: {xml:?}"
        );
    }
    if let (Some(alone), Some(last)) = (&alone, omit) {
        assert_eq!(alone.input_text(), &scanned.text()[last.range()], "{xml:?}");
        let parts = |top: roxmltree::Node<'_, '_>, form| -> Vec<Vec<u8>> {
            top.descendants().filter(|n| n.is_element()).map(|node| canonicalize(node, form, None)).collect()
        };
        for form in [Inclusive, Exclusive] {
            assert_eq!(parts(alone.root_element(), form), parts(last, form), "{form:?}: {xml:?}");
        }
    }
    true
}

#[test]
fn what_is_plain_and_what_is_not() {
    let plain = [
        "<a/>",
        " <!-- > --><a b='\"' c = \"&lt;&gt;&amp;&quot;&apos;'>\" ></a >\n",
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<a.b-c_1\tb='1\t2\r\n3'>x > y &gt; \"'é\u{85}</a.b-c_1>",
        "<_b><b z='' a='' Z=''/>&lt;<!--x- -->&apos;&quot;</_b>",
        "<a>x<!-- y -->z<b/> \n<S xmlns=\"u:1\"><![CDATA[ ]]><c d=\"&#1234;\"/></S>\n </a>",
        "<a><p:S xmlns:p=\"u:1\" xml:lang=\"de\"><p:c/><d xmlns=\"u:1\"/></p:S></a><!-- after -->",
        "<a><S xmlns='u:1'/></a>",
        "<a>]] &gt;]]<b/>&gt;</a>",
    ];
    for xml in plain {
        assert!(plain_is_what_the_tree_gives(xml), "{xml}");
    }
    let others = [
        "<p:a xmlns:p=\"u:1\"/>",
        "<a xmlns=\"u:1\"/>",
        "<a xml:lang=\"de\"/>",
        "<a><b><S xmlns=\"u:1\"/></b></a>",
        "<a><S xmlns=\"u:1\"/><b/></a>",
        "<a><S xmlns=\"u:1\"/>x</a>",
        "<a><S xmlns=\"u:1\"/></a><!-- </a> -->",
        "<a><![CDATA[x]]></a>",
        "<a><?p?></a>",
        "<?p?><a/>",
        "<a>&#13;</a>",
        "<a b=\"&#13;\"/>",
        "<é/>",
        "<a é=\"\"/>",
        "<a>]]></a>",
        "<a b=\"<\"/>",
        "<a b=\"\"c=\"\"/>",
        "<a><b></a></b>",
        "<1/>",
        "<a><!-- -- --></a>",
        "<a><!--> --></a>",
        "<a><!---x--></a>",
        "<a>&x;</a>",
        "<a b=\"&x;\"/>",
        "<a>&lt</a>",
    ];
    for xml in others {
        assert!(!plain_is_what_the_tree_gives(xml), "{xml}");
    }
}

/// What is signed in the usual way is plain: else nothing would be gained.
#[test]
fn a_signed_feed_is_plain() {
    let pki = Pki::new();
    for form in [Inclusive, Exclusive] {
        assert!(plain_is_what_the_tree_gives(&pki.sign(common::FEED, form)));
    }
    let name = "ms-feed/getexchangemitigations-2021-09-29.xml";
    if let Some(microsofts) = common::corpus("a_signed_feed_is_plain", name) {
        assert!(plain_is_what_the_tree_gives(&String::from_utf8(microsofts).unwrap()));
    }
}

/// Pieces of documents, plain and not, which make sense side by side or do not.
const PIECES: &[&str] = &[
    "<b>",
    "</b>",
    "<b/>",
    "<b c='' a=''/>",
    "<a>",
    "</a>",
    "</b >",
    "<b\n>",
    "<b a = '>'>",
    "<b a=\"&quot;\n\">",
    "<b a='\"&amp;'/>",
    "<b a=''b=''/>",
    "<b a='<'/>",
    "<b xmlns='u:1'>",
    "<p:b xmlns:p='u:1'/>",
    "<b p:c=''/>",
    "<b xml:id='i'/>",
    "<b xmlns=''/>",
    "&lt;",
    "&gt;",
    "&quot;",
    "&#13;",
    "&amp;",
    "&",
    ">",
    "]]",
    "]]>",
    "\r\n",
    "\r",
    " ",
    "\t",
    "x",
    "é",
    "<é/>",
    "<!-- -->",
    "<!-- </a> -->",
    "<!---->",
    "<!--->-->",
    "<!-- - -->",
    "<![CDATA[>]]>",
    "<?p ?>",
    "<?p a?>",
    "'",
    "\"",
    "--",
    "=",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_pieces_give_one_canonical_form(before in pieces(), inside in pieces(), last in pieces(), after in pieces()) {
        plain_is_what_the_tree_gives(&format!("{before}<a>{inside}</a>{after}"));
        plain_is_what_the_tree_gives(&format!("<a>{inside}</a>"));
        plain_is_what_the_tree_gives(&format!("<a>{inside}<S xmlns='u:1'>{last}</S>{before}</a>"));
        plain_is_what_the_tree_gives(&format!("<a>x<q:S xmlns:q='u:1'>{last}</q:S>\n</a>{after}"));
    }

    /// Here most are plain.
    #[test]
    fn a_changed_octet_gives_one_canonical_form(at in any::<prop::sample::Index>(), with in prop::sample::select(PIECES), length in 0..3_usize) {
        let feed = common::FEED.replace("</EOCS>", "<S xmlns=\"u:1\"><T a=\"\">x</T></S></EOCS>");
        prop_assert!(plain_is_what_the_tree_gives(&feed));
        let start = (0..=at.index(feed.len())).rev().find(|at| feed.is_char_boundary(*at)).unwrap();
        let end = (start + length..=feed.len()).find(|at| feed.is_char_boundary(*at)).unwrap_or(start);
        plain_is_what_the_tree_gives(&format!("{}{with}{}", &feed[..start], &feed[end..]));
    }
}

#[test]
fn plain_documents_are_as_libxml2_writes_them() {
    if !common::tool("plain documents", "xmllint") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("stopgap-c14n-plain-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut numbers = Numbers(0x9A1A_5EED);
    let documents: Vec<String> = (0..DOCUMENTS).map(|_| plain_document(&mut numbers)).collect();
    for (at, xml) in documents.iter().enumerate() {
        std::fs::write(folder.join(format!("{at}.xml")), xml).unwrap();
    }
    for option in ["--c14n", "--exc-c14n"] {
        let names = (0..DOCUMENTS).map(|at| format!("{at}.xml"));
        let output = Command::new("xmllint").arg(option).args(names).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "xmllint {option}: {}", String::from_utf8_lossy(&output.stderr));
        let mut theirs = output.stdout.as_slice();
        for xml in &documents {
            assert!(plain_is_what_the_tree_gives(xml), "{xml:?}");
            let scanned = scan(xml.as_bytes(), &Limits::default()).unwrap();
            let ours = canonicalize_plain(&scanned).unwrap().octets;
            // xmllint writes comments, too: none are in these documents.
            theirs = theirs.strip_prefix(ours.as_slice()).unwrap_or_else(|| {
                panic!("{option}: {xml:?}\n ours:   {}", String::from_utf8_lossy(&ours));
            });
        }
        assert!(theirs.is_empty(), "{option}: libxml2 wrote more");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Fewer than what an argument list may hold.
const DOCUMENTS: usize = 1000;

fn plain_document(numbers: &mut Numbers) -> String {
    fn element(numbers: &mut Numbers, depth: usize, out: &mut String) {
        let text = |numbers: &mut Numbers, out: &mut String| {
            let texts = [
                "x", " ", "\r\n", "\r", "\t", "&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "é", ">", "]", "𝄞",
            ];
            for _ in 0..numbers.below(4) {
                let text = numbers.pick(&texts);
                out.push_str(if text == ">" && out.ends_with(']') { " " } else { text });
            }
        };
        let name = numbers.pick(&["a", "Config", "_b", "c-1.d"]);
        out.push_str(&format!("<{name}"));
        for attribute in ["z", "id", "a", "B", "_"] {
            if numbers.below(3) == 0 {
                let quote = numbers.pick(&["\"", "'"]);
                out.push_str(numbers.pick(&[" ", "\n  ", "\t", "\r"]));
                out.push_str(&format!("{attribute}{}{quote}", numbers.pick(&["=", " = ", "\n="])));
                text(numbers, out);
                out.push_str(if quote == "'" { numbers.pick(&["\"", ""]) } else { numbers.pick(&["'", ""]) });
                out.push_str(quote);
            }
        }
        if numbers.below(4) == 0 {
            out.push_str(numbers.pick(&["/>", " />"]));
            return;
        }
        out.push_str(numbers.pick(&[">", "\n>"]));
        for _ in 0..numbers.below(5) {
            match numbers.below(2) {
                0 if depth > 0 => element(numbers, depth - 1, out),
                _ => text(numbers, out),
            }
        }
        out.push_str(&format!("</{name}{}>", numbers.pick(&["", " ", "\r\n"])));
    }
    let mut xml = numbers.pick(&["", "<?xml version='1.0'?>\r\n", "\u{FEFF}"]).to_owned();
    element(numbers, 3, &mut xml);
    xml + numbers.pick(&["", "\n"])
}
