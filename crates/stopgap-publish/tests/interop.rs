//! The same signatures, seen by two other implementations: libxmlsec (`xmlsec1`) and the JDK's
//! `javax.xml.crypto.dsig`. What we sign they verify, and what they sign we verify.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it skips"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Identity, documents, have, identities, meaning, run};
use stopgap_feed::Document;
use stopgap_feed::c14n::Canonicalization;
use stopgap_feed::limits::Limits;
use stopgap_publish::sign;

const FORMS: [(&str, Canonicalization); 2] =
    [("exclusive", Canonicalization::Exclusive), ("inclusive", Canonicalization::Inclusive)];

/// Writes the identity's files.
fn files_of(identity: &Identity, dir: &Path) {
    fs::write(dir.join("root.pem"), &identity.root).unwrap();
    fs::write(dir.join("chain.pem"), &identity.chain).unwrap();
    fs::write(dir.join("key.pem"), &identity.key).unwrap();
    for (index, certificate) in identity.chain.split_inclusive("-----END CERTIFICATE-----\n").enumerate() {
        fs::write(dir.join(format!("chain{index}.pem")), certificate).unwrap();
    }
}

/// Every document, signed by us in every form: file names.
fn signed_here(identity: &Identity, dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for (form_name, form) in FORMS {
        for (name, unsigned) in documents() {
            let signed =
                sign::feed_with_pem(&unsigned, identity.key.as_bytes(), identity.chain.as_bytes(), form)
                    .unwrap();
            let file = format!("{name}-{form_name}.xml");
            fs::write(dir.join(&file), signed).unwrap();
            names.push(file);
        }
    }
    names
}

fn java_source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/Xmldsig.java")
}

#[test]
fn xmlsec1_verifies_what_we_sign_and_refuses_a_changed_word() {
    if !have("xmlsec1", "xmlsec1_verifies_what_we_sign_and_refuses_a_changed_word") {
        return;
    }
    for identity in identities() {
        let dir = tempfile::tempdir().unwrap();
        files_of(&identity, dir.path());
        // Local time; the tests' now is days after the certificates begin, in any time zone.
        let at = common::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        let verify = [
            "--verify",
            "--enabled-key-data",
            "x509",
            "--verification-time",
            &at,
            "--trusted-pem",
            "root.pem",
        ];
        for file in signed_here(&identity, dir.path()) {
            run(dir.path(), "xmlsec1", &[&verify[..], &[&file]].concat());
            let changed =
                fs::read_to_string(dir.path().join(&file)).unwrap().replace("DoNothing</", "DoNothinG</");
            fs::write(dir.path().join("changed.xml"), changed).unwrap();
            let refused = std::process::Command::new("xmlsec1")
                .args(verify)
                .arg("changed.xml")
                .current_dir(dir.path())
                .output()
                .unwrap();
            assert!(!refused.status.success(), "{} {file}", identity.name);
        }
    }
}

#[test]
fn java_verifies_what_we_sign() {
    if !have("java", "java_verifies_what_we_sign") {
        return;
    }
    let source = java_source();
    for identity in identities() {
        let dir = tempfile::tempdir().unwrap();
        files_of(&identity, dir.path());
        let files = signed_here(&identity, dir.path());
        let at = common::now().to_string();
        let mut arguments = vec![source.to_str().unwrap(), "verify", "root.pem", &at];
        arguments.extend(files.iter().map(String::as_str));
        let said = run(dir.path(), "java", &arguments);
        assert_eq!(said.matches("OK ").count(), files.len(), "{said}");
    }
}

/// What is signed elsewhere must say the same as the document that was given.
fn verify_here(identity: &Identity, file: &Path, unsigned: &[u8]) {
    let verified = identity.verify(&fs::read(file).unwrap());
    let verified = verified.unwrap_or_else(|error| panic!("{} {}: {error}", identity.name, file.display()));
    let given = Document::from_unsigned(unsigned, &Limits::default()).unwrap();
    assert_eq!(meaning(verified.document()), meaning(&given));
}

#[test]
fn we_verify_what_xmlsec1_signs() {
    if !have("xmlsec1", "we_verify_what_xmlsec1_signs") {
        return;
    }
    for identity in identities() {
        let dir = tempfile::tempdir().unwrap();
        files_of(&identity, dir.path());
        let method = if identity.name.starts_with("RSA") { "rsa-sha256" } else { "ecdsa-sha256" };
        for (_, form) in FORMS {
            for (name, unsigned) in documents() {
                let template =
                    String::from_utf8(unsigned.clone()).unwrap().replace("</EOCS>", &template(form, method));
                fs::write(dir.path().join("template.xml"), template).unwrap();
                let out = format!("{name}-by-xmlsec1.xml");
                let key = "key.pem,chain0.pem,chain1.pem";
                run(
                    dir.path(),
                    "xmlsec1",
                    &["--sign", "--privkey-pem", key, "--output", &out, "template.xml"],
                );
                verify_here(&identity, &dir.path().join(&out), &unsigned);
            }
        }
    }
}

fn template(form: Canonicalization, method: &str) -> String {
    format!(
        "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:SignedInfo>\
         <ds:CanonicalizationMethod Algorithm=\"{form}\"/>\
         <ds:SignatureMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#{method}\"/>\
         <ds:Reference URI=\"\"><ds:Transforms>\
         <ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"/>\
         <ds:Transform Algorithm=\"{form}\"/></ds:Transforms>\
         <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"/><ds:DigestValue/></ds:Reference>\
         </ds:SignedInfo><ds:SignatureValue/><ds:KeyInfo><ds:X509Data/></ds:KeyInfo></ds:Signature></EOCS>",
        form = form.uri(),
    )
}

#[test]
fn we_verify_what_java_signs() {
    if !have("java", "we_verify_what_java_signs") {
        return;
    }
    let source = java_source();
    for identity in identities() {
        let dir = tempfile::tempdir().unwrap();
        files_of(&identity, dir.path());
        let mut arguments = ["sign", "key.pem", "chain.pem"].map(str::to_owned).to_vec();
        let mut expected = Vec::new();
        for (form_name, form) in FORMS {
            for (name, unsigned) in documents() {
                let (from, to) = (format!("{name}.xml"), format!("{name}-{form_name}-by-java.xml"));
                fs::write(dir.path().join(&from), &unsigned).unwrap();
                arguments.extend([form.uri().to_owned(), from, to.clone()]);
                expected.push((to, unsigned));
            }
        }
        let mut command = vec![source.to_str().unwrap()];
        command.extend(arguments.iter().map(String::as_str));
        run(dir.path(), "java", &command);
        for (file, unsigned) in expected {
            verify_here(&identity, &dir.path().join(file), &unsigned);
        }
    }
}
