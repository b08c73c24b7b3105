//! `{UrlDecode:…}`: percent sequences decoded once, the bytes read as UTF-8 (what is not is U+FFFD). `+`
//! stays a plus: it means a blank in form data only. `%uXXXX` is not a percent sequence of a URL and stays.

use super::percent;
use std::borrow::Cow;

pub(super) fn apply<'a>(text: &Cow<'a, str>) -> Cow<'a, str> {
    match percent::decode(text) {
        Cow::Borrowed(_) => text.clone(),
        Cow::Owned(decoded) => Cow::Owned(decoded),
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
    }
}
