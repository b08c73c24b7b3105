//! The signature itself: taken off, weakened, or made into a program.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use stopgap_feed::c14n::Canonicalization;
use stopgap_feed::dsig::{ENVELOPED, SignatureMethod};

use crate::common::simulator::{Simulator, between};

fn changed(simulator: &Simulator, from: &str, to: &str) -> Vec<u8> {
    let signed = simulator.sign();
    assert!(signed.contains(from), "the change must hit: {from}");
    signed.replacen(from, to, 1).into_bytes()
}

fn transform(uri: &str) -> String {
    format!("<Transform Algorithm=\"{uri}\"/>")
}

fn value(simulator: &Simulator, octets: &[u8]) -> Vec<u8> {
    let signed = simulator.sign();
    let old = between(&signed, "<SignatureValue>", "</SignatureValue>").to_owned();
    signed.replacen(&old, &BASE64.encode(octets), 1).into_bytes()
}

const ECDSA: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256";

/// The certificate of the 1024-bit key in the fixtures.
fn short_rsa() -> String {
    let lines = include_str!("../fixtures/openssl-signatures.txt").lines();
    let fields: Vec<Vec<&str>> = lines.map(|line| line.split(' ').collect()).collect();
    let short = fields.iter().find(|f| f.len() == 5 && f[2] != "yes" && f[1].starts_with("rsa")).unwrap();
    short[3].to_owned()
}

attacks! {
    arbitrary_installation_without_signature:
        "A document without a signature",
        "Nothing unsigned is read", "not-signed",
        |s| s.document.clone().into_bytes();
    a_changed_mitigation:
        "One word is changed after signing",
        "The digest is of the whole document", "digest-mismatch",
        |s| changed(s, "Heartbeat", "Forged");
    the_digest_is_taken_out:
        "`DigestValue` is removed",
        "Every element of the profile is required", "malformed-signature",
        |s| {
            let digest = between(&s.sign(), "<DigestValue>", "</DigestValue>").to_owned();
            // The signature differs from call to call, the digest does not.
            changed(s, &format!("<DigestValue>{digest}</DigestValue>"), "")
        };
    the_digest_is_emptied:
        "`DigestValue` is empty, and so is equal to anything of its length",
        "Digests are compared whole", "digest-mismatch",
        |s| { let digest = between(&s.sign(), "<DigestValue>", "</DigestValue>").to_owned(); changed(s, &digest, "") };
    the_digest_fits_the_forgery:
        "The document is changed and its digest with it",
        "The signature is over the digest", "signature-invalid",
        |s| {
            let digest = |document: &str, s: &Simulator| between(&s.sign_as(document, &s.leaf), "<DigestValue>", "</DigestValue>").to_owned();
            let forged = s.document.replace("Heartbeat", "Forged");
            let (old, new) = (digest(&s.document, s), digest(&forged, s));
            s.sign().replace("Heartbeat", "Forged").replace(&old, &new).into_bytes()
        };
    the_value_is_emptied:
        "`SignatureValue` is empty",
        "No signature of no octets verifies", "signature-invalid",
        |s| value(s, b"");
    no_reference_at_all:
        "`SignedInfo` refers to nothing, so that nothing can be wrong",
        "Exactly one `Reference`", "malformed-signature",
        |s| {
            let reference = format!("<Reference{}</Reference>", between(&s.sign(), "<Reference", "</Reference>"));
            changed(s, &reference, "")
        };
    a_second_reference:
        "A second reference, to something else",
        "Exactly one `Reference`", "malformed-signature",
        |s| changed(s, "</Reference>", "</Reference><Reference URI=\"\"/>");
    a_reference_to_the_web:
        "The reference makes the reader fetch an address",
        "The only reference is to the whole document", "unsupported-reference",
        |s| changed(s, "URI=\"\"", "URI=\"http://169.254.169.254/\"");
    a_reference_by_xpointer:
        "The reference picks a part by XPointer",
        "The only reference is to the whole document", "unsupported-reference",
        |s| changed(s, "URI=\"\"", "URI=\"#xpointer(//Config[1])\"");
    a_transform_that_is_a_program:
        "An XSLT transform, which is a program",
        "Two transforms are known, by name", "unsupported-algorithm",
        |s| changed(s, &transform(s.form.uri()), &transform("http://www.w3.org/TR/1999/REC-xslt-19991116"));
    a_transform_that_selects:
        "An XPath transform, which leaves the forgery out of the digest",
        "Two transforms are known, by name", "unsupported-algorithm",
        |s| changed(s, &transform(ENVELOPED), &transform("http://www.w3.org/TR/1999/REC-xpath-19991116"));
    a_transform_too_many:
        "A further transform after the two",
        "Exactly two transforms", "malformed-signature",
        |s| changed(s, "</Transforms>", &format!("{}</Transforms>", transform(Canonicalization::Inclusive.uri())));
    transforms_that_are_missing:
        "No transforms",
        "Exactly two transforms", "malformed-signature",
        |s| { let both = between(&s.sign(), "<Transforms>", "</Transforms>").to_owned(); changed(s, &both, "") };
    transforms_with_parameters:
        "Parameters of a transform change what is digested",
        "No parameters are read", "malformed-signature",
        |s| {
            let exclusive = transform(s.form.uri());
            changed(s, &exclusive, &exclusive.replace("/>", "><InclusiveNamespaces PrefixList=\"x\"/></Transform>"))
        };
    hmac_with_the_public_key:
        "The public key is taken as the secret of an HMAC",
        "RSA and ECDSA only", "unsupported-algorithm",
        |s| {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, s.leaf.key.public_key_raw());
            let signed = changed(s, ECDSA, "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256");
            let signed = String::from_utf8(signed).unwrap();
            let old = between(&signed, "<SignatureValue>", "</SignatureValue>");
            signed.replace(old, &BASE64.encode(ring::hmac::sign(&key, b"SignedInfo"))).into_bytes()
        };
    a_truncated_hmac:
        "`HMACOutputLength` makes one bit enough",
        "Algorithms have no parameters", "malformed-signature",
        |s| changed(s, &format!("<SignatureMethod Algorithm=\"{ECDSA}\"/>"), &format!("<SignatureMethod Algorithm=\"{ECDSA}\"><HMACOutputLength>1</HMACOutputLength></SignatureMethod>"));
    a_downgrade_to_rsa_sha1:
        "RSA with SHA-1",
        "SHA-256 and longer", "unsupported-algorithm",
        |s| changed(s, ECDSA, "http://www.w3.org/2000/09/xmldsig#rsa-sha1");
    a_downgrade_to_md5:
        "A digest by MD5",
        "SHA-256 and longer", "unsupported-algorithm",
        |s| changed(s, s.digest.uri(), "http://www.w3.org/2001/04/xmldsig-more#md5");
    no_algorithm:
        "The method `none`",
        "RSA and ECDSA only", "unsupported-algorithm",
        |s| changed(s, ECDSA, "none");
    an_algorithm_of_another_key:
        "An RSA method with an elliptic key",
        "The method must fit the certificate's key", "signature-invalid",
        |s| changed(s, ECDSA, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256");
    ecdsa_of_zeros:
        "An ECDSA value whose r and s are zero (CVE-2022-21449)",
        "r and s are at least one", "signature-invalid",
        |s| value(s, &[0; 64]);
    ecdsa_with_r_zero:
        "An ECDSA value whose r is zero",
        "r and s are at least one", "signature-invalid",
        |s| value(s, &[[0; 32], [1; 32]].concat());
    ecdsa_in_another_form:
        "An ECDSA value in the form of certificates",
        "r and s side by side, of the curve's length", "signature-invalid",
        |s| {
            let signed = s.sign();
            let raw = BASE64.decode(between(&signed, "<SignatureValue>", "</SignatureValue>")).unwrap();
            let (r, s_) = raw.split_at(32);
            let uint = |n| der::asn1::UintRef::new(n).unwrap();
            let octets = der::Encode::to_der(&vec![uint(r), uint(s_)]).unwrap();
            signed.replace(&BASE64.encode(&raw), &BASE64.encode(octets)).into_bytes()
        };
    a_short_rsa_key:
        "An RSA key of 1024 bits",
        "RSA from 2048 bits", "weak-key",
        |s| {
            let leaf = BASE64.encode(&s.leaf.der);
            s.method = SignatureMethod::EcdsaSha256;
            let signed = s.sign().replace(ECDSA, SignatureMethod::RsaSha256.uri());
            signed.replace(&leaf, &short_rsa()).into_bytes()
        };
    a_comment_in_the_value:
        "A comment splits a value, so that two readers see two",
        "No comment in a signature", "malformed-signature",
        |s| changed(s, "<DigestValue>", "<DigestValue><!-- -->");
    an_instruction_in_the_value:
        "A processing instruction splits a value",
        "No instruction in a signature", "malformed-signature",
        |s| changed(s, "<SignatureValue>", "<SignatureValue><?x?>");
    content_in_an_object:
        "An `Object` with content of the attacker's",
        "No `Object` but a timestamp", "malformed-signature",
        |s| changed(s, "</Signature>", "<Object><x/></Object></Signature>");
    the_attackers_keyinfo:
        "The attacker signs and puts a chain of his own into `KeyInfo`",
        "A path ends in a configured root and nowhere else", "unknown-root",
        |s| {
            let mut other = Simulator::new();
            other.document = s.document.replace("Heartbeat", "Forged");
            other.sign().into_bytes()
        };
    keyinfo_without_certificates:
        "A bare key in `KeyInfo`",
        "Keys come in certificates", "no-certificate",
        |s| {
            let data = format!("<X509Data>{}</X509Data>", between(&s.sign(), "<X509Data>", "</X509Data>"));
            changed(s, &data, "<KeyValue/>")
        };
    a_huge_certificate:
        "A certificate that takes many times its size in memory to read",
        "A certificate has at most 64 KiB", "certificate-too-large",
        |s| {
            let huge = vec![0x31; stopgap_feed::dsig::MAX_CERTIFICATE_BYTES + 1].into();
            s.chain = Some(vec![s.leaf.der.clone(), s.intermediate.der.clone(), huge]);
            s.sign().into_bytes()
        };
    a_flood_of_certificates:
        "Thousands of certificates, each of which would be tried",
        "At most 16 certificates", "too-many-certificates",
        |s| {
            let one = format!("<X509Certificate>{}</X509Certificate>", BASE64.encode(&s.leaf.der));
            changed(s, "<X509Data>", &format!("<X509Data>{}", one.repeat(1000)))
        };
}
