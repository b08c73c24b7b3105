//! Whatever a timestamp's token holds, it gives no time or the one that its authority signed, and its spelling
//! in BER does not matter.

use std::sync::OnceLock;

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateDer;
use stopgap_feed::Revocation;
use stopgap_feed::dsig::{Countersignature, Digest};
use stopgap_feed::timestamp::{TimestampError, verify};

use crate::asn1::Value;
use crate::fixtures::{self, Key, NOW, TOKEN, TOKEN_VALUE};
use crate::{Dice, memory};

/// 2026-05-01T00:00:00Z
const TIME: Timestamp = Timestamp::constant(1_777_593_600, 0);

pub fn feed_token(data: &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let dice = &mut Dice::new(rest);
    let mut token = token().clone();
    match first {
        0 => {
            let spelled = token.write_ber(dice, &must_be_der);
            let judged = judge(&spelled);
            assert_eq!(judged.as_ref(), Ok(&TIME), "{spelled:02x?}");
        }
        1 => stamped(token, dice),
        2 => {
            (0..=dice.roll(4)).for_each(|_| token.change(dice));
            unforged(&token.write());
        }
        3 => {
            (0..=dice.roll(2)).for_each(|_| token.change(dice));
            let spelled = token.write_ber(dice, &|_| false);
            unforged(&spelled);
        }
        _ => unforged(data),
    }
}

fn judge(token: &[u8]) -> Result<Timestamp, TimestampError> {
    let countersignature =
        Countersignature { token: token.to_vec(), certificates: Vec::<CertificateDer<'static>>::new() };
    let judged = memory::bounded(token.len(), || {
        verify(&countersignature, TOKEN_VALUE, fixtures::trust(), &Revocation::off(), NOW)
    });
    if let Err(error) = &judged {
        assert!(!error.to_string().is_empty() && !error.code().is_empty());
    }
    judged
}

/// Somebody without a key.
fn unforged(token: &[u8]) {
    if let Ok(time) = judge(token) {
        assert_eq!(time, TIME, "{token:02x?}");
    }
}

/// The authority signs whatever it is given: the time that counts stands in what it signed, beside the digest
/// of this signature value.
fn stamped(mut token: Value, dice: &mut Dice) {
    let info = token.at(INFO).expect("TSTInfo");
    let signer_too = dice.roll(3) == 0;
    (0..=dice.roll(3)).for_each(|_| info.change(dice));
    let content = info.write();
    let digest = Digest::Sha256.of(&content);
    *token.at(MESSAGE_DIGEST).expect("message digest") = Value::octets(4, &digest);
    if signer_too {
        token.at(ATTRIBUTES).expect("attributes").change(dice);
    }
    let mut attributes = token.at(ATTRIBUTES).expect("attributes").write();
    if let Some(tag) = attributes.first_mut() {
        // What is signed has the tag of a set (RFC 5652 section 5.4).
        *tag = 0x31;
    }
    let signature = key().sign(&attributes);
    *token.at(SIGNATURE).expect("signature") = Value::octets(4, &signature);
    let Ok(time) = judge(&token.write()) else { return };
    let written: String = time.to_string().chars().filter(char::is_ascii_digit).collect();
    assert!(holds(&content, written.as_bytes()), "{time}: {content:02x?}");
    assert!(holds(&content, &Digest::Sha256.of(TOKEN_VALUE)), "{content:02x?}");
    assert!(time.duration_since(NOW) <= SignedDuration::from_secs(300), "{time}");
    // 2026 to 2036: the certificate's own validity.
    assert!(time.as_second() >= 1_767_225_600 && time.as_second() <= 2_082_758_400, "{time}");
}

fn holds(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len()).any(|window| window == part)
}

/// Where things are in the token: places of children, from the outside in.
const INFO: &[usize] = &[1, 0, 2, 1, 0, 0];
const ATTRIBUTES: &[usize] = &[1, 0, 4, 0, 3];
const MESSAGE_DIGEST: &[usize] = &[1, 0, 4, 0, 3, 1, 1, 0];
const SIGNATURE: &[usize] = &[1, 0, 4, 0, 5];

/// What is signed or compared as DER: certificates and signed attributes ([0]), and the signer's name.
fn must_be_der(value: &Value) -> bool {
    let first = value.children().first().map(|child| child.tag);
    let certificates_or_attributes = value.tag == 0xA0 && first == Some(0x30) && value.children().len() != 1;
    let certificate = value.tag == 0x30 && value.children().len() == 3 && first == Some(0x30);
    let name = value.tag == 0x30 && first == Some(0x31);
    certificates_or_attributes || certificate || name
}

fn token() -> &'static Value {
    static TREE: OnceLock<Value> = OnceLock::new();
    TREE.get_or_init(|| Value::read(TOKEN).expect("the fixture is DER"))
}

fn key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| Key::read(fixtures::TSA_KEY))
}
