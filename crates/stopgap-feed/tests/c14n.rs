//! Canonical form: the specification's cases, and generated documents against libxml2.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // tests, and helpers of tests

mod common;

use std::process::Command;

use stopgap_feed::c14n::{Canonicalization, canonicalize, canonicalize_within};
use stopgap_feed::limits::Limits;
use stopgap_feed::scan::scan;

use common::Numbers;

use Canonicalization::{Exclusive, Inclusive};

fn canonical(xml: &str, form: Canonicalization) -> String {
    let limits = Limits { namespaces: 100_000, depth: 1000, ..Limits::default() };
    let scanned = scan(xml.as_bytes(), &limits).unwrap();
    let tree = scanned.parse().unwrap();
    String::from_utf8(canonicalize(tree.root(), form, None)).unwrap()
}

/// The canonical form of the first element of this name alone.
fn subset(xml: &str, name: &str, form: Canonicalization) -> String {
    let tree = roxmltree::Document::parse(xml).unwrap();
    let apex = tree.descendants().find(|node| node.tag_name().name() == name).unwrap();
    String::from_utf8(canonicalize(apex, form, None)).unwrap()
}

#[test]
fn instructions_and_comments_outside_the_root() {
    // Canonical XML 1.0, section 3.1.
    let xml = "<?xml version=\"1.0\"?>\n\n<?xml-stylesheet   href=\"doc.xsl\"\n   type=\"text/xsl\"   ?>\n\n\
               <!-- before --><doc>Hello, world!<!-- Comment 1 --></doc>\n\n<?pi-without-data     ?>\n\n<!-- after -->";
    let expected = "<?xml-stylesheet href=\"doc.xsl\"\n   type=\"text/xsl\"   ?>\n<doc>Hello, world!</doc>\n<?pi-without-data?>";
    assert_eq!(canonical(xml, Inclusive), expected);
    assert_eq!(canonical(xml, Exclusive), expected);
}

#[test]
fn start_and_end_tags() {
    // After section 3.3, less what needs a document type.
    let xml = "<doc>\n   <e1   />\n   <e3   name = \"elem3\"   id=\"elem3\"   />\n   \
               <e5 a:attr=\"out\" b:attr=\"sorted\" attr2=\"all\" attr=\"I'm\"\n      \
               xmlns:b=\"http://www.ietf.org\"\n      xmlns:a=\"http://www.w3.org\"\n      xmlns=\"http://example.org\"/>\n   \
               <e6 xmlns=\"\" xmlns:a=\"http://www.w3.org\">\n      <e7 xmlns=\"http://www.ietf.org\">\n         \
               <e8 xmlns=\"\" xmlns:a=\"http://www.w3.org\"/>\n      </e7>\n   </e6>\n</doc>";
    let expected = "<doc>\n   <e1></e1>\n   <e3 id=\"elem3\" name=\"elem3\"></e3>\n   \
                    <e5 xmlns=\"http://example.org\" xmlns:a=\"http://www.w3.org\" xmlns:b=\"http://www.ietf.org\" \
                    attr=\"I'm\" attr2=\"all\" b:attr=\"sorted\" a:attr=\"out\"></e5>\n   \
                    <e6 xmlns:a=\"http://www.w3.org\">\n      <e7 xmlns=\"http://www.ietf.org\">\n         \
                    <e8 xmlns=\"\"></e8>\n      </e7>\n   </e6>\n</doc>";
    assert_eq!(canonical(xml, Inclusive), expected);
}

#[test]
fn characters_and_references() {
    // After section 3.4.
    let xml = "<doc>\r\n   <text>First line&#x0d;&#10;Second line</text>\r\n   <value>&#x32;</value>\r\n   \
               <compute><![CDATA[value>\"0\" && value<\"10\" ?\"valid\":\"error\"]]></compute>\r\n   \
               <compute expr='value>\"0\" &amp;&amp; value&lt;\"10\" ?\"valid\":\"error\"'>valid</compute>\r\n   \
               <norm attr=' &apos;   &#x20;&#13;&#xa;&#9;   &apos; '/>\r\n</doc>";
    let expected = "<doc>\n   <text>First line&#xD;\nSecond line</text>\n   <value>2</value>\n   \
                    <compute>value&gt;\"0\" &amp;&amp; value&lt;\"10\" ?\"valid\":\"error\"</compute>\n   \
                    <compute expr=\"value>&quot;0&quot; &amp;&amp; value&lt;&quot;10&quot; ?&quot;valid&quot;:&quot;error&quot;\">valid</compute>\n   \
                    <norm attr=\" '    &#xD;&#xA;&#x9;   ' \"></norm>\n</doc>";
    assert_eq!(canonical(xml, Inclusive), expected);
}

#[test]
fn a_lone_carriage_return_is_a_line_end_wherever_it_stands() {
    assert_eq!(
        canonical("<a b='1\r2\r\n3'>\r&#10;\r<![CDATA[\r\r\n]]><?p x\r\ny?></a>", Inclusive),
        "<a b=\"1 2 3\">\n\n\n\n\n<?p x\ny?></a>"
    );
}

#[test]
fn a_subset_takes_its_context_along() {
    // Exclusive XML Canonicalization 1.0, section 2.2.
    let xml = "<n0:local xmlns:n0=\"foo:bar\" xmlns:n3=\"ftp://example.org\" xml:lang=\"de\"><n1:elem2 \
               xmlns:n1=\"http://example.net\" xml:lang=\"en\"><n3:stuff xmlns:n3=\"ftp://example.org\"/></n1:elem2></n0:local>";
    assert_eq!(
        subset(xml, "elem2", Inclusive),
        "<n1:elem2 xmlns:n0=\"foo:bar\" xmlns:n1=\"http://example.net\" xmlns:n3=\"ftp://example.org\" \
         xml:lang=\"en\"><n3:stuff></n3:stuff></n1:elem2>"
    );
    assert_eq!(
        subset(xml, "elem2", Exclusive),
        "<n1:elem2 xmlns:n1=\"http://example.net\" xml:lang=\"en\"><n3:stuff \
         xmlns:n3=\"ftp://example.org\"></n3:stuff></n1:elem2>"
    );
    let inherited = subset(xml, "stuff", Inclusive);
    assert!(
        inherited.ends_with(" xml:lang=\"en\"></n3:stuff>"),
        "the nearest ancestor's xml:lang: {inherited}"
    );
}

#[test]
fn an_undeclared_default_namespace_is_written_only_where_it_undoes_one() {
    let xml = "<m:feed xmlns:m=\"u:m\" xmlns=\"u:d\"><item xmlns=\"\"><x xmlns=\"u:d\"/></item></m:feed>";
    assert_eq!(
        canonical(xml, Inclusive),
        "<m:feed xmlns=\"u:d\" xmlns:m=\"u:m\"><item xmlns=\"\"><x xmlns=\"u:d\"></x></item></m:feed>"
    );
    assert_eq!(
        canonical(xml, Exclusive),
        "<m:feed xmlns:m=\"u:m\"><item><x xmlns=\"u:d\"></x></item></m:feed>"
    );
}

#[test]
fn what_grows_when_it_is_written_stays_within_limits() {
    let within = |xml: &str, form, limits: &Limits| {
        let tree = roxmltree::Document::parse(xml).unwrap();
        canonicalize_within(tree.root(), form, None, limits).map(|_| ()).map_err(|error| error.code())
    };
    let limits = Limits { bytes: 10_000, namespaces: 8, attributes: 4, ..Limits::default() };
    let repeated = |uri: usize, times: usize| {
        format!("<r xmlns:p=\"u:{}\">{}</r>", "u".repeat(uri), "<p:a/>".repeat(times))
    };
    assert_eq!(within(&repeated(10, 8), Exclusive, &limits), Ok(()));
    assert_eq!(within(&repeated(10, 9), Exclusive, &limits), Err("too-many-namespaces"));
    assert_eq!(within(&repeated(10, 9), Inclusive, &limits), Ok(()));
    assert_eq!(within(&repeated(9000, 6), Exclusive, &limits), Ok(()));
    assert_eq!(within(&repeated(9000, 8), Exclusive, &limits), Err("too-large"));
    let above = "<r xmlns:p=\"u:p\" xmlns:q=\"u:q\"><p:a p:b=\"\" q:b=\"\"/></r>";
    assert_eq!(within(above, Exclusive, &limits), Ok(()));
    assert_eq!(within(above, Exclusive, &Limits { attributes: 3, ..limits }), Err("too-many-attributes"));
}

#[test]
fn depth_costs_no_stack() {
    let deep = 100_000;
    let xml = "<a>".repeat(deep) + &"</a>".repeat(deep);
    let tree = roxmltree::Document::parse(&xml).unwrap();
    assert_eq!(canonicalize(tree.root(), Inclusive, None).len(), xml.len());
}

#[test]
fn instructions_outside_cost_linear_time() {
    let many = "<?p?>".repeat(200_000);
    let xml = format!("{many}<a/>{many}");
    let tree = roxmltree::Document::parse(&xml).unwrap();
    // Quadratic work would be twenty thousand million steps, which no test run survives.
    assert_eq!(canonicalize(tree.root(), Inclusive, None).len(), 400_000 * 6 + "<a></a>".len());
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
    "&#13;",
    "&#10;",
    "&#9;",
    "é",
    "𝄞",
    "&#x1D11E;",
    "]]&gt;",
];

/// An element in whose scope the prefixes p and q are bound.
fn element(numbers: &mut Numbers, depth: usize, out: &mut String) {
    let name = numbers.pick(&["a", "b", "p:a", "q:a"]);
    out.push_str(&format!("<{name}"));
    let mut attributes: Vec<String> = Vec::new();
    for (attribute, values) in [
        ("xmlns", &["u:1", "u:2", ""][..]),
        ("xmlns:p", &["u:1", "u:2", "u:3"]),
        ("xmlns:q", &["u:1", "u:2"]),
        ("xmlns:unused", &["u:9"]),
        ("xml:lang", &["en", "de"]),
        ("xml:space", &["preserve", "default"]),
    ] {
        if numbers.below(5) == 0 {
            attributes.push(format!("{attribute}=\"{}\"", numbers.pick(values)));
        }
    }
    for attribute in ["z", "y", numbers.pick(&["p:y", "q:y"])] {
        if numbers.below(3) == 0 {
            let value: String = (0..numbers.below(5)).map(|_| numbers.pick(TEXTS)).collect();
            attributes.push(format!("{attribute}=\"{value}\""));
        }
    }
    for at in (1..attributes.len()).rev() {
        attributes.swap(at, numbers.below(at + 1));
    }
    for attribute in attributes {
        out.push_str(numbers.pick(&[" ", "\n  ", "\t"]));
        out.push_str(&attribute);
    }
    if numbers.below(4) == 0 {
        out.push_str("/>");
        return;
    }
    out.push('>');
    for _ in 0..numbers.below(5) {
        match numbers.below(4) {
            0 if depth > 0 => element(numbers, depth - 1, out),
            0 | 1 => (0..numbers.below(4)).for_each(|_| out.push_str(numbers.pick(TEXTS))),
            2 => out.push_str(numbers.pick(&[
                "<![CDATA[<&>\r\n]]>",
                "<![CDATA[]]>",
                "<?pi?>",
                "<?pi  a\r\nb ?>",
            ])),
            _ if depth > 0 => element(numbers, depth - 1, out),
            _ => {}
        }
    }
    out.push_str(&format!("</{name}>"));
}

#[test]
fn generated_documents_are_as_libxml2_writes_them() {
    if !common::tool("generated documents", "xmllint") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("stopgap-c14n-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for seed in 1..=6u64 {
        // Sixty trees under one root: one process sees them all.
        let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut xml =
            "<?xml version=\"1.0\"?>\r\n<?before it?><p:root xmlns:p=\"u:1\" xmlns:q=\"u:2\">".to_owned();
        (0..60).for_each(|_| element(&mut numbers, 4, &mut xml));
        xml.push_str("</p:root>\n<?after it?>\n");
        let path = folder.join(format!("{seed}.xml"));
        std::fs::write(&path, &xml).unwrap();
        for (form, option) in [(Inclusive, "--c14n"), (Exclusive, "--exc-c14n")] {
            let output = Command::new("xmllint").arg(option).arg(&path).output().unwrap();
            assert!(output.status.success(), "xmllint {option}: {}", String::from_utf8_lossy(&output.stderr));
            let theirs = String::from_utf8(output.stdout).unwrap();
            let ours = canonical(&xml, form);
            if ours != theirs {
                let at = ours.bytes().zip(theirs.bytes()).take_while(|(a, b)| a == b).count();
                let around = |s: &str| {
                    String::from_utf8_lossy(&s.as_bytes()[at.saturating_sub(80)..(at + 80).min(s.len())])
                        .into_owned()
                };
                panic!(
                    "seed {seed} {option} differs at {at}:\n ours: {}\n theirs: {}",
                    around(&ours),
                    around(&theirs)
                );
            }
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// How many documents one process is given: fewer than what an argument list may hold.
const BATCH: usize = 1000;

/// A whole document, and what stands around its root.
fn document(numbers: &mut Numbers) -> String {
    let mut xml = numbers
        .pick(&[
            "",
            "<?xml version=\"1.0\"?>\n",
            "<?xml version='1.0' encoding='UTF-8'?>\r\n<?before it?>\r\n",
        ])
        .to_owned();
    xml.push_str(numbers.pick(&[
        "<p:root xmlns:p=\"u:1\" xmlns:q=\"u:2\">",
        "<p:root xmlns:q=\"u:1\" xmlns:p=\"u:1\" xmlns=\"u:2\" xml:lang=\"de\">",
        "<p:root\txmlns:p='u:3' q:a='&lt;\r\n' xmlns:q='u:4'\n>",
    ]));
    (0..=numbers.below(3)).for_each(|_| element(numbers, 3, &mut xml));
    xml.push_str("</p:root>");
    xml.push_str(numbers.pick(&["", "\n", "\r\n<?after?>", "<?after it?>\n<?and again?>\n"]));
    xml
}

#[test]
fn fifty_thousand_documents_are_as_libxml2_writes_them() {
    if !common::tool("fifty thousand documents", "xmllint") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("stopgap-c14n-many-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut numbers = Numbers(0xC14A_5EED);
    let (mut compared, mut octets) = (0, 0);
    for batch in 0..50 {
        let documents: Vec<String> = (0..BATCH).map(|_| document(&mut numbers)).collect();
        for (at, xml) in documents.iter().enumerate() {
            std::fs::write(folder.join(format!("{at}.xml")), xml).unwrap();
        }
        for (form, option) in [(Inclusive, "--c14n"), (Exclusive, "--exc-c14n")] {
            let names = (0..BATCH).map(|at| format!("{at}.xml"));
            let output =
                Command::new("xmllint").arg(option).args(names).current_dir(&folder).output().unwrap();
            assert!(output.status.success(), "xmllint {option}: {}", String::from_utf8_lossy(&output.stderr));
            // One after the other: the first that differs is where the rest no longer begins with ours.
            let mut theirs = output.stdout.as_slice();
            for (at, xml) in documents.iter().enumerate() {
                let ours = canonical(xml, form);
                theirs = theirs.strip_prefix(ours.as_bytes()).unwrap_or_else(|| {
                    let shown = String::from_utf8_lossy(&theirs[..ours.len().min(theirs.len())]).into_owned();
                    panic!("batch {batch}, document {at}, {option}:\n{xml}\n ours: {ours}\n theirs: {shown}")
                });
                compared += 1;
                octets += ours.len();
            }
            assert!(theirs.is_empty(), "batch {batch}, {option}: libxml2 wrote more");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    println!("{} documents in 2 forms, {octets} octets compared, none differs", compared / 2);
}
