//! The eight ways in which a signed part is moved and a forged one put in its place (Somorovsky et
//! al., "On Breaking SAML", 2012, figure 6), for a signature that covers its whole document.

use crate::common::simulator::{Simulator, between};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";

/// The signed document's parts: the original without signature, the signature, a forged document.
struct Parts {
    original: String,
    signature: String,
    forged: String,
}

fn parts(simulator: &Simulator) -> Parts {
    let signed = simulator.sign().replace(DECLARATION, "");
    let inside = between(&signed, "<Signature ", "</Signature>");
    let signature = format!("<Signature {inside}</Signature>");
    Parts {
        original: signed.replace(&signature, ""),
        forged: simulator.document.replace(DECLARATION, "").replace("Heartbeat", "Forged"),
        signature,
    }
}

fn last(document: &str, content: &str) -> String {
    document.replacen("</EOCS>", &format!("{content}</EOCS>"), 1)
}

fn in_signature(signature: &str, content: &str) -> String {
    signature.replacen("</Signature>", &format!("<Object>{content}</Object></Signature>"), 1)
}

const FORGED: &str = "<Config id=\"M9\" desc=\"Forged\"><ActionList><Action id=\"M9.1\" type=\"DoNothing\" \
                      scope=\"Server\" desc=\"\"><Value>DoNothing</Value></Action></ActionList></Config>";

attacks! {
    xsw1_the_original_in_the_signature_of_a_forged_document:
        "The signed document moves into an `Object` of the signature, a forged one stands around it",
        "No `Object` but a timestamp", "malformed-signature",
        |s| { let p = parts(s); last(&p.forged, &in_signature(&p.signature, &p.original)).into_bytes() };
    xsw2_the_original_beside_the_signature:
        "The signed document becomes a child of a forged one, before the signature",
        "The digest is of the whole document", "digest-mismatch",
        |s| { let p = parts(s); last(&p.forged, &format!("{}{}", p.original, p.signature)).into_bytes() };
    xsw3_a_forged_part_before_the_signed_one:
        "A forged mitigation before the signed ones",
        "The digest is of the whole document", "digest-mismatch",
        |s| s.sign().replacen("  <Config", &format!("{FORGED}<Config"), 1).into_bytes();
    xsw4_the_original_inside_a_forged_document:
        "The signed document, with its signature, inside a forged one",
        "The signature is the root's last child", "signature-misplaced",
        |s| { let p = parts(s); last(&p.forged, &last(&p.original, &p.signature)).into_bytes() };
    xsw5_the_original_after_the_signature:
        "A forged document with the signature, the signed one behind it",
        "The signature is the root's last child", "signature-misplaced",
        |s| { let p = parts(s); last(&p.forged, &format!("{}{}", p.signature, p.original)).into_bytes() };
    xsw6_the_signature_inside_a_mitigation:
        "The signature, with the signed document in it, inside a forged mitigation",
        "The signature is the root's last child", "signature-misplaced",
        |s| {
            let p = parts(s);
            let signature = in_signature(&p.signature, &p.original);
            p.forged.replacen("</Config>", &format!("{signature}</Config>"), 1).into_bytes()
        };
    xsw7_a_forged_part_in_an_extension:
        "A forged mitigation in an element that no grammar knows",
        "The digest is of the whole document", "digest-mismatch",
        |s| s.sign().replacen("  <Config", &format!("<Extensions>{FORGED}</Extensions><Config"), 1).into_bytes();
    xsw8_a_reference_to_the_original_by_id:
        "The signature refers by `Id` to the signed document, which is moved into an `Object`",
        "The only reference is to the whole document; no `Id` is looked up", "unsupported-reference",
        |s| {
            let p = parts(s);
            let original = p.original.replacen("<EOCS", "<EOCS Id=\"original\"", 1);
            let signature = in_signature(&p.signature, &original).replacen("URI=\"\"", "URI=\"#original\"", 1);
            last(&p.forged, &signature).into_bytes()
        };
    a_second_signature:
        "A second, valid signature after the first",
        "Exactly one `Signature` in the whole document", "several-signatures",
        |s| { let p = parts(s); last(&p.original, &p.signature.repeat(2)).into_bytes() };
    a_signature_inside_the_signature:
        "A second signature inside the first one's `Object`",
        "Exactly one `Signature` in the whole document", "several-signatures",
        |s| { let p = parts(s); last(&p.original, &in_signature(&p.signature, &p.signature)).into_bytes() };
    a_signature_of_another_namespace:
        "The signature is put into a namespace that a careless reader skips",
        "Only XML-DSig's `Signature` is one", "not-signed",
        |s| s.sign().replace("http://www.w3.org/2000/09/xmldsig#\"><SignedInfo", "urn:x\"><SignedInfo").into_bytes();
}
