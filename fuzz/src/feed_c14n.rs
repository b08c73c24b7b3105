//! Canonical form, of the whole and of parts, is libxml2's to the octet, canonical text is its own canonical
//! form, and what is written straight from the text is what the tree gives.

use stopgap_feed::Limits;
use stopgap_feed::c14n::Canonicalization::{self, Exclusive, Inclusive};
use stopgap_feed::c14n::{canonicalize, canonicalize_plain};
use stopgap_feed::scan::{Scanned, scan};

#[cfg(libxml2)]
use crate::libxml2;
use crate::{Dice, memory};

pub fn feed_c14n(data: &[u8]) {
    #[cfg(not(libxml2))]
    crate::skip("no libxml2-dev", "feed_c14n");
    match data.split_first() {
        Some((0, rest)) => {
            let mut dice = Dice::new(rest);
            let (apex, omit) = (dice.roll(12), dice.roll(12));
            let text = document(&mut dice);
            compare(text.as_bytes(), apex, omit, true);
        }
        Some((1, rest)) => compare(plain(&mut Dice::new(rest)).as_bytes(), 0, 0, true),
        _ => compare(data, data.len(), data.iter().map(|octet| usize::from(*octet)).sum(), false),
    }
}

/// `apex` and `omit` are taken modulo the number of elements.
fn compare(octets: &[u8], apex: usize, omit: usize, must_be_read: bool) {
    let limits = Limits { namespaces: 1000, ..Limits::default() };
    let scanned = match scan(octets, &limits) {
        Ok(scanned) => scanned,
        Err(error) => return assert!(!must_be_read, "{error}: {}", shown(octets)),
    };
    let tree = match scanned.parse() {
        Ok(tree) => tree,
        Err(error) => {
            assert!(plain_form(&scanned).is_none(), "{error}, but plain: {}", shown(octets));
            return assert!(!must_be_read, "{error}: {}", shown(octets));
        }
    };
    same_straight_from_the_text(&scanned, &tree, octets);
    let elements: Vec<_> = tree.descendants().filter(roxmltree::Node::is_element).collect();
    let (apex, omit) = (apex % elements.len(), omit % elements.len());
    let ours = |form: Canonicalization, apex: Option<usize>, omit: Option<usize>| {
        let apex = apex.map_or(tree.root(), |apex| elements[apex]);
        // A start tag may declare every namespace that is allowed.
        let most = octets.len() * limits.namespaces;
        memory::bounded(most, || canonicalize(apex, form, omit.map(|omit| elements[omit])))
    };
    let whole = ours(Inclusive, None, None);
    let again = scan(&whole, &Limits { bytes: usize::MAX, ..limits }).expect("canonical text is text");
    let again = again.parse().expect("canonical text is well-formed");
    assert_eq!(shown(&canonicalize(again.root(), Inclusive, None)), shown(&whole));
    #[cfg(libxml2)]
    {
        // Which of the malformed documents a parser takes is its own affair; a good one it must.
        let Some(theirs) = libxml2::Document::parse(octets) else {
            return assert!(!must_be_read, "libxml2 does not read {}", shown(octets));
        };
        // One of eight questions for each input, and the whole in the simplest form always.
        let form = [Inclusive, Exclusive][octets.len() % 2];
        let parts = [(None, None), (None, Some(omit)), (Some(apex), None), (Some(apex), Some(omit))];
        let asked = parts[octets.len() / 2 % parts.len()];
        same(&tree, &theirs, octets, Inclusive, &whole, (None, None));
        // A part of what is left out is not asked for.
        let inside = |(apex, omit): (usize, usize)| elements[apex].ancestors().any(|at| at == elements[omit]);
        if !asked.0.zip(asked.1).is_some_and(inside) {
            same(&tree, &theirs, octets, form, &ours(form, asked.0, asked.1), asked);
        }
    }
}

/// What a plain document gives: its octets, and its last child where that was left out.
fn plain_form<'a>(scanned: &'a Scanned<'_>) -> Option<(Vec<u8>, Option<roxmltree::Document<'a>>)> {
    let plain = memory::bounded(scanned.text().len(), || canonicalize_plain(scanned))?;
    let Some(text) = plain.left_out else { return Some((plain.octets, None)) };
    let alone = roxmltree::Document::parse(text).ok()?;
    let whole = alone.root_element().range() == (0..text.len());
    whole.then_some((plain.octets, Some(alone)))
}

fn same_straight_from_the_text(scanned: &Scanned<'_>, tree: &roxmltree::Document<'_>, octets: &[u8]) {
    let Some((plain, alone)) = plain_form(scanned) else { return };
    let left_out = alone.as_ref().map(|alone| {
        let last = tree.root_element().last_element_child().expect("what was left out is a child");
        assert_eq!(&scanned.text()[last.range()], alone.input_text(), "{}", shown(octets));
        (alone.root_element(), last)
    });
    for form in [Inclusive, Exclusive] {
        let of_tree = canonicalize(tree.root(), form, left_out.map(|(_, last)| last));
        assert_eq!(shown(&plain), shown(&of_tree), "{form:?}: {}", shown(octets));
        // The same is below it, in the same scope: where the signature's own parts are read.
        if let Some((alone, last)) = left_out {
            for (alone, inside) in
                alone.descendants().zip(last.descendants()).filter(|(n, _)| n.is_element()).take(8)
            {
                let (alone, inside) = (canonicalize(alone, form, None), canonicalize(inside, form, None));
                assert_eq!(shown(&alone), shown(&inside), "{form:?}: {}", shown(octets));
            }
        }
    }
}

#[cfg(libxml2)]
fn same(
    tree: &roxmltree::Document<'_>,
    theirs: &libxml2::Document,
    octets: &[u8],
    form: Canonicalization,
    ours: &[u8],
    (apex, omit): (Option<usize>, Option<usize>),
) {
    let Some(theirs) = theirs.canonical(form == Exclusive, apex, omit) else {
        return assert!(has_odd_namespace(tree), "libxml2 refuses {}", shown(octets));
    };
    assert!(
        ours == theirs || has_odd_namespace(tree),
        "{form:?}, apex {apex:?}, less {omit:?}:\n{}\n ours:   {}\n theirs: {}",
        shown(octets),
        shown(ours),
        shown(&theirs)
    );
}

/// Canonical XML 1.0, section 1.3, has no form for documents with relative names of namespaces; libxml2 refuses
/// names that are no ASCII address to it, too, and does not escape what stands in one.
#[cfg(libxml2)]
fn has_odd_namespace(tree: &roxmltree::Document<'_>) -> bool {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'/' | b'.' | b'-' | b'_');
    let mut all = tree.descendants().flat_map(|node| node.namespaces());
    all.any(|namespace| match namespace.uri().split_once(':') {
        Some((scheme, rest)) => {
            !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                || scheme.contains(['/', '_'])
                || !(scheme.to_owned() + rest).bytes().all(plain)
        }
        None => true,
    })
}

fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string()
}

const TEXTS: &[&str] = &[
    "x",
    " ",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "&amp;",
    "&lt;",
    "&gt;",
    "&quot;",
    "'",
    ">",
    "&#13;",
    "&#10;",
    "&#9;",
    "&#xD;&#xA;",
    "é",
    "𝄞",
    "&#x1D11E;",
    "]]&gt;",
    "\u{85}",
    "\u{2028}",
    "\u{FEFF}",
    "\u{7F}",
    "&apos;",
    "e\u{301}",
    "\u{E000}",
    "]]",
    "--",
];
const URIS: &[&str] = &["u:1", "u:2", "u:3", "http://a.b/c-d", "urn:x"];

/// A document in which every prefix is bound.
fn document(dice: &mut Dice) -> String {
    let mut xml = dice
        .pick(&[
            "",
            "<?xml version=\"1.0\"?>\n",
            "\u{FEFF}<?xml version='1.0' encoding='UTF-8'?>\r\n<?b it?>\r\n",
            "<!-- c --><?b?>",
        ])
        .to_owned();
    xml.push_str(dice.pick(&[
        "<p:root xmlns:p=\"u:1\" xmlns:q=\"u:2\">",
        "<p:root xmlns:q=\"u:1\" xmlns:p=\"u:1\" xmlns=\"u:2\" xml:lang=\"de\">",
        "<p:root\txmlns:p='u:3' q:a='&lt;\r\n' xmlns:q='u:4'\n>",
    ]));
    (0..=dice.roll(3)).for_each(|_| element(dice, 4, &mut xml));
    xml.push_str("</p:root>");
    xml.push_str(dice.pick(&[
        "",
        "\n",
        "\r\n<?after?>",
        "<?after it?>\n<?and again?>\n",
        "<!-- end -->\n<?a  b?>",
    ]));
    xml
}

fn element(dice: &mut Dice, depth: usize, out: &mut String) {
    let name = dice.pick(&["a", "b", "p:a", "q:a", "é", "a.b-c_1"]);
    out.push_str(&format!("<{name}"));
    let mut attributes: Vec<String> = Vec::new();
    for attribute in ["xmlns", "xmlns:p", "xmlns:q", "xmlns:unused", "xmlns:xml"] {
        let uri = match (dice.roll(6), attribute) {
            (5, "xmlns:xml") => "http://www.w3.org/XML/1998/namespace",
            (5, "xmlns") => dice.pick(&["u:1", "u:2", ""]),
            (5, _) => dice.pick(URIS),
            _ => continue,
        };
        attributes.push(format!("{attribute}=\"{uri}\""));
    }
    let prefixed = ["p:y", "q:z"][dice.roll(2)];
    for attribute in ["z", "y", prefixed, "xml:lang", "xml:space", "xml:id", "xml:base", "é"] {
        if dice.roll(4) == 3 {
            let value: String = match attribute {
                "xml:lang" | "xml:space" | "xml:id" => dice.pick(&["en", "de", "preserve"]).to_owned(),
                _ => (0..dice.roll(5)).map(|_| dice.pick(TEXTS)).collect(),
            };
            let quote = if value.contains('\'') { '"' } else { ['"', '\''][dice.roll(2)] };
            attributes.push(format!("{attribute}={quote}{value}{quote}"));
        }
    }
    for at in (1..attributes.len()).rev() {
        attributes.swap(at, dice.roll(at + 1));
    }
    for attribute in attributes {
        out.push_str(dice.pick(&[" ", "\n  ", "\t", "\r"]));
        out.push_str(&attribute);
    }
    if dice.roll(4) == 0 {
        out.push_str("/>");
        return;
    }
    out.push('>');
    for _ in 0..dice.roll(5) {
        match dice.roll(6) {
            0 | 1 if depth > 0 => element(dice, depth - 1, out),
            0..=2 => (0..dice.roll(4)).for_each(|_| {
                let text: &str = dice.pick(TEXTS);
                // In text `]]>` may not stand as such (XML 1.0, section 2.4).
                out.push_str(if text == ">" && out.ends_with("]]") { "&gt;" } else { text });
            }),
            3 => out.push_str(dice.pick(&[
                "<![CDATA[<&>\r\n]]>",
                "<![CDATA[]]>",
                "<![CDATA[]]]]><![CDATA[>]]>",
            ])),
            4 => out.push_str(dice.pick(&["<?pi?>", "<?pi  a\r\nb ?>", "<?pi \t?>", "<?p ?x?>"])),
            _ => out.push_str(dice.pick(&["<!---->", "<!-- a\r\n -->"])),
        }
    }
    out.push_str(&format!("</{name}{}>", dice.pick(&["", " ", "\r\n"])));
}

/// A document whose last child alone has namespaces, if it has one that does.
fn plain(dice: &mut Dice) -> String {
    let mut xml = dice.pick(&["", "<?xml version=\"1.0\"?>\n", "<!-- c -->\r\n"]).to_owned();
    xml.push_str("<a");
    for attribute in ["z", "y"] {
        if dice.roll(2) == 0 {
            xml.push_str(&format!(
                "\n{attribute} ='{}'",
                dice.pick(&["", "\"", ">\t", "&quot;\r\n", "&lt;&amp;"])
            ));
        }
    }
    xml.push('>');
    for _ in 0..dice.roll(6) {
        match dice.roll(4) {
            0 => xml.push_str(dice.pick(&["<b/>", "<b c=\"'\" a=''/>", "<b >x</b\n>", "<!-- <b> -->"])),
            1 => xml.push_str(dice.pick(&["&gt;", "&quot;&apos;", "&amp;", "&lt;"])),
            _ => {
                let text: &str = dice.pick(TEXTS);
                xml.push_str(if text == ">" && xml.ends_with("]]") { "&gt;" } else { text });
            }
        }
    }
    if dice.roll(4) > 0 {
        let start = xml.len();
        xml.push_str(dice.pick(&[
            "<S xmlns:q='u:3' xmlns:p=\"u:1\">",
            "<q:S xmlns='u:1' xmlns:p=\"u:2\" xmlns:q=\"u:2\" xml:lang=\"de\">",
        ]));
        (0..dice.roll(3)).for_each(|_| element(dice, 2, &mut xml));
        xml.push_str(if xml[start..].starts_with("<S") { "</S>" } else { "</q:S>" });
        xml.push_str(dice.pick(&["", " ", "\r\n", "<b/>", "x", "<!-- </a> -->"]));
    }
    xml + "</a>" + dice.pick(&["", "\n", "<!-- </a> -->"])
}
