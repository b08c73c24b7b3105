//! An RFC 3161 token, written by hand: the least that RFC 5652 allows.

use der::Decode as _;
use stopgap_feed::dsig::{Digest, SignatureMethod};
use x509_cert::der::Encode as _;

use super::pki::raw_signature;
use super::simulator::Holder;

/// One value of DER.
pub fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        n @ 0..=0x7F => out.push(n as u8),
        n @ 0x80..=0xFF => out.extend([0x81, n as u8]),
        n => out.extend([0x82, (n >> 8) as u8, n as u8]),
    }
    out.extend(content);
    out
}

fn oid(text: &str) -> Vec<u8> {
    der(6, &[der::asn1::ObjectIdentifier::new_unwrap(text).as_bytes()])
}

/// A token of `authority` over `value`, at `time` (RFC 3339, whole seconds, UTC).
pub fn make(authority: &Holder, value: &[u8], time: &str) -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    const SET: u8 = 0x31;
    let sha256 = der(SEQUENCE, &[&oid("2.16.840.1.101.3.4.2.1")]);
    let imprint = der(SEQUENCE, &[&sha256, &der(4, &[&Digest::Sha256.of(value)])]);
    let time: String = time.chars().filter(|c| !matches!(c, '-' | ':' | 'T')).collect();
    let info = der(
        SEQUENCE,
        &[&der(2, &[&[1]]), &oid("1.2.3.4"), &imprint, &der(2, &[&[7]]), &der(0x18, &[time.as_bytes()])],
    );
    let tst = oid("1.2.840.113549.1.9.16.1.4");
    let attribute = |id: &str, value: &[u8]| der(SEQUENCE, &[&oid(id), &der(SET, &[value])]);
    let attributes = [
        attribute("1.2.840.113549.1.9.3", &tst),
        attribute("1.2.840.113549.1.9.4", &der(4, &[&Digest::Sha256.of(&info)])),
    ]
    .concat();
    let key = authority.key.serialize_der();
    let raw = raw_signature(SignatureMethod::EcdsaSha256, &key, &der(SET, &[&attributes]));
    let (r, s) = raw.split_at(32);
    let uint = |n| der::asn1::UintRef::new(n).unwrap();
    let signature = vec![uint(r), uint(s)].to_der().unwrap();

    let certificate = x509_cert::Certificate::from_der(&authority.der).unwrap();
    let tbs = certificate.tbs_certificate();
    let sid = der(SEQUENCE, &[&tbs.issuer().to_der().unwrap(), &der(2, &[tbs.serial_number().as_bytes()])]);
    let signer = der(
        SEQUENCE,
        &[
            &der(2, &[&[1]]),
            &sid,
            &sha256,
            &der(0xA0, &[&attributes]),
            &der(SEQUENCE, &[&oid("1.2.840.10045.4.3.2")]),
            &der(4, &[&signature]),
        ],
    );
    let signed_data = der(
        SEQUENCE,
        &[
            &der(2, &[&[3]]),
            &der(SET, &[&sha256]),
            &der(SEQUENCE, &[&tst, &der(0xA0, &[&der(4, &[&info])])]),
            &der(0xA0, &[&authority.der]),
            &der(SET, &[&signer]),
        ],
    );
    der(SEQUENCE, &[&oid("1.2.840.113549.1.7.2"), &der(0xA0, &[&signed_data])])
}
