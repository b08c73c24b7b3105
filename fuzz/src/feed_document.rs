//! Whatever comes from a feed is refused with a reason, within bounds; what is believed says what the publisher
//! signed, however it was spelled on its way.

use std::sync::OnceLock;

use stopgap_feed::c14n::{Canonicalization, canonicalize_within};
use stopgap_feed::document::{ActionKind, Document, Mitigation};
use stopgap_feed::dsig;
use stopgap_feed::scan::scan;
use stopgap_feed::{
    Cosignature, Limits, Presented, Refusal, Revocation, VerifiedFeed, verify, verify_presented,
};

use stopgap_rules::RuleSet;

use crate::fixtures::{self, COSIGNATURE, EXCLUSIVE, INCLUSIVE, NOW, STAMPED};
use crate::{Dice, memory};

pub fn feed_document(data: &[u8]) {
    match data.split_first() {
        Some((0, rest)) => {
            let mut dice = Dice::new(rest);
            // What the timestamp's own code does is another target's.
            let template = if dice.roll(8) == 0 { STAMPED } else { dice.pick(&[EXCLUSIVE, INCLUSIVE]) };
            believed_only_as_signed(&retold(template, &mut dice));
        }
        Some((1, rest)) => {
            let mut dice = Dice::new(rest);
            cosigned_only_as_signed(&retold(COSIGNATURE, &mut dice));
        }
        Some((2, rest)) => {
            let mut dice = Dice::new(rest);
            unsigned(&retold(EXAMPLE.as_bytes(), &mut dice));
        }
        // What is no XML for one of them is none for the others.
        _ if !believed_only_as_signed(data) => {}
        _ => {
            cosigned_only_as_signed(data);
            unsigned(data);
        }
    }
}

/// Whether it is XML.
fn believed_only_as_signed(octets: &[u8]) -> bool {
    let judged =
        memory::bounded(octets.len(), || verify(fixtures::trust(), octets, None, &Revocation::off(), NOW));
    match judged {
        Ok(feed) => {
            assert_eq!(feed.sha256(), original().sha256(), "{}", shown(octets));
            assert_eq!(feed.octets(), original().octets());
            assert_eq!(feed.document(), original().document());
            assert_eq!(feed.signer(), original().signer());
            true
        }
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty() && !refusal.code().is_empty());
            !matches!(refusal, Refusal::Scan(_))
        }
    }
}

fn cosigned_only_as_signed(octets: &[u8]) {
    let limits = Limits::default();
    if let Err(error) = Cosignature::from_unsigned(octets, &limits) {
        assert!(!error.to_string().is_empty() && !error.code().is_empty());
    }
    // The feed's own signature is of no interest here, and takes most of the time.
    if dsig::open(octets, &limits).is_err() {
        return;
    }
    let cosignatures = [octets.to_vec()];
    let presented = Presented { feed: EXCLUSIVE, cosignatures: &cosignatures };
    let feed = verify_presented(fixtures::trust(), &presented, None, &Revocation::off(), NOW)
        .expect("a co-signature takes nothing away");
    if !feed.cosigners().is_empty() {
        let opened = dsig::open(octets, &limits).expect("it was opened before");
        let good = dsig::open(COSIGNATURE, &limits).expect("the fixture is good");
        assert_eq!(opened.octets(), good.octets(), "{}", shown(octets));
    }
}

/// What a publisher's text says before it is signed, it says afterwards, and a mitigation says the same alone.
fn unsigned(octets: &[u8]) {
    let limits = Limits::default();
    let document = match memory::bounded(octets.len(), || Document::from_unsigned(octets, &limits)) {
        Ok(document) => document,
        Err(refusal) => return assert!(!refusal.to_string().is_empty() && !refusal.code().is_empty()),
    };
    for mitigation in &document.mitigations {
        if let Ok(alone) = Mitigation::from_octets(&mitigation.octets) {
            assert_eq!(&alone, mitigation, "{}", shown(octets));
        }
    }
    let scanned = scan(octets, &limits).expect("it was read before");
    let tree = scanned.parse().expect("it was parsed before");
    let form = [Canonicalization::Inclusive, Canonicalization::Exclusive][octets.len() % 2];
    // What the exclusive form repeats may be too much.
    if let Ok(canonical) = canonicalize_within(tree.root(), form, None, &limits) {
        let mut digested = Document::parse(&canonical, &limits).expect("canonical text of a document is one");
        for (signed, unsigned) in digested.mitigations.iter_mut().zip(&document.mitigations) {
            // Spelled otherwise, and nothing else.
            signed.octets.clone_from(&unsigned.octets);
            for (signed, unsigned) in signed.actions.iter_mut().zip(&unsigned.actions) {
                if let (ActionKind::UrlRewrite { rewrite }, ActionKind::UrlRewrite { rewrite: other }) =
                    (&mut signed.kind, &unsigned.kind)
                {
                    // The rules come out the same, or are as wrong.
                    assert_eq!(RuleSet::parse(rewrite).ok(), RuleSet::parse(other).ok(), "{}", shown(octets));
                    rewrite.clone_from(other);
                }
            }
        }
        assert_eq!(in_any_order(digested), in_any_order(document), "{form:?} {}", shown(octets));
    }
}

/// What is not understood is told in the order of attributes, which the canonical form changes.
fn in_any_order(mut document: Document) -> Document {
    document.warnings.sort();
    document.mitigations.iter_mut().for_each(|mitigation| mitigation.unsupported.sort());
    document
}

fn original() -> &'static VerifiedFeed {
    static FEED: OnceLock<VerifiedFeed> = OnceLock::new();
    FEED.get_or_init(|| {
        verify(fixtures::trust(), EXCLUSIVE, None, &Revocation::off(), NOW).expect("the fixture is good")
    })
}

fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string()
}

/// The template with a few changes: parts taken away, doubled, moved, put in; other spellings, of which most
/// change nothing; other octets.
fn retold(template: &[u8], dice: &mut Dice) -> Vec<u8> {
    let text = std::str::from_utf8(template).expect("the fixtures are text");
    let mut parts = parts(text);
    for _ in 0..=dice.roll(4) {
        let at = (dice.roll(256) * 256 + dice.roll(256)) % parts.len();
        let end =
            if dice.roll(2) == 0 { end_of(&parts, at) } else { (at + 1 + dice.roll(3)).min(parts.len()) };
        let to = (dice.roll(256) * 256 + dice.roll(256)) % parts.len();
        match dice.roll(8) {
            0 if parts.len() > 1 => drop(parts.drain(at..end.min(at + parts.len() - 1))),
            1 => {
                let copy = parts[at..end].to_vec();
                parts.splice(to..to, copy);
            }
            2 => {
                let moved: Vec<String> = parts.drain(at..end).collect();
                let to = to.min(parts.len());
                parts.splice(to..to, moved);
            }
            3 => parts.insert(at, (*dice.pick(PIECES)).to_owned()),
            4 | 5 => {
                let (from, into) = *dice.pick(SPELLINGS);
                parts.iter_mut().skip(at).take(if dice.roll(2) == 0 { 1 } else { usize::MAX }).for_each(
                    |part| {
                        *part = part.replace(from, into);
                    },
                );
            }
            6 => {
                // Base64 may be broken where it likes.
                let part = &mut parts[at];
                if !part.starts_with('<') && part.is_ascii() && !part.is_empty() {
                    let place = (dice.roll(256) * 8) % part.len();
                    part.insert_str(
                        place,
                        dice.pick(&["\n", " ", "\r\n", "\t", "=", "<!---->", "&#10;", "<![CDATA[", "AA"]),
                    );
                }
            }
            _ => {
                let part = &mut parts[at];
                let place = dice.roll(256) * 8 % (part.len() + 1);
                if part.is_char_boundary(place) {
                    part.insert(place, char::from(dice.byte()));
                }
            }
        }
        if parts.is_empty() {
            break;
        }
    }
    parts.concat().into_bytes()
}

/// Tags, and the text between them.
fn parts(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = match rest.strip_prefix('<') {
            Some(tag) => tag.find('>').map_or(rest.len(), |end| end + 2),
            None => rest.find('<').unwrap_or(rest.len()),
        };
        let (part, after) = rest.split_at(end);
        all.push(part.to_owned());
        rest = after;
    }
    all
}

/// Behind the end tag of the element that begins at `at`; behind the part itself where none does.
fn end_of(parts: &[String], at: usize) -> usize {
    let mut open = 0;
    for (number, part) in parts.iter().enumerate().skip(at) {
        match part.as_bytes() {
            [b'<', b'/', ..] => open -= 1,
            [.., b'/', b'>'] | [b'<', b'!' | b'?', ..] => {}
            [b'<', ..] => open += 1,
            _ => {}
        }
        if open <= 0 {
            return number + 1;
        }
    }
    parts.len()
}

const PIECES: &[&&str] = &[
    &"<!-- c -->",
    &"<?p i?>",
    &"<![CDATA[]]>",
    &"<![CDATA[x]]>",
    &"\n",
    &"\u{FEFF}",
    &"<?xml version=\"1.0\" encoding=\"utf-8\"?>",
    &"<!DOCTYPE EOCS [<!ENTITY a \"b\">]>",
    &"<Object Id=\"ts-countersig\"/>",
    &"<Object/>",
    &"<X509Data/>",
    &"<X509Certificate>AAAA</X509Certificate>",
    &"<KeyValue/>",
    &"<Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\"/>",
    &"<Withdrawn id=\"M9\"/>",
    &"<Config id=\"M9\"><ActionList><Action type=\"DoNothing\" scope=\"Server\"/></ActionList></Config>",
    &"<x:a xmlns:x=\"u:x\" x:b=\"&#13;\"><b xmlns=\"\"/></x:a>",
    &"&amp;",
    &"&#0;",
    &"&a;",
    &"<Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\"/>",
];

/// Of these the first ones change no canonical octet (outside of a signature's own text, no octet at all).
const SPELLINGS: &[&(&str, &str)] = &[
    &("\n", "\r\n"),
    &("\n", "\r"),
    &("\"", "'"),
    &("/>", " />"),
    &(" ", "  "),
    &("a&lt;b", "a&#60;b"),
    &("&#9;", "&#x9;"),
    &("<Withdrawn id=\"M0\" reason=\"&#9;\"/>", "<Withdrawn reason=\"&#x09;\" id=\"M0\"></Withdrawn>"),
    &("URI=\"\"", "URI=\"#a\""),
    &("URI=\"\"", ""),
    &("URI=\"\"", "URI=\"\" Id=\"a\""),
    &("<EOCS ", "<EOCS Id=\"a\" "),
    &("sha256", "sha512"),
    &("ecdsa-sha256", "hmac-sha256"),
    &("xml-exc-c14n#", "xml-exc-c14n#WithComments"),
    &("http://www.w3.org/2001/10/xml-exc-c14n#", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"),
    &("http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "http://www.w3.org/2001/10/xml-exc-c14n#"),
    &("<Signature xmlns=", "<d:Signature xmlns:d="),
    &("=", "=="),
    &("=<", "<"),
    &("<X509Data>", "<X509Data><X509SubjectName>CN=a</X509SubjectName>"),
    &("serial=\"42\"", "serial=\"43\""),
    &("M1", "M2"),
    &("dotted", "semver"),
    &("2026", "2025"),
    &("id=", "Id="),
];

/// Every element of the grammar.
const EXAMPLE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<EOCS version="2.0" feed="example" serial="42" issued="2026-11-22T03:00:00Z" expires="2026-12-06T03:00:00Z">
<Config id="M1" desc="a" severity="critical" cve="CVE-2022-41040 CVE-2022-41082" supersedes="M0.9" expires="2027-01-01T00:00:00Z">
<Applicability><Product name="exchange" versions="dotted"><Range from="15.1.0.0" below="15.1.2375.37"/><Range through="15.0.1497.43"/></Product>
<All><Product name="nginx" versions="dpkg" ecosystem="Debian:12"><Range below="1.22.1-9+deb12u2"/></Product><Product name="mail"/></All>
<Product name="p"><Detect kind="dpkg" package="p1"/><Detect kind="rpm" package="P"/><Detect kind="file" path="/opt/p/VERSION" pattern="^([0-9.]+)$"/>
<Detect kind="registry" key="HKLM\SOFTWARE\P" value="V"/><Detect kind="pe" path="C:\p\p.exe"/></Product></Applicability>
<ActionList><Action id="M1.1" type="UrlRewrite" scope="Site" target="Default Web Site" desc="b"><rewrite><rules><rule name="a &amp; b"><match url=".*"/><action type="AbortRequest"/></rule></rules></rewrite></Action>
<Action id="M1.2" type="Service" scope="Server" platform="windows"><Value>MSExchangeHM</Value><Value> UM </Value></Action></ActionList>
<Probes><Request expect="blocked">GET /a HTTP/1.1</Request><Request expect="header" name="X-A" pattern="none">HEAD /owa/ HTTP/1.1</Request></Probes>
<Rollout><Wave percent="1" after="PT0S"/><Wave percent="100" after="PT10M"/></Rollout>
<SideEffects><Effect desc="c" monitor="d"/></SideEffects><Rollback>e</Rollback></Config>
<Withdrawn id="M0" reason="f"/></EOCS>
"#;
