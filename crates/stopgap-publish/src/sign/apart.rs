//! Signing where the key is: the octets to be signed go there, the signature comes back.
//!
//! The key's machine sees a few hundred octets of `SignedInfo` and needs nothing of this program:
//! `openssl dgst -sha256 -sign key.pem F.tosign` will do, and so will whatever a hardware module offers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use stopgap_feed::c14n::Canonicalization;
use stopgap_feed::dsig::{self, SignatureMethod};
use stopgap_feed::limits::Limits;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Error as Malformed, Reader as _, SliceReader};

use super::{Chain, SignError, digested, lines, refuse_unreadable};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// Where the value goes. Nothing in a feed can hold it but the signature: text has no `<`.
const EMPTY: &str = "<SignatureValue></SignatureValue>";

/// A document that waits for its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The canonical `SignedInfo`: exactly these octets are signed.
    pub signed_info: Vec<u8>,
    /// How they are signed: SHA-256 with RSA or P-256, SHA-384 with P-384.
    pub method: SignatureMethod,
    /// The document with an empty `SignatureValue`.
    pub waiting: String,
}

/// Prepares an unsigned feed for the key of the chain's first certificate.
pub fn prepare(
    unsigned: &[u8],
    chain: &Chain,
    canonicalization: Canonicalization,
) -> Result<Prepared, SignError> {
    refuse_unreadable(unsigned)?;
    let method = method(chain)?;
    let (template, signed_info) = digested(unsigned, method, chain, canonicalization)?;
    Ok(Prepared { signed_info, method, waiting: template.text() })
}

/// Puts a signature into the document that waited for it. Taken is what verifies: the octets themselves, an ECDSA
/// signature in DER (as openssl writes it), or either of them in base64.
pub fn complete(waiting: &str, signature: &[u8]) -> Result<Vec<u8>, SignError> {
    let (before, after) = waiting.rsplit_once(EMPTY).ok_or(SignError::OtherSignature)?;
    let text: Vec<u8> = signature.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
    let decoded = BASE64.decode(&text).ok();
    let given = [Some(signature.to_vec()), decoded];
    for octets in given.into_iter().flatten() {
        let fixed = [32, 48].into_iter().filter_map(|width| side_by_side(&octets, width));
        for value in fixed.chain([octets.clone()]) {
            let value = lines(&BASE64.encode(value));
            let signed = format!("{before}<SignatureValue>{value}</SignatureValue>{after}").into_bytes();
            let opened = dsig::open(&signed, &Limits::default());
            if opened.is_ok_and(|opened| opened.signer().is_ok()) {
                return Ok(signed);
            }
        }
    }
    Err(SignError::OtherSignature)
}

/// `Ecdsa-Sig-Value` (RFC 3279, section 2.2.3) as XML-DSig writes it: `r` and `s`, each `width` octets long.
fn side_by_side(der: &[u8], width: usize) -> Option<Vec<u8>> {
    let mut reader = SliceReader::new(der).ok()?;
    let read = |reader: &mut SliceReader<'_>| -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::with_capacity(2 * width);
        for _ in 0..2 {
            let number = UintRef::decode(reader)?;
            out.resize(out.len() + width.saturating_sub(number.as_bytes().len()), 0);
            out.extend_from_slice(number.as_bytes());
        }
        Ok(out)
    };
    let out = reader.sequence(read).ok()?;
    (reader.is_finished() && out.len() == 2 * width).then_some(out)
}

/// How the key of the chain's first certificate signs.
fn method(chain: &Chain) -> Result<SignatureMethod, SignError> {
    let body = chain.leaf.tbs_certificate();
    let algorithm = &body.subject_public_key_info().algorithm;
    let curve = || algorithm.parameters.as_ref().and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
    match curve() {
        _ if algorithm.oid == RSA => Ok(SignatureMethod::RsaSha256),
        Some(P256) => Ok(SignatureMethod::EcdsaSha256),
        Some(P384) => Ok(SignatureMethod::EcdsaSha384),
        _ => Err(SignError::OtherKind { subject: body.subject().to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_are_padded_and_what_is_no_pair_is_none() {
        let der = [0x30, 0x07, 0x02, 0x01, 0x05, 0x02, 0x02, 0x00, 0x80];
        let mut expected = [0u8; 64];
        (expected[31], expected[63]) = (5, 0x80);
        assert_eq!(side_by_side(&der, 32).unwrap(), expected);
        let longer = [&der[..], &[0]].concat();
        for other in [&der[..7], &[0x30], &[], &longer] {
            assert_eq!(side_by_side(other, 32), None, "{other:?}");
        }
    }
}
