//! `{UrlDecode:…}`: percent sequences decoded once, the bytes read as UTF-8 (what is not is U+FFFD). `+`
//! stays a plus: it means a blank in form data only. `%uXXXX` is not a percent sequence of a URL and stays.

//!
//! What is on the wire is decoded as bytes, before it is read as text: a character can be half raw and half
//! percent-encoded.

use super::percent;
use crate::request::text;
use std::borrow::Cow;

pub(super) fn apply<'a>(text: &Cow<'a, str>) -> Cow<'a, str> {
    if !text.contains('%') {
        return text.clone();
    }
    Cow::Owned(apply_raw(Cow::Borrowed(text.as_bytes())).into_owned())
}

/// The same for bytes from the wire.
pub(crate) fn apply_raw(raw: Cow<'_, [u8]>) -> Cow<'_, str> {
    match raw {
        Cow::Borrowed(raw) => text(percent::decode(raw)),
        Cow::Owned(raw) => Cow::Owned(text(percent::decode(&raw)).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sequences_are_decoded_once() {
        for (raw, decoded) in [
            ("p%6Fwershell", "powershell"),
            ("%256f", "%6f"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%zz%", "%zz%"),
            ("a+b", "a+b"),
            ("%u0041", "%u0041"),
            ("%e2%80%a8", "\u{2028}"),
            ("%ff%41", "\u{fffd}A"),
            ("%00", "\0"),
        ] {
            assert_eq!(super::apply(&raw.into()), decoded, "{raw}");
        }
        assert_eq!(super::apply_raw(b"\xe2%80\xa8".as_slice().into()), "\u{2028}");
    }
}
