//! Octets that are too many, too deep, or that two readers read differently.

use crate::common::simulator::Simulator;

fn document(simulator: &mut Simulator, from: &str, to: &str) -> Vec<u8> {
    assert!(simulator.document.contains(from), "the change must hit: {from}");
    simulator.document = simulator.document.replacen(from, to, 1);
    simulator.sign().into_bytes()
}

fn changed(simulator: &Simulator, from: &str, to: &str) -> Vec<u8> {
    simulator.sign().replacen(from, to, 1).into_bytes()
}

fn with_octets(simulator: &Simulator, octets: &[u8]) -> Vec<u8> {
    let signed = simulator.sign();
    let (head, tail) = signed.split_once("Heartbeat").unwrap();
    [head.as_bytes(), octets, tail.as_bytes()].concat()
}

const BOMB: &str =
    "<!DOCTYPE EOCS [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">]>\n<EOCS";

attacks! {
    entity_expansion:
        "Entities that grow a thousand million times (billion laughs)",
        "No document type", "doctype",
        |s| changed(s, "<EOCS", BOMB);
    an_external_entity:
        "An entity that reads a file of the server",
        "No document type", "doctype",
        |s| changed(s, "<EOCS", "<!DOCTYPE EOCS [<!ENTITY x SYSTEM \"file:///etc/shadow\">]>\n<EOCS");
    an_undefined_entity:
        "An entity that nobody defined",
        "The five predefined entities only", "malformed-xml",
        |s| changed(s, "<Value>DoNothing", "<Value>&x;DoNothing");
    utf16:
        "UTF-16, which another reader takes for something else",
        "UTF-8 only", "not-utf8",
        |s| { let signed = s.sign(); signed.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    latin1_declared:
        "ISO-8859-1 is declared",
        "UTF-8 only", "not-utf8",
        |s| changed(s, "encoding=\"utf-8\"", "encoding=\"iso-8859-1\"");
    utf7_declared:
        "UTF-7 is declared, in which `+ADw-` is `<`",
        "UTF-8 only", "not-utf8",
        |s| changed(s, "encoding=\"utf-8\"", "encoding=\"utf-7\"");
    overlong_utf8:
        "`/` as the overlong sequence C0 AF",
        "Strict UTF-8", "not-utf8",
        |s| with_octets(s, &[0xC0, 0xAF]);
    a_surrogate_in_utf8:
        "Half of a surrogate pair (ED A0 80)",
        "Strict UTF-8", "not-utf8",
        |s| with_octets(s, &[0xED, 0xA0, 0x80]);
    nul:
        "A NUL, at which another reader ends",
        "The characters of XML 1.0 only", "illegal-character",
        |s| with_octets(s, &[0]);
    nul_by_reference:
        "A NUL as a character reference",
        "The characters of XML 1.0 only", "malformed-xml",
        |s| changed(s, "<Value>DoNothing", "<Value>&#0;DoNothing");
    two_roots:
        "A second document behind the first",
        "One root", "malformed-xml",
        |s| { let signed = s.sign(); (signed.clone() + signed.split_once('\n').unwrap().1).into_bytes() };
    trailing_garbage:
        "Text behind the document",
        "Nothing but white space and comments there", "malformed-xml",
        |s| (s.sign() + "garbage").into_bytes();
    a_duplicate_attribute:
        "An attribute stands twice, and two readers take different ones",
        "Attributes once", "malformed-xml",
        |s| changed(s, "serial=\"42\"", "serial=\"42\" serial=\"43\"");
    a_namespace_redefined:
        "The signature's namespace is bound to what the document is in",
        "The grammar has no namespace", "not-a-feed",
        |s| document(s, "<EOCS", "<EOCS xmlns=\"http://www.w3.org/2000/09/xmldsig#\"");
    a_namespace_undeclared:
        "A prefix is undeclared, as XML 1.1 allows",
        "XML 1.0", "malformed-xml",
        |s| changed(s, "<Config", "<x:x xmlns:x=\"u:x\"><x:y xmlns:x=\"\"/></x:x><Config");
    a_name_that_begins_with_a_colon:
        "An attribute `:id`, which one parser reads as `id` and another as itself",
        "Names of Namespaces in XML", "malformed-xml",
        |s| changed(s, "<Config id=", "<Config :id=");
    an_end_tag_that_begins_with_a_colon:
        "An end tag `</:Config>`, which one parser takes for the end of `Config`",
        "Names of Namespaces in XML", "malformed-xml",
        |s| changed(s, "</Config>", "</:Config>");
    xml_1_1:
        "XML 1.1, which has other line ends and characters",
        "XML 1.0", "malformed-xml",
        |s| changed(s, "version=\"1.0\"", "version=\"1.1\"");
    endless_data:
        "More octets than a document may have, as a decompression bomb gives",
        "A limit before anything is read", "too-large",
        |s| { let mut octets = s.sign().into_bytes(); octets.resize(s.trust.limits.bytes + 1, b' '); octets };
    a_flood_of_attributes:
        "Thousands of attributes on one element",
        "A limit before the tree", "too-many-attributes",
        |s| { let many: String = (0..10_000).map(|n| format!(" a{n}=\"\"")).collect(); changed(s, "<Config", &format!("<Config{many}")) };
    a_flood_of_namespaces:
        "Thousands of namespaces, each inherited by all below",
        "A limit before the tree", "too-many-namespaces",
        |s| { let many: String = (0..1000).map(|n| format!("<x xmlns:a{n}=\"u:x\"/>")).collect(); changed(s, "<Config", &format!("{many}<Config")) };
    a_namespace_that_multiplies:
        "A namespace of a megabyte that the canonical form repeats on every element: terabytes",
        "A limit before it is written", "too-many-namespaces",
        |s| {
            let (long, many) = ("u".repeat(1 << 20), "<p:y/>".repeat(200_000));
            changed(s, "<Config", &format!("<x xmlns:p=\"u:{long}\">{many}</x><Config"))
        };
    a_flood_of_nodes:
        "Millions of small elements",
        "A limit before the tree", "too-many-nodes",
        |s| changed(s, "<Config", &format!("{}<Config", "<x/>".repeat(s.trust.limits.nodes + 1)));
    deep_nesting:
        "A hundred thousand elements in each other",
        "A limit before the tree", "too-deep",
        |s| changed(s, "<Config", &format!("{}{}<Config", "<x>".repeat(100_000), "</x>".repeat(100_000)));
    a_name_without_end:
        "A name of a megabyte",
        "A limit before the tree", "name-too-long",
        |s| changed(s, "<Config", &format!("<{}/><Config", "x".repeat(1 << 20)));
    two_mitigations_of_one_id:
        "Two signed mitigations of one id: which is meant?",
        "Every id once", "duplicate-id",
        |s| {
            let config = format!("<Config{}</Config>", crate::common::simulator::between(&s.document, "<Config", "</Config>"));
            document(s, "</EOCS>", &format!("{config}</EOCS>"))
        };
    a_mitigation_that_is_withdrawn_too:
        "One id both given and withdrawn",
        "Every id once", "duplicate-id",
        |s| document(s, "</EOCS>", "<Withdrawn id=\"PING1\" reason=\"\"/></EOCS>");
    a_number_that_overflows:
        "A serial of 2^64, which wraps to zero",
        "Numbers are read whole or not at all", "malformed-document",
        |s| document(s, "serial=\"42\"", "serial=\"18446744073709551616\"");
    a_number_with_a_sign:
        "A serial below zero",
        "Digits only", "malformed-document",
        |s| document(s, "serial=\"42\"", "serial=\"-1\"");
    a_version_to_come:
        "A grammar of a major version that this build does not know",
        "1.x and 2.x", "unsupported-version",
        |s| document(s, "version=\"2.0\"", "version=\"3.0\"");
    another_root_element:
        "A signed document of another kind, such as a co-signature",
        "The root is `EOCS`", "not-a-feed",
        |s| { s.document = "<Cosignature feed=\"example\"></Cosignature>".to_owned(); s.sign().into_bytes() };
}
